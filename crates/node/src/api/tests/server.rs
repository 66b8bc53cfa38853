//! The accept loop over real sockets: slow, greedy and leaving clients.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::fixture::{Site, site_with};
use crate::api::{Limits, serve};

const QUICK: Limits = Limits {
    body_bytes: 1_000,
    header_bytes: 8_192,
    rate: 0,
    burst: 1,
    exempt_loopback: true,
    connections: 2,
    connections_per_address: 2,
    streams: 4,
    request_ms: 1_000,
    write_ms: 1_000,
    wait_seconds: 60,
};

async fn started() -> (Site, std::net::SocketAddr, JoinHandle<()>) {
    let site = site_with(true, QUICK);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(serve(listener, std::sync::Arc::clone(&site.api)));
    (site, address, serving)
}

async fn send(address: std::net::SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// All that comes until the connection ends.
async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut bytes)).await;
    let _ = read.expect("the connection stays open");
    String::from_utf8_lossy(&bytes).into_owned()
}

const ASK: &str = "GET /v1/params HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_request_over_a_socket_is_answered() {
    let (site, address, _serving) = started().await;
    let answer = rest(send(address, ASK).await).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    site.stop.send(true).unwrap();
}

#[tokio::test]
async fn oversized_and_too_many_headers_are_refused() {
    let (_site, address, _serving) = started().await;
    let large = format!("GET /v1/params HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n", "a".repeat(20_000));
    let answer = rest(send(address, &large).await).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many: String = (0..100).map(|n| format!("x-{n}: 1\r\n")).collect();
    let answer = rest(send(address, &format!("GET /v1/params HTTP/1.1\r\nhost: x\r\n{many}\r\n")).await).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let long = format!("GET /v1/services?text={} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(20_000));
    let answer = rest(send(address, &long).await).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    assert!(rest(send(address, ASK).await).await.starts_with("HTTP/1.1 200"), "others are served");
}

#[tokio::test]
async fn slow_headers_are_cut_and_a_slow_body_is_told_so() {
    let (site, address, _serving) = started().await;
    let state = site.chain.state();
    let begun = Instant::now();
    let answer = rest(send(address, "GET /v1/params HTTP/1.1\r\nhos").await).await;
    assert!(!answer.contains("200 OK"), "{answer}");
    let head =
        "POST /v1/transactions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    let answer = rest(send(address, head).await).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("urn:surety:problem:too-slow"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(site.chain.state(), state);
}

#[tokio::test]
async fn a_connection_above_the_limit_waits_for_its_turn() {
    let (_site, address, _serving) = started().await;
    let stream = "GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n";
    let (first, _second) = (send(address, stream).await, send(address, stream).await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut third = send(address, ASK).await;
    let mut byte = [0];
    assert!(tokio::time::timeout(Duration::from_millis(300), third.read(&mut byte)).await.is_err());
    drop(first);
    assert!(rest(third).await.contains("200 OK"));
}

#[tokio::test]
async fn the_end_is_graceful_for_those_who_wait() {
    let (site, address, serving) = started().await;
    site.chain.add_provider(1, 0);
    let poll = "GET /v1/providers/1/purchases?wait=60 HTTP/1.1\r\nhost: x\r\n\r\n";
    let (poll, stream) = (send(address, poll).await, send(address, "GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n").await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    site.stop.send(true).unwrap();
    let answer = rest(poll).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"cursor\":0"), "{answer}");
    assert!(rest(stream).await.contains("text/event-stream"));
    tokio::time::timeout(Duration::from_secs(10), serving).await.unwrap().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_client_that_never_reads_is_let_go() {
    let (_site, address, _serving) = started().await;
    let asks = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n".repeat(400);
    // As many as may be connected at all; what they asked for is far more than the system's buffers hold.
    let _greedy = (send(address, &asks).await, send(address, &asks).await);
    let begun = Instant::now();
    let answer = rest(send(address, ASK).await).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn one_address_holds_so_many_connections_and_no_more() {
    let site = site_with(true, Limits { exempt_loopback: false, connections: 8, ..QUICK });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, std::sync::Arc::clone(&site.api)));
    let stream = "GET /v1/events HTTP/1.1\r\nhost: x\r\n\r\n";
    let (first, _second) = (send(address, stream).await, send(address, stream).await);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut refused = TcpStream::connect(address).await.unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(2), refused.read(&mut byte)).await;
    assert!(read.is_ok_and(|read| read.map_or(true, |count| count == 0)), "the third is still connected");
    drop(first);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(rest(send(address, ASK).await).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn headers_above_the_limit_are_told_so() {
    let (_site, address, _serving) = started().await;
    let large =
        format!("GET /v1/params HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-large: {}\r\n\r\n", "a".repeat(9_000));
    let answer = rest(send(address, &large).await).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") && answer.contains("headers-too-large"), "{answer}");
}
