//! Counters that must outlive the process, behind leases (`market.md` D4).
//!
//! Always true, whatever dies when: units of quota are debited before they are used, so that calls served never exceed the
//! quota; the live and lapsed parts of W never sum to more than W; a lane's new owner begins above every number that the
//! old one may have accepted; a voucher once durable is never replaced by a lower one.
//! Never here: what a call is worth, who may call, HTTP.

mod redb;
mod rows;
mod writer;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use borsh::{BorshDeserialize, BorshSerialize};
use surety_primitives::access::{SubGrant, Voucher};
use surety_primitives::{Lane, PurchaseId, Seconds};
use tokio::sync::oneshot;

pub use self::redb::RedbStore;

/// Most units of quota in one lease.
pub const MAX_LEASE: u64 = 1_024;
/// Numbers of a lane that are reserved at a time.
pub const SEQ_BLOCK: u64 = 1_024;
/// Seconds after a lapse before its leases are counted again by what was acknowledged.
pub const RECONCILE_AFTER: u64 = 60;

/// Why the store did not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The purchase was never opened here.
    #[error("purchase {0} was never opened in this store")]
    UnknownPurchase(PurchaseId),
    /// The purchase was opened with another quota, window or number of lanes.
    #[error("purchase {0} was opened with other terms")]
    OtherTerms(PurchaseId),
    /// The lane belongs to another owner by now.
    #[error("lane {0} has another owner by now")]
    Fenced(Lane),
    /// The file cannot be read or written.
    #[error("the store failed: {0}")]
    Unavailable(String),
}

impl StoreError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownPurchase(_) => "store-unknown-purchase",
            Self::OtherTerms(_) => "store-other-terms",
            Self::Fenced(_) => "store-fenced",
            Self::Unavailable(_) => "store-unavailable",
        }
    }
}

/// Names a lease of one purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct LeaseId(pub u64);

/// Units of quota that are debited already and may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Its name.
    pub id: LeaseId,
    /// Units; 0 when nothing is left of the quota.
    pub units: u64,
    /// Quota that nobody holds.
    pub unleased: u64,
}

/// What an owner of a lane begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneOwner {
    /// Rises with every owner; writes under an older one are refused.
    pub fence: u64,
    /// Numbers up to here may have been accepted by an earlier owner.
    pub seq_floor: u64,
    /// The highest acknowledgement that was kept.
    pub best: u64,
    /// Whether an earlier owner died with calls that may be unacknowledged: the first call must be signed.
    pub inherited: bool,
}

/// A voucher with the chain that shows whose key signed it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct StoredVoucher {
    /// The voucher.
    pub voucher: Voucher,
    /// The version of the root key that the chain begins with.
    pub key_version: u32,
    /// Sub-grants from the root on, none when the root key signed.
    pub chain: Vec<SubGrant>,
}

/// A result that is on its way; it comes when what it stands for is durable.
#[derive(Debug)]
pub struct Ticket<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Ticket<T> {
    /// A ticket and what redeems it.
    fn new() -> (oneshot::Sender<Result<T, StoreError>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }

    /// Waits on this thread. Never within an async task.
    ///
    /// # Errors
    /// The store's.
    pub fn wait(self) -> Result<T, StoreError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(stopped()))
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.unwrap_or_else(|_| Err(stopped())))
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("it has stopped".to_owned())
}

/// The counters of one replica. Nothing blocks: each method hands in a request, and the ticket comes when it is durable.
pub trait CounterStore: Send + Sync + 'static {
    /// Makes a purchase known that ends at `end`, ledger time. Again with the same terms: nothing happens.
    fn open(&self, purchase: PurchaseId, quota: u64, window: u32, lanes: u32, end: Seconds) -> Ticket<()>;

    /// Takes up to `want` units, at most an eighth of what is left and [`MAX_LEASE`], at least one if there is one. They
    /// are debited before they come.
    fn lease(&self, purchase: PurchaseId, want: u64) -> Ticket<Lease>;

    /// Ends a lease: what was not used returns, once.
    fn settle(&self, purchase: PurchaseId, lease: LeaseId, used: u64) -> Ticket<()>;

    /// Holds `want` of W from now on, as far as others and the dead leave it; gives what is held.
    fn allot(&self, purchase: PurchaseId, want: u32) -> Ticket<u32>;

    /// Takes a lane.
    fn own_lane(&self, purchase: PurchaseId, lane: Lane) -> Ticket<LaneOwner>;

    /// Numbers up to `ceiling` may be accepted afterwards.
    fn reserve_seq(&self, purchase: PurchaseId, lane: Lane, fence: u64, ceiling: u64) -> Ticket<()>;

    /// Keeps a voucher if its `cum` is the highest, whatever the fence. Written within 50 ms, without a word: see
    /// [`Self::sync`]. Under the present fence it also tells that the lane's state is known again. An opening call is kept
    /// beside it.
    fn put_voucher(&self, purchase: PurchaseId, lane: Lane, fence: u64, voucher: StoredVoucher);

    /// Comes when everything handed in before is durable.
    fn sync(&self) -> Ticket<()>;

    /// The best voucher of each lane.
    fn vouchers(&self, purchase: PurchaseId) -> Ticket<Vec<StoredVoucher>>;

    /// The last opening call of a lane: what shows that it was used at all.
    fn opening(&self, purchase: PurchaseId, lane: Lane) -> Ticket<Option<StoredVoucher>>;

    /// Counts again what is left, now that what died with an earlier owner shows in vouchers; gives what nobody holds.
    /// Nothing happens before [`RECONCILE_AFTER`] seconds.
    fn reconcile(&self, purchase: PurchaseId) -> Ticket<u64>;

    /// Every purchase that was opened and not forgotten, with the end that it had at first.
    fn purchases(&self) -> Ticket<Vec<(PurchaseId, Seconds)>>;

    /// Drops a purchase: it is settled, nothing can be claimed any more.
    fn forget(&self, purchase: PurchaseId) -> Ticket<()>;

    /// Writes a signed Answer down, and drops the one with number `drop`, which can no longer be shown.
    fn log_answer(&self, purchase: PurchaseId, lane: Lane, seq: u64, answer: Vec<u8>, drop: Option<u64>) -> Ticket<()>;

    /// Signed Answers of a lane from a number on, in order, at most `most`.
    fn answers(&self, purchase: PurchaseId, lane: Lane, from: u64, most: usize) -> Ticket<Vec<(u64, Vec<u8>)>>;

    /// A number that the duties keep under a name, 0 at first.
    fn read_mark(&self, name: &'static str) -> Ticket<u64>;

    /// Writes such a number.
    fn write_mark(&self, name: &'static str, value: u64) -> Ticket<()>;
}
