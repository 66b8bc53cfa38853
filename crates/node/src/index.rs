//! Search index of the listings, rebuilt from the state and kept up by receipts.
//!
//! Always true: it holds nothing that the state does not, so losing it costs a rebuild; its memory is bounded by
//! [`MAX_SERVICES`] and [`MAX_TOKENS`]. Pages read the records themselves from the state, the index only finds them.
//! Never here: purchases (their feed has index rows in the state), accounts, anything that must be proven.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use surety_ledger::market::state::{COUNTERS, DATASETS, Dataset, SERVICES, Service};
use surety_ledger::{Event, Genesis, Map, market, operators};
use surety_primitives::{Amount, DatasetId, OperatorId, ProviderId, ServiceId};
use tokio::sync::broadcast::error::RecvError;

use crate::api::{Backend, FinalBlock, ReadFailure};

/// Most services that can be found by search; above it the newest.
pub const MAX_SERVICES: u64 = 20_000;
/// Most datasets that are listed; above it the newest.
pub const MAX_DATASETS: u64 = 100_000;
/// Most different words of one service that are searched.
pub const MAX_TOKENS: usize = 256;
/// Most letters of a word.
const MAX_LETTERS: usize = 32;
/// Most words of a query.
const MAX_QUERY: usize = 8;
/// Rows read at once.
const CHUNK: u64 = 256;
/// Between two tries to read a state that is not there yet.
const AGAIN: Duration = Duration::from_millis(500);

/// How a page is ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Best match of the text first; without a text like `newest`.
    #[default]
    Relevance,
    /// Cheapest package first.
    Price,
    /// Cheapest call first.
    CallPrice,
    /// Greatest cover first.
    Cover,
    /// Latest listed first.
    Newest,
}

/// What is searched for. What is not given matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Words; each must begin a word of title, tags or description.
    pub text: String,
    /// A root (1 to 5) or root x 100 + leaf.
    pub category: Option<u16>,
    /// A tag, whatever its case.
    pub tag: Option<String>,
    /// An EVM chain id.
    pub chain: Option<u64>,
    /// Region, whatever its case.
    pub region: Option<String>,
    /// Who offers it.
    pub provider: Option<ProviderId>,
    /// Most that a package may cost.
    pub max_price: Option<Amount>,
    /// Least cover per fault.
    pub min_cover: Option<Amount>,
    /// Also what is paused.
    pub paused: bool,
    /// Order.
    pub sort: Sort,
    /// Only what comes after this place.
    pub after: Option<Place>,
    /// Most results.
    pub limit: usize,
}

/// A place in an order: rank, then number. It stays valid while listings come and go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// By the order that was asked for, lower first.
    pub rank: u128,
    /// The service.
    pub service: ServiceId,
}

/// One page of results.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The services in order.
    pub services: Vec<ServiceId>,
    /// Where the next page begins, if there is one.
    pub next: Option<Place>,
    /// How many match in all.
    pub matches: usize,
}

/// The index.
pub struct Index {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    height: u64,
    services: BTreeMap<ServiceId, Entry>,
    /// word → services that have it, with the weight of the best place.
    words: BTreeMap<Arc<str>, BTreeMap<ServiceId, u32>>,
    datasets: BTreeMap<DatasetId, ProviderId>,
    operators: BTreeSet<OperatorId>,
}

struct Entry {
    provider: ProviderId,
    paused: bool,
    category: u16,
    tags: Vec<String>,
    chains: Vec<u64>,
    region: String,
    price: Amount,
    calls: u64,
    cover: Amount,
    words: Vec<Arc<str>>,
}

/// What the index holds, for the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Size {
    /// Height of the last block that it took in.
    pub height: u64,
    /// Services.
    pub services: usize,
    /// Different words.
    pub words: usize,
    /// Datasets.
    pub datasets: usize,
    /// Operators.
    pub operators: usize,
}

impl Index {
    /// An index that knows the first operators only.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let operators = genesis.operators.iter().map(|operator| OperatorId(operator.account)).collect();
        Self { inner: RwLock::new(Inner { operators, ..Inner::default() }) }
    }

    /// Reads the whole state once, then follows the blocks; ends when the node does.
    pub async fn follow(&self, backend: &dyn Backend) {
        let mut blocks = backend.subscribe();
        while let Err(failure) = self.rebuild(backend).await {
            tracing::debug!(%failure, "the index waits for a state");
            tokio::time::sleep(AGAIN).await;
        }
        loop {
            let done = match blocks.recv().await {
                Ok(block) => self.take_in(backend, &block).await,
                Err(RecvError::Lagged(_)) => self.rebuild(backend).await,
                Err(RecvError::Closed) => return,
            };
            if let Err(failure) = done {
                tracing::warn!(%failure, "the index missed a block and reads the state again");
                tokio::time::sleep(AGAIN).await;
                // What fails once more is made good by the next block that changes a listing.
                let _ = self.rebuild(backend).await;
            }
        }
    }

    /// Reads every listing from the state.
    ///
    /// # Errors
    /// [`ReadFailure`].
    pub async fn rebuild(&self, backend: &dyn Backend) -> Result<(), ReadFailure> {
        let counters = read(backend, COUNTERS, &[()]).await?.pop().flatten().unwrap_or_default();
        let first = counters.services.saturating_sub(MAX_SERVICES).saturating_add(1);
        for (from, to) in chunks(first, counters.services) {
            self.load_services(backend, (from..=to).map(ServiceId).collect()).await?;
        }
        let first = counters.datasets.saturating_sub(MAX_DATASETS).saturating_add(1);
        for (from, to) in chunks(first, counters.datasets) {
            self.load_datasets(backend, (from..=to).map(DatasetId).collect()).await?;
        }
        self.write().height = backend.tip().map_or(0, |tip| tip.height.0);
        Ok(())
    }

    /// Takes in what a block changed.
    ///
    /// # Errors
    /// [`ReadFailure`].
    pub async fn take_in(&self, backend: &dyn Backend, block: &FinalBlock) -> Result<(), ReadFailure> {
        let next = self.read().height.saturating_add(1);
        let Some(receipts) = block.receipts.as_ref().filter(|_| block.header.height.0 <= next) else {
            // Blocks were missed, or this one does not say what it did.
            return self.rebuild(backend).await;
        };
        let (mut services, mut datasets) = (BTreeSet::new(), BTreeSet::new());
        for event in receipts.iter().flat_map(|receipt| &receipt.events) {
            match event {
                Event::Market(
                    market::Event::ServiceRegistered { service, .. }
                    | market::Event::ServiceUpdated { service, .. }
                    | market::Event::ServicePaused { service, .. },
                ) => {
                    services.insert(*service);
                }
                Event::Market(market::Event::DatasetPublished { dataset, .. }) => {
                    datasets.insert(*dataset);
                }
                Event::Operators(operators::Event::OperatorRegistered { operator }) => {
                    self.write().operators.insert(*operator);
                }
                _ => {}
            }
        }
        self.load_services(backend, services.into_iter().collect()).await?;
        self.load_datasets(backend, datasets.into_iter().collect()).await?;
        let mut inner = self.write();
        inner.height = inner.height.max(block.header.height.0);
        Ok(())
    }

    /// One page of the services that match.
    #[must_use]
    pub fn search(&self, query: &Query) -> Found {
        let inner = self.read();
        let scores = inner.scores(&query.text);
        let mut places: Vec<Place> = inner
            .services
            .iter()
            .filter(|(_, entry)| entry.matches(query))
            .filter_map(|(id, entry)| {
                let score = match &scores {
                    Some(scores) => *scores.get(id)?,
                    None => 0,
                };
                Some(Place { rank: entry.rank(query.sort, *id, scores.is_some(), score), service: *id })
            })
            .collect();
        places.sort_unstable();
        let matches = places.len();
        let start = query.after.map_or(0, |after| places.partition_point(|place| *place <= after));
        let page = places.get(start..).unwrap_or_default();
        let shown = page.get(..query.limit.min(page.len())).unwrap_or_default();
        let next = if shown.len() < page.len() { shown.last().copied() } else { None };
        Found { services: shown.iter().map(|place| place.service).collect(), next, matches }
    }

    /// Datasets above `after`, in order of number, of one publisher or of all.
    #[must_use]
    pub fn datasets(&self, publisher: Option<ProviderId>, after: u64, limit: usize) -> Vec<DatasetId> {
        let inner = self.read();
        let later = inner.datasets.range(DatasetId(after.saturating_add(1))..);
        let ours = later.filter(|(_, owner)| publisher.is_none_or(|publisher| publisher == **owner));
        ours.map(|(id, _)| *id).take(limit).collect()
    }

    /// Operators above `after`, in order of account.
    #[must_use]
    pub fn operators(&self, after: Option<OperatorId>, limit: usize) -> Vec<OperatorId> {
        let inner = self.read();
        let later = inner.operators.iter().filter(|id| after.is_none_or(|after| **id > after));
        later.copied().take(limit).collect()
    }

    /// Who offers a service.
    #[must_use]
    pub fn provider_of(&self, service: ServiceId) -> Option<ProviderId> {
        self.read().services.get(&service).map(|entry| entry.provider)
    }

    /// Who publishes a dataset.
    #[must_use]
    pub fn publisher_of(&self, dataset: DatasetId) -> Option<ProviderId> {
        self.read().datasets.get(&dataset).copied()
    }

    /// What it holds.
    #[must_use]
    pub fn size(&self) -> Size {
        let inner = self.read();
        Size {
            height: inner.height,
            services: inner.services.len(),
            words: inner.words.len(),
            datasets: inner.datasets.len(),
            operators: inner.operators.len(),
        }
    }

    async fn load_services(&self, backend: &dyn Backend, ids: Vec<ServiceId>) -> Result<(), ReadFailure> {
        let records = read(backend, SERVICES, &ids).await?;
        let mut inner = self.write();
        for (id, record) in ids.into_iter().zip(records) {
            inner.forget(id);
            if let Some(service) = record {
                inner.enter(id, service);
            }
        }
        while inner.services.len() as u64 > MAX_SERVICES {
            let Some((oldest, _)) = inner.services.first_key_value() else { break };
            let oldest = *oldest;
            inner.forget(oldest);
        }
        Ok(())
    }

    async fn load_datasets(&self, backend: &dyn Backend, ids: Vec<DatasetId>) -> Result<(), ReadFailure> {
        let records: Vec<Option<Dataset>> = read(backend, DATASETS, &ids).await?;
        let mut inner = self.write();
        let known = ids.into_iter().zip(records).filter_map(|(id, record)| Some((id, record?.publisher)));
        inner.datasets.extend(known);
        while inner.datasets.len() as u64 > MAX_DATASETS {
            inner.datasets.pop_first();
        }
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read<K, V>(backend: &dyn Backend, table: Map<K, V>, ids: &[K]) -> Result<Vec<Option<V>>, ReadFailure>
where
    K: borsh::BorshSerialize + borsh::BorshDeserialize,
    V: borsh::BorshDeserialize,
{
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<_> = ids.iter().map(|id| table.key(id)).collect();
    let rows = backend.rows(&keys).await?;
    let record = |value: Option<Vec<u8>>| value.and_then(|value| table.read_row(&value)).map(|(_, record)| record);
    Ok(rows.values.into_iter().map(record).collect())
}

fn chunks(first: u64, last: u64) -> impl Iterator<Item = (u64, u64)> {
    let starts = (first..=last).step_by(CHUNK as usize);
    starts.map(move |start| (start, last.min(start.saturating_add(CHUNK - 1))))
}

impl Inner {
    fn enter(&mut self, id: ServiceId, service: Service) {
        let terms = service.terms;
        let mut weights: BTreeMap<String, u32> = BTreeMap::new();
        let tags = terms.tags.join(" ");
        for (text, weight) in [(&terms.title, 4), (&tags, 3), (&terms.region, 2), (&terms.description, 1)] {
            for word in words_of(text) {
                if weights.len() < MAX_TOKENS || weights.contains_key(&word) {
                    let held = weights.entry(word).or_insert(weight);
                    *held = weight.max(*held);
                }
            }
        }
        let mut words = Vec::with_capacity(weights.len());
        for (word, weight) in weights {
            let word: Arc<str> = match self.words.get_key_value(word.as_str()) {
                Some((known, _)) => Arc::clone(known),
                None => word.into(),
            };
            self.words.entry(Arc::clone(&word)).or_default().insert(id, weight);
            words.push(word);
        }
        let entry = Entry {
            provider: service.provider,
            paused: service.paused,
            category: terms.category,
            tags: terms.tags,
            chains: terms.chains,
            region: terms.region,
            price: terms.price,
            calls: terms.calls,
            cover: terms.cover,
            words,
        };
        self.services.insert(id, entry);
    }

    fn forget(&mut self, id: ServiceId) {
        let Some(entry) = self.services.remove(&id) else { return };
        for word in entry.words {
            if let Some(services) = self.words.get_mut(&word) {
                services.remove(&id);
                if services.is_empty() {
                    self.words.remove(&word);
                }
            }
        }
    }

    /// Services that have every word of the text, with their scores; nothing without a word.
    fn scores(&self, text: &str) -> Option<BTreeMap<ServiceId, u32>> {
        let mut all: Option<BTreeMap<ServiceId, u32>> = None;
        for word in words_of(text).take(MAX_QUERY) {
            let mut best: BTreeMap<ServiceId, u32> = BTreeMap::new();
            let from = self.words.range::<str, _>((Bound::Included(word.as_str()), Bound::Unbounded));
            for (known, services) in from.take_while(|(known, _)| known.starts_with(&word)) {
                let factor = if known.len() == word.len() { 2 } else { 1 };
                for (id, weight) in services {
                    let held = best.entry(*id).or_default();
                    *held = (*held).max(weight.saturating_mul(factor));
                }
            }
            all = Some(match all {
                None => best,
                Some(all) => {
                    all.into_iter().filter_map(|(id, s)| Some((id, s.saturating_add(*best.get(&id)?)))).collect()
                }
            });
        }
        all
    }
}

impl Entry {
    fn matches(&self, query: &Query) -> bool {
        let same = |a: &String, b: &String| a.eq_ignore_ascii_case(b);
        let category = |wanted: u16| match wanted {
            root @ 0..100 => self.category / 100 == root || self.category == root,
            leaf => self.category == leaf,
        };
        (query.paused || !self.paused)
            && query.category.is_none_or(category)
            && query.tag.as_ref().is_none_or(|tag| self.tags.iter().any(|own| same(own, tag)))
            && query.chain.is_none_or(|chain| self.chains.contains(&chain))
            && query.region.as_ref().is_none_or(|region| same(&self.region, region))
            && query.provider.is_none_or(|provider| self.provider == provider)
            && query.max_price.is_none_or(|most| self.price <= most)
            && query.min_cover.is_none_or(|least| self.cover >= least)
    }

    fn rank(&self, sort: Sort, id: ServiceId, has_text: bool, score: u32) -> u128 {
        match sort {
            Sort::Relevance if has_text => u128::MAX - u128::from(score),
            Sort::Relevance | Sort::Newest => u128::MAX - u128::from(id.0),
            Sort::Price => self.price.0,
            Sort::CallPrice => self.price.0 / u128::from(self.calls.max(1)),
            Sort::Cover => u128::MAX - self.cover.0,
        }
    }
}

/// The different words of a text, in small letters.
fn words_of(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.chars().flat_map(char::to_lowercase).take(MAX_LETTERS).collect())
}
