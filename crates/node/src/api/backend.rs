//! What the API asks of a node: the seam behind which the node, and in tests a chain in memory, stand.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use surety_ledger::{Genesis, Key, MemoryRows, Receipt, SignedTransaction};
use surety_primitives::header::{FinalHeader, Header};
use surety_primitives::{Address, Hash32, Height};
use tokio::sync::broadcast;

/// An answer that takes its time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A whole state and its header.
pub type Export<'a> = Answer<'a, Result<(MemoryRows, Header), ReadFailure>>;

/// A row with its proof and the final header that the proof is against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowAnswer {
    /// The value, or none.
    pub value: Option<Vec<u8>>,
    /// The store's proof that it has this value, or that there is none.
    pub proof: Vec<u8>,
    /// The header whose state root it is against.
    pub header: FinalHeader,
}

/// Rows of one state, without proofs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadRows {
    /// The values, in the order in which they were asked for.
    pub values: Vec<Option<Vec<u8>>>,
    /// The header of that state.
    pub header: Header,
}

/// A final block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinalBlock {
    /// Its header.
    pub header: Header,
    /// Its transactions in order.
    pub transactions: Vec<SignedTransaction>,
    /// One receipt a transaction; none where another life of this node executed the block, or state sync covered it.
    pub receipts: Option<Arc<Vec<Receipt>>>,
}

/// A receipt and the block in which it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedReceipt {
    /// Height of the block.
    pub height: Height,
    /// What became of the transaction.
    pub receipt: Receipt,
}

/// Why a transaction was not taken. The ledger's own rejections are recognised again by the API, so that they need no
/// variant here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The ledger would refuse it now.
    #[error("{message}")]
    Ledger {
        /// The rejection's stable name.
        name: String,
        /// For people.
        message: String,
    },
    /// Another transaction with this nonce waits and pays nearly as much.
    #[error("{0}")]
    Underpriced(String),
    /// The account or the pool has no room.
    #[error("{0}")]
    Full(String),
    /// The node starts, syncs or stops.
    #[error("the node takes no transactions now")]
    Unavailable,
    /// Not valid on its face; `name` is stable.
    #[error("{message}")]
    Invalid {
        /// A stable name.
        name: String,
        /// For people.
        message: String,
    },
}

/// Why a question has no answer now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadFailure {
    /// No state yet: the node starts or syncs.
    #[error("the node has no state yet")]
    NotReady,
    /// The state moved on while its certificate was looked for: asking again helps.
    #[error("no certificate for the state that was read is known yet")]
    NoCertificate,
    /// The store failed.
    #[error("the store cannot be read: {0}")]
    Store(String),
}

/// How the node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Transactions that wait.
    pub waiting_transactions: usize,
    /// Their bytes.
    pub waiting_bytes: usize,
    /// Accounts that have some waiting.
    pub waiting_accounts: usize,
    /// Peers that are connected.
    pub peers: usize,
    /// Proven faults of other seats, seen since the start.
    pub faults: usize,
    /// Whether this node's seat votes; if not, it follows.
    pub voting: bool,
    /// Time since the newest final block came in; absent before the first one.
    pub since_block: Option<Duration>,
}

/// A node, as the API sees it. Reads are of the newest final state that was applied here.
pub trait Backend: Send + Sync + 'static {
    /// What the chain started from.
    fn genesis(&self) -> &Genesis;

    /// Takes a transaction into the pool and names it. One that waits already is taken again without effect.
    fn submit(&self, signed: SignedTransaction) -> Answer<'_, Result<Hash32, Refusal>>;

    /// Whether this transaction waits in the pool.
    fn is_waiting(&self, hash: &Hash32) -> bool;

    /// The first nonce from `next` on that no waiting transaction of the account uses.
    fn next_nonce(&self, account: &Address, next: u64) -> u64;

    /// The newest final header that was applied here; none before the first.
    fn tip(&self) -> Option<Header>;

    /// The newest final header that can be proven final.
    fn latest(&self) -> Answer<'_, Option<FinalHeader>>;

    /// A final block, if it is still kept.
    fn block(&self, height: Height) -> Answer<'_, Option<FinalBlock>>;

    /// The proof that this header is final, if it is known.
    fn prove_final<'a>(&'a self, header: &'a Header) -> Answer<'a, Option<FinalHeader>>;

    /// A receipt, if it is still kept.
    fn receipt<'a>(&'a self, hash: &'a Hash32) -> Answer<'a, Option<PlacedReceipt>>;

    /// Rows without proofs, all of one state.
    fn rows<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, Result<ReadRows, ReadFailure>>;

    /// A row with its proof.
    fn row<'a>(&'a self, key: &'a Key) -> Answer<'a, Result<RowAnswer, ReadFailure>>;

    /// The whole state at the tip with its header, where the operator allows to ask for that; it takes time and memory
    /// in proportion to the state.
    fn export(&self) -> Option<Export<'_>> {
        None
    }

    /// Final blocks from now on. A slow listener misses some, and after a crash a block may come again. `rows` shows a
    /// block before it is announced; `block` and `receipt` may show its receipts a moment later, when they are on disk.
    fn subscribe(&self) -> broadcast::Receiver<Arc<FinalBlock>>;

    /// How the node is.
    fn health(&self) -> Health;

    /// The node's own counters in Prometheus' text form.
    fn metrics(&self) -> String;
}
