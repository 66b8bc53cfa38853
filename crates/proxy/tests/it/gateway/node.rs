//! A node that records what reaches it, and fails as it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy_primitives::{hex, keccak256};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

pub(crate) const CHAIN: u64 = 31_337;

/// How the node fails.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fault {
    /// Waits before each answer.
    pub(crate) slow: Duration,
    /// Takes submissions and closes the connection without an answer.
    pub(crate) cuts_sends: bool,
    /// Has submissions from then on, and closes the connection without an answer.
    pub(crate) takes_and_cuts: bool,
    /// Answers submissions with this error's message.
    pub(crate) refuses: Option<&'static str>,
    /// Closes the connection without an answer, whatever is asked.
    pub(crate) cuts: bool,
    /// Answers this instead of JSON.
    pub(crate) says: Option<Vec<u8>>,
    /// Has every transaction already.
    pub(crate) knows: bool,
    /// Serves this chain.
    pub(crate) chain: Option<u64>,
}

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) text: String,
}

#[derive(Default)]
pub(crate) struct Shared {
    pub(crate) seen: Mutex<Vec<Seen>>,
    pub(crate) fault: Mutex<Fault>,
    /// Hashes of the transactions that it has.
    pub(crate) taken: Mutex<Vec<String>>,
}

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) address: SocketAddr,
    pub(crate) ws: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    /// News for every subscriber; `None` drops all connections.
    pub(crate) news: broadcast::Sender<Option<Value>>,
}

impl Node {
    pub(crate) async fn start() -> Self {
        let http = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ws = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let node = Self {
            address: http.local_addr().unwrap(),
            ws: ws.local_addr().unwrap(),
            shared: Arc::default(),
            news: broadcast::channel(64).0,
        };
        tokio::spawn(serve_http(http, node.clone()));
        tokio::spawn(serve_ws(ws, node.clone()));
        node
    }

    pub(crate) fn fail(&self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
    }

    /// Requests of clients that reached it: what the gateway asks for itself does not count.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let own = ["eth_chainId", "eth_blockNumber", "eth_getBlockByNumber"];
        let seen = self.shared.seen.lock().unwrap();
        seen.iter().filter(|seen| !own.contains(&seen.method.as_str())).cloned().collect()
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.shared.seen.lock().unwrap().iter().filter(|seen| seen.method == method).count()
    }
}

async fn serve_http(listener: TcpListener, node: Node) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let node = node.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer_http(request, node.clone()));
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer_http(request: Request<Incoming>, node: Node) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let fault = node.shared.fault.lock().unwrap().clone();
    tokio::time::sleep(fault.slow).await;
    let reply = answer(&node.shared, &body, &fault);
    if let Some(says) = fault.says {
        return Ok(Response::new(Full::new(says.into())));
    }
    match reply {
        Some(reply) => Ok(Response::new(Full::new(reply.to_string().into()))),
        // Closes the connection: the service never answers.
        None => panic!("the node cuts the connection, as it was told"),
    }
}

/// What a node answers; everything that it is sent it takes.
pub(crate) fn answer(shared: &Shared, body: &[u8], fault: &Fault) -> Option<Value> {
    let request: Value = serde_json::from_slice(body).expect("the gateway writes JSON");
    let method = request["method"].as_str().expect("one request, with a method").to_owned();
    let (params, text) = (request["params"].clone(), String::from_utf8(body.to_vec()).unwrap());
    shared.seen.lock().unwrap().push(Seen { method: method.clone(), params: params.clone(), text });
    let raw = params[0].as_str().and_then(|raw| hex::decode(raw).ok()).filter(|_| method.starts_with("eth_sendRaw"));
    let hash = raw.map(|raw| keccak256(raw).to_string());
    if fault.takes_and_cuts {
        shared.taken.lock().unwrap().extend(hash.clone());
    }
    let is_send = method.contains("send");
    if fault.cuts || ((fault.cuts_sends || fault.takes_and_cuts) && is_send) {
        return None;
    }
    let id = request["id"].clone();
    if let Some(message) = fault.refuses.filter(|_| is_send) {
        return Some(json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": message}}));
    }
    if fault.knows && method.starts_with("eth_sendRaw") {
        return Some(json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": "already known"}}));
    }
    let result = match method.as_str() {
        "eth_chainId" => json!(format!("{:#x}", fault.chain.unwrap_or(CHAIN))),
        "eth_blockNumber" => json!("0x64"),
        "eth_getBlockByNumber" => json!({"number": params[0]}),
        "eth_subscribe" => json!("0xabc"),
        "eth_getTransactionReceipt" => Value::Null,
        "eth_call" if params[0]["data"] == "0xdead" => {
            let error = json!({"code": 3, "message": "execution reverted", "data": "0x08c379a0"});
            return Some(json!({"jsonrpc": "2.0", "id": id, "error": error}));
        }
        "eth_getTransactionByHash" => {
            let hash = params[0].as_str().unwrap_or_default();
            let has_it = shared.taken.lock().unwrap().iter().any(|taken| taken == hash);
            if has_it { json!({"hash": hash}) } else { Value::Null }
        }
        _ => match hash {
            Some(hash) => {
                shared.taken.lock().unwrap().push(hash.clone());
                json!(hash)
            }
            None => json!("0x1"),
        },
    };
    Some(json!({"jsonrpc": "2.0", "id": id, "result": result}))
}

async fn serve_ws(listener: TcpListener, node: Node) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        tokio::spawn(socket(stream, node.clone()));
    }
}

async fn socket(stream: TcpStream, node: Node) {
    let mut news = node.news.subscribe();
    let Ok(mut socket) = accept_async(stream).await else { return };
    loop {
        let reply = tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => answer(&node.shared, text.as_bytes(), &Fault::default()),
                Some(Ok(_)) => continue,
                _ => return,
            },
            item = news.recv() => match item {
                Ok(Some(result)) => {
                    let params = json!({"subscription": "0xabc", "result": result});
                    Some(json!({"jsonrpc": "2.0", "method": "eth_subscription", "params": params}))
                }
                _ => return,
            },
        };
        let Some(reply) = reply else { return };
        if socket.send(Message::Text(reply.to_string().into())).await.is_err() {
            return;
        }
    }
}
