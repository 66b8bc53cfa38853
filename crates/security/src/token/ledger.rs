//! A token's books from outside: which slots hold a balance, what its logs claim, whom its storage names.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, B256, Bytes, Log, U256, b256};
use surety_evm::{Outcome, Session, StateError};

use super::abi::{self, address_in, encode};
use super::lab::peek;

/// `Transfer(address,address,uint256)`.
pub(crate) const TRANSFER: B256 = b256!("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
/// How far behind a hashed key a struct's member may lie.
const MEMBERS: u64 = 8;
/// Slots from zero on that are looked at for addresses, whether or not the code was seen to read them.
const LOW_SLOTS: u64 = 32;
/// Addresses taken from storage.
const MOST_NAMED: usize = 24;

/// The transfers of a token that logs tell of. A log that is none, or that cannot be read, is passed over.
pub(crate) fn transfers(logs: &[Log], token: Address) -> impl Iterator<Item = (Address, Address, U256)> {
    logs.iter().filter(move |log| log.address == token).filter_map(|log| {
        let topics = log.topics();
        if topics.first() != Some(&TRANSFER) {
            return None;
        }
        // Some tokens index nothing, some everything: the three words are the same.
        let mut words: Vec<U256> = topics[1..].iter().map(|topic| U256::from_be_bytes(topic.0)).collect();
        words.extend(log.data.data.chunks_exact(32).take(3).map(U256::from_be_slice));
        let [from, to, value] = words[..] else { return None };
        Some((Address::from_word(from.into()), Address::from_word(to.into()), value))
    })
}

/// The slots that a call read whose place depends on an address: the address was hashed into it.
pub(crate) fn keyed_by(outcome: &Outcome, who: Address) -> Vec<(Address, U256)> {
    let hashes = hashes_of(&outcome.trace.preimages, who);
    outcome.trace.reads.keys().copied().filter(|(_, slot)| hashes.iter().any(|hash| is_at(*slot, *hash))).collect()
}

/// Whether an address was hashed for something else than to find a slot.
pub(crate) fn is_hashed(outcome: &Outcome, who: Address) -> bool {
    let hashes = hashes_of(&outcome.trace.preimages, who);
    let used = |hash: &U256| {
        let in_slot = outcome.trace.reads.keys().any(|(_, slot)| is_at(*slot, *hash));
        let bytes = hash.to_be_bytes::<32>();
        in_slot || outcome.trace.preimages.values().any(|input| input.windows(32).any(|window| window == bytes))
    };
    hashes.iter().any(|hash| !used(hash))
}

fn is_at(slot: U256, hash: U256) -> bool {
    slot.checked_sub(hash).is_some_and(|distance| distance < U256::from(MEMBERS))
}

/// The hashes whose input has the address in it, also through one further mapping.
fn hashes_of(preimages: &BTreeMap<B256, Bytes>, who: Address) -> BTreeSet<U256> {
    let contains = |input: &Bytes, part: &[u8]| input.windows(part.len()).any(|window| window == part);
    let direct: Vec<B256> =
        preimages.iter().filter(|(_, input)| contains(input, who.as_slice())).map(|(hash, _)| *hash).collect();
    let nested = preimages.iter().filter(|(_, input)| direct.iter().any(|hash| contains(input, hash.as_slice())));
    let nested: Vec<B256> = nested.map(|(hash, _)| *hash).collect();
    direct.into_iter().chain(nested).map(|hash| U256::from_be_bytes(hash.0)).collect()
}

/// Gives a holder a balance by writing the slot that `balanceOf` reads. Whether it could.
pub(crate) fn forge(session: &mut Session, token: Address, holder: Address, amount: U256) -> Result<bool, StateError> {
    let call = encode(&abi::balanceOfCall(holder));
    let before = peek(session, Address::ZERO, token, call.clone())?;
    for (address, slot) in keyed_by(&before, holder) {
        let old = session.storage(address, slot)?;
        session.set_storage(address, slot, amount)?;
        let mut shown = peek(session, Address::ZERO, token, call.clone())?.word().unwrap_or_default();
        if shown != amount {
            // Balances of some tokens are shares: find what a share is worth with a large number of them.
            let large = U256::ONE << 247;
            session.set_storage(address, slot, large)?;
            let worth = peek(session, Address::ZERO, token, call.clone())?.word().unwrap_or_default();
            if let Some(shares) = large.checked_div(worth).and_then(|rate| rate.checked_mul(amount)) {
                session.set_storage(address, slot, shares)?;
                shown = peek(session, Address::ZERO, token, call.clone())?.word().unwrap_or_default();
            }
        }
        let tolerance = amount / U256::from(1000);
        if shown.abs_diff(amount) <= tolerance {
            return Ok(true);
        }
        session.set_storage(address, slot, old)?;
    }
    Ok(false)
}

/// The addresses that a token's storage names: in the slots that views and a transfer read, and in the lowest slots.
pub(crate) fn named(session: &mut Session, token: Address) -> Result<Vec<Address>, StateError> {
    let mut found = BTreeSet::new();
    let calls = [
        encode(&abi::transferCall { _0: token, _1: U256::ZERO }),
        encode(&abi::ownerCall {}),
        encode(&abi::getOwnerCall {}),
    ];
    for call in calls {
        let outcome = peek(session, Address::ZERO, token, call)?;
        found.extend(outcome.word().and_then(address_in));
        found.extend(outcome.trace.reads.values().flat_map(|value| addresses_in(*value)));
    }
    for slot in 0..LOW_SLOTS {
        found.extend(addresses_in(session.storage(token, U256::from(slot))?));
    }
    Ok(found.into_iter().take(MOST_NAMED).collect())
}

/// The addresses that a slot may hold, alone or packed with flags at either end.
pub(crate) fn addresses_in(value: U256) -> Vec<Address> {
    if value.bit_len() <= 80 {
        return Vec::new();
    }
    if let Some(address) = address_in(value) {
        // A packed pair of a flag and an address is as long as an address, or a byte longer.
        return vec![address];
    }
    let mask: U256 = (U256::ONE << 160) - U256::ONE;
    let packed = [value & mask, (value >> 8) & mask, (value >> 16) & mask, value >> 96];
    // More than these bytes and a few flags around them is a hash or a text.
    let plausible = value.bit_len() <= 184 || value.trailing_zeros() >= 96;
    packed.into_iter().filter(|_| plausible).filter_map(address_in).collect()
}
