//! What a search finds, and in which order.

use serde_json::{Value, json};
use surety_ledger::market;
use surety_ledger::market::state::{SERVICES, Service};
use surety_primitives::{Amount, ProviderId, ServiceId};

use super::fixture::{Site, get, market, service};

async fn ids(site: &Site, query: &str) -> Vec<u64> {
    let (_, body) = get(site, &format!("/v1/services?{query}")).await;
    let items = body["items"].as_array().unwrap_or_else(|| panic!("{query}: {body}"));
    items.iter().map(|item| item["id"].as_u64().unwrap()).collect()
}

async fn catalogue() -> Site {
    let site = market().await;
    let more = [
        service("Firewall for wallets", "Blocks phishing before signing", &["firewall"], 70),
        Service { paused: true, ..service("Old phishing list", "", &[], 10) },
        Service { provider: ProviderId(2), ..service("Token risk", "", &["AML"], 20) },
    ];
    for (id, service) in (3..).zip(&more) {
        site.chain.add_service(id, service);
    }
    site.api.index().rebuild(site.chain.as_ref()).await.unwrap();
    site
}

#[tokio::test]
async fn words_match_by_their_beginning_and_the_title_counts_most() {
    let site = catalogue().await;
    assert_eq!(ids(&site, "text=phish").await, [1, 3]);
    assert_eq!(ids(&site, "text=PHISHING%20sites").await, [1]);
    assert_eq!(ids(&site, "text=wall").await, [3]);
    assert_eq!(ids(&site, "text=ishing").await, [] as [u64; 0]);
    assert_eq!(ids(&site, "text=phishing+firewall").await, [3]);
    assert_eq!(ids(&site, "text=%F0%9F%92%A9").await, [5, 3, 2, 1], "no word, no restriction");
}

#[tokio::test]
async fn filters_and_orders() {
    let site = catalogue().await;
    assert_eq!(ids(&site, "").await, [5, 3, 2, 1]);
    assert_eq!(ids(&site, "paused=1&text=phishing").await, [1, 4, 3]);
    assert_eq!(ids(&site, "tag=aml").await, [5, 2]);
    assert_eq!(ids(&site, "provider=2").await, [5]);
    assert_eq!(ids(&site, "category=1").await, [5, 3, 2, 1]);
    assert_eq!(ids(&site, "category=101&chain=59144&region=EU&tag=firewall").await, [3]);
    assert_eq!(ids(&site, "category=102").await, [] as [u64; 0]);
    assert_eq!(ids(&site, "chain=5").await, [] as [u64; 0]);
    assert_eq!(ids(&site, "sort=price").await, [5, 2, 3, 1]);
    assert_eq!(ids(&site, "sort=cover").await, [1, 3, 2, 5]);
    let price = Amount::call(50).0;
    assert_eq!(ids(&site, &format!("max_price={price}")).await, [5, 2]);
    assert_eq!(ids(&site, &format!("max_price={}", price - 1)).await, [5]);
    assert_eq!(ids(&site, &format!("min_cover={}&sort=price", Amount::call(140).0)).await, [3, 1]);
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat_while_listings_come() {
    let site = catalogue().await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for round in 0..10 {
        let (_, body) = get(&site, &format!("/v1/services?sort=price&limit=1{cursor}")).await;
        seen.extend(body["items"].as_array().unwrap().iter().map(|item| item["id"].as_u64().unwrap()));
        let Some(next) = body["next"].as_str() else { break };
        cursor = format!("&cursor={next}");
        if round == 1 {
            // One before the cursor and one behind it.
            site.chain.add_service(6, &service("Cheap", "", &[], 1));
            site.chain.add_service(7, &service("Dear", "", &[], 999));
            site.api.index().rebuild(site.chain.as_ref()).await.unwrap();
        }
    }
    assert_eq!(seen, [5, 2, 3, 1, 7]);
}

#[tokio::test]
async fn a_block_that_changes_a_listing_changes_what_is_found() {
    let site = catalogue().await;
    let mut blocks = subscribed(&site);
    let renamed = Service { version: 2, ..service("Domain names", "", &["dns"], 100) };
    site.chain.put(SERVICES, &ServiceId(1), &renamed);
    site.chain.happens(vec![market::Event::ServiceUpdated { service: ServiceId(1), version: 2 }.into()]);
    site.api.index().take_in(site.chain.as_ref(), &blocks.recv().await.unwrap()).await.unwrap();
    assert_eq!(ids(&site, "text=phishing").await, [3]);
    assert_eq!(ids(&site, "text=dns").await, [1]);
    let size = site.api.index().size();
    assert_eq!((size.services, size.height), (5, site.chain.height()));
}

fn subscribed(site: &Site) -> tokio::sync::broadcast::Receiver<std::sync::Arc<crate::api::FinalBlock>> {
    crate::api::Backend::subscribe(site.chain.as_ref())
}

#[tokio::test]
async fn a_listing_says_whether_it_is_sold_and_what_covers_it() {
    let site = catalogue().await;
    let (_, one) = get(&site, "/v1/services/1").await;
    assert_eq!(one["selling"], json!(true));
    assert_eq!(one["coverage"]["free"], json!(Amount::call(970)));
    let (_, paused) = get(&site, "/v1/services/4").await;
    assert_eq!(paused["selling"], json!(false));
    let (_, orphan) = get(&site, "/v1/services/5").await;
    assert_eq!((&orphan["selling"], &orphan["coverage"]), (&json!(false), &Value::Null));
}

#[tokio::test]
async fn operators_and_datasets_are_paged() {
    let site = market().await;
    let (_, first) = get(&site, "/v1/operators?limit=3").await;
    let (_, second) = get(&site, &format!("/v1/operators?limit=3&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((first["items"].as_array().unwrap().len(), second["items"].as_array().unwrap().len()), (3, 1));
    assert_eq!(second["next"], Value::Null);
    assert_eq!(first["items"][0]["weight"], json!(Amount::call(100)));
    let (_, datasets) = get(&site, "/v1/datasets?limit=1&publisher=1").await;
    assert_eq!((&datasets["items"][0]["name"], &datasets["next"]), (&json!("phishing"), &json!("1")));
    let (_, none) = get(&site, "/v1/datasets?publisher=2").await;
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn an_index_that_missed_a_block_reads_the_state_again() {
    let site = catalogue().await;
    let mut blocks = subscribed(&site);
    let changed = Service { version: 2, ..service("Domain names", "", &["dns"], 100) };
    site.chain.put(SERVICES, &ServiceId(1), &changed);
    site.chain.happens(vec![market::Event::ServiceUpdated { service: ServiceId(1), version: 2 }.into()]);
    site.chain.happens(Vec::new());
    let _missed = blocks.recv().await.unwrap();
    site.api.index().take_in(site.chain.as_ref(), &blocks.recv().await.unwrap()).await.unwrap();
    assert_eq!(ids(&site, "text=dns").await, [1]);
}
