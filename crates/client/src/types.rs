//! What the API says, with the ledger's records in place: see [`surety_primitives::api`].

use surety_ledger::epochs::{SeatRecord, Security};
use surety_ledger::market::state as market;
use surety_ledger::{AnyAction, Receipt, Transaction};
use surety_primitives::api::{CommitteeView, Feed, Numbered, TransactionView, TypedDataReply, TypedDataRequest};
use surety_primitives::{DatasetId, ProviderId, PurchaseId, ServiceId};

/// A transaction and what became of it.
pub type TransactionReport = TransactionView<Receipt>;
/// What a wallet is asked to sign.
pub type TypedDataAsk = TypedDataRequest<AnyAction>;
/// The document that it signs.
pub type TypedDataDocument = TypedDataReply<Transaction>;
/// A listing.
pub type ServiceView = Numbered<ServiceId, market::Service>;
/// A provider.
pub type ProviderView = Numbered<ProviderId, market::Provider>;
/// A purchase.
pub type PurchaseView = Numbered<PurchaseId, market::PurchaseRecord>;
/// A dataset.
pub type DatasetView = Numbered<DatasetId, market::Dataset>;
/// A version of a dataset; the number is the version.
pub type DatasetVersionView = Numbered<u64, market::DatasetVersion>;
/// A provider's feed of sales.
pub type SaleFeed = Feed<market::PurchaseRecord>;
/// The committee and what it withstands.
pub type CommitteeReport = CommitteeView<SeatRecord, Security>;
