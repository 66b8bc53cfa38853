//! Runs the ledger over the store: executes, and where a row is missing fetches it and tries again.
//!
//! The ledger is pure and synchronous, the store's reads are not; this is the only place where they meet.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use commonware_cryptography::sha256;
use commonware_glue::stateful::db::{Merkleized as _, Unmerkleized as _};
use commonware_runtime::Spawner;
use commonware_storage::Context as StorageContext;
use surety_ledger::{
    ApplyError, BlockMeta, BlockRun, Error, Genesis, Key, Outcome, Receipt, Row, Rows, VerifiedTransaction, prefetch,
};
use surety_primitives::Hash32;
use surety_primitives::header::receipts_root;

use crate::storage::{Batch, MAX_VALUE_BYTES, SealedBatch};

/// Rows that were read so far: the ledger's view of the state before the block.
#[derive(Debug, Default)]
pub(crate) struct Fetched(BTreeMap<Key, Option<Vec<u8>>>);

impl Rows for Fetched {
    fn row(&self, key: &Key) -> Row<'_> {
        match self.0.get(key) {
            Some(Some(value)) => Row::Present(value),
            Some(None) => Row::Absent,
            None => Row::Unknown,
        }
    }
}

impl Fetched {
    async fn fetch<S: Source>(&mut self, source: &S, keys: Vec<Key>) -> Result<(), S::Error> {
        if keys.is_empty() {
            return Ok(());
        }
        // Else the ledger would ask for ever, so the node stops.
        assert!(keys.iter().all(|key| !self.0.contains_key(key)), "the ledger asked again for a row that it was given");
        let values = source.read(&keys).await?;
        self.0.extend(keys.into_iter().zip(values));
        Ok(())
    }
}

/// Where rows come from: a block's batch, or the state at the tip.
pub(crate) trait Source: Sync {
    /// Why they cannot be read.
    type Error: Send;

    /// Reads rows in one pass.
    fn read(&self, keys: &[Key]) -> impl Future<Output = Result<Vec<Option<Vec<u8>>>, Self::Error>> + Send;
}

/// A block, or a trial of one: what was run so far, and the rows that were read for it.
pub(crate) struct Run {
    run: BlockRun,
    rows: Fetched,
}

impl Run {
    /// Starts with one read for what is sure to be touched.
    pub(crate) async fn begin<S: Source>(source: &S, meta: BlockMeta, keys: BTreeSet<Key>) -> Result<Self, S::Error> {
        let mut rows = Fetched::default();
        rows.fetch(source, keys.into_iter().collect()).await?;
        loop {
            match BlockRun::begin(&rows, meta) {
                Ok(run) => return Ok(Self { run, rows }),
                Err(keys) => rows.fetch(source, keys).await?,
            }
        }
    }

    /// Executes one transaction; a refused one leaves no trace.
    pub(crate) async fn apply<S: Source>(
        &mut self,
        source: &S,
        transaction: &VerifiedTransaction,
    ) -> Result<Result<(), Error>, S::Error> {
        loop {
            match self.run.apply(&self.rows, transaction) {
                Ok(()) => return Ok(Ok(())),
                Err(ApplyError::Rejected(error)) => return Ok(Err(error)),
                Err(ApplyError::Missing(keys)) => self.rows.fetch(source, keys).await?,
            }
        }
    }
}

/// The state below a block. A store that cannot be read stops the node: a vote must never depend on a disk failure.
struct Below<'a, E: Spawner + StorageContext>(&'a Batch<E>);

impl<E: Spawner + StorageContext> Source for Below<'_, E> {
    type Error = Infallible;

    async fn read(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, Infallible> {
        let digests: Vec<sha256::Digest> = keys.iter().map(|key| sha256::Digest(key.0)).collect();
        let asked: Vec<&sha256::Digest> = digests.iter().collect();
        match self.0.get_many(&asked).await {
            Ok(values) => Ok(values),
            Err(error) => panic!("the store failed while a block was executed: {error}"),
        }
    }
}

/// A block in execution.
pub(crate) struct Execution<E: Spawner + StorageContext> {
    run: Run,
    batch: Batch<E>,
}

/// A block's state, sealed.
pub(crate) struct Sealed<E: Spawner + StorageContext> {
    pub(crate) batch: SealedBatch<E>,
    pub(crate) receipts: Vec<Receipt>,
}

/// What a header says of its block's execution and the state after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Roots {
    pub(crate) receipts: Hash32,
    pub(crate) state: Hash32,
    pub(crate) operations: Hash32,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

impl<E: Spawner + StorageContext> Execution<E> {
    /// Starts a block.
    pub(crate) async fn begin(meta: BlockMeta, transactions: &[Arc<VerifiedTransaction>], batch: Batch<E>) -> Self {
        let keys = transactions.iter().flat_map(|transaction| prefetch(transaction)).collect();
        let Ok(run) = Run::begin(&Below::<E>(&batch), meta, keys).await;
        Self { run, batch }
    }

    /// Executes one transaction; a refused one leaves no trace.
    pub(crate) async fn apply(&mut self, transaction: &VerifiedTransaction) -> Result<(), Error> {
        let Ok(outcome) = self.run.apply(&Below::<E>(&self.batch), transaction).await;
        outcome
    }

    /// Ends the block and computes its roots.
    pub(crate) async fn seal(self) -> Sealed<E> {
        seal::<E>(self.run.run.finish(), self.batch).await
    }
}

/// Executes block 1, which has no transactions: it writes what the specification says.
pub(crate) async fn genesis<E: Spawner + StorageContext>(spec: &Genesis, batch: Batch<E>) -> Sealed<E> {
    seal::<E>(BlockRun::genesis(spec), batch).await
}

async fn seal<E: Spawner + StorageContext>(outcome: Outcome, mut batch: Batch<E>) -> Sealed<E> {
    for (key, value) in outcome.writes {
        let size = value.as_ref().map_or(0, Vec::len);
        assert!(size <= MAX_VALUE_BYTES, "the ledger wrote a row of {size} bytes, which peers would not accept");
        batch = batch.write(sha256::Digest(key.0), value);
    }
    match batch.merkleize().await {
        Ok(batch) => Sealed { batch, receipts: outcome.receipts },
        Err(error) => panic!("the store failed while a block was sealed: {error}"),
    }
}

impl<E: Spawner + StorageContext> Sealed<E> {
    /// What the header of this block must say.
    pub(crate) fn roots(&self) -> Roots {
        let receipts: Vec<Hash32> = self.receipts.iter().map(Receipt::digest).collect();
        Roots {
            receipts: receipts_root(&receipts),
            state: Hash32(self.batch.root().0),
            operations: Hash32(self.batch.ops_root().0),
            start: *self.batch.sync_boundary(),
            end: *self.batch.bounds().tip.size,
        }
    }
}
