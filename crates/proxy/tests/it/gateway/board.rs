//! The ready board shows what the gateway counts, and nothing else.

use surety_proxy::gateway::Plugs;

use super::node::Node;
use super::records::lists;
use super::signing::{BAD, legacy, raw};
use super::world::World;
use crate::remote::Seller;

#[tokio::test]
async fn every_metric_of_the_board_is_counted() {
    let board = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../grafana/gateway.json")).unwrap();
    let board: serde_json::Value = serde_json::from_str(&board).unwrap();
    // What belongs to lists and services is counted where there are some.
    let seller = Seller::new(1).await;
    let services = vec![seller.service("orbit", &seller.caller())];
    let plugs = Plugs { lists: lists(), services, ..Plugs::default() };
    let world = World::plugged(vec![Node::start().await], |_| (), plugs).await;
    world.send_raw(&raw(&legacy(BAD))).await;
    let metrics = world.metrics().await;
    let mut shown = 0;
    for panel in board["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().unwrap() {
            let words =
                target["expr"].as_str().unwrap().split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
            for word in words.filter(|word| word.starts_with("gateway_")) {
                let name = word.trim_end_matches("_bucket").trim_end_matches("_total");
                assert!(metrics.contains(&format!("# TYPE {name} ")), "{word}\n{metrics}");
                shown += 1;
            }
        }
    }
    assert!(shown >= 10);
}
