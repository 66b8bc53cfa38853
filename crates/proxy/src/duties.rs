//! What the sidecar does on the ledger by itself (`market.md` D4, duties): it follows the feed, claims at 10 CALL, every
//! 6 hours and at the end, shows what was left unacknowledged, settles, sweeps.
//!
//! Each duty is decided anew from the ledger's row and the store, so that one that failed, or of which nothing is known
//! after a crash, is simply done at the next look.

mod show;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use surety_ledger::market::Claim;
use surety_primitives::access::ProblemKind;
use surety_primitives::{Amount, Hash32, PurchaseId, Seconds};
use tokio::sync::watch;

use self::show::show;
use crate::error::{Error, LedgerError};
use crate::ledger::{Duty, PurchaseView, claim_of};
use crate::metrics::Name;
use crate::package::Package;
use crate::refusal::Offer;
use crate::state::State;
use crate::store::StoredVoucher;

/// Where the feed's cursor is kept.
const CURSOR: &str = "feed-cursor";
/// Most vouchers of a claim.
const MAX_VOUCHERS: usize = 64;
/// Looks between two readings of the listings.
const OFFER_EVERY: u64 = 30;
const CLAIM: &str = "claim";
const SHOW: &str = "show";
const SETTLE: &str = "settle";
const SWEEP: &str = "sweep";

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
    let mut before = None;
    recall(&state, &mut before).await;
    let tick = Duration::from_millis(state.config.duties.tick_ms);
    for look in 1_u64.. {
        let wait = async {
            tokio::time::sleep(tick).await;
            recall(&state, &mut before).await;
            look_around(&state, look).await;
        };
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = wait => {}
        }
    }
}

/// Purchases of before the start: nobody may call again, and yet they are claimed. Those that cannot be read now stay in
/// `before` for the next look.
async fn recall(state: &State, before: &mut Option<Vec<(PurchaseId, Seconds)>>) {
    if before.is_none() {
        match state.store.purchases().await {
            Ok(stored) => *before = Some(stored),
            Err(error) => return tracing::error!(%error, "purchases of before could not be read"),
        }
    }
    let (mut failed, mut untried) = (Vec::new(), before.take().unwrap_or_default().into_iter());
    for (id, end) in untried.by_ref() {
        match recall_one(state, id, end).await {
            Ok(true) => {}
            Ok(false) => failed.push((id, end)),
            Err(error) => {
                failed.push((id, end));
                tracing::warn!(purchase = %id, %error, "a purchase of before could not be loaded");
                if matches!(error, Error::Ledger(LedgerError::Unreachable(_))) {
                    break;
                }
            }
        }
    }
    // What failed goes behind what was not tried, so that nothing keeps the others waiting.
    *before = Some(untried.chain(failed).collect());
}

/// Gives whether nothing more is to be done to know it: it is loaded, or swept.
async fn recall_one(state: &State, id: PurchaseId, end: Seconds) -> Result<bool, Error> {
    if state.packages.get(&id).is_some() {
        return Ok(true);
    }
    match state.ledger.purchase(id).await? {
        Ok(view) => Ok(state.admit_package(id, view).await.is_ok()),
        Err(absence) if absence.clock > end.after(Seconds(state.config.duties.sweep_after_s)) => {
            forget(state, id).await.map(|()| true)
        }
        Err(_) => Ok(false),
    }
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
    if package.wants_refresh(now_ms) && !refresh(state, package).await? {
        return Ok(());
    }
    package.trim_window(state.store.as_ref(), now_ms).await?;
    if package.wants_reconcile(now_ms) {
        let unleased = state.store.reconcile(package.id).await?;
        package.lock().meter.set_unleased(unleased);
    }
    let (view, now) = (package.view(), state.ledger.clock().now);
    let duties = &state.config.duties;
    let claims_close = view.grant.end.after(Seconds(duties.claim_window_s));
    if view.settled {
        let kept = view.grant.end.after(Seconds(duties.sweep_after_s));
        return if now > kept { sweep(state, package, &view).await } else { Ok(()) };
    }
    if now < claims_close {
        // A claim that cannot succeed keeps nothing from being shown.
        let claimed = claim(state, package, &view, now, now_ms).await;
        let shown = show(state, package, &view, now).await;
        return claimed.and(shown);
    }
    let settles = if view.shown { view.grant.end.after(Seconds(shown_for(duties))) } else { claims_close };
    if now >= settles && package.backoff.is_due(SETTLE, now_ms) {
        act(state, package, Duty::Settle { purchase: package.id }).await?;
        refresh(state, package).await?;
    }
    Ok(())
}

/// Until claims close; after that nothing is in a hurry.
fn time_left(state: &State, view: &PurchaseView) -> Seconds {
    let (now, close) = (state.ledger.clock().now, view.grant.end.after(Seconds(state.config.duties.claim_window_s)));
    if now < close { close.since(now) } else { Seconds(u64::MAX) }
}

/// Seconds after a package's end until what was shown can no longer be contested.
const fn shown_for(duties: &crate::config::DutyConfig) -> u64 {
    duties.claim_window_s.saturating_add(duties.contest_window_s)
}

/// Reads row and revocations again. Gives whether the purchase is still there.
async fn refresh(state: &State, package: &Package) -> Result<bool, Error> {
    let view = match state.ledger.purchase(package.id).await? {
        Ok(view) => view,
        Err(absence) if package.is_gone(&absence, Seconds(state.config.duties.sweep_after_s)) => {
            forget(state, package.id).await?;
            return Ok(false);
        }
        Err(absence) => {
            tracing::warn!(purchase = %package.id, height = %absence.height, "a node does not know the purchase");
            return Ok(true);
        }
    };
    if let Err(error) = package.update(view) {
        tracing::warn!(purchase = %package.id, %error, "the row names no usable key");
    }
    let bounds = package.bounds();
    let links: BTreeSet<Hash32> = bounds.iter().flat_map(|bound| bound.authority.links.iter().copied()).collect();
    let links: Vec<Hash32> = links.into_iter().collect();
    let said = state.ledger.revoked(package.id, links.clone()).await?;
    let revoked: BTreeSet<Hash32> =
        links.into_iter().zip(said).filter_map(|(link, said)| said.then_some(link)).collect();
    // Nothing is ever un-revoked: a node that lags only does not know it yet.
    bounds
        .iter()
        .filter(|bound| bound.authority.links.iter().any(|link| revoked.contains(link)))
        .for_each(|bound| bound.set_revoked());
    Ok(true)
}

/// Claims what is worth it, or due.
async fn claim(state: &State, package: &Package, view: &PurchaseView, now: Seconds, now_ms: u64) -> Result<(), Error> {
    if !package.backoff.is_due(CLAIM, now_ms) {
        return Ok(());
    }
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
    let news = news(state, view, vouchers, now).await?;
    if news.is_empty() {
        // What was signed under a key that has ended is lost; another look can wait.
        package.backoff.refused(CLAIM, now_ms, time_left(state, view));
        return Ok(());
    }
    for part in news.chunks(MAX_VOUCHERS) {
        act(state, package, Duty::Claim { purchase: package.id, vouchers: part.to_vec() }).await?;
    }
    package.last_claim_ms.store(now_ms, Ordering::Relaxed);
    refresh(state, package).await.map(|_| ())
}

/// Vouchers above what the ledger has seen of their lanes.
async fn news(
    state: &State,
    view: &PurchaseView,
    vouchers: Vec<StoredVoucher>,
    now: Seconds,
) -> Result<Vec<StoredVoucher>, Error> {
    let mut news = Vec::new();
    for stored in vouchers {
        let head = *stored.voucher.head();
        let claimed = state.ledger.claimed(view.grant.purchase, head.lane).await?;
        if head.cum > claimed && counts(state, view, &stored, now).await? {
            news.push(stored);
        }
    }
    Ok(news)
}

/// What could be claimed now, of every purchase in memory: for whoever claims by hand.
pub(crate) async fn unclaimed(state: &State) -> Result<Vec<Claim>, Error> {
    let mut claims = Vec::new();
    for package in state.packages.all() {
        let vouchers = state.store.vouchers(package.id).await?;
        let news = news(state, &package.view(), vouchers, state.ledger.clock().now).await?;
        claims.extend(news.chunks(MAX_VOUCHERS).map(|part| claim_of(package.id, part)));
    }
    Ok(claims)
}

fn value(view: &PurchaseView, calls: u64) -> Amount {
    view.price.mul_div_down(u128::from(calls), u128::from(view.grant.quota.max(1))).unwrap_or(view.price)
}

/// Whether the ledger still counts what a key signed: an earlier root key and a revoked link do so for the claim window.
async fn counts(state: &State, view: &PurchaseView, signed: &StoredVoucher, now: Seconds) -> Result<bool, Error> {
    let window = Seconds(state.config.duties.claim_window_s);
    let links: Vec<Hash32> = links_of(view, signed).collect();
    let until = state.ledger.counts_until(view.grant.purchase, signed.key_version, links, window).await?;
    Ok(until.is_none_or(|until| now < until))
}

/// Hashes of what gave a key its right to sign, from the grant down, as far as they are known here.
fn links_of<'a>(view: &PurchaseView, signed: &'a StoredVoucher) -> impl Iterator<Item = Hash32> + use<'a> {
    let root = (signed.key_version == view.grant.key_version).then(|| view.grant.hash());
    let root = root.or_else(|| signed.chain.first().map(|first| first.terms.parent));
    root.into_iter().chain(signed.chain.iter().map(surety_primitives::access::SubGrant::hash))
}

async fn sweep(state: &State, package: &Package, view: &PurchaseView) -> Result<(), Error> {
    if !package.backoff.is_due(SWEEP, state.now_ms()) {
        return Ok(());
    }
    let (mut lanes, mut links) = (Vec::new(), BTreeSet::new());
    for stored in state.store.vouchers(package.id).await? {
        let lane = stored.voucher.head().lane;
        links.extend(links_of(view, &stored));
        if let Some(opening) = state.store.opening(package.id, lane).await? {
            links.extend(links_of(view, &opening));
        }
        if state.ledger.claimed(package.id, lane).await? > 0 {
            lanes.push(lane);
        }
    }
    links.extend(package.bounds().iter().flat_map(|bound| bound.authority.links.iter().copied()));
    let links: Vec<Hash32> = links.into_iter().collect();
    let revoked = state.ledger.revoked(package.id, links.clone()).await?;
    let revoked = links.into_iter().zip(revoked).filter_map(|(link, revoked)| revoked.then_some(link)).collect();
    act(state, package, Duty::Sweep { purchase: package.id, lanes, revoked, shown: view.shown }).await?;
    forget(state, package.id).await
}

async fn forget(state: &State, id: PurchaseId) -> Result<(), Error> {
    state.packages.remove(&id);
    Ok(state.store.forget(id).await?)
}

async fn act(state: &State, package: &Package, duty: Duty) -> Result<(), Error> {
    let name = Name { name: duty.name() };
    match state.ledger.submit(duty).await {
        Ok(()) => {
            package.backoff.done(name.name);
            state.metrics.duties.get_or_create(&name).inc();
            tracing::info!(purchase = %package.id, duty = name.name, "done on the ledger");
            Ok(())
        }
        Err(error) => {
            // Whatever was refused has cost its fee, and will be refused again until the row changes.
            if matches!(error, LedgerError::Refused(_)) {
                package.backoff.refused(name.name, state.now_ms(), time_left(state, &package.view()));
            }
            state.metrics.duties_failed.get_or_create(&name).inc();
            tracing::warn!(purchase = %package.id, duty = name.name, %error, "not done on the ledger");
            Err(error.into())
        }
    }
}
