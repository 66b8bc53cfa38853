//! A chain with the history that its node tells: who was ever approved.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use surety_evm::index::{Index, Span, backfill};
use surety_evm::{Chain, Snapshot, StateError};

use crate::output::{Failure, Output};

/// Logs that are read at most; more are a matter for an indexer that runs all the time.
const MOST_LOGS: usize = 2_000_000;

struct Told {
    chain: Arc<dyn Chain>,
    index: Arc<Index>,
}

impl Chain for Told {
    fn chain_id(&self) -> u64 {
        self.chain.chain_id()
    }

    fn snapshot(&self, block: Option<u64>) -> Result<Snapshot, StateError> {
        self.chain.snapshot(block)
    }

    fn index(&self) -> Option<Arc<Index>> {
        Some(Arc::clone(&self.index))
    }
}

/// The chain with what its logs from a block on tell. Blocks, on a thread that may.
pub(crate) fn read(chain: Arc<dyn Chain>, url: &str, from: u64, output: &Output) -> Result<Arc<dyn Chain>> {
    let newest = chain.snapshot(None).map_err(|error| Failure::environment(format!("{url}: {error}")))?;
    let to = newest.head.number;
    output.progress(format_args!("reading approvals in blocks {from} to {to}"));
    let span =
        Span { from, to, addresses: Vec::new(), step: 10_000, max_logs: MOST_LOGS, timeout: Duration::from_secs(60) };
    let client = reqwest::Client::new();
    let index = tokio::runtime::Handle::current().block_on(backfill(&client, url, &span));
    let index = index.context("the history could not be read: begin later with --from-block")?;
    Ok(Arc::new(Told { chain, index: Arc::new(index) }))
}
