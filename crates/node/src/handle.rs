//! What the API and the operator's runtime ask of a running node.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use commonware_consensus::marshal::core::Mailbox;
use commonware_consensus::marshal::standard::Standard;
use commonware_consensus::types;
use commonware_runtime::Metrics;
use surety_ledger::{Genesis, Key, SignedTransaction};
use surety_primitives::Hash32;
use surety_primitives::header::{Committee, FinalHeader, Finality, Header, MAX_PATH};
use surety_primitives::ids::Height;
use tokio::sync::broadcast;

use crate::block::Block;
use crate::core::{Core, FinalizedBlock};
use crate::faults::Fault;
use crate::mempool::{MempoolError, Stats};
use crate::preflight;
use crate::scheme::{Scheme, finality};
use crate::storage::{ReadError, RowProof, StateReader};

/// Blocks above a block among which its certificate is looked for.
const MOST_ABOVE: u64 = MAX_PATH as u64;

/// A handle on a running node; clones are cheap.
#[derive(Clone)]
pub struct NodeHandle {
    core: Arc<Core>,
    delivery: Mailbox<Scheme, Standard<Block>>,
    metrics: Arc<dyn Fn() -> String + Send + Sync>,
}

/// A row with its proof and the header that the proof is against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowAnswer {
    /// The value, or none.
    pub value: Option<Vec<u8>>,
    /// Proof of either.
    pub proof: RowProof,
    /// The header whose state root it is against.
    pub header: FinalHeader,
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The node has no state yet: it starts or syncs.
    #[error("the node has no state yet")]
    NotReady,
    /// The state moved on while its certificate was fetched; ask again.
    #[error("no certificate for the state that was read is known yet, ask again")]
    NoCertificate,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] ReadError),
}

impl QueryError {
    /// A stable code for answers.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotReady => "node_not_ready",
            Self::NoCertificate => "certificate_not_known",
            Self::Store(_) => "store_failed",
        }
    }
}

impl NodeHandle {
    pub(crate) fn new(core: Arc<Core>, delivery: Mailbox<Scheme, Standard<Block>>, context: &impl Metrics) -> Self {
        let context = context.child("export");
        Self { core, delivery, metrics: Arc::new(move || context.encode()) }
    }

    /// Called once when the state is open: the tip of an earlier life is the tip now.
    pub(crate) async fn opened(&self, reader: Arc<dyn StateReader>) {
        if let Ok((_, root)) = reader.rows(&[]).await
            && let Some((_, block)) = self.delivery.get_anchor().await
            && block.inner().header().state_root == root
        {
            self.core.set_tip(block.inner().header());
        }
        self.core.set_reader(reader);
    }

    /// Takes a transaction into the pool, after trying it on the state at the tip.
    ///
    /// # Errors
    /// See [`MempoolError`].
    pub async fn submit(&self, signed: SignedTransaction) -> Result<Hash32, MempoolError> {
        let transaction = self.core.verify(signed)?;
        let hash = transaction.hash();
        if self.core.with_mempool(|pool| pool.contains(&hash)) {
            return Err(MempoolError::Known);
        }
        preflight::check(&self.core, &transaction).await?;
        self.core.admit(transaction, true)?;
        Ok(hash)
    }

    /// The newest final header that was applied here; none before the first.
    #[must_use]
    pub fn tip(&self) -> Option<Header> {
        self.core.tip()
    }

    /// Time since the newest final block came in; `None` before the first one of this life.
    #[must_use]
    pub fn since_block(&self) -> Option<std::time::Duration> {
        self.core.since_block()
    }

    /// The newest final header that can be proven final, with the proof.
    pub async fn latest(&self) -> Option<FinalHeader> {
        let tip = self.tip()?.height.0;
        for height in (tip.saturating_sub(MOST_ABOVE)..=tip).rev() {
            if let Some(block) = self.block(Height(height)).await
                && let Some(proven) = self.prove_final(block.header()).await
            {
                return Some(proven);
            }
        }
        None
    }

    /// A final block by height, if it is still kept.
    pub async fn block(&self, height: Height) -> Option<Block> {
        let block = self.delivery.get_block(types::Height::new(height.0)).await?;
        Some(block.inner().clone())
    }

    /// The certificate of the block at this height, if it has one of its own.
    pub async fn certificate(&self, height: Height) -> Option<Finality> {
        finality(&self.delivery.get_finalization(types::Height::new(height.0)).await?)
    }

    /// Leads a header to a certificate: its own or that of the nearest descendant that has one.
    pub async fn prove_final(&self, header: &Header) -> Option<FinalHeader> {
        let mut path: Vec<Header> = Vec::new();
        let mut last = header.digest();
        for height in header.height.0..=header.height.0.saturating_add(MOST_ABOVE) {
            if height > header.height.0 {
                let next = self.block(Height(height)).await?;
                if next.header().parent != last {
                    return None;
                }
                last = next.hash();
                path.push(next.header().clone());
            }
            if let Some(finality) = self.certificate(Height(height)).await.filter(|found| found.digest == last) {
                return Some(FinalHeader { header: header.clone(), path, finality });
            }
        }
        None
    }

    /// A row at the tip with its proof.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn row(&self, key: &Key) -> Result<RowAnswer, QueryError> {
        let reader = self.core.reader().ok_or(QueryError::NotReady)?;
        let row = reader.prove(key).await?;
        let header = self.core.header_of_root(&row.state_root).ok_or(QueryError::NotReady)?;
        let header = self.prove_final(&header).await.ok_or(QueryError::NoCertificate)?;
        Ok(RowAnswer { value: row.value, proof: row.proof, header })
    }

    /// Rows at the tip without proofs, all of one state, with that state's header.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn rows(&self, keys: &[Key]) -> Result<(Vec<Option<Vec<u8>>>, Header), QueryError> {
        let reader = self.core.reader().ok_or(QueryError::NotReady)?;
        let (values, root) = reader.rows(keys).await?;
        let header = self.core.header_of_root(&root).ok_or(QueryError::NotReady)?;
        Ok((values, header))
    }

    /// Final blocks from now on, with receipts where they are known. After a crash a block may come again; a slow
    /// listener misses some.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<FinalizedBlock>> {
        self.core.published.subscribe()
    }

    /// What waits in the pool.
    #[must_use]
    pub fn mempool(&self) -> Stats {
        self.core.with_mempool(|pool| pool.stats())
    }

    /// The nonce after what waits in the pool, for an account whose next one in a block is `next`.
    #[must_use]
    pub fn next_nonce(&self, account: &surety_primitives::Address, next: u64) -> u64 {
        self.core.with_mempool(|pool| pool.next_nonce(account, next))
    }

    /// The whole state at the tip, with its header. It takes time and memory in proportion to the state.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn export(&self) -> Result<(surety_ledger::MemoryRows, Header), QueryError> {
        let reader = self.core.reader().ok_or(QueryError::NotReady)?;
        let (rows, root) = reader.export().await?;
        let header = self.core.header_of_root(&root).ok_or(QueryError::NotReady)?;
        Ok((surety_ledger::MemoryRows(rows.into_iter().collect()), header))
    }

    /// Whether this transaction waits in the pool.
    #[must_use]
    pub fn is_waiting(&self, hash: &Hash32) -> bool {
        self.core.with_mempool(|pool| pool.contains(hash))
    }

    /// Peers that took the last batch of transactions.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.core.peers.load(Ordering::Relaxed)
    }

    /// Proven faults of other seats seen since the start, at most the latest 256.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        self.core.faults()
    }

    /// The committee of epoch 0.
    #[must_use]
    pub fn committee(&self) -> &Committee {
        &self.core.committee
    }

    /// What the chain started from.
    #[must_use]
    pub fn genesis(&self) -> &Genesis {
        &self.core.genesis
    }

    /// All counters in Prometheus' text form.
    #[must_use]
    pub fn metrics(&self) -> String {
        (self.metrics)()
    }
}
