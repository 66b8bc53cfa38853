//! What is on disk when somebody is told of it, and what stands in it.

use std::sync::Arc;

use serde_json::{Value, json};
use surety_primitives::Hash32;
use surety_proxy::gateway::{List, Plugs};

use super::node::Node;
use super::policy::{HOLDS, file, records};
use super::signing::{GOOD, legacy, raw};
use super::world::World;

pub(crate) fn lists() -> Vec<List> {
    let list = |name: &str, n: u8| List {
        name: name.to_owned(),
        version: "2026-02-03".to_owned(),
        root: Hash32([n; 32]),
        as_of_s: 1_000_000,
    };
    vec![list("names", 1), list("addresses", 2)]
}

async fn listed(policy: &str) -> World {
    let path = file(policy);
    let change = |config: &mut surety_proxy::gateway::GatewayConfig| config.policy = Some(path);
    World::plugged(vec![Node::start().await], change, Plugs { lists: lists(), ..Plugs::default() }).await
}

fn last(data: &std::path::Path) -> Value {
    records(data).pop().unwrap()
}

#[tokio::test]
async fn whoever_is_told_of_a_sending_a_hold_or_a_release_finds_it_on_disk() {
    let sends = listed("").await;
    assert_eq!(sends.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
    assert_eq!(records(&sends.data)[0]["event"], "submitted");
    let holds = super::policy::world(HOLDS).await;
    let (id, token) = holds.hold("ana", &raw(&legacy(GOOD))).await;
    assert_eq!(last(&holds.data)["event"], "held");
    assert_eq!(holds.as_client("ana", "surety_release", json!([id, token])).await.code(), 0);
    let released = last(&holds.data);
    assert_eq!((&released["event"], &released["released_by"]), (&json!("released"), &json!("token")));
    assert_eq!(released["overridden"], json!(["waits"]), "{released}");
}

#[tokio::test]
async fn a_decision_names_the_lists_that_it_rests_on_and_their_age_is_shown() {
    let world = listed("").await;
    world.send_raw(&raw(&legacy(GOOD))).await;
    let roots: Vec<_> =
        lists().iter().map(|list| json!({"name": list.name, "version": list.version, "root": list.root})).collect();
    assert_eq!(records(&world.data)[0]["lists"], json!(roots));
    let age: u64 = world.metric("gateway_list_age_seconds{list=\"names\"}").await.unwrap().parse().unwrap();
    assert!(age > 1_000_000_000, "{age}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_that_wait_for_the_disk_share_its_work() {
    let world = Arc::new(World::start().await);
    let began = std::time::Instant::now();
    let sends: Vec<_> = (0..200_u64)
        .map(|nonce| {
            let world = Arc::clone(&world);
            let raw =
                raw(&super::signing::legacy_with(GOOD.into(), Some(super::node::CHAIN), nonce, Default::default()));
            tokio::spawn(async move { world.send_raw(&raw).await.code() })
        })
        .collect();
    for sent in sends {
        assert_eq!(sent.await.unwrap(), 0);
    }
    // One after the other, each with the disk's few milliseconds, they would take longer than all together.
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(records(&world.data).iter().filter(|record| record["event"] == "submitted").count(), 200);
}
