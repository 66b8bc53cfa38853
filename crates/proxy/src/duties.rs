//! What the sidecar does on the ledger by itself (`market.md` D4, duties): it follows the feed, claims at 10 CALL, every
//! 6 hours and at the end, shows what was left unacknowledged, settles, sweeps.
//!
//! Each duty is decided anew from the ledger's row and the store, so that one that failed, or of which nothing is known
//! after a crash, is simply done at the next look.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use surety_primitives::access::ProblemKind;
use surety_primitives::hash::h;
use surety_primitives::{Amount, Hash32, Lane, PurchaseId, Seconds};
use tokio::sync::watch;

use crate::error::Error;
use crate::ledger::{Duty, PurchaseView, ShowLane};
use crate::metrics::Name;
use crate::package::Package;
use crate::refusal::Offer;
use crate::state::State;

/// Where the feed's cursor is kept.
const CURSOR: &str = "feed-cursor";
/// Most vouchers of a claim.
const MAX_VOUCHERS: usize = 64;
/// Most lanes that can be shown.
const MAX_SHOWN: usize = 16;
/// Looks between two readings of the listings.
const OFFER_EVERY: u64 = 30;

/// That the key given is the one that the ledger names.
pub(crate) async fn check_key(state: &State) -> Result<(), Error> {
    match state.ledger.provider_key(state.config.provider).await? {
        Some(key) if key == state.key.public() => Ok(()),
        _ => Err(Error::OtherKey(state.config.provider)),
    }
}

/// What each 402 names.
pub(crate) async fn read_offers(state: &State) {
    for route in &state.routes {
        let service = route.config.id;
        match state.ledger.service(service).await {
            Ok(Some(view)) => route.set_offer(Offer {
                network: state.ledger.network(),
                provider: state.config.provider,
                service,
                version: view.version,
                title: view.title,
                calls: view.calls,
                price: view.price,
                buy: Offer::BUY,
            }),
            Ok(None) => tracing::warn!(%service, "the ledger knows no such listing"),
            Err(error) => tracing::warn!(%service, %error, "the listing could not be read"),
        }
    }
}

/// Looks at everything, again and again, until told to stop.
pub(crate) async fn run(state: Arc<State>, mut stopped: watch::Receiver<bool>) {
    if let Err(error) = recall(&state).await {
        tracing::error!(%error, "purchases of before could not be read");
    }
    let tick = Duration::from_millis(state.config.duties.tick_ms);
    for look in 1_u64.. {
        let wait = async {
            tokio::time::sleep(tick).await;
            look_around(&state, look).await;
        };
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = wait => {}
        }
    }
}

/// Purchases of before the start: nobody may call again, and yet they are claimed.
async fn recall(state: &State) -> Result<(), Error> {
    for id in state.store.purchases().await? {
        if let Some(view) = state.ledger.purchase(id).await?
            && state.admit_package(id, view).await.is_err()
        {
            tracing::warn!(purchase = %id, "a purchase of before could not be loaded");
        }
    }
    Ok(())
}

async fn look_around(state: &Arc<State>, look: u64) {
    if look.is_multiple_of(OFFER_EVERY) {
        read_offers(state).await;
    }
    if let Err(error) = follow_feed(state).await {
        tracing::warn!(%error, code = error.code(), "the feed could not be read");
    }
    for package in state.packages.all() {
        if let Err(error) = attend(state, &package).await {
            tracing::warn!(purchase = %package.id, %error, code = error.code(), "a duty waits for the next look");
        }
    }
}

/// Loads what was sold since: the first call then finds its package in memory.
async fn follow_feed(state: &State) -> Result<(), Error> {
    let cursor = state.store.read_mark(CURSOR).await?;
    let (sold, next) = state.ledger.feed(state.config.provider, cursor).await?;
    for id in sold {
        // What cannot be loaded now is looked up again at its first call.
        match state.package(id).await {
            Ok(_) => {}
            Err(refusal) if refusal.kind() == ProblemKind::StoreUnavailable => return Ok(()),
            Err(refusal) => {
                tracing::warn!(purchase = %id, problem = refusal.kind().name(), "a sale could not be loaded")
            }
        }
    }
    if next > cursor {
        state.store.write_mark(CURSOR, next).await?;
    }
    Ok(())
}

async fn attend(state: &Arc<State>, package: &Arc<Package>) -> Result<(), Error> {
    let now_ms = state.now_ms();
    if package.wants_refresh(now_ms) {
        refresh(state, package).await?;
    }
    if package.wants_reconcile(now_ms) {
        let unleased = state.store.reconcile(package.id).await?;
        package.lock().meter.set_unleased(unleased);
    }
    let (view, now) = (package.view(), state.ledger.clock().now);
    let duties = &state.config.duties;
    let claims_close = view.grant.end.after(Seconds(duties.claim_window_s));
    if view.settled {
        let swept = view.grant.end.after(Seconds(duties.sweep_after_s));
        return if now >= swept { sweep(state, package).await } else { Ok(()) };
    }
    if now < claims_close {
        claim(state, package, &view, now, now_ms).await?;
        return show(state, package, &view, now).await;
    }
    let settles = if view.shown { claims_close.after(Seconds(duties.contest_window_s)) } else { claims_close };
    if now >= settles {
        act(state, Duty::Settle { purchase: package.id }).await?;
        refresh(state, package).await?;
    }
    Ok(())
}

/// Reads row and revocations again.
async fn refresh(state: &State, package: &Package) -> Result<(), Error> {
    let Some(view) = state.ledger.purchase(package.id).await? else {
        forget(state, package.id).await?;
        return Ok(());
    };
    if let Err(error) = package.update(view) {
        tracing::warn!(purchase = %package.id, %error, "the row names no usable key");
    }
    for bound in package.bounds() {
        let revoked = state.ledger.revoked(package.id, bound.authority.links.clone()).await?;
        bound.set_revoked(revoked.contains(&true));
    }
    Ok(())
}

/// Claims what is worth it, or due.
async fn claim(state: &State, package: &Package, view: &PurchaseView, now: Seconds, now_ms: u64) -> Result<(), Error> {
    let vouchers = state.store.vouchers(package.id).await?;
    let acknowledged: u64 = vouchers.iter().map(|stored| stored.voucher.head().cum).sum();
    let unclaimed = acknowledged.saturating_sub(view.claimed);
    if unclaimed == 0 {
        return Ok(());
    }
    let duties = &state.config.duties;
    let worth = value(view, unclaimed) >= duties.claim_above;
    let waited = now_ms.saturating_sub(package.last_claim_ms.load(Ordering::Relaxed)) >= duties.claim_every_s * 1_000;
    if !worth && !waited && now < view.grant.end {
        return Ok(());
    }
    let mut news = Vec::new();
    for stored in vouchers {
        let head = *stored.voucher.head();
        if head.cum > state.ledger.claimed(package.id, head.lane).await? {
            news.push(stored);
        }
    }
    for part in news.chunks(MAX_VOUCHERS) {
        act(state, Duty::Claim { purchase: package.id, vouchers: part.to_vec() }).await?;
    }
    package.last_claim_ms.store(now_ms, Ordering::Relaxed);
    refresh(state, package).await
}

fn value(view: &PurchaseView, calls: u64) -> Amount {
    view.price.mul_div_down(u128::from(calls), u128::from(view.grant.quota.max(1))).unwrap_or(view.price)
}

/// Shows Answers that nobody acknowledged, in the second half of the time for it: until then the caller may still settle.
async fn show(state: &State, package: &Package, view: &PurchaseView, now: Seconds) -> Result<(), Error> {
    let half = Seconds(state.config.duties.claim_window_s / 2);
    if view.shown || now < view.grant.end.after(half) {
        return Ok(());
    }
    let mut left = u64::from(view.window).min(view.grant.quota.saturating_sub(view.claimed));
    let mut entries = Vec::new();
    for (lane, count) in unacknowledged(package) {
        let count = count.min(left);
        if count == 0 || entries.len() == MAX_SHOWN {
            break;
        }
        if let Some(entry) = entry(state, package.id, lane, count).await? {
            left -= entry.count;
            entries.push(entry);
        }
    }
    if entries.is_empty() {
        return Ok(());
    }
    act(state, Duty::Show { purchase: package.id, entries }).await?;
    refresh(state, package).await
}

fn unacknowledged(package: &Package) -> Vec<(Lane, u64)> {
    let inner = package.lock();
    let mut lanes: Vec<(Lane, u64)> =
        inner.meter.lanes().map(|(lane, meter)| (lane, u64::try_from(meter.pending()).unwrap_or(0))).collect();
    lanes.retain(|(_, count)| *count > 0);
    lanes.sort_unstable_by_key(|(lane, count)| (std::cmp::Reverse(*count), *lane));
    lanes
}

async fn entry(state: &State, id: PurchaseId, lane: Lane, count: u64) -> Result<Option<ShowLane>, Error> {
    let Some(opening) = state.store.opening(id, lane).await? else { return Ok(None) };
    let logged = state.store.answers(id, lane, 0, usize::MAX).await?;
    let count = count.min(logged.len() as u64);
    let last = &logged[logged.len() - usize::try_from(count).unwrap_or(logged.len())..];
    let leaves: Vec<&[u8]> = last.iter().map(|(_, answer)| answer.as_slice()).collect();
    let from_cum = state.ledger.claimed(id, lane).await?;
    Ok((count > 0).then(|| ShowLane { lane, from_cum, count, root: shown_root(&leaves), opening }))
}

/// Root over signed Answers in order of seq: leaf and node in two domains, an odd node moves up.
fn shown_root(answers: &[&[u8]]) -> Hash32 {
    let mut row: Vec<Hash32> = answers.iter().map(|answer| h("surety/access/shown-leaf/v1", &[answer])).collect();
    while row.len() > 1 {
        let pair = |pair: &[Hash32]| match pair {
            [left, right] => h("surety/access/shown-node/v1", &[&left.0, &right.0]),
            one => one.first().copied().unwrap_or_default(),
        };
        row = row.chunks(2).map(pair).collect();
    }
    row.first().copied().unwrap_or_default()
}

async fn sweep(state: &State, package: &Package) -> Result<(), Error> {
    let mut lanes = Vec::new();
    for stored in state.store.vouchers(package.id).await? {
        let lane = stored.voucher.head().lane;
        if state.ledger.claimed(package.id, lane).await? > 0 {
            lanes.push(lane);
        }
    }
    act(state, Duty::Sweep { purchase: package.id, lanes, shown: package.view().shown }).await?;
    forget(state, package.id).await
}

async fn forget(state: &State, id: PurchaseId) -> Result<(), Error> {
    state.packages.remove(&id);
    Ok(state.store.forget(id).await?)
}

async fn act(state: &State, duty: Duty) -> Result<(), Error> {
    let name = Name { name: duty.name() };
    match state.ledger.submit(duty).await {
        Ok(()) => {
            state.metrics.duties.get_or_create(&name).inc();
            tracing::info!(duty = name.name, "done on the ledger");
            Ok(())
        }
        Err(error) => {
            state.metrics.duties_failed.get_or_create(&name).inc();
            Err(error.into())
        }
    }
}
