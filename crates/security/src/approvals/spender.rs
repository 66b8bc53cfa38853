//! `approval_security`: what is known of a contract that is to be approved.

use alloy_primitives::{Address, U256, b256};
use serde::Serialize;
use surety_evm::{Account, Snapshot, StateError};

use super::one_address;
use crate::envelope::{Reason, Refusal, Unknown, Verdict, raw};
use crate::parties::{AddressInfo, Parties};
use crate::service::{Card, Gathered, Request, RestsOn, Service, Sources};
use crate::state::{State, place, reason};
use crate::views::lower;

/// What is known of a spender.
#[derive(Clone, Debug, Serialize)]
pub struct Spender {
    #[serde(flatten)]
    info: AddressInfo,
    /// 1 where another contract's code runs, or another account decides which.
    is_proxy: u8,
    /// Whose code runs instead, where one slot says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    implementation: Option<String>,
}

/// Slots that name the code which runs instead of a proxy's own: EIP-1967 implementation and beacon, EIP-1822.
const PROXY_SLOTS: [U256; 3] = [
    U256::from_be_bytes(b256!("360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc").0),
    U256::from_be_bytes(b256!("a3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50").0),
    U256::from_be_bytes(b256!("c5f16f0fcc639fa48a6947836d9850f504798523bf8c9a3a87d5876cf622bcf7").0),
];
/// The code of a minimal proxy (EIP-1167), around the address that it forwards to.
const MINIMAL: (&[u8], &[u8]) = (
    &[0x36, 0x3d, 0x3d, 0x37, 0x3d, 0x3d, 0x3d, 0x36, 0x3d, 0x73],
    &[0x5a, 0xf4, 0x3d, 0x82, 0x80, 0x3e, 0x90, 0x3d, 0x91, 0x60, 0x2b, 0x57, 0xfd, 0x5b, 0xf3],
);
/// The code of an account that delegates (EIP-7702).
const DELEGATION: &[u8] = &[0xef, 0x01, 0x00];

/// Whose code runs at an address instead of its own.
///
/// # Errors
/// [`StateError`] when the state could not be read.
fn forwards_to(snapshot: &Snapshot, address: Address, account: &Account) -> Result<Option<Address>, StateError> {
    let code = snapshot.source.code(address, account.code_hash)?;
    let within = |before: &[u8], after: &[u8]| {
        let target = code.strip_prefix(before)?.strip_suffix(after)?;
        <[u8; 20]>::try_from(target).ok().map(Address::from)
    };
    if let Some(target) = within(MINIMAL.0, MINIMAL.1).or_else(|| within(DELEGATION, &[])) {
        return Ok(Some(target));
    }
    for slot in PROXY_SLOTS {
        let target = Address::from_word(snapshot.source.storage(address, slot)?.into());
        if !target.is_zero() {
            return Ok(Some(target));
        }
    }
    Ok(None)
}

/// Describes a spender at a block.
///
/// # Errors
/// [`StateError`] when the state could not be read.
pub fn spender(snapshot: &Snapshot, address: Address, parties: &mut Parties<'_>) -> Result<Spender, StateError> {
    let account = snapshot.source.account(address)?.filter(Account::has_code);
    let target = match &account {
        Some(account) => forwards_to(snapshot, address, account)?,
        None => None,
    };
    // An account that delegates is its holder's still, and no contract.
    let delegates = match &account {
        Some(account) => snapshot.source.code(address, account.code_hash)?.starts_with(DELEGATION),
        None => false,
    };
    let info = AddressInfo::new(parties.ask(address), account.is_some() && !delegates);
    Ok(Spender { info, is_proxy: u8::from(target.is_some()), implementation: target.map(lower) })
}

struct Question {
    spender: Address,
    request: Request,
}

/// The service.
#[derive(Debug)]
pub struct ApprovalSecurity;

impl Service for ApprovalSecurity {
    fn card(&self) -> Card {
        Card {
            reads_state: true,
            rests_on: Some(RestsOn::Addresses),
            ..Card::new("approval_security", "/api/v1/approval_security/{chain_id}")
        }
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        let (chain_id, block) = place(&request.segment, request)?;
        let spender = one_address(request, "contract_addresses")?;
        let state = sources.pin(chain_id, block)?;
        Ok(Gathered::about(sources.lists, Question { spender, request: request.clone() }, state))
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Verdict<'a>, Refusal> {
        let Some(Question { spender: address, request }) = gathered.question() else { return Err(Refusal::Address) };
        let mut parties = Parties::new(gathered.lists, request);
        let said = match &gathered.state {
            State::At(pinned) => spender(pinned.snapshot(), *address, &mut parties).map_err(|error| reason(&error)),
            absent => Err(absent.why_absent()),
        };
        let mut unknown = vec![
            Unknown::new("contract_name", Reason::NoSource),
            Unknown::new("is_open_source", Reason::NoSource),
            Unknown::new("creator_address", Reason::NoHistory),
            Unknown::new("deployed_time", Reason::NoHistory),
        ];
        unknown.extend(parties.unknown("doubt_list"));
        if let Err(reason) = said {
            unknown.extend(["is_contract", "is_proxy"].map(|field| Unknown::new(field, reason)));
        }
        Ok(Verdict::attested(raw(&said.ok()), unknown).resting_on(parties.into_looked(), Vec::new()))
    }
}
