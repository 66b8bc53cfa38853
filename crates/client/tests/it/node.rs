//! Client and sender against nodes that answer, refuse, lag behind or are not there.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use surety_client::{Client, Error, Options, Sender};
use surety_ledger::bank::{Burn, Transfer};
use surety_ledger::params::Params;
use surety_ledger::{Receipt, SignedTransaction};
use surety_primitives::api::{AccountView, ServiceQuery, StatusView, TransactionStatus};
use surety_primitives::wallet::AccountKey;
use surety_primitives::{Address, Amount, Hash32, NetworkId, Seconds};

const NETWORK: NetworkId = NetworkId(7);
const CLOCK: Seconds = Seconds(1_700_000_000);
const LIMIT: Duration = Duration::from_secs(5);

/// A node that keeps one account's nonce and what it was sent.
#[derive(Debug, Default)]
struct Node {
    nonce: u64,
    /// The account's nonce as it is told: behind, where the node lags.
    told: Option<u64>,
    taken: BTreeMap<String, SignedTransaction>,
    /// Looks at the account until another's transaction of it is final.
    settling: u32,
    /// Looks until a transaction is final.
    lag: u32,
    /// Takes a transaction and breaks the connection instead of answering.
    forgetful: bool,
    /// Takes a transaction and says that its number is wrong.
    lies: bool,
    /// Requests that fail after a transaction was taken.
    outage: u32,
    /// Looks for a transaction have no answer.
    mute: bool,
    /// Takes a transaction, says so, and knows it no more.
    forgets: bool,
    /// Knows the account's state and no receipts.
    blind: bool,
    /// Requests that fail before the node recovers.
    failing: u32,
    /// What ledger rejections its receipts carry.
    failure: Option<(u16, &'static str)>,
    requests: u32,
}

type Shared = Arc<Mutex<Node>>;

async fn start(node: Node) -> (SocketAddr, Shared) {
    let shared = Arc::new(Mutex::new(node));
    let router = Router::new()
        .route("/v1/status", get(status))
        .route("/v1/params", get(|| async { Json(Params::default()) }))
        .route("/v1/accounts/{address}", get(account))
        .route("/v1/transactions", post(submit))
        .route("/v1/transactions/{hash}", get(transaction))
        .route("/v1/services", get(|| async { vec![b' '; 17 << 20] }))
        .route("/v1/events", get(events))
        .fallback(|| async { problem(404, "no-route", 9003) })
        .with_state(Arc::clone(&shared));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, shared)
}

fn problem(status: u16, name: &str, code: u16) -> Response {
    let body = json!({"type": format!("urn:surety:problem:{name}"), "status": status, "detail": "so", "code": code});
    (StatusCode::from_u16(status).unwrap(), [(header::CONTENT_TYPE, "application/problem+json")], body.to_string())
        .into_response()
}

async fn status(State(node): State<Shared>) -> Response {
    let mut node = node.lock().unwrap();
    node.requests += 1;
    if node.failing > 0 {
        node.failing -= 1;
        return problem(503, "not-ready", 9015);
    }
    let view = StatusView {
        network: NETWORK,
        genesis: Hash32::default(),
        version: "test".to_owned(),
        height: None,
        clock: Some(CLOCK),
        time_ms: None,
        state_root: None,
        mempool: 0,
        peers: 0,
    };
    Json(view).into_response()
}

async fn account(State(node): State<Shared>, Path(address): Path<Address>) -> Json<AccountView> {
    let mut node = node.lock().unwrap();
    let nonce = node.told.unwrap_or(node.nonce);
    let next_nonce = (node.settling > 0).then_some(nonce + 1);
    if node.settling == 1 {
        node.nonce += 1;
    }
    node.settling = node.settling.saturating_sub(1);
    Json(AccountView { address, balance: Amount::call(1), nonce, next_nonce })
}

async fn submit(State(node): State<Shared>, Json(body): Json<Value>) -> Response {
    let bytes = const_hex::decode(body["transaction"].as_str().unwrap()).unwrap();
    let signed = SignedTransaction::decode(&bytes).unwrap();
    let verified = signed.clone().verify(NETWORK).unwrap();
    let mut node = node.lock().unwrap();
    if node.failing > 0 {
        node.failing -= 1;
        return problem(503, "not-ready", 9015);
    }
    let hash = verified.hash().to_string();
    if !node.taken.contains_key(&hash) {
        if signed.transaction.nonce != node.nonce {
            // After one refusal the node has caught up with itself.
            node.told = None;
            return problem(422, "bad-nonce", 3);
        }
        node.nonce += 1;
        node.taken.insert(hash.clone(), signed);
        node.failing = node.outage;
        if node.lies {
            return problem(422, "bad-nonce", 3);
        }
        if node.forgetful {
            drop(node);
            panic!("the connection breaks before the answer");
        }
    }
    let answer = view(&mut node, &hash);
    if node.forgets {
        node.taken.clear();
    }
    answer
}

async fn transaction(State(node): State<Shared>, Path(hash): Path<String>) -> Response {
    if node.lock().unwrap().mute {
        std::future::pending::<()>().await;
    }
    let mut node = node.lock().unwrap();
    if node.failing > 0 {
        node.failing -= 1;
        return problem(503, "not-ready", 9015);
    }
    if node.taken.contains_key(&hash) && !node.blind { view(&mut node, &hash) } else { problem(404, "not-found", 9004) }
}

fn view(node: &mut Node, hash: &str) -> Response {
    if node.lag > 0 {
        node.lag -= 1;
        return (StatusCode::ACCEPTED, Json(json!({"hash": hash, "status": "pending"}))).into_response();
    }
    let signed = &node.taken[hash];
    let verified = signed.clone().verify(NETWORK).unwrap();
    let failure = node.failure.map(|(code, name)| surety_ledger::block::Failure {
        code,
        name: name.to_owned(),
        message: "refused by the test".to_owned(),
    });
    let receipt = Receipt {
        hash: verified.hash(),
        signer: verified.signer(),
        nonce: signed.transaction.nonce,
        action: signed.transaction.action.tag(),
        fee: signed.transaction.fee,
        failure,
        events: Vec::new(),
    };
    Json(json!({"hash": hash, "status": "final", "height": 9, "receipt": receipt})).into_response()
}

async fn events() -> Response {
    let text = ": surety\n\nevent: head\nid: 7\ndata: {\"height\":7}\n\nevent: head\nid: 8\ndata: {}\n\n";
    ([(header::CONTENT_TYPE, "text/event-stream")], text).into_response()
}

fn client(nodes: &[SocketAddr]) -> Client {
    let nodes: Vec<String> = nodes.iter().map(|node| format!("http://{node}")).collect();
    let options = Options { connect: Duration::from_millis(500), timeout: Duration::from_secs(2), rounds: 2 };
    Client::new(&nodes, options).unwrap()
}

/// An address where nothing listens.
async fn nobody() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn pay(call: u64) -> Transfer {
    Transfer { to: AccountKey::from_label("ben").address(), amount: Amount::call(call) }
}

#[tokio::test]
async fn a_dead_node_and_one_that_starts_are_passed_over() {
    let (starting, first) = start(Node { failing: 1, ..Node::default() }).await;
    let (well, second) = start(Node::default()).await;
    let client = client(&[nobody().await, starting, well]);
    client.status().await.unwrap();
    client.status().await.unwrap();
    assert_eq!(first.lock().unwrap().requests, 1);
    assert_eq!(second.lock().unwrap().requests, 2, "the node that answered is asked first");
}

#[tokio::test]
async fn a_node_that_recovers_is_asked_again_and_one_that_does_not_is_named() {
    let (address, _node) = start(Node { failing: 1, ..Node::default() }).await;
    client(&[address]).status().await.unwrap();
    let (address, _node) = start(Node { failing: 9, ..Node::default() }).await;
    let error = client(&[address]).status().await.unwrap_err();
    assert_eq!(error.code(), "not-ready");
    let error = client(&[nobody().await]).status().await.unwrap_err();
    assert_eq!(error.code(), "client-transport");
}

#[tokio::test]
async fn what_is_not_there_is_said_at_once_and_long_answers_are_cut_off() {
    let (address, _node) = start(Node::default()).await;
    let client = client(&[address]);
    assert!(matches!(client.transaction(&Hash32::default()).await, Err(Error::NotFound(_))));
    let error = client.services(&ServiceQuery::default()).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn actions_sent_at_once_are_numbered_in_order() {
    let (address, node) = start(Node { lag: 3, ..Node::default() }).await;
    let sender = Arc::new(Sender::new(client(&[address]), AccountKey::from_label("ana"), NETWORK));
    let tasks: Vec<_> = (1..=20)
        .map(|n| {
            let sender = Arc::clone(&sender);
            tokio::spawn(async move { sender.send(pay(n), LIMIT).await.unwrap() })
        })
        .collect();
    for task in tasks {
        let report = task.await.unwrap();
        assert_eq!(report.status, TransactionStatus::Final);
    }
    let node = node.lock().unwrap();
    assert_eq!((node.nonce, node.taken.len()), (20, 20));
    let least = Params::default().fee_other;
    assert!(node.taken.values().all(|signed| signed.transaction.fee == least));
    assert!(node.taken.values().all(|signed| signed.transaction.expires.0 >= CLOCK.0 + 600));
}

#[tokio::test]
async fn a_wrong_number_is_corrected() {
    let (address, node) = start(Node { nonce: 5, told: Some(2), ..Node::default() }).await;
    let sender = Sender::new(client(&[address]), AccountKey::from_label("ana"), NETWORK);
    sender.send(pay(1), LIMIT).await.unwrap();
    // Another sender of the same account was faster.
    node.lock().unwrap().nonce = 9;
    sender.send(pay(2), LIMIT).await.unwrap();
    assert_eq!(node.lock().unwrap().nonce, 10);
}

#[tokio::test]
async fn a_first_number_is_the_best_informed_nodes_and_waits_for_what_is_under_way() {
    let (behind, first) = start(Node { told: Some(2), nonce: 5, ..Node::default() }).await;
    let (ahead, second) = start(Node { nonce: 5, settling: 6, ..Node::default() }).await;
    let sender = Sender::new(client(&[ahead, behind]), AccountKey::from_label("ana"), NETWORK);
    sender.send(pay(1), LIMIT).await.unwrap();
    let node = second.lock().unwrap();
    assert_eq!((node.settling, node.nonce, node.taken.len()), (0, 7, 1));
    let first = first.lock().unwrap();
    assert!(first.taken.is_empty() && first.told == Some(2), "the first try was right");
}

#[tokio::test]
async fn a_node_that_is_behind_refuses_and_the_next_is_asked() {
    let (behind, first) = start(Node { nonce: 4, ..Node::default() }).await;
    let (ahead, second) = start(Node { nonce: 5, ..Node::default() }).await;
    let sender = Sender::new(client(&[behind, ahead]), AccountKey::from_label("ana"), NETWORK);
    sender.send(pay(1), LIMIT).await.unwrap();
    assert!(first.lock().unwrap().taken.is_empty());
    assert_eq!(second.lock().unwrap().nonce, 6);
}

#[tokio::test]
async fn what_a_node_took_and_refused_all_the_same_is_not_sent_again() {
    let (address, node) = start(Node { lies: true, lag: 2, ..Node::default() }).await;
    let sender = Sender::new(client(&[address]), AccountKey::from_label("ana"), NETWORK);
    sender.send(pay(1), LIMIT).await.unwrap();
    assert_eq!(node.lock().unwrap().taken.len(), 1, "paid twice");
}

#[tokio::test]
async fn an_outage_after_a_transaction_was_taken_is_waited_out() {
    let (address, node) = start(Node { lag: 1, outage: 12, ..Node::default() }).await;
    let sender = Sender::new(client(&[address]), AccountKey::from_label("ana"), NETWORK);
    sender.send(pay(1), Duration::from_secs(30)).await.unwrap();
    let node = node.lock().unwrap();
    assert_eq!((node.failing, node.taken.len()), (0, 1));
}

#[tokio::test]
async fn a_node_that_is_alone_with_a_transaction_does_not_keep_it_from_the_others() {
    let (alone, first) = start(Node { lag: u32::MAX, ..Node::default() }).await;
    let (well, second) = start(Node::default()).await;
    let sender = Sender::new(client(&[alone, well]), AccountKey::from_label("ana"), NETWORK);
    sender.send(pay(1), Duration::from_secs(30)).await.unwrap();
    let (first, second) = (first.lock().unwrap(), second.lock().unwrap());
    assert!(first.taken.keys().eq(second.taken.keys()), "the same transaction, and no other");
    assert_eq!(second.taken.len(), 1);
}

#[tokio::test]
async fn nodes_that_never_answer_do_not_stretch_the_limit() {
    let (address, _node) = start(Node { lag: 1, mute: true, ..Node::default() }).await;
    let sender = Sender::new(client(&[address]), AccountKey::from_label("ana"), NETWORK);
    let started = Instant::now();
    let error = sender.send(pay(1), Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(error, Error::NotFinal { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_transaction_whose_number_another_took_is_given_up_and_not_waited_for() {
    // Gone with its pool after the first answer; its number is used when the node is back.
    let (address, _node) = start(Node { lag: 1, forgets: true, ..Node::default() }).await;
    let sender = Sender::new(client(&[address]), AccountKey::from_label("ana"), NETWORK);
    let started = Instant::now();
    let error = sender.send(pay(1), Duration::from_secs(60)).await.unwrap_err();
    assert!(matches!(error, Error::Doubtful { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let (address, node) = start(Node::default()).await;
    let sender = Sender::new(client(&[address]), AccountKey::from_label("ana"), NETWORK);
    let error = sender.send(Burn { amount: Amount::ZERO }, LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::Action(_)), "{error}");
    assert!(node.lock().unwrap().taken.is_empty(), "what no state would take is not sent");

    node.lock().unwrap().failure = Some((101, "InsufficientFunds"));
    let error = sender.send(pay(1), LIMIT).await.unwrap_err();
    assert!(matches!(&error, Error::Rejected { code: 101, .. }) && error.code() == "InsufficientFunds", "{error}");

    node.lock().unwrap().lag = u32::MAX;
    let error = sender.send(pay(1), Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, Error::NotFinal { .. }), "{error}");
}

#[tokio::test]
async fn events_come_as_they_happen() {
    let (address, _node) = start(Node::default()).await;
    let mut events = client(&[address]).events().await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert_eq!((first.id.as_str(), first.kind.as_str(), first.data.as_str()), ("7", "head", "{\"height\":7}"));
    assert_eq!(events.next().await.unwrap().unwrap().id, "8");
    assert_eq!(events.next().await.unwrap(), None);
}

/// The first node takes a transaction, and its reply is lost; the second has the state after it.
async fn reply_lost(blind: bool) -> (Result<(), Error>, usize) {
    let (first, taken) = start(Node { forgetful: true, blind, ..Node::default() }).await;
    let (second, other) = start(Node { nonce: 1, told: Some(0), ..Node::default() }).await;
    let sender = Sender::new(client(&[first, second]), AccountKey::from_label("ana"), NETWORK);
    let outcome = sender.send(pay(1), LIMIT).await.map(drop);
    let count = taken.lock().unwrap().taken.len() + other.lock().unwrap().taken.len();
    (outcome, count)
}

#[tokio::test]
async fn a_lost_reply_is_looked_for_and_never_answered_with_a_second_transaction() {
    let (outcome, taken) = reply_lost(false).await;
    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(taken, 1);
    let (outcome, taken) = reply_lost(true).await;
    assert!(matches!(outcome, Err(Error::Doubtful { .. })), "{outcome:?}");
    assert_eq!(taken, 1);
}
