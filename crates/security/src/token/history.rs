//! What the chain's history tells of a token, checked against its state (`security-services.md` 3.1, source H).
//!
//! History is what logs claim. A balance is read again before it is shown; where one is another than the logs make it, the
//! list may lack somebody and is unknown.

use alloy_primitives::{Address, U256};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::Serialize;
use serde_json::{Value, json};
use surety_evm::index::{Holders, Index};
use surety_evm::{Limits, Session, Snapshot, StateError};

use super::abi::{self, encode};
use super::lab::{Lab, ask};
use super::market::{self, Kind};
use super::report::{Report, Why, lower, share};
use super::trial::{Seed, realistic};
use super::{Params, Refused, Stop, ledger, probe};

/// Holders shown.
const MOST_HOLDERS: usize = 10;
/// Other contracts of a creator that are tried.
const MOST_SIBLINGS: usize = 4;
/// Instructions for finding the pool whose shares are looked up.
const SEARCH_STEPS: u64 = 4_000_000;

/// Somebody who has the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, BorshSerialize, BorshDeserialize)]
pub struct Holder {
    /// Who.
    pub address: Address,
    /// How much, in base units.
    pub balance: U256,
}

/// Who has something, as all transfers since the beginning add up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, BorshSerialize, BorshDeserialize)]
pub struct Held {
    /// The largest, the largest first.
    pub top: Vec<Holder>,
    /// How many there are.
    pub count: u64,
    /// What all of them have, in base units.
    pub total: U256,
    /// Whether nobody sent more than he had received.
    pub is_consistent: bool,
}

/// What else an account made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, BorshSerialize, BorshDeserialize)]
pub struct Siblings {
    /// Contracts, in order of address.
    pub contracts: Vec<Address>,
    /// Whether these are all.
    pub is_whole: bool,
}

/// What the chain's history tells of a token; whoever has an index fills it in. What is absent is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, BorshSerialize, BorshDeserialize)]
pub struct History {
    /// Who sent the transaction that made it.
    pub creator: Option<Address>,
    /// What else that account made.
    pub siblings: Option<Siblings>,
    /// Who has the token.
    pub holders: Option<Held>,
    /// The first pool, and who has its shares.
    pub shares: Option<(Address, Held)>,
}

impl History {
    /// What an index knows of a token after the snapshot's block.
    ///
    /// # Errors
    /// [`StateError`] when the state in which its pools are looked for could not be read.
    pub fn of(index: &Index, snapshot: &Snapshot, token: Address, params: &Params) -> Result<Self, StateError> {
        let block = Some(snapshot.head.number);
        let is_whole = index.covered().is_some_and(|covered| *covered.start() == 0);
        let creator = index.creation(token, block).map(|creation| creation.origin);
        let pool = first_pool(snapshot, token, params)?;
        // Transfers before the first block that was replayed are missing, but for what was made after it.
        let held = |of: Address| {
            let from_the_start = is_whole || index.creation(of, block).is_some();
            index.holders(of, block, MOST_HOLDERS).filter(|_| from_the_start).map(Held::from)
        };
        let siblings = creator.and_then(|creator| {
            // The token itself, its pool, and one more, by which it shows that there are too many.
            let made = index.created_by(creator, block, MOST_SIBLINGS + 3)?;
            let others = made.into_iter().map(|(contract, _)| contract);
            let mut contracts: Vec<Address> =
                others.filter(|contract| *contract != token && Some(*contract) != pool).collect();
            let is_whole = is_whole && contracts.len() <= MOST_SIBLINGS;
            contracts.truncate(MOST_SIBLINGS);
            Some(Siblings { contracts, is_whole })
        });
        let shares = pool.and_then(|pool| Some((pool, held(pool)?)));
        Ok(Self { creator, siblings, holders: held(token), shares })
    }
}

impl From<Holders> for Held {
    fn from(found: Holders) -> Self {
        let holder = |one: surety_evm::index::Holder| Holder { address: one.address, balance: one.balance };
        Self {
            top: found.top.into_iter().map(holder).collect(),
            count: found.count as u64,
            total: found.total,
            is_consistent: !found.inconsistent,
        }
    }
}

/// The pool that a token is tried in, where it has one with shares.
fn first_pool(snapshot: &Snapshot, token: Address, params: &Params) -> Result<Option<Address>, StateError> {
    let mut session = Session::new(snapshot, Limits { session_steps: SEARCH_STEPS, ..Limits::default() });
    let named = ledger::named(&mut session, token)?;
    let pools = market::pools(&mut session, token, params, &named)?;
    Ok(pools.first().filter(|pool| pool.kind == Kind::V2 && pool.is_live()).map(|pool| pool.pair))
}

/// Writes the fields that history tells.
pub(super) fn tell(
    report: &mut Report,
    session: &mut Session,
    snapshot: &Snapshot,
    token: Address,
    params: &Params,
    history: &History,
) -> Result<(), Refused> {
    let supply = ask(session, token, encode(&abi::totalSupplyCall {}))?.unwrap_or_default();
    if let Some(creator) = history.creator {
        let has = balance(session, token, creator)?;
        report.put("creator_address", json!(lower(creator)));
        report.put("creator_balance", json!(has.to_string()));
        report.put("creator_percent", json!(share(has, supply)));
    }
    if let Some(held) = &history.holders {
        show(report, session, (token, supply), held, ["holders", "holder_count"])?;
    }
    let pool = report.pools.first().map(|pool| pool.pair);
    if let Some((pair, held)) = history.shares.as_ref().filter(|(pair, _)| Some(*pair) == pool) {
        let shares = ask(session, *pair, encode(&abi::totalSupplyCall {}))?.unwrap_or_default();
        show(report, session, (*pair, shares), held, ["lp_holders", "lp_holder_count"])?;
    }
    if let Some(siblings) = &history.siblings {
        siblings_of(report, snapshot, params, siblings)?;
    }
    Ok(())
}

/// Writes who has something, where every balance is what the transfers make it and nobody is missing.
fn show(
    report: &mut Report,
    session: &mut Session,
    (of, supply): (Address, U256),
    held: &Held,
    [list, count]: [&'static str; 2],
) -> Result<(), StateError> {
    let mut agrees = held.is_consistent && held.total == supply;
    let mut shown = Vec::new();
    for holder in held.top.iter().take(MOST_HOLDERS) {
        let has = balance(session, of, holder.address)?;
        agrees &= has == holder.balance;
        let is_contract = i32::from(!session.code(holder.address)?.is_empty());
        shown.push(json!({"address": lower(holder.address), "tag": "", "is_contract": is_contract,
            "balance": has.to_string(), "percent": share(has, supply)}));
    }
    if agrees {
        report.put(list, json!(shown));
        report.put(count, json!(held.count.to_string()));
    } else {
        report.unknown(&[list, count], Why::UnsupportedContract);
        report.notes.push(format!("{list}: balances are not what transfers add up to"));
    }
    Ok(())
}

fn balance(session: &mut Session, token: Address, of: Address) -> Result<U256, StateError> {
    Ok(ask(session, token, encode(&abi::balanceOfCall(of)))?.unwrap_or_default())
}

/// Tries what else the creator made.
fn siblings_of(report: &mut Report, snapshot: &Snapshot, params: &Params, siblings: &Siblings) -> Result<(), Refused> {
    let field = "honeypot_with_same_creator";
    let mut is_known = siblings.is_whole;
    for contract in siblings.contracts.iter().copied().take(MOST_SIBLINGS) {
        match is_trap(snapshot, contract, params)? {
            Some(true) => {
                report.put(field, Value::from("1"));
                return Ok(());
            }
            Some(false) => {}
            None => is_known = false,
        }
    }
    if is_known {
        report.put(field, Value::from("0"));
    } else {
        let why = if siblings.is_whole { Why::UnsupportedContract } else { Why::OutOfGasBudget };
        report.unknown(&[field], why);
    }
    Ok(())
}

/// Whether a contract is a token that can be bought and not sold. Nothing where it could not be tried.
fn is_trap(snapshot: &Snapshot, contract: Address, params: &Params) -> Result<Option<bool>, Refused> {
    let seed = Seed::new(snapshot, contract)?;
    let mut session = realistic(snapshot, seed, seed.limits(params));
    // What says neither how much there is of it nor who has some is no token.
    let supply = ask(&mut session, contract, encode(&abi::totalSupplyCall {}))?;
    let has = ask(&mut session, contract, encode(&abi::balanceOfCall(seed.address("buyer"))))?;
    if supply.is_none() && has.is_none() {
        return Ok(Some(false));
    }
    let named = ledger::named(&mut session, contract)?;
    let pools = market::pools(&mut session, contract, params, &named)?;
    let tried = Lab::new(session, seed, contract, params, &pools)
        .and_then(|lab| lab.ok_or(Stop::Market))
        .and_then(|mut lab| probe::probe(&mut lab, &Default::default(), params, &pools));
    match tried {
        Ok(probe) => Ok(probe.is_trap()),
        Err(Stop::State(error)) => Err(error.into()),
        Err(Stop::Budget | Stop::Market) => Ok(None),
    }
}
