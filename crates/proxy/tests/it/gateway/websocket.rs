//! Websockets: the same verdicts frame by frame, and subscriptions that outlive a node.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use surety_proxy::gateway::code;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::signing::{BAD, GOOD, legacy, legacy_with, raw};
use super::world::World;

pub(crate) struct Wallet(WebSocketStream<TcpStream>);

impl Wallet {
    pub(crate) async fn connect(world: &World) -> Self {
        let stream = TcpStream::connect(world.gateway.address()).await.unwrap();
        Self(client_async(format!("ws://{}/", world.gateway.address()), stream).await.unwrap().0)
    }

    async fn send(&mut self, message: Message) {
        self.0.send(message).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        loop {
            let message =
                tokio::time::timeout(Duration::from_secs(10), self.0.next()).await.expect("a message in time");
            match message.expect("an open websocket").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Close(_) => panic!("the websocket was closed"),
                _ => {}
            }
        }
    }

    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        self.send(Message::Text(text(method, params).into())).await;
        self.next().await
    }

    /// What the next message tells of a subscription.
    pub(crate) async fn news(&mut self) -> Value {
        self.next().await["params"]["result"].take()
    }
}

fn text(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
}

fn send_text(raw: &str) -> String {
    text("eth_sendRawTransaction", json!([raw]))
}

#[tokio::test]
async fn bypass_websocket_text_and_binary() {
    let world = World::start().await;
    let mut wallet = Wallet::connect(&world).await;
    let bad = send_text(&raw(&legacy(BAD)));
    for message in [Message::Text(bad.clone().into()), Message::Binary(bad.into())] {
        wallet.send(message).await;
        let reply = wallet.next().await;
        assert_eq!((&reply["id"], &reply["error"]["code"]), (&json!(7), &json!(code::POLICY)));
    }
    world.nothing_reached();
    wallet.send(Message::Text(send_text(&raw(&legacy(GOOD))).into())).await;
    assert_eq!(wallet.next().await["result"], legacy(GOOD).tx_hash().to_string());
    assert_eq!(world.sent(), [raw(&legacy(GOOD))]);
}

#[tokio::test]
async fn bypass_websocket_fragmented() {
    let world = World::start().await;
    let mut wallet = Wallet::connect(&world).await;
    let bad = send_text(&raw(&legacy(BAD)));
    let parts: Vec<&[u8]> = bad.as_bytes().chunks(7).collect();
    for (at, part) in parts.iter().enumerate() {
        let kind = if at == 0 { Data::Text } else { Data::Continue };
        let frame = Frame::message(part.to_vec(), OpCode::Data(kind), at + 1 == parts.len());
        wallet.send(Message::Frame(frame)).await;
    }
    assert_eq!(wallet.next().await["error"]["code"], code::POLICY);
    world.nothing_reached();
}

#[tokio::test]
async fn bypass_websocket_compressed() {
    let world = World::start().await;
    let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
    let key = "dGhlIHNhbXBsZSBub25jZQ==";
    let request = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: {key}\r\nsec-websocket-extensions: permessage-deflate\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = vec![0; 4_096];
    let count = stream.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..count]).to_lowercase();
    assert!(head.starts_with("http/1.1 101") && !head.contains("extensions"), "{head}");
    // A frame that says it is compressed, though nothing was agreed on, ends the connection.
    let body = send_text(&raw(&legacy(GOOD)));
    let mut frame = vec![0b1100_0001, 0x80 | 126];
    frame.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(body.as_bytes());
    stream.write_all(&frame).await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.unwrap();
    world.nothing_reached();
}

#[tokio::test]
async fn a_websocket_keeps_the_order_of_what_it_sends() {
    let world = World::start().await;
    let mut wallet = Wallet::connect(&world).await;
    let with = |nonce| raw(&legacy_with(GOOD.into(), Some(super::node::CHAIN), nonce, Default::default()));
    for nonce in 0..20 {
        wallet.send(Message::Text(send_text(&with(nonce)).into())).await;
    }
    for _ in 0..20 {
        assert!(wallet.next().await.get("result").is_some());
    }
    assert_eq!(world.sent(), (0..20).map(with).collect::<Vec<_>>());
}

#[tokio::test]
async fn bad_frames_are_answered_and_bad_handshakes_refused() {
    let world = World::start().await;
    let mut wallet = Wallet::connect(&world).await;
    for (body, expected) in [("{", code::PARSE), ("[]", code::REQUEST), (r#"{"id":1,"a":1,"a":1}"#, code::REQUEST)] {
        wallet.send(Message::Text(body.into())).await;
        assert_eq!(wallet.next().await["error"]["code"], expected);
    }
    let handshake =
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 8\r\n\r\n";
    assert!(world.bytes(handshake.as_bytes()).await.starts_with("HTTP/1.1 400"));
    let elsewhere = handshake.replacen("GET /", "GET /other", 1);
    assert!(world.bytes(elsewhere.as_bytes()).await.starts_with("HTTP/1.1 404"));
    // Over HTTP nobody could be told any news.
    assert_eq!(world.call("eth_subscribe", json!(["newHeads"])).await.code(), i64::from(code::METHOD));
    world.nothing_reached();
}

#[tokio::test]
async fn news_pass_until_the_subscription_ends() {
    let world = World::start().await;
    let mut wallet = Wallet::connect(&world).await;
    let mine = wallet.call("eth_subscribe", json!(["newHeads"])).await["result"].clone();
    assert!(mine.is_string());
    world.node().news.send(Some(json!({"number": "0x1"}))).unwrap();
    let news = wallet.next().await;
    assert_eq!((&news["method"], &news["params"]["subscription"]), (&json!("eth_subscription"), &mine));
    assert_eq!(news["params"]["result"], json!({"number": "0x1"}));
    for params in [json!([]), json!(["everything"]), json!([{}]), json!({"a": 1})] {
        assert_eq!(wallet.call("eth_subscribe", params).await["error"]["code"], code::PARAMS);
    }
    assert_eq!(wallet.call("eth_unsubscribe", json!([mine])).await["result"], true);
    assert_eq!(wallet.call("eth_unsubscribe", json!([mine])).await.get("result"), Some(&json!(false)));
}

#[tokio::test]
async fn a_subscription_outlives_its_node() {
    let world = World::with(2, |_| ()).await;
    let mut wallet = Wallet::connect(&world).await;
    let mine = wallet.call("eth_subscribe", json!(["logs", {"address": BAD}])).await["result"].clone();
    for round in 1..=3 {
        world.node().news.send(None).unwrap();
        // It is asked for again, with the same parameters.
        for _ in 0..200 {
            if world.node().count("eth_subscribe") > round {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let seen = world.node().seen();
        assert_eq!((seen.len(), &seen[round].params), (round + 1, &json!(["logs", {"address": BAD}])));
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.node().news.send(Some(json!(round))).unwrap();
        let news = wallet.next().await;
        assert_eq!((&news["params"]["subscription"], &news["params"]["result"]), (&mine, &json!(round)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_no_news_is_cut() {
    let world = World::with(1, |config| {
        config.limits.websocket_queue = 8;
        config.limits.write_timeout_s = 1;
    })
    .await;
    let mut wallet = Wallet::connect(&world).await;
    wallet.call("eth_subscribe", json!(["newHeads"])).await;
    let long = "x".repeat(1 << 20);
    for _ in 0..40 {
        let _ = world.node().news.send(Some(json!(long)));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(world.metrics().await.contains("gateway_slow_clients_total 1"));
    // Others are served.
    assert_eq!(world.send_raw(&raw(&legacy(GOOD))).await.code(), 0);
}

#[tokio::test]
async fn a_websocket_ends_with_the_gateway() {
    let world = World::start().await;
    let mut wallet = Wallet::connect(&world).await;
    assert_eq!(wallet.call("eth_gasPrice", json!([])).await["result"], "0x1");
    let World { gateway, .. } = world;
    let (closed, ()) = tokio::join!(wallet.0.next(), gateway.stop());
    assert!(matches!(closed, Some(Ok(Message::Close(_)))), "{closed:?}");
}
