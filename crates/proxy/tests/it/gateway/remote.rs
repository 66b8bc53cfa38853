//! Remote services at work in a gateway: real sidecars, asked and paid for what the policy shows them.

use std::time::Duration;

use alloy_primitives::hex;
use serde_json::json;
use surety_proxy::gateway::{Gateway, GatewayConfig, Plugs, code};

use super::node::Node;
use super::policy::{file, records};
use super::signing::{BAD, GOOD, account, legacy, legacy_with, raw};
use super::world::{World, config};
use crate::remote::{LISTED, Seller, terms};

async fn world(seller: &Seller, policy: &str) -> World {
    let path = file(policy);
    let change = |config: &mut GatewayConfig| config.policy = Some(path);
    let services = vec![seller.service("orbit", &seller.delegate())];
    World::plugged(vec![Node::start().await], change, Plugs { services, ..Plugs::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_of_the_policy_is_asked_heard_recorded_and_paid() {
    let seller = Seller::new(40).await;
    let world = world(&seller, &terms("orbit", "deadline_ms = 5000")).await;
    assert_eq!(world.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
    assert_eq!(seller.api.seen(), [format!("/api/address/0x{}?chain_id=31337 ", hex::encode(GOOD))]);
    seller.api.says(LISTED);
    let got =
        world.send_raw(&raw(&legacy_with(GOOD.into(), Some(super::node::CHAIN), 1, Default::default()))).await.json();
    let data = &got["error"]["data"];
    assert_eq!((&data["verdict"], &data["rule"]), (&json!("quarantine"), &json!("remote.flagged")), "{got}");
    assert_eq!(world.sent().len(), 1);
    let record = records(&world.data).pop().unwrap();
    assert!(record["findings"].as_array().unwrap().iter().any(|finding| finding["check"] == "remote"), "{record}");
    let calls = "gateway_remote_calls_total{service=\"orbit\",outcome=\"answered\"}";
    assert_eq!(world.metric(calls).await.as_deref(), Some("2"), "{}", world.metrics().await);
    // The second call acknowledged the first; the end acknowledges the second.
    let World { gateway, .. } = world;
    gateway.stop().await;
    assert!(seller.world.metric("calls_admitted").await >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_here_and_who_sends_it_is_told_to_nobody() {
    let seller = Seller::new(40).await;
    let world = world(&seller, &terms("orbit", "deadline_ms = 5000")).await;
    assert_eq!(world.send_raw(&raw(&legacy(BAD))).await.code(), i64::from(code::POLICY));
    // A transfer from the sender to a stranger: `transferFrom(address,address,uint256)`.
    let sender = alloy_primitives::Address::from(account().address().0);
    let words = [sender.into_word(), alloy_primitives::Address::repeat_byte(0x77).into_word()].concat();
    let input = [vec![0x23, 0xb8, 0x72, 0xdd], words, vec![0; 32]].concat();
    let call = legacy_with(GOOD.into(), Some(super::node::CHAIN), 0, input.into());
    assert_eq!(world.send_raw(&raw(&call)).await.code(), 0);
    let seen = seller.api.seen();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(
        seen.iter().all(|seen| !seen.contains(&hex::encode(sender)) && !seen.contains(&hex::encode(BAD))),
        "{seen:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_does_not_answer_holds_nobody_up_and_follows_the_policy() {
    let seller = Seller::new(40).await;
    let policy = format!("[checks.remote]\non_timeout = \"block\"\n{}", terms("orbit", "deadline_ms = 100"));
    let world = world(&seller, &policy).await;
    seller.api.thinks(3_000);
    let began = std::time::Instant::now();
    let got = world.send_raw(&raw(&legacy(GOOD))).await.json();
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    assert_eq!(got["error"]["data"]["rule"], "check:remote", "{got}");
    world.nothing_reached();
}

#[tokio::test]
async fn a_policy_that_names_a_service_without_a_grant_is_refused() {
    let (data, node) = (tempfile::tempdir().unwrap(), Node::start().await);
    let mut wrong = config(&[node], data.path());
    let path = file(&terms("orbit", ""));
    wrong.policy = Some(path);
    let error = Gateway::start(wrong, Plugs::default()).await.err().unwrap().to_string();
    assert!(error.contains("orbit") && error.contains("no grant"), "{error}");
    // Nor does it come into force later.
    let path = file("");
    let change = path.clone();
    let world = World::with(1, |config| config.policy = Some(change)).await;
    std::fs::write(&path, terms("orbit", "")).unwrap();
    assert!(world.gateway.reload().await.is_err());
    assert_eq!(world.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
}
