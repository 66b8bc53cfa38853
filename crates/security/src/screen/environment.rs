//! The same transaction in another block: code that behaves well only where it is looked at shows itself
//! (`security-services.md` 5.5, `env.*`).
//!
//! Only what asked for its environment is run again, in the next block, of another producer, with other randomness and
//! fees. All of it follows from the block at hand, so that everybody tries the same.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, I256, U256};
use surety_evm::{Call, Checkpoint, EnvReads, Head, Session, Simulation, StateError, Status};

use super::facts::deltas;
use crate::envelope::Reason;
use crate::simulate::{Simulated, granted};
use crate::state::reason;

/// Amounts that differ by less than one part in so many are the same: interest accrues from block to block.
const TOLERANCE: U256 = U256::from_limbs([100, 0, 0, 0]);
/// A tip, in wei a gas.
const TIP: u128 = 1_000_000_000;

/// What differs in another block, of what a run did from `before` on. The session is left as it is.
///
/// # Errors
/// [`Reason`] why that could not be tried.
pub(super) fn differences(
    session: &mut Session,
    before: &Checkpoint,
    simulated: &Simulated,
) -> Result<Vec<&'static str>, Reason> {
    let here = &simulated.simulation;
    let asked = here.outcome.trace.env();
    if !asks(asked) {
        return Ok(Vec::new());
    }
    let after = session.checkpoint();
    session.restore(before);
    let there = elsewhere(session, simulated, asked);
    let coinbases = [session.head().coinbase, simulated.coinbase];
    session.restore(&after);
    let there = there.map_err(|error| reason(&error))?;
    if there.outcome.status == Status::OutOfBudget || there.changes.incomplete {
        return Err(Reason::OutOfGasBudget);
    }
    Ok(compare(here, &there, simulated.call.from, coinbases))
}

/// Whether code asked for anything that another block has otherwise.
const fn asks(env: EnvReads) -> bool {
    env.timestamp
        || env.number
        || env.coinbase
        || env.gas_price
        || env.base_fee
        || env.prevrandao
        || env.gas_limit
        || env.block_hash
        || env.blob
        || env.balances
}

fn elsewhere(session: &mut Session, simulated: &Simulated, asked: EnvReads) -> Result<Simulation, StateError> {
    let call = &simulated.call;
    let head = session.head_mut();
    next(head);
    let price = call.gas_price.unwrap_or_default().max(u128::from(head.base_fee)).saturating_add(TIP);
    if asked.balances {
        // Fees are paid before the first instruction; a simulation charges none.
        let balance = session.balance(call.from)?;
        let rest = balance.saturating_sub(simulated.fee.max(U256::ONE));
        if rest >= call.value {
            session.set_balance(call.from, rest)?;
        }
    }
    session.simulate(&Call { gas_price: Some(price), ..call.clone() })
}

/// The next block, in everything that its producer or chance decides as unlike this one as it may be.
fn next(head: &mut Head) {
    head.advance_blocks(1);
    head.coinbase = Address::from(head.coinbase.0.0.map(|byte| !byte));
    head.prevrandao = !head.prevrandao;
    // An odd step: code may look at whether a number is even.
    head.base_fee = head.base_fee.saturating_add((head.base_fee / 8) | 1);
    head.gas_limit = head.gas_limit.saturating_add(head.gas_limit / 1_024);
    head.excess_blob_gas = head.excess_blob_gas.saturating_add(1 << 17);
}

fn compare(here: &Simulation, there: &Simulation, sender: Address, coinbases: [Address; 2]) -> Vec<&'static str> {
    if kind(&here.outcome.status) != kind(&there.outcome.status) {
        return vec!["status"];
    }
    let mut differing = Vec::new();
    if !are_close(&moved(here, there, sender, coinbases)) {
        differing.push("balances");
    }
    if !are_close(&allowed(here, there)) || operators(here) != operators(there) {
        differing.push("allowances");
    }
    if here.changes.ownership != there.changes.ownership {
        differing.push("owners");
    }
    differing
}

/// How a run ended; the gas at hand may make it end another way without being another outcome.
const fn kind(status: &Status) -> u8 {
    match status {
        Status::Success => 0,
        Status::Revert | Status::Halt(_) => 1,
        Status::OutOfBudget => 2,
    }
}

/// What is compared, here and there.
type Pairs<K> = BTreeMap<K, (I256, I256)>;

fn are_close<K>(pairs: &Pairs<K>) -> bool {
    pairs.values().all(|(here, there)| {
        let larger = here.unsigned_abs().max(there.unsigned_abs());
        here.is_negative() == there.is_negative() && here.wrapping_sub(*there).unsigned_abs() <= larger / TOLERANCE
    })
}

/// What the sender has more or less, and who else has more or less of what the sender gives. The producers of both blocks
/// are left out: each gets its tip in its own.
fn moved(
    here: &Simulation,
    there: &Simulation,
    sender: Address,
    coinbases: [Address; 2],
) -> Pairs<(Address, Option<Address>, Option<U256>)> {
    let (here, there) = (deltas(here), deltas(there));
    let own = here.iter().chain(&there).filter(|delta| delta.owner == sender && delta.change.is_negative());
    let given: BTreeSet<_> = own.map(|delta| (delta.token, delta.id)).collect();
    let mut pairs: Pairs<_> = BTreeMap::new();
    for (delta, is_here) in here.iter().map(|delta| (delta, true)).chain(there.iter().map(|delta| (delta, false))) {
        let counts = delta.owner == sender || given.contains(&(delta.token, delta.id));
        if counts && !coinbases.contains(&delta.owner) {
            let pair = pairs.entry((delta.owner, delta.token, delta.id)).or_default();
            *(if is_here { &mut pair.0 } else { &mut pair.1 }) = delta.change;
        }
    }
    pairs
}

/// Allowances that rise. Those without a limit are as large as may be in both.
fn allowed(here: &Simulation, there: &Simulation) -> Pairs<(Address, Address, Address, Option<Address>)> {
    let mut pairs: Pairs<_> = BTreeMap::new();
    for (simulation, is_here) in [(here, true), (there, false)] {
        for change in granted(simulation) {
            let after = I256::try_from(change.after.unwrap_or_default()).unwrap_or(I256::MAX);
            let pair = pairs.entry((change.token, change.owner, change.spender, change.via)).or_default();
            *(if is_here { &mut pair.0 } else { &mut pair.1 }) = after;
        }
    }
    pairs
}

fn operators(simulation: &Simulation) -> BTreeSet<(Address, Address, Address, Option<U256>)> {
    let given = simulation.changes.operators.iter().filter(|change| change.after == Some(true));
    given.map(|change| (change.token, change.owner, change.operator, change.id)).collect()
}
