//! What the sidecar does on the ledger when the ledger refuses, lags, or is not there.

use std::time::Duration;

use hyper::StatusCode;
use surety_primitives::access::{Flags, LaneState, ProblemKind, SubGrantTerms};
use surety_primitives::{Amount, Hash32, Height, Lane, Seconds};
use surety_proxy::ledger::Absence;

use crate::ledger::Rows;
use crate::world::{Lanes, PURCHASE, World, grant, key};

/// Waits until the ledger's rows are as hoped.
async fn until(world: &World, hoped: impl Fn(&Rows) -> bool) {
    for _ in 0..200 {
        if hoped(&world.ledger.0.lock().unwrap()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not within 4 s; sent: {:?}", world.ledger.0.lock().unwrap().duties);
}

fn at(world: &World, now: u64) {
    world.ledger.0.lock().unwrap().now = Seconds(now);
}

fn sent(world: &World, duty: &str) -> usize {
    world.ledger.0.lock().unwrap().duties.iter().filter(|sent| **sent == duty).count()
}

/// A package that was claimed and settled, at the moment before its rows may go.
async fn settled(world: &World) {
    let mut lane = Lanes::new(0);
    lane.open(world).await;
    lane.sign(world, "/api/x").await;
    at(world, 2_000_000);
    until(world, |rows| rows.claimed.get(&(PURCHASE, Lane(0))) == Some(&1)).await;
    at(world, 2_500_000);
    until(world, |rows| rows.purchases[&PURCHASE].settled).await;
}

#[tokio::test]
async fn a_refused_sweep_is_not_paid_for_at_every_look() {
    let world = World::new().await;
    settled(&world).await;
    // A row that the sidecar cannot know of: the ledger will not let the purchase go.
    world.ledger.0.lock().unwrap().revoked.insert(Hash32([3; 32]), Seconds(1_500_000));
    at(&world, 3_300_000);
    until(&world, |rows| rows.duties.contains(&"sweep")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(sent(&world, "sweep"), 1, "twenty looks later the fee was paid once");
}

#[tokio::test]
async fn rows_of_revoked_links_are_swept_with_the_purchase() {
    let world = World::new().await;
    let terms = SubGrantTerms {
        parent: grant().hash(),
        delegate: key(2).public(),
        first_lane: Lane(1),
        last_lane: Lane(1),
        max_calls: 3,
        valid_until: Seconds(1_900_000),
        rate: 0,
        scope: Hash32([0; 32]),
        flags: surety_primitives::access::GrantFlags::MAC,
    };
    let sub = terms.sign(&key(1));
    let mut lane = Lanes::of(key(2), vec![sub], 1, LaneState::default());
    lane.open(&world).await;
    world.settle(&[lane.voucher()]).await;
    settled(&world).await;
    world.ledger.0.lock().unwrap().revoked.insert(sub.hash(), Seconds(2_400_000));
    at(&world, 3_300_000);
    until(&world, |rows| rows.purchases.is_empty()).await;
    assert_eq!(sent(&world, "sweep"), 1);
}

#[tokio::test]
async fn a_claim_that_is_refused_waits_and_keeps_nothing_from_being_shown() {
    let world = World::with(|_, view| view.cover = Amount::call(10)).await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    lane.sign(&world, "/api/x").await;
    lane.tag(&world, "/api/x").await;
    world.ledger.0.lock().unwrap().refuse_claims = true;
    at(&world, 2_150_000);
    until(&world, |rows| rows.purchases[&PURCHASE].shown).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // What was shown changed the row, so that the claim was tried once more.
    assert_eq!((sent(&world, "claim"), sent(&world, "show")), (2, 1));
}

#[tokio::test]
async fn a_lane_whose_key_was_replaced_too_long_ago_is_left_out_of_what_is_shown() {
    let world = World::with(|_, view| view.cover = Amount::call(10)).await;
    let mut old = Lanes::new(0);
    old.open(&world).await;
    old.tag(&world, "/api/x").await;
    let mut newer = grant();
    (newer.call_key, newer.key_version) = (key(9).public(), 2);
    {
        let mut rows = world.ledger.0.lock().unwrap();
        rows.replaced.insert(1, (key(1).public(), Seconds(1_259_200)));
        rows.purchases.get_mut(&PURCHASE).unwrap().grant = newer;
    }
    // A call makes the sidecar read the row again.
    old.tag(&world, "/api/x").await;
    let mut lane = Lanes::under(&newer, key(9), Vec::new(), 2, LaneState::default());
    let mut last = None;
    for _ in 0..100 {
        let (call, mut pending) = lane.opening("/api/x", Flags::NONE);
        let got = world.call("/api/x", &call, &[], b"").await;
        if got.status == StatusCode::OK {
            lane.accept(&mut pending, &got);
            last = None;
            break;
        }
        last = Some(got);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(last.is_none(), "{last:?}");
    at(&world, 2_150_000);
    until(&world, |rows| rows.purchases[&PURCHASE].shown).await;
    assert_eq!(world.ledger.0.lock().unwrap().shown, [Lane(2)]);
    assert_eq!(sent(&world, "show"), 1, "nothing was refused first");
}

#[tokio::test]
async fn a_node_that_does_not_know_a_purchase_yet_makes_nobody_forget_it() {
    let world = World::new().await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    let (call, mut pending) = lane.tagged("/api/x", Flags::NONE);
    let first = world.call("/api/x", &call, &[], b"").await;
    lane.accept(&mut pending, &first);
    world.settle(&[lane.voucher()]).await;
    // From before the purchase; and from after it, at a time at which nobody can have swept it.
    for (height, clock) in [(1, 990_000), (200, 1_000_000)] {
        world.ledger.0.lock().unwrap().lagging = Some(Err(Absence { height: Height(height), clock: Seconds(clock) }));
        lane.sign(&world, "/api/x").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    world.ledger.0.lock().unwrap().lagging = None;
    let again = world.call("/api/x", &call, &[], b"").await;
    assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body));
    assert_eq!(world.reached(), 4, "a number that was used is not served again");
    world.settle(&[lane.voucher()]).await;
    at(&world, 2_000_000);
    until(&world, |rows| rows.claimed.get(&(PURCHASE, Lane(0))) == Some(&4)).await;
}

#[tokio::test]
async fn an_older_row_brings_no_replaced_key_back() {
    let world = World::new().await;
    let older = crate::world::view();
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    {
        let mut rows = world.ledger.0.lock().unwrap();
        rows.replaced.insert(1, (key(1).public(), Seconds(1_259_200)));
        let view = rows.purchases.get_mut(&PURCHASE).unwrap();
        (view.grant.call_key, view.grant.key_version, view.height) = (key(9).public(), 2, Height(101));
    }
    let mut refused = 0;
    for _ in 0..100 {
        let (call, _) = lane.signed("/api/x", Flags::NONE);
        let got = world.call("/api/x", &call, &[], b"").await;
        if got.status == StatusCode::OK {
            assert_eq!(refused, 0, "the replaced key is served again");
        } else {
            assert_eq!(got.kind(), ProblemKind::NeedChain);
            refused += 1;
            // From now on a node answers that lags by two blocks.
            world.ledger.0.lock().unwrap().lagging =
                Some(Ok(surety_proxy::ledger::PurchaseView { height: Height(99), ..older.clone() }));
            if refused == 1 {
                // A call makes the sidecar read the row again.
                let mut new = grant();
                (new.call_key, new.key_version) = (key(9).public(), 2);
                let mut other = Lanes::under(&new, key(9), Vec::new(), 2, LaneState::default());
                other.open(&world).await;
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            if refused > 3 {
                return;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the new key was never seen");
}

#[tokio::test]
async fn a_purchase_of_before_that_cannot_be_read_at_the_start_is_claimed_all_the_same() {
    let world = World::new().await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    world.settle(&[lane.voucher()]).await;
    world.ledger.0.lock().unwrap().failing = 3;
    let world = world.restart().await;
    at(&world, 2_000_000);
    until(&world, |rows| rows.claimed.get(&(PURCHASE, Lane(0))) == Some(&1)).await;
}
