//! How a held transaction leaves when the node does not take it: never lost, never unjudged, never doubled.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::Method;
use serde_json::json;
use surety_proxy::gateway::code;

use super::node::Fault;
use super::policy::{HOLDS, events, world};
use super::signing::{GOOD, legacy, raw};
use super::world::World;

/// A gateway that holds one transaction, which its sender lets go before a node that fails so.
async fn let_go(fault: Fault) -> (World, i64) {
    let world = world(HOLDS).await;
    let (id, token) = world.hold("ana", &raw(&legacy(GOOD))).await;
    world.node().fail(fault);
    let got = world.as_client("ana", "surety_release", json!([id, token])).await;
    (world, got.code())
}

impl World {
    /// Waits until the quarantine is empty, or not.
    async fn until_held(&self, count: usize) {
        for _ in 0..300 {
            if self.held().await == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{} are held, not {count}", self.held().await);
    }

    async fn held(&self) -> usize {
        self.admin(Method::GET, "/holds").await.json().as_array().unwrap().len()
    }
}

#[tokio::test]
async fn what_a_node_does_not_take_now_is_sent_again_as_the_same_bytes_until_it_does() {
    for passing in ["txpool is full", "insufficient funds for gas * price + value"] {
        let (world, code) = let_go(Fault { refuses: Some(passing), ..Fault::default() }).await;
        assert_eq!((code, world.held().await), (i64::from(code::UPSTREAM), 1), "{passing}");
        world.node().fail(Fault::default());
        world.until_held(0).await;
        let sent = world.sent();
        assert!(sent.len() >= 2 && sent.iter().all(|sent| *sent == raw(&legacy(GOOD))), "{sent:?}");
        let events = events(&world.data, 3).await;
        assert_eq!(events, ["held", "releasing", "released"]);
    }
}

#[tokio::test]
async fn an_answer_that_is_none_loses_nothing() {
    for fault in [
        Fault { says: Some(b"<html>502 Bad Gateway</html>".to_vec()), ..Fault::default() },
        Fault { cuts: true, ..Fault::default() },
    ] {
        let (world, code) = let_go(fault.clone()).await;
        assert_eq!((code, world.held().await), (i64::from(code::UPSTREAM), 1), "{fault:?}");
        world.node().fail(Fault::default());
        world.until_held(0).await;
    }
}

#[tokio::test]
async fn what_no_node_will_ever_take_leaves_with_the_reason() {
    let (world, code) =
        let_go(Fault { refuses: Some("nonce too low: next nonce 5, tx nonce 0"), ..Fault::default() }).await;
    assert_eq!((code, world.held().await), (i64::from(code::POLICY), 0));
    assert_eq!(events(&world.data, 2).await, ["held", "dropped"]);
    assert_eq!(world.sent().len(), 1);
}

#[tokio::test]
async fn what_a_node_has_already_was_released() {
    let (world, code) = let_go(Fault { knows: true, ..Fault::default() }).await;
    assert_eq!((code, world.held().await), (0, 0));
    assert_eq!(events(&world.data, 2).await, ["held", "released"]);
}

#[tokio::test]
async fn every_sending_of_a_held_transaction_is_judged_again() {
    let (world, code) = let_go(Fault { refuses: Some("txpool is full"), ..Fault::default() }).await;
    assert_eq!(code, i64::from(code::UPSTREAM));
    let sent = world.sent().len();
    world.deny.refuses_all.store(true, Ordering::SeqCst);
    world.node().fail(Fault::default());
    world.until_held(0).await;
    assert_eq!(world.sent().len(), sent, "it was sent without a judgement");
    assert_eq!(events(&world.data, 3).await, ["held", "releasing", "dropped"]);
}

#[tokio::test]
async fn what_a_node_took_without_a_word_is_not_sent_again() {
    let (world, code) = let_go(Fault { takes_and_cuts: true, ..Fault::default() }).await;
    assert_eq!(code, i64::from(code::UPSTREAM));
    let sent = world.sent().len();
    world.deny.refuses_all.store(true, Ordering::SeqCst);
    world.node().fail(Fault::default());
    world.until_held(0).await;
    assert_eq!(world.sent().len(), sent);
    assert_eq!(events(&world.data, 3).await, ["held", "releasing", "released"], "what is done cannot be refused");
}
