//! Providers, services, purchases, and what is owed between them (`market.md` B1). Nothing in a row grows without bound.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::typed_data::Bytes32;
use surety_primitives::{
    Address, Amount, DatasetId, Epoch, Hash32, Lane, ProviderId, PurchaseId, Seconds, ServiceId, typed_struct,
};

use crate::state::{Item, Map};

/// The last numbers given out.
pub const COUNTERS: Item<Counters> = Map::new(60, "market/counters");
/// provider → its stake, sales and debts.
pub const PROVIDERS: Map<ProviderId, Provider> = Map::new(61, "market/provider");
/// owner → the provider it registered.
pub const OWNERS: Map<Address, ProviderId> = Map::new(62, "market/owner");
/// answering key → whose it is and was, for ever: evidence has no expiry of its own.
pub const PROVIDER_KEYS: Map<Bytes32, ProviderKey> = Map::new(63, "market/provider-key");
/// service → the listing.
pub const SERVICES: Map<ServiceId, Service> = Map::new(64, "market/service");
/// purchase → the package; with its inclusion proof this row is the grant.
pub const PURCHASES: Map<PurchaseId, PurchaseRecord> = Map::new(65, "market/purchase");
/// (provider, n) → its n-th sale, from 0, without gaps: the provider's feed.
pub const SALES: Map<(ProviderId, u64), PurchaseId> = Map::new(66, "market/sale");
/// (purchase, lane) → calls acknowledged and paid.
pub const LANES: Map<(PurchaseId, Lane), u64> = Map::new(67, "market/lane");
/// (purchase, hash of a sub-grant) → when it was revoked.
pub const REVOCATIONS: Map<(PurchaseId, Hash32), Seconds> = Map::new(68, "market/revocation");
/// (purchase, key version) → an earlier call key and the moment until which claims under it count.
pub const CALL_KEYS: Map<(PurchaseId, u32), OldCallKey> = Map::new(69, "market/call-key");
/// (provider, period) → what was claimed in it and is not released.
pub const TRANCHES: Map<(ProviderId, u64), Tranche> = Map::new(70, "market/tranche");
/// purchase → what its provider says it answered without being acknowledged.
pub const SHOWN: Map<PurchaseId, Shown> = Map::new(71, "market/shown");
/// dataset → its newest version and the first one still kept.
pub const DATASETS: Map<DatasetId, Dataset> = Map::new(72, "market/dataset");
/// (publisher, name) → the dataset.
pub const DATASET_NAMES: Map<(ProviderId, String), DatasetId> = Map::new(73, "market/dataset-name");
/// (dataset, version) → its root.
pub const DATASET_VERSIONS: Map<(DatasetId, u64), DatasetVersion> = Map::new(74, "market/dataset-version");
/// (fault, purchase) → a proven fault and the cover still to pay.
pub const FAULTS: Map<(Hash32, PurchaseId), Fault> = Map::new(75, "market/fault");
/// fault → its penalty, once.
pub const PENALTIES: Map<Hash32, Penalty> = Map::new(76, "market/penalty");

/// The last numbers given out; 0 where there is none yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Counters {
    /// Providers.
    pub providers: u64,
    /// Services.
    pub services: u64,
    /// Datasets.
    pub datasets: u64,
}

/// Whether a provider may sell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderStatus {
    /// It sells.
    #[default]
    Active,
    /// It paused itself, since this moment.
    Paused {
        /// Since when.
        since: Seconds,
    },
    /// It took out its whole stake; nothing but its record is left.
    Left,
}

/// Stake on its way out.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Unbonding {
    /// How much.
    pub amount: Amount,
    /// When it is free.
    pub end: Seconds,
}

/// One provider. `backing` = stake + unreleased; `exposure` = open value + promised; I1: exposure <= backing (`market.md` B2).
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Provider {
    /// The account that registered it.
    pub owner: Address,
    /// Where released money goes.
    pub payout: Address,
    /// A new payout address and the moment from which it counts.
    pub next_payout: Option<(Address, Seconds)>,
    /// The key that signs its Answers (ed25519).
    pub key: Bytes32,
    /// Whether it sells.
    pub status: ProviderStatus,
    /// Bonded stake.
    pub stake: Amount,
    /// Stake on its way out, at most 8 entries; still taken for penalties.
    pub unbonding: Vec<Unbonding>,
    /// Price of sold, unsettled packages less their acknowledged part.
    pub open_value: Amount,
    /// Cover of purchases whose faults can still be proven, and covers still to pay.
    pub promised: Amount,
    /// Claimed and not released, take already paid.
    pub unreleased: Amount,
    /// Penalties not yet taken: paid after everybody else.
    pub owed: Amount,
    /// Sales so far; the number of the next one.
    pub sales: u64,
    /// Services listed.
    pub services: u32,
    /// Since when the stake is below what is required.
    pub short_since: Option<Seconds>,
    /// Decaying sum of revenue (rev of `market.md` C2) and the day of its value: the required stake follows from it.
    pub revenue: Amount,
    /// The day of `revenue`.
    pub revenue_day: u64,
    /// Penalties of the 30 days before `penalty_since` + 30 days.
    pub penalties: Amount,
    /// Start of the current 30 days.
    pub penalty_since: Seconds,
    /// Pauses of the 30 days from `pause_since` on.
    pub paused_for: Seconds,
    /// Start of those 30 days.
    pub pause_since: Seconds,
    /// The epoch of `take_today`.
    pub take_epoch: Epoch,
    /// Take paid in that epoch.
    pub take_today: Amount,
}

/// An answering key and the time in which it was valid.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ProviderKey {
    /// Whose.
    pub provider: ProviderId,
    /// From when.
    pub from: Seconds,
    /// Until when, if it was replaced.
    pub until: Option<Seconds>,
    /// Deposit on this row, which stays as long as the row: for ever.
    pub deposit: Amount,
}

/// How the package reaches its buyer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Delivery {
    /// Calls over HTTP.
    Http = 0,
    /// Work agreed on elsewhere, acknowledged like calls.
    Ticket = 1,
}

typed_struct! {
    /// What a listing offers: everything but its number, provider and version.
    pub struct Terms {
        /// Category: root x 100 + leaf; roots 1 to 5 as in `market.md` B7.
        pub category: u16,
        /// Title, 1 to 96 bytes.
        pub title: String,
        /// Description, at most 4,096 bytes; nodes index it.
        pub description: String,
        /// At most 8 tags of at most 32 bytes.
        pub tags: Vec<String>,
        /// At most 8 EVM chain ids that it is about.
        pub chains: Vec<u64>,
        /// Where it is served, at most 32 bytes.
        pub region: String,
        /// Where calls go, at most 256 bytes.
        pub endpoint: String,
        /// Hash of its OpenAPI or JSON Schema document, zero for none.
        pub schema_hash: Hash32,
        /// Where that document is, at most 256 bytes.
        pub schema_url: String,
        /// 0 HTTP, 1 ticket.
        pub delivery: u16,
        /// Calls in a package, 1 to 10^12.
        pub calls: u64,
        /// Price of a package.
        pub price: Amount,
        /// Shortest life of a package.
        pub life_least: Seconds,
        /// Longest life of a package.
        pub life_most: Seconds,
        /// Part of what is unused at the end that returns to the consumer, in basis points; 0 keeps all.
        pub refund_bps: u16,
        /// Most unacknowledged calls (W).
        pub window: u32,
        /// Most calls a second, 0 for none stated.
        pub rate: u32,
        /// Paid per proven fault.
        pub cover: Amount,
        /// Distinct faults that one purchase can be paid for.
        pub cover_faults: u16,
        /// Most cover that the service pays in an epoch.
        pub cover_cap: Amount,
        /// At most 8 datasets that its Answers cite.
        pub datasets: Vec<DatasetId>,
    }
}

/// One listing.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Service {
    /// Who offers it.
    pub provider: ProviderId,
    /// Raised by every update, from 1.
    pub version: u32,
    /// Whether it is not sold for now.
    pub paused: bool,
    /// The epoch of `cover_paid`.
    pub cover_epoch: Epoch,
    /// Cover paid in that epoch.
    pub cover_paid: Amount,
    /// Deposit on this row.
    pub deposit: Amount,
    /// What it offers.
    pub terms: Terms,
}

/// How far a purchase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PurchaseStatus {
    /// Sold, not settled.
    Open,
    /// A fault was proven; not settled.
    Faulted,
    /// Nothing is left in escrow.
    Settled,
}

/// A bought package. It keeps the terms it was bought under.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct PurchaseRecord {
    /// Who bought it.
    pub consumer: Address,
    /// The root key of its calls (ed25519).
    pub call_key: Bytes32,
    /// Raised by every rotation of that key, from 1.
    pub key_version: u32,
    /// Who sold it.
    pub provider: ProviderId,
    /// What was bought.
    pub service: ServiceId,
    /// The listing's version.
    pub version: u32,
    /// Its number among the provider's sales.
    pub sale: u64,
    /// Calls.
    pub quota: u64,
    /// Price paid into escrow.
    pub price: Amount,
    /// Part of what is unused that returns, in basis points.
    pub refund_bps: u16,
    /// Most unacknowledged calls (W).
    pub window: u32,
    /// Most calls a second, 0 for none stated.
    pub rate: u32,
    /// Lanes 0 .. lanes.
    pub lanes: u16,
    /// Paid per proven fault.
    pub cover: Amount,
    /// Faults that can still be paid.
    pub cover_left: u16,
    /// At most 8 datasets that its Answers cite: without them no Answer could be proven wrong.
    pub datasets: Vec<DatasetId>,
    /// Bought at.
    pub not_before: Seconds,
    /// Calls are admitted until then.
    pub expires: Seconds,
    /// Ended earlier by a proven fault.
    pub ended: Option<Seconds>,
    /// Calls acknowledged and claimed over all lanes.
    pub claimed: u64,
    /// When that last rose.
    pub last_claim: Seconds,
    /// How far it is.
    pub status: PurchaseStatus,
    /// Rows that belong to it and carry a deposit: itself and its sale (2), lanes, old keys, revocations, shown, faults.
    pub rows: u32,
    /// Deposits on those rows.
    pub deposit: Amount,
}

impl PurchaseRecord {
    /// When calls end: min(expires, the moment of a proven fault).
    #[must_use]
    pub fn end(&self) -> Seconds {
        self.ended.map_or(self.expires, |ended| ended.min(self.expires))
    }

    /// Value of the first `calls` calls: floor(price x calls / quota).
    #[must_use]
    pub fn value_of(&self, calls: u64) -> Amount {
        self.price.mul_div_down(u128::from(calls.min(self.quota)), u128::from(self.quota)).unwrap_or(self.price)
    }
}

/// An earlier call key.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct OldCallKey {
    /// The key.
    pub key: Bytes32,
    /// Claims under it count until then.
    pub until: Seconds,
}

/// What was claimed in one period.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Tranche {
    /// How much, take already paid.
    pub amount: Amount,
    /// The last claim in it: the delay runs from here.
    pub last_claim: Seconds,
    /// Deposit on this row.
    pub deposit: Amount,
}

/// What a provider shows at the end of a purchase: at most 16 entries.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Shown {
    /// One a lane.
    pub entries: Vec<ShownLane>,
}

/// Answers of one lane that were not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct ShownLane {
    /// The lane.
    pub lane: Lane,
    /// Acknowledged before them.
    pub from_cum: u64,
    /// How many.
    pub count: u64,
    /// Merkle root over the signed Answers in order of seq.
    pub root: Hash32,
    /// The key of the lane, which may contest.
    pub lane_key: Bytes32,
    /// How many the consumer accepts, if it contested.
    pub accepted: Option<u64>,
}

impl ShownLane {
    /// Calls that are paid for.
    #[must_use]
    pub fn paid(&self) -> u64 {
        self.accepted.map_or(self.count, |accepted| accepted.min(self.count))
    }
}

/// A list that Answers cite.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Dataset {
    /// Whose word it is.
    pub publisher: ProviderId,
    /// Its name, unique for the publisher, 1 to 64 bytes.
    pub name: String,
    /// Newest version, from 1.
    pub latest: u64,
    /// First version still kept.
    pub first_kept: u64,
    /// Deposit on this row and on its name's.
    pub deposit: Amount,
}

/// One version of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct DatasetVersion {
    /// Merkle root over its sorted entries.
    pub root: Hash32,
    /// Number of entries.
    pub count: u64,
    /// The data's own date, seconds since 1970.
    pub date: u64,
    /// Licence, at most 64 bytes.
    pub licence: String,
    /// When it was published.
    pub published: Seconds,
    /// Answers may cite it until then.
    pub valid_until: Seconds,
    /// When it was retired, if it was.
    pub retired: Option<Seconds>,
    /// Deposit on this row.
    pub deposit: Amount,
}

/// A proven fault of one purchase.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Fault {
    /// 1 contradiction, 2 equivocation, 3 unknown or retired basis (`market.md` B8).
    pub kind: u8,
    /// Who reported it.
    pub reporter: Address,
    /// Cover still to pay.
    pub unpaid: Amount,
    /// The service whose cap it counts against.
    pub service: ServiceId,
}

/// The penalty of a fault.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Penalty {
    /// Who pays.
    pub provider: ProviderId,
    /// Who reported.
    pub reporter: Address,
    /// How much was set.
    pub amount: Amount,
    /// What of it is still owed.
    pub unpaid: Amount,
    /// Deposit on this row.
    pub deposit: Amount,
    /// When the fault was proven.
    pub proven: Seconds,
}

/// What happened in the marketplace.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(tag = "event")]
#[allow(missing_docs, reason = "the fields are the records' own, described there")]
pub enum Event {
    ProviderRegistered {
        provider: ProviderId,
        owner: Address,
        stake: Amount,
    },
    ProviderUpdated {
        provider: ProviderId,
    },
    ProviderStaked {
        provider: ProviderId,
        amount: Amount,
    },
    ProviderUnstaked {
        provider: ProviderId,
        amount: Amount,
        end: Seconds,
    },
    StakeWithdrawn {
        provider: ProviderId,
        amount: Amount,
    },
    ServiceRegistered {
        service: ServiceId,
        provider: ProviderId,
    },
    ServiceUpdated {
        service: ServiceId,
        version: u32,
    },
    ServicePaused {
        service: ServiceId,
        paused: bool,
    },
    ProviderPaused {
        provider: ProviderId,
        paused: bool,
    },
    DatasetPublished {
        dataset: DatasetId,
        version: u64,
        publisher: ProviderId,
        name: String,
        root: Hash32,
    },
    DatasetRetired {
        dataset: DatasetId,
        version: u64,
    },
    Purchased {
        purchase: PurchaseId,
        consumer: Address,
        provider: ProviderId,
        service: ServiceId,
        sale: u64,
        price: Amount,
        expires: Seconds,
        existing: bool,
    },
    KeyRotated {
        purchase: PurchaseId,
        key_version: u32,
    },
    KeyRevoked {
        purchase: PurchaseId,
        hash: Hash32,
    },
    Claimed {
        purchase: PurchaseId,
        provider: ProviderId,
        calls: u64,
        amount: Amount,
        take: Amount,
    },
    VoucherSkipped {
        purchase: PurchaseId,
        index: u32,
        code: u16,
    },
    Released {
        provider: ProviderId,
        amount: Amount,
        kept: Amount,
    },
    AnswersShown {
        purchase: PurchaseId,
        calls: u64,
    },
    ShownContested {
        purchase: PurchaseId,
        lane: Lane,
        accepted: u64,
        burned: Amount,
    },
    PurchaseSettled {
        purchase: PurchaseId,
        paid: Amount,
        refunded: Amount,
    },
    FaultProven {
        fault: Hash32,
        purchase: PurchaseId,
        kind: u8,
        cover: Amount,
        penalty: Amount,
    },
    Collected {
        provider: ProviderId,
        cover: Amount,
        penalties: Amount,
    },
    Swept {
        rows: u32,
        deposits: Amount,
    },
}
