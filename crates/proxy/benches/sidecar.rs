//! What the checks cost over HTTP: `cargo bench -p surety-proxy --bench sidecar`.
//!
//! API, proxy and callers run on a thread each. The same calls go through a proxy that only forwards, through the sidecar
//! with tags, and with signatures; CPU is that of the proxy's thread alone, so that a busy machine changes the wall figures
//! and not these. Goals: at least 20,000 calls a second and core with tags; added p99 under 0.5 ms.

#![allow(clippy::unwrap_used)]

#[path = "../tests/it/ledger.rs"]
#[allow(dead_code)]
mod ledger;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use ledger::MemoryLedger;
use surety_primitives::access::{
    Call, CallSigner, Flags, Grant, LaneClient, LaneState, body_hash, encode_call, request_hash,
};
use surety_primitives::answer::Reply;
use surety_primitives::keys::{DhSecret, SecretKey};
use surety_primitives::{Amount, Hash32, Height, Lane, NetworkId, ProviderId, PurchaseId, Seconds, ServiceId};
use surety_proxy::Sidecar;
use surety_proxy::config::{DutyConfig, Limits, ServiceConfig, SidecarConfig};
use surety_proxy::ledger::PurchaseView;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use zeroize::Zeroizing;

const CONNECTIONS: u16 = 16;
const AUTHORITY: &str = "api.example";
const PATH: &str = "/v1/site/example.com";
const WINDOW: u32 = 4_096;

fn main() {
    let seconds = std::env::var("BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
    let api = serve(|listener| async move { forward_none(listener).await });
    let plain = serve(move |listener| async move { forward_all(listener, api.address).await });
    println!("{:24}{:>12}{:>16}{:>12}{:>12}{:>12}", "", "calls/s", "CPU us a call", "per core", "p50 us", "p99 us");
    report("forwards only", &plain, Kind::Plain, seconds);
    for (name, kind, cover) in [
        ("sidecar, tags", Kind::Tags, Amount::ZERO),
        ("sidecar, signatures", Kind::Signatures, Amount::ZERO),
        ("sidecar, cover, logged", Kind::Tags, Amount::call(1)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().to_owned();
        let sidecar = sidecar(api.address, data, cover);
        report(name, &sidecar, kind, seconds);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Tags,
    Signatures,
}

/// A server on a thread of its own.
struct Server {
    address: SocketAddr,
    ask: tokio::sync::mpsc::UnboundedSender<mpsc::Sender<Duration>>,
}

impl Server {
    /// CPU time that its thread has used.
    fn cpu(&self) -> Duration {
        let (sender, receiver) = mpsc::channel();
        self.ask.send(sender).unwrap();
        receiver.recv().unwrap()
    }
}

fn thread_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0))
}

fn on_thread<F: Future<Output = ()>>(run: impl FnOnce(mpsc::Sender<SocketAddr>) -> F + Send + 'static) -> Server {
    let (told, address) = mpsc::channel();
    let (ask, mut asked) = tokio::sync::mpsc::unbounded_channel::<mpsc::Sender<Duration>>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            tokio::spawn(async move {
                while let Some(reply) = asked.recv().await {
                    let _ = reply.send(thread_cpu());
                }
            });
            run(told).await;
        });
    });
    Server { address: address.recv().unwrap(), ask }
}

fn serve<F: Future<Output = ()>>(run: impl FnOnce(TcpListener) -> F + Send + 'static) -> Server {
    on_thread(move |told| async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        told.send(listener.local_addr().unwrap()).unwrap();
        run(listener).await;
    })
}

fn sidecar(upstream: SocketAddr, data: std::path::PathBuf, cover: Amount) -> Server {
    on_thread(move |told| async move {
        let ledger = Arc::new(MemoryLedger::new(key(200).public()));
        ledger.0.lock().unwrap().purchases.insert(grant().purchase, view(cover));
        let config = SidecarConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            admin: "127.0.0.1:0".parse().unwrap(),
            authority: AUTHORITY.to_owned(),
            scheme: "http".to_owned(),
            prefix: String::new(),
            data,
            provider: ProviderId(5),
            services: vec![ServiceConfig {
                id: ServiceId(3),
                path: "/v1".to_owned(),
                upstream: format!("http://{upstream}"),
                pinned: false,
                answer_valid_s: 600,
                timeout_s: 10,
            }],
            limits: Limits::default(),
            duties: DutyConfig { tick_ms: 600_000, ..DutyConfig::default() },
        };
        let sidecar = Sidecar::start(config, key(200), ledger).await.unwrap();
        told.send(sidecar.address()).unwrap();
        std::future::pending::<()>().await;
    })
}

async fn forward_none(listener: TcpListener) {
    accept(listener, |_: Request<Incoming>| async {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"{\"phishing\":0}"))))
    })
    .await;
}

async fn forward_all(listener: TcpListener, to: SocketAddr) {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    accept(listener, move |request: Request<Incoming>| {
        let client = client.clone();
        async move {
            let (mut parts, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let path = parts.uri.path_and_query().unwrap().as_str().to_owned();
            parts.uri = format!("http://{to}{path}").parse().unwrap();
            let (parts, body) = client.request(Request::from_parts(parts, Full::new(body))).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            Ok::<_, Infallible>(Response::from_parts(parts, Full::new(body)))
        }
    })
    .await;
}

async fn accept<F>(listener: TcpListener, answer: impl Fn(Request<Incoming>) -> F + Clone + 'static)
where
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + 'static,
{
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let answer = answer.clone();
                tokio::task::spawn_local(async move {
                    let service = service_fn(answer);
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        })
        .await;
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&Zeroizing::new([n; 32]))
}

fn grant() -> Grant {
    Grant {
        network: NetworkId(1),
        purchase: PurchaseId([7; 16]),
        key_version: 1,
        call_key: key(1).public(),
        lanes: u32::from(CONNECTIONS),
        quota: 1_000_000_000,
        not_before: Seconds(0),
        end: Seconds(u64::MAX),
    }
}

fn view(cover: Amount) -> PurchaseView {
    PurchaseView {
        grant: grant(),
        provider: ProviderId(5),
        service: ServiceId(3),
        price: Amount::call(1),
        window: WINDOW,
        cover,
        rate: 0,
        claimed: 0,
        settled: false,
        shown: false,
        rows: 2,
        height: Height(1),
    }
}

fn report(name: &str, server: &Server, kind: Kind, seconds: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let address = server.address;
    // Connections, lanes and caches are warm before anything is measured.
    let begin = Instant::now() + Duration::from_millis(500);
    let end = begin + Duration::from_secs(seconds);
    let (mut times, cpu) = runtime.block_on(async {
        let callers = futures::future::join_all((0..CONNECTIONS).map(|lane| caller(address, kind, lane, begin, end)));
        let cpu = async {
            tokio::time::sleep_until(begin.into()).await;
            let before = server.cpu();
            tokio::time::sleep_until(end.into()).await;
            server.cpu() - before
        };
        let (times, cpu) = futures::join!(callers, cpu);
        (times.concat(), cpu)
    });
    let wall = Duration::from_secs(seconds);
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
    let each = cpu.as_secs_f64() / times.len() as f64;
    println!(
        "{name:24}{:>12.0}{:>16.1}{:>12.0}{:>12.0}{:>12.0}",
        times.len() as f64 / wall.as_secs_f64(),
        each * 1e6,
        1.0 / each,
        at(0.5),
        at(0.99)
    );
}

async fn caller(address: SocketAddr, kind: Kind, lane: u16, begin: Instant, end: Instant) -> Vec<Duration> {
    let signer = CallSigner::new(&grant(), Vec::new(), key(1), ProviderId(5), key(200).public()).unwrap();
    let mut client = LaneClient::new(Arc::new(signer), Lane(lane), LaneState::default()).unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let request = request_hash("GET", AUTHORITY, PATH, "", &body_hash(b""));
    let (mut times, mut buffer) = (Vec::new(), Vec::new());
    while Instant::now() < end {
        let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as u32 + 60;
        let (call, mut pending) = if !client.is_open() {
            let ephemeral = DhSecret::from_bytes(Zeroizing::new([lane as u8 + 1; 32]));
            let (call, pending) = client.open(request, deadline, Flags::NONE, &ephemeral).unwrap();
            (Call::Signed(call), pending)
        } else if kind == Kind::Signatures || client.should_sign(WINDOW / u32::from(CONNECTIONS)) {
            let (call, pending) = client.signed(request, deadline, Flags::NONE).unwrap();
            (Call::Signed(call), pending)
        } else {
            let (call, pending) = client.tagged(request, deadline, Flags::NONE).unwrap();
            (Call::Mac(call), pending)
        };
        let head = format!("GET {PATH} HTTP/1.1\r\nhost: {AUTHORITY}\r\nsurety-call: {}\r\n\r\n", encode_call(&call));
        let began = Instant::now();
        stream.write_all(head.as_bytes()).await.unwrap();
        let (answer, body) = read(&mut stream, &mut buffer).await;
        if began >= begin {
            times.push(began.elapsed());
        }
        if kind != Kind::Plain {
            match Reply::from_header(&answer).unwrap() {
                Reply::Tag(reply) => client.accept_tag(&mut pending, &reply, &body_hash(&body)).unwrap(),
                // The caller's own check is not what is measured: only that the Answer is one.
                Reply::Answer(signed) => {
                    let now = signed.answer.time;
                    client.accept_answer(&mut pending, &signed, &body_hash(&body), &Hash32::default(), now).unwrap()
                }
            };
        }
    }
    times
}

/// Reads one reply: its Answer and its body.
async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> (String, Vec<u8>) {
    buffer.clear();
    loop {
        assert!(stream.read_buf(buffer).await.unwrap() > 0, "the proxy closed the connection");
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length: usize = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        if buffer.len() < end + 4 + length {
            continue;
        }
        assert!(head.starts_with("http/1.1 200"), "{}", String::from_utf8_lossy(buffer));
        let text = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let answer = text.lines().find_map(|line| line.strip_prefix("surety-answer: ")).unwrap_or_default();
        return (answer.to_owned(), buffer[end + 4..].to_vec());
    }
}
