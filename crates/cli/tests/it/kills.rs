//! kill -9 at random points: nothing that was acknowledged is lost, nothing is counted twice, no two states differ.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use surety_client::{Client, Options, Sender};
use surety_ledger::bank::Transfer;
use surety_primitives::wallet::AccountKey;
use surety_primitives::{Address, Amount, NetworkId};

use crate::harness::{Running, eventually, folder, pid_of, signal};

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

#[test]
fn killed_operators_lose_and_double_nothing() {
    let mut seed: u64 = std::env::var("SURETY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_121);
    println!("seed {seed}");
    let home = folder();
    let devnet = Running::start(home.path(), &["devnet"]);
    let urls: Vec<String> = serde_json::from_value(devnet.said["urls"].clone()).unwrap();
    let configs: Vec<PathBuf> = (0..4)
        .map(|i| home.path().join(format!(".surety/devnet/node-{i}/node.toml")).canonicalize().unwrap())
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
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
    let audits = eventually("all operators audit one height", 60, || {
        let audits: Option<Vec<Value>> = urls.iter().map(|url| audit(&runtime, url)).collect();
        audits.filter(|audits| audits.iter().map(|audit| audit["height"].as_u64()).collect::<BTreeSet<_>>().len() == 1)
    });
    let roots: BTreeSet<&str> = audits.iter().map(|audit| audit["state_root"].as_str().unwrap()).collect();
    assert_eq!(roots.len(), 1, "{audits:?}");
    assert!(audits.iter().all(|audit| audit.get("failure").is_none()), "{audits:?}");
}

fn audit(runtime: &tokio::runtime::Runtime, url: &str) -> Option<Value> {
    let client = Client::new(&[url], Options::default()).ok()?;
    runtime.block_on(client.get("v1/audit")).ok()
}
