//! The rules of the chain that need no state: which header may follow which, and where the chain starts.

use serde::{Deserialize, Serialize};
use surety_ledger::Genesis;
use surety_primitives::Hash32;
use surety_primitives::header::{Header, receipts_root, transactions_root};
use surety_primitives::ids::{Epoch, Height, Seconds};
use surety_primitives::typed_data::Bytes32;

/// The ledger clock advances by this many seconds a block at most, so that a halt lets no window lapse unseen
/// (`design.md` 5).
pub const MAX_CLOCK_STEP: u64 = 10;

/// How fast a leader makes blocks. Each node's own choice, but timeouts follow from it: keep it alike on all nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pacing {
    /// Least milliseconds between two blocks, 1 to 10 000.
    pub min_interval_ms: u64,
    /// Milliseconds after which an empty block is made, at least the former, at most 10 000.
    pub idle_interval_ms: u64,
}

impl Default for Pacing {
    fn default() -> Self {
        Self { min_interval_ms: 100, idle_interval_ms: 2_000 }
    }
}

impl Pacing {
    /// Whether both intervals are in range.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let Self { min_interval_ms: least, idle_interval_ms: idle } = *self;
        (1..=10_000).contains(&least) && (least..=10_000).contains(&idle)
    }
}

/// The header below block 1: an empty state. Nobody signs it; every node makes it up alike.
pub(crate) fn root_header(genesis: &Genesis, empty_root: Hash32, range: (u64, u64)) -> Header {
    Header {
        network: genesis.network,
        epoch: Epoch(0),
        view: 0,
        parent_view: 0,
        leader: genesis.committee().seats.first().map_or(Bytes32([0; 32]), |seat| seat.peer),
        parent: genesis.hash(),
        height: Height(0),
        time_ms: genesis.time_ms,
        clock: genesis.clock(),
        transactions_root: transactions_root(&[]),
        receipts_root: receipts_root(&[]),
        state_root: empty_root,
        ops_root: empty_root,
        range_start: range.0,
        range_end: range.1,
    }
}

/// Whether `header` may follow `parent`, by the rules that need neither state nor clock.
#[must_use]
pub fn may_follow(parent: &Header, header: &Header) -> bool {
    let common = header.network == parent.network
        && header.epoch == parent.epoch
        && header.height.0 == parent.height.0.saturating_add(1)
        && header.parent == parent.digest()
        && header.view > parent.view
        && header.parent_view == parent.view
        && header.clock == next_clock(parent, header.time_ms);
    // Block 1 carries the specification's time, so that every node writes the same first state.
    let first = header.time_ms == parent.time_ms && header.transactions_root == transactions_root(&[]);
    common && if header.height == Height(1) { first } else { header.time_ms > parent.time_ms }
}

/// The ledger clock of a block at `time_ms`. Whole seconds are counted on the wall clock, so that many short blocks
/// lose nothing to rounding.
#[must_use]
pub fn next_clock(parent: &Header, time_ms: u64) -> Seconds {
    let elapsed = (time_ms / 1_000).saturating_sub(parent.time_ms / 1_000);
    Seconds(parent.clock.0.saturating_add(elapsed.min(MAX_CLOCK_STEP)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use surety_primitives::ids::NetworkId;

    fn header(height: u64, time_ms: u64, clock: u64, parent: Hash32) -> Header {
        Header {
            network: NetworkId(7),
            epoch: Epoch(0),
            view: height,
            parent_view: height.saturating_sub(1),
            leader: Bytes32([1; 32]),
            parent,
            height: Height(height),
            time_ms,
            clock: Seconds(clock),
            transactions_root: transactions_root(&[]),
            receipts_root: receipts_root(&[]),
            state_root: Hash32([0; 32]),
            ops_root: Hash32([0; 32]),
            range_start: 0,
            range_end: 1,
        }
    }

    #[test]
    fn short_blocks_lose_no_time_and_a_halt_gives_at_most_ten_seconds() {
        let mut parent = header(5, 10_050, 100, Hash32([0; 32]));
        for step in 1..=20_u64 {
            let time_ms = 10_050 + step * 150;
            let next = header(5 + step, time_ms, next_clock(&parent, time_ms).0, parent.digest());
            assert!(may_follow(&parent, &next));
            parent = next;
        }
        assert_eq!(parent.clock, Seconds(103));
        assert_eq!(next_clock(&parent, parent.time_ms + 3_600_000), Seconds(113));
    }

    #[test]
    fn a_header_that_breaks_one_rule_may_not_follow() {
        let parent = header(5, 10_000, 100, Hash32([0; 32]));
        let good = header(6, 11_000, 101, parent.digest());
        assert!(may_follow(&parent, &good));
        let broken = [
            Header { network: NetworkId(8), ..good.clone() },
            Header { epoch: Epoch(1), ..good.clone() },
            Header { height: Height(7), ..good.clone() },
            Header { parent: Hash32([9; 32]), ..good.clone() },
            Header { view: 5, ..good.clone() },
            Header { parent_view: 4, ..good.clone() },
            Header { time_ms: 10_000, clock: Seconds(100), ..good.clone() },
            Header { clock: Seconds(102), ..good },
        ];
        for header in broken {
            assert!(!may_follow(&parent, &header), "{header:?}");
        }
    }

    #[test]
    fn block_1_has_the_time_of_the_specification_and_no_transactions() {
        let root = header(0, 10_000, 10, Hash32([0; 32]));
        let first = header(1, 10_000, 10, root.digest());
        assert!(may_follow(&root, &first));
        assert!(!may_follow(&root, &Header { time_ms: 10_001, ..first }));
        assert!(!may_follow(&root, &Header { transactions_root: Hash32([1; 32]), ..first }));
    }
}
