//! A reply that never came, where nothing is written down.

use hyper::{HeaderMap, Method, StatusCode};
use surety_primitives::Lane;
use surety_primitives::access::{
    CALL_HEADER, Call, Flags, Head, NO_REQUEST, ProblemKind, SignedCall, decode_b64, encode_call,
};
use surety_primitives::answer::SignedAnswer;

use crate::world::{Lanes, PURCHASE, World, call_headers, deadline, key, provider, request};

fn head(flags: Flags, seq: u64, cum: u64) -> Head {
    Head { flags, purchase: PURCHASE, lane: Lane(0), seq, cum, deadline: deadline() }
}

fn signed(seq: u64, cum: u64) -> Call {
    Call::Signed(SignedCall::sign(&key(1), head(Flags::NONE, seq, cum), None, &request("/api/x", b"")).unwrap())
}

/// The Answers of lane 0 from a number on, each checked.
async fn answers(world: &World, from: u64, cum: u64) -> Vec<SignedAnswer> {
    let voucher = Call::Signed(SignedCall::sign(&key(1), head(Flags::VOUCHER, 1, cum), None, &NO_REQUEST).unwrap());
    let mut headers = HeaderMap::new();
    headers.insert(CALL_HEADER, encode_call(&voucher).parse().unwrap());
    let path = format!("/.well-known/surety/answers?lane=0&from={from}");
    let got = world.raw(Method::GET, &path, headers, b"").await;
    let logged: Vec<serde_json::Value> = serde_json::from_slice(&got.body).unwrap();
    let read = |logged: &serde_json::Value| {
        let bytes = decode_b64(logged["answer"].as_str().unwrap(), 4_096, "an Answer").unwrap();
        let signed = SignedAnswer::from_bytes(&bytes).unwrap();
        signed.verify(&provider().public()).unwrap();
        assert_eq!(signed.answer.call.unwrap().seq, logged["seq"].as_u64().unwrap());
        signed
    };
    logged.iter().map(read).collect()
}

#[tokio::test]
async fn a_lost_reply_does_not_end_a_package_with_a_window_of_one() {
    let world = World::with(|_, view| view.window = 1).await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    // Served, and the reply never read.
    assert_eq!(world.call("/api/x", &signed(2, 1), &[], b"").await.status, StatusCode::OK);
    assert_eq!(world.call("/api/x", &signed(3, 1), &[], b"").await.kind(), ProblemKind::VoucherDue);
    let found = answers(&world, 2, 1).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].answer.status, found[0].answer.request), (200, request("/api/x", b"")));
    assert_eq!(world.call("/api/x", &signed(3, 2), &[], b"").await.status, StatusCode::OK);
    assert_eq!(world.reached(), 3);
}

#[tokio::test]
async fn a_streamed_reply_that_broke_off_can_be_acknowledged_too() {
    let world = World::with(|_, view| view.window = 1).await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    let path = "/api/long?30000000";
    let call = SignedCall::sign(&key(1), head(Flags::NONE, 2, 1), None, &request(path, b"")).unwrap();
    let mut headers = call_headers(&Call::Signed(call), &[]);
    headers.insert("te", "trailers".parse().unwrap());
    let mut get =
        hyper::Request::get(format!("http://{}{path}", world.address)).body(http_body_util::Full::default()).unwrap();
    *get.headers_mut() = headers;
    drop(crate::world::http().request(get).await.unwrap());
    for _ in 0..100 {
        if !answers(&world, 2, 1).await.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(answers(&world, 2, 1).await.len(), 1);
    assert_eq!(world.call("/api/x", &signed(3, 2), &[], b"").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_acknowledged_is_not_kept() {
    let world = World::new().await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    assert_eq!(answers(&world, 0, 0).await.len(), 1);
    world.settle(&[lane.voucher()]).await;
    for _ in 0..100 {
        if answers(&world, 0, 1).await.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("still kept");
}
