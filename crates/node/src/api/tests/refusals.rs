//! What is refused: with its code, and without any change of the state.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use surety_ledger::testing::account;
use surety_ledger::{SignedTransaction, Transaction};
use surety_primitives::{Amount, NetworkId, Seconds, codec};

use super::conform::assert_conforms;
use super::fixture::{Site, ask, get, market, post, site, site_with, transfer};
use crate::api::Limits;
use crate::api::problem::Kind;

async fn refused(site: &Site, request: Request<Body>, status: u16, code: u16) -> Value {
    let state = site.chain.state();
    let what = format!("{} {}", request.method(), request.uri());
    let (answered, kind, body) = ask(&site.api.router(), request).await;
    assert_eq!((answered.as_u16(), &body["code"]), (status, &json!(code)), "{what}: {body}");
    assert_eq!(kind, "application/problem+json", "{what}");
    assert_eq!(body["status"], json!(status), "{what}");
    assert_conforms(&body, "Problem");
    assert_eq!(site.chain.state(), state, "{what}");
    body
}

fn posted(body: impl Into<Body>) -> Request<Body> {
    Request::post("/v1/transactions").header("content-type", "application/json").body(body.into()).unwrap()
}

#[tokio::test]
async fn parameters_that_are_not_in_their_form_are_named() {
    let site = market().await;
    for path in [
        "/v1/services?limit=0",
        "/v1/services?limit=201",
        "/v1/services?limit=1000000000000",
        "/v1/services?limit=-1",
        "/v1/services?limit=x",
        "/v1/services?limit=1&limit=2",
        "/v1/services?sort=best",
        "/v1/services?cursor=zz",
        "/v1/services?cursor=1-",
        "/v1/services?cursor=%2B1-1",
        "/v1/services?max_price=1.5",
        "/v1/services?max_price=%2B1",
        "/v1/services?min_cover=999999999999999999999999999999999999999999",
        "/v1/services?paused=maybe",
        "/v1/services?category=70000",
        "/v1/services?txt=phishing",
        "/v1/services/x",
        "/v1/services/-1",
        "/v1/services/18446744073709551616",
        "/v1/services/1?proof=2",
        "/v1/providers/1/purchases?cursor=-1",
        "/v1/providers/1/purchases?wait=61",
        "/v1/purchases/0x01",
        "/v1/purchases/%ff",
        "/v1/accounts/0x12",
        "/v1/accounts/ana",
        "/v1/rows/0x1234",
        "/v1/rows/zz",
        "/v1/blocks/newest",
        "/v1/operators?cursor=1",
        "/v1/events?module=weather",
        "/v1/events?account=1",
        "/v1/events?from=1000",
        "/v1/transactions/1",
        "/v1/params?x=1",
    ] {
        refused(&site, Request::get(path).body(Body::empty()).unwrap(), 400, Kind::BadParameter.code()).await;
    }
    let text = format!("/v1/services?text={}", "a".repeat(257));
    refused(&site, Request::get(text).body(Body::empty()).unwrap(), 400, 9001).await;
    let resumed = Request::get("/v1/events").header("last-event-id", "yesterday").body(Body::empty()).unwrap();
    refused(&site, resumed, 400, 9001).await;
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_missing() {
    let site = market().await;
    site.chain.prune_below(3);
    for (path, code) in [
        ("/v1/services/99", 9004),
        ("/v1/providers/99", 9004),
        ("/v1/providers/99/purchases", 9004),
        ("/v1/datasets/9", 9004),
        ("/v1/datasets/1/9", 9004),
        ("/v1/purchases/0x00000000000000000000000000000000", 9004),
        ("/v1/blocks/0", 9004),
        ("/v1/blocks/18446744073709551615", 9004),
        ("/v1/blocks/2", 9017),
        ("/v1/nothing", 9003),
        ("/", 9003),
    ] {
        refused(&site, Request::get(path).body(Body::empty()).unwrap(), 404, code).await;
    }
    let unknown = format!("/v1/transactions/0x{}", "00".repeat(32));
    refused(&site, Request::get(unknown).body(Body::empty()).unwrap(), 404, 9004).await;
}

#[tokio::test]
async fn a_wrong_method_is_answered_with_the_right_ones() {
    let site = site(true);
    for (method, path, allowed) in [
        (Method::DELETE, "/v1/services", "GET,HEAD"),
        (Method::POST, "/v1/params", "GET,HEAD"),
        (Method::PUT, "/v1/transactions", "POST"),
        (Method::GET, "/v1/typed-data", "POST"),
    ] {
        let request = || Request::builder().method(&method).uri(path).body(Body::empty()).unwrap();
        refused(&site, request(), 405, Kind::MethodNotAllowed.code()).await;
        let response = tower::ServiceExt::oneshot(site.api.router(), request()).await.unwrap();
        assert_eq!(response.headers()["allow"], allowed, "{path}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_transaction_are_refused() {
    let site = site(true);
    let good = transfer(&site, 0);
    let bytes = codec::encode(&good);
    let hex = |bytes: &[u8]| json!({"transaction": const_hex::encode_prefixed(bytes)}).to_string();
    let json = |change: fn(&mut Value)| {
        let mut body = serde_json::to_value(&good).unwrap();
        change(&mut body);
        body.to_string()
    };
    // An encoded transaction starts with network (4), nonce, expires (8 each) and fee (16); then the action's tag.
    let mut unknown_tag = bytes.clone();
    unknown_tag[36] = 250;
    let trailing = [bytes.as_slice(), &[0]].concat();
    for (body, status, code) in [
        (String::new(), 400, 9002),
        ("{".to_owned(), 400, 9002),
        ("[]".to_owned(), 400, 9002),
        ("null".to_owned(), 400, 9002),
        ("{}".to_owned(), 400, 9002),
        ("[".repeat(10_000), 400, 9002),
        (r#"{"transaction":5}"#.to_owned(), 400, 9002),
        (r#"{"transaction":"0xzz"}"#.to_owned(), 400, 9002),
        (r#"{"transaction":"0x123"}"#.to_owned(), 400, 9002),
        (r#"{"transaction":"0x00","fee":"1"}"#.to_owned(), 400, 9002),
        (hex(&[]), 422, 7),
        (hex(&bytes[..bytes.len() - 1]), 422, 7),
        (hex(&trailing), 422, 7),
        (hex(&unknown_tag), 422, 7),
        (hex(&vec![0; 65 * 1_024]), 422, 8),
        (json(|body| body["action"] = json!("Steal")), 422, Kind::UnknownAction.code()),
        (json(|body| body["action"] = json!(10)), 400, 9002),
        (json(|body| body["fields"]["amount"] = json!(5)), 400, 9002),
        (json(|body| body["fields"]["amount"] = json!("-5")), 400, 9002),
        (json(|body| body["fields"]["more"] = json!("5")), 400, 9002),
        (json(|body| body["nonce"] = json!(-1)), 400, 9002),
        (json(|body| body["nonce"] = json!(1e30)), 400, 9002),
        (json(|body| body["memo"] = json!("x")), 400, 9002),
        (json(|body| body["signature"] = json!("0x00")), 400, 9002),
        (json(|body| body["signature"] = json!(format!("0x{}", "00".repeat(65)))), 422, 1),
        (json(|body| body["network"] = json!(1)), 422, 2),
    ] {
        refused(&site, posted(body), status, code).await;
    }
}

#[tokio::test]
async fn the_ledgers_rejections_keep_their_codes() {
    let site = site(true);
    let changed = |change: fn(&mut Transaction)| {
        let mut transaction = transfer(&site, 0).transaction;
        change(&mut transaction);
        transaction.sign(&account("ana"))
    };
    let body = |signed: &SignedTransaction| json!({"transaction": const_hex::encode_prefixed(codec::encode(signed))});
    for (signed, code, name) in [
        (changed(|t| t.network = NetworkId(5)), 2, "wrong-network"),
        (changed(|t| t.nonce = 7), 3, "bad-nonce"),
        (changed(|t| t.expires = Seconds(5)), 4, "expired"),
        (changed(|t| t.fee = Amount(1)), 5, "fee-short"),
        (changed(|t| t.fee = Amount::call(5_000)), 6, "cannot-pay-fee"),
    ] {
        let problem = refused(&site, posted(body(&signed).to_string()), 422, code).await;
        assert_eq!(problem["type"], json!(format!("urn:surety:problem:{name}")));
    }
}

#[tokio::test]
async fn the_body_must_be_json_by_its_type_and_within_its_limit() {
    let site = site_with(true, Limits { body_bytes: 1_000, ..Limits::default() });
    for kind in ["text/plain", "application/jsonp", "application/x-www-form-urlencoded", ""] {
        let request = Request::post("/v1/transactions").header("content-type", kind).body(Body::from("{}")).unwrap();
        refused(&site, request, 415, 9009).await;
    }
    let bare = Request::post("/v1/transactions").body(Body::from("{}")).unwrap();
    refused(&site, bare, 415, 9009).await;
    refused(&site, posted("x".repeat(1_001)), 413, 9008).await;
    let stated = Request::post("/v1/transactions")
        .header("content-type", "application/json; charset=utf-8")
        .header("content-length", "99999999999999999999");
    refused(&site, stated.body(Body::from("{")).unwrap(), 400, 9002).await;
    // Without a stated length the limit is found while reading.
    let chunks = (0..20).map(|_| Ok::<_, std::io::Error>(vec![b' '; 100]));
    let unstated = Body::from_stream(futures::stream::iter(chunks));
    refused(&site, posted(unstated), 413, 9008).await;
    let broken = Body::from_stream(futures::stream::iter([Err::<Vec<u8>, _>(std::io::Error::other("gone"))]));
    refused(&site, posted(broken), 400, 9002).await;
}

#[tokio::test]
async fn typed_data_is_refused_where_the_action_would_be() {
    let site = site(true);
    let good = json!({
        "signer": account("ana").address(), "action": "Transfer",
        "fields": {"to": account("ben").address(), "amount": "5"},
    });
    for (pointer, value, status, code) in [
        ("/action", json!("Steal"), 422, 9011),
        ("/action", json!(1), 400, 9002),
        ("/signer", json!("ana"), 400, 9002),
        ("/fields/amount", json!("0"), 422, 1001),
        ("/fields/amount", json!("x"), 400, 9002),
        ("/fields", json!([]), 400, 9002),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(pointer).unwrap() = value;
        let (answered, answer) = post(&site, "/v1/typed-data", &body).await;
        assert_eq!((answered.as_u16(), &answer["code"]), (status, &json!(code)), "{body}: {answer}");
    }
}

#[tokio::test]
async fn a_client_above_its_rate_waits_and_others_do_not() {
    let limits = Limits { rate: 1, burst: 2, exempt_loopback: false, ..Limits::default() };
    let site = site_with(true, limits);
    let from = |address: &str| {
        let mut request = Request::get("/v1/params").body(Body::empty()).unwrap();
        request.extensions_mut().insert(crate::api::guard::Peer(address.parse().unwrap()));
        request
    };
    for _ in 0..2 {
        assert_eq!(ask(&site.api.router(), from("10.0.0.1")).await.0, StatusCode::OK);
    }
    let problem = refused(&site, from("10.0.0.1"), 429, Kind::RateLimited.code()).await;
    assert_eq!(problem["retry_after"], json!(1));
    assert_eq!(ask(&site.api.router(), from("10.0.0.2")).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_node_without_a_state_says_so() {
    let site = site(true);
    site.chain.set_ready(false);
    for path in ["/v1/params", "/v1/finalized", "/v1/blocks/latest", "/v1/services/1", "/v1/events", "/v1/committee"] {
        refused(&site, Request::get(path).body(Body::empty()).unwrap(), 503, Kind::NotReady.code()).await;
    }
    let (status, body) = get(&site, "/health").await;
    assert_eq!((status, &body["status"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("starting")));
    assert_conforms(&body, "Health");
    assert_eq!(get(&site, "/v1/status").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_page_of_another_site_may_read_and_submit() {
    let site = site(true);
    let preflight = Request::builder()
        .method(Method::OPTIONS)
        .uri("/v1/transactions")
        .header("origin", "https://wallet.example")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "content-type")
        .body(Body::empty())
        .unwrap();
    let response = tower::ServiceExt::oneshot(site.api.router(), preflight).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert!(response.headers()["access-control-allow-methods"].to_str().unwrap().contains("POST"));
    assert!(response.headers()["access-control-allow-headers"].to_str().unwrap().contains("content-type"));
    assert!(!response.headers().contains_key("access-control-allow-credentials"));
    let read = Request::get("/v1/params").header("origin", "https://wallet.example").body(Body::empty()).unwrap();
    let response = tower::ServiceExt::oneshot(site.api.router(), read).await.unwrap();
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn an_altered_transaction_is_told_that_its_signature_is_wrong() {
    let site = site(true);
    let mut altered = transfer(&site, 0);
    altered.transaction.nonce += 1;
    let signer = account("ana").address();
    let body = json!({"transaction": const_hex::encode_prefixed(codec::encode(&altered)), "signer": signer});
    let request = Request::post("/v1/transactions").header("content-type", "application/json");
    refused(&site, request.body(Body::from(body.to_string())).unwrap(), 422, Kind::WrongSigner.code()).await;
}
