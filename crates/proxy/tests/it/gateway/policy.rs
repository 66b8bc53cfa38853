//! The policy at work: what is held, how it leaves, and what is recorded.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::Method;
use serde_json::{Value, json};
use surety_proxy::gateway::audit;
use surety_proxy::gateway::verdict::{Failure, Finding, SANCTIONS, Verdict};
use surety_proxy::gateway::{Check, Gateway, Subject, code};

use super::node::{CHAIN, Fault, Node};
use super::signing::{BAD, GOOD, legacy, legacy_with, raw};
use super::world::{Got, World, config};

pub(crate) const HOLDS: &str = r#"
name = "holds"
[[rule]]
id = "waits"
when = "has(tx.to) && tx.to in ['0x6060606060606060606060606060606060606060']"
then = "quarantine"
release = { token = true, admin = true }
message = "everything to this address waits"
"#;

pub(crate) async fn world(policy: &str) -> World {
    let path = file(policy);
    World::with(1, |config| {
        config.policy = Some(path);
        config.client_header = Some("x-client".to_owned());
    })
    .await
}

pub(crate) fn file(policy: &str) -> std::path::PathBuf {
    // The folder outlives the test's gateway: the system clears it.
    let path = tempfile::tempdir().unwrap().keep().join("policy.toml");
    std::fs::write(&path, policy).unwrap();
    path
}

impl World {
    pub(crate) async fn as_client(&self, client: &str, method: &str, params: Value) -> Got {
        let text = json!({"id": 1, "method": method, "params": params}).to_string();
        self.send(Method::POST, "/", &[("x-client", client)], text.into()).await
    }

    pub(crate) async fn hold(&self, client: &str, raw: &str) -> (String, String) {
        let got = self.as_client(client, "eth_sendRawTransaction", json!([raw])).await.json();
        let data = &got["error"]["data"];
        assert_eq!((&got["error"]["code"], &data["verdict"]), (&json!(code::POLICY), &json!("quarantine")), "{got}");
        let text = |key: &str| data[key].as_str().unwrap_or_else(|| panic!("{key}: {got}")).to_owned();
        (text("hold_id"), text("override_token"))
    }
}

pub(crate) fn records(data: &Path) -> Vec<Value> {
    let mut all = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(data.join("audit")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        all.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["record"].clone()));
    }
    all
}

/// The events that were recorded, once they are on disk.
pub(crate) async fn events(data: &Path, count: usize) -> Vec<String> {
    for _ in 0..200 {
        if records(data).len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let all = records(data);
    all.iter().map(|record| record["event"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn quarantine_releases_once() {
    let world = world(HOLDS).await;
    let good = raw(&legacy(GOOD));
    let (id, token) = world.hold("ana", &good).await;
    world.nothing_reached();
    // The same again is the same hold.
    assert_eq!(world.hold("ana", &good).await.0, id);
    let release = || world.as_client("ana", "surety_release", json!([id, token]));
    let (one, other) = tokio::join!(release(), release());
    let mut codes = [one.code(), other.code()];
    codes.sort_unstable();
    assert_eq!(codes, [i64::from(code::PARAMS), 0], "{one:?} {other:?}");
    assert_eq!(world.sent(), [good]);
    assert_eq!(release().await.code(), i64::from(code::PARAMS));
    assert_eq!(world.sent().len(), 1);
    let events = events(&world.data, 3).await;
    assert_eq!(events, ["held", "held", "released"]);
    assert!(audit::verify(&world.data.join("audit")).is_ok());
    let metrics = world.metrics().await;
    assert!(metrics.contains("gateway_held 0") && metrics.contains("gateway_policy_info{hash="), "{metrics}");
}

#[tokio::test]
async fn override_is_bound_to_transaction() {
    let world = world(HOLDS).await;
    let (one, other) = (raw(&legacy(GOOD)), raw(&legacy_with(GOOD.into(), Some(CHAIN), 9, Default::default())));
    let (id, token) = world.hold("ana", &one).await;
    let (other_id, other_token) = world.hold("ana", &other).await;
    for (client, id, token) in [
        ("ana", &id, &other_token),
        ("ana", &other_id, &token),
        ("bob", &id, &token),
        ("ana", &id, &"AAAA.AAAA".to_owned()),
        ("ana", &id, &String::new()),
    ] {
        let got = world.as_client(client, "surety_release", json!([id, token])).await;
        assert_eq!(got.code(), i64::from(code::POLICY), "{got:?}");
    }
    for params in [json!([id]), json!([]), json!([1, 2]), json!(["hold-999", token]), json!(["x", token])] {
        assert_eq!(world.as_client("ana", "surety_release", params).await.code(), i64::from(code::PARAMS));
    }
    world.nothing_reached();
}

#[tokio::test]
async fn what_is_found_on_leaving_counts_in_full() {
    let world = world(HOLDS).await;
    let (id, token) = world.hold("ana", &raw(&legacy(GOOD))).await;
    world.deny.refuses_all.store(true, std::sync::atomic::Ordering::SeqCst);
    let got = world.as_client("ana", "surety_release", json!([id, token])).await;
    assert_eq!(got.code(), i64::from(code::POLICY), "{got:?}");
    world.nothing_reached();
    let events = events(&world.data, 2).await;
    assert_eq!(events, ["held", "dropped"]);
}

#[tokio::test]
async fn the_administrator_lists_and_lets_go_what_is_held() {
    let world = world(HOLDS).await;
    let (id, _) = world.hold("ana", &raw(&legacy(GOOD))).await;
    let (other, _) = world.hold("bob", &raw(&legacy_with(GOOD.into(), Some(CHAIN), 9, Default::default()))).await;
    let listed = world.admin(Method::GET, "/holds").await;
    assert_eq!(listed.json().as_array().unwrap().len(), 2);
    assert!(!listed.text.contains(&raw(&legacy(GOOD))[2..]));
    assert_eq!(world.admin(Method::POST, &format!("/holds/{other}/drop")).await.json()["dropped"], true);
    assert_eq!(world.admin(Method::POST, &format!("/holds/{id}/release")).await.json()["released"], true);
    assert_eq!(world.admin(Method::POST, &format!("/holds/{id}/release")).await.status, 409);
    assert_eq!(world.admin(Method::POST, "/holds/hold-77/release").await.status, 404);
    assert_eq!(world.admin(Method::GET, &format!("/holds/{id}/release")).await.status, 404);
    assert_eq!(world.sent(), [raw(&legacy(GOOD))]);
}

#[tokio::test]
async fn a_held_transaction_leaves_when_its_time_comes() {
    let world = world(&HOLDS.replace("token = true", "after_s = 1, token = false")).await;
    let good = raw(&legacy(GOOD));
    let got = world.send_raw(&good).await.json();
    assert!(got["error"]["data"]["release_after"].is_u64() && got["error"]["data"].get("override_token").is_none());
    world.nothing_reached();
    for _ in 0..100 {
        if !world.sent().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.sent(), [good]);
}

#[tokio::test]
async fn restart_keeps_held() {
    let (data, node) = (tempfile::tempdir().unwrap(), Node::start().await);
    let path = file(HOLDS);
    let start = |node: Node| {
        let mut config = config(&[node], data.path());
        config.policy = Some(path.clone());
        config
    };
    let good = raw(&legacy(GOOD));
    let first = World::at(vec![node.clone()], start(node.clone())).await;
    let (id, token) = first.hold("ana", &good).await;
    // A release that no node answers goes on after the restart.
    let World { gateway, .. } = first;
    gateway.stop().await;
    node.fail(Fault { cuts_sends: true, ..Fault::default() });
    let second = World::at(vec![node.clone()], start(node.clone())).await;
    let got = second.as_client("ana", "surety_release", json!([id, token])).await;
    assert_eq!(got.code(), i64::from(code::UPSTREAM), "{got:?}");
    let World { gateway, .. } = second;
    gateway.stop().await;
    node.fail(Fault::default());
    let sent = node.count("eth_sendRawTransaction");
    let third = World::at(vec![node.clone()], start(node.clone())).await;
    for _ in 0..100 {
        if node.count("eth_sendRawTransaction") > sent {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(third.sent().iter().all(|sent| *sent == good));
    assert_eq!(third.sent().len(), sent + 1);
    let again = third.as_client("ana", "surety_release", json!([id, token])).await;
    assert_eq!(again.code(), i64::from(code::PARAMS), "{again:?}");
}

#[tokio::test]
async fn policy_reload_is_atomic() {
    let path = file("name = \"open\"\n");
    let change = path.clone();
    let world = World::with(1, |config| config.policy = Some(change)).await;
    assert_eq!(world.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
    // A file that does not compile leaves the one before in force.
    std::fs::write(&path, "[[rule]]\nid = \"x\"\nwhen = \"nonsense.name == 1\"\nthen = \"block\"\n").unwrap();
    let health = async || world.admin(Method::GET, "/health").await.json();
    for _ in 0..100 {
        if health().await["policy_error"].is_string() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(health().await["policy_error"].as_str().unwrap().contains("nonsense"), "{}", health().await);
    assert_eq!(world.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
    std::fs::write(&path, HOLDS.replace("quarantine", "block").replace("release = { token = true, admin = true }", ""))
        .unwrap();
    for _ in 0..150 {
        if health().await["policy_error"].is_null() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let got = world.send_raw(&raw(&legacy(GOOD))).await.json();
    assert_eq!((&got["error"]["code"], &got["error"]["data"]["rule"]), (&json!(code::POLICY), &json!("waits")));
}

#[tokio::test]
async fn dry_run_forwards_and_records() {
    let world = world(&format!("dry_run = true\n{HOLDS}")).await;
    let good = raw(&legacy(GOOD));
    let got = world.send_raw(&good).await;
    assert_eq!((got.code(), got.advice()), (0, Some("quarantine; rule=waits")), "{got:?}");
    assert_eq!(world.sent(), [good]);
    let events = events(&world.data, 2).await;
    assert_eq!(events, ["submitted", "answered"]);
    let all = records(&world.data);
    assert_eq!(all[0]["decision"]["found"], "quarantine");
    assert_eq!(all[1]["upstream"]["ok"], true);
    assert!(!format!("{all:?}").contains(&raw(&legacy(GOOD))[2..]));
}

#[tokio::test]
async fn a_rule_on_trial_shows_what_it_would_do() {
    let trial = HOLDS.replace("then = \"quarantine\"", "then = \"quarantine\"\ndry_run = true");
    let world = world(&trial).await;
    let got = world.send_raw(&raw(&legacy(GOOD))).await;
    assert_eq!((got.code(), got.advice()), (0, Some("quarantine; rule=waits")), "{got:?}");
}

#[tokio::test]
async fn the_policy_refuses_methods_and_opens_others() {
    let world =
        world("[methods]\nrefuse = [\"eth_sendBundle\", \"mev_*\", \"eth_getLogs\"]\nunsigned = [\"eth_sign\"]\n")
            .await;
    for method in ["eth_sendBundle", "mev_sendBundle", "eth_getLogs", "eth_sendTransaction"] {
        assert_eq!(world.call(method, json!([{}])).await.code(), i64::from(code::METHOD), "{method}");
    }
    world.nothing_reached();
    assert_eq!(world.call("eth_sign", json!([BAD, BAD])).await.code(), i64::from(code::POLICY));
    assert_eq!(world.call("eth_sign", json!([GOOD, GOOD])).await.code(), 0);
}

#[tokio::test]
async fn a_bundle_is_not_held_but_refused() {
    let world = world(HOLDS).await;
    let got = world.call("eth_sendBundle", json!([{"txs": [raw(&legacy(GOOD))], "blockNumber": "0x1"}])).await.json();
    assert_eq!(got["error"]["code"], code::POLICY);
    assert!(got["error"]["data"].get("hold_id").is_none());
    world.nothing_reached();
}

/// A check that says always the same.
pub(crate) struct Says(pub(crate) &'static str, pub(crate) Finding);

impl Check for Says {
    fn name(&self) -> &str {
        self.0
    }

    fn assess<'a>(&'a self, _: &'a Subject, _: &'a [Arc<Subject>]) -> BoxFuture<'a, Finding> {
        Box::pin(std::future::ready(self.1.clone()))
    }

    fn still_holds<'a>(&'a self, _: &'a Finding) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(true))
    }

    fn failure(&self) -> Failure {
        Failure::SIMULATION
    }
}

async fn with(policy: &str, check: Says) -> World {
    let path = file(policy);
    World::before(vec![Node::start().await], |config| config.policy = Some(path), vec![Arc::new(check)]).await
}

#[tokio::test]
async fn sanctions_list_missing_blocks() {
    let required = "[checks.sanctions]\nrequired = true\n";
    let missing = with(required, Says("other", Finding::passed("other"))).await;
    for (world, rule) in [
        (with(required, Says(SANCTIONS, Finding::unknown(SANCTIONS, "list_missing"))).await, "check:sanctions"),
        (with("dry_run = true\n", Says(SANCTIONS, Finding::failed(SANCTIONS, "broken"))).await, "check:sanctions"),
        (missing, "check:sanctions"),
    ] {
        let got = world.send_raw(&raw(&legacy(GOOD))).await.json();
        assert_eq!(
            (&got["error"]["code"], &got["error"]["data"]["rule"]),
            (&json!(code::POLICY), &json!(rule)),
            "{got}"
        );
        assert_eq!(got["error"]["data"]["verdict"], "block");
        world.nothing_reached();
    }
}

#[tokio::test]
async fn failures_follow_the_value_at_stake() {
    let policy = "[limits]\nvalue = \"1000\"\n";
    let world = with(policy, Says("simulation", Finding::timed_out("simulation"))).await;
    // A plain transfer of 5 wei is below the limit; what a call moves is not known.
    let got = world.send_raw(&raw(&legacy(GOOD))).await;
    assert_eq!((got.code(), got.advice()), (0, Some("warn; rule=check:simulation")), "{got:?}");
    let call = raw(&legacy_with(GOOD.into(), Some(CHAIN), 0, vec![1, 2, 3, 4].into()));
    let got = world.send_raw(&call).await.json();
    assert_eq!(got["error"]["data"]["verdict"], "quarantine", "{got}");
    let block = with(policy, Says("simulation", Finding::hit("simulation", Verdict::Block, "diff.out", "gone"))).await;
    assert_eq!(block.send_raw(&raw(&legacy(GOOD))).await.json()["error"]["data"]["rule"], "diff.out");
}

#[tokio::test]
async fn a_gateway_that_cannot_start_says_why() {
    let (data, node) = (tempfile::tempdir().unwrap(), Node::start().await);
    let mut wrong = config(std::slice::from_ref(&node), data.path());
    wrong.policy = Some(file("[[rule]]\nid = 1\n"));
    assert!(Gateway::start(wrong, Vec::new()).await.is_err());
    let mut absent = config(&[node], data.path());
    absent.policy = Some(data.path().join("absent.toml"));
    assert!(Gateway::start(absent, Vec::new()).await.err().unwrap().to_string().contains("absent.toml"));
}
