//! The phases of a submission: what is assessed, when it is forwarded, and what a wallet is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::BoxFuture;
use serde_json::{Value, json};
use surety_proxy::gateway::verdict::{Failure, Finding, Read};
use surety_proxy::gateway::{Check, Gateway, Subject, code};

use super::node::Node;
use super::signing::{BAD, GOOD, legacy, legacy_with, raw, type2};
use super::world::{World, config};

#[tokio::test]
async fn blocked_never_reaches_node() {
    let world = World::start().await;
    let bad = legacy(BAD);
    let got = world.send_raw(&raw(&bad)).await;
    assert_eq!(got.status, 200);
    let error = &got.json()["error"];
    assert_eq!(error["code"], code::POLICY);
    assert!(error["message"].as_str().unwrap().contains("the recipient is listed"), "{error}");
    let data = &error["data"];
    assert_eq!((&data["verdict"], &data["rule"]), (&json!("block"), &json!("deny.listed")));
    assert_eq!(data["tx_hash"], bad.tx_hash().to_string());
    let check = &data["checks"][0];
    assert_eq!((&check["name"], &check["outcome"]), (&json!("deny"), &json!("unsafe")));
    assert_eq!(check["evidence"], json!([{"kind": "list", "key": BAD}]));
    world.nothing_reached();
    assert!(world.metrics().await.contains("gateway_requests_total{class=\"submission\",verdict=\"block\"} 1"));
}

#[tokio::test]
async fn bundle_second_transaction_is_screened() {
    let world = World::start().await;
    let (good, bad) = (raw(&legacy(GOOD)), raw(&type2(BAD)));
    let bundle = |txs: &[&String]| json!([{"txs": txs, "blockNumber": "0x9"}]);
    assert_eq!(world.call("eth_sendBundle", bundle(&[&good, &bad])).await.code(), i64::from(code::POLICY));
    world.nothing_reached();
    assert_eq!(world.deny.before.load(Ordering::SeqCst), 1);
    assert_eq!(world.call("eth_sendBundle", bundle(&[&good, &good])).await.code(), 0);
    let many = vec![good; 101];
    let got = world.call("eth_sendBundle", json!([{"txs": many, "blockNumber": "0x9"}])).await;
    assert_eq!(got.code(), i64::from(code::PARAMS));
    let mut nested = json!({"body": [{"tx": bad}]});
    for _ in 0..5 {
        nested = json!({"body": [{"bundle": nested}]});
    }
    assert_eq!(world.call("mev_sendBundle", json!([nested])).await.code(), i64::from(code::PARAMS));
    assert_eq!(world.node().seen().len(), 1);
}

#[tokio::test]
async fn later_calls_of_a_request_are_judged_on_the_state_after_the_earlier_ones() {
    let world = World::start().await;
    let calls = |calls: Value| json!([{"version": "1.0", "chainId": "0x7a69", "from": GOOD, "calls": calls}]);
    let one = json!({"to": GOOD, "data": "0x095ea7b3"});
    assert_eq!(world.call("wallet_sendCalls", calls(json!([one, one, one]))).await.code(), 0);
    assert_eq!(world.deny.before.load(Ordering::SeqCst), 2);
    // What a batch sent before is part of it, too: of the same account, and only of it.
    let request = |id: u64, calls: Value| json!({"id": id, "method": "wallet_sendCalls", "params": calls});
    let batch = json!([request(1, calls(json!([one, one]))), request(2, calls(json!([one, one])))]);
    world.post(batch.to_string()).await;
    assert_eq!(world.deny.before.load(Ordering::SeqCst), 3);
    let other = json!([{"version": "1.0", "chainId": "0x7a69", "from": BAD, "calls": [one]}]);
    let batch = json!([request(1, calls(json!([one, one, one, one, one]))), request(2, other)]);
    world.post(batch.to_string()).await;
    assert_eq!(world.deny.before.load(Ordering::SeqCst), 4);
    // Without an account they run one after the other all the same.
    let nobody = json!([{"version": "1.0", "chainId": "0x7a69", "calls": [one, one, one, one, one, one]}]);
    world.call("wallet_sendCalls", nobody).await;
    assert_eq!(world.deny.before.load(Ordering::SeqCst), 5);
}

#[tokio::test]
async fn state_change_between_assess_and_forward() {
    let world = World::start().await;
    world.deny.moved.store(true, Ordering::SeqCst);
    let raw = raw(&legacy(GOOD));
    // The first look, before the change, would have let it pass: the check itself sees the change only when asked again.
    let changed = Arc::new(Changes::default());
    let nodes = vec![Node::start().await];
    let late = World::before(nodes, |_| (), vec![Arc::clone(&changed) as Arc<dyn Check>]).await;
    assert_eq!(late.send_raw(&raw).await.code(), i64::from(code::POLICY));
    assert_eq!(changed.looks.load(Ordering::SeqCst), 2);
    late.nothing_reached();
    assert!(late.metrics().await.contains("gateway_reassessed_total 1"));
    assert_eq!(world.send_raw(&raw).await.code(), i64::from(code::POLICY));
}

/// Passes at first, with a read that no longer holds, and refuses when it looks again.
#[derive(Default)]
struct Changes {
    looks: std::sync::atomic::AtomicUsize,
}

impl Check for Changes {
    fn name(&self) -> &str {
        "changes"
    }

    fn assess<'a>(&'a self, _: &'a Subject, _: &'a [Arc<Subject>]) -> BoxFuture<'a, Finding> {
        let is_first = self.looks.fetch_add(1, Ordering::SeqCst) == 0;
        let reads = vec![Read { address: BAD, slot: Default::default(), value: Default::default() }];
        Box::pin(async move {
            if is_first { Finding { reads, ..Finding::passed("changes") } } else { Finding::failed("changes", "moved") }
        })
    }

    fn still_holds<'a>(&'a self, _: &'a Finding) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }

    fn failure(&self) -> Failure {
        Failure { deadline_ms: 5_000, ..Failure::SANCTIONS }
    }
}

#[tokio::test]
async fn a_verdict_on_trial_or_in_doubt_is_shown_beside_the_answer() {
    let nodes = vec![Node::start().await];
    let unsure = World::before(nodes, |_| (), vec![Arc::new(Unsure)]).await;
    let got = unsure.send_raw(&raw(&legacy(GOOD))).await;
    assert_eq!((got.code(), got.advice()), (0, Some("warn; rule=check:unsure")));
    assert_eq!(unsure.sent().len(), 1);
}

struct Unsure;

impl Check for Unsure {
    fn name(&self) -> &str {
        "unsure"
    }

    fn assess<'a>(&'a self, _: &'a Subject, _: &'a [Arc<Subject>]) -> BoxFuture<'a, Finding> {
        Box::pin(std::future::ready(Finding::unknown("unsure", "list_missing")))
    }

    fn still_holds<'a>(&'a self, _: &'a Finding) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(true))
    }

    fn failure(&self) -> Failure {
        Failure::LOCAL
    }
}

#[tokio::test]
async fn what_was_said_of_a_transaction_can_be_asked_by_who_sent_it() {
    let world = World::with(1, |config| config.client_header = Some("x-client".to_owned())).await;
    let bad = legacy(BAD);
    assert_eq!(world.send_raw(&raw(&bad)).await.code(), i64::from(code::POLICY));
    let hash = bad.tx_hash().to_string();
    let got = world.call("surety_verdict", json!([hash])).await.json();
    assert_eq!(got["result"]["rule"], "deny.listed");
    let text = json!({"id": 1, "method": "surety_verdict", "params": [hash]}).to_string();
    let other = world.send(hyper::Method::POST, "/", &[("x-client", "bob")], text.into()).await.json();
    assert!(other["result"].is_null() && other.get("error").is_none(), "{other}");
    for params in [json!([]), json!(["0x12"]), json!([1])] {
        assert_eq!(world.call("surety_verdict", params).await.code(), i64::from(code::PARAMS));
    }
}

#[tokio::test]
async fn a_transaction_can_be_screened_without_being_sent() {
    let world = World::start().await;
    let got = world.call("surety_screen", json!([raw(&legacy(BAD))])).await.json();
    assert_eq!((&got["result"]["verdict"], &got["result"]["rule"]), (&json!("block"), &json!("deny.listed")));
    let got = world.call("surety_screen", json!([{"to": BAD, "value": "0x1"}])).await.json();
    assert_eq!(got["result"]["verdict"], "block");
    let got = world.call("surety_screen", json!([raw(&legacy(GOOD))])).await.json();
    assert_eq!(got["result"]["verdict"], "allow");
    for params in [json!([]), json!(["0x"]), json!([{"to": BAD, "input": "0x00", "data": "0x01"}]), json!([{"x": 1}])] {
        assert_eq!(world.call("surety_screen", params).await.code(), i64::from(code::PARAMS));
    }
    world.nothing_reached();
}

#[tokio::test]
async fn one_client_has_so_many_requests_a_second() {
    let world = World::with(1, |config| {
        config.limits.requests_per_second = 5;
        config.client_header = Some("x-client".to_owned());
    })
    .await;
    let one = json!({"id": 1, "method": "eth_gasPrice"});
    let batch = json!(vec![one; 20]).to_string();
    let codes = async |client: &'static str| -> Vec<i64> {
        let got = world.send(hyper::Method::POST, "/", &[("x-client", client)], batch.clone().into()).await.json();
        got.as_array().unwrap().iter().map(|reply| reply["error"]["code"].as_i64().unwrap_or(0)).collect()
    };
    let first = codes("ana").await;
    let refused = first.iter().filter(|found| **found == i64::from(code::LIMIT)).count();
    assert!((13..=15).contains(&refused), "{first:?}");
    assert_eq!(codes("bob").await[..5], [0; 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_admitted_is_forwarded_though_its_client_went_away_and_the_gateway_stops() {
    let world = World::start().await;
    world.node().fail(super::node::Fault { slow: std::time::Duration::from_millis(400), ..Default::default() });
    let body = json!({"id": 1, "method": "eth_sendRawTransaction", "params": [raw(&legacy(GOOD))]}).to_string();
    let text = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut stream = tokio::net::TcpStream::connect(world.gateway.address()).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, text.as_bytes()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(150)).await;
    drop(stream);
    let (node, World { gateway, .. }) = (world.node().clone(), world);
    gateway.stop().await;
    assert_eq!(node.count("eth_sendRawTransaction"), 1);
}

#[tokio::test]
async fn two_checks_of_one_name_and_nodes_of_no_chain_are_refused_at_the_start() {
    let (node, data) = (Node::start().await, tempfile::tempdir().unwrap());
    let nodes = [node];
    let twice: Vec<Arc<dyn Check>> = vec![Arc::new(Unsure), Arc::new(Unsure)];
    assert!(Gateway::start(config(&nodes, data.path()), twice).await.is_err());
    let mut asks = config(&nodes, data.path());
    asks.chain_id = None;
    let gateway = Gateway::start(asks, Vec::new()).await.unwrap();
    assert_eq!(gateway.chain_id(), super::node::CHAIN);
    gateway.stop().await;
}

#[tokio::test]
async fn later_transactions_of_a_batch_see_only_what_their_sender_sent() {
    let world = World::start().await;
    let first = raw(&legacy(BAD));
    let second = raw(&legacy_with(GOOD.into(), Some(super::node::CHAIN), 1, Default::default()));
    let one = |raw: &str| json!({"id": 1, "method": "eth_sendRawTransaction", "params": [raw]});
    world.post(json!([one(&first), one(&second)]).to_string()).await;
    // The first one was blocked: nothing came before the second.
    assert_eq!(world.deny.before.load(Ordering::SeqCst), 0);
    assert_eq!(world.sent(), [second]);
}
