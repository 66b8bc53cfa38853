//! What logs say about holders and approvals. A log is a claim of its contract: whoever acts on it reads the state too.

use alloy_primitives::{Address, B256, Log, U256, b256};

use super::{Grant, Right};
use crate::PERMIT2;

/// `Transfer(address,address,uint256)` of ERC-20 and ERC-721.
pub const TRANSFER: B256 = b256!("0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
/// `Approval(address,address,uint256)` of ERC-20 and ERC-721.
pub const APPROVAL: B256 = b256!("0x8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925");
/// `ApprovalForAll(address,address,bool)` of ERC-721 and ERC-1155.
pub const APPROVAL_FOR_ALL: B256 = b256!("0x17307eab39ab6107e8899845ad3d59bd9653f200f220920489ca2b5937696c31");
/// `Approval(address,address,address,uint160,uint48)` of Permit2.
pub const PERMIT2_APPROVAL: B256 = b256!("0xda9fa7c1b00402c17d0161b249b1ab8bbec047c5a52207b9c112deffd817036b");
/// `Permit(address,address,address,uint160,uint48,uint48)` of Permit2.
pub const PERMIT2_PERMIT: B256 = b256!("0xc6a377bfc4eb120024a8ac08eef205be16b817020812c73223e81d1bdb9708ec");
/// `Lockdown(address,address,address)` of Permit2.
pub const PERMIT2_LOCKDOWN: B256 = b256!("0x89b1add15eff56b3dfe299ad94e01f2b52fbcb80ae1a3baea6ae8c04cb2b98a4");

/// What one log says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// An ERC-20 amount moved; from or to zero it was minted or burnt.
    Moved { token: Address, from: Address, to: Address, amount: U256 },
    /// An ERC-721 item moved.
    MovedItem { token: Address, from: Address, to: Address, item: U256 },
    /// A right to spend was set.
    Approved { owner: Address, grant: Grant },
}

/// Reads one log; nothing when it is no event of the kinds above, or not in their standard form.
pub(super) fn read(log: &Log) -> Option<Event> {
    let topics = log.topics();
    match *topics.first()? {
        TRANSFER => transfer(log),
        APPROVAL => approval(log),
        APPROVAL_FOR_ALL if topics.len() == 3 => {
            let allowed = word(log, 0)?;
            let right = Right::All { allowed: !allowed.is_zero() };
            granted(log.address, topics, right)
        }
        PERMIT2_APPROVAL | PERMIT2_PERMIT | PERMIT2_LOCKDOWN if log.address == PERMIT2 => permit2(log),
        _ => None,
    }
}

fn transfer(log: &Log) -> Option<Event> {
    let topics = log.topics();
    let (token, from, to) = (log.address, account(topics.get(1)?)?, account(topics.get(2)?)?);
    match topics.get(3) {
        None => Some(Event::Moved { token, from, to, amount: word(log, 0)? }),
        Some(item) => Some(Event::MovedItem { token, from, to, item: (*item).into() }),
    }
}

fn approval(log: &Log) -> Option<Event> {
    let topics = log.topics();
    let right = match topics.get(3) {
        None => Right::Amount { amount: word(log, 0)?, expiration: None },
        Some(item) => Right::Item { item: (*item).into() },
    };
    granted(log.address, topics, right)
}

fn granted(token: Address, topics: &[B256], right: Right) -> Option<Event> {
    let owner = account(topics.get(1)?)?;
    let spender = account(topics.get(2)?)?;
    Some(Event::Approved { owner, grant: Grant { token, spender, via: None, right } })
}

fn permit2(log: &Log) -> Option<Event> {
    let topics = log.topics();
    let owner = account(topics.get(1)?)?;
    let (token, spender, amount, expiration) = if topics.first() == Some(&PERMIT2_LOCKDOWN) {
        (account(&word(log, 0)?.into())?, account(&word(log, 1)?.into())?, U256::ZERO, 0)
    } else {
        let expiration = u64::try_from(word(log, 1)?).ok()?;
        (account(topics.get(2)?)?, account(topics.get(3)?)?, word(log, 0)?, expiration)
    };
    let right = Right::Amount { amount, expiration: Some(expiration) };
    Some(Event::Approved { owner, grant: Grant { token, spender, via: Some(PERMIT2), right } })
}

/// An address in a topic; nothing when the upper bytes are not zero.
fn account(topic: &B256) -> Option<Address> {
    topic[..12].iter().all(|byte| *byte == 0).then(|| Address::from_word(*topic))
}

fn word(log: &Log, index: usize) -> Option<U256> {
    log.data.data.get(index * 32..index * 32 + 32).map(U256::from_be_slice)
}
