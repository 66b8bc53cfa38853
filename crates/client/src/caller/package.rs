//! What a caller knows of its package, each part read with a proof.

use surety_ledger::market::state::{PurchaseRecord, Service};
use surety_primitives::access::{Grant, normalize_authority};
use surety_primitives::keys::PublicKey;
use surety_primitives::{Amount, DatasetId, NetworkId, ProviderId, PurchaseId, Seconds, ServiceId};
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
    /// Paid per proven fault; zero for none.
    pub cover: Amount,
    /// The datasets that its Answers cite, as they were sold: an update of the listing does not change them.
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
        let grant = grant(purchase.header.network, id, &record);
        Ok(Self::of_rows(grant, record, PublicKey(provider.key.0), service, clock))
    }

    // What was sold comes from the purchase's row; only where calls go may move with the listing.
    fn of_rows(
        grant: Grant,
        record: PurchaseRecord,
        provider_key: PublicKey,
        service: Service,
        clock: Seconds,
    ) -> Self {
        Self {
            grant,
            provider: record.provider,
            provider_key,
            service: record.service,
            window: record.window,
            cover: record.cover,
            datasets: record.datasets,
            endpoint: service.terms.endpoint,
            clock,
        }
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use surety_ledger::market::UpdateService;
    use surety_ledger::market::state::{SERVICES, Terms};
    use surety_ledger::testing::faults::publication;
    use surety_ledger::testing::market::{Market, key, terms};

    use super::*;

    #[test]
    fn an_update_of_the_listing_changes_nothing_that_is_sold_but_the_endpoint() {
        let mut market = Market::default();
        let publication = publication(market.chain.now());
        market.does("vera", publication);
        let pinned = Terms { datasets: vec![DatasetId(1)], ..terms() };
        market.does("vera", UpdateService { service: market.service, terms: pinned });
        let order = surety_ledger::market::Purchase { version: 2, ..market.order() };
        let id = PurchaseId::derive(market.chain.network(), market.chain.address("ana"), order.client_ref.0);
        market.does("ana", order);
        let none = Terms { datasets: Vec::new(), window: 1, endpoint: "https://moved.example".to_owned(), ..terms() };
        market.does("vera", UpdateService { service: market.service, terms: none });

        let record = market.purchase(id);
        let grant = grant(market.chain.network(), id, &record);
        let listing = market.chain.get(SERVICES, &market.service).unwrap();
        let package = Package::of_rows(grant, record, key("vera").public(), listing, market.chain.now());
        assert_eq!((&package.datasets[..], package.window), (&[DatasetId(1)][..], 64));
        assert_eq!(package.endpoint, "https://moved.example");
    }
}
