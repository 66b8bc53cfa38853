//! What a consumer that behaves sees.

use std::time::Duration;

use hyper::{HeaderMap, Method, StatusCode};
use surety_primitives::access::{CALL_HEADER, Flags, ProblemKind, encode_call};
use surety_primitives::answer::Reply;
use surety_primitives::api::{SettleReply, WellKnown};
use surety_primitives::{Amount, Lane, Seconds};

use crate::upstream::{basis, claims};
use crate::world::{Lanes, PURCHASE, QUOTA, World, provider, run_until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_is_opened_called_with_tags_acknowledged_settled_and_claimed() {
    let world = World::with(|config, _| config.duties.claim_above = Amount::call(10)).await;
    let mut lane = Lanes::new(1);
    let first = lane.open(&world).await;
    assert_eq!(&first.body[..], b"hello");
    assert!(matches!(first.reply(), Reply::Tag(_)), "a tag is enough where no Answer was asked for");
    for n in 2..=20_u64 {
        let got = if lane.client.should_sign(8) {
            lane.sign(&world, "/api/x").await
        } else {
            lane.tag(&world, "/api/x").await
        };
        assert_eq!(got.status, StatusCode::OK, "call {n}: {got:?}");
        let quota = got.quota();
        assert_eq!((quota.limit, quota.remaining, quota.seq), (QUOTA, QUOTA - n, n));
        assert!(quota.pending <= 8);
    }
    let got = world.settle(&[lane.voucher()]).await;
    let reply: SettleReply = serde_json::from_slice(&got.body).unwrap();
    assert_eq!((reply.purchase, reply.lanes[0].cum, reply.lanes[0].seq), (PURCHASE, 20, 20));

    // 20 calls are worth 10 CALL, and at 10 it claims.
    for _ in 0..100 {
        if world.ledger.0.lock().unwrap().claimed.get(&(PURCHASE, Lane(1))) == Some(&20) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(world.ledger.0.lock().unwrap().claimed[&(PURCHASE, Lane(1))], 20);
    assert_eq!((world.reached(), world.metric("calls_served").await), (20, 20));
}

#[tokio::test]
async fn an_answer_carries_basis_and_claims_of_the_api_behind_and_its_signature() {
    let world = World::new().await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    let (call, mut pending) = lane.tagged("/api/listed", Flags::ANSWER);
    let got = world.call("/api/listed", &call, &[], b"").await;
    let Reply::Answer(signed) = got.reply() else { panic!("an Answer was asked for") };
    signed.verify(&provider().public()).unwrap();
    assert_eq!((&signed.answer.basis, signed.answer.pinned, signed.answer.status), (&basis(), true, 200));
    assert_eq!(got.headers["surety-claims"], claims().to_header());
    assert!(!got.headers.contains_key("surety-basis"));
    assert_eq!(lane.accept(&mut pending, &got), 200);

    let tagged = lane.tag(&world, "/api/listed").await;
    assert!(!tagged.headers.contains_key("surety-claims"), "a tag commits to no claims");
}

#[tokio::test]
async fn a_service_with_cover_signs_each_answer_and_gives_what_it_wrote_down() {
    let world = World::with(|_, view| view.cover = Amount::call(10)).await;
    let mut lane = Lanes::new(2);
    let got = lane.open(&world).await;
    assert!(matches!(got.reply(), Reply::Answer(_)));
    assert!(matches!(lane.tag(&world, "/api/x").await.reply(), Reply::Answer(_)));
    let mut headers = HeaderMap::new();
    headers.insert(CALL_HEADER, encode_call(&lane.voucher()).parse().unwrap());
    let logged = world.raw(Method::GET, "/.well-known/surety/answers?lane=2&from=0", headers, b"").await;
    let logged: serde_json::Value = serde_json::from_slice(&logged.body).unwrap();
    assert_eq!((logged.as_array().unwrap().len(), logged[1]["seq"].as_u64()), (2, Some(2)));
    let anonymous = world.raw(Method::GET, "/.well-known/surety/answers?lane=2&from=0", HeaderMap::new(), b"").await;
    assert_eq!(anonymous.kind(), ProblemKind::Malformed);
}

#[tokio::test]
async fn a_long_reply_is_streamed_with_its_answer_as_trailer() {
    let world = World::new().await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    let (call, mut pending) = lane.tagged("/api/long?300000", Flags::ANSWER);
    let mut headers = crate::world::call_headers(&call, &[]);
    headers.insert("te", "trailers".parse().unwrap());
    let got = world.raw(Method::GET, "/api/long?300000", headers, b"").await;
    assert_eq!((got.status, got.body.len()), (StatusCode::OK, 300_000));
    lane.accept(&mut pending, &got);

    let (call, _) = lane.tagged("/api/long?300000", Flags::NONE);
    let got = world.call("/api/long?300000", &call, &[], b"").await;
    assert_eq!(got.kind(), ProblemKind::Upstream, "without trailers there is nowhere to sign");
    assert_eq!(world.metric("calls_served").await, 2);
}

#[tokio::test]
async fn a_retry_gets_the_same_reply_and_costs_nothing() {
    let world = World::new().await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    let (call, mut pending) = lane.tagged("/api/x", Flags::NONE);
    let lost = world.call("/api/x", &call, &[], b"").await;
    let again = world.call("/api/x", &call, &[], b"").await;
    assert_eq!(
        (lost.body.clone(), &lost.headers["surety-answer"]),
        (again.body.clone(), &again.headers["surety-answer"])
    );
    lane.accept(&mut pending, &again);
    assert_eq!((world.reached(), again.quota().remaining), (2, QUOTA - 2));
}

#[tokio::test]
async fn a_caller_that_goes_away_finds_its_reply_when_it_comes_back() {
    let world = World::new().await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    let (call, mut pending) = lane.tagged("/api/slow?300", Flags::NONE);
    let gone = tokio::time::timeout(Duration::from_millis(100), world.call("/api/slow?300", &call, &[], b"")).await;
    assert!(gone.is_err());
    let early = world.call("/api/slow?300", &call, &[], b"").await;
    assert_eq!((early.kind(), early.problem().retry_after), (ProblemKind::Replay, Some(1)));
    tokio::time::sleep(Duration::from_millis(400)).await;
    let late = world.call("/api/slow?300", &call, &[], b"").await;
    assert_eq!(&late.body[..], b"at last");
    lane.accept(&mut pending, &late);
    assert_eq!(world.reached(), 2);
}

#[tokio::test]
async fn the_sidecar_says_who_it_is_and_takes_a_grant_with_its_proof() {
    let world = World::new().await;
    let got = world.raw(Method::GET, "/.well-known/surety", HeaderMap::new(), b"").await;
    let who: WellKnown = serde_json::from_slice(&got.body).unwrap();
    assert_eq!((who.key, who.services.len(), who.clock), (provider().public(), 1, Seconds(1_000_000)));
    let got = world.raw(Method::POST, "/.well-known/surety/grants", HeaderMap::new(), &PURCHASE.0).await;
    assert_eq!(got.status, StatusCode::OK);
    let got = world.raw(Method::POST, "/.well-known/surety/grants", HeaderMap::new(), b"forged").await;
    assert_eq!(got.kind(), ProblemKind::Malformed);
}

#[tokio::test]
async fn at_its_end_a_package_is_claimed_shown_settled_and_swept() {
    let world = World::with(|_, view| view.cover = Amount::call(10)).await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    lane.sign(&world, "/api/x").await;
    lane.tag(&world, "/api/x").await;
    for (now, duty) in [(2_000_000, "claim"), (2_150_000, "show"), (2_500_000, "settle"), (3_300_000, "sweep")] {
        world.ledger.0.lock().unwrap().now = Seconds(now);
        for _ in 0..100 {
            if world.ledger.0.lock().unwrap().duties.last() == Some(&duty) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(world.ledger.0.lock().unwrap().duties.last(), Some(&duty));
    }
    // Nothing was done twice, and nothing is left to do.
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(world.ledger.0.lock().unwrap().duties, ["claim", "show", "settle", "sweep"]);
}

#[tokio::test]
async fn a_restart_on_purpose_keeps_every_unit() {
    let world = World::new().await;
    let mut lane = Lanes::new(0);
    lane.open(&world).await;
    lane.sign(&world, "/api/x").await;
    let got = world.settle(&[lane.voucher()]).await;
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    let world = world.restart().await;
    let got = lane.sign(&world, "/api/x").await;
    assert_eq!(got.kind(), ProblemKind::SeqBelowFloor);
    lane.client.raise_floor(got.problem().seq_floor.unwrap());
    let got = lane.open(&world).await;
    assert_eq!((got.quota().remaining, got.quota().cum), (QUOTA - 3, 2));
}

#[tokio::test]
async fn another_key_or_a_bad_upstream_stops_the_start_and_says_whose_fault_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = crate::world::config("127.0.0.1:9".parse().unwrap(), folder.path());
    run_until(config.clone(), async {}).await.unwrap();
    config.services[0].upstream = "ftp://example".to_owned();
    let error = run_until(config, async {}).await.unwrap_err();
    assert_eq!((error.code(), error.is_transient()), ("proxy-config", false));
}
