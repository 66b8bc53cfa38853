//! Runs the ledger over a batch of the store: executes, and where a row is missing fetches it and tries again.
//!
//! The ledger is pure and synchronous, the store's reads are not; this is the only place where they meet.

use std::collections::{BTreeMap, BTreeSet};
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
    pub(crate) fn add(&mut self, keys: impl IntoIterator<Item = Key>, values: Vec<Option<Vec<u8>>>) {
        self.0.extend(keys.into_iter().zip(values));
    }

    /// Notes that a row was asked for twice: the ledger would ask for ever, so the node stops.
    pub(crate) fn assert_new(&self, keys: &[Key]) {
        assert!(
            !keys.is_empty() && keys.iter().all(|key| !self.0.contains_key(key)),
            "the ledger asked again for a row that it was given"
        );
    }
}

/// A block in execution.
pub(crate) struct Execution<E: Spawner + StorageContext> {
    run: BlockRun,
    rows: Fetched,
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
    /// Starts a block, with one read for what its transactions are sure to touch.
    pub(crate) async fn begin(meta: BlockMeta, transactions: &[Arc<VerifiedTransaction>], batch: Batch<E>) -> Self {
        let mut rows = Fetched::default();
        let keys: BTreeSet<Key> = transactions.iter().flat_map(|transaction| prefetch(transaction)).collect();
        fetch::<E>(&batch, &mut rows, keys.into_iter().collect()).await;
        loop {
            match BlockRun::begin(&rows, meta) {
                Ok(run) => return Self { run, rows, batch },
                Err(keys) => fetch::<E>(&batch, &mut rows, keys).await,
            }
        }
    }

    /// Executes one transaction; a refused one leaves no trace.
    pub(crate) async fn apply(&mut self, transaction: &VerifiedTransaction) -> Result<(), Error> {
        loop {
            match self.run.apply(&self.rows, transaction) {
                Ok(()) => return Ok(()),
                Err(ApplyError::Rejected(error)) => return Err(error),
                Err(ApplyError::Missing(keys)) => fetch::<E>(&self.batch, &mut self.rows, keys).await,
            }
        }
    }

    /// Ends the block and computes its roots.
    pub(crate) async fn seal(self) -> Sealed<E> {
        seal::<E>(self.run.finish(), self.batch).await
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

/// Reads rows in one pass. A store that cannot be read stops the node: a vote must never depend on a disk failure.
async fn fetch<E: Spawner + StorageContext>(batch: &Batch<E>, rows: &mut Fetched, keys: Vec<Key>) {
    if keys.is_empty() {
        return;
    }
    rows.assert_new(&keys);
    let digests: Vec<sha256::Digest> = keys.iter().map(|key| sha256::Digest(key.0)).collect();
    let asked: Vec<&sha256::Digest> = digests.iter().collect();
    match batch.get_many(&asked).await {
        Ok(values) => rows.add(keys, values),
        Err(error) => panic!("the store failed while a block was executed: {error}"),
    }
}
