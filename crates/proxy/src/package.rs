//! A purchase that is known here: its row, who may call in its name, its counters, and how these become durable.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use surety_primitives::access::{Error as AccessError, Grant, LaneAuthority, LaneKey, Scope, SubGrant, verify_chain};
use surety_primitives::{Hash32, Lane, PurchaseId, Seconds};

use crate::backoff::Backoff;
use crate::ledger::{Absence, PurchaseView};
use crate::meter::{LinkRate, Meter, Need};
use crate::replies::Replies;
use crate::store::{CounterStore, MAX_LEASE, RECONCILE_AFTER, SEQ_BLOCK, StoreError};

/// Milliseconds without a call after which a purchase holds no more of W than is pending.
const IDLE_MS: u64 = 5_000;
/// Chains kept a purchase; one more empties the cache.
const MAX_BOUNDS: usize = 2_048;

/// A key that may call, with all that its calls are checked against.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) authority: LaneAuthority,
    pub(crate) scopes: Vec<Scope>,
    pub(crate) chain: Vec<SubGrant>,
    pub(crate) key_version: u32,
    /// The links that grant a rate.
    pub(crate) rates: Vec<LinkRate>,
    revoked: AtomicBool,
}

impl Bound {
    /// Checks a chain, and that every scope's text came along.
    pub(crate) fn new(grant: &Grant, chain: Vec<SubGrant>, scopes: Vec<Scope>) -> Result<Self, AccessError> {
        let authority = verify_chain(grant, &chain)?;
        let has = |hash: &Hash32| scopes.iter().any(|scope| scope.hash() == *hash);
        if !authority.scopes.iter().all(has) {
            return Err(AccessError::NeedScope);
        }
        // The first link is the grant itself.
        let rates = authority.links.iter().skip(1).zip(&chain).map(|(link, sub)| (*link, sub.terms.rate));
        let rates = rates.filter(|(_, rate)| *rate > 0).collect();
        Ok(Self { authority, scopes, chain, key_version: grant.key_version, rates, revoked: AtomicBool::new(false) })
    }

    pub(crate) fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Relaxed)
    }

    pub(crate) fn set_revoked(&self) {
        self.revoked.store(true, Ordering::Relaxed);
    }
}

/// A part of the retry cache's budget; it returns when this is dropped.
#[derive(Debug)]
pub(crate) struct Room {
    bytes: usize,
    left: Arc<AtomicUsize>,
}

impl Room {
    /// Takes `bytes`, if they are there.
    pub(crate) fn take(left: &Arc<AtomicUsize>, bytes: usize) -> Option<Self> {
        left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes)).ok()?;
        Some(Self { bytes, left: Arc::clone(left) })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.left.fetch_add(self.bytes, Ordering::Relaxed);
    }
}

/// What a call is checked against, read at one moment.
pub(crate) struct Snapshot {
    pub(crate) view: Arc<PurchaseView>,
    pub(crate) root: Arc<Bound>,
    /// The lane's authority and key, once it was opened.
    pub(crate) bound: Option<Arc<Bound>>,
    pub(crate) key: Option<Arc<LaneKey>>,
}

/// All that changes, behind one lock that is never held over an await.
pub(crate) struct Inner {
    view: Arc<PurchaseView>,
    root: Arc<Bound>,
    bounds: HashMap<Hash32, Arc<Bound>>,
    pub(crate) meter: Meter,
    /// What was answered lately and is written down nowhere.
    pub(crate) replies: Replies,
}

/// A purchase.
pub(crate) struct Package {
    pub(crate) id: PurchaseId,
    inner: Mutex<Inner>,
    /// One at a time asks the store for more.
    asking: tokio::sync::Mutex<()>,
    fetching_ahead: AtomicBool,
    last_call_ms: AtomicU64,
    last_refresh_ms: AtomicU64,
    pub(crate) last_claim_ms: AtomicU64,
    /// Duties that the ledger refused.
    pub(crate) backoff: Backoff,
    loaded_ms: u64,
    reconciled: AtomicBool,
}

impl Package {
    /// Makes a purchase known to the store.
    pub(crate) async fn load(
        id: PurchaseId,
        view: PurchaseView,
        store: &dyn CounterStore,
        now_ms: u64,
    ) -> Result<Self, LoadError> {
        let root = Arc::new(Bound::new(&view.grant, Vec::new(), Vec::new())?);
        store.open(id, view.grant.quota, view.window, view.grant.lanes, view.grant.end).await?;
        // What an earlier life held lapses now; a part of W is taken when it is needed.
        store.allot(id, 0).await?;
        let meter = Meter::new(id, view.grant.quota, view.window, view.rate);
        let inner = Inner { view: Arc::new(view), root, bounds: HashMap::new(), meter, replies: Replies::default() };
        Ok(Self {
            id,
            inner: Mutex::new(inner),
            asking: tokio::sync::Mutex::new(()),
            fetching_ahead: AtomicBool::new(false),
            last_call_ms: AtomicU64::new(0),
            last_refresh_ms: AtomicU64::new(now_ms),
            last_claim_ms: AtomicU64::new(now_ms),
            backoff: Backoff::default(),
            loaded_ms: now_ms,
            reconciled: AtomicBool::new(false),
        })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing between lock and unlock can stop half-way but a broken invariant; the counters before it still hold.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn snapshot(&self, lane: Lane) -> Snapshot {
        let inner = self.lock();
        let lane = inner.meter.lane(lane);
        Snapshot {
            view: Arc::clone(&inner.view),
            root: Arc::clone(&inner.root),
            bound: lane.and_then(|lane| lane.bound.clone()),
            key: lane.and_then(|lane| lane.key.clone()),
        }
    }

    pub(crate) fn view(&self) -> Arc<PurchaseView> {
        Arc::clone(&self.lock().view)
    }

    pub(crate) fn touch(&self, now_ms: u64) {
        self.last_call_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether its row should be read again: there were calls since, or a minute has passed.
    pub(crate) fn wants_refresh(&self, now_ms: u64) -> bool {
        let last = self.last_refresh_ms.load(Ordering::Relaxed);
        let due = self.last_call_ms.load(Ordering::Relaxed) >= last || now_ms.saturating_sub(last) > 60_000;
        if due {
            self.last_refresh_ms.store(now_ms, Ordering::Relaxed);
        }
        due
    }

    /// Once, when what an earlier life held may be counted again.
    pub(crate) fn wants_reconcile(&self, now_ms: u64) -> bool {
        let due = now_ms.saturating_sub(self.loaded_ms) > (RECONCILE_AFTER + 2) * 1_000;
        due && !self.reconciled.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn bound_of(&self, chain: &Hash32) -> Option<Arc<Bound>> {
        self.lock().bounds.get(chain).cloned()
    }

    pub(crate) fn keep_bound(&self, chain: Hash32, bound: &Arc<Bound>) {
        let mut inner = self.lock();
        if inner.bounds.len() >= MAX_BOUNDS {
            inner.bounds.clear();
        }
        inner.bounds.insert(chain, Arc::clone(bound));
    }

    /// Every authority in use, each once.
    pub(crate) fn bounds(&self) -> Vec<Arc<Bound>> {
        let inner = self.lock();
        let mut all: Vec<Arc<Bound>> = vec![Arc::clone(&inner.root)];
        let lanes = inner.meter.lanes().filter_map(|(_, lane)| lane.bound.as_ref());
        for bound in inner.bounds.values().chain(lanes) {
            if !all.iter().any(|known| Arc::ptr_eq(known, bound)) {
                all.push(Arc::clone(bound));
            }
        }
        all
    }

    /// Takes a newer row in. A new root key ends every chain below the old one.
    pub(crate) fn update(&self, view: PurchaseView) -> Result<(), AccessError> {
        let mut inner = self.lock();
        // A node that lags would bring a replaced key back.
        if view.height < inner.view.height {
            return Ok(());
        }
        if inner.view.grant.hash() != view.grant.hash() {
            inner.root = Arc::new(Bound::new(&view.grant, Vec::new(), Vec::new())?);
            inner.bounds.clear();
            for lane in inner.meter.lanes_mut() {
                lane.bound = None;
                lane.key = None;
            }
        }
        if !inner.view.says_the_same(&view) {
            self.backoff.reset();
        }
        inner.view = Arc::new(view);
        Ok(())
    }

    /// Whether the purchase was swept: a header that lags may not know it yet, and none can lack it before its rows may go.
    pub(crate) fn is_gone(&self, absence: &Absence, kept: Seconds) -> bool {
        let view = self.view();
        absence.height > view.height && absence.clock > view.grant.end.after(kept)
    }

    /// Binds a lane to who opened it.
    pub(crate) fn bind(&self, lane: Lane, bound: &Arc<Bound>, key: Option<LaneKey>) {
        if let Some(lane) = self.lock().meter.lane_mut(lane)
            && (key.is_some() || lane.bound.is_none())
        {
            lane.bound = Some(Arc::clone(bound));
            lane.key = key.map(Arc::new);
        }
    }

    /// Makes durable what a call needs.
    pub(crate) async fn satisfy(&self, need: Need, lane: Lane, store: &dyn CounterStore) -> Result<(), StoreError> {
        let _one = self.asking.lock().await;
        match need {
            Need::Lane => self.take_lane(lane, store).await,
            Need::Ceiling(ceiling) => self.reserve(lane, ceiling, store).await,
            Need::Units => self.lease(store).await,
            Need::Window => {
                let Some(want) = self.lock().meter.wanted_window() else { return Ok(()) };
                let held = store.allot(self.id, want).await?;
                self.lock().meter.hold_window(held, want);
                Ok(())
            }
        }
    }

    /// The same beside the call, so that a later one need not wait.
    pub(crate) fn fetch_ahead(self: &Arc<Self>, need: Need, lane: Lane, store: &Arc<dyn CounterStore>) {
        if self.fetching_ahead.swap(true, Ordering::AcqRel) {
            return;
        }
        let (package, store) = (Arc::clone(self), Arc::clone(store));
        tokio::spawn(async move {
            if let Err(error) = package.satisfy(need, lane, store.as_ref()).await {
                tracing::warn!(purchase = %package.id, %error, "nothing fetched ahead");
            }
            package.fetching_ahead.store(false, Ordering::Release);
        });
    }

    async fn take_lane(&self, lane: Lane, store: &dyn CounterStore) -> Result<(), StoreError> {
        if self.lock().meter.lane(lane).is_some() {
            return Ok(());
        }
        let owner = store.own_lane(self.id, lane).await?;
        let ceiling = owner.seq_floor.saturating_add(SEQ_BLOCK);
        store.reserve_seq(self.id, lane, owner.fence, ceiling).await?;
        self.lock().meter.add_lane(lane, &owner, ceiling);
        Ok(())
    }

    async fn reserve(&self, lane: Lane, ceiling: u64, store: &dyn CounterStore) -> Result<(), StoreError> {
        let at = self.lock().meter.lane(lane).map(|lane| (lane.fence, lane.ceiling()));
        let Some((fence, _)) = at.filter(|(_, reserved)| *reserved < ceiling) else { return Ok(()) };
        store.reserve_seq(self.id, lane, fence, ceiling).await?;
        if let Some(lane) = self.lock().meter.lane_mut(lane) {
            lane.raise_ceiling(ceiling);
        }
        Ok(())
    }

    async fn lease(&self, store: &dyn CounterStore) -> Result<(), StoreError> {
        let spent = {
            let mut inner = self.lock();
            if !inner.meter.is_low() {
                return Ok(());
            }
            inner.meter.spent_leases()
        };
        for (id, units) in spent {
            // It returns nothing; that it is over only helps a later count.
            drop(store.settle(self.id, id, units));
        }
        let lease = store.lease(self.id, MAX_LEASE).await?;
        self.lock().meter.add_lease(&lease);
        Ok(())
    }

    /// Gives back what is not needed of W, so that a crash takes little of it along.
    pub(crate) async fn trim_window(&self, store: &dyn CounterStore, now_ms: u64) -> Result<(), StoreError> {
        let _one = self.asking.lock().await;
        let is_idle = now_ms.saturating_sub(self.last_call_ms.load(Ordering::Relaxed)) > IDLE_MS;
        // Less is used from here on, so that the store may know it later.
        let held = {
            let mut inner = self.lock();
            if inner.meter.pending() == 0 {
                inner.replies.clear();
            }
            inner.meter.trim_window(is_idle)
        };
        let Some(held) = held else { return Ok(()) };
        store.allot(self.id, held).await.map(|_| ())
    }

    /// Gives back what is not used: at shutdown, when nothing is under way any more.
    pub(crate) async fn give_back(&self, store: &dyn CounterStore) -> Result<(), StoreError> {
        let _one = self.asking.lock().await;
        let (leases, pending) = {
            let mut inner = self.lock();
            inner.meter.set_allotment(0);
            (inner.meter.give_up_leases(), inner.meter.pending())
        };
        for (id, used) in leases {
            store.settle(self.id, id, used).await?;
        }
        // What is unacknowledged stays out of W until the lanes have signed again.
        store.allot(self.id, u32::try_from(pending).unwrap_or(u32::MAX)).await?;
        Ok(())
    }
}

/// Why a purchase cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// Its row names no usable key.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}
