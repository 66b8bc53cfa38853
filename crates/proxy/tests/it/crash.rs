//! kill -9, and a file as a crash would leave it: what was acknowledged stays, nothing is served twice.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;

use hyper::StatusCode;
use surety_primitives::access::{LaneState, ProblemKind};
use surety_proxy::STORE_FILE;
use surety_proxy::store::{CounterStore, RedbStore};

use crate::ledger::MemoryLedger;
use crate::upstream;
use crate::world::{Lanes, PURCHASE, QUOTA, WINDOW, World, config, http, provider, serve_forever, view};

const UPSTREAM: &str = "SURETY_TEST_UPSTREAM";
const DATA: &str = "SURETY_TEST_DATA";

/// Not a test of its own: the process that the other one kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the process that is killed; started by the test below"]
async fn sidecar_process() {
    let (Ok(upstream), Ok(data)) = (std::env::var(UPSTREAM), std::env::var(DATA)) else { return };
    serve_forever(upstream.parse().unwrap(), Path::new(&data)).await;
}

fn spawn(upstream: &str, data: &Path) -> (Child, std::net::SocketAddr) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", "crash::sidecar_process"])
        .env(UPSTREAM, upstream)
        .env(DATA, data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some((_, address)) = line.split_once("listening on ") {
            break address.parse().unwrap();
        }
    };
    (child, address)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kill_9_loses_no_settled_voucher_and_serves_no_call_too_many() {
    let mut world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let upstream = world.upstream.address.to_string();
    let mut lane = Lanes::new(0);
    let (mut settled, mut accepted) = (0, 0);
    for round in 0..5_u64 {
        let (mut child, address) = spawn(&upstream, folder.path());
        world.address = address;
        world.http = http();
        if round > 0 {
            let got = lane.sign(&world, "/api/x").await;
            assert_eq!(got.kind(), ProblemKind::SeqBelowFloor, "{got:?}");
            assert!(got.problem().cum.unwrap() >= settled, "an acknowledged voucher is lost");
            lane.client.raise_floor(got.problem().seq_floor.unwrap());
        }
        lane.open(&world).await;
        accepted += 1;
        for _ in 0..round {
            assert_eq!(lane.tag(&world, "/api/x").await.status, StatusCode::OK);
            accepted += 1;
        }
        let got = world.settle(&[lane.voucher()]).await;
        assert_eq!(got.status, StatusCode::OK);
        settled = lane.client.state().cum;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!((settled, world.reached()), (accepted, accepted));
    assert!(world.reached() <= QUOTA);
    let store = RedbStore::open(&folder.path().join(STORE_FILE)).unwrap();
    let vouchers = tokio::task::spawn_blocking(move || store.vouchers(PURCHASE).wait().unwrap()).await.unwrap();
    assert_eq!(vouchers[0].voucher.head().cum, settled);
}

/// Copies the counters as they lie on the disk now, and starts a sidecar on the copy: what a crash now would leave.
async fn crashed(world: &World, to: &Path) -> World {
    std::fs::copy(world.folder.path().join(STORE_FILE), to.join(STORE_FILE)).unwrap();
    let ledger = std::sync::Arc::new(MemoryLedger::new(provider().public()));
    ledger.0.lock().unwrap().purchases.insert(PURCHASE, view());
    let upstream = upstream::start().await;
    let config = config(upstream.address, to);
    let sidecar = surety_proxy::Sidecar::start(config, provider(), ledger.clone()).await.unwrap();
    let address = sidecar.address();
    World { ledger, upstream, sidecar, address, http: http(), folder: tempfile::tempdir().unwrap() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_without_any_voucher_costs_at_most_w_and_no_number_is_used_twice() {
    let world = World::new().await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    for _ in 1..WINDOW {
        assert_eq!(lane.tag(&world, "/api/x").await.status, StatusCode::OK);
    }
    let folder: PathBuf = tempfile::tempdir().unwrap().keep();
    let after = crashed(&world, &folder).await;
    let old = Lanes::resume(0, LaneState { seq: 2, ..LaneState::default() }).sign(&after, "/api/x").await;
    assert_eq!(old.kind(), ProblemKind::SeqBelowFloor);
    lane.client.raise_floor(old.problem().seq_floor.unwrap());
    let mut served = 0;
    loop {
        let got = match served {
            0 => lane.open(&after).await,
            _ => lane.sign(&after, "/api/x").await,
        };
        if got.status != StatusCode::OK {
            break;
        }
        served += 1;
    }
    // The dead lease counts as spent until it is counted again.
    assert!(served > 0 && served + u64::from(WINDOW) <= QUOTA, "{served}");
    assert_eq!(after.upstream.reached.load(Ordering::SeqCst), served);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_a_lane_is_served_though_others_keep_silent() {
    let world = World::new().await;
    for n in [0, 1] {
        let mut lane = Lanes::new(n);
        lane.open(&world).await;
        world.settle(&[lane.voucher()]).await;
    }
    let folder: PathBuf = tempfile::tempdir().unwrap().keep();
    let after = crashed(&world, &folder).await;
    assert_eq!(Lanes::new(2).open(&after).await.status, StatusCode::OK);
    std::fs::remove_dir_all(folder).unwrap();
}
