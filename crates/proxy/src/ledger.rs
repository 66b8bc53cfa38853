//! What the sidecar needs of the ledger: rows that are proven, a clock, and a way to act.

mod client;

use std::time::Duration;

use futures::future::BoxFuture;
use surety_primitives::access::Grant;
use surety_primitives::keys::PublicKey;
use surety_primitives::{Amount, Hash32, Height, Lane, NetworkId, ProviderId, PurchaseId, Seconds, ServiceId};

pub use self::client::ClientLedger;
pub(crate) use self::client::{MAX_GRANT, claim_of};
use crate::error::LedgerError;
use crate::store::StoredVoucher;

/// The ledger's clock as it is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerClock {
    /// Ledger time of the newest header.
    pub now: Seconds,
    /// Wall time since that header came.
    pub age: Duration,
}

/// A purchase, as its row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurchaseView {
    /// The right to call.
    pub grant: Grant,
    /// Who sold it.
    pub provider: ProviderId,
    /// What was bought.
    pub service: ServiceId,
    /// Price of the package.
    pub price: Amount,
    /// W: most unacknowledged calls.
    pub window: u32,
    /// Paid per proven fault; above nothing, every Answer is signed and written down first.
    pub cover: Amount,
    /// Calls a second that the listing states, 0 for none.
    pub rate: u32,
    /// Calls claimed over all lanes.
    pub claimed: u64,
    /// Whether nothing is left in escrow.
    pub settled: bool,
    /// Whether Answers were shown.
    pub shown: bool,
    /// Rows of the ledger that belong to it, itself and its sale included.
    pub rows: u32,
    /// Height of the header that proves the row: an older one takes nothing back.
    pub height: Height,
}

impl PurchaseView {
    /// Whether another row says the same, whenever it did.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        Self { height: self.height, ..other.clone() } == *self
    }
}

/// That there is no such row, by a header that may be older than the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// The header's height.
    pub height: Height,
    /// Its ledger time.
    pub clock: Seconds,
}

/// A listing, as its row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceView {
    /// Raised by every update.
    pub version: u32,
    /// Title.
    pub title: String,
    /// Calls in a package.
    pub calls: u64,
    /// Price of a package.
    pub price: Amount,
    /// Whether it is not sold for now.
    pub paused: bool,
}

/// Answers of a lane that the provider shows (`market.md` B6.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShowLane {
    /// The lane.
    pub lane: Lane,
    /// Its claimed calls.
    pub from_cum: u64,
    /// How many, from 1.
    pub count: u64,
    /// Root over them in order of seq.
    pub root: Hash32,
    /// The call that opened the lane.
    pub opening: StoredVoucher,
}

/// What a sidecar does on the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// Claims what was acknowledged: at most 64 vouchers.
    Claim {
        /// The purchase.
        purchase: PurchaseId,
        /// The vouchers with their chains.
        vouchers: Vec<StoredVoucher>,
    },
    /// Shows what was answered and not acknowledged: at most 16 lanes.
    Show {
        /// The purchase.
        purchase: PurchaseId,
        /// One entry a lane.
        entries: Vec<ShowLane>,
    },
    /// Ends a purchase.
    Settle {
        /// The purchase.
        purchase: PurchaseId,
    },
    /// Deletes a settled purchase's rows.
    Sweep {
        /// The purchase.
        purchase: PurchaseId,
        /// Lanes that have a row.
        lanes: Vec<Lane>,
        /// Revoked links of chains, as far as they are known.
        revoked: Vec<Hash32>,
        /// Whether Answers were shown.
        shown: bool,
    },
}

impl Duty {
    /// Its name, for logs and counters.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Claim { .. } => "claim",
            Self::Show { .. } => "show",
            Self::Settle { .. } => "settle",
            Self::Sweep { .. } => "sweep",
        }
    }
}

/// What a call of the ledger gives, some time later.
pub type Answered<'a, T> = BoxFuture<'a, Result<T, LedgerError>>;

/// The ledger, as the sidecar sees it. Whatever it says of a row is proven against a final header.
pub trait LedgerView: Send + Sync + 'static {
    /// The network.
    fn network(&self) -> NetworkId;

    /// The ledger's clock.
    fn clock(&self) -> LedgerClock;

    /// The key that signs a provider's Answers.
    fn provider_key(&self, provider: ProviderId) -> Answered<'_, Option<PublicKey>>;

    /// A listing.
    fn service(&self, service: ServiceId) -> Answered<'_, Option<ServiceView>>;

    /// A purchase, or that there is none.
    fn purchase(&self, purchase: PurchaseId) -> Answered<'_, Result<PurchaseView, Absence>>;

    /// The purchase that a row with its proof shows: what a consumer posts to `grants`.
    fn check_grant(&self, proof: Vec<u8>) -> Answered<'_, PurchaseView>;

    /// For each link of a chain, whether it is revoked.
    fn revoked(&self, purchase: PurchaseId, links: Vec<Hash32>) -> Answered<'_, Vec<bool>>;

    /// Until when the ledger counts what was signed under a version of the root key and the links below it, if that has
    /// an end: a replaced key's, or `window` after a link was revoked.
    fn counts_until(
        &self,
        purchase: PurchaseId,
        key_version: u32,
        links: Vec<Hash32>,
        window: Seconds,
    ) -> Answered<'_, Option<Seconds>>;

    /// Calls of a lane that are claimed.
    fn claimed(&self, purchase: PurchaseId, lane: Lane) -> Answered<'_, u64>;

    /// Sales of a provider from a number on, and the number to go on from. May wait a little when there are none.
    fn feed(&self, provider: ProviderId, cursor: u64) -> Answered<'_, (Vec<PurchaseId>, u64)>;

    /// Acts, and waits until it is final. [`LedgerError::Refused`] says that the same would be refused again.
    fn submit(&self, duty: Duty) -> Answered<'_, ()>;
}
