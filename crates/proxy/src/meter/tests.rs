#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use surety_primitives::access::{Flags, Grant, Head, NO_REQUEST, SignedCall};
use surety_primitives::keys::SecretKey;
use surety_primitives::{NetworkId, Seconds};
use zeroize::Zeroizing;

use super::*;
use crate::store::{CounterStore, RECONCILE_AFTER, RedbStore};

const ID: PurchaseId = PurchaseId([7; 16]);
const QUOTA: u64 = 60;
const WINDOW: u32 = 6;
const LANES: u16 = 3;

/// Wall seconds of every store here; it only goes on, so that tests side by side do each other no harm.
static CLOCK: AtomicU64 = AtomicU64::new(1_000);

fn clock() -> u64 {
    CLOCK.load(Ordering::Relaxed)
}

fn key() -> SecretKey {
    SecretKey::from_seed(&Zeroizing::new([1; 32]))
}

fn bound() -> Arc<Bound> {
    let grant = Grant {
        network: NetworkId(1),
        purchase: ID,
        key_version: 1,
        call_key: key().public(),
        lanes: u32::from(LANES),
        quota: QUOTA,
        not_before: Seconds(0),
        end: Seconds(1_000_000),
    };
    Arc::new(Bound::new(&grant, Vec::new(), Vec::new()).unwrap())
}

fn voucher(lane: u16, seq: u64, cum: u64) -> StoredVoucher {
    let head = Head { flags: Flags::NONE, purchase: ID, lane: Lane(lane), seq, cum, deadline: 0 };
    let call = SignedCall::sign(&key(), head, None, &NO_REQUEST).unwrap();
    StoredVoucher { voucher: call.voucher(NO_REQUEST), key_version: 1, chain: Vec::new() }
}

/// The sidecar's side of one life: a meter over a store in a file.
struct Life {
    meter: Meter,
    store: RedbStore,
}

impl Life {
    fn begin(path: &Path) -> Self {
        let file = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
        let store = RedbStore::with_backend(redb::backends::FileBackend::new(file).unwrap(), clock).unwrap();
        store.open(ID, QUOTA, WINDOW, u32::from(LANES), Seconds(1_000_000)).wait().unwrap();
        let meter = Meter::new(ID, QUOTA, WINDOW, 0);
        store.allot(ID, 0).wait().unwrap();
        Self { meter, store }
    }

    fn admit(&mut self, lane: u16, seq: u64, cum: Option<u64>, now_ms: u64) -> Admission {
        let (bound, lane) = (bound(), Lane(lane));
        let voucher = cum.map(|cum| voucher(lane.0, seq, cum));
        let request = Hash32([9; 32]);
        loop {
            let ask = Ask { lane, seq, request, voucher: voucher.as_ref(), bound: &bound, now_ms };
            let Verdict { admission, keep_voucher } = self.meter.admit(&ask);
            if let (true, Some(voucher)) = (keep_voucher, &voucher) {
                let fence = self.meter.lane(lane).unwrap().fence;
                self.store.put_voucher(ID, lane, fence, voucher.clone());
            }
            let Admission::Need(need) = admission else { return admission };
            self.satisfy(need, lane);
        }
    }

    fn satisfy(&mut self, need: Need, lane: Lane) {
        match need {
            Need::Lane => {
                let owner = self.store.own_lane(ID, lane).wait().unwrap();
                let ceiling = owner.seq_floor + SEQ_BLOCK;
                self.store.reserve_seq(ID, lane, owner.fence, ceiling).wait().unwrap();
                self.meter.add_lane(lane, &owner, ceiling);
            }
            Need::Ceiling(ceiling) => {
                let fence = self.meter.lane(lane).unwrap().fence;
                self.store.reserve_seq(ID, lane, fence, ceiling).wait().unwrap();
                self.meter.lane_mut(lane).unwrap().raise_ceiling(ceiling);
            }
            Need::Units => {
                for (id, units) in self.meter.spent_leases() {
                    self.store.settle(ID, id, units).wait().unwrap();
                }
                let lease = self.store.lease(ID, 1_024).wait().unwrap();
                self.meter.add_lease(&lease);
            }
            Need::Window => {
                let want = self.meter.wanted_window().unwrap();
                let held = self.store.allot(ID, want).wait().unwrap();
                self.meter.hold_window(held, want);
            }
        }
    }

    fn served(&mut self, lane: u16, seq: u64, now_ms: u64) {
        self.meter.finish(Lane(lane), seq, Outcome::Served(None), now_ms);
    }
}

fn file() -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("counters");
    (folder, path)
}

fn refused(admission: Admission) -> ProblemKind {
    match admission {
        Admission::Refused(problem) => problem.kind,
        _ => panic!("this call should be refused"),
    }
}

fn is_admitted(admission: &Admission) -> bool {
    matches!(admission, Admission::Admitted { .. })
}

#[test]
fn w_calls_may_wait_over_all_lanes_and_then_a_voucher_is_due() {
    let (_folder, path) = file();
    let mut life = Life::begin(&path);
    for seq in 1..=u64::from(WINDOW) {
        assert!(is_admitted(&life.admit(0, seq, None, 1)));
        life.served(0, seq, 1);
    }
    assert_eq!(refused(life.admit(0, 7, None, 1)), ProblemKind::VoucherDue);
    assert_eq!(refused(life.admit(1, 1, None, 1)), ProblemKind::WindowBusy);
    assert_eq!(refused(life.admit(0, 7, Some(7), 1)), ProblemKind::CumAhead);
    assert!(is_admitted(&life.admit(0, 7, Some(6), 1)), "the same call, signed, with cum");
    assert!(is_admitted(&life.admit(1, 1, None, 1)));
}

#[test]
fn a_call_that_failed_gives_its_unit_and_its_part_of_w_back() {
    let (_folder, path) = file();
    let mut life = Life::begin(&path);
    for seq in 1..=500 {
        assert!(is_admitted(&life.admit(0, seq, None, 1)));
        life.meter.finish(Lane(0), seq, Outcome::Failed(ProblemKind::Upstream), 1);
    }
    assert_eq!((life.meter.pending(), life.meter.remaining()), (0, QUOTA));
}

#[test]
fn an_old_unacknowledged_call_stops_tags_and_not_signatures() {
    let (_folder, path) = file();
    let mut life = Life::begin(&path);
    assert!(is_admitted(&life.admit(0, 1, None, 1)));
    // As long as the answer is not there, nobody can acknowledge it.
    assert!(is_admitted(&life.admit(0, 2, None, 9_000)));
    life.served(0, 1, 9_000);
    life.served(0, 2, 9_000);
    assert_eq!(refused(life.admit(0, 3, None, 14_001)), ProblemKind::VoucherDue);
    assert!(is_admitted(&life.admit(0, 3, Some(2), 14_001)));
}

#[test]
fn a_number_is_admitted_once_and_a_retry_gets_its_reply_only_for_the_same_request() {
    let (_folder, path) = file();
    let mut life = Life::begin(&path);
    assert!(is_admitted(&life.admit(0, 5, None, 1)));
    assert!(matches!(life.admit(0, 5, None, 1), Admission::Again(StoredReply::UnderWay)));
    let bound = bound();
    let ask = Ask { lane: Lane(0), seq: 5, request: Hash32([8; 32]), voucher: None, bound: &bound, now_ms: 1 };
    assert_eq!(refused(life.meter.admit(&ask).admission), ProblemKind::Replay);
    life.served(0, 5, 1);
    assert!(matches!(life.admit(0, 5, None, 60_000), Admission::Again(StoredReply::Gone)));
    assert_eq!(refused(life.admit(0, 5, None, 60_002)), ProblemKind::Replay);
}

#[test]
fn the_quota_ends_and_vouchers_above_it_are_refused() {
    let (_folder, path) = file();
    let mut life = Life::begin(&path);
    for seq in 1..=QUOTA {
        assert!(is_admitted(&life.admit(0, seq, Some(seq - 1), 1)), "{seq}");
        life.served(0, seq, 1);
    }
    assert_eq!(refused(life.admit(0, QUOTA + 1, Some(QUOTA), 1)), ProblemKind::QuotaExhausted);
    assert_eq!(refused(life.admit(1, 1, Some(0), 1)), ProblemKind::QuotaExhausted);
    assert_eq!(refused(life.admit(1, 1, Some(1), 1)), ProblemKind::CumAhead);
}

#[test]
fn after_a_crash_numbers_below_the_ceiling_are_refused_and_w_returns_with_the_first_signature() {
    let (_folder, path) = file();
    let mut life = Life::begin(&path);
    for seq in 1..=4 {
        assert!(is_admitted(&life.admit(0, seq, None, 1)));
        life.served(0, seq, 1);
    }
    drop(life);
    let mut life = Life::begin(&path);
    assert_eq!(refused(life.admit(0, 5, Some(4), 1)), ProblemKind::SeqBelowFloor);
    // The refused call was signed all the same: it told what was served, and the dead part of W is free.
    assert!(is_admitted(&life.admit(0, SEQ_BLOCK + 1, Some(4), 1_000)));
    assert_eq!(life.meter.pending(), 1);
}

#[test]
fn what_a_crash_left_leased_returns_at_the_count_after_a_minute() {
    let (_folder, path) = file();
    let mut life = Life::begin(&path);
    assert!(is_admitted(&life.admit(0, 1, Some(0), 1)));
    drop(life);
    let mut life = Life::begin(&path);
    assert!(is_admitted(&life.admit(0, SEQ_BLOCK + 1, Some(1), 1_000)));
    let before = life.store.reconcile(ID).wait().unwrap();
    CLOCK.fetch_add(RECONCILE_AFTER + 1, Ordering::Relaxed);
    let after = life.store.reconcile(ID).wait().unwrap();
    assert!(after >= before, "{before} {after}");
    // 1 acknowledged, W waiting, the one that was held at the crash, and the live lease.
    let live = life.meter.units + 1;
    assert_eq!(after, QUOTA - (1 + u64::from(WINDOW) + 1 + live).min(QUOTA - before));
}

#[test]
fn a_crash_takes_along_no_more_of_w_than_a_few_calls_above_what_waited() {
    let (_folder, path) = file();
    let mut life = Life::begin(&path);
    for lane in [0, 1] {
        assert!(is_admitted(&life.admit(lane, 1, Some(0), 1)));
        life.served(lane, 1, 1);
    }
    drop(life);
    let mut life = Life::begin(&path);
    // 2 waited; neither of their lanes says a word, and the rest of W serves another.
    for seq in 1..=u64::from(WINDOW) - 2 {
        assert!(is_admitted(&life.admit(2, seq, None, 1_000 * seq)), "{seq}");
        life.served(2, seq, 1_000 * seq);
    }
    assert_eq!(refused(life.admit(2, 9, None, 9_000)), ProblemKind::VoucherDue);
    assert_eq!(life.meter.pending(), u64::from(WINDOW) - 2);
}

#[test]
fn only_lanes_that_the_dead_called_in_are_waited_for() {
    let (_folder, path) = file();
    let mut life = Life::begin(&path);
    assert!(is_admitted(&life.admit(2, 1, Some(0), 1)));
    life.served(2, 1, 1);
    assert!(life.meter.acknowledge(Lane(2), &voucher(2, 1, 1), 1).unwrap());
    assert_eq!(life.meter.trim_window(true), Some(0));
    life.store.allot(ID, 0).wait().unwrap();
    drop(life);
    let mut life = Life::begin(&path);
    for seq in 1..=u64::from(WINDOW) {
        assert!(is_admitted(&life.admit(0, seq, None, 1)));
        life.served(0, seq, 1);
    }
    drop(life);
    let mut life = Life::begin(&path);
    assert_eq!(refused(life.admit(1, 1, None, 1)), ProblemKind::WindowBusy, "all of W died");
    assert_eq!(refused(life.admit(0, 7, Some(u64::from(WINDOW)), 1_000)), ProblemKind::SeqBelowFloor);
    for seq in 1..=u64::from(WINDOW) {
        assert!(is_admitted(&life.admit(1, seq, None, 2_000)), "lane 2 had nothing to say");
    }
}

#[test]
fn what_is_not_needed_of_w_is_let_go_of() {
    let (_folder, path) = file();
    let mut life = Life::begin(&path);
    for seq in 1..=5 {
        assert!(is_admitted(&life.admit(0, seq, None, 1)));
        life.served(0, seq, 1);
    }
    assert_eq!(life.meter.trim_window(false), None);
    assert!(is_admitted(&life.admit(0, 6, Some(5), 1)));
    assert_eq!(life.meter.trim_window(false), Some(2));
    assert_eq!((life.meter.trim_window(true), life.meter.trim_window(true)), (Some(1), None));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Call { lane: u16, signed: bool, behind: u64 },
    Answer { failed: bool },
    Crash { wait: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call =
        (0..LANES, any::<bool>(), 0..3u64).prop_map(|(lane, signed, behind)| Step::Call { lane, signed, behind });
    let answer = (0..4u8).prop_map(|n| Step::Answer { failed: n == 0 });
    let crash = any::<bool>().prop_map(|wait| Step::Crash { wait });
    proptest::collection::vec(prop_oneof![8 => call, 6 => answer, 1 => crash], 1..120)
}

/// A caller that acknowledges what it received, sometimes less.
#[derive(Clone, Copy, Default)]
struct Caller {
    seq: u64,
    received: u64,
    signed: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn whatever_dies_when_no_more_is_served_than_bought_and_no_more_is_claimed_than_signed(steps in steps()) {
        let (_folder, path) = file();
        let mut life = Life::begin(&path);
        let mut callers = [Caller::default(); LANES as usize];
        let mut under_way: Vec<(u16, u64)> = Vec::new();
        let (mut served, mut crashes, mut now_ms) = (0_u64, 0_u64, 1_u64);
        for step in steps {
            now_ms += 300;
            match step {
                Step::Call { lane, signed, behind } => {
                    let caller = &mut callers[usize::from(lane)];
                    caller.seq += 1;
                    let cum = caller.received.saturating_sub(behind);
                    match life.admit(lane, caller.seq, signed.then_some(cum), now_ms) {
                        Admission::Admitted { .. } => under_way.push((lane, caller.seq)),
                        Admission::Refused(problem) if problem.kind == ProblemKind::SeqBelowFloor => {
                            caller.seq = problem.seq_floor.unwrap();
                        }
                        _ => {}
                    }
                    if signed {
                        caller.signed = caller.signed.max(cum);
                    }
                }
                Step::Answer { failed } => {
                    if let Some((lane, seq)) = under_way.pop() {
                        let outcome =
                            if failed { Outcome::Failed(ProblemKind::Upstream) } else { Outcome::Served(None) };
                        life.meter.finish(Lane(lane), seq, outcome, now_ms);
                        if !failed {
                            served += 1;
                            callers[usize::from(lane)].received += 1;
                        }
                    }
                }
                Step::Crash { wait } => {
                    drop(life);
                    crashes += 1;
                    // What was under way may have been served without anybody knowing.
                    served += under_way.len() as u64;
                    under_way.clear();
                    if wait {
                        CLOCK.fetch_add(RECONCILE_AFTER + 1, Ordering::Relaxed);
                    }
                    life = Life::begin(&path);
                    let unleased = life.store.reconcile(ID).wait().unwrap();
                    life.meter.set_unleased(unleased);
                }
            }
            let claimed: u64 = life.meter.lanes().map(|(_, lane)| lane.best()).sum();
            let stored = life.store.vouchers(ID).wait().unwrap();
            let durable: u64 = stored.iter().map(|stored| stored.voucher.head().cum).sum();
            let signed: u64 = callers.iter().map(|caller| caller.signed).sum();
            prop_assert!(served + under_way.len() as u64 <= QUOTA, "served {served}");
            prop_assert!(life.meter.pending() <= u64::from(WINDOW));
            prop_assert!(claimed <= signed && durable <= signed, "claimed {claimed} {durable} of {signed}");
            prop_assert!(signed <= served);
            prop_assert!(served + under_way.len() as u64 <= signed + u64::from(WINDOW) * (crashes + 1));
        }
    }
}
