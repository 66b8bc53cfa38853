//! What every request can reach.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hyper::Uri;
use hyper::header::HeaderValue;
use hyper::http::uri::{Authority, Scheme};
use surety_primitives::access::{ProblemKind, normalize_authority};
use surety_primitives::keys::SecretKey;
use surety_primitives::{PurchaseId, Seconds};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::{ServiceConfig, SidecarConfig};
use crate::error::Error;
use crate::forward::Upstream;
use crate::ledger::{LedgerView, PurchaseView};
use crate::metrics::Metrics;
use crate::package::{LoadError, Package};
use crate::packages::Packages;
use crate::refusal::{Offer, Refusal};
use crate::store::{CounterStore, StoreError};

/// Seconds after which the view of the ledger is too old for purchases that are not known (`market.md` D2).
const STALE_NEW: u64 = 120;
/// Seconds after which it is too old for all.
const STALE_ALL: u64 = STALE_NEW + 600;

/// A listing with the API behind it.
pub(crate) struct Route {
    pub(crate) config: ServiceConfig,
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) host: HeaderValue,
    offer: RwLock<Option<Offer>>,
}

impl Route {
    fn new(config: ServiceConfig) -> Result<Self, Error> {
        let bad = |what: &str| Error::Config(format!("upstream '{}': {what}", config.upstream));
        let uri: Uri = config.upstream.parse().map_err(|_| bad("not a URL"))?;
        if uri.scheme() != Some(&Scheme::HTTP) || uri.path() != "/" || uri.query().is_some() {
            return Err(bad("expected http://host:port and nothing behind it"));
        }
        let authority = uri.authority().cloned().ok_or_else(|| bad("no host"))?;
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| bad("not a host"))?;
        Ok(Self { scheme: Scheme::HTTP, authority, host, offer: RwLock::new(None), config })
    }

    /// Whether a path is the service's own or lies below it.
    pub(crate) fn holds(&self, path: &str) -> bool {
        let own = self.config.path.as_str();
        path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || own.ends_with('/') || rest.starts_with('/'))
    }

    pub(crate) fn offer(&self) -> Option<Offer> {
        self.offer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_offer(&self, offer: Offer) {
        *self.offer.write().unwrap_or_else(PoisonError::into_inner) = Some(offer);
    }

    /// A refusal that names the price.
    pub(crate) fn unpaid(&self, kind: ProblemKind, detail: &str) -> Refusal {
        let mut refusal = Refusal::new(kind, detail).needs("payment");
        refusal.offer = self.offer().map(Box::new);
        refusal
    }
}

/// The sidecar, as its requests share it.
pub(crate) struct State {
    pub(crate) config: SidecarConfig,
    /// In the form that request hashes use.
    pub(crate) authority: String,
    /// Longest path first.
    pub(crate) routes: Vec<Route>,
    pub(crate) key: SecretKey,
    pub(crate) ledger: Arc<dyn LedgerView>,
    pub(crate) store: Arc<dyn CounterStore>,
    pub(crate) packages: Packages,
    pub(crate) upstream: Upstream,
    pub(crate) metrics: Metrics,
    /// Bytes that are left for replies kept for retries.
    pub(crate) cache_left: Arc<AtomicUsize>,
    /// Calls that are admitted and not finished.
    pub(crate) in_flight: AtomicUsize,
    lookups: Semaphore,
    started: Instant,
}

impl State {
    pub(crate) fn new(
        config: SidecarConfig,
        key: SecretKey,
        ledger: Arc<dyn LedgerView>,
        store: Arc<dyn CounterStore>,
    ) -> Result<Self, Error> {
        config.check()?;
        let mut routes = config.services.iter().cloned().map(Route::new).collect::<Result<Vec<_>, _>>()?;
        routes.sort_by_key(|route| std::cmp::Reverse(route.config.path.len()));
        let default_port = if config.scheme == "https" { 443 } else { 80 };
        Ok(Self {
            authority: normalize_authority(&config.authority, default_port),
            routes,
            key,
            ledger,
            store,
            packages: Packages::new(),
            upstream: Upstream::new(),
            metrics: Metrics::new(),
            cache_left: Arc::new(AtomicUsize::new(config.limits.retry_cache_bytes)),
            in_flight: AtomicUsize::new(0),
            lookups: Semaphore::new(config.limits.lookups),
            started: Instant::now(),
            config,
        })
    }

    /// Milliseconds since the start, from 1 on.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Ledger time, for a purchase that is known or for one that is not.
    pub(crate) fn ledger_now(&self, known: bool) -> Result<Seconds, Refusal> {
        let clock = self.ledger.clock();
        if clock.age.as_secs() > if known { STALE_ALL } else { STALE_NEW } {
            let detail = format!("the newest header is {} s old", clock.age.as_secs());
            return Err(Refusal::new(ProblemKind::LedgerStale, detail).retry_after(10));
        }
        Ok(clock.now)
    }

    /// A purchase: from memory, else from the ledger (`market.md` D3, step 2).
    pub(crate) async fn package(&self, id: PurchaseId) -> Result<Option<Arc<Package>>, Refusal> {
        if let Some(package) = self.packages.get(&id) {
            return Ok(Some(package));
        }
        self.ledger_now(false)?;
        let _permit = self.lookup_permit()?;
        let found = self.ledger.purchase(id).await.map_err(|error| {
            tracing::warn!(%error, "a purchase could not be looked up");
            Refusal::new(ProblemKind::LedgerStale, "the ledger cannot be asked for this purchase now").retry_after(2)
        })?;
        match found.ok().filter(|view| view.provider == self.config.provider && !view.settled) {
            None => Ok(None),
            Some(view) => self.admit_package(id, view).await.map(Some),
        }
    }

    /// Anyone can invent ids and proofs: only so many look-ups run at a time, and the rest is told to come back.
    pub(crate) fn lookup_permit(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        let busy =
            |_| Refusal::new(ProblemKind::RateLimited, "too many unknown purchases are looked up").retry_after(1);
        self.lookups.try_acquire().map_err(busy)
    }

    /// Makes a purchase known whose row is proven.
    pub(crate) async fn admit_package(&self, id: PurchaseId, view: PurchaseView) -> Result<Arc<Package>, Refusal> {
        if self.packages.len() >= self.config.limits.packages {
            let detail = "more packages are open than this sidecar may hold";
            return Err(Refusal::new(ProblemKind::StoreUnavailable, detail).retry_after(60));
        }
        match Package::load(id, view, self.store.as_ref(), self.now_ms()).await {
            Ok(package) => Ok(self.packages.insert(package)),
            Err(LoadError::Access(error)) => Err(error.into()),
            Err(LoadError::Store(error)) => Err(store_down(&error)),
        }
    }

    pub(crate) fn calls_in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }
}

/// Wall time in seconds.
pub(crate) fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What a caller is told when the counters cannot be written. The reason stays in the log.
pub(crate) fn store_down(error: &StoreError) -> Refusal {
    tracing::error!(%error, code = error.code(), "a call is refused for want of the store");
    Refusal::new(ProblemKind::StoreUnavailable, "the counters cannot be written now; nothing was counted")
        .retry_after(2)
}
