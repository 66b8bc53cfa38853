//! Under whose authority a tag counts.

use hyper::StatusCode;
use surety_primitives::access::{Flags, GrantFlags, LaneState, ProblemKind, SubGrant, SubGrantTerms};
use surety_primitives::{Hash32, Lane, Seconds};

use crate::world::{Lanes, World, grant, key};

fn chain(max_calls: u64) -> Vec<SubGrant> {
    let terms = SubGrantTerms {
        parent: grant().hash(),
        delegate: key(2).public(),
        first_lane: Lane(1),
        last_lane: Lane(1),
        max_calls,
        valid_until: Seconds(1_900_000),
        rate: 0,
        scope: Hash32([0; 32]),
        flags: GrantFlags::MAC,
    };
    vec![terms.sign(&key(1))]
}

#[tokio::test]
async fn a_chain_that_comes_with_a_tag_replaces_no_authority() {
    let world = World::new().await;
    let mut lane = Lanes::of(key(2), chain(2), 1, LaneState::default());
    lane.open(&world).await;
    // The same key under a wider chain, whose budget the lane was not opened with.
    let (call, _) = lane.tagged("/api/x", Flags::NONE);
    let got = world.call("/api/x", &call, &chain(30), b"").await;
    assert_eq!((got.kind(), got.problem().need.as_deref()), (ProblemKind::NeedOpen, Some("open")));
    assert_eq!(world.reached(), 1);
    // Its own may come along.
    let (call, mut pending) = lane.tagged("/api/x", Flags::NONE);
    let got = world.call("/api/x", &call, &chain(2), b"").await;
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    lane.accept(&mut pending, &got);
    assert_eq!(lane.client.state().seq, 3);
}
