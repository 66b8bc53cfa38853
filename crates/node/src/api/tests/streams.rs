//! Long polls and event streams.

use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream};
use axum::http::{Request, StatusCode};
use futures::StreamExt as _;
use serde_json::{Value, json};
use surety_ledger::testing::account;
use surety_primitives::codec;
use tower::ServiceExt as _;

use super::fixture::{Site, ask, get, market, post, site_with, transfer};
use crate::api::{Backend as _, Limits};

#[tokio::test]
async fn a_long_poll_ends_with_the_next_sale() {
    let site = market().await;
    let started = Instant::now();
    let (answer, ()) = tokio::join!(get(&site, "/v1/providers/1/purchases?cursor=3&wait=30"), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        // A block without a sale does not end it.
        site.chain.happens(Vec::new());
        tokio::time::sleep(Duration::from_millis(50)).await;
        site.chain.sell(1, 3);
    });
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!((&answer.1["items"][0]["n"], &answer.1["cursor"]), (&json!(3), &json!(4)));
}

#[tokio::test]
async fn a_long_poll_without_a_sale_ends_with_its_time_and_its_cursor() {
    let site = market().await;
    let started = Instant::now();
    let (status, body) = get(&site, "/v1/providers/1/purchases?cursor=3&wait=1").await;
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!((status, &body["items"], &body["cursor"]), (StatusCode::OK, &json!([]), &json!(3)));
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused_and_a_closed_one_makes_room() {
    let site = site_with(true, Limits { streams: 1, rate: 0, ..Limits::default() });
    let request = || Request::get("/v1/events").body(Body::empty()).unwrap();
    let first = site.api.router().oneshot(request()).await.unwrap();
    assert_eq!(first.status(), StatusCode::OK);
    let (status, _, body) = ask(&site.api.router(), request()).await;
    assert_eq!((status, &body["code"]), (StatusCode::TOO_MANY_REQUESTS, &json!(9014)));
    let (_, metrics) = metrics(&site).await;
    assert!(metrics.contains("surety_api_streams 1\n"), "{metrics}");
    drop(first);
    assert_eq!(site.api.router().oneshot(request()).await.unwrap().status(), StatusCode::OK);
}

async fn metrics(site: &Site) -> (StatusCode, String) {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let response = site.api.router().oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, String::from_utf8(bytes.to_vec()).unwrap())
}

struct Reader {
    body: BodyDataStream,
    text: String,
}

#[derive(Debug, PartialEq)]
struct Told {
    id: String,
    kind: String,
    data: Value,
}

impl Reader {
    async fn open(site: &Site, path: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(path);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = site.api.router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// The next message that is no comment; nothing when the stream ends.
    async fn next(&mut self) -> Option<Told> {
        loop {
            while let Some((message, rest)) = self.text.split_once("\n\n") {
                let (message, rest) = (message.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let line = message.lines().find_map(|line| line.strip_prefix(name));
                    line.map(|value| value.trim().to_owned())
                };
                if let Some(data) = field("data:") {
                    let data = serde_json::from_str(&data).unwrap();
                    return Some(Told { id: field("id:").unwrap(), kind: field("event:").unwrap(), data });
                }
            }
            let next = tokio::time::timeout(Duration::from_secs(10), self.body.next()).await.expect("nothing is told");
            self.text.push_str(std::str::from_utf8(&next?.unwrap()).unwrap());
        }
    }

    async fn ids(&mut self, until: &str) -> Vec<String> {
        let mut ids = Vec::new();
        while ids.last().is_none_or(|id| id != until) {
            ids.push(self.next().await.unwrap().id);
        }
        ids
    }
}

#[tokio::test]
async fn a_stream_tells_each_event_once_and_goes_on_where_it_broke() {
    let site = market().await;
    // Blocks 2, 3 and 4 each hold one sale with two events.
    let all = ["2:0", "2:1", "2", "3:0", "3:1", "3", "4:0", "4:1", "4"];
    assert_eq!(Reader::open(&site, "/v1/events?from=2", None).await.ids("4").await, all);
    for (i, last) in all.iter().enumerate().take(all.len() - 1) {
        let told = Reader::open(&site, "/v1/events", Some(last)).await.ids("4").await;
        assert_eq!(told, &all[i + 1..], "after {last}");
    }
}

#[tokio::test]
async fn a_stream_without_a_start_tells_what_comes() {
    let site = market().await;
    let mut reader = Reader::open(&site, "/v1/events", None).await;
    let signed = transfer(&site, 0);
    site.chain.submit(signed).await.unwrap();
    let told = reader.next().await.unwrap();
    assert_eq!((told.id.as_str(), told.kind.as_str()), ("5:0", "event"));
    assert_eq!(told.data["event"]["event"], "Transferred");
    assert_eq!(told.data["height"], json!(5));
    let head = reader.next().await.unwrap();
    assert_eq!((head.id.as_str(), head.kind.as_str()), ("5", "head"));
    site.stop.send(true).unwrap();
    assert_eq!(reader.next().await, None, "the stream ends with the node");
}

async fn events(site: &Site, filter: &str) -> Vec<String> {
    let told = Reader::open(site, &format!("/v1/events?from=1&{filter}"), None).await.ids("5").await;
    told.into_iter().filter(|id| id.contains(':')).collect()
}

#[tokio::test]
async fn filters_choose_by_provider_account_and_module() {
    let site = market().await;
    site.chain.submit(transfer(&site, 0)).await.unwrap();
    let sales = ["2:0", "2:1", "3:0", "3:1", "4:0", "4:1"];
    // The second event of a sale names its purchase only.
    assert_eq!(events(&site, "provider=1").await, sales);
    assert_eq!(events(&site, "provider=2").await, [] as [&str; 0]);
    assert_eq!(events(&site, "module=bank").await, ["5:0"]);
    assert_eq!(
        events(&site, &format!("module=market&account={}", account("ben").address())).await,
        ["2:0", "3:0", "4:0"]
    );
    assert_eq!(events(&site, &format!("account={}", account("ana").address())).await.len(), 7);
    assert_eq!(events(&site, &format!("account={}", account("eve").address())).await, [] as [&str; 0]);
}

#[tokio::test]
async fn what_is_no_longer_kept_is_told_as_a_gap() {
    let site = market().await;
    site.chain.prune_below(4);
    let mut reader = Reader::open(&site, "/v1/events?from=1", None).await;
    let gap = reader.next().await.unwrap();
    assert_eq!((gap.kind.as_str(), gap.id.as_str(), &gap.data), ("gap", "3", &json!({"from": 1, "to": 3})));
    assert_eq!(reader.next().await.unwrap().id, "4:0");
}

#[tokio::test]
async fn receipts_that_are_not_on_disk_yet_are_neither_missed_nor_waited_for() {
    let site = market().await;
    let from = site.chain.height() + 1;
    site.chain.leave_unwritten(1);
    let body = json!({"transaction": const_hex::encode_prefixed(codec::encode(&transfer(&site, 0)))});
    let started = Instant::now();
    let (status, answer) = post(&site, "/v1/transactions?wait=30", &body).await;
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("final")));
    assert!(started.elapsed() < Duration::from_secs(10));

    // A stream that begins now heard of the block from nobody and finds it without receipts: it waits for them.
    let mut reader = Reader::open(&site, &format!("/v1/events?from={from}"), None).await;
    let (told, ()) = tokio::join!(reader.next(), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        site.chain.leave_unwritten(0);
    });
    assert_eq!(told.unwrap().id, format!("{from}:0"));
}
