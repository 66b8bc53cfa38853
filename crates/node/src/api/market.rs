//! Listings, providers, purchases, datasets.

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Value, json};
use surety_ledger::market::state::{
    DATASET_VERSIONS, DATASETS, PROVIDERS, PURCHASES, Provider, ProviderStatus, SERVICES, Service,
};
use surety_primitives::api::{Numbered, Page};
use surety_primitives::{DatasetId, ProviderId, PurchaseId, ServiceId};

use super::Shared;
use super::extract::{Asked, Flag, Reply, Segment, Segments, WithProof, page};
use super::problem::{Problem, Result};
use super::read::with;
use crate::index::{Place, Query, Sort};

/// Longest text that is searched for.
const MAX_TEXT: usize = 256;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServicePage {
    text: Option<String>,
    category: Option<u16>,
    tag: Option<String>,
    chain: Option<u64>,
    region: Option<String>,
    provider: Option<u64>,
    max_price: Option<String>,
    min_cover: Option<String>,
    #[serde(default)]
    paused: Flag,
    #[serde(default)]
    sort: Sort,
    limit: Option<u32>,
    cursor: Option<String>,
}

impl ServicePage {
    fn query(self) -> Result<Query> {
        let amount = |name: &str, text: Option<String>| text.map(|text| base_units(name, &text)).transpose();
        for (name, text) in [("text", &self.text), ("tag", &self.tag), ("region", &self.region)] {
            if text.as_ref().is_some_and(|text| text.len() > MAX_TEXT) {
                return Err(Problem::parameter(name, format!("more than {MAX_TEXT} bytes")));
            }
        }
        Ok(Query {
            category: self.category,
            tag: self.tag,
            chain: self.chain,
            region: self.region,
            provider: self.provider.map(ProviderId),
            max_price: amount("max_price", self.max_price)?,
            min_cover: amount("min_cover", self.min_cover)?,
            paused: self.paused.0,
            sort: self.sort,
            after: self.cursor.map(|text| place(&text)).transpose()?,
            limit: page(self.limit, 50)?,
            text: self.text.unwrap_or_default(),
        })
    }
}

/// An amount as answers carry it: base units in decimal digits.
fn base_units(name: &str, text: &str) -> Result<surety_primitives::Amount> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let units = text.parse().ok().filter(|_| digits);
    units.map(surety_primitives::Amount).ok_or_else(|| Problem::parameter(name, "not an amount in base units"))
}

fn place(text: &str) -> Result<Place> {
    let parts = text.split_once('-').filter(|_| text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit()));
    let place = parts.and_then(|(rank, id)| {
        let (rank, id) = (u128::from_str_radix(rank, 16).ok()?, u64::from_str_radix(id, 16).ok()?);
        Some(Place { rank, service: ServiceId(id) })
    });
    place.ok_or_else(|| Problem::parameter("cursor", "not a cursor of an earlier page"))
}

pub(crate) async fn services(State(api): State<Shared>, Asked(asked): Asked<ServicePage>) -> Result<Reply<Value>> {
    let found = api.index.search(&asked.query()?);
    let (services, header) = api.get_many(SERVICES, &found.services).await?;
    let mut providers: Vec<ProviderId> = services.iter().flatten().map(|service| service.provider).collect();
    providers.sort_unstable();
    providers.dedup();
    let (records, _) = api.get_many(PROVIDERS, &providers).await?;
    let items = found.services.iter().zip(services).filter_map(|(id, service)| {
        let service = service?;
        let at = providers.binary_search(&service.provider).ok()?;
        Some(service_view(*id, &service, records.get(at)?.as_ref()))
    });
    Ok(Reply(json!({
        "items": items.collect::<Vec<Value>>(),
        "matches": found.matches,
        "next": found.next.map(|next| format!("{:x}-{:x}", next.rank, next.service.0)),
        "height": header.height,
    })))
}

fn service_view(id: ServiceId, service: &Service, provider: Option<&Provider>) -> Value {
    let sells = provider.is_some_and(|provider| provider.status == ProviderStatus::Active);
    let view = Numbered { id, record: service };
    with(&view, json!({"selling": sells && !service.paused, "coverage": provider.map(coverage)}))
}

/// What backs a provider's promises (`market.md` B2).
fn coverage(provider: &Provider) -> Value {
    json!({
        "backing": provider.backing(),
        "exposure": provider.exposure(),
        "owed": provider.owed,
        "free": provider.free(),
    })
}

pub(crate) async fn service(
    State(api): State<Shared>,
    Segment(id): Segment<ServiceId>,
    Asked(asked): Asked<WithProof>,
) -> Result<Reply<Value>> {
    let (service, header) = api.need(SERVICES, &id, "service").await?;
    let (provider, _) = api.get(PROVIDERS, &service.provider).await?;
    let proof = api.prove_if(asked.proof.0, SERVICES.key(&id)).await?;
    let view = service_view(id, &service, provider.as_ref());
    Ok(Reply(with(&view, json!({"height": header.height, "proof": proof}))))
}

pub(crate) async fn provider(
    State(api): State<Shared>,
    Segment(id): Segment<ProviderId>,
    Asked(asked): Asked<WithProof>,
) -> Result<Reply<Value>> {
    let (provider, header) = api.need(PROVIDERS, &id, "provider").await?;
    let proof = api.prove_if(asked.proof.0, PROVIDERS.key(&id)).await?;
    let coverage = coverage(&provider);
    let view = Numbered { id, record: provider };
    Ok(Reply(with(&view, json!({"coverage": coverage, "height": header.height, "proof": proof}))))
}

pub(crate) async fn purchase(
    State(api): State<Shared>,
    Segment(id): Segment<PurchaseId>,
    Asked(asked): Asked<WithProof>,
) -> Result<Reply<Value>> {
    let (purchase, header) = api.need(PURCHASES, &id, "purchase").await?;
    let proof = api.prove_if(asked.proof.0, PURCHASES.key(&id)).await?;
    let view = Numbered { id, record: purchase };
    Ok(Reply(with(&view, json!({"height": header.height, "proof": proof}))))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DatasetPage {
    publisher: Option<u64>,
    cursor: Option<u64>,
    limit: Option<u32>,
}

pub(crate) async fn datasets(State(api): State<Shared>, Asked(asked): Asked<DatasetPage>) -> Result<Reply<Value>> {
    let limit = page(asked.limit, 50)?;
    let ids = api.index.datasets(asked.publisher.map(ProviderId), asked.cursor.unwrap_or(0), limit);
    let (records, header) = api.get_many(DATASETS, &ids).await?;
    let known: Vec<_> = ids.iter().zip(records).filter_map(|(id, record)| Some((*id, record?))).collect();
    let latest: Vec<(DatasetId, u64)> = known.iter().map(|(id, dataset)| (*id, dataset.latest)).collect();
    let (versions, _) = api.get_many(DATASET_VERSIONS, &latest).await?;
    let items = known.into_iter().zip(versions);
    let items = items.map(|((id, record), newest)| with(&Numbered { id, record }, json!({"newest": newest})));
    let next = ids.last().filter(|_| ids.len() == limit).map(ToString::to_string);
    Ok(Reply(with(&Page { items: items.collect(), next }, json!({"height": header.height}))))
}

pub(crate) async fn dataset(
    State(api): State<Shared>,
    Segment(id): Segment<DatasetId>,
    Asked(asked): Asked<WithProof>,
) -> Result<Reply<Value>> {
    let (dataset, header) = api.need(DATASETS, &id, "dataset").await?;
    let (newest, _) = api.get(DATASET_VERSIONS, &(id, dataset.latest)).await?;
    let proof = api.prove_if(asked.proof.0, DATASETS.key(&id)).await?;
    let view = Numbered { id, record: dataset };
    Ok(Reply(with(&view, json!({"newest": newest, "height": header.height, "proof": proof}))))
}

pub(crate) async fn dataset_version(
    State(api): State<Shared>,
    Segments(id, number): Segments<DatasetId, u64>,
    Asked(asked): Asked<WithProof>,
) -> Result<Reply<Value>> {
    let (version, header) = api.need(DATASET_VERSIONS, &(id, number), "dataset version").await?;
    let proof = api.prove_if(asked.proof.0, DATASET_VERSIONS.key(&(id, number))).await?;
    let view = Numbered { id: number, record: version };
    Ok(Reply(with(&view, json!({"dataset": id, "height": header.height, "proof": proof}))))
}
