//! One test for each encoding of section 7.3.

use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
use hyper::Method;
use proptest::prelude::*;
use serde_json::{Value, json};
use surety_proxy::gateway::code;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::signing::{BAD, GOOD, legacy, legacy_with, raw};
use super::world::{Got, World};

fn text(raw: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]}).to_string()
}

fn bad() -> String {
    raw(&legacy(BAD))
}

fn good() -> String {
    raw(&legacy(GOOD))
}

/// A body that is answered with this code, and of which nothing reaches the node.
async fn answered(bodies: &[(&[u8], i32)]) {
    let world = World::start().await;
    for (body, code) in bodies {
        let got = world.post(body.to_vec()).await;
        assert_eq!(got.code(), i64::from(*code), "{} {got:?}", String::from_utf8_lossy(body));
    }
    world.nothing_reached();
}

#[tokio::test]
async fn batch_blocks_one_only() {
    let world = World::start().await;
    let one = |id: u64, method: &str, params: Value| json!({"id": id, "method": method, "params": params});
    let batch = json!([
        one(1, "eth_gasPrice", json!([])),
        one(2, "eth_sendRawTransaction", json!([bad()])),
        one(3, "eth_sendRawTransaction", json!([good()])),
        7,
        one(4, "eth_nonsense", json!([])),
        {"method": "eth_sendRawTransaction", "params": [bad()]},
        one(5, "eth_syncing", json!([])),
    ]);
    let got = world.post(batch.to_string()).await;
    assert_eq!(got.status, 200);
    let replies = got.json();
    let codes: Vec<(Value, i64)> = replies
        .as_array()
        .unwrap()
        .iter()
        .map(|reply| (reply["id"].clone(), reply["error"]["code"].as_i64().unwrap_or(0)))
        .collect();
    let (policy, request, method) = (i64::from(code::POLICY), i64::from(code::REQUEST), i64::from(code::METHOD));
    let expected =
        [(json!(1), 0), (json!(2), policy), (json!(3), 0), (Value::Null, request), (json!(4), method), (json!(5), 0)];
    assert_eq!(codes, expected);
    assert_eq!(world.sent(), [good()]);
}

#[tokio::test]
async fn bypass_batch_of_one_sender_is_screened_in_order() {
    let world = World::start().await;
    let with = |nonce| raw(&legacy_with(GOOD.into(), Some(super::node::CHAIN), nonce, Default::default()));
    let batch: Vec<Value> =
        (0..3).map(|nonce| json!({"id": nonce, "method": "eth_sendRawTransaction", "params": [with(nonce)]})).collect();
    assert_eq!(world.post(json!(batch).to_string()).await.json().as_array().unwrap().len(), 3);
    assert_eq!(world.sent(), [with(0), with(1), with(2)]);
    assert_eq!(world.deny.before.load(std::sync::atomic::Ordering::SeqCst), 2);
}

#[tokio::test]
async fn bypass_empty_and_nested_batches() {
    let nested = format!("[[{}]]", text(&bad()));
    let long = format!("[{}]", vec![text(&bad()); 101].join(","));
    answered(&[(b"[]", code::REQUEST), (long.as_bytes(), code::LIMIT)]).await;
    let world = World::start().await;
    assert_eq!(world.post(nested).await.json()[0]["error"]["code"], code::REQUEST);
    world.nothing_reached();
}

#[tokio::test]
async fn bypass_duplicate_keys() {
    let (bad, good) = (bad(), good());
    let bodies = [
        format!(r#"{{"id":1,"method":"eth_call","method":"eth_sendRawTransaction","params":["{good}"]}}"#),
        format!(r#"{{"id":1,"method":"eth_sendRawTransaction","params":["{good}"],"params":["{bad}"]}}"#),
        format!(r#"{{"id":1,"id":2,"method":"eth_sendRawTransaction","params":["{good}"]}}"#),
        format!(r#"{{"id":1,"method":"eth_sendPrivateTransaction","params":[{{"tx":"{good}","tx":"{bad}"}}]}}"#),
    ];
    let all: Vec<(&[u8], i32)> = bodies.iter().map(|body| (body.as_bytes(), code::REQUEST)).collect();
    answered(&all).await;
}

#[tokio::test]
async fn bypass_escaped_duplicate_keys() {
    let (bad, good) = (bad(), good());
    let bodies = [
        format!(r#"{{"id":1,"method":"eth_call","\u006dethod":"eth_sendRawTransaction","params":["{bad}"]}}"#),
        format!(r#"{{"id":1,"method":"eth_sendPrivateTransaction","params":[{{"tx":"{good}","\u0074x":"{bad}"}}]}}"#),
    ];
    let all: Vec<(&[u8], i32)> = bodies.iter().map(|body| (body.as_bytes(), code::REQUEST)).collect();
    answered(&all).await;
}

#[tokio::test]
async fn bypass_escaped_method_and_params() {
    let bad = bad();
    let bodies = [
        format!(r#"{{"id":1,"\u006dethod":"eth_sendRawTransaction","params":["{bad}"]}}"#),
        format!(r#"{{"id":1,"method":"eth_send\u0052awTransaction","params":["{bad}"]}}"#),
        format!(r#"{{"id":1,"method":"eth_sendRawTransaction","p\u0061rams":["\u0030x{}"]}}"#, &bad[2..]),
    ];
    let all: Vec<(&[u8], i32)> = bodies.iter().map(|body| (body.as_bytes(), code::POLICY)).collect();
    answered(&all).await;
}

#[tokio::test]
async fn bypass_other_keys_of_a_request() {
    let world = World::start().await;
    let body = format!(
        r#"{{"id":1,"Method":"eth_sendRawTransaction","METHOD":"x","Params":["{}"],"method":"eth_gasPrice"}}"#,
        bad()
    );
    assert_eq!(world.post(body).await.code(), 0);
    let seen = world.node().seen();
    assert_eq!((seen.len(), seen[0].method.as_str()), (1, "eth_gasPrice"));
    assert!(!seen[0].text.contains("Raw"), "{}", seen[0].text);
}

#[tokio::test]
async fn bypass_jsonrpc_missing_or_other() {
    let body = |version: &str, raw: &str| {
        format!(r#"{{"id":1,{version}"method":"eth_sendRawTransaction","params":["{raw}"]}}"#)
    };
    let (missing, good) = (body("", &bad()), good());
    let old: Vec<String> = ["\"1.0\"", "null", "2", "\"2\""]
        .iter()
        .map(|version| body(&format!("\"jsonrpc\":{version},"), &good))
        .collect();
    let mut all: Vec<(&[u8], i32)> = old.iter().map(|body| (body.as_bytes(), code::REQUEST)).collect();
    all.push((missing.as_bytes(), code::POLICY));
    answered(&all).await;
}

#[tokio::test]
async fn bypass_two_documents_in_a_body() {
    let (one, two) = (text(&good()), text(&bad()));
    let bodies = [
        format!("{one}{two}"),
        format!("{one}\n{two}"),
        format!("{one},"),
        format!("{one}\0"),
        format!("//x\n{one}"),
        format!("{one}//{two}"),
    ];
    let all: Vec<(&[u8], i32)> = bodies.iter().map(|body| (body.as_bytes(), code::PARSE)).collect();
    answered(&all).await;
}

#[tokio::test]
async fn bypass_byte_order_mark_utf_16_and_invalid_utf_8() {
    let good = text(&good());
    let with_mark = [b"\xef\xbb\xbf", good.as_bytes()].concat();
    let utf_16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let utf_16_be: Vec<u8> =
        [0xfe_u8, 0xff].into_iter().chain(good.encode_utf16().flat_map(u16::to_be_bytes)).collect();
    let invalid = [&good.as_bytes()[..good.len() - 1], b",\"x\":\"\xff\"}"].concat();
    let overlong = [&good.as_bytes()[..good.len() - 1], b",\"\xc1\xad\":1}"].concat();
    answered(&[
        (&with_mark, code::PARSE),
        (&utf_16, code::PARSE),
        (&utf_16_be, code::PARSE),
        (&invalid, code::PARSE),
        (&overlong, code::PARSE),
    ])
    .await;
}

#[tokio::test]
async fn bypass_deep_nesting() {
    let deep = |count: usize| {
        let value = "[".repeat(count) + &"]".repeat(count);
        format!(r#"{{"id":1,"x":{value},"method":"eth_sendRawTransaction","params":["{}"]}}"#, good())
    };
    let open = "[".repeat(1 << 20);
    let keys = r#"{"a":"#.repeat(1 << 18);
    answered(&[
        (deep(100).as_bytes(), code::REQUEST),
        (deep(100_000).as_bytes(), code::REQUEST),
        (open.as_bytes(), code::REQUEST),
        (keys.as_bytes(), code::REQUEST),
    ])
    .await;
}

#[tokio::test]
async fn id_above_2_53_echoed() {
    let world = World::start().await;
    let long = "9".repeat(200);
    for id in ["9007199254740993", "1.0", "-0", "1e308", long.as_str(), "\"\\u0061\\/b\"", "null", "\"\""] {
        for (body, member) in [
            (format!(r#"{{"id":{id},"method":"eth_gasPrice"}}"#), "result"),
            (format!(r#"{{"id":{id},"method":"eth_sendRawTransaction","params":["{}"]}}"#, bad()), "error"),
        ] {
            let got = world.post(body).await;
            let expected = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{member}\":");
            assert!(got.text.starts_with(&expected), "{} {expected}", got.text);
        }
    }
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn notification_send_is_screened() {
    let world = World::start().await;
    let body = |raw: &str| format!(r#"{{"jsonrpc":"2.0","method":"eth_sendRawTransaction","params":["{raw}"]}}"#);
    let got = world.post(body(&bad())).await;
    assert_eq!((got.status.as_u16(), got.text.as_str()), (200, ""));
    world.nothing_reached();
    let got = world.post(body(&good())).await;
    assert_eq!(got.text, "");
    assert_eq!(world.sent(), [good()]);
    let batch = format!("[{},{}]", body(&bad()), body(&bad()));
    assert_eq!(world.post(batch).await.text, "");
    assert_eq!(world.sent().len(), 1);
}

async fn all(mut encoder: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.read_to_end(&mut out).await.unwrap();
    out
}

async fn compressed(encoding: &str, text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    match encoding {
        "gzip" | "x-gzip" => all(GzipEncoder::new(bytes)).await,
        "deflate" => all(ZlibEncoder::new(bytes)).await,
        "br" => all(BrotliEncoder::new(bytes)).await,
        _ => all(ZstdEncoder::new(bytes)).await,
    }
}

async fn screened_as(encoding: &str) {
    let world = World::start().await;
    let send = async |raw: &str| -> Got {
        let body = compressed(encoding, &text(raw)).await;
        world.send(Method::POST, "/", &[("content-encoding", encoding)], body.into()).await
    };
    assert_eq!(send(&bad()).await.code(), i64::from(code::POLICY));
    world.nothing_reached();
    assert_eq!(send(&good()).await.code(), 0);
    assert_eq!(world.sent(), [good()]);
    // What does not end where its encoding ends, what is too long, and what is in another encoding.
    world.node().shared.seen.lock().unwrap().clear();
    let mut more = compressed(encoding, &text(&good())).await;
    more.extend_from_slice(text(&bad()).as_bytes());
    assert_eq!(world.send(Method::POST, "/", &[("content-encoding", encoding)], more.into()).await.status, 400);
    let bomb = compressed(encoding, &" ".repeat(11 << 20)).await;
    assert!(bomb.len() < 1 << 20);
    assert_eq!(world.send(Method::POST, "/", &[("content-encoding", encoding)], bomb.into()).await.status, 413);
    let got = world.send(Method::POST, "/", &[("content-encoding", encoding)], text(&good()).into()).await;
    assert_eq!(got.status, 400);
    world.nothing_reached();
}

#[tokio::test]
async fn bypass_gzip() {
    screened_as("gzip").await;
    screened_as("x-gzip").await;
}

#[tokio::test]
async fn bypass_deflate() {
    screened_as("deflate").await;
}

#[tokio::test]
async fn bypass_br() {
    screened_as("br").await;
}

#[tokio::test]
async fn bypass_zstd() {
    screened_as("zstd").await;
}

#[tokio::test]
async fn bypass_other_and_doubled_encodings() {
    let world = World::start().await;
    for headers in [
        &[("content-encoding", "compress")][..],
        &[("content-encoding", "gzip, br")],
        &[("content-encoding", "gzip"), ("content-encoding", "gzip")],
        &[("content-encoding", "")],
    ] {
        assert_eq!(world.send(Method::POST, "/", headers, text(&good()).into()).await.status, 415, "{headers:?}");
    }
    world.nothing_reached();
}

#[tokio::test]
async fn bypass_text_plain_and_no_type() {
    let world = World::start().await;
    for headers in [&[("content-type", "text/plain")][..], &[], &[("content-type", "application/json; charset=UTF-8")]]
    {
        let got = world.send(Method::POST, "/", headers, text(&bad()).into()).await;
        assert_eq!(got.code(), i64::from(code::POLICY), "{headers:?}");
    }
    for charset in ["utf-16", "utf-7", "iso-8859-1"] {
        let kind = format!("application/json; charset={charset}");
        let got = world.send(Method::POST, "/", &[("content-type", kind.as_str())], text(&good()).into()).await;
        assert_eq!(got.status, 415);
    }
    world.nothing_reached();
}

fn http(headers: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\n{headers}\r\n{body}")
}

#[tokio::test]
async fn bypass_chunked_with_content_length() {
    let world = World::start().await;
    let (good, bad) = (text(&good()), text(&bad()));
    let chunked = format!("{:x}\r\n{bad}\r\n0\r\n\r\n", bad.len());
    world
        .bytes(http(&format!("content-length: {}\r\ntransfer-encoding: chunked\r\n", good.len()), &chunked).as_bytes())
        .await;
    world
        .bytes(http(&format!("transfer-encoding: chunked\r\ncontent-length: {}\r\n", good.len()), &chunked).as_bytes())
        .await;
    world.bytes(http("content-length: 3\r\ncontent-length: 900\r\n", &good).as_bytes()).await;
    world.bytes(http("transfer-encoding: chunked, identity\r\n", &chunked).as_bytes()).await;
    world.bytes(http("transfer-encoding: xchunked\r\n", &chunked).as_bytes()).await;
    world.nothing_reached();
    let read = world.bytes(http("transfer-encoding: chunked\r\n", &chunked).as_bytes()).await;
    assert!(read.contains("-32003"), "{read}");
    world.nothing_reached();
}

#[tokio::test]
async fn bypass_pipelining() {
    let world = World::start().await;
    let of = |body: &str| http(&format!("content-length: {}\r\n", body.len()), body);
    let read = world.bytes((of(&text(&good())) + &of(&text(&bad())) + &of(&text(&bad()))).as_bytes()).await;
    assert_eq!(read.matches("-32003").count(), 2, "{read}");
    assert_eq!(world.sent(), [good()]);
}

#[tokio::test]
async fn bypass_http_2_preface_and_http_0_9() {
    let world = World::start().await;
    let body = text(&good());
    let preface = format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{body}");
    let read = world.bytes(preface.as_bytes()).await;
    assert!(!read.contains("result"), "{read}");
    world.bytes(format!("POST /\r\n\r\n{body}").as_bytes()).await;
    world.nothing_reached();
    // The offer to go on in HTTP/2 is passed over: what follows is read as HTTP/1.1.
    let bad = text(&bad());
    let upgrade = format!(
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\ncontent-length: {}\r\n",
        bad.len()
    );
    let read = world.bytes(http(&upgrade, &bad).as_bytes()).await;
    assert!(read.contains("-32003"), "{read}");
    world.nothing_reached();
}

#[tokio::test]
async fn bypass_params_as_object_missing_or_null() {
    let (bad, good) = (bad(), good());
    let bodies = [
        r#"{"id":1,"method":"eth_sendRawTransaction"}"#.to_owned(),
        r#"{"id":1,"method":"eth_sendRawTransaction","params":null}"#.to_owned(),
        format!(r#"{{"id":1,"method":"eth_sendRawTransaction","params":{{"0":"{good}"}}}}"#),
        format!(r#"{{"id":1,"method":"eth_sendRawTransaction","params":{{"data":"{bad}"}}}}"#),
        format!(r#"{{"id":1,"method":"eth_sendRawTransaction","params":["{good}","{bad}"]}}"#),
        format!(r#"{{"id":1,"method":"eth_sendRawTransaction","params":["{good}",null]}}"#),
        format!(r#"{{"id":1,"method":"eth_sendRawTransaction","params":[["{good}"]]}}"#),
    ];
    let all: Vec<(&[u8], i32)> = bodies.iter().map(|body| (body.as_bytes(), code::PARAMS)).collect();
    answered(&all).await;
    let text = format!(r#"{{"id":1,"method":"eth_sendRawTransaction","params":"{good}"}}"#);
    answered(&[(text.as_bytes(), code::REQUEST)]).await;
}

#[tokio::test]
async fn bypass_body_too_long() {
    let world = World::with(1, |config| config.limits.body_bytes = 4_096).await;
    let body = format!("{}{}", " ".repeat(4_096), text(&good()));
    assert_eq!(world.post(body.clone()).await.status, 413);
    let read = world
        .bytes(http("transfer-encoding: chunked\r\n", &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())).as_bytes())
        .await;
    assert!(read.contains("413"), "{read}");
    world.nothing_reached();
}

/// Splices of requests: whatever another parser reads in a body, no bad transaction arrives.
#[test]
fn bypass_spliced_bodies() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let world = runtime.block_on(World::start());
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"id\":1",
        "\"method\":\"eth_sendRawTransaction\"",
        "\"method\":\"eth_call\"",
        "\"\\u006dethod\":\"eth_sendRawTransaction\"",
        "\"params\":[\"BAD\"]",
        "\"params\":{\"tx\":\"BAD\"}",
        "\"params\":[{\"txs\":[\"BAD\"]}]",
        "\"method\":\"eth_sendBundle\"",
        "\"jsonrpc\":\"2.0\"",
        "\"BAD\"",
        " ",
        "\n",
        "null",
        "{\"id\":1,\"method\":\"eth_sendRawTransaction\",\"params\":[\"BAD\"]}",
        "\u{feff}",
        "\"id\":null",
    ];
    let bad = bad();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases: 300, ..ProptestConfig::default() });
    runner
        .run(&prop::collection::vec(prop::sample::select(pieces.to_vec()), 1..14), |pieces| {
            let body = pieces.concat().replace("BAD", &bad);
            let got = runtime.block_on(world.post(body));
            prop_assert!(got.status == 200);
            Ok(())
        })
        .unwrap();
    for seen in world.node().seen() {
        assert!(!seen.text.contains(&bad[2..]), "{seen:?}");
    }
}
