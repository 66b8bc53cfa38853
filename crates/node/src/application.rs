//! What consensus asks of the ledger: build a block, judge a block, take note of a final one.
//!
//! Always true: nothing here decides by local state that other nodes lack; clones share caches only, and a lost cache
//! costs receipts or time, never a different result.
//! Never here: waiting. While a block is built here, no final one is applied: see [`crate::timing`].

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use commonware_consensus::marshal::ancestry::Ancestry;
use commonware_cryptography::sha256;
use commonware_glue::stateful::db::{DatabaseSet, Shared};
use commonware_glue::stateful::{Application as StatefulApplication, Finality, Input, Proposed};
use commonware_runtime::Spawner;
use commonware_storage::Context as StorageContext;
use commonware_storage::mmr::Location;
use commonware_storage::qmdb::sync::Target;
use commonware_utils::non_empty_range;
use futures::StreamExt as _;
use surety_ledger::transaction::Error as TransactionError;
use surety_ledger::{BlockMeta, Error, SignedTransaction, VerifiedTransaction};
use surety_primitives::Hash32;
use surety_primitives::header::Header;
use surety_primitives::ids::{Epoch, Height};
use surety_primitives::typed_data::Bytes32;

use crate::block::{Block, Body, ConsensusContext, MAX_BLOCK_BYTES, key_bytes, root_of};
use crate::chain::{may_follow, next_clock};
use crate::core::Core;
use crate::execution::{self, Execution, Roots, Sealed};
use crate::scheme::Scheme;
use crate::storage::{Batch, Databases, SealedBatch};
use crate::timing::now_ms;

/// Transactions that a leader tries for one block.
const MAX_CANDIDATES: usize = 4_000;
/// What header and lengths take of a block's bytes, at most.
const BLOCK_OVERHEAD: usize = 1_024;
/// How long a leader executes transactions for one block before it closes it.
const EXECUTION_BUDGET: Duration = Duration::from_millis(250);

/// The ledger as the state layer drives it.
#[derive(Clone)]
pub(crate) struct Application {
    pub(crate) core: Arc<Core>,
    pub(crate) root: Block,
}

fn meta_of(header: &Header) -> BlockMeta {
    BlockMeta { network: header.network, height: header.height, now: header.clock }
}

impl Application {
    /// Executes what the pool offers and keeps what the ledger takes.
    async fn fill<E: Spawner + StorageContext>(
        &self,
        env: &E,
        meta: BlockMeta,
        parent: &Header,
        batch: Batch<E>,
    ) -> (Sealed<E>, Vec<Arc<VerifiedTransaction>>) {
        let room = MAX_BLOCK_BYTES - BLOCK_OVERHEAD;
        let candidates = self.core.with_mempool(|pool| pool.candidates(MAX_CANDIDATES, room, &self.under_way(parent)));
        let started = env.current();
        let mut execution = Execution::<E>::begin(meta, &candidates, batch).await;
        let mut included = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            match execution.apply(&candidate).await {
                Ok(()) => included.push(candidate),
                Err(error) => self.core.with_mempool(|pool| pool.refused(&candidate.hash(), may_pass_later(&error))),
            }
            if env.current().duration_since(started).unwrap_or_default() > EXECUTION_BUDGET {
                break;
            }
        }
        (execution.seal().await, included)
    }

    /// What the two newest ancestors hold, so that it is neither tried nor dropped: deeper ones are final, but for a network
    /// in trouble. A number that is used all the same is used for good.
    fn under_way(&self, parent: &Header) -> HashSet<Hash32> {
        let receipts = [parent.digest(), parent.parent].into_iter().filter_map(|digest| self.core.receipts_of(&digest));
        receipts.flat_map(|block| block.iter().map(|receipt| receipt.hash).collect::<Vec<_>>()).collect()
    }

    async fn build<E: Spawner + StorageContext>(
        &self,
        env: &E,
        context: &ConsensusContext,
        parent: &Header,
        batch: Batch<E>,
    ) -> Option<(Block, SealedBatch<E>)> {
        let height = Height(parent.height.0.saturating_add(1));
        let time_ms =
            if height == Height(1) { parent.time_ms } else { now_ms(env).max(parent.time_ms.saturating_add(1)) };
        let meta = BlockMeta { network: self.core.network(), height, now: next_clock(parent, time_ms) };
        let (sealed, included) = if meta.height == Height(1) {
            (execution::genesis::<E>(&self.core.genesis, batch).await, Vec::new())
        } else {
            self.fill(env, meta, parent, batch).await
        };
        let transactions: Vec<SignedTransaction> = included.iter().map(|one| one.signed().clone()).collect();
        let header = header(context, parent, &meta, time_ms, root_of(&transactions), sealed.roots());
        let block = Block::new(Body { header, transactions }).ok()?;
        self.core.remember_execution(block.hash(), sealed.receipts);
        self.core.counters.proposed.inc();
        Some((block, sealed.batch))
    }

    /// Executes a block of another; `None` if it breaks a rule.
    async fn replay<E: Spawner + StorageContext>(&self, block: &Block, batch: Batch<E>) -> Option<SealedBatch<E>> {
        let header = block.header();
        let meta = meta_of(header);
        let sealed = if header.height == Height(1) {
            execution::genesis::<E>(&self.core.genesis, batch).await
        } else {
            let transactions = self.core.verify_all(block.transactions())?;
            let mut execution = Execution::<E>::begin(meta, &transactions, batch).await;
            for transaction in &transactions {
                execution.apply(transaction).await.ok()?;
            }
            execution.seal().await
        };
        // The state layer compares the operations' root only, clients rely on the receipts' and the state's.
        if sealed.roots() != roots_of(header) {
            tracing::error!(height = header.height.0, computed = ?sealed.roots(), stated = ?roots_of(header), "roots differ");
            return None;
        }
        self.core.remember_execution(block.hash(), sealed.receipts);
        Some(sealed.batch)
    }
}

/// Whether a transaction may yet stand in a block: a lower nonce of its account is still to come.
fn may_pass_later(error: &Error) -> bool {
    matches!(error, Error::Transaction(TransactionError::BadNonce { expected, given }) if given > expected)
}

fn roots_of(header: &Header) -> Roots {
    Roots {
        receipts: header.receipts_root,
        state: header.state_root,
        operations: header.ops_root,
        start: header.range_start,
        end: header.range_end,
    }
}

fn header(
    context: &ConsensusContext,
    parent: &Header,
    meta: &BlockMeta,
    time_ms: u64,
    transactions_root: Hash32,
    roots: Roots,
) -> Header {
    Header {
        network: meta.network,
        epoch: Epoch(context.round.epoch().get()),
        view: context.round.view().get(),
        parent_view: context.parent.0.get(),
        leader: Bytes32(key_bytes(&context.leader)),
        parent: parent.digest(),
        height: meta.height,
        time_ms,
        clock: meta.now,
        transactions_root,
        receipts_root: roots.receipts,
        state_root: roots.state,
        ops_root: roots.operations,
        range_start: roots.start,
        range_end: roots.end,
    }
}

impl<E: Spawner + StorageContext> StatefulApplication<E> for Application {
    type SigningScheme = Scheme;
    type Context = ConsensusContext;
    type Block = Block;
    type Databases = Databases<E>;
    type Captured = ();
    type Provider = ();
    type Input = ();

    fn sync_targets(block: &Block) -> <Shared<crate::storage::Database<E>> as DatabaseSet<E>>::SyncTargets {
        let header = block.header();
        // An empty range cannot come from the store; a header that claims one gets a target that nothing matches.
        let end = header.range_end.max(header.range_start.saturating_add(1));
        Target::new(
            sha256::Digest(header.ops_root.0),
            non_empty_range!(Location::new(header.range_start), Location::new(end)),
        )
    }

    async fn genesis(&mut self) -> Block {
        self.root.clone()
    }

    async fn propose(
        &mut self,
        (env, context): (E, ConsensusContext),
        ancestry: impl Ancestry<Block>,
        batch: Batch<E>,
        _input: Input<(), ()>,
    ) -> Option<Proposed<Self, E>> {
        let mut ancestry = Box::pin(ancestry);
        let parent = ancestry.next().await?;
        let (block, merkleized) = self.build(&env, &context, parent.inner().header(), batch).await?;
        Some(Proposed { block, merkleized })
    }

    async fn process(
        &mut self,
        (_, context): (E, ConsensusContext),
        ancestry: impl Ancestry<Block>,
        batch: Batch<E>,
        finality: Finality,
    ) -> Option<SealedBatch<E>> {
        let mut ancestry = Box::pin(ancestry);
        let block = ancestry.next().await?;
        let block = block.inner();
        if finality == Finality::Candidate {
            let parent = ancestry.next().await?;
            let led = key_bytes(&context.leader) == block.header().leader.0;
            let follows = may_follow(parent.inner().header(), block.header());
            if !led || !follows {
                self.core.counters.invalid_blocks.inc();
                return None;
            }
        }
        let sealed = self.replay(block, batch).await;
        if sealed.is_none() {
            self.core.counters.invalid_blocks.inc();
        }
        sealed
    }

    async fn capture(
        &mut self,
        _context: (E, ConsensusContext),
        block: &Block,
        _batch: &SealedBatch<E>,
        _readers: <Self::Databases as DatabaseSet<E>>::Readers,
    ) {
        self.core.announce(block.header());
    }

    async fn finalized(
        &mut self,
        _context: (E, ConsensusContext),
        block: &Block,
        (): (),
        _readers: <Self::Databases as DatabaseSet<E>>::Readers,
    ) {
        self.core.publish(block).await;
    }
}
