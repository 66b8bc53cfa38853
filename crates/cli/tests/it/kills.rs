//! kill -9 at random points: nothing that was acknowledged is lost, nothing is counted twice, no two states differ.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use surety_client::{Client, Options, Sender};
use surety_ledger::bank::Transfer;
use surety_primitives::wallet::AccountKey;
use surety_primitives::{Address, Amount, NetworkId};
use tokio::runtime::{Builder, Runtime};

use crate::harness::{Running, eventually, folder, pid_of, signal, works};
use crate::market::Market;

/// Rounds in the ordinary tests; the soak makes 100.
fn rounds() -> u64 {
    if std::env::var_os("SURETY_SOAK").is_some() { 100 } else { 20 }
}

/// A number that repeats with the seed: splitmix64.
fn random(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *seed;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn first_seed() -> u64 {
    let seed = std::env::var("SURETY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    println!("seed {seed}");
    seed
}

fn configs(home: &Path) -> Vec<PathBuf> {
    let config = |i| home.join(format!(".surety/devnet/node-{i}/node.toml")).canonicalize().unwrap();
    (0..4).map(config).collect()
}

fn urls(devnet: &Running) -> Vec<String> {
    serde_json::from_value(devnet.said["urls"].clone()).unwrap()
}

#[test]
fn killed_operators_lose_and_double_nothing() {
    let mut seed = first_seed();
    let home = folder();
    let devnet = Running::start(home.path(), &["devnet"]);
    let (urls, configs) = (urls(&devnet), configs(home.path()));
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let client = Client::new(&urls, Options::default()).unwrap();
    let sender = Sender::new(client.clone(), AccountKey::from_label("consumer"), NetworkId(1_337));
    let to = Address::repeat_byte(0x77);
    let mut sent = 0_u64;
    for round in 0..rounds() {
        let victim = usize::try_from(random(&mut seed) % 4).unwrap();
        let pause = Duration::from_millis(random(&mut seed) % 400);
        // In flight while the victim dies.
        let paying = sender.send(Transfer { to, amount: Amount::call(1) }, Duration::from_secs(60));
        let report = runtime.block_on(async {
            let kill = async {
                tokio::time::sleep(pause).await;
                if let Some(pid) = pid_of(&configs[victim]) {
                    signal("KILL", pid);
                }
            };
            tokio::join!(paying, kill).0
        });
        report.unwrap_or_else(|error| panic!("round {round}, victim {victim}: {error}"));
        sent += 1;
    }
    let received = runtime.block_on(client.account(&to)).unwrap().balance;
    assert_eq!(received, Amount::call(sent), "acknowledged transfers are lost or counted twice");
    assert_one_state(&runtime, &urls);
}

fn assert_one_state(runtime: &Runtime, urls: &[String]) {
    let audits = eventually("all operators audit one height", 60, || {
        let audits: Option<Vec<Value>> = urls.iter().map(|url| audit(runtime, url)).collect();
        audits.filter(|audits| audits.iter().map(|audit| audit["height"].as_u64()).collect::<BTreeSet<_>>().len() == 1)
    });
    let roots: BTreeSet<&str> = audits.iter().map(|audit| audit["state_root"].as_str().unwrap()).collect();
    assert_eq!(roots.len(), 1, "{audits:?}");
    assert!(audits.iter().all(|audit| audit.get("failure").is_none()), "{audits:?}");
}

fn audit(runtime: &Runtime, url: &str) -> Option<Value> {
    let client = Client::new(&[url], Options::default()).ok()?;
    runtime.block_on(client.get("v1/audit")).ok()
}

/// Rounds of the whole market in the ordinary tests; the soak makes more.
fn market_rounds() -> u64 {
    if std::env::var_os("SURETY_SOAK").is_some() { 40 } else { 5 }
}

/// Who dies while calls are under way.
#[derive(Clone, Copy, Debug)]
enum Victim {
    Caller,
    Sidecar,
    Operator(usize),
}

#[test]
fn a_market_under_kills_loses_and_doubles_no_purchase_voucher_or_claim() {
    let mut seed = first_seed();
    let mut market = Market::open();
    let at = market.home.path().to_owned();
    let (urls, configs) = (urls(&market.devnet), configs(&at));
    let mut bought = Vec::new();
    for round in 0..market_rounds() {
        let purchase = buy_killed_on_the_way(&at, round, &mut seed);
        let mut acknowledged = 0;
        let operator = usize::try_from(random(&mut seed) % 4).unwrap();
        for victim in [Victim::Caller, Victim::Sidecar, Victim::Operator(operator)] {
            call_while_one_dies(&mut market, &configs, &purchase, victim, &mut seed);
            // What was acknowledged before stays so, and this call comes on top.
            let said = works(&at, &["call", "--purchase", &purchase, "api/v1/phishing_site?url=evil.example"]);
            let now = said["acknowledged"].as_u64().unwrap();
            assert!(now > acknowledged, "round {round}, {victim:?}: {acknowledged}, then {said}");
            acknowledged = now;
        }
        // No call comes after this: what was settled must be known to the next life all the same.
        market.restart_sidecar();
        bought.push((purchase, acknowledged));
    }
    let runtime = Builder::new_multi_thread().enable_all().build().unwrap();
    let client = Client::new(&urls, Options::default()).unwrap();
    for (purchase, acknowledged) in &bought {
        let id = purchase.parse().unwrap();
        eventually("exactly what was acknowledged is claimed", 60, || {
            let claimed = runtime.block_on(client.purchase(id)).ok()?.record.claimed;
            assert!(claimed <= *acknowledged, "{claimed} claimed, {acknowledged} acknowledged");
            (claimed == *acknowledged).then_some(())
        });
    }
    let sales = works(&at, &["provider", "show", "1"])["sales"].as_u64().unwrap();
    assert_eq!(sales, market_rounds(), "a purchase is lost or was made twice");
    assert_one_state(&runtime, &urls);
}

/// Buys under one reference: a buyer dies at a random moment, and the same command again succeeds.
fn buy_killed_on_the_way(at: &Path, round: u64, seed: &mut u64) -> String {
    let reference = format!("0x{round:032x}");
    let order = ["buy", "1", "--account", "dev:consumer", "--reference", &reference];
    let mut buyer = Running::silent(at, &order);
    if round % 2 == 1 {
        eventually("the order is on disk", 30, || (orders(at) > usize::try_from(round).unwrap()).then_some(()));
    }
    std::thread::sleep(Duration::from_millis(random(seed) % 500));
    buyer.kill();
    works(at, &order)["purchase"].as_str().unwrap().to_owned()
}

/// Orders on disk: one a round.
fn orders(at: &Path) -> usize {
    let files = std::fs::read_dir(at.join(".surety/calls")).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|extension| extension == "order")).count()
}

fn call_while_one_dies(market: &mut Market, configs: &[PathBuf], purchase: &str, victim: Victim, seed: &mut u64) {
    let at = market.home.path().to_owned();
    let paths: Vec<String> = (0..40).map(|i| format!("api/v1/phishing_site?url=site{i}.example")).collect();
    let mut arguments = vec!["call", "--purchase", purchase];
    arguments.extend(paths.iter().map(String::as_str));
    let mut caller = Running::silent(&at, &arguments);
    std::thread::sleep(Duration::from_millis(random(seed) % 700));
    match victim {
        Victim::Caller => caller.kill(),
        Victim::Sidecar => market.restart_sidecar(),
        Victim::Operator(seat) => signal("KILL", eventually("the operator runs", 30, || pid_of(&configs[seat]))),
    }
    // Whether these calls came through or not: what counts is said by the next.
    caller.wait(Duration::from_secs(60));
}
