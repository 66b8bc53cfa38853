//! HTTP/2 by prior knowledge: the same verdicts as in HTTP/1.1, and the same bounds.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Method, Request};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;
use surety_proxy::gateway::code;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::node::{CHAIN, Fault};
use super::signing::{BAD, GOOD, legacy, legacy_with, raw};
use super::world::{Got, World};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// A wallet that speaks HTTP/2.
#[derive(Clone)]
struct Wallet(SendRequest<Full<Bytes>>, String);

impl Wallet {
    async fn connect(world: &World) -> Self {
        let address = world.gateway.address();
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender, format!("http://{address}/"))
    }

    async fn send(&self, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Got, hyper::Error> {
        let mut request = Request::builder().method(Method::POST).uri(&self.1);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = self.0.clone();
        let response = sender.send_request(request.body(Full::new(body.into())).unwrap()).await?;
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await?.to_bytes().to_vec()).unwrap();
        Ok(Got { status: parts.status, headers: parts.headers, text })
    }

    async fn send_raw(&self, raw: &str) -> Got {
        self.send(&[], text(raw)).await.unwrap()
    }
}

fn text(raw: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]}).to_string()
}

/// Bytes after the beginning of HTTP/2, on a connection of their own.
async fn begun(world: &World, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
    stream.write_all(&[PREFACE, SETTINGS, bytes].concat()).await.unwrap();
    stream
}

/// Everything until the gateway closes the connection.
async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut read)).await;
    assert!(closed.is_ok(), "the connection stays open");
    read
}

/// The error code of the GOAWAY among these frames.
fn goaway(mut frames: &[u8]) -> Option<u32> {
    while frames.len() >= 9 {
        let length = usize::from(frames[0]) << 16 | usize::from(frames[1]) << 8 | usize::from(frames[2]);
        let (kind, payload) = (frames[3], frames.get(9..9 + length)?);
        if kind == GOAWAY {
            return Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        frames = &frames[9 + length..];
    }
    None
}

#[tokio::test]
async fn bypass_http2_prior_knowledge() {
    let world = World::start().await;
    let wallet = Wallet::connect(&world).await;
    let (bad, good) = (raw(&legacy(BAD)), raw(&legacy(GOOD)));
    assert_eq!(wallet.send_raw(&bad).await.code(), i64::from(code::POLICY));
    let batch = format!("[{},{}]", text(&bad), text(&bad));
    assert_eq!(wallet.send(&[], batch).await.unwrap().text.matches("-32003").count(), 2);
    let coded = wallet.send(&[("content-encoding", "identity, chunked")], text(&bad)).await.unwrap();
    assert_eq!(coded.status, 415);
    world.nothing_reached();
    let got = wallet.send_raw(&good).await;
    assert_eq!(got.json()["result"], legacy(GOOD).tx_hash().to_string());
    assert_eq!(world.sent(), [good]);
}

#[tokio::test]
async fn bypass_http2_streams_side_by_side() {
    let world = World::start().await;
    let wallet = Wallet::connect(&world).await;
    // From the first answer on it knows how many it may open at a time.
    assert_eq!(wallet.send(&[], "{}").await.unwrap().status, 200);
    let good = |nonce| raw(&legacy_with(GOOD.into(), Some(CHAIN), nonce, Default::default()));
    let bad = |nonce| raw(&legacy_with(BAD.into(), Some(CHAIN), nonce, Default::default()));
    let sent = (0..40).map(|nonce| {
        let (wallet, raw) = (wallet.clone(), if nonce % 2 == 0 { good(nonce) } else { bad(nonce) });
        async move { wallet.send_raw(&raw).await.code() }
    });
    let codes = join_all(sent).await;
    let policy = i64::from(code::POLICY);
    assert_eq!(codes, (0..40).map(|nonce| if nonce % 2 == 0 { 0 } else { policy }).collect::<Vec<_>>());
    let mut reached = world.sent();
    let mut expected: Vec<String> = (0..40).step_by(2).map(good).collect();
    reached.sort_unstable();
    expected.sort_unstable();
    assert_eq!(reached, expected);
}

#[tokio::test]
async fn a_request_in_http2_has_the_bounds_of_one_in_http1() {
    let world = World::with(1, |config| {
        config.limits.body_bytes = 4_096;
        config.limits.header_bytes = 8_192;
        config.limits.websocket_requests = 2;
    })
    .await;
    let wallet = Wallet::connect(&world).await;
    assert_eq!(wallet.send(&[], " ".repeat(4_097)).await.unwrap().status, 413);
    let long = "x".repeat(12_000);
    let refused = wallet.send(&[("x-long", &long)], "{}").await;
    assert!(refused.as_ref().map_or(true, |got| got.status == 431), "{refused:?}");
    // Two at a time: six that take a moment each take three moments.
    let wallet = Wallet::connect(&world).await;
    assert_eq!(wallet.send(&[], "{}").await.unwrap().status, 200);
    world.node().fail(Fault { slow: Duration::from_millis(300), ..Fault::default() });
    let ask = json!({"id": 1, "method": "eth_gasPrice", "params": []}).to_string();
    let began = Instant::now();
    let asked = join_all((0..6).map(|_| wallet.send(&[], ask.clone()))).await;
    assert!(asked.iter().all(|got| got.as_ref().is_ok_and(|got| got.code() == 0)), "{asked:?}");
    assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_connection_that_asks_nothing_is_closed_and_one_that_waits_for_its_answer_is_not() {
    let world = World::with(1, |config| {
        config.limits.read_timeout_s = 1;
        config.limits.write_timeout_s = 1;
        config.limits.drain_s = 1;
    })
    .await;
    let began = Instant::now();
    let silent = TcpStream::connect(world.gateway.address()).await.unwrap();
    let mut halting = TcpStream::connect(world.gateway.address()).await.unwrap();
    halting.write_all(b"PR").await.unwrap();
    let mut settled = begun(&world, &[]).await;
    for stream in [&mut { silent }, &mut halting, &mut settled] {
        until_closed(stream).await;
    }
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    world.node().fail(Fault { slow: Duration::from_millis(3_500), ..Fault::default() });
    let wallet = Wallet::connect(&world).await;
    assert_eq!(wallet.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
}

#[tokio::test]
async fn a_client_that_takes_back_its_requests_by_the_thousand_is_cut() {
    let world = World::start().await;
    let mut flood = Vec::new();
    for stream in (1..4_000_u32).step_by(2).map(u32::to_be_bytes) {
        // POST / on http, then no more of it.
        flood.extend_from_slice(&[0, 0, 6, 1, 4]);
        flood.extend_from_slice(&stream);
        flood.extend_from_slice(&[0x83, 0x84, 0x86, 0x41, 1, b'a']);
        flood.extend_from_slice(&[0, 0, 4, RST_STREAM, 0]);
        flood.extend_from_slice(&stream);
        flood.extend_from_slice(&[0, 0, 0, 8]);
    }
    let mut stream = begun(&world, &[]).await;
    // The gateway may close while this side writes.
    let _ = stream.write_all(&flood).await;
    let mut read = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut read)).await.unwrap();
    assert_eq!(goaway(&read), Some(ENHANCE_YOUR_CALM), "{read:?}");
    world.nothing_reached();
    assert_eq!(Wallet::connect(&world).await.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
}

#[tokio::test]
async fn a_connection_in_http2_ends_with_the_gateway_after_its_last_answer() {
    let world = World::start().await;
    let wallet = Wallet::connect(&world).await;
    assert_eq!(wallet.send(&[], "{}").await.unwrap().status, 200);
    world.node().fail(Fault { slow: Duration::from_millis(500), ..Fault::default() });
    let (last, good) = (wallet.clone(), raw(&legacy(GOOD)));
    let under_way = tokio::spawn(async move { last.send_raw(&good).await.code() });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let (nodes, began) = (world.nodes.clone(), Instant::now());
    let World { gateway, .. } = world;
    gateway.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert_eq!(under_way.await.unwrap(), 0);
    assert_eq!(nodes[0].count("eth_sendRawTransaction"), 1);
    assert!(wallet.send(&[], "{}").await.is_err());
}
