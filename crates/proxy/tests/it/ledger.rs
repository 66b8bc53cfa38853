//! A ledger in memory that judges vouchers as the real one does.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt, ready};
use surety_primitives::access::{Flags, LaneAuthority, verify_chain, verify_voucher};
use surety_primitives::keys::PublicKey;
use surety_primitives::{Amount, Hash32, Height, Lane, NetworkId, ProviderId, PurchaseId, Seconds, ServiceId};
use surety_proxy::error::LedgerError;
use surety_proxy::ledger::{Absence, Duty, LedgerClock, LedgerView, PurchaseView, ServiceView, ShowLane};
use surety_proxy::store::StoredVoucher;

pub(crate) struct Rows {
    pub(crate) now: Seconds,
    pub(crate) age: Duration,
    pub(crate) provider_key: PublicKey,
    pub(crate) purchases: BTreeMap<PurchaseId, PurchaseView>,
    /// Each revoked link, and since when.
    pub(crate) revoked: BTreeMap<Hash32, Seconds>,
    /// Earlier root keys by version, and until when claims under them count.
    pub(crate) replaced: BTreeMap<u32, (PublicKey, Seconds)>,
    pub(crate) claimed: BTreeMap<(PurchaseId, Lane), u64>,
    /// What was sent, taken or refused: each has paid its fee.
    pub(crate) duties: Vec<&'static str>,
    /// The lanes of what was shown.
    pub(crate) shown: Vec<Lane>,
    /// What a node that lags says of every purchase.
    pub(crate) lagging: Option<Result<PurchaseView, Absence>>,
    /// How many questions for a purchase come to nothing.
    pub(crate) failing: usize,
    /// Whether a claim finds nothing new, whatever it brings.
    pub(crate) refuse_claims: bool,
    /// How long a grant's proof takes to check.
    pub(crate) slow_check: Duration,
    /// Whether nothing can be asked.
    pub(crate) down: bool,
}

pub(crate) struct MemoryLedger(pub(crate) Mutex<Rows>);

impl MemoryLedger {
    pub(crate) fn new(provider_key: PublicKey) -> Self {
        Self(Mutex::new(Rows {
            now: Seconds(1_000_000),
            age: Duration::ZERO,
            provider_key,
            purchases: BTreeMap::new(),
            revoked: BTreeMap::new(),
            replaced: BTreeMap::new(),
            claimed: BTreeMap::new(),
            duties: Vec::new(),
            shown: Vec::new(),
            lagging: None,
            failing: 0,
            refuse_claims: false,
            slow_check: Duration::ZERO,
            down: false,
        }))
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Rows) -> Result<T, LedgerError>,
    ) -> BoxFuture<'_, Result<T, LedgerError>> {
        let mut rows = self.0.lock().unwrap();
        let down = Err(LedgerError::Unreachable("switched off".to_owned()));
        ready(if rows.down { down } else { read(&mut rows) }).boxed()
    }
}

impl LedgerView for MemoryLedger {
    fn network(&self) -> NetworkId {
        NetworkId(1)
    }

    fn clock(&self) -> LedgerClock {
        let rows = self.0.lock().unwrap();
        LedgerClock { now: rows.now, age: rows.age }
    }

    fn provider_key(&self, _: ProviderId) -> BoxFuture<'_, Result<Option<PublicKey>, LedgerError>> {
        self.read(|rows| Ok(Some(rows.provider_key)))
    }

    fn service(&self, _: ServiceId) -> BoxFuture<'_, Result<Option<ServiceView>, LedgerError>> {
        let view =
            ServiceView { version: 2, title: "Look-ups".into(), calls: 1_000, price: Amount::call(100), paused: false };
        self.read(|_| Ok(Some(view)))
    }

    fn purchase(&self, id: PurchaseId) -> BoxFuture<'_, Result<Result<PurchaseView, Absence>, LedgerError>> {
        self.read(move |rows| {
            if let Some(left) = rows.failing.checked_sub(1) {
                rows.failing = left;
                return Err(LedgerError::Unreachable("for a moment".to_owned()));
            }
            if let Some(lagging) = &rows.lagging {
                return Ok(lagging.clone());
            }
            Ok(rows.view(id).ok_or(Absence { height: Height(1_000), clock: rows.now }))
        })
    }

    fn check_grant(&self, proof: Vec<u8>) -> BoxFuture<'_, Result<PurchaseView, LedgerError>> {
        let checked = self.read(move |rows| {
            let id = proof.as_slice().try_into().map(PurchaseId).ok();
            let view = id.and_then(|id| rows.purchases.get(&id)).cloned();
            view.ok_or_else(|| LedgerError::Unproven("no such row".to_owned()))
        });
        let wait = self.0.lock().unwrap().slow_check;
        tokio::time::sleep(wait).then(|()| checked).boxed()
    }

    fn revoked(&self, _: PurchaseId, links: Vec<Hash32>) -> BoxFuture<'_, Result<Vec<bool>, LedgerError>> {
        self.read(move |rows| Ok(links.iter().map(|link| rows.revoked.contains_key(link)).collect()))
    }

    fn counts_until(
        &self,
        _: PurchaseId,
        key_version: u32,
        links: Vec<Hash32>,
        window: Seconds,
    ) -> BoxFuture<'_, Result<Option<Seconds>, LedgerError>> {
        self.read(move |rows| {
            let key = rows.replaced.get(&key_version).map(|(_, until)| *until);
            let revoked = links.iter().filter_map(|link| rows.revoked.get(link)).map(|at| at.after(window));
            Ok(key.into_iter().chain(revoked).min())
        })
    }

    fn claimed(&self, id: PurchaseId, lane: Lane) -> BoxFuture<'_, Result<u64, LedgerError>> {
        self.read(move |rows| Ok(rows.claimed.get(&(id, lane)).copied().unwrap_or(0)))
    }

    fn feed(&self, _: ProviderId, cursor: u64) -> BoxFuture<'_, Result<(Vec<PurchaseId>, u64), LedgerError>> {
        self.read(move |rows| {
            let sold: Vec<_> = rows.purchases.keys().copied().skip(cursor as usize).collect();
            Ok((sold, rows.purchases.len() as u64))
        })
    }

    fn submit(&self, duty: Duty) -> BoxFuture<'_, Result<(), LedgerError>> {
        self.read(move |rows| {
            rows.duties.push(duty.name());
            match duty {
                Duty::Claim { purchase, vouchers } => rows.claim(purchase, &vouchers),
                Duty::Show { purchase, entries } => rows.show(purchase, &entries),
                Duty::Settle { purchase } => rows.settle(purchase),
                Duty::Sweep { purchase, lanes, revoked, shown } => rows.sweep(purchase, lanes, revoked, shown),
            }
        })
    }
}

/// Seconds of the claim window, of the time in which what was shown may be contested, and until the rows may go.
const CLAIM: u64 = 259_200;
const CONTEST: u64 = 172_800;
const KEPT: u64 = 1_209_600;

fn refused<T>(reason: &str) -> Result<T, LedgerError> {
    Err(LedgerError::Refused(reason.to_owned()))
}

fn ensure(kept: bool, reason: &str) -> Result<(), LedgerError> {
    if kept { Ok(()) } else { refused(reason) }
}

/// The actions, as strict as the real ledger's.
impl Rows {
    fn view(&self, id: PurchaseId) -> Option<PurchaseView> {
        let mut view = self.purchases.get(&id).cloned()?;
        let lanes = self.claimed.iter().filter(|((of, _), calls)| *of == id && **calls > 0).count();
        let others = lanes + self.revoked.len() + self.replaced.len() + usize::from(view.shown);
        view.rows = 2 + u32::try_from(others).unwrap();
        Some(view)
    }

    /// What a chain gives its key, as far as the ledger still counts it.
    fn authority(&self, view: &PurchaseView, signed: &StoredVoucher) -> Result<LaneAuthority, LedgerError> {
        let mut grant = view.grant;
        if signed.key_version != grant.key_version {
            let old = self.replaced.get(&signed.key_version).filter(|(_, until)| self.now < *until);
            let Some((key, _)) = old else { return refused("the root key is not in use") };
            (grant.call_key, grant.key_version) = (*key, signed.key_version);
        }
        let authority = verify_chain(&grant, &signed.chain).map_err(|error| LedgerError::Refused(error.to_string()))?;
        let revoked = |link| self.revoked.get(link).is_some_and(|at| self.now >= at.after(Seconds(CLAIM)));
        ensure(!authority.links.iter().any(revoked), "revoked")?;
        Ok(authority)
    }

    fn claim(&mut self, id: PurchaseId, vouchers: &[StoredVoucher]) -> Result<(), LedgerError> {
        let Some(view) = self.view(id) else { return refused("unknown purchase") };
        ensure(!view.settled && self.now < view.grant.end.after(Seconds(CLAIM)), "claims are closed")?;
        ensure(!self.refuse_claims, "nothing new")?;
        ensure((1..=64).contains(&vouchers.len()), "1 to 64 vouchers")?;
        let mut news = 0;
        for stored in vouchers {
            let Ok(authority) = self.authority(&view, stored) else { continue };
            let Ok(cum) = verify_voucher(&stored.voucher, &authority) else { continue };
            let claimed = self.claimed.entry((id, stored.voucher.head().lane)).or_default();
            let new = cum.saturating_sub(*claimed);
            *claimed += new;
            news += new;
        }
        ensure(news > 0, "nothing new")?;
        let view = self.purchases.get_mut(&id).unwrap();
        view.claimed += news;
        assert!(view.claimed <= view.grant.quota);
        Ok(())
    }

    fn show(&mut self, id: PurchaseId, entries: &[ShowLane]) -> Result<(), LedgerError> {
        let Some(view) = self.view(id) else { return refused("unknown purchase") };
        ensure(self.now >= view.grant.end && self.now < view.grant.end.after(Seconds(CLAIM)), "not in its window")?;
        ensure(!view.shown, "already done")?;
        ensure((1..=16).contains(&entries.len()), "1 to 16 entries")?;
        let calls: u64 = entries.iter().map(|entry| entry.count).sum();
        ensure(calls <= u64::from(view.window).min(view.grant.quota - view.claimed), "above the window")?;
        for entry in entries {
            let head = entry.opening.voucher.head();
            ensure(entry.count > 0, "a lane with nothing")?;
            ensure(head.flags.has(Flags::OPEN) && head.lane == entry.lane, "no opening")?;
            let authority = self.authority(&view, &entry.opening).or(refused("no opening"))?;
            ensure(verify_voucher(&entry.opening.voucher, &authority).is_ok(), "no opening")?;
            let claimed = self.claimed.get(&(id, entry.lane)).copied().unwrap_or(0);
            ensure(entry.from_cum == claimed, "the lane's claimed calls")?;
            ensure(entry.count <= authority.max_calls - claimed, "above the lane's calls")?;
        }
        self.purchases.get_mut(&id).unwrap().shown = true;
        self.shown = entries.iter().map(|entry| entry.lane).collect();
        Ok(())
    }

    fn settle(&mut self, id: PurchaseId) -> Result<(), LedgerError> {
        let now = self.now;
        let Some(view) = self.purchases.get_mut(&id) else { return refused("unknown purchase") };
        let window = if view.shown { CLAIM + CONTEST } else { CLAIM };
        ensure(!view.settled, "settled")?;
        ensure(now >= view.grant.end.after(Seconds(window)), "too early")?;
        view.settled = true;
        Ok(())
    }

    /// All rows or none. Rows of replaced keys follow from the purchase, so that they need not be named here.
    fn sweep(
        &mut self,
        id: PurchaseId,
        mut lanes: Vec<Lane>,
        mut revoked: Vec<Hash32>,
        shown: bool,
    ) -> Result<(), LedgerError> {
        let Some(view) = self.view(id) else { return refused("unknown purchase") };
        ensure(view.settled && self.now > view.grant.end.after(Seconds(KEPT)), "not due")?;
        lanes.sort_unstable();
        revoked.sort_unstable();
        let claimed: Vec<Lane> =
            self.claimed.iter().filter(|(_, calls)| **calls > 0).map(|((_, lane), _)| *lane).collect();
        ensure(lanes == claimed && revoked.iter().eq(self.revoked.keys()) && shown == view.shown, "not due")?;
        self.purchases.remove(&id);
        Ok(())
    }
}
