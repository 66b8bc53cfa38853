//! Contracts that run other contracts' code: which code really decides, and who may change it.

use std::collections::BTreeSet;

use alloy_primitives::{Address, B256, Bytes, U256, b256};
use alloy_sol_types::SolCall as _;
use serde::Serialize;
use surety_evm::{Frame, FrameKind, Outcome, Session, StateError};

use super::abi::{self, address_in, encode};
use super::lab::{ask, peek};

/// Proxies behind proxies that are followed.
const DEPTH: usize = 4;
/// Facets of a diamond that are looked at.
const MOST_FACETS: usize = 32;

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

    /// The contracts beside this one that say which code runs: part of the proxy, whoever has written them.
    pub(crate) fn beacons(&self, address: Address) -> BTreeSet<Address> {
        self.slots.iter().map(|(holder, _)| *holder).filter(|holder| *holder != address).collect()
    }
}

/// Follows an address to the code that runs.
pub(crate) fn resolve(session: &mut Session, address: Address) -> Result<Proxy, StateError> {
    let mut proxy = Proxy::default();
    let mut at = address;
    for _ in 0..DEPTH {
        let Some((kind, next, slots)) = step(session, address, at)? else { break };
        proxy.kind.get_or_insert(kind);
        proxy.slots.extend(slots);
        if next == at || proxy.implementations.contains(&next) {
            break;
        }
        proxy.implementations.push(next);
        at = next;
    }
    custom(session, address, &mut proxy)?;
    for slot in [EIP1967_ADMIN, ZEPPELIN_ADMIN] {
        let slot = U256::from_be_bytes(slot.0);
        if let Some(admin) = address_in(session.storage(address, slot)?) {
            proxy.admin.get_or_insert(admin);
            proxy.slots.insert((address, slot));
        }
    }
    Ok(proxy)
}

type Step = (Kind, Address, Vec<(Address, U256)>);

/// One proxy further; storage is always that of the outermost.
fn step(session: &mut Session, storage: Address, at: Address) -> Result<Option<Step>, StateError> {
    let code = session.code(at)?;
    if let Some(delegate) = code.strip_prefix(&[0xef, 0x01, 0x00]).filter(|rest| rest.len() == 20) {
        return Ok(Some((Kind::Delegation, Address::from_slice(delegate), Vec::new())));
    }
    if let Some(target) = minimal(&code) {
        return Ok(Some((Kind::Minimal, target, Vec::new())));
    }
    for (kind, slot) in [(Kind::Eip1967, EIP1967), (Kind::Zeppelin, ZEPPELIN), (Kind::Eip1822, EIP1822)] {
        // Code that cannot know its slot does not use it: the constant stands in the code.
        let slot = U256::from_be_bytes(slot.0);
        if let Some(target) = address_in(session.storage(storage, slot)?)
            && at == storage
            && !session.code(target)?.is_empty()
        {
            return Ok(Some((kind, target, vec![(storage, slot)])));
        }
    }
    let slot = U256::from_be_bytes(BEACON.0);
    if at == storage
        && let Some(beacon) = address_in(session.storage(storage, slot)?)
    {
        let answer = peek(session, Address::ZERO, beacon, encode(&abi::implementationCall {}))?;
        if let Some(target) = answer.word().and_then(address_in) {
            let slots = holders(&answer, target).chain([(storage, slot)]).collect();
            return Ok(Some((Kind::Beacon, target, slots)));
        }
    }
    Ok(None)
}

/// The slots that a call read an address from.
fn holders(outcome: &Outcome, address: Address) -> impl Iterator<Item = (Address, U256)> {
    outcome.trace.reads.iter().filter(move |(_, value)| address_in(**value) == Some(address)).map(|(slot, _)| *slot)
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

/// By whatever convention: what `totalSupply()`, `transfer` and `balanceOf` hand on by DELEGATECALL, input unchanged.
fn custom(session: &mut Session, address: Address, proxy: &mut Proxy) -> Result<(), StateError> {
    let calls = [
        encode(&abi::totalSupplyCall {}),
        encode(&abi::transferCall { _0: address, _1: U256::ZERO }),
        encode(&abi::balanceOfCall(address)),
    ];
    let (mut handed_on, mut by_selector) = (false, false);
    for call in calls {
        let outcome = peek(session, Address::ZERO, address, call.clone())?;
        // Who sends is the same in a delegate call as around it: whose storage it works on tells by whom it is made.
        let is_handed_on =
            |frame: &&Frame| frame.kind == FrameKind::DelegateCall && frame.context == address && frame.input == call;
        for frame in outcome.trace.frames.iter().skip(1).filter(is_handed_on) {
            handed_on = true;
            let hashed = |input: &Bytes| input.windows(4).any(|window| window == &call[..4]);
            by_selector |= outcome.trace.preimages.values().any(hashed);
            if !proxy.implementations.contains(&frame.to) {
                proxy.implementations.push(frame.to);
                proxy.slots.extend(holders(&outcome, frame.to));
            }
        }
    }
    if handed_on {
        let selector = [0x70, 0xa0, 0x82, 0x31];
        let facet = ask(session, address, encode(&abi::facetAddressCall(selector.into())))?.and_then(address_in);
        let is_diamond = by_selector || facet.is_some_and(|facet| proxy.implementations.contains(&facet));
        proxy.kind.get_or_insert(Kind::Custom);
        if is_diamond {
            proxy.kind = Some(Kind::Diamond);
            facets(session, address, proxy)?;
        }
    }
    Ok(())
}

/// The facets that a diamond says it has.
fn facets(session: &mut Session, address: Address, proxy: &mut Proxy) -> Result<(), StateError> {
    let answer = peek(session, Address::ZERO, address, encode(&abi::facetAddressesCall {}))?;
    let told = abi::facetAddressesCall::abi_decode_returns(&answer.output).unwrap_or_default();
    for facet in told.into_iter().take(MOST_FACETS) {
        if facet != address && !proxy.implementations.contains(&facet) && !session.code(facet)?.is_empty() {
            proxy.implementations.push(facet);
        }
    }
    Ok(())
}
