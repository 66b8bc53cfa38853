//! Reads: passed on as they are meant, answered as the node answers, kept where they cannot change.

use std::time::Duration;

use serde_json::json;
use surety_proxy::gateway::code;

use super::world::World;

#[tokio::test]
async fn a_read_is_answered_as_the_node_answers() {
    let world = World::start().await;
    let got = world.call("eth_getTransactionReceipt", json!(["0x01"])).await;
    assert_eq!(got.text, "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}");
    let got = world.call("eth_call", json!([{"data": "0xdead"}, "latest"])).await;
    assert_eq!((got.code(), got.json()["error"]["data"].as_str()), (3, Some("0x08c379a0")));
    assert_eq!(got.status, 200);
    // A form of a dry run that only the node knows passes without advice.
    let got = world.call("eth_call", json!([{"to": null, "xyz": 1}, "latest", {"0x01": {"code": "0x00"}}])).await;
    assert_eq!((got.code(), got.advice()), (0, None));
}

#[tokio::test]
async fn what_cannot_change_is_asked_once() {
    let world = World::with(1, |config| {
        config.cache.final_depth = Some(10);
        config.limits.probe_ms = 50;
    })
    .await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let ask = async |block: &str| world.call("eth_getBalance", json!(["0x01", block])).await.code();
    for _ in 0..3 {
        // The head is at 0x64: 0x5a is the last final block.
        for block in ["0x5a", "0x5b", "latest"] {
            assert_eq!(ask(block).await, 0);
        }
    }
    assert_eq!(world.node().count("eth_getBalance"), 1 + 3 + 3);
    assert_eq!(world.metric("gateway_cache_hits_total{cache=\"reads\"}").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn many_reads_of_a_batch_keep_their_order() {
    let world = World::start().await;
    let one = |id: usize| json!({"id": id, "method": "eth_getCode", "params": [format!("{id:#x}")]});
    let batch: Vec<_> = (0..100).map(one).collect();
    let got = world.post(json!(batch).to_string()).await.json();
    let ids: Vec<u64> = got.as_array().unwrap().iter().map(|reply| reply["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_batch_of_long_replies_is_cut_with_an_error_for_each() {
    let world = World::with(1, |config| config.limits.reply_bytes = 200).await;
    let one = |id: usize| json!({"id": id, "method": "eth_gasPrice"});
    let got = world.post(json!((0..20).map(one).collect::<Vec<_>>()).to_string()).await.json();
    let replies = got.as_array().unwrap();
    assert_eq!(replies.len(), 20);
    assert_eq!(replies[0]["result"], "0x1");
    assert_eq!(replies[19]["error"]["code"], code::LIMIT);
}
