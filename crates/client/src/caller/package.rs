//! What a caller knows of its package, each part read with a proof.

use surety_ledger::market::state::PurchaseRecord;
use surety_primitives::access::{Grant, normalize_authority};
use surety_primitives::keys::PublicKey;
use surety_primitives::{DatasetId, NetworkId, ProviderId, PurchaseId, Seconds, ServiceId};
use url::Url;

use crate::error::Error;
use crate::light::LightReader;

/// A bought package and whom it is used with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Package {
    /// The right to call.
    pub grant: Grant,
    /// Who answers.
    pub provider: ProviderId,
    /// The key that signs its Answers.
    pub provider_key: PublicKey,
    /// What was bought.
    pub service: ServiceId,
    /// Most unacknowledged calls (W).
    pub window: u32,
    /// The datasets that the listing's Answers cite.
    pub datasets: Vec<DatasetId>,
    /// Where calls go.
    pub endpoint: String,
    /// The ledger clock when this was read.
    pub clock: Seconds,
}

impl Package {
    /// Reads purchase, provider and listing from the ledger, each with its proof.
    ///
    /// # Errors
    /// [`Error::Absent`] when one of them does not exist; what [`LightReader`] says.
    pub async fn fetch(reader: &LightReader, id: PurchaseId) -> Result<Self, Error> {
        let purchase = reader.purchase(id).await?;
        let clock = purchase.header.clock;
        let record = purchase.value.ok_or(Error::Absent)?;
        let provider = reader.provider(record.provider).await?.value.ok_or(Error::Absent)?;
        let service = reader.service(record.service).await?.value.ok_or(Error::Absent)?;
        Ok(Self {
            grant: grant(purchase.header.network, id, &record),
            provider: record.provider,
            provider_key: PublicKey(provider.key.0),
            service: record.service,
            window: record.window,
            datasets: service.terms.datasets,
            endpoint: service.terms.endpoint,
            clock,
        })
    }
}

/// The right to call that a purchase's row gives.
#[must_use]
pub fn grant(network: NetworkId, id: PurchaseId, record: &PurchaseRecord) -> Grant {
    Grant {
        network,
        purchase: id,
        key_version: record.key_version,
        call_key: PublicKey(record.call_key.0),
        lanes: u32::from(record.lanes),
        quota: record.quota,
        not_before: record.not_before,
        end: record.end(),
    }
}

/// Host and port of the endpoint, in the form that calls are bound to.
pub(super) fn authority(endpoint: &Url) -> String {
    let default = if endpoint.scheme() == "https" { 443 } else { 80 };
    let host = endpoint.host_str().unwrap_or_default();
    let port = endpoint.port().map(|port| format!(":{port}")).unwrap_or_default();
    normalize_authority(&format!("{host}{port}"), default)
}
