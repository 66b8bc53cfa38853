//! Each bad input has its problem; none is served, and none is counted.

use std::time::Duration;

use hyper::{HeaderMap, Method, StatusCode};
use surety_primitives::access::{
    CALL_HEADER, Call, Flags, GrantFlags, Head, LaneState, MacCall, NO_REQUEST, ProblemKind, SignedCall, SubGrant,
    SubGrantTerms,
};
use surety_primitives::{Hash32, Lane, PurchaseId, Seconds};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{Lanes, PURCHASE, QUOTA, WINDOW, World, call_headers, deadline, grant, key, request, wall};

fn head(seq: u64, cum: u64) -> Head {
    Head { flags: Flags::NONE, purchase: PURCHASE, lane: Lane(1), seq, cum, deadline: deadline() }
}

fn signed(head: Head) -> Call {
    Call::Signed(SignedCall::sign(&key(1), head, None, &request("/api/x", b"")).unwrap())
}

fn header(name: &'static str, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().unwrap());
    headers
}

/// An opened lane 1 in a world where nothing else has happened.
async fn opened() -> (World, Lanes) {
    let world = World::new().await;
    let mut lane = Lanes::new(1);
    lane.open(&world).await;
    (world, lane)
}

/// One call was served before, and still only one is; the package lost nothing else.
async fn untouched(world: &World, lane: &mut Lanes) {
    assert_eq!((world.reached(), world.metric("calls_admitted").await), (1, 1));
    let got = lane.sign(world, "/api/x").await;
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    assert_eq!(got.quota().remaining, QUOTA - 2);
}

#[tokio::test]
async fn what_is_unpaid_hears_the_price() {
    let world = World::new().await;
    let none = world.raw(Method::GET, "/api/x", HeaderMap::new(), b"").await;
    assert_eq!(none.kind(), ProblemKind::PaymentRequired);
    let body: serde_json::Value = serde_json::from_slice(&none.body).unwrap();
    assert_eq!(
        (body["offer"]["price"].as_str(), body["offer"]["service"].as_u64()),
        (Some("100000000000000000000"), Some(3))
    );
    let unknown = signed(Head { purchase: PurchaseId([9; 16]), ..head(1, 0) });
    assert_eq!(world.call("/api/x", &unknown, &[], b"").await.kind(), ProblemKind::PaymentRequired);
    assert_eq!(world.reached(), 0);
}

#[tokio::test]
async fn malformed_bytes_versions_and_flags_are_refused() {
    let (world, mut lane) = opened().await;
    let (good, _) = lane.tagged("/api/x", Flags::NONE);
    let text = surety_primitives::access::encode_call(&good);
    for (value, kind) in [
        ("", ProblemKind::Malformed),
        ("%%%", ProblemKind::Malformed),
        (&text[..95], ProblemKind::Malformed),
        (&format!("{text}="), ProblemKind::Malformed),
        (&format!("Ag{}", &text[2..]), ProblemKind::BadVersion),
        (&format!("Af{}", &text[2..]), ProblemKind::Malformed),
        (&"A".repeat(96), ProblemKind::BadVersion),
    ] {
        let got = world.raw(Method::GET, "/api/x", header(CALL_HEADER, value), b"").await;
        assert_eq!(got.kind(), kind, "{value}");
    }
    let mut twice = call_headers(&good, &[]);
    twice.append(CALL_HEADER, text.parse().unwrap());
    assert_eq!(world.raw(Method::GET, "/api/x", twice, b"").await.kind(), ProblemKind::Malformed);
    let mut chain = call_headers(&good, &[]);
    chain.insert("surety-chain", "AAAA".parse().unwrap());
    assert_eq!(world.raw(Method::GET, "/api/x", chain, b"").await.kind(), ProblemKind::Malformed);
    let voucher = lane.voucher();
    assert_eq!(world.call("/api/x", &voucher, &[], b"").await.kind(), ProblemKind::Malformed);
    untouched(&world, &mut lane).await;
}

#[tokio::test]
async fn altered_calls_and_forged_signatures_are_refused() {
    let (world, mut lane) = opened().await;
    let (Call::Mac(good), _) = lane.tagged("/api/x", Flags::NONE) else { unreachable!() };
    let path = world.call("/api/y", &Call::Mac(good), &[], b"").await;
    assert_eq!(path.kind(), ProblemKind::BadTag);
    let query = world.call("/api/x?a=1", &Call::Mac(good), &[], b"").await;
    assert_eq!(query.kind(), ProblemKind::BadTag);
    let body = world.call("/api/x", &Call::Mac(good), &[], b"other").await;
    assert_eq!(body.kind(), ProblemKind::BadTag);
    let seq = Call::Mac(MacCall { head: Head { seq: 9, ..good.head }, ..good });
    assert_eq!(world.call("/api/x", &seq, &[], b"").await.kind(), ProblemKind::BadTag);
    let Call::Signed(call) = signed(head(2, 0)) else { unreachable!() };
    let mut bytes = call.to_bytes();
    bytes[60] ^= 1;
    let forged = Call::Signed(SignedCall::from_bytes(&bytes).unwrap());
    assert_eq!(world.call("/api/x", &forged, &[], b"").await.kind(), ProblemKind::BadSignature);
    let stranger = Call::Signed(SignedCall::sign(&key(9), head(2, 0), None, &request("/api/x", b"")).unwrap());
    assert_eq!(world.call("/api/x", &stranger, &[], b"").await.kind(), ProblemKind::BadSignature);
    untouched(&world, &mut lane).await;
}

#[tokio::test]
async fn vouchers_above_what_was_served_or_bought_are_refused() {
    let (world, mut lane) = opened().await;
    for cum in [2, QUOTA, QUOTA + 1, u64::MAX] {
        let got = world.call("/api/x", &signed(head(2, cum)), &[], b"").await;
        let kind = if cum > QUOTA { ProblemKind::BudgetSpent } else { ProblemKind::CumAhead };
        assert_eq!(got.kind(), kind, "{cum}");
    }
    let voucher = |cum| {
        let head = Head { flags: Flags::VOUCHER, ..head(1, cum) };
        Call::Signed(SignedCall::sign(&key(1), head, None, &NO_REQUEST).unwrap())
    };
    assert_eq!(world.settle(&[voucher(2)]).await.kind(), ProblemKind::CumAhead);
    assert_eq!(world.settle(&[voucher(1)]).await.status, StatusCode::OK);
    assert_eq!(world.settle(&[voucher(0)]).await.kind(), ProblemKind::CumBehind);
    untouched(&world, &mut lane).await;
}

#[tokio::test]
async fn replays_and_old_numbers_are_refused() {
    let (world, mut lane) = opened().await;
    let other = SignedCall::sign(&key(1), head(1, 0), None, &request("/api/y", b"")).unwrap();
    let got = world.call("/api/y", &Call::Signed(other), &[], b"").await;
    assert_eq!(got.kind(), ProblemKind::Replay, "the same number for another request");
    untouched(&world, &mut lane).await;
    let (Call::Mac(late), _) = lane.tagged("/api/x", Flags::NONE) else { unreachable!() };
    let mut lane = Lanes::resume(1, LaneState { seq: 2_000, cum: 2, signed_seq: 2_000 });
    lane.open(&world).await;
    let got = world.call("/api/x", &Call::Mac(late), &[], b"").await;
    assert_eq!(got.kind(), ProblemKind::BadTag, "the key of before the new opening");
    let below = world.call("/api/x", &signed(head(3, 2)), &[], b"").await;
    assert_eq!((below.kind(), below.problem().seq_floor), (ProblemKind::SeqBelowFloor, Some(2_001 - 1_024)));
    assert_eq!(world.reached(), 3);
}

#[tokio::test]
async fn times_outside_the_bounds_are_refused() {
    let (world, mut lane) = opened().await;
    let at = |deadline: u64| signed(Head { deadline: deadline as u32, ..head(2, 0) });
    assert_eq!(world.call("/api/x", &at(wall() - 10), &[], b"").await.kind(), ProblemKind::ExpiredCall);
    let ahead = world.call("/api/x", &at(wall() + 500), &[], b"").await;
    assert_eq!(ahead.kind(), ProblemKind::Clock);
    assert!(ahead.problem().server_time.unwrap().abs_diff(wall()) < 5);
    for now in [900_000, 2_000_000] {
        world.ledger.0.lock().unwrap().now = Seconds(now);
        assert_eq!(world.call("/api/x", &at(wall() + 5), &[], b"").await.kind(), ProblemKind::ExpiredPurchase);
    }
    world.ledger.0.lock().unwrap().now = Seconds(1_000_000);
    world.ledger.0.lock().unwrap().age = Duration::from_secs(800);
    assert_eq!(world.call("/api/x", &at(wall() + 5), &[], b"").await.kind(), ProblemKind::LedgerStale);
    world.ledger.0.lock().unwrap().age = Duration::from_secs(300);
    let new = signed(Head { purchase: PurchaseId([9; 16]), ..head(1, 0) });
    assert_eq!(world.call("/api/x", &new, &[], b"").await.kind(), ProblemKind::LedgerStale);
    untouched(&world, &mut lane).await;
}

fn delegate(change: impl FnOnce(&mut SubGrantTerms)) -> (SubGrant, Vec<SubGrant>) {
    let mut terms = SubGrantTerms {
        parent: grant().hash(),
        delegate: key(2).public(),
        first_lane: Lane(1),
        last_lane: Lane(2),
        max_calls: 3,
        valid_until: Seconds(1_000_600),
        rate: 0,
        scope: Hash32::default(),
        flags: GrantFlags::MAC,
    };
    change(&mut terms);
    let sub = terms.sign(&key(1));
    (sub, vec![sub])
}

#[tokio::test]
async fn a_delegate_stays_within_its_lanes_time_budget_and_scope() {
    let world = World::new().await;
    let (_, chain) = delegate(|_| ());
    let opening = |lane: u16, seq: u64| {
        let head = Head { lane: Lane(lane), ..head(seq, 0) };
        let ephemeral = crate::world::ephemeral().public();
        Call::Signed(SignedCall::sign(&key(2), head, Some(ephemeral), &request("/api/x", b"")).unwrap())
    };
    assert_eq!(world.call("/api/x", &opening(3, 1), &chain, b"").await.kind(), ProblemKind::LaneOutside);
    let (_, old) = delegate(|terms| terms.valid_until = Seconds(999_900));
    assert_eq!(world.call("/api/x", &opening(1, 1), &old, b"").await.kind(), ProblemKind::ExpiredGrant);
    let (_, wide) = delegate(|terms| terms.max_calls = QUOTA + 1);
    assert_eq!(world.call("/api/x", &opening(1, 1), &wide, b"").await.kind(), ProblemKind::NeedChain);
    let scope = surety_primitives::access::Scope::new(&[("GET", "/api/y")]).unwrap();
    let (_, scoped) = delegate(|terms| terms.scope = scope.hash());
    let got = world.call("/api/x", &opening(1, 1), &scoped, b"").await;
    assert_eq!((got.kind(), got.problem().need.as_deref()), (ProblemKind::NeedChain, Some("scope")));
    let mut headers = call_headers(&opening(1, 1), &scoped);
    headers.insert("surety-scope", surety_primitives::access::encode_scopes(&[scope]).parse().unwrap());
    assert_eq!(world.raw(Method::GET, "/api/x", headers, b"").await.kind(), ProblemKind::OutOfScope);
    // Without its chain nobody knows the delegate.
    let unknown = SignedCall::sign(&key(2), head(1, 0), None, &request("/api/x", b"")).unwrap();
    let got = world.call("/api/x", &Call::Signed(unknown), &[], b"").await;
    assert_eq!((got.kind(), got.problem().need.as_deref()), (ProblemKind::NeedChain, Some("chain")));
    assert_eq!(world.reached(), 0);

    let mut lane = Lanes::of(key(2), chain, 1, LaneState::default());
    lane.open(&world).await;
    for _ in 0..2 {
        assert_eq!(lane.tag(&world, "/api/x").await.status, StatusCode::OK);
    }
    let spent = world.call("/api/x", &opening(1, 9), &delegate(|_| ()).1, b"").await;
    assert_eq!(spent.kind(), ProblemKind::BudgetSpent);
    assert_eq!(world.reached(), 3);
}

#[tokio::test]
async fn two_delegates_in_one_lane_share_its_counter_and_neither_uses_the_others_key() {
    let world = World::new().await;
    let (_, chain) = delegate(|terms| terms.max_calls = 10);
    let mut owner = Lanes::new(1);
    owner.open(&world).await;
    let mut other = Lanes::of(key(2), chain, 1, LaneState { seq: 1, ..LaneState::default() });
    let opened = other.open(&world).await;
    assert_eq!(opened.quota().seq, 2);
    // The lane is the delegate's now: the owner's key for tags is gone, and its numbers are used.
    let (call, _) = owner.tagged("/api/x", Flags::NONE);
    assert_eq!(world.call("/api/x", &call, &[], b"").await.kind(), ProblemKind::BadTag);
    assert_eq!(other.tag(&world, "/api/x").await.status, StatusCode::OK);
    assert_eq!(world.reached(), 3);
}

#[tokio::test]
async fn a_revoked_delegate_is_refused_from_the_next_look_on() {
    let world = World::new().await;
    let (sub, chain) = delegate(|_| ());
    let mut lane = Lanes::of(key(2), chain, 1, LaneState::default());
    lane.open(&world).await;
    world.ledger.0.lock().unwrap().revoked.insert(sub.hash(), Seconds(1_000_000));
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let (call, mut pending) = lane.tagged("/api/x", Flags::NONE);
        let got = world.call("/api/x", &call, &[], b"").await;
        if got.status == StatusCode::FORBIDDEN {
            assert_eq!(got.kind(), ProblemKind::Revoked);
            return;
        }
        lane.accept(&mut pending, &got);
    }
    panic!("still served");
}

#[tokio::test]
async fn failures_of_the_api_behind_are_not_counted() {
    let (world, mut lane) = opened().await;
    assert_eq!(lane.tag(&world, "/api/status?503").await.kind(), ProblemKind::Upstream);
    assert_eq!(lane.tag(&world, "/api/slow?3000").await.kind(), ProblemKind::UpstreamTimeout);
    assert_eq!(lane.tag(&world, "/api/nonsense").await.kind(), ProblemKind::Upstream);
    let got = lane.tag(&world, "/api/status?404").await;
    assert_eq!((got.status, got.quota().remaining), (StatusCode::NOT_FOUND, QUOTA - 2));
    assert_eq!((world.metric("calls_failed").await, world.metric("calls_served").await), (3, 2));
}

#[tokio::test]
async fn w_unacknowledged_calls_make_a_voucher_due_and_the_quota_ends() {
    let (world, mut lane) = opened().await;
    for _ in 1..WINDOW {
        assert_eq!(lane.tag(&world, "/api/x").await.status, StatusCode::OK);
    }
    let due = lane.tag(&world, "/api/x").await;
    assert_eq!((due.kind(), due.problem().cum), (ProblemKind::VoucherDue, Some(0)));
    let mut other = Lanes::new(2);
    let (call, _) = other.opening("/api/x", Flags::NONE);
    assert_eq!(world.call("/api/x", &call, &[], b"").await.kind(), ProblemKind::WindowBusy);
    for _ in u64::from(WINDOW)..QUOTA {
        assert_eq!(lane.sign(&world, "/api/x").await.status, StatusCode::OK);
    }
    // A client of ours would not even ask.
    let more = world.call("/api/x", &signed(head(QUOTA + 9, QUOTA)), &[], b"").await;
    assert_eq!((more.kind(), more.problem().remaining), (ProblemKind::QuotaExhausted, Some(0)));
    let (call, _) = other.opening("/api/x", Flags::NONE);
    assert_eq!(world.call("/api/x", &call, &[], b"").await.kind(), ProblemKind::QuotaExhausted);
    assert_eq!(world.reached(), QUOTA);
}

#[tokio::test]
async fn more_calls_a_second_than_bought_wait() {
    let world = World::with(|_, view| view.rate = 2).await;
    let mut lane = Lanes::new(1);
    let got = lane.open(&world).await;
    assert_eq!(got.headers["ratelimit"], "limit=2, remaining=1, reset=1");
    let mut limited = 0;
    for _ in 0..4 {
        let got = lane.tag(&world, "/api/x").await;
        if got.status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!((got.kind(), &got.headers["retry-after"]), (ProblemKind::RateLimited, &"1".parse().unwrap()));
            limited += 1;
        }
    }
    assert!(limited >= 2);
    assert_eq!(world.reached(), 5 - limited);
}

#[tokio::test]
async fn a_package_is_good_for_its_service_only() {
    let world = World::with(|config, _| {
        let mut other = config.services[0].clone();
        other.id = surety_primitives::ServiceId(4);
        other.path = "/api/other".to_owned();
        config.services.push(other);
    })
    .await;
    let mut lane = Lanes::new(1);
    let (call, _) = lane.opening("/api/other", Flags::NONE);
    assert_eq!(world.call("/api/other", &call, &[], b"").await.kind(), ProblemKind::OutOfScope);
    assert_eq!(world.raw(Method::GET, "/elsewhere", HeaderMap::new(), b"").await.kind(), ProblemKind::OutOfScope);
    assert_eq!(world.reached(), 0);
}

async fn speak(world: &World, text: &str) -> String {
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut reply = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut reply)).await;
    String::from_utf8_lossy(&reply).into_owned()
}

#[tokio::test]
async fn slow_and_oversized_requests_are_cut_off() {
    let (world, mut lane) = opened().await;
    let huge = format!("GET /api/x HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(20_000));
    assert!(speak(&world, &huge).await.starts_with("HTTP/1.1 431"));
    // Headers that never end: the connection ends after a second.
    let began = std::time::Instant::now();
    speak(&world, "GET /api/x HTTP/1.1\r\nhost: a\r\nx: ").await;
    assert!(began.elapsed() < Duration::from_secs(4));

    let (call, _) = lane.tagged("/api/x", Flags::NONE);
    let call = surety_primitives::access::encode_call(&call);
    let slow = format!("POST /api/x HTTP/1.1\r\nhost: a\r\nsurety-call: {call}\r\ncontent-length: 100\r\n\r\nabc");
    assert!(speak(&world, &slow).await.contains("did not come within"));
    let long = format!("POST /api/x HTTP/1.1\r\nhost: a\r\nsurety-call: {call}\r\ncontent-length: 100000\r\n\r\n");
    assert!(speak(&world, &long).await.contains("more than 65536 bytes"));
    untouched(&world, &mut lane).await;
}
