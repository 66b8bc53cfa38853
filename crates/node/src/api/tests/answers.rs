//! What is answered when all is well.

use axum::http::StatusCode;
use serde_json::{Value, json};
use surety_ledger::action::ACTIONS;
use surety_ledger::bank::ACCOUNTS;
use surety_ledger::testing::account;
use surety_ledger::{SignedTransaction, Transaction};
use surety_primitives::api::{
    AccountView, CommitteeView, Feed, Numbered, Page, ProvenRow, StatusView, TransactionStatus, TransactionView,
    TypedDataReply,
};
use surety_primitives::codec;
use surety_primitives::header::FinalHeader;

use super::conform::assert_conforms;
use super::fixture::{Site, get, market, nonce_of, post, site, transfer};
use crate::api::document;
use crate::api::routes::routes;

/// A path of each route that answers with JSON, with what stands for its parameters.
fn samples(site: &Site) -> Vec<(&'static str, String)> {
    let ana = account("ana").address();
    let row = ACCOUNTS.key(&ana);
    let purchase = "0x01010101010101010101010101010101";
    vec![
        ("/v1/services", "/v1/services?text=phish&limit=1".to_owned()),
        ("/v1/services", "/v1/services?sort=call_price&limit=1".to_owned()),
        ("/v1/services/{id}", "/v1/services/1?proof=1".to_owned()),
        ("/v1/providers/{id}", "/v1/providers/1?proof=1".to_owned()),
        ("/v1/providers/{id}/purchases", "/v1/providers/1/purchases?cursor=1&proof=1".to_owned()),
        ("/v1/providers/{id}/purchases", "/v1/providers/1/purchases?cursor=3".to_owned()),
        ("/v1/purchases/{id}", format!("/v1/purchases/{purchase}?proof=1")),
        ("/v1/datasets", "/v1/datasets?limit=1".to_owned()),
        ("/v1/datasets/{id}", "/v1/datasets/1?proof=1".to_owned()),
        ("/v1/datasets/{id}/{version}", "/v1/datasets/1/1?proof=1".to_owned()),
        ("/v1/accounts/{address}", format!("/v1/accounts/{ana}?proof=1")),
        ("/v1/accounts/{address}", "/v1/accounts/0x00000000000000000000000000000000000000aa".to_owned()),
        ("/v1/params", "/v1/params".to_owned()),
        ("/v1/fees", "/v1/fees".to_owned()),
        ("/v1/supply", "/v1/supply".to_owned()),
        ("/v1/actions", "/v1/actions".to_owned()),
        ("/v1/errors", "/v1/errors".to_owned()),
        ("/v1/operators", "/v1/operators?limit=3".to_owned()),
        ("/v1/committee", "/v1/committee".to_owned()),
        ("/v1/blocks/latest", "/v1/blocks/latest".to_owned()),
        ("/v1/blocks/{height}", format!("/v1/blocks/{}", site.chain.height())),
        ("/v1/finalized", "/v1/finalized".to_owned()),
        ("/v1/rows/{key}", format!("/v1/rows/{row}")),
        ("/v1/rows/{key}", format!("/v1/rows/0x{}", "11".repeat(32))),
        ("/v1/audit", "/v1/audit".to_owned()),
        ("/v1/status", "/v1/status".to_owned()),
        ("/health", "/health".to_owned()),
        ("/openapi.json", "/openapi.json".to_owned()),
    ]
}

#[tokio::test]
async fn every_answer_is_what_the_document_says() {
    let site = market().await;
    let samples = samples(&site);
    for route in routes().iter().filter(|route| route.method == "get" && !route.answer.contains('/')) {
        if route.path == "/v1/transactions/{hash}" {
            continue;
        }
        let mut asked = samples.iter().filter(|(path, _)| *path == route.path).peekable();
        assert!(asked.peek().is_some(), "no sample of {}", route.path);
        for (_, path) in asked {
            let (status, body) = get(&site, path).await;
            assert_eq!(status, StatusCode::OK, "{path}: {body}");
            assert_conforms(&body, route.answer);
        }
    }
}

#[tokio::test]
async fn the_clients_types_read_the_answers() {
    use surety_ledger::market::state as market_state;
    fn read<T: serde::de::DeserializeOwned>(body: (StatusCode, Value)) -> T {
        serde_json::from_value(body.1).unwrap()
    }
    type Report = CommitteeView<surety_ledger::epochs::SeatRecord, surety_ledger::epochs::Security>;
    let site = market().await;
    let page: Page<Numbered<surety_primitives::ServiceId, market_state::Service>> =
        read(get(&site, "/v1/services").await);
    assert_eq!(page.items.len(), 2);
    let one: Numbered<surety_primitives::ProviderId, market_state::Provider> =
        read(get(&site, "/v1/providers/1").await);
    assert_eq!(one.record.sales, 3);
    let feed: Feed<market_state::PurchaseRecord> = read(get(&site, "/v1/providers/1/purchases?cursor=1").await);
    assert_eq!((feed.items.iter().map(|sale| sale.n).collect::<Vec<_>>(), feed.cursor), (vec![1, 2], 3));
    let _: Page<Numbered<surety_primitives::DatasetId, market_state::Dataset>> = read(get(&site, "/v1/datasets").await);
    let version: Numbered<u64, market_state::DatasetVersion> = read(get(&site, "/v1/datasets/1/1").await);
    assert_eq!(version.record.count, 5);
    let report: Report = read(get(&site, "/v1/committee").await);
    assert_eq!((report.security.halt.operators, report.committee.quorum()), (2, 3));
    let _: surety_ledger::params::Params = read(get(&site, "/v1/params").await);
    let _: surety_ledger::fees::Fees = read(get(&site, "/v1/fees").await);
    let _: surety_ledger::bank::Totals = read(get(&site, "/v1/supply").await);
    let _: FinalHeader = read(get(&site, "/v1/finalized").await);
    let _: StatusView = read(get(&site, "/v1/status").await);
    let row: ProvenRow = read(get(&site, &format!("/v1/rows/0x{}", "11".repeat(32))).await);
    assert!(row.value.is_none());
    let account: AccountView = read(get(&site, &format!("/v1/accounts/{}", account("ana").address())).await);
    assert_eq!(account.next_nonce, Some(0));
}

#[tokio::test]
async fn a_transaction_in_bytes_is_final_with_its_receipt_and_may_be_sent_again() {
    let site = site(false);
    let signed = transfer(&site, 0);
    let body = json!({"transaction": const_hex::encode_prefixed(codec::encode(&signed))});
    let (status, first) = post(&site, "/v1/transactions", &body).await;
    assert_eq!((status, &first["status"]), (StatusCode::ACCEPTED, &json!("pending")));
    assert_conforms(&first, "TransactionView");

    let path = format!("/v1/transactions/{}?wait=20", first["hash"].as_str().unwrap());
    let (answer, ()) = tokio::join!(get(&site, &path), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        site.chain.make_block();
    });
    assert_eq!((answer.0, &answer.1["status"]), (StatusCode::OK, &json!("final")));
    assert_eq!(answer.1["receipt"]["events"][0]["event"], "Transferred");
    assert_conforms(&answer.1, "TransactionView");

    // The nonce is used now; whoever lost the answer hears that it worked.
    let state = site.chain.state();
    let (status, again) = post(&site, "/v1/transactions?wait=5", &body).await;
    assert_eq!((status, &again), (StatusCode::OK, &answer.1));
    assert_eq!(site.chain.state(), state);
}

#[tokio::test]
async fn a_wallet_signs_the_document_and_the_json_form_is_accepted() {
    let site = site(true);
    let wanted = json!({
        "signer": account("ana").address(),
        "action": "Transfer",
        "fields": {"to": account("ben").address(), "amount": "5"},
    });
    let (status, reply) = post(&site, "/v1/typed-data", &wanted).await;
    assert_eq!(status, StatusCode::OK, "{reply}");
    assert_conforms(&reply, "TypedDataReply");
    assert_eq!(reply["document"]["primaryType"], "Transfer");
    let reply: TypedDataReply<Transaction> = serde_json::from_value(reply).unwrap();
    assert_eq!(reply.transaction.signing_hash(), reply.signing_hash);

    let signed =
        SignedTransaction { signature: account("ana").sign(&reply.signing_hash), transaction: reply.transaction };
    let body = serde_json::to_value(&signed).unwrap();
    assert_conforms(&body, "Submission");
    let (status, answer) = post(&site, "/v1/transactions?wait=5", &body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let view: TransactionView<surety_ledger::Receipt> = serde_json::from_value(answer).unwrap();
    assert_eq!(view.status, TransactionStatus::Final);
    assert_eq!(nonce_of(&site, "ana"), 1);
}

#[tokio::test]
async fn the_document_lists_every_route_and_action_and_none_of_its_references_is_missing() {
    let document = document();
    for route in routes() {
        let operation = &document["paths"][route.path][route.method];
        assert!(operation["summary"].as_str().is_some_and(|text| text.len() > 10), "{}", route.path);
        let segments = route.path.matches('{').count();
        let named = route.parameters.iter().filter(|parameter| parameter.place == "path");
        assert_eq!(named.count(), segments, "{}", route.path);
    }
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    for (_, name) in ACTIONS {
        assert!(document["components"]["schemas"][format!("Signed{name}")].is_object(), "{name}");
    }
    let paths = document["paths"].as_object().unwrap();
    let mut ids: Vec<&str> = paths
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "{ids:?}");
}

#[tokio::test]
async fn every_documented_parameter_is_known_and_no_other_is() {
    let site = market().await;
    let samples = samples(&site);
    for route in routes().iter().filter(|route| route.method == "get") {
        let Some((_, path)) = samples.iter().find(|(path, _)| *path == route.path) else { continue };
        let path = path.split('?').next().unwrap();
        for parameter in route.parameters.iter().filter(|parameter| parameter.place == "query") {
            let value = match parameter.schema {
                "Address" => account("ana").address().to_string(),
                "Cursor" => "ff-1".to_owned(),
                "Sort" => "cover".to_owned(),
                _ => "1".to_owned(),
            };
            let (status, body) = get(&site, &format!("{path}?{}={value}", parameter.name)).await;
            assert_eq!(status, StatusCode::OK, "{path} {}: {body}", parameter.name);
        }
        let (status, body) = get(&site, &format!("{path}?colour=1")).await;
        assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!(9001)), "{path}: {body}");
    }
}

#[tokio::test]
async fn a_proof_waits_for_its_certificate() {
    let site = market().await;
    site.chain.refuse_proofs(2);
    assert_eq!(get(&site, "/v1/services/1?proof=1").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_swept_sale_leaves_its_number_free() {
    let site = market().await;
    use surety_ledger::market::state::{PURCHASES, SALES};
    use surety_primitives::{ProviderId, PurchaseId};
    site.chain.remove(SALES, &(ProviderId(1), 1));
    site.chain.remove(PURCHASES, &PurchaseId([2; 16]));
    let (_, body) = get(&site, "/v1/providers/1/purchases").await;
    let numbers: Vec<u64> = body["items"].as_array().unwrap().iter().map(|item| item["n"].as_u64().unwrap()).collect();
    assert_eq!((numbers, &body["cursor"]), (vec![0, 2], &json!(3)));
    assert_eq!(body["items"][1]["purchase"], json!(PurchaseId([3; 16])));
}

#[tokio::test]
async fn an_audit_adds_the_state_up_says_what_is_wrong_and_may_be_switched_off() {
    let plain = site(true);
    let (status, audit) = get(&plain, "/v1/audit").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(audit["in_accounts"], json!(surety_primitives::Amount::call(2_000)));
    assert_eq!(audit.get("failure"), None);
    // The stake of the market's provider came from nowhere.
    let (status, audit) = get(&market().await, "/v1/audit").await;
    assert_eq!(status, StatusCode::OK);
    assert!(audit["failure"].is_string(), "{audit}");
    plain.chain.offer_audits(false);
    let (status, body) = get(&plain, "/v1/audit").await;
    assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!(9018)));
}
