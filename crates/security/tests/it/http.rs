//! The services over HTTP, as a client and as the sidecar see them.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::Value;
use surety_primitives::access::{BASIS_HEADER, decode_b64};
use surety_primitives::answer::Basis;
use surety_primitives::answer::claims::Claims;
use surety_primitives::{DatasetId, codec};
use surety_security::lists::{Dataset, Format, Pin, Semantics, Source, SourceSpec, Subject};
use surety_security::{Lists, required_claims, router};
use tower::ServiceExt;

fn dataset(subject: Subject, semantics: Semantics, text: &str, id: u64) -> Dataset {
    let spec = SourceSpec {
        name: "a".to_owned(),
        version: "1".to_owned(),
        as_of: "2026-02-03".parse().unwrap(),
        licence: "MIT".to_owned(),
        format: Format::Lines,
        subject,
        semantics,
        label: "sanctioned".to_owned(),
    };
    let sources = Source::read(&spec, text.as_bytes()).unwrap();
    Dataset::merge("a", "1", sources).unwrap().with_pin(Pin { id: DatasetId(id), version: 1 })
}

const ADDRESS: &str = "0x12d66f87a04a9e220743712ce6d9bb1b5616b8fc";

async fn get(path: &str) -> (StatusCode, HeaderMap, Value) {
    ask(path, Semantics::Label).await
}

/// Asks services whose one address is listed in this sense.
async fn ask(path: &str, sense: Semantics) -> (StatusCode, HeaderMap, Value) {
    let names = dataset(Subject::Domain, Semantics::Deny, "evil.example", 1);
    let addresses = dataset(Subject::Address, sense, ADDRESS, 2);
    let service = router(Arc::new(Lists::new(Some(names), Some(addresses))));
    let response = service.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    (head.status, head.headers, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn every_service_answers_in_the_envelope() {
    let (status, _, site) = get("/api/v1/phishing_site?url=https%3A%2F%2Fwww.evil.example%2Fx").await;
    assert_eq!((status, &site["code"], &site["message"]), (StatusCode::OK, &1.into(), &"ok".into()));
    assert_eq!(site["result"]["phishing_site"], 1);
    let (_, _, address) = get(&format!("/api/v1/address_security/{ADDRESS}?chain_id=56")).await;
    assert_eq!(address["result"]["sanctioned"], "1");
    let (_, _, chains) = get("/api/v1/supported_chains").await;
    assert_eq!(chains["result"][0], serde_json::json!({"name": "Ethereum", "id": "1"}));
}

#[tokio::test]
async fn what_a_signature_needs_stands_in_the_headers() {
    let (_, headers, _) = get("/api/v1/phishing_site?url=nobody.example").await;
    let text = |name: &str| headers.get(name).unwrap().to_str().unwrap().to_owned();
    let basis: Basis = codec::decode(&decode_b64(&text(BASIS_HEADER), 1024, "a basis").unwrap(), 1024).unwrap();
    assert_eq!((basis.datasets().len(), basis.datasets()[0].id), (1, DatasetId(1)));
    assert_eq!(basis.engine, surety_security::service::engine());
    let claims = Claims::from_header(&text("surety-claims")).unwrap();
    let names: Vec<_> = claims.as_slice().iter().map(|claim| (claim.key.to_string(), claim.found)).collect();
    assert_eq!(names, [("17:example".to_owned(), None), ("17:nobody.example".to_owned(), None)]);
}

#[tokio::test]
async fn bad_requests_get_a_code_and_not_a_crash() {
    for (path, status, code) in [
        ("/api/v1/phishing_site", 200, 5006),
        ("/api/v1/phishing_site?url=%FF%FE", 200, 5006),
        ("/api/v1/phishing_site?url=a&url=b", 200, 5006),
        ("/api/v1/address_security/0x12", 200, 2004),
        ("/api/v1/address_security/%FF", 200, 5006),
        ("/api/v1/nothing", 404, 5006),
    ] {
        let (said, headers, body) = get(path).await;
        assert_eq!((said.as_u16(), &body["code"]), (status, &code.into()), "{path}");
        assert_eq!(body["result"], Value::Null);
        // Whom it answers at all, a service tells what it rests on.
        assert_eq!(headers.contains_key(BASIS_HEADER), said == 200);
    }
    let long = format!("/api/v1/phishing_site?url={}", "a".repeat(9_000));
    assert_eq!(get(&long).await.2["code"], 5006);
}

#[tokio::test]
async fn an_answer_makes_the_claims_that_a_caller_who_is_covered_requires() {
    let address = format!("api/v1/address_security/{ADDRESS}?chain_id=1");
    for (path, keys) in [
        ("api/v1/phishing_site?url=https%3A%2F%2Fa.nobody.example%2Fx", 3),
        (&address, 2),
        ("below/a/door/api/v1/phishing_site?url=evil.example", 2),
    ] {
        let required = required_claims(path);
        assert_eq!(required.len(), keys, "{path}");
        let (_, headers, _) = get(&format!("/{}", path.trim_start_matches("below/a/door/"))).await;
        let claims = Claims::from_header(headers["surety-claims"].to_str().unwrap()).unwrap();
        for key in required {
            assert!(claims.as_slice().iter().any(|claim| claim.key == key), "{path}: {key}");
        }
    }
    let refused = format!("api/v1/address_security/{ADDRESS}?chain_id=999999999");
    for path in ["api/v1/phishing_site", "api/v1/phishing_site?url=", "api/v1/supported_chains", "else", "", &refused] {
        assert_eq!(required_claims(path), [], "{path}");
    }
}

#[tokio::test]
async fn an_address_that_is_only_denied_is_claimed_to_be() {
    let path = format!("/api/v1/address_security/{ADDRESS}?chain_id=1");
    let (_, headers, said) = ask(&path, Semantics::Deny).await;
    assert_eq!(said["result"]["blacklist_doubt"], "1", "{said}");
    let claims = Claims::from_header(headers["surety-claims"].to_str().unwrap()).unwrap();
    let found: Vec<bool> = required_claims(&path)
        .iter()
        .map(|key| claims.as_slice().iter().find(|claim| claim.key == *key).unwrap().found.is_some())
        .collect();
    assert_eq!(found, [false, true]);
}

#[tokio::test]
async fn state_is_answered_over_http_too() {
    let town = crate::town::Town::new();
    let service = surety_security::router_on(Arc::new(crate::town::lists()), town.chains());
    let send = |request: Request<Body>| {
        let service = service.clone();
        async move {
            let (head, body) = service.oneshot(request).await.unwrap().into_parts();
            let body = to_bytes(body, 8 << 20).await.unwrap();
            (head.status.as_u16(), head.headers, serde_json::from_slice::<Value>(&body).unwrap())
        }
    };
    let transfer = crate::town::asked(town.token, 0, &crate::town::transfer(crate::town::BOB, 5));
    for path in ["/api/v1/tx_simulate", "/v1/screen"] {
        let (status, headers, said) = send(Request::post(path).body(Body::from(transfer.clone())).unwrap()).await;
        assert_eq!((status, &said["code"], &said["surety"]["block_number"]), (200, &1.into(), &7.into()), "{said}");
        let basis = decode_b64(headers[BASIS_HEADER].to_str().unwrap(), 1024, "a basis").unwrap();
        let basis: Basis = codec::decode(&basis, 1024).unwrap();
        assert_eq!(basis.block.unwrap().number, 7);
        assert!(Claims::from_header(headers["surety-claims"].to_str().unwrap()).is_ok());
        let (status, _, said) = send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!((status, &said["code"]), (405, &5006.into()));
        for bad in [vec![b' '; (4 << 20) + 1], b"{\"chain_id\":1,\"chain_id\":2}".to_vec(), Vec::new()] {
            let (status, _, said) = send(Request::post(path).body(Body::from(bad)).unwrap()).await;
            assert_eq!((status, &said["code"]), (200, &5006.into()));
        }
    }
    let (_, _, said) = send(Request::get("/api/v1/supported_chains").body(Body::empty()).unwrap()).await;
    assert!(said["result"].as_array().unwrap().iter().any(|chain| chain["id"] == "31337"));
    let (_, _, said) = send(Request::get("/api/v1/dapp_security?url=a.example").body(Body::empty()).unwrap()).await;
    assert_eq!(said["code"], 2026);
}
