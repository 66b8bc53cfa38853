//! Counters of the node's own parts, beside those of the engine and the runtime.

use commonware_runtime::Metrics;
use commonware_runtime::telemetry::metrics::{Counter, Gauge, MetricsExt as _};
use surety_primitives::header::Header;

use crate::mempool::Stats;

pub(crate) struct Counters {
    pub(crate) admitted: Counter,
    pub(crate) refused: Counter,
    pub(crate) faults: Counter,
    pub(crate) invalid_blocks: Counter,
    pub(crate) proposed: Counter,
    blocks: Counter,
    transactions: Counter,
    height: Gauge,
    clock: Gauge,
    waiting: Gauge,
    waiting_bytes: Gauge,
}

impl Counters {
    pub(crate) fn new(context: &impl Metrics) -> Self {
        Self {
            admitted: context.counter("transactions_admitted", "Transactions taken into the pool"),
            refused: context.counter("transactions_refused", "Transactions that the pool did not take"),
            faults: context.counter("faults", "Proven faults of other seats that were seen"),
            invalid_blocks: context.counter("invalid_blocks", "Blocks of others that were found invalid"),
            proposed: context.counter("blocks_proposed", "Blocks that this seat built"),
            blocks: context.counter("blocks_final", "Final blocks that were applied"),
            transactions: context.counter("transactions_final", "Transactions in final blocks"),
            height: context.gauge("height", "Height of the newest final block that was applied"),
            clock: context.gauge("ledger_clock", "The ledger clock, seconds"),
            waiting: context.gauge("mempool_transactions", "Transactions that wait"),
            waiting_bytes: context.gauge("mempool_bytes", "Bytes of the transactions that wait"),
        }
    }

    pub(crate) fn finalized(&self, header: &Header, transactions: usize) {
        self.blocks.inc();
        self.transactions.inc_by(transactions as u64);
        self.height.set(signed(header.height.0));
        self.clock.set(signed(header.clock.0));
    }

    pub(crate) fn pool(&self, stats: &Stats) {
        self.waiting.set(signed(stats.transactions as u64));
        self.waiting_bytes.set(signed(stats.bytes as u64));
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
