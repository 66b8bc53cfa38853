//! The counters of one purchase in memory: what is admitted, served, failed, acknowledged (`market.md` D3, steps 8 to 13).
//!
//! Always true: calls admitted and not failed never exceed the units leased; admitted less failed less acknowledged, over
//! all lanes, never exceeds the allotment of W; each number of a lane is admitted at most once.
//! Pure: time comes in as milliseconds, and what must be durable first is asked for by [`Admission::Need`].

mod lane;
mod rate;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use surety_primitives::access::{Problem, ProblemKind, QuotaState};
use surety_primitives::{Hash32, Lane, PurchaseId, Seconds};

pub(crate) use self::lane::{LaneMeter, Outcome, Reply, StoredReply};
pub(crate) use self::rate::{Bucket, LinkRate, Rates};
use crate::package::Bound;
use crate::store::{LaneOwner, Lease, LeaseId, SEQ_BLOCK, StoredVoucher};

/// Part of a lease at which the next one is fetched: what is leased and not used lapses in a crash.
const LOW_PART: u64 = 4;
/// Age in milliseconds from which an unacknowledged call stops calls with tags (`market.md` D3, step 11).
const MAX_UNACKNOWLEDGED_MS: u64 = 5_000;

/// In how many steps W is asked for.
const WINDOW_STEPS: u32 = 8;
/// Milliseconds between two questions for more of W than there is.
const ASK_WINDOW_MS: u64 = 200;

/// A call that has passed steps 1 to 7.
pub(crate) struct Ask<'a> {
    pub(crate) lane: Lane,
    pub(crate) seq: u64,
    /// What the call is bound to.
    pub(crate) request: Hash32,
    /// A signed call acknowledges; a tag does not.
    pub(crate) voucher: Option<&'a StoredVoucher>,
    /// Under which authority it was made.
    pub(crate) bound: &'a Arc<Bound>,
    pub(crate) now_ms: u64,
}

/// What has to be durable before the call can be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// The lane must be taken.
    Lane,
    /// Numbers up to this one must be reserved.
    Ceiling(u64),
    /// Units must be leased.
    Units,
    /// A part of W must be asked for.
    Window,
}

/// What becomes of a call.
pub(crate) enum Admission {
    /// It is to be forwarded.
    Admitted {
        /// What to fetch meanwhile, so that a later call need not wait.
        ahead: Option<Need>,
    },
    /// It was answered before: the same answer again.
    Again(StoredReply),
    /// It is refused.
    Refused(Box<Problem>),
    /// Something must be durable first.
    Need(Need),
}

/// What [`Meter::admit`] says.
pub(crate) struct Verdict {
    pub(crate) admission: Admission,
    /// The call's acknowledgement is news, or the first after a lapse: it must be written down.
    pub(crate) keep_voucher: bool,
}

/// A lease in hand, and its units.
type Held = (LeaseId, u64);

/// The counters of one purchase.
pub(crate) struct Meter {
    purchase: PurchaseId,
    quota: u64,
    window: u32,
    /// This replica's part of W.
    allotment: u32,
    /// Units that may be used.
    units: u64,
    /// Quota that nobody held at the last lease.
    unleased: u64,
    leases: VecDeque<Held>,
    /// Units of the newest lease.
    last_lease: u64,
    /// Sum over the lanes of admitted - failed - best. Below 0 where more was acknowledged than was served.
    pending: i64,
    /// Sum over the lanes of what was acknowledged.
    acknowledged: u64,
    lanes: HashMap<Lane, Box<LaneMeter>>,
    rate: Bucket,
    rates: Rates,
    /// When the dead may have left more of W, and the store is asked again.
    ask_window_at_ms: u64,
    /// The last moment that is known here.
    now_ms: u64,
}

impl Meter {
    pub(crate) fn new(purchase: PurchaseId, quota: u64, window: u32, rate: u32) -> Self {
        Self {
            purchase,
            quota,
            window,
            allotment: 0,
            units: 0,
            unleased: quota,
            leases: VecDeque::new(),
            last_lease: 0,
            pending: 0,
            acknowledged: 0,
            lanes: HashMap::new(),
            rate: Bucket::new(rate),
            rates: Rates::default(),
            ask_window_at_ms: 0,
            now_ms: 0,
        }
    }

    /// Steps 8 to 12. Whatever is refused here changes nothing but the lane's best voucher.
    pub(crate) fn admit(&mut self, ask: &Ask<'_>) -> Verdict {
        let mut keep_voucher = false;
        self.now_ms = self.now_ms.max(ask.now_ms);
        let admission = match self.judge(ask, &mut keep_voucher) {
            Ok(admission) => admission,
            Err(kind) => Admission::Refused(Box::new(self.problem(kind, ask.lane))),
        };
        Verdict { admission, keep_voucher }
    }

    fn judge(&mut self, ask: &Ask<'_>, keep_voucher: &mut bool) -> Result<Admission, ProblemKind> {
        if !self.rate.has_room(ask.now_ms) {
            return Err(ProblemKind::RateLimited);
        }
        if !self.rates.have_room(&ask.bound.rates, ask.now_ms) {
            return Err(ProblemKind::RateLimited);
        }
        if !self.lanes.contains_key(&ask.lane) {
            return Ok(Admission::Need(Need::Lane));
        }
        if let Some(voucher) = ask.voucher {
            *keep_voucher = self.acknowledge(ask.lane, voucher, ask.now_ms)?;
        }
        let Some(lane) = self.lanes.get_mut(&ask.lane) else { return Ok(Admission::Need(Need::Lane)) };
        if let Some(reply) = lane.seen(ask.seq, &ask.request, ask.now_ms)? {
            return Ok(Admission::Again(reply));
        }
        if lane.counted() >= ask.bound.authority.max_calls {
            let all = ask.bound.authority.max_calls >= self.quota;
            return Err(if all { ProblemKind::QuotaExhausted } else { ProblemKind::BudgetSpent });
        }
        let stale = ask.voucher.is_none() && lane.is_stale(ask.now_ms, MAX_UNACKNOWLEDGED_MS);
        if stale {
            return Err(ProblemKind::VoucherDue);
        }
        if self.pending >= i64::from(self.allotment) {
            if self.allotment < self.window && ask.now_ms >= self.ask_window_at_ms {
                return Ok(Admission::Need(Need::Window));
            }
            return Err(if lane.pending() > 0 { ProblemKind::VoucherDue } else { ProblemKind::WindowBusy });
        }
        if ask.seq > lane.ceiling() {
            return Ok(Admission::Need(Need::Ceiling(ask.seq.saturating_add(SEQ_BLOCK))));
        }
        if self.units == 0 {
            return if self.unleased > 0 { Ok(Admission::Need(Need::Units)) } else { Err(ProblemKind::QuotaExhausted) };
        }
        self.units -= 1;
        self.pending += 1;
        self.rate.take();
        self.rates.take(&ask.bound.rates);
        lane.admit(ask.seq, ask.request, ask.now_ms);
        let numbers_left = lane.ceiling().saturating_sub(ask.seq);
        let ceiling = lane.ceiling().saturating_add(SEQ_BLOCK);
        let ahead = if self.is_low() {
            Some(Need::Units)
        } else if self.pending.saturating_add(i64::from(self.step() / 2)) >= i64::from(self.allotment)
            && self.may_ask_window()
        {
            Some(Need::Window)
        } else {
            (numbers_left < SEQ_BLOCK / 2 && numbers_left > 0).then_some(Need::Ceiling(ceiling))
        };
        Ok(Admission::Admitted { ahead })
    }

    /// Step 9: a signed `cum` is kept when it is the highest. Gives whether it must be written down.
    pub(crate) fn acknowledge(&mut self, at: Lane, voucher: &StoredVoucher, now_ms: u64) -> Result<bool, ProblemKind> {
        let Some(lane) = self.lanes.get_mut(&at) else { return Err(ProblemKind::CumAhead) };
        let cum = voucher.voucher.head().cum;
        let others = self.acknowledged - lane.best();
        if others.saturating_add(cum) > self.quota || cum > lane.most_acknowledged() {
            return Err(ProblemKind::CumAhead);
        }
        let before = lane.pending();
        let news = lane.acknowledge(cum, now_ms);
        self.pending += lane.pending() - before;
        self.acknowledged = others + lane.best();
        if news.first_after_lapse {
            self.ask_window_at_ms = now_ms;
        }
        Ok(news.raised || news.first_after_lapse)
    }

    /// Step 13: what became of an admitted call.
    pub(crate) fn finish(&mut self, at: Lane, seq: u64, outcome: Outcome, now_ms: u64) {
        let Some(lane) = self.lanes.get_mut(&at) else { return };
        if outcome.is_failed() {
            self.units += 1;
            self.pending -= 1;
        }
        lane.finish(seq, outcome, now_ms);
    }

    /// Takes over a lane, unless it is there already.
    pub(crate) fn add_lane(&mut self, at: Lane, owner: &LaneOwner, ceiling: u64) {
        if !self.lanes.contains_key(&at) {
            self.acknowledged = self.acknowledged.saturating_add(owner.best);
            self.lanes.insert(at, Box::new(LaneMeter::new(owner, ceiling)));
        }
    }

    pub(crate) fn add_lease(&mut self, lease: &Lease) {
        self.unleased = lease.unleased;
        if lease.units > 0 {
            self.last_lease = lease.units;
            self.units += lease.units;
            self.leases.push_back((lease.id, lease.units));
        }
    }

    /// Leases that are used up: nothing of them returns.
    pub(crate) fn spent_leases(&mut self) -> Vec<Held> {
        let mut spent = Vec::new();
        // Units are used from the oldest lease on: it is spent once the newer ones alone hold all that is left.
        while let Some((id, units)) = self.leases.front().copied() {
            let newer: u64 = self.leases.iter().skip(1).map(|(_, units)| units).sum();
            if self.units > newer {
                break;
            }
            self.leases.pop_front();
            spent.push((id, units));
        }
        spent
    }

    /// Gives every lease up: each with the units that were used of it.
    pub(crate) fn give_up_leases(&mut self) -> Vec<Held> {
        let mut left = std::mem::take(&mut self.units);
        let mut given = Vec::new();
        while let Some((id, units)) = self.leases.pop_back() {
            let unused = left.min(units);
            left -= unused;
            given.push((id, units - unused));
        }
        given
    }

    pub(crate) fn set_allotment(&mut self, allotment: u32) {
        self.allotment = allotment;
    }

    /// What to ask of W so that a few more calls fit; nothing when they do already. What is held dies with the process, so
    /// that it stays close to what is pending.
    pub(crate) fn wanted_window(&self) -> Option<u32> {
        let want = self.pending().saturating_add(u64::from(self.step())).min(u64::from(self.window));
        u32::try_from(want).ok().filter(|want| *want > self.allotment)
    }

    /// What the store gave of the `want` that it was asked for.
    pub(crate) const fn hold_window(&mut self, held: u32, want: u32) {
        self.allotment = held;
        self.ask_window_at_ms = if held < want { self.now_ms.saturating_add(ASK_WINDOW_MS) } else { 0 };
    }

    /// Lets go of what is not needed of W, all of it when nobody calls. Gives what is to be held from now on.
    pub(crate) fn trim_window(&mut self, is_idle: bool) -> Option<u32> {
        let step = if is_idle { 0 } else { self.step() };
        let enough = u32::try_from(self.pending()).unwrap_or(u32::MAX).saturating_add(step);
        if self.allotment <= enough.saturating_add(step) {
            return None;
        }
        self.allotment = enough;
        Some(enough)
    }

    const fn step(&self) -> u32 {
        self.window.div_ceil(WINDOW_STEPS)
    }

    const fn may_ask_window(&self) -> bool {
        self.allotment < self.window && self.now_ms >= self.ask_window_at_ms
    }

    /// What a lapse had hidden is known again: ask once more.
    pub(crate) fn set_unleased(&mut self, unleased: u64) {
        self.unleased = unleased;
    }

    pub(crate) fn lane(&self, lane: Lane) -> Option<&LaneMeter> {
        self.lanes.get(&lane).map(AsRef::as_ref)
    }

    pub(crate) fn lane_mut(&mut self, lane: Lane) -> Option<&mut LaneMeter> {
        self.lanes.get_mut(&lane).map(AsMut::as_mut)
    }

    pub(crate) fn lanes(&self) -> impl Iterator<Item = (Lane, &LaneMeter)> {
        self.lanes.iter().map(|(lane, meter)| (*lane, meter.as_ref()))
    }

    pub(crate) fn lanes_mut(&mut self) -> impl Iterator<Item = &mut LaneMeter> {
        self.lanes.values_mut().map(AsMut::as_mut)
    }

    pub(crate) const fn is_low(&self) -> bool {
        let part = self.last_lease / LOW_PART;
        self.unleased > 0 && (self.units == 0 || self.units < part)
    }

    /// Calls that are admitted, not failed, not acknowledged.
    pub(crate) fn pending(&self) -> u64 {
        u64::try_from(self.pending).unwrap_or(0)
    }

    /// Calls left of the package, as far as this replica knows.
    pub(crate) const fn remaining(&self) -> u64 {
        self.units.saturating_add(self.unleased)
    }

    pub(crate) const fn rate(&self) -> &Bucket {
        &self.rate
    }

    /// What the reply's header says.
    pub(crate) fn quota_state(&self, at: Lane, expires: Seconds) -> QuotaState {
        let lane = self.lane(at);
        QuotaState {
            limit: self.quota,
            remaining: self.remaining(),
            lane: at,
            seq: lane.map_or(0, LaneMeter::high),
            cum: lane.map_or(0, LaneMeter::best),
            window: self.window,
            pending: self.pending(),
            expires,
        }
    }

    /// A refusal with what the caller needs to go on.
    pub(crate) fn problem(&self, kind: ProblemKind, at: Lane) -> Problem {
        let lane = self.lane(at);
        let detail = match kind {
            ProblemKind::VoucherDue => "calls wait for an acknowledgement: send the same request signed, with cum",
            ProblemKind::WindowBusy => {
                "other lanes hold the window of unacknowledged calls: acknowledge there, or wait"
            }
            ProblemKind::QuotaExhausted => "all calls of the package are used: buy another",
            ProblemKind::CumAhead => "cum is above the calls that were admitted in this lane, or above the package",
            ProblemKind::CumBehind => "a higher cum is known already",
            ProblemKind::RateLimited => "more calls a second than were bought: wait",
            ProblemKind::SeqBelowFloor => "seq is at or below the lane's floor: go on above it, with an opening call",
            ProblemKind::Replay => "this seq was used, by another request, too long ago, or by one still under way",
            ProblemKind::BudgetSpent => "the sub-grant's calls are used",
            _ => "the call is refused",
        };
        let mut problem = Problem::new(kind, detail);
        problem.purchase = Some(self.purchase);
        problem.lane = Some(at);
        problem.cum = lane.map(LaneMeter::best);
        problem.seq_floor = lane.map(LaneMeter::floor);
        problem.remaining = Some(self.remaining());
        problem.retry_after = matches!(kind, ProblemKind::WindowBusy | ProblemKind::RateLimited).then_some(1);
        problem.need = match kind {
            ProblemKind::VoucherDue => Some("signature".to_owned()),
            ProblemKind::SeqBelowFloor => Some("open".to_owned()),
            ProblemKind::QuotaExhausted => Some("payment".to_owned()),
            _ => None,
        };
        problem
    }
}

#[cfg(test)]
mod tests;
