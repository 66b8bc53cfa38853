//! What one caller may hold of the sidecar.

use std::time::Duration;

use hyper::{HeaderMap, Method, StatusCode};
use surety_primitives::Lane;
use surety_primitives::access::{Call, Flags, Head, ProblemKind, SignedCall, encode_call};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Lanes, PURCHASE, World, deadline, key, request};

#[tokio::test]
async fn only_so_many_grants_are_checked_at_a_time() {
    let world = World::with(|config, _| config.limits.lookups = 1).await;
    world.ledger.0.lock().unwrap().slow_check = Duration::from_millis(500);
    let post = || world.raw(Method::POST, "/.well-known/surety/grants", HeaderMap::new(), &PURCHASE.0);
    let (first, second) = tokio::join!(post(), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        post().await
    });
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(second.kind(), ProblemKind::RateLimited);
    assert_eq!(post().await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_reads_nothing_loses_its_connection() {
    const LONG: usize = 40_000_000;
    let world = World::with(|config, _| config.limits.write_timeout_s = 1).await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    let (call, _) = lane.tagged(&format!("/api/long?{LONG}"), Flags::NONE);
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let call = encode_call(&call);
    let text = format!("GET /api/long?{LONG} HTTP/1.1\r\nhost: a\r\nte: trailers\r\nsurety-call: {call}\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    // What lies in the buffers of the system still comes, and then nothing more.
    let mut read = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut read)).await;
    assert!(!read.is_empty() && read.len() < LONG, "{} bytes", read.len());
    assert_eq!(lane.sign(&world, "/api/x").await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_address_takes_no_more_than_its_part_of_the_connections() {
    let world = World::with(|config, _| config.limits.connections_per_address = 2).await;
    let connect = || TcpStream::connect(world.address);
    let held = [connect().await.unwrap(), connect().await.unwrap()];
    let mut third = connect().await.unwrap();
    let closed = tokio::time::timeout(Duration::from_millis(500), third.read(&mut [0; 1])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "{closed:?}");
    drop(held);
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_come_all_at_once_wait_for_their_parts_of_quota_and_window() {
    const CALLS: u64 = 36;
    let world = World::with(|_, view| view.window = 40).await;
    let call = |seq| {
        let lane = Lane((seq % 4) as u16);
        let head = Head { flags: Flags::NONE, purchase: PURCHASE, lane, seq, cum: 0, deadline: deadline() };
        Call::Signed(SignedCall::sign(&key(1), head, None, &request("/api/x", b"")).unwrap())
    };
    // Known before: only so many look for a purchase at a time.
    let known = world.raw(Method::POST, "/.well-known/surety/grants", HeaderMap::new(), &PURCHASE.0).await;
    assert_eq!(known.status, StatusCode::OK);
    let calls: Vec<Call> = (1..=CALLS).map(call).collect();
    let served = futures::future::join_all(calls.iter().map(|call| world.call("/api/x", call, &[], b""))).await;
    for got in served {
        assert_eq!(got.status, StatusCode::OK, "{got:?}");
    }
    assert_eq!(world.reached(), CALLS);
}
