//! Epochs: who keeps the ledger, with which weight, and what it would take to make them misbehave.
//!
//! Invariant: one weight table serves committee, checkpoints and attestations; consensus counts seats, one an operator.
//! Never here: how stake becomes weight (that is restaking's), and anything that grows with the number of accounts.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::header::{Committee, Seat};
use surety_primitives::{Amount, Epoch, Hash32, NetworkId, OperatorId};

use crate::context::Context;
use crate::state::Map;

/// epoch → operators with their weights, in rising order of id; at most 256.
pub const WEIGHTS: Map<Epoch, Vec<Weight>> = Map::new(5, "epochs/weights");
/// epoch → seats in rising order of network key; at most 64.
pub const COMMITTEE: Map<Epoch, Vec<SeatRecord>> = Map::new(6, "epochs/committee");

/// An operator's weight in an epoch.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Weight {
    /// The operator.
    pub operator: OperatorId,
    /// Its stake at AVS 0, capped and floored.
    pub weight: Amount,
}

/// One seat of an epoch.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SeatRecord {
    /// Who holds it.
    pub operator: OperatorId,
    /// Its keys.
    pub seat: Seat,
    /// Its weight.
    pub weight: Amount,
}

/// The least that must misbehave together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Least {
    /// Fewest operators.
    pub operators: usize,
    /// Least weight that so many can have.
    pub stake: Amount,
}

/// What the committee withstands: the claim is never larger than this (`design.md` 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Security {
    /// To stop it: so many seats missing that no quorum is left.
    pub halt: Least,
    /// To make two blocks final at one height: so many seats in two quorums.
    pub fork: Least,
    /// To make a false state final: a quorum of seats.
    pub steal: Least,
}

/// What a committee of these seats withstands.
#[must_use]
pub fn security(seats: &[SeatRecord]) -> Security {
    let mut weights: Vec<Amount> = seats.iter().map(|seat| seat.weight).collect();
    weights.sort_unstable();
    let least = |operators: usize| Least {
        operators,
        stake: weights.iter().take(operators).fold(Amount::ZERO, |sum, weight| sum.saturating_add(*weight)),
    };
    let n = seats.len();
    let faulty = n.saturating_sub(1).div_euclid(3);
    let quorum = n.saturating_sub(faulty);
    Security {
        halt: least(n.saturating_sub(quorum).saturating_add(1)),
        fork: least(quorum.saturating_mul(2).saturating_sub(n)),
        steal: least(quorum),
    }
}

/// The committee as light clients state it.
#[must_use]
pub fn committee(network: NetworkId, genesis: Hash32, epoch: Epoch, seats: &[SeatRecord]) -> Committee {
    Committee { network, genesis, epoch, seats: seats.iter().map(|record| record.seat.clone()).collect() }
}

/// Writes the first epoch's tables.
pub(crate) fn install(ctx: &mut Context<'_>, mut seats: Vec<SeatRecord>) {
    seats.sort_by_key(|record| record.seat.peer);
    let mut weights: Vec<Weight> =
        seats.iter().map(|record| Weight { operator: record.operator, weight: record.weight }).collect();
    weights.sort_by_key(|weight| weight.operator);
    WEIGHTS.set(ctx, &Epoch(0), &weights);
    COMMITTEE.set(ctx, &Epoch(0), &seats);
}

#[cfg(test)]
mod tests {
    use super::*;
    use surety_primitives::bls::BlsKey;
    use surety_primitives::typed_data::Bytes32;

    fn seats(weights: &[u64]) -> Vec<SeatRecord> {
        let seat = Seat { peer: Bytes32([0; 32]), key: BlsKey([0; 96]) };
        weights
            .iter()
            .map(|w| SeatRecord { operator: OperatorId::default(), seat: seat.clone(), weight: Amount::call(*w) })
            .collect()
    }

    #[test]
    fn the_claim_is_computed_from_the_lightest_seats() {
        let four = security(&seats(&[40, 10, 30, 20]));
        assert_eq!(four.halt, Least { operators: 2, stake: Amount::call(30) });
        assert_eq!(four.fork, Least { operators: 2, stake: Amount::call(30) });
        assert_eq!(four.steal, Least { operators: 3, stake: Amount::call(60) });
        let one = security(&seats(&[5]));
        assert_eq!((one.halt.operators, one.fork.operators, one.steal.operators), (1, 1, 1));
        let seven = security(&seats(&[1; 7]));
        assert_eq!((seven.halt.operators, seven.fork.operators, seven.steal.operators), (3, 3, 5));
    }
}
