//! A wallet, a gateway with one check, and a node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use alloy_primitives::U256;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use surety_proxy::gateway::verdict::{Failure, Finding, Read, Verdict};
use surety_proxy::gateway::{
    CacheConfig, Check, Gateway, GatewayConfig, GatewayLimits, Plugs, Subject, UpstreamConfig, VERDICT_HEADER,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::node::{CHAIN, Node};
use super::signing::BAD;

/// Refuses whatever names the bad address, in any place. It sees also what came before.
#[derive(Default)]
pub(crate) struct Deny {
    /// How often it looked.
    pub(crate) looks: AtomicUsize,
    /// Whether the state that its findings rest on has changed.
    pub(crate) moved: AtomicBool,
    /// Whether it refuses everything from now on.
    pub(crate) refuses_all: AtomicBool,
    /// The greatest number of transactions that it saw before one.
    pub(crate) before: AtomicUsize,
}

impl Check for Deny {
    fn name(&self) -> &str {
        "deny"
    }

    fn assess<'a>(&'a self, subject: &'a Subject, before: &'a [Arc<Subject>]) -> BoxFuture<'a, Finding> {
        Box::pin(async move {
            self.looks.fetch_add(1, Ordering::SeqCst);
            self.before.fetch_max(before.len(), Ordering::SeqCst);
            let has_moved = self.moved.load(Ordering::SeqCst);
            if names_bad(subject) || self.refuses_all.load(Ordering::SeqCst) || has_moved {
                let evidence = vec![json!({"kind": "list", "key": BAD})];
                let finding = Finding::hit("deny", Verdict::Block, "deny.listed", "the recipient is listed");
                return Finding { evidence, ..finding };
            }
            let reads = vec![Read { address: BAD, slot: U256::ZERO, value: U256::ZERO }];
            Finding { reads, ..Finding::passed("deny") }
        })
    }

    fn still_holds<'a>(&'a self, _: &'a Finding) -> BoxFuture<'a, bool> {
        Box::pin(async { !self.moved.load(Ordering::SeqCst) })
    }

    fn failure(&self) -> Failure {
        // Tests run beside others: a deadline is not what they are about.
        Failure { deadline_ms: 5_000, ..Failure::LOCAL }
    }
}

fn names_bad(subject: &Subject) -> bool {
    let holds = |bytes: &[u8]| bytes.windows(20).any(|part| part == BAD.as_slice());
    match subject {
        Subject::Transaction(screened) => {
            let delegates = screened.envelope.as_eip7702().map(|signed| &signed.tx().authorization_list);
            screened.to() == Some(BAD)
                || holds(screened.input())
                || delegates.is_some_and(|list| list.iter().any(|authorization| authorization.address == BAD))
        }
        Subject::UserOperation(operation) => {
            let is_bad = |party: &Option<(alloy_primitives::Address, alloy_primitives::Bytes)>| {
                party.as_ref().is_some_and(|(address, _)| *address == BAD)
            };
            holds(&operation.call_data) || is_bad(&operation.paymaster) || is_bad(&operation.factory)
        }
        Subject::Unsigned(unsigned) => unsigned.to == Some(BAD) || holds(&unsigned.data),
        Subject::Message { message, .. } => holds(message),
        Subject::TypedData { json, .. } => json.contains(&BAD.to_string()),
    }
}

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The code of the error; 0 when there is none.
    pub(crate) fn code(&self) -> i64 {
        self.json()["error"]["code"].as_i64().unwrap_or(0)
    }

    pub(crate) fn advice(&self) -> Option<&str> {
        self.headers.get(VERDICT_HEADER).map(|value| value.to_str().unwrap())
    }
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    pub(crate) gateway: Gateway,
    pub(crate) deny: Arc<Deny>,
    http: Client<HttpConnector, Full<Bytes>>,
    pub(crate) data: PathBuf,
    _folder: Option<tempfile::TempDir>,
}

pub(crate) fn config(nodes: &[Node], data: &std::path::Path) -> GatewayConfig {
    let upstream =
        |node: &Node| UpstreamConfig { url: format!("http://{}", node.address), ws: Some(format!("ws://{}", node.ws)) };
    GatewayConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        admin: "127.0.0.1:0".parse().unwrap(),
        upstreams: nodes.iter().map(upstream).collect(),
        chain_id: Some(CHAIN),
        data: data.to_owned(),
        policy: None,
        wait_for_disk: true,
        allow_unprotected: false,
        node_signs: false,
        client_header: None,
        limits: GatewayLimits { assess_ms: 5_000, drain_s: 5, ..GatewayLimits::default() },
        cache: CacheConfig::default(),
        services: Vec::new(),
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::with(1, |_| ()).await
    }

    pub(crate) async fn with(nodes: usize, change: impl FnOnce(&mut GatewayConfig)) -> Self {
        let mut all = Vec::new();
        for _ in 0..nodes {
            all.push(Node::start().await);
        }
        Self::plugged(all, change, Plugs::default()).await
    }

    pub(crate) async fn before(
        nodes: Vec<Node>,
        change: impl FnOnce(&mut GatewayConfig),
        checks: Vec<Arc<dyn Check>>,
    ) -> Self {
        Self::plugged(nodes, change, checks.into()).await
    }

    pub(crate) async fn plugged(nodes: Vec<Node>, change: impl FnOnce(&mut GatewayConfig), mut plugs: Plugs) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(&nodes, folder.path());
        change(&mut config);
        let deny = Arc::new(Deny::default());
        plugs.checks.push(Arc::clone(&deny) as Arc<dyn Check>);
        let data = config.data.clone();
        let gateway = Gateway::start(config, plugs).await.unwrap();
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { nodes, gateway, deny, http, data, _folder: Some(folder) }
    }

    /// The same in a folder of the caller's.
    pub(crate) async fn at(nodes: Vec<Node>, config: GatewayConfig) -> Self {
        let data = config.data.clone();
        let world = Self::plugged(nodes, |own| *own = config, Plugs::default()).await;
        Self { data, ..world }
    }

    /// A request of the administrator.
    pub(crate) async fn admin(&self, method: Method, path: &str) -> Got {
        self.send_to(self.gateway.admin(), method, path, &[], Bytes::new()).await
    }

    pub(crate) fn node(&self) -> &Node {
        &self.nodes[0]
    }

    pub(crate) async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Bytes) -> Got {
        self.send_to(self.gateway.address(), method, path, headers, body).await
    }

    async fn send_to(
        &self,
        address: SocketAddr,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Got {
        let mut request = Request::builder().method(method).uri(format!("http://{address}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = self.http.request(request.body(Full::new(body)).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Got { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    pub(crate) async fn post(&self, text: impl Into<Bytes>) -> Got {
        self.send(Method::POST, "/", &[("content-type", "application/json")], text.into()).await
    }

    pub(crate) async fn call(&self, method: &str, params: Value) -> Got {
        self.post(json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string()).await
    }

    pub(crate) async fn send_raw(&self, raw: &str) -> Got {
        self.call("eth_sendRawTransaction", json!([raw])).await
    }

    /// Bytes as they are, on a connection of their own; what comes back until it is closed or nothing comes for a while.
    pub(crate) async fn bytes(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.gateway.address()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut read = Vec::new();
        let until_quiet = async {
            let mut part = [0; 4_096];
            while let Ok(Ok(count)) =
                tokio::time::timeout(std::time::Duration::from_millis(700), stream.read(&mut part)).await
            {
                if count == 0 {
                    break;
                }
                read.extend_from_slice(&part[..count]);
            }
        };
        until_quiet.await;
        String::from_utf8_lossy(&read).into_owned()
    }

    pub(crate) fn nothing_reached(&self) {
        for node in &self.nodes {
            assert!(node.seen().is_empty(), "{:?}", node.seen());
        }
    }

    /// One line of the metrics: the value of what is named so, with its labels.
    pub(crate) async fn metric(&self, name: &str) -> Option<String> {
        let text = self.metrics().await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map(str::to_owned)
    }

    /// The raw transactions that reached the first node by plain submission.
    pub(crate) fn sent(&self) -> Vec<String> {
        let of = |seen: super::node::Seen| seen.params[0].as_str().map(str::to_owned);
        let seen = self.node().seen().into_iter().filter(|seen| seen.method == "eth_sendRawTransaction");
        seen.filter_map(of).collect()
    }

    pub(crate) async fn metrics(&self) -> String {
        self.admin(Method::GET, "/metrics").await.text
    }
}
