#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use alloy_primitives::{B256, Bytes};
use tempfile::TempDir;

use super::super::policy::{Cause, Decision, HoldLimits, PolicyHash, Release};
use super::super::verdict::Verdict;
use super::*;

/// Time stands still unless a test moves it.
fn clock() -> u64 {
    NOW.load(Ordering::SeqCst)
}

static NOW: AtomicU64 = AtomicU64::new(1_000);
/// Tests that move the time do so one at a time.
static TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn held_for(release: Release) -> Decision {
    Decision {
        verdict: Verdict::Quarantine,
        found: Verdict::Quarantine,
        rule: "slow".to_owned(),
        release,
        ..Decision::default()
    }
}

/// Something that a check found.
fn found(verdict: Verdict) -> Decision {
    let cause = Cause { check: "lists".to_owned(), rule: "lists.drainer".to_owned(), verdict };
    Decision { verdict, rule: "lists.drainer".to_owned(), causes: vec![cause], ..Decision::default() }
}

fn new(client: &str, n: u8, release: Release) -> NewHold {
    NewHold {
        client: client.to_owned(),
        method: "eth_sendRawTransaction".to_owned(),
        hash: B256::repeat_byte(n),
        raw: Bytes::from(vec![n; 100]),
        decision: held_for(release),
        policy: PolicyHash::default(),
    }
}

const BY_ADMIN: Release = Release { after_s: None, token: false, admin: true };

fn open(folder: &TempDir, limits: HoldLimits) -> Arc<Hold> {
    Arc::new(Hold::with_clock(&folder.path().join(HOLD_FILE), limits, clock).unwrap())
}

fn fresh() -> (TempDir, Arc<Hold>) {
    let folder = tempfile::tempdir().unwrap();
    let hold = open(&folder, HoldLimits::default());
    (folder, hold)
}

async fn allowed(_: Held) -> (Decision, PolicyHash) {
    (Decision::default(), PolicyHash::default())
}

async fn taken(_: Held) -> Sent {
    Sent::Accepted { answer: "0x01".to_owned() }
}

#[tokio::test]
async fn restart_keeps_held() {
    let folder = tempfile::tempdir().unwrap();
    let before = {
        let hold = open(&folder, HoldLimits::default());
        hold.hold(new("ana", 1, BY_ADMIN)).unwrap();
        hold.hold(new("bo", 2, BY_ADMIN)).unwrap();
        hold.list(None, 10).unwrap()
    };
    let hold = open(&folder, HoldLimits::default());
    assert_eq!(hold.list(None, 10).unwrap(), before);
    assert_eq!(hold.count(), Count { transactions: 2, bytes: 200 });
    assert_eq!(hold.list(Some("bo"), 10).unwrap().len(), 1);
    assert_eq!(hold.hold(new("cy", 3, BY_ADMIN)).unwrap().id, HoldId(3), "no name is given twice");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(folder.path().join(HOLD_FILE)).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quarantine_releases_once() {
    let (_folder, hold) = fresh();
    let id = hold.hold(new("ana", 1, BY_ADMIN)).unwrap().id;
    let sent = Arc::new(AtomicUsize::new(0));
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (hold, sent) = (Arc::clone(&hold), Arc::clone(&sent));
            tokio::spawn(async move {
                let send = |held: Held| async move {
                    assert_eq!(held.raw, Bytes::from(vec![1; 100]));
                    sent.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                    Sent::Accepted { answer: "0x01".to_owned() }
                };
                release(&hold, id, Releaser::Admin, allowed, send).await
            })
        })
        .collect();
    let mut gone = 0;
    for one in tries {
        match one.await.unwrap() {
            Ok(Released::Gone(held)) => {
                assert!(matches!(held.stage, Stage::Released { by: Releaser::Admin, .. }));
                gone += 1;
            }
            Err(HoldError::Left(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((gone, sent.load(Ordering::SeqCst)), (1, 1));
    assert_eq!(hold.count(), Count::default());
    assert_eq!(release(&hold, id, Releaser::Admin, allowed, taken).await, Err(HoldError::Left(id)));
}

async fn passes(_: Held) -> Look {
    Look::Judged(Decision::default(), PolicyHash::default())
}

async fn not_now(_: Held) -> Sent {
    Sent::Later { reason: "txpool is full".to_owned() }
}

async fn never(_: Held) -> Sent {
    panic!("it must not be sent")
}

/// A transaction that was let go and that no node took.
async fn untaken(hold: &Arc<Hold>) -> HoldId {
    let id = hold.hold(new("ana", 1, BY_ADMIN)).unwrap().id;
    let Ok(Released::Pending(held, reason)) = release(hold, id, Releaser::Admin, allowed, not_now).await else {
        panic!("it is taken")
    };
    assert_eq!((held.id, reason.as_str()), (id, "txpool is full"));
    id
}

#[tokio::test]
async fn a_death_while_sending_sends_the_same_bytes_again_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let id = {
        let hold = open(&folder, HoldLimits::default());
        let id = hold.hold(new("ana", 1, BY_ADMIN)).unwrap().id;
        hold.begin(id, Releaser::Admin).unwrap();
        assert_eq!(hold.interrupted(10), [], "this process is sending it");
        id
    };
    let hold = open(&folder, HoldLimits::default());
    assert_eq!(hold.interrupted(10), [id]);
    // It is not let go a second time, and cannot be dropped while a node may have it.
    assert_eq!(release(&hold, id, Releaser::Admin, allowed, taken).await, Err(HoldError::Left(id)));
    assert!(hold.drop_held(id, "no").is_err());
    let same = |held: Held| async move {
        assert_eq!(held.raw, Bytes::from(vec![1; 100]));
        Sent::Accepted { answer: "already known".to_owned() }
    };
    assert!(matches!(hold.send_again(id, passes, same).await, Ok(Released::Gone(_))));
    assert_eq!(hold.send_again(id, passes, taken).await, Err(HoldError::Left(id)));
    assert_eq!(hold.interrupted(10), []);
}

#[tokio::test]
async fn what_no_node_takes_now_is_sent_again_later_and_more_seldom_each_time() {
    let _time = TIME.lock().await;
    let (_folder, hold) = fresh();
    let at = clock();
    let id = untaken(&hold).await;
    for rest in [5, 10, 20, 40, 80, 160, 300, 300] {
        NOW.fetch_add(rest - 1, Ordering::SeqCst);
        assert_eq!(hold.interrupted(10), [], "{rest}");
        NOW.fetch_add(1, Ordering::SeqCst);
        assert_eq!(hold.interrupted(10), [id], "{rest}");
        assert!(matches!(hold.send_again(id, passes, not_now).await, Ok(Released::Pending(..))));
    }
    // A task that is dropped while it sends leaves it, too.
    let dropped = hold.send_again(id, passes, |_| std::future::pending());
    assert!(tokio::time::timeout(std::time::Duration::from_millis(50), dropped).await.is_err());
    assert!(matches!(hold.send_again(id, passes, taken).await, Ok(Released::Gone(_))));
    NOW.store(at, Ordering::SeqCst);
}

#[tokio::test]
async fn every_sending_is_judged_again() {
    let (_folder, hold) = fresh();
    let id = untaken(&hold).await;
    let holds = |_| async { Look::Judged(held_for(BY_ADMIN), PolicyHash::default()) };
    let Ok(Released::Kept(kept)) = hold.send_again(id, holds, never).await else { panic!("it is sent") };
    assert_eq!((kept.stage, hold.count().transactions), (Stage::Held, 1));
    assert_eq!(hold.interrupted(10), [], "it waits for somebody again");
    assert!(matches!(release(&hold, id, Releaser::Admin, allowed, not_now).await, Ok(Released::Pending(..))));
    let blocks = |_| async { Look::Judged(found(Verdict::Block), PolicyHash::default()) };
    let Ok(Released::Kept(kept)) = hold.send_again(id, blocks, never).await else { panic!("it is sent") };
    assert!(matches!(kept.stage, Stage::Dropped { .. }));
}

#[tokio::test]
async fn what_a_node_has_or_nobody_tells_is_neither_judged_nor_sent() {
    let (_folder, hold) = fresh();
    let id = untaken(&hold).await;
    let silent = |_| async { Look::Silent { reason: "no connection".to_owned() } };
    assert!(matches!(hold.send_again(id, silent, never).await, Ok(Released::Pending(..))));
    let has = |_| async { Look::Taken { answer: "mined".to_owned() } };
    assert!(matches!(hold.send_again(id, has, never).await, Ok(Released::Gone(_))));
}

#[tokio::test]
async fn what_no_node_took_until_its_end_is_dropped_only_when_a_node_says_so() {
    let _time = TIME.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let hold = open(&folder, HoldLimits { expire_s: 100, ..HoldLimits::default() });
    let at = clock();
    let id = untaken(&hold).await;
    NOW.store(at + 100, Ordering::SeqCst);
    assert_eq!(hold.sweep().unwrap(), [], "a node may have it");
    let silent = |_| async { Look::Silent { reason: "no connection".to_owned() } };
    assert!(matches!(hold.send_again(id, silent, never).await, Ok(Released::Pending(..))));
    let Ok(Released::Kept(kept)) = hold.send_again(id, passes, never).await else { panic!("it is kept") };
    assert!(matches!(kept.stage, Stage::Dropped { reason, .. } if reason.contains("in time")));
    NOW.store(at, Ordering::SeqCst);
}

#[tokio::test]
async fn what_only_a_failure_blocks_waits_as_it_did_and_gives_others_their_turn() {
    let _time = TIME.lock().await;
    let (_folder, hold) = fresh();
    let at = clock();
    let timed = Release { after_s: Some(60), token: false, admin: true };
    let first = hold.hold(new("ana", 1, timed)).unwrap();
    let second = hold.hold(new("ana", 2, timed)).unwrap();
    NOW.store(at + 60, Ordering::SeqCst);
    let fails = |_| async {
        let cause = Cause { check: "sanctions".to_owned(), rule: String::new(), verdict: Verdict::Block };
        let decision = Decision { verdict: Verdict::Block, causes: vec![cause], ..Decision::default() };
        (decision, PolicyHash::default())
    };
    assert_eq!(hold.due(1), [first.id]);
    let Ok(Released::Kept(kept)) = release(&hold, first.id, Releaser::Time, fails, never).await else { panic!() };
    assert_eq!((kept.stage, kept.decision), (Stage::Held, first.decision));
    assert_eq!(hold.due(1), [second.id]);
    NOW.store(at + 60 + LOOK_AGAIN_S, Ordering::SeqCst);
    assert!(matches!(release(&hold, first.id, Releaser::Time, allowed, taken).await, Ok(Released::Gone(_))));
    NOW.store(at, Ordering::SeqCst);
}

#[tokio::test]
async fn what_is_assessed_otherwise_on_leaving_does_not_leave() {
    let (_folder, hold) = fresh();
    let id = hold.hold(new("ana", 1, BY_ADMIN)).unwrap().id;
    let again = |_| async { (held_for(Release::default()), PolicyHash::default()) };
    let Ok(Released::Kept(kept)) = release(&hold, id, Releaser::Admin, again, never).await else { panic!() };
    assert_eq!(kept.stage, Stage::Held);
    let blocked = |_| async { (found(Verdict::Block), PolicyHash::default()) };
    let Ok(Released::Kept(kept)) = release(&hold, id, Releaser::Admin, blocked, never).await else { panic!() };
    assert!(matches!(kept.stage, Stage::Dropped { reason, .. } if reason == "blocked by lists.drainer"));
    assert_eq!(hold.count().transactions, 0);
    let other = hold.hold(new("ana", 2, BY_ADMIN)).unwrap().id;
    let refused = |_| async { Sent::Refused { answer: "nonce too low".to_owned() } };
    let Ok(Released::Kept(kept)) = release(&hold, other, Releaser::Admin, allowed, refused).await else { panic!() };
    assert!(matches!(kept.stage, Stage::Dropped { reason, .. } if reason.contains("nonce too low")));
}

#[tokio::test]
async fn it_leaves_only_as_its_rule_says() {
    let _time = TIME.lock().await;
    let (_folder, hold) = fresh();
    let at = clock();
    let timed = hold.hold(new("ana", 1, Release { after_s: Some(60), token: false, admin: false })).unwrap().id;
    let by_token = hold.hold(new("ana", 2, Release { after_s: None, token: true, admin: false })).unwrap().id;
    for by in [Releaser::Time, Releaser::Token, Releaser::Admin] {
        assert_eq!(release(&hold, timed, by, allowed, taken).await, Err(HoldError::NotThisWay(timed)), "{by:?}");
    }
    assert_eq!(release(&hold, by_token, Releaser::Admin, allowed, taken).await, Err(HoldError::NotThisWay(by_token)));
    assert_eq!(hold.due(10), []);
    NOW.store(at + 60, Ordering::SeqCst);
    assert_eq!(hold.due(10), [timed]);
    assert!(matches!(release(&hold, timed, Releaser::Time, allowed, taken).await, Ok(Released::Gone(_))));
    assert!(matches!(release(&hold, by_token, Releaser::Token, allowed, taken).await, Ok(Released::Gone(_))));
    assert_eq!(hold.due(10), []);
    NOW.store(at, Ordering::SeqCst);
}

#[tokio::test]
async fn what_nobody_releases_expires_and_is_forgotten_a_day_later() {
    let _time = TIME.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let hold = open(&folder, HoldLimits { expire_s: 100, ..HoldLimits::default() });
    let at = clock();
    let id = hold.hold(new("ana", 1, BY_ADMIN)).unwrap().id;
    assert_eq!(hold.sweep().unwrap(), []);
    NOW.store(at + 100, Ordering::SeqCst);
    assert!(release(&hold, id, Releaser::Admin, allowed, taken).await.is_err(), "it is too late");
    assert_eq!(hold.sweep().unwrap().len(), 1);
    assert!(matches!(hold.get(id).unwrap().stage, Stage::Dropped { .. }));
    assert_eq!(hold.count(), Count::default());
    NOW.store(at + 101 + KEEP_S, Ordering::SeqCst);
    hold.sweep().unwrap();
    assert_eq!(hold.get(id), Err(HoldError::Unknown(id)));
    NOW.store(at, Ordering::SeqCst);
}

#[test]
fn caps_bind_each_client_and_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    let limits = HoldLimits { per_client: 2, total: 3, bytes: 10_000, ..HoldLimits::default() };
    let hold = open(&folder, limits.clone());
    let first = hold.hold(new("ana", 1, BY_ADMIN)).unwrap();
    assert_eq!(hold.hold(new("ana", 1, BY_ADMIN)).unwrap(), first, "the same one is held once");
    hold.hold(new("ana", 2, BY_ADMIN)).unwrap();
    assert_eq!(hold.hold(new("ana", 3, BY_ADMIN)), Err(HoldError::ClientFull(2)));
    hold.hold(new("bo", 3, BY_ADMIN)).unwrap();
    assert_eq!(hold.hold(new("cy", 4, BY_ADMIN)), Err(HoldError::Full));
    hold.drop_held(first.id, "cancelled").unwrap();
    hold.hold(new("cy", 4, BY_ADMIN)).unwrap();
    hold.set_limits(HoldLimits { total: 100, bytes: 350, ..limits });
    assert_eq!(hold.hold(new("di", 5, BY_ADMIN)), Err(HoldError::Full));
}

#[test]
fn names_are_read_back_and_nothing_else_is() {
    assert_eq!("hold-12".parse(), Ok(HoldId(12)));
    assert_eq!(HoldId(7).to_string().parse(), Ok(HoldId(7)));
    for text in ["", "hold-", "12", "hold-+1", "hold-99999999999999999999999", "HOLD-1", "hold--1"] {
        assert_eq!(text.parse::<HoldId>(), Err(HoldError::NoId), "{text}");
    }
}
