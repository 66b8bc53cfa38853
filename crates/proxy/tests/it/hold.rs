//! kill -9 of a process that holds and releases: nothing held is lost, nothing is sent that was not let go, and what was being
//! sent is brought to its end with the same bytes.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{B256, Bytes, hex};
use surety_proxy::gateway::hold::{
    Count, HOLD_FILE, Held, Hold, HoldId, Look, NewHold, Releaser, Sent, Stage, release,
};
use surety_proxy::gateway::policy::{Decision, HoldLimits, PolicyHash};
use surety_proxy::gateway::verdict::Verdict;

const DATA: &str = "SURETY_TEST_HOLD";

fn open(folder: &Path) -> Arc<Hold> {
    let limits = HoldLimits { per_client: 100_000, total: 100_000, ..HoldLimits::default() };
    Arc::new(Hold::open(&folder.join(HOLD_FILE), limits).unwrap())
}

fn new(n: u64) -> NewHold {
    NewHold {
        client: "ana".to_owned(),
        method: "eth_sendRawTransaction".to_owned(),
        hash: B256::from(alloy_primitives::U256::from(n)),
        raw: Bytes::from(n.to_be_bytes().repeat(20)),
        decision: Decision { verdict: Verdict::Quarantine, rule: "slow".to_owned(), ..Decision::default() },
        policy: PolicyHash::default(),
    }
}

/// A node that writes down what reaches it, before it answers.
fn node(folder: &Path, held: &Held) -> Sent {
    let mut file = OpenOptions::new().append(true).create(true).open(folder.join("node")).unwrap();
    file.write_all(format!("{} {}\n", held.hash, hex::encode(&held.raw)).as_bytes()).unwrap();
    Sent::Accepted { answer: held.hash.to_string() }
}

/// What reached the node: bytes and how often, by hash.
fn reached(folder: &Path) -> BTreeMap<String, (String, u64)> {
    let mut reached: BTreeMap<String, (String, u64)> = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("node")).unwrap_or_default().lines() {
        let (hash, raw) = line.split_once(' ').unwrap();
        let entry = reached.entry(hash.to_owned()).or_insert_with(|| (raw.to_owned(), 0));
        assert_eq!(entry.0, raw, "other bytes under the same hash");
        entry.1 += 1;
    }
    reached
}

async fn let_go(hold: &Arc<Hold>, id: HoldId, folder: &Path) {
    let allowed = |_| async { (Decision::default(), PolicyHash::default()) };
    let folder = folder.to_owned();
    let send = |held: Held| async move {
        let sent = node(&folder, &held);
        tokio::time::sleep(Duration::from_millis(3)).await;
        sent
    };
    let _ = release(hold, id, Releaser::Admin, allowed, send).await;
}

/// Not a test of its own: the process that the other one kills.
#[tokio::test]
#[ignore = "the process that is killed; started by the test below"]
async fn holding_process() {
    let Ok(folder) = std::env::var(DATA) else { return };
    let folder = Path::new(&folder);
    let hold = open(folder);
    println!("holding {}", hold.count().transactions);
    for n in 0.. {
        // Names go on where the last life ended; every second one is let go.
        let held = hold.hold(new(u64::from(std::process::id()) << 32 | n)).unwrap();
        println!("held {}", held.hash);
        if n % 2 == 0 {
            let_go(&hold, held.id, folder).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_nothing_held_and_releases_nothing_twice() {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    let mut acknowledged = Vec::new();
    for round in 0..6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture", "hold::holding_process"])
            .env(DATA, folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        while !lines.next().unwrap().unwrap().contains("holding ") {}
        tokio::time::sleep(Duration::from_millis(30 + 17 * round)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged
            .extend(lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("held ").map(str::to_owned)));
    }
    let hold = open(folder);
    for id in hold.interrupted(usize::MAX) {
        let look = |_| async { Look::Judged(Decision::default(), PolicyHash::default()) };
        hold.send_again(id, look, |held: Held| async move { node(folder, &held) }).await.unwrap();
    }
    assert_eq!(hold.interrupted(usize::MAX), []);
    let reached = reached(folder);
    let waiting = hold.list(None, usize::MAX).unwrap();
    assert_eq!(hold.count(), Count { transactions: waiting.len(), bytes: 160 * waiting.len() as u64 });
    let last = waiting.iter().map(|held| held.id.0).max().unwrap_or(0).max(reached.len() as u64);
    let mut known = BTreeMap::new();
    for number in 1..=last + 2 {
        if let Ok(held) = hold.get(HoldId(number)) {
            let was_sent = reached.contains_key(&held.hash.to_string());
            assert_eq!(was_sent, matches!(held.stage, Stage::Released { .. }), "{held:?}");
            known.insert(held.hash.to_string(), held.id);
        }
    }
    assert!(!acknowledged.is_empty());
    for hash in acknowledged {
        assert!(known.contains_key(&hash), "{hash} is lost");
    }
    // Once a life at most, and again only where a life ended while it was sent.
    assert!(
        reached.values().all(|(_, times)| *times <= 2)
            && reached.values().filter(|(_, times)| *times == 2).count() <= 6
    );
}
