//! What the node's parts share: the pool, the tip, what was executed, and who listens.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use commonware_utils::sync::Mutex;
use surety_ledger::{Genesis, Receipt, SignedTransaction, VerifiedTransaction};
use surety_primitives::header::{Committee, Header};
use surety_primitives::ids::NetworkId;
use surety_primitives::{Address, Hash32};
use tokio::sync::{Notify, broadcast, mpsc};

use crate::block::{Block, travel_hash};
use crate::chain::Pacing;
use crate::faults::Fault;
use crate::mempool::{Limits, Mempool, MempoolError, Pooled};
use crate::metrics::Counters;
use crate::storage::StateReader;

/// Blocks whose receipts are kept between execution and finality. More than a healthy chain ever has in flight; an
/// evicted one leaves a gap in the receipts and nothing else.
const EXECUTED_BLOCKS: usize = 256;
/// Headers by state root, so that a proof can name its header.
const RECENT_HEADERS: usize = 128;
/// Recovered signatures that are remembered; two generations of this many.
const SIGNERS: usize = 32_768;
/// Most encoded bytes of the same: what is refused later was checked too, and may be large.
const SIGNER_BYTES: usize = 16 << 20;
/// Final blocks that a slow listener may fall behind before it misses some.
const LISTENER_LAG: usize = 256;
/// Faults of other seats that are kept for the API.
const FAULTS: usize = 256;

/// A final block with what it did. Receipts are missing for blocks that state sync covered or another life executed.
#[derive(Clone, Debug)]
pub struct FinalizedBlock {
    /// The block.
    pub block: Block,
    /// One receipt a transaction, in order.
    pub receipts: Option<Arc<Vec<Receipt>>>,
}

pub(crate) struct Core {
    pub(crate) genesis: Genesis,
    pub(crate) pacing: Pacing,
    pub(crate) committee: Committee,
    pub(crate) counters: Counters,
    pub(crate) published: broadcast::Sender<Arc<FinalizedBlock>>,
    pub(crate) peers: AtomicUsize,
    mempool: Mutex<Mempool>,
    woken: Notify,
    outbox: mpsc::UnboundedSender<Arc<VerifiedTransaction>>,
    archive: Option<mpsc::Sender<Arc<FinalizedBlock>>>,
    signers: Mutex<Signers>,
    executed: Mutex<Executed>,
    recent: Mutex<Recent>,
    reader: Mutex<Option<Arc<dyn StateReader>>>,
    faults: Mutex<VecDeque<Fault>>,
}

#[derive(Default)]
struct Executed {
    receipts: HashMap<Hash32, Arc<Vec<Receipt>>>,
    order: VecDeque<Hash32>,
}

#[derive(Default)]
struct Recent {
    tip: Option<Header>,
    tip_at: Option<Instant>,
    by_root: HashMap<Hash32, Header>,
    by_height: BTreeMap<u64, Hash32>,
}

/// Signatures that were checked: the pool checks each once, the blocks that carry it need not again.
#[derive(Default)]
struct Signers {
    young: HashMap<Hash32, Arc<VerifiedTransaction>>,
    /// Encoded bytes of the young.
    bytes: usize,
    old: HashMap<Hash32, Arc<VerifiedTransaction>>,
}

impl Signers {
    fn get(&self, hash: &Hash32) -> Option<Arc<VerifiedTransaction>> {
        self.young.get(hash).or_else(|| self.old.get(hash)).cloned()
    }

    fn put(&mut self, hash: Hash32, transaction: &Arc<VerifiedTransaction>) {
        if self.young.len() >= SIGNERS || self.bytes >= SIGNER_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        self.bytes = self.bytes.saturating_add(transaction.bytes());
        self.young.insert(hash, Arc::clone(transaction));
    }
}

/// Where admitted transactions leave for the peers.
pub(crate) type Outbox = mpsc::UnboundedReceiver<Arc<VerifiedTransaction>>;

impl Core {
    pub(crate) fn new(
        genesis: Genesis,
        pacing: Pacing,
        limits: Limits,
        counters: Counters,
        archive: Option<mpsc::Sender<Arc<FinalizedBlock>>>,
    ) -> (Self, Outbox) {
        // The pool's limits bound this queue: nothing enters that the pool did not take.
        let (outbox, leaving) = mpsc::unbounded_channel();
        let core = Self {
            committee: genesis.committee(),
            genesis,
            pacing,
            counters,
            published: broadcast::channel(LISTENER_LAG).0,
            peers: AtomicUsize::new(0),
            mempool: Mutex::new(Mempool::new(limits)),
            woken: Notify::new(),
            outbox,
            archive,
            signers: Mutex::default(),
            executed: Mutex::default(),
            recent: Mutex::default(),
            reader: Mutex::new(None),
            faults: Mutex::default(),
        };
        (core, leaving)
    }

    pub(crate) fn network(&self) -> NetworkId {
        self.genesis.network
    }

    pub(crate) fn with_mempool<T>(&self, act: impl FnOnce(&mut Mempool) -> T) -> T {
        act(&mut self.mempool.lock())
    }

    /// Puts a checked transaction into the pool and, if it came in here, on its way to the peers.
    pub(crate) fn admit(&self, transaction: Arc<VerifiedTransaction>, local: bool) -> Result<(), MempoolError> {
        let pooled = Pooled { transaction: Arc::clone(&transaction), local };
        let taken = self.with_mempool(|pool| pool.insert(pooled));
        let stats = self.with_mempool(|pool| pool.stats());
        self.counters.pool(&stats);
        match &taken {
            Ok(()) => self.counters.admitted.inc(),
            Err(_) => self.counters.refused.inc(),
        };
        taken?;
        if local {
            let _ = self.outbox.send(transaction);
        }
        self.woken.notify_waiters();
        Ok(())
    }

    /// Ends when a transaction came in after this was called.
    pub(crate) fn next_transaction(&self) -> tokio::sync::futures::Notified<'_> {
        self.woken.notified()
    }

    /// Checks one transaction's form and signature, or remembers that it was checked.
    pub(crate) fn verify(&self, signed: SignedTransaction) -> Result<Arc<VerifiedTransaction>, MempoolError> {
        let hash = travel_hash(&signed);
        if let Some(known) = self.signers.lock().get(&hash) {
            return Ok(known);
        }
        let verified = signed.verify(self.network()).map_err(|error| MempoolError::Invalid(error.to_string()))?;
        let verified = Arc::new(verified);
        self.signers.lock().put(hash, &verified);
        Ok(verified)
    }

    /// Checks all transactions of a block on all cores; `None` if one is not valid.
    pub(crate) fn verify_all(&self, signed: &[SignedTransaction]) -> Option<Vec<Arc<VerifiedTransaction>>> {
        use rayon::prelude::*;
        signed.par_iter().with_min_len(16).map(|one| self.verify(one.clone()).ok()).collect()
    }

    pub(crate) fn remember_execution(&self, digest: Hash32, receipts: Vec<Receipt>) {
        let mut executed = self.executed.lock();
        if executed.receipts.insert(digest, Arc::new(receipts)).is_none() {
            executed.order.push_back(digest);
        }
        if executed.order.len() > EXECUTED_BLOCKS
            && let Some(oldest) = executed.order.pop_front()
        {
            executed.receipts.remove(&oldest);
        }
    }

    pub(crate) fn receipts_of(&self, digest: &Hash32) -> Option<Arc<Vec<Receipt>>> {
        self.executed.lock().receipts.get(digest).cloned()
    }

    /// Names the header that a state root belongs to, before a reader can see that root.
    pub(crate) fn announce(&self, header: &Header) {
        let mut recent = self.recent.lock();
        recent.by_root.insert(header.state_root, header.clone());
        if let Some(old) = recent.by_height.insert(header.height.0, header.state_root)
            && old != header.state_root
        {
            recent.by_root.remove(&old);
        }
        if recent.by_height.len() > RECENT_HEADERS
            && let Some((_, oldest)) = recent.by_height.pop_first()
        {
            recent.by_root.remove(&oldest);
        }
    }

    pub(crate) fn set_tip(&self, header: &Header) {
        self.announce(header);
        let mut recent = self.recent.lock();
        if recent.tip.as_ref().is_none_or(|tip| tip.height < header.height) {
            recent.tip = Some(header.clone());
            recent.tip_at = Some(Instant::now());
        }
    }

    pub(crate) fn tip(&self) -> Option<Header> {
        self.recent.lock().tip.clone()
    }

    /// Time since the newest final block came in. For people only: nothing in consensus looks at it.
    pub(crate) fn since_block(&self) -> Option<Duration> {
        self.recent.lock().tip_at.map(|at| at.elapsed())
    }

    pub(crate) fn header_of_root(&self, root: &Hash32) -> Option<Header> {
        self.recent.lock().by_root.get(root).cloned()
    }

    pub(crate) fn set_reader(&self, reader: Arc<dyn StateReader>) {
        *self.reader.lock() = Some(reader);
    }

    pub(crate) fn reader(&self) -> Option<Arc<dyn StateReader>> {
        self.reader.lock().clone()
    }

    /// Tells everyone of a final block. May be called again for the same block after a crash.
    pub(crate) async fn publish(&self, block: &Block) {
        let header = block.header();
        let receipts = self.receipts_of(&block.hash());
        let included = match &receipts {
            Some(receipts) => receipts.iter().map(|receipt| (receipt.signer, receipt.nonce)).collect(),
            None => self.senders(block),
        };
        // In this order: who misses a transaction in the pool then sees that the tip has moved.
        self.set_tip(header);
        self.with_mempool(|pool| pool.finalized(&included, header.clock));
        self.counters.finalized(header, block.transactions().len());
        self.counters.pool(&self.with_mempool(|pool| pool.stats()));
        let finalized = Arc::new(FinalizedBlock { block: block.clone(), receipts });
        if let Some(archive) = &self.archive {
            // Waits when the disk is behind, and fails only while the node stops.
            let _ = archive.send(Arc::clone(&finalized)).await;
        }
        let _ = self.published.send(finalized);
    }

    fn senders(&self, block: &Block) -> Vec<(Address, u64)> {
        let verified = self.verify_all(block.transactions()).unwrap_or_default();
        verified.iter().map(|one| (one.signer(), one.transaction().nonce)).collect()
    }

    pub(crate) fn set_peers(&self, connected: usize) {
        self.peers.store(connected, Ordering::Relaxed);
    }

    pub(crate) fn record_fault(&self, fault: Fault) {
        self.counters.faults.inc();
        let mut faults = self.faults.lock();
        if faults.len() == FAULTS {
            faults.pop_front();
        }
        faults.push_back(fault);
    }

    pub(crate) fn faults(&self) -> Vec<Fault> {
        self.faults.lock().iter().cloned().collect()
    }
}
