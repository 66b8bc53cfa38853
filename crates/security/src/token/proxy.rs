//! Contracts that run other contracts' code: which code really decides, and who may change it.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, U256, b256};
use serde::Serialize;
use surety_evm::{FrameKind, Session, StateError};

use super::abi::{self, address_in, encode};
use super::lab::{ask, peek};

/// Proxies behind proxies that are followed.
const DEPTH: usize = 4;

/// `keccak256("eip1967.proxy.implementation") - 1`.
const EIP1967: B256 = b256!("360894a13ba1a3210667c828492db98dca3e2076cc3735a920a3ca505d382bbc");
/// `keccak256("eip1967.proxy.admin") - 1`.
const EIP1967_ADMIN: B256 = b256!("b53127684a568b3173ae13b9f8a6016e243e63b6e8ee1178d6a717850b5d6103");
/// `keccak256("eip1967.proxy.beacon") - 1`.
const BEACON: B256 = b256!("a3f0ad74e5423aebfd80d3ef4346578335a9a72aeaee59ff6cb3582b35133d50");
/// `keccak256("PROXIABLE")`.
const EIP1822: B256 = b256!("c5f16f0fcc639fa48a6947836d9850f504798523bf8c9a3a87d5876cf622bcf7");
/// `keccak256("org.zeppelinos.proxy.implementation")`, from before EIP-1967; USDC has it.
const ZEPPELIN: B256 = b256!("7050c9e0f4ca769c69bd3a8ef740bc37934f8e2c036e5a723fd8ee048ed3f8c3");
/// `keccak256("org.zeppelinos.proxy.admin")`.
const ZEPPELIN_ADMIN: B256 = b256!("10d6a54a4754c8869d6886b5f5d7fbfa5b4522237ea5c60d11bc4e7a1ff9390b");

/// By which convention a contract runs another's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// EIP-1967: the implementation in its slot.
    Eip1967,
    /// EIP-1967: a beacon in its slot says the implementation.
    Beacon,
    /// EIP-1822.
    Eip1822,
    /// The slots of ZeppelinOS.
    Zeppelin,
    /// EIP-1167: a fixed copy, with nobody who could change it.
    Minimal,
    /// EIP-2535: a function at a time.
    Diamond,
    /// EIP-7702: an account with a delegation.
    Delegation,
    /// By no convention: an ordinary call is handed on to another's code.
    Custom,
}

/// What runs behind an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proxy {
    /// The convention, `None` when the code at the address is all there is.
    pub kind: Option<Kind>,
    /// The code that decides in the end, outermost first.
    pub implementations: Vec<Address>,
    /// Who may change it, as far as its slots say.
    pub admin: Option<Address>,
    /// The slots that decide which code runs, with the contract they are in.
    pub slots: BTreeSet<(Address, U256)>,
}

impl Proxy {
    /// Whether the code that runs can be another tomorrow.
    pub fn can_change(&self) -> bool {
        self.kind.is_some_and(|kind| kind != Kind::Minimal)
    }
}

/// Follows an address to the code that runs.
pub(crate) fn resolve(session: &mut Session, address: Address) -> Result<Proxy, StateError> {
    let mut proxy = Proxy::default();
    let mut at = address;
    for _ in 0..DEPTH {
        let Some((kind, next, slot)) = step(session, address, at)? else { break };
        proxy.kind.get_or_insert(kind);
        proxy.slots.extend(slot);
        if next == at || proxy.implementations.contains(&next) {
            break;
        }
        proxy.implementations.push(next);
        at = next;
    }
    if proxy.kind.is_none() {
        custom(session, address, &mut proxy)?;
    }
    for slot in [EIP1967_ADMIN, ZEPPELIN_ADMIN] {
        let slot = U256::from_be_bytes(slot.0);
        if let Some(admin) = address_in(session.storage(address, slot)?) {
            proxy.admin.get_or_insert(admin);
            proxy.slots.insert((address, slot));
        }
    }
    Ok(proxy)
}

type Step = (Kind, Address, Option<(Address, U256)>);

/// One proxy further; storage is always that of the outermost.
fn step(session: &mut Session, storage: Address, at: Address) -> Result<Option<Step>, StateError> {
    let code = session.code(at)?;
    if let Some(delegate) = code.strip_prefix(&[0xef, 0x01, 0x00]).filter(|rest| rest.len() == 20) {
        return Ok(Some((Kind::Delegation, Address::from_slice(delegate), None)));
    }
    if let Some(target) = minimal(&code) {
        return Ok(Some((Kind::Minimal, target, None)));
    }
    for (kind, slot) in [(Kind::Eip1967, EIP1967), (Kind::Zeppelin, ZEPPELIN), (Kind::Eip1822, EIP1822)] {
        // Code that cannot know its slot does not use it: the constant stands in the code.
        let slot = U256::from_be_bytes(slot.0);
        if let Some(target) = address_in(session.storage(storage, slot)?)
            && at == storage
            && !session.code(target)?.is_empty()
        {
            return Ok(Some((kind, target, Some((storage, slot)))));
        }
    }
    let slot = U256::from_be_bytes(BEACON.0);
    if at == storage
        && let Some(beacon) = address_in(session.storage(storage, slot)?)
        && let Some(target) = ask(session, beacon, encode(&abi::implementationCall {}))?.and_then(address_in)
    {
        return Ok(Some((Kind::Beacon, target, Some((storage, slot)))));
    }
    Ok(None)
}

/// EIP-1167: `363d3d373d3d3d363d73 <address> 5af43d82803e903d91602b57fd5bf3`, and its shorter forms.
fn minimal(code: &[u8]) -> Option<Address> {
    const HEAD: [u8; 9] = [0x36, 0x3d, 0x3d, 0x37, 0x3d, 0x3d, 0x3d, 0x36, 0x3d];
    let rest = code.strip_prefix(&HEAD)?;
    let length = usize::from(rest.first()?.checked_sub(0x5f)?);
    let bytes = rest.get(1..=length).filter(|_| (14..=20).contains(&length))?;
    let mut padded = [0; 20];
    padded[20 - length..].copy_from_slice(bytes);
    rest.get(1 + length..1 + length + 2).is_some_and(|next| next == [0x5a, 0xf4]).then(|| Address::from(padded))
}

/// By no convention: what `totalSupply()` and `transfer` hand on by DELEGATECALL, input unchanged.
fn custom(session: &mut Session, address: Address, proxy: &mut Proxy) -> Result<(), StateError> {
    let calls = [
        encode(&abi::totalSupplyCall {}),
        encode(&abi::transferCall { _0: address, _1: U256::ZERO }),
        encode(&abi::balanceOfCall(address)),
    ];
    for call in calls {
        let outcome = peek(session, Address::ZERO, address, call.clone())?;
        for frame in outcome.trace.frames.iter().skip(1) {
            let handed_on = frame.kind == FrameKind::DelegateCall
                && frame.context == address
                && frame.from == address
                && frame.input == call;
            if handed_on && !proxy.implementations.contains(&frame.to) {
                proxy.implementations.push(frame.to);
                let holders = outcome.trace.reads.iter().filter(|(_, value)| address_in(**value) == Some(frame.to));
                proxy.slots.extend(holders.map(|(slot, _)| *slot));
            }
        }
    }
    if !proxy.implementations.is_empty() {
        let selector = [0x70, 0xa0, 0x82, 0x31];
        let facet = ask(session, address, encode(&abi::facetAddressCall(selector.into())))?.and_then(address_in);
        let is_diamond = facet.is_some_and(|facet| proxy.implementations.contains(&facet));
        proxy.kind = Some(if is_diamond { Kind::Diamond } else { Kind::Custom });
    }
    Ok(())
}
