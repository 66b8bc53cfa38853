//! A caller against a provider that keeps the sheet's rules, and against providers that break one each.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{Response, StatusCode};
use surety_client::caller::{Log, Options, Package, Request};
use surety_client::{Caller, Error};
use surety_primitives::access::{
    ANSWER_HEADER, CALL_HEADER, CLAIMS_HEADER, Call, Flags, Grant, Head, LaneKey, NO_REQUEST, Problem, ProblemKind,
    body_hash, decode_call, request_hash, verify_chain, verify_mac_call, verify_signed_call,
};
use surety_primitives::answer::claims::{Claim, Claims};
use surety_primitives::answer::{Answer, AnswerBy, Basis, CallRef, DatasetRef, Reply, Version1, answer_digest};
use surety_primitives::api::{LaneStatus, SettleReply, SettleRequest};
use surety_primitives::dataset::Key;
use surety_primitives::keys::SecretKey;
use surety_primitives::{Amount, DatasetId, Hash32, Lane, NetworkId, ProviderId, PurchaseId, Seconds, ServiceId};

const NOW: Seconds = Seconds(1_700_000_000);
const WINDOW: u32 = 16;

/// The one rule that a provider breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    OtherKey,
    OtherProvider,
    OtherBody,
    OtherRequest,
    OtherDataset,
    NoDataset,
    HiddenClaims,
    NoClaims,
    ClaimBeyondBasis,
    StatusLie,
    OldTime,
    TagInsteadOfAnswer,
    NoAnswer,
    Refuses(ProblemKind),
}

#[derive(Debug)]
struct Provider {
    key: SecretKey,
    grant: Grant,
    fault: Fault,
    window: u32,
    /// Whether replies are made, kept, and never sent.
    mute: bool,
    kept: Vec<(Lane, u64, String)>,
    lanes: BTreeMap<Lane, LaneView>,
    served: u64,
}

#[derive(Debug, Default)]
struct LaneView {
    key: Option<LaneKey>,
    high: u64,
    floor: u64,
    admitted: u64,
    best: u64,
}

type Shared = Arc<Mutex<Provider>>;

fn call_key() -> SecretKey {
    SecretKey::from_seed(&[21; 32].into())
}

fn provider_key() -> SecretKey {
    SecretKey::from_seed(&[22; 32].into())
}

fn package(endpoint: &str) -> Package {
    let grant = Grant {
        network: NetworkId(7),
        purchase: PurchaseId([9; 16]),
        key_version: 1,
        call_key: call_key().public(),
        lanes: 8,
        quota: 10_000,
        not_before: Seconds(0),
        end: Seconds(u64::MAX),
    };
    Package {
        grant,
        provider: ProviderId(3),
        provider_key: provider_key().public(),
        service: ServiceId(1),
        window: WINDOW,
        cover: Amount::call(20),
        datasets: vec![DatasetId(5)],
        endpoint: endpoint.to_owned(),
        clock: NOW,
    }
}

async fn start(fault: Fault) -> (SocketAddr, Shared) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let provider = Provider {
        key: provider_key(),
        grant: package("").grant,
        fault,
        window: WINDOW,
        mute: false,
        kept: Vec::new(),
        lanes: BTreeMap::new(),
        served: 0,
    };
    let shared = Arc::new(Mutex::new(provider));
    let router = Router::new()
        .route("/.well-known/surety/settle", axum::routing::post(settle))
        .route("/.well-known/surety/answers", axum::routing::get(answers))
        .fallback(serve)
        .with_state(Arc::clone(&shared));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, shared)
}

fn caller(address: SocketAddr, log: &Path, change: impl FnOnce(&mut Options)) -> Caller {
    let mut options = Options::new(log);
    options.attempts = 4;
    change(&mut options);
    Caller::new(package(&format!("http://{address}/api")), call_key(), None, options).unwrap()
}

fn refuse(kind: ProblemKind, change: impl FnOnce(&mut Problem)) -> Response<Body> {
    let mut problem = Problem::new(kind, "refused by the test");
    change(&mut problem);
    let body = serde_json::to_vec(&problem).unwrap();
    Response::builder().status(kind.status()).body(Body::from(body)).unwrap()
}

async fn serve(State(shared): State<Shared>, request: HttpRequest) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let call = decode_call(&header(CALL_HEADER).unwrap()).unwrap();
    let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
    let host = header("host").unwrap();
    let hash = request_hash(parts.method.as_str(), &host, path, query, &body_hash(&body));
    let (mute, response) = {
        let mut provider = shared.lock().unwrap();
        match provider.admit(&call, &hash) {
            Err(refusal) => (false, refusal),
            Ok(()) => (provider.mute, provider.answer(call.head(), hash, &format!("{path}?{query}"))),
        }
    };
    if mute {
        std::future::pending::<()>().await;
    }
    response
}

async fn answers(State(shared): State<Shared>, request: HttpRequest) -> axum::Json<serde_json::Value> {
    let provider = shared.lock().unwrap();
    let call = request.headers().get(CALL_HEADER).unwrap().to_str().unwrap();
    let Call::Signed(call) = decode_call(call).unwrap() else { panic!("a tag asks for nothing") };
    assert!(call.head().flags.has(Flags::VOUCHER));
    verify_signed_call(&call, &verify_chain(&provider.grant, &[]).unwrap(), &NO_REQUEST).unwrap();
    let number = |name: &str| {
        let pairs = request.uri().query().unwrap().split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| value.parse::<u64>().unwrap()).next().unwrap()
    };
    let (lane, from) = (number("lane"), number("from"));
    let kept = provider.kept.iter().filter(|(of, seq, _)| u64::from(of.0) == lane && *seq >= from);
    axum::Json(kept.map(|(_, seq, answer)| serde_json::json!({"seq": seq, "answer": answer})).collect())
}

impl Provider {
    /// Steps 6 to 12 of the sheet's part D3, as far as they concern the caller.
    #[allow(clippy::result_large_err, reason = "a test's refusal is a response")]
    fn admit(&mut self, call: &Call, hash: &Hash32) -> Result<(), Response<Body>> {
        let authority = verify_chain(&self.grant, &[]).unwrap();
        let head = *call.head();
        let pending: u64 = self.lanes.values().map(|lane| lane.admitted - lane.best).sum();
        let lane = self.lanes.entry(head.lane).or_default();
        if let Fault::Refuses(kind) = self.fault {
            return Err(refuse(kind, |_| {}));
        }
        if head.seq <= lane.floor {
            return Err(refuse(ProblemKind::SeqBelowFloor, |problem| problem.seq_floor = Some(lane.floor)));
        }
        match call {
            Call::Signed(signed) => {
                verify_signed_call(signed, &authority, hash).expect("the caller signs what it sends");
                assert!(head.cum <= lane.admitted, "the caller acknowledges what it never asked for");
                lane.best = lane.best.max(head.cum);
                if lane.admitted - lane.best >= u64::from(self.window) {
                    return Err(refuse(ProblemKind::VoucherDue, |_| {}));
                }
                if let Some(ephemeral) = signed.ephemeral() {
                    let delegate = authority.key.public();
                    let key = LaneKey::of_provider(&self.key, ephemeral, &head.purchase, head.lane, &delegate);
                    lane.key = Some(key.unwrap());
                }
            }
            Call::Mac(mac) => {
                let Some(key) = &lane.key else { return Err(refuse(ProblemKind::NeedOpen, |_| {})) };
                verify_mac_call(mac, &authority, key, hash).expect("the caller tags what it sends");
                if pending >= u64::from(self.window) {
                    return Err(refuse(ProblemKind::VoucherDue, |_| {}));
                }
            }
        }
        assert!(head.seq > lane.high, "a number is used twice");
        (lane.high, lane.admitted) = (head.seq, lane.admitted + 1);
        let pending: u64 = self.lanes.values().map(|lane| lane.admitted - lane.best).sum();
        assert!(pending <= u64::from(WINDOW) + 8, "the caller outruns the window: {pending}");
        self.served += 1;
        Ok(())
    }

    fn answer(&mut self, head: &Head, request: Hash32, said: &str) -> Response<Body> {
        let fault = self.fault;
        let cited = |id, root| DatasetRef { id: DatasetId(id), version: 1, root: Hash32([root; 32]) };
        let datasets = match fault {
            Fault::OtherDataset => vec![cited(5, 1), cited(6, 2)],
            Fault::NoDataset | Fault::ClaimBeyondBasis => Vec::new(),
            _ => vec![cited(5, 1)],
        };
        let key = Key::new(1, b"example.com").unwrap();
        let claim = Claim { dataset: DatasetId(5), version: 1, key, found: None };
        let claims =
            Claims::new(if matches!(fault, Fault::NoDataset | Fault::NoClaims) { vec![] } else { vec![claim] })
                .unwrap();
        let body = said.as_bytes();
        let status = if fault == Fault::ClaimBeyondBasis { 404 } else { 200 };
        let answer = Answer {
            ver: Version1,
            by: AnswerBy::Provider(ProviderId(if fault == Fault::OtherProvider { 4 } else { 3 })),
            call: Some(CallRef { purchase: head.purchase, lane: head.lane, seq: head.seq }),
            request: if fault == Fault::OtherRequest { Hash32([8; 32]) } else { request },
            status,
            basis: Basis::new(datasets, None, Hash32::default()).unwrap(),
            pinned: true,
            answer: answer_digest(&body_hash(body), &claims.root()),
            time: if fault == Fault::OldTime { Seconds(NOW.0 - 100) } else { NOW },
            expiry: NOW.after(Seconds(600)),
        };
        let key = if fault == Fault::OtherKey { call_key() } else { self.key.clone() };
        let wants_tag = fault == Fault::TagInsteadOfAnswer || !head.flags.has(Flags::ANSWER);
        let reply = match self.lanes[&head.lane].key.as_ref().filter(|_| wants_tag) {
            Some(lane) => Reply::Tag(lane.tag_reply(head, &request, status, NOW.0 as u32, &body_hash(body))),
            None => Reply::Answer(Box::new(answer.sign(&key))),
        };
        self.kept.push((head.lane, head.seq, reply.to_header()));
        let sent = if fault == Fault::OtherBody { Bytes::from_static(b"lies") } else { Bytes::copy_from_slice(body) };
        let status =
            if fault == Fault::StatusLie { StatusCode::NOT_FOUND } else { StatusCode::from_u16(status).unwrap() };
        let mut response = Response::builder().status(status);
        if fault != Fault::NoAnswer {
            response = response.header(ANSWER_HEADER, reply.to_header());
        }
        if fault != Fault::HiddenClaims && !wants_tag {
            response = response.header(CLAIMS_HEADER, claims.to_header());
        }
        response.body(Body::from(sent)).unwrap()
    }
}

async fn settle(State(shared): State<Shared>, body: Bytes) -> axum::Json<SettleReply> {
    let request: SettleRequest = serde_json::from_slice(&body).unwrap();
    let mut provider = shared.lock().unwrap();
    let authority = verify_chain(&provider.grant, &[]).unwrap();
    let mut lanes = Vec::new();
    for text in &request.calls {
        let Call::Signed(call) = decode_call(text).unwrap() else { panic!("a tag acknowledges nothing") };
        let head = *call.head();
        assert!(head.flags.has(Flags::VOUCHER));
        verify_signed_call(&call, &authority, &NO_REQUEST).unwrap();
        let lane = provider.lanes.get_mut(&head.lane).unwrap();
        assert!(head.cum <= lane.admitted);
        lane.best = lane.best.max(head.cum);
        lanes.push(LaneStatus { lane: head.lane, seq: lane.high, cum: lane.best, floor: lane.floor });
    }
    axum::Json(SettleReply { purchase: provider.grant.purchase, remaining: 0, lanes })
}

async fn call_many(caller: &Caller, calls: usize) {
    let tasks: Vec<_> = (0..calls)
        .map(|n| {
            let caller = caller.clone();
            tokio::spawn(async move {
                let reply = caller.call(&Request::get(format!("check?name=n{n}.example"))).await.unwrap();
                assert_eq!(reply.body, format!("/api/check?name=n{n}.example").as_bytes());
                assert_eq!(reply.status, 200);
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
async fn every_valid_answer_is_acknowledged_and_kept_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("calls.log");
    let (address, provider) = start(Fault::None).await;
    for (round, calls) in [(1_u64, 150_usize), (2, 50)] {
        let caller = caller(address, &log, |_| {});
        call_many(&caller, calls).await;
        let expected = if round == 1 { 150 } else { 200 };
        assert_eq!(caller.acknowledged().await, expected);
        let settled = caller.settle().await.unwrap().unwrap();
        assert_eq!(settled.lanes.iter().map(|lane| lane.cum).sum::<u64>(), expected);
        assert_eq!(caller.answers().unwrap().len() as u64, expected);
    }
    assert_eq!(provider.lock().unwrap().served, 200);
    for logged in Log::answers(&log).unwrap() {
        logged.signed.verify(&provider_key().public()).unwrap();
        assert_eq!(logged.signed.answer.answer, answer_digest(&logged.body, &logged.claims.root()));
    }
}

#[tokio::test]
async fn calls_without_signed_answers_and_without_tags_work_too() {
    for (answers, tags) in [(false, true), (true, false)] {
        let folder = tempfile::tempdir().unwrap();
        let (address, provider) = start(Fault::None).await;
        let caller = caller(address, &folder.path().join("log"), |options| {
            (options.answers, options.tags) = (answers, tags);
        });
        call_many(&caller, 60).await;
        assert_eq!(caller.acknowledged().await, 60);
        assert_eq!(caller.answers().unwrap().len(), if answers { 60 } else { 0 });
        assert_eq!(provider.lock().unwrap().served, 60);
    }
}

#[tokio::test]
async fn a_provider_that_forgot_its_lanes_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let (address, provider) = start(Fault::None).await;
    let caller = caller(address, &folder.path().join("log"), |options| options.lanes = 1);
    call_many(&caller, 5).await;
    provider.lock().unwrap().lanes.get_mut(&Lane(0)).unwrap().key = None;
    call_many(&caller, 5).await;
    provider.lock().unwrap().lanes.get_mut(&Lane(0)).unwrap().floor = 5_000;
    call_many(&caller, 5).await;
    assert_eq!(provider.lock().unwrap().lanes[&Lane(0)].high, 5_005);
    assert_eq!(caller.acknowledged().await, 15);
}

#[tokio::test]
async fn no_broken_rule_is_acknowledged() {
    let faults = [
        (Fault::OtherKey, "access-bad-signature"),
        (Fault::OtherProvider, "access-answer-mismatch"),
        (Fault::OtherBody, "access-answer-mismatch"),
        (Fault::OtherRequest, "access-wrong-reply"),
        (Fault::OtherDataset, "client-bad-reply"),
        (Fault::NoDataset, "client-bad-reply"),
        (Fault::HiddenClaims, "access-answer-mismatch"),
        (Fault::ClaimBeyondBasis, "client-bad-reply"),
        (Fault::StatusLie, "client-bad-reply"),
        (Fault::OldTime, "access-answer-mismatch"),
        (Fault::TagInsteadOfAnswer, "access-answer-mismatch"),
        (Fault::NoAnswer, "client-malformed"),
        (Fault::Refuses(ProblemKind::QuotaExhausted), "quota-exhausted"),
        (Fault::Refuses(ProblemKind::RateLimited), "rate-limited"),
        (Fault::Refuses(ProblemKind::NeedOpen), "need-open"),
    ];
    for (fault, code) in faults {
        let folder = tempfile::tempdir().unwrap();
        let (address, _provider) = start(fault).await;
        let caller = caller(address, &folder.path().join("log"), |_| {});
        let error = caller.call(&Request::get("check?name=a")).await.unwrap_err();
        assert_eq!(error.code(), code, "{fault:?}: {error}");
        assert_eq!(caller.acknowledged().await, 0, "{fault:?}");
        assert!(caller.answers().unwrap().is_empty(), "{fault:?}");
        assert!(caller.settle().await.unwrap().is_none(), "{fault:?}");
    }
}

#[tokio::test]
async fn an_answer_that_could_not_be_contradicted_is_not_acknowledged_where_cover_is_promised() {
    let folder = tempfile::tempdir().unwrap();
    let key = |name: &str| Key::new(1, name.as_bytes()).unwrap();
    let ask = |keys: Vec<Key>| Request::get("check?name=a").claiming(keys);

    let (address, _provider) = start(Fault::NoClaims).await;
    let silent = caller(address, &folder.path().join("silent"), |_| {});
    let error = silent.call(&ask(vec![key("example.com")])).await.unwrap_err();
    assert_eq!((error.code(), silent.acknowledged().await), ("client-bad-reply", 0), "{error}");
    // A refused question: nothing was looked up, and the asker knows it.
    silent.call(&ask(Vec::new())).await.unwrap();

    let (address, _provider) = start(Fault::None).await;
    let other = caller(address, &folder.path().join("other"), |_| {});
    other.call(&ask(vec![key("example.com")])).await.unwrap();
    let error = other.call(&ask(vec![key("example.com"), key("com")])).await.unwrap_err();
    assert_eq!((error.code(), other.acknowledged().await), ("client-bad-reply", 1), "{error}");

    let (address, _provider) = start(Fault::None).await;
    let package = Package { cover: Amount::ZERO, ..package(&format!("http://{address}/api")) };
    let options = Options::new(folder.path().join("uncovered"));
    let uncovered = Caller::new(package, call_key(), None, options).unwrap();
    uncovered.call(&ask(vec![key("com")])).await.unwrap();
}

/// A caller on one lane of a package of W = 1.
fn narrow_caller(address: SocketAddr, log: &Path) -> Caller {
    let package = Package { window: 1, ..package(&format!("http://{address}/api")) };
    let options = Options { lanes: 1, attempts: 4, ..Options::new(log) };
    Caller::new(package, call_key(), None, options).unwrap()
}

/// Calls, and goes away before the reply comes: the log is all that is left, as after `kill -9`.
async fn call_and_die(address: SocketAddr, log: &Path, provider: &Shared) {
    provider.lock().unwrap().mute = true;
    let caller = narrow_caller(address, log);
    let request = Request::get("check?name=lost");
    tokio::time::timeout(std::time::Duration::from_millis(300), caller.call(&request)).await.unwrap_err();
    provider.lock().unwrap().mute = false;
}

#[tokio::test]
async fn a_lost_reply_costs_no_part_of_the_window() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (address, provider) = start(Fault::None).await;
    provider.lock().unwrap().window = 1;
    for round in 0..3 {
        call_and_die(address, &log, &provider).await;
        let caller = narrow_caller(address, &log);
        caller.call(&Request::get("check?name=next")).await.unwrap();
        // The lost one and this one.
        assert_eq!(caller.acknowledged().await, 2 * round + 2);
        assert_eq!(caller.answers().unwrap().len() as u64, round + 1);
    }
    assert_eq!(provider.lock().unwrap().served, 6);
}

#[tokio::test]
async fn a_provider_that_never_replies_is_not_paid_for_the_whole_package() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (address, provider) = start(Fault::None).await;
    provider.lock().unwrap().window = 1;
    for _ in 0..9 {
        call_and_die(address, &log, &provider).await;
    }
    let caller = narrow_caller(address, &log);
    let error = caller.call(&Request::get("check?name=next")).await.unwrap_err();
    assert_eq!((error.code(), caller.acknowledged().await), ("voucher-due", 8));
}

#[tokio::test]
async fn a_lost_reply_is_acknowledged_only_for_an_answer_to_that_call() {
    let folder = tempfile::tempdir().unwrap();
    let faults = [Fault::OtherKey, Fault::OtherProvider, Fault::OtherRequest, Fault::OtherDataset, Fault::NoDataset];
    for fault in faults {
        let log = folder.path().join(format!("{fault:?}"));
        let (address, provider) = start(fault).await;
        provider.lock().unwrap().window = 1;
        call_and_die(address, &log, &provider).await;
        let caller = narrow_caller(address, &log);
        let error = caller.call(&Request::get("check?name=next")).await.unwrap_err();
        assert_eq!((error.code(), caller.acknowledged().await), ("voucher-due", 0), "{fault:?}");
    }
}

#[tokio::test]
async fn a_reply_that_was_refused_does_not_pass_as_a_lost_one() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (address, provider) = start(Fault::NoClaims).await;
    provider.lock().unwrap().window = 1;
    let ask = Request::get("check?name=a").claiming(vec![Key::new(1, b"example.com").unwrap()]);
    for code in ["client-bad-reply", "voucher-due"] {
        let caller = narrow_caller(address, &log);
        assert_eq!(caller.call(&ask).await.unwrap_err().code(), code);
        assert_eq!(caller.acknowledged().await, 0);
    }
}

#[tokio::test]
async fn a_paid_call_goes_nowhere_else_and_nobody_is_waited_for_without_end() {
    let folder = tempfile::tempdir().unwrap();
    let (address, provider) = start(Fault::None).await;
    let caller = caller(address, &folder.path().join("log"), |_| {});
    for path in ["https://other.example/x", "\\\\other.example/x"] {
        let error = caller.call(&Request::get(path)).await.unwrap_err();
        assert!(matches!(error, Error::BadUrl(_)), "{path}: {error}");
    }
    assert_eq!(provider.lock().unwrap().served, 0);

    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let options = Options { deadline_s: 1, attempts: 1, ..Options::new(folder.path().join("silent")) };
    let package = package(&format!("http://{address}/"));
    let caller = Caller::new(package, call_key(), None, options).unwrap();
    let began = std::time::Instant::now();
    let error = caller.call(&Request::get("x")).await.unwrap_err();
    assert_eq!(error.code(), "client-transport", "{error}");
    assert!(began.elapsed() < std::time::Duration::from_secs(10));
}

#[tokio::test]
async fn another_key_than_the_packages_cannot_call() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options::new(folder.path().join("log"));
    let other = SecretKey::from_seed(&[1; 32].into());
    let error = Caller::new(package("http://127.0.0.1:1/"), other, None, options).unwrap_err();
    assert_eq!(error.code(), "access-bad-key");
}
