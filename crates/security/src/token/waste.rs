//! What a call buys at its sender's cost besides what it is for: contracts, storage, computation.
//!
//! Chains sell both, and whoever lets others pay can sell it on: tokens of gas are made of stored words or of contracts
//! that nobody runs (`security-services.md` 3.1 and 3.2, `gas_abuse`).

use std::collections::BTreeSet;

use alloy_primitives::U256;
use serde::Serialize;
use surety_evm::Outcome;

/// A movement or an approval above this gas is for something else too.
const ABUSIVE_GAS: u64 = 600_000;
/// Slots that a movement may fill which were empty: balances, allowances, checkpoints of votes, shares of a fee.
const MOST_SLOTS: usize = 10;

/// What was bought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Waste {
    /// New contracts.
    Contracts,
    /// More new slots than any movement needs.
    Storage,
    /// More gas than any movement needs.
    Gas,
}

/// What an ordinary call bought besides. Gas is paid for by whoever fails, too.
pub(crate) fn of(outcome: &Outcome) -> BTreeSet<Waste> {
    let filled = outcome.trace.writes.iter().filter(|write| write.before == U256::ZERO && write.after != U256::ZERO);
    let found = [
        (Waste::Contracts, !outcome.trace.created.is_empty()),
        (Waste::Storage, filled.count() > MOST_SLOTS),
        (Waste::Gas, outcome.gas_used > ABUSIVE_GAS),
    ];
    found.into_iter().filter(|(_, is_found)| *is_found).map(|(kind, _)| kind).collect()
}
