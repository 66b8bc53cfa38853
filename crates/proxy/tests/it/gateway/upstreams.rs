//! Nodes that fail: reads find another one, and a submission is neither lost nor doubled.

use std::time::{Duration, Instant};

use serde_json::json;
use surety_proxy::gateway::code;

use super::node::Fault;
use super::signing::{GOOD, legacy, raw};
use super::world::World;

fn cuts() -> Fault {
    Fault { cuts: true, ..Fault::default() }
}

#[tokio::test]
async fn a_read_is_asked_of_the_next_node_when_one_does_not_answer() {
    let world = World::with(2, |_| ()).await;
    for fault in [
        cuts(),
        Fault { says: Some(b"<html>".to_vec()), ..Fault::default() },
        Fault { says: Some(br#"{"jsonrpc":"2.0","id":99999,"result":"0x1"}"#.to_vec()), ..Fault::default() },
        Fault { says: Some(Vec::new()), ..Fault::default() },
    ] {
        world.node().fail(fault.clone());
        let got = world.call("eth_gasPrice", json!([])).await;
        assert_eq!(got.json()["result"], "0x1", "{fault:?}");
    }
    assert!(world.nodes[1].count("eth_gasPrice") == 4);
}

#[tokio::test]
async fn an_error_says_that_no_node_answers() {
    let world = World::with(2, |_| ()).await;
    world.nodes.iter().for_each(|node| node.fail(cuts()));
    let got = world.call("eth_gasPrice", json!([])).await;
    assert_eq!((got.status.as_u16(), got.code()), (200, i64::from(code::UPSTREAM)));
    let got = world.send_raw(&raw(&legacy(GOOD))).await;
    assert_eq!(got.code(), i64::from(code::UPSTREAM));
}

#[tokio::test]
async fn a_node_that_stalls_holds_nobody_up_for_ever() {
    let world = World::with(1, |config| {
        config.limits.read_ms = 200;
        config.limits.send_ms = 200;
    })
    .await;
    world.node().fail(Fault { slow: Duration::from_secs(20), ..Fault::default() });
    let began = Instant::now();
    assert_eq!(world.call("eth_gasPrice", json!([])).await.code(), i64::from(code::UPSTREAM));
    assert_eq!(world.send_raw(&raw(&legacy(GOOD))).await.code(), i64::from(code::UPSTREAM));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_slow_read_is_hedged_and_a_send_never() {
    let world = World::with(2, |config| config.limits.hedge_ms = 50).await;
    world.node().fail(Fault { slow: Duration::from_millis(600), ..Fault::default() });
    let began = Instant::now();
    assert_eq!(world.call("eth_gasPrice", json!([])).await.code(), 0);
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    assert_eq!(world.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
    assert_eq!(world.nodes[1].count("eth_sendRawTransaction"), 0);
}

#[tokio::test]
async fn a_signed_transaction_is_replayed_as_the_same_bytes_when_a_node_did_not_answer() {
    let world = World::with(2, |_| ()).await;
    world.nodes[0].fail(Fault { cuts_sends: true, ..Fault::default() });
    world.nodes[1].fail(Fault { knows: true, ..Fault::default() });
    let good = legacy(GOOD);
    let got = world.send_raw(&raw(&good)).await;
    // The second node has it from the first one: that is a success.
    assert_eq!(got.json()["result"], good.tx_hash().to_string());
    for node in &world.nodes {
        let seen = node.seen();
        assert_eq!((seen.len(), &seen[0].params), (1, &json!([raw(&good)])));
    }
}

#[tokio::test]
async fn already_known_is_an_error_where_nothing_was_replayed() {
    let world = World::start().await;
    world.node().fail(Fault { knows: true, ..Fault::default() });
    let got = world.send_raw(&raw(&legacy(GOOD))).await;
    assert_eq!(got.json()["error"]["message"], "already known");
    assert_eq!(world.sent().len(), 1);
}

#[tokio::test]
async fn what_is_no_single_transaction_is_never_sent_twice() {
    let world = World::with(2, |_| ()).await;
    world.nodes[0].fail(Fault { cuts_sends: true, ..Fault::default() });
    let got = world.call("eth_sendBundle", json!([{"txs": [raw(&legacy(GOOD))], "blockNumber": "0x1"}])).await;
    assert_eq!(got.code(), i64::from(code::UPSTREAM));
    assert_eq!((world.nodes[0].seen().len(), world.nodes[1].seen().len()), (1, 0));
}

#[tokio::test]
async fn a_node_of_another_chain_is_not_used() {
    let world = World::with(2, |config| config.limits.probe_ms = 50).await;
    world.node().fail(Fault { chain: Some(5), ..Fault::default() });
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(world.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
    assert_eq!(world.call("eth_gasPrice", json!([])).await.code(), 0);
    assert_eq!((world.nodes[0].seen().len(), world.nodes[1].seen().len()), (0, 2));
    world.nodes[1].fail(Fault { chain: Some(5), ..Fault::default() });
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(world.send_raw(&raw(&legacy(GOOD))).await.code(), i64::from(code::UPSTREAM));
    assert_eq!(world.send(hyper::Method::GET, "/health", &[], Default::default()).await.status, 503);
}

#[tokio::test]
async fn a_reply_that_is_too_long_is_an_error() {
    let world = World::with(1, |config| config.limits.reply_bytes = 1_000).await;
    world.node().fail(Fault { says: Some(vec![b' '; 100_000]), ..Fault::default() });
    assert_eq!(world.call("eth_gasPrice", json!([])).await.code(), i64::from(code::UPSTREAM));
}
