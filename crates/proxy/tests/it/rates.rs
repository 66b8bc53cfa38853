//! The rate of a sub-grant holds for its holder, whatever the lane and however often it is opened.

use hyper::StatusCode;
use surety_primitives::access::{
    Call, Flags, GrantFlags, Head, LaneState, ProblemKind, SignedCall, SubGrant, SubGrantTerms,
};
use surety_primitives::{Hash32, Lane, Seconds};

use crate::world::{Lanes, PURCHASE, World, deadline, ephemeral, grant, key, request};

fn limited() -> Vec<SubGrant> {
    let terms = SubGrantTerms {
        parent: grant().hash(),
        delegate: key(2).public(),
        first_lane: Lane(0),
        last_lane: Lane(3),
        max_calls: 40,
        valid_until: Seconds(1_900_000),
        rate: 1,
        scope: Hash32([0; 32]),
        flags: GrantFlags::MAC,
    };
    vec![terms.sign(&key(1))]
}

fn call(lane: u16, seq: u64, opens: bool) -> Call {
    let head = Head { flags: Flags::NONE, purchase: PURCHASE, lane: Lane(lane), seq, cum: 0, deadline: deadline() };
    let ephemeral = opens.then(|| ephemeral().public());
    Call::Signed(SignedCall::sign(&key(2), head, ephemeral, &request("/api/x", b"")).unwrap())
}

async fn kinds(world: &World, calls: &[Call]) -> (usize, usize) {
    let (mut served, mut refused) = (0, 0);
    for call in calls {
        let got = world.call("/api/x", call, &limited(), b"").await;
        if got.status == StatusCode::OK {
            served += 1;
        } else {
            assert_eq!(got.kind(), ProblemKind::RateLimited, "{got:?}");
            refused += 1;
        }
    }
    (served, refused)
}

#[tokio::test]
async fn opening_again_and_opening_other_lanes_refills_nothing() {
    let world = World::new().await;
    let began = std::time::Instant::now();
    let calls = [call(0, 1, true), call(0, 2, true), call(0, 3, true), call(1, 1, true), call(2, 1, true)];
    let (served, refused) = kinds(&world, &calls).await;
    let most = 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(served <= most && refused >= 5 - most, "{served} served");
}

#[tokio::test]
async fn a_delegate_in_a_lane_that_the_root_key_opened_keeps_its_rate() {
    let world = World::new().await;
    Lanes::resume(0, LaneState::default()).open(&world).await;
    let began = std::time::Instant::now();
    let (served, refused) = kinds(&world, &[call(0, 2, false), call(0, 3, false), call(0, 4, false)]).await;
    let most = 1 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(served <= most && refused >= 3 - most, "{served} served");
}
