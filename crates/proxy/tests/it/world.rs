//! A consumer with one package, and the sidecar that serves it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use surety_primitives::access::{
    ANSWER_HEADER, CALL_HEADER, CHAIN_HEADER, Call, CallSigner, Flags, Grant, LaneClient, LaneState, Pending, Problem,
    ProblemKind, QUOTA_HEADER, QuotaState, SubGrant, body_hash, encode_call, encode_chain, request_hash,
};
use surety_primitives::answer::Reply;
use surety_primitives::keys::{DhSecret, SecretKey};
use surety_primitives::{Amount, Hash32, Height, Lane, NetworkId, ProviderId, PurchaseId, Seconds, ServiceId};
use surety_proxy::config::{DutyConfig, Limits, ServiceConfig, SidecarConfig};
use surety_proxy::ledger::PurchaseView;
use surety_proxy::{Sidecar, run};
use zeroize::Zeroizing;

use crate::ledger::MemoryLedger;
use crate::upstream::{self, Upstream};

pub(crate) const AUTHORITY: &str = "api.example";
pub(crate) const PURCHASE: PurchaseId = PurchaseId([7; 16]);
pub(crate) const QUOTA: u64 = 40;
pub(crate) const WINDOW: u32 = 8;

pub(crate) fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&Zeroizing::new([n; 32]))
}

pub(crate) fn provider() -> SecretKey {
    key(200)
}

pub(crate) fn grant() -> Grant {
    Grant {
        network: NetworkId(1),
        purchase: PURCHASE,
        key_version: 1,
        call_key: key(1).public(),
        lanes: 4,
        quota: QUOTA,
        not_before: Seconds(999_000),
        end: Seconds(2_000_000),
    }
}

pub(crate) fn view() -> PurchaseView {
    PurchaseView {
        grant: grant(),
        provider: ProviderId(5),
        service: ServiceId(3),
        price: Amount::call(20),
        window: WINDOW,
        cover: Amount::ZERO,
        rate: 0,
        claimed: 0,
        settled: false,
        shown: false,
        rows: 2,
        height: Height(100),
    }
}

pub(crate) fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn deadline() -> u32 {
    (wall() + 60) as u32
}

pub(crate) fn config(upstream: SocketAddr, data: &Path) -> SidecarConfig {
    SidecarConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        admin: "127.0.0.1:0".parse().unwrap(),
        authority: AUTHORITY.to_owned(),
        scheme: "http".to_owned(),
        prefix: String::new(),
        data: data.to_owned(),
        provider: ProviderId(5),
        services: vec![ServiceConfig {
            id: ServiceId(3),
            path: "/api".to_owned(),
            upstream: format!("http://{upstream}"),
            pinned: true,
            answer_valid_s: 600,
            timeout_s: 1,
        }],
        limits: Limits {
            header_bytes: 16 << 10,
            body_bytes: 64 << 10,
            reply_bytes: 64 << 10,
            read_timeout_s: 1,
            ..Limits::default()
        },
        duties: DutyConfig { tick_ms: 50, claim_above: Amount::call(5), ..DutyConfig::default() },
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Got {
    pub(crate) fn problem(&self) -> Problem {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no problem: {self:?}"))
    }

    pub(crate) fn kind(&self) -> ProblemKind {
        let problem = self.problem();
        assert_eq!(problem.status, self.status.as_u16());
        assert_eq!(self.status.as_u16(), problem.kind.status());
        assert_eq!(self.headers["content-type"], "application/problem+json");
        problem.kind
    }

    pub(crate) fn quota(&self) -> QuotaState {
        self.headers[QUOTA_HEADER].to_str().unwrap().parse().unwrap()
    }

    pub(crate) fn reply(&self) -> Reply {
        Reply::from_header(self.headers[ANSWER_HEADER].to_str().unwrap()).unwrap()
    }
}

pub(crate) type Http = Client<HttpConnector, Full<Bytes>>;

pub(crate) fn http() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

pub(crate) async fn send(http: &Http, request: Request<Full<Bytes>>) -> Got {
    let (parts, body) = http.request(request).await.unwrap().into_parts();
    let collected = body.collect().await.unwrap();
    let mut headers = parts.headers;
    headers.extend(collected.trailers().cloned().unwrap_or_default());
    Got { status: parts.status, headers, body: collected.to_bytes() }
}

pub(crate) struct World {
    pub(crate) ledger: Arc<MemoryLedger>,
    pub(crate) upstream: Upstream,
    pub(crate) sidecar: Sidecar,
    pub(crate) address: SocketAddr,
    pub(crate) http: Http,
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_, _| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut SidecarConfig, &mut PurchaseView)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let upstream = upstream::start().await;
        let (mut config, mut view) = (config(upstream.address, folder.path()), view());
        change(&mut config, &mut view);
        let ledger = Arc::new(MemoryLedger::new(provider().public()));
        ledger.0.lock().unwrap().purchases.insert(PURCHASE, view);
        let sidecar = Sidecar::start(config, provider(), ledger.clone()).await.unwrap();
        let address = sidecar.address();
        Self { ledger, upstream, sidecar, address, http: http(), folder }
    }

    /// Stops the sidecar and starts another on the same folder.
    pub(crate) async fn restart(mut self) -> Self {
        self.sidecar.stop().await.unwrap();
        let config = config(self.upstream.address, self.folder.path());
        self.sidecar = Sidecar::start(config, provider(), self.ledger.clone()).await.unwrap();
        self.address = self.sidecar.address();
        self.http = http();
        self
    }

    pub(crate) fn reached(&self) -> u64 {
        self.upstream.reached.load(Ordering::SeqCst)
    }

    pub(crate) async fn raw(&self, method: Method, path: &str, headers: HeaderMap, body: &[u8]) -> Got {
        let mut request = Request::new(Full::new(Bytes::copy_from_slice(body)));
        *request.method_mut() = method;
        *request.uri_mut() = format!("http://{}{path}", self.address).parse().unwrap();
        *request.headers_mut() = headers;
        send(&self.http, request).await
    }

    pub(crate) async fn call(&self, path: &str, call: &Call, chain: &[SubGrant], body: &[u8]) -> Got {
        self.raw(if body.is_empty() { Method::GET } else { Method::POST }, path, call_headers(call, chain), body).await
    }

    pub(crate) async fn settle(&self, calls: &[Call]) -> Got {
        let calls: Vec<String> = calls.iter().map(encode_call).collect();
        let body = serde_json::to_vec(&serde_json::json!({ "calls": calls })).unwrap();
        self.raw(Method::POST, "/.well-known/surety/settle", HeaderMap::new(), &body).await
    }

    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let uri = format!("http://{}/metrics", self.sidecar.admin());
        let got = send(&self.http, Request::get(uri).body(Full::default()).unwrap()).await;
        let text = String::from_utf8(got.body.to_vec()).unwrap();
        let line = text.lines().find(|line| line.starts_with(&format!("surety_sidecar_{name}_total ")));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }
}

pub(crate) fn call_headers(call: &Call, chain: &[SubGrant]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(CALL_HEADER, HeaderValue::from_str(&encode_call(call)).unwrap());
    if !chain.is_empty() {
        headers.insert(CHAIN_HEADER, HeaderValue::from_str(&encode_chain(chain)).unwrap());
    }
    headers
}

pub(crate) fn request(path: &str, body: &[u8]) -> Hash32 {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    request_hash(if body.is_empty() { "GET" } else { "POST" }, AUTHORITY, path, query, &body_hash(body))
}

pub(crate) fn ephemeral() -> DhSecret {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bytes = Zeroizing::new([5; 32]);
    bytes[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    DhSecret::from_bytes(bytes)
}

/// A consumer's lane.
pub(crate) struct Lanes {
    pub(crate) client: LaneClient,
    chain: Vec<SubGrant>,
}

impl Lanes {
    pub(crate) fn new(lane: u16) -> Self {
        Self::resume(lane, LaneState::default())
    }

    pub(crate) fn resume(lane: u16, state: LaneState) -> Self {
        Self::of(key(1), Vec::new(), lane, state)
    }

    pub(crate) fn of(key: SecretKey, chain: Vec<SubGrant>, lane: u16, state: LaneState) -> Self {
        Self::under(&grant(), key, chain, lane, state)
    }

    /// The same under another row of the purchase.
    pub(crate) fn under(grant: &Grant, key: SecretKey, chain: Vec<SubGrant>, lane: u16, state: LaneState) -> Self {
        let signer = CallSigner::new(grant, chain.clone(), key, ProviderId(5), provider().public()).unwrap();
        Self { client: LaneClient::new(Arc::new(signer), Lane(lane), state).unwrap(), chain }
    }

    pub(crate) fn opening(&mut self, path: &str, flags: Flags) -> (Call, Pending) {
        let (call, pending) = self.client.open(request(path, b""), deadline(), flags, &ephemeral()).unwrap();
        (Call::Signed(call), pending)
    }

    pub(crate) fn tagged(&mut self, path: &str, flags: Flags) -> (Call, Pending) {
        let (call, pending) = self.client.tagged(request(path, b""), deadline(), flags).unwrap();
        (Call::Mac(call), pending)
    }

    pub(crate) fn signed(&mut self, path: &str, flags: Flags) -> (Call, Pending) {
        let (call, pending) = self.client.signed(request(path, b""), deadline(), flags).unwrap();
        (Call::Signed(call), pending)
    }

    pub(crate) fn voucher(&mut self) -> Call {
        Call::Signed(self.client.voucher(deadline()).unwrap().unwrap())
    }

    pub(crate) fn accept(&mut self, pending: &mut Pending, got: &Got) -> u16 {
        let body = body_hash(&got.body);
        match got.reply() {
            Reply::Tag(reply) => self.client.accept_tag(pending, &reply, &body).unwrap(),
            Reply::Answer(signed) => {
                let root = got.headers.get("surety-claims").map_or(Hash32::default(), |value| {
                    surety_primitives::answer::claims::Claims::from_header(value.to_str().unwrap()).unwrap().root()
                });
                self.client.accept_answer(pending, &signed, &body, &root, Seconds(1_000_000)).unwrap()
            }
        }
    }

    /// Opens the lane with a call that is served.
    pub(crate) async fn open(&mut self, world: &World) -> Got {
        let (call, mut pending) = self.opening("/api/x", Flags::NONE);
        let got = world.call("/api/x", &call, &self.chain, b"").await;
        assert_eq!(got.status, StatusCode::OK, "{got:?}");
        self.accept(&mut pending, &got);
        got
    }

    pub(crate) async fn tag(&mut self, world: &World, path: &str) -> Got {
        let (call, mut pending) = self.tagged(path, Flags::NONE);
        let got = world.call(path, &call, &[], b"").await;
        if got.headers.contains_key(ANSWER_HEADER) {
            self.accept(&mut pending, &got);
        }
        got
    }

    pub(crate) async fn sign(&mut self, world: &World, path: &str) -> Got {
        let (call, mut pending) = self.signed(path, Flags::NONE);
        let got = world.call(path, &call, &[], b"").await;
        if got.headers.contains_key(ANSWER_HEADER) {
            self.accept(&mut pending, &got);
        }
        got
    }
}

/// For the process that is killed: runs a sidecar for ever and says where.
pub(crate) async fn serve_forever(upstream: SocketAddr, data: &Path) {
    let ledger = Arc::new(MemoryLedger::new(provider().public()));
    ledger.0.lock().unwrap().purchases.insert(PURCHASE, view());
    let sidecar = Sidecar::start(config(upstream, data), provider(), ledger).await.unwrap();
    println!("listening on {}", sidecar.address());
    std::future::pending::<()>().await;
}

/// The same by the function that a program uses, until `shutdown`.
pub(crate) async fn run_until(
    config: SidecarConfig,
    shutdown: impl Future<Output = ()>,
) -> Result<(), surety_proxy::Error> {
    let ledger = Arc::new(MemoryLedger::new(provider().public()));
    run(config, provider(), ledger, shutdown).await
}
