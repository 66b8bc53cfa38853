//! Findings that are told a second time: on the same state and by the same policy only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use alloy_primitives::B256;
use serde_json::json;
use surety_primitives::Hash32;
use surety_proxy::gateway::verdict::Finding;
use surety_proxy::gateway::{Basis, Plugs};

use super::node::Node;
use super::policy::{Says, file};
use super::signing::{GOOD, legacy, raw};
use super::world::World;

/// A gateway whose checks see the block that the number says.
async fn world(policy: std::path::PathBuf, more: Option<Says>) -> (World, Arc<AtomicU8>) {
    let head = Arc::new(AtomicU8::new(1));
    let seen = Arc::clone(&head);
    let block = move || Some(B256::repeat_byte(seen.load(Ordering::SeqCst)));
    let basis = Some(Basis { engine: Hash32([9; 32]), block: Arc::new(block) });
    let checks = more.map(|says| Arc::new(says) as _).into_iter().collect();
    let plugs = Plugs { checks, basis, ..Plugs::default() };
    let world = World::plugged(vec![Node::start().await], |config| config.policy = Some(policy), plugs).await;
    (world, head)
}

impl World {
    async fn looks_after_a_screening(&self) -> usize {
        let before = self.deny.looks.load(Ordering::SeqCst);
        assert_eq!(self.call("surety_screen", json!([raw(&legacy(GOOD))])).await.json()["result"]["rule"], json!(""));
        self.deny.looks.load(Ordering::SeqCst) - before
    }
}

#[tokio::test]
async fn what_was_screened_is_not_looked_at_again_within_its_block_and_policy() {
    let path = file("");
    let (world, head) = world(path.clone(), None).await;
    assert_eq!((world.looks_after_a_screening().await, world.looks_after_a_screening().await), (1, 0));
    assert_eq!(world.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
    assert_eq!(world.deny.looks.load(Ordering::SeqCst), 1);
    assert_eq!(world.metric("gateway_cache_hits_total{cache=\"screens\"}").await.as_deref(), Some("2"));
    head.store(2, Ordering::SeqCst);
    assert_eq!(world.looks_after_a_screening().await, 1, "another block");
    std::fs::write(&path, "name = \"another\"\n").unwrap();
    world.gateway.reload().await.unwrap();
    assert_eq!(world.looks_after_a_screening().await, 1, "another policy");
    // The state moved under what was kept: it is found anew, and refused.
    world.deny.moved.store(true, Ordering::SeqCst);
    assert_ne!(world.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
    assert_eq!(world.sent().len(), 1);
}

#[tokio::test]
async fn a_check_that_came_to_no_end_is_asked_again() {
    let (world, _head) = world(file(""), Some(Says("unsure", Finding::unknown("unsure", "no_state")))).await;
    for looks in 1..=3 {
        world.call("surety_screen", json!([raw(&legacy(GOOD))])).await;
        assert_eq!(world.deny.looks.load(Ordering::SeqCst), looks);
    }
}
