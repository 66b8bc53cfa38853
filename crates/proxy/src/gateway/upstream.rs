//! The nodes behind: which of them answer, and one exchange with one of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;

use super::config::{GatewayConfig, UpstreamConfig};
use super::jsonrpc::{Answer, FromNode, read_from_node, write_request};
use super::tls;
use crate::body::Collected;
use crate::error::Error;

/// Connections that are kept open to each node.
const IDLE_CONNECTIONS: usize = 1_024;
/// Failures in a row after which a node rests.
const FAILURES: u32 = 3;
/// How long it rests, unless a probe finds it well before.
const REST: Duration = Duration::from_secs(5);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why a node gave no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// The request did not reach it.
    #[error("no connection: {0}")]
    Unreachable(String),
    /// The request may have reached it.
    #[error("{0}")]
    Broken(String),
}

#[derive(Debug, Default)]
struct Health {
    failures: u32,
    rests_until: Option<Instant>,
    /// It serves another chain: never asked again until a probe says otherwise.
    is_foreign: bool,
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    uri: Uri,
    ws: Option<Uri>,
    health: Mutex<Health>,
    /// The last block number that it told.
    pub(crate) head: AtomicU64,
}

/// All nodes, the preferred one first.
pub(crate) struct Upstreams {
    nodes: Vec<Node>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    tls: Arc<ClientConfig>,
    next_id: AtomicU64,
    reply_bytes: usize,
}

impl Upstreams {
    pub(crate) fn new(config: &GatewayConfig) -> Result<Self, Error> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(3)));
        connector.enforce_http(false);
        let tls = tls::client(config)?;
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(ClientConfig::clone(&tls))
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(30));
        builder.pool_max_idle_per_host(IDLE_CONNECTIONS);
        let nodes = config.upstreams.iter().map(Node::new).collect::<Result<_, _>>()?;
        let client = builder.build(connector);
        Ok(Self { nodes, client, tls, next_id: AtomicU64::new(1), reply_bytes: config.limits.reply_bytes })
    }

    /// All nodes of this chain, those that answer before those that rest.
    pub(crate) fn in_order(&self) -> Vec<&Node> {
        let now = Instant::now();
        let of_chain = self.nodes.iter().filter(|node| !node.lock().is_foreign);
        let (mut well, resting): (Vec<_>, Vec<_>) = of_chain.partition(|node| node.is_well(now));
        well.extend(resting);
        well
    }

    /// Every node, whatever its state.
    pub(crate) fn all(&self) -> &[Node] {
        &self.nodes
    }

    /// How nodes behind TLS are verified.
    pub(crate) const fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }

    /// Whether some node is believed to answer.
    pub(crate) fn any_well(&self) -> bool {
        let now = Instant::now();
        self.nodes.iter().any(|node| !node.lock().is_foreign && node.is_well(now))
    }

    /// One exchange with one node.
    pub(crate) async fn call(
        &self,
        node: &Node,
        method: &str,
        params: &str,
        within: Duration,
    ) -> Result<Answer, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = Bytes::from(write_request(id, method, params));
        let result = match tokio::time::timeout(within, self.exchange(node, id, body)).await {
            Ok(result) => result,
            Err(_) => Err(CallError::Broken(format!("no answer within {} ms", within.as_millis()))),
        };
        match &result {
            Ok(_) => node.succeeded(),
            Err(error) => {
                tracing::warn!(node = %node.uri, method, %error, "a node did not answer");
                node.failed();
            }
        }
        result
    }

    async fn exchange(&self, node: &Node, id: u64, body: Bytes) -> Result<Answer, CallError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = node.uri.clone();
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        request.headers_mut().insert(ACCEPT, JSON);
        let response = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                CallError::Unreachable(tls::whole(&error))
            } else {
                CallError::Broken(tls::whole(&error))
            }
        })?;
        let status = response.status();
        let broken = |what: String| Err(CallError::Broken(what));
        let body = match Collected::read(response.into_body(), self.reply_bytes).await {
            Ok(Collected { bytes, rest: None }) => bytes,
            Ok(_) => return broken(format!("the reply has more than {} bytes", self.reply_bytes)),
            Err(error) => return broken(format!("the reply broke off: {error}")),
        };
        match read_from_node(&body) {
            // Some nodes answer what they cannot read with no id.
            Some(FromNode::Reply { id: given, answer }) if given == id.to_string() || is_error(&answer, given) => {
                Ok(answer)
            }
            _ if status != StatusCode::OK => broken(format!("status {}", status.as_u16())),
            _ => broken("the reply is no answer to the request".to_owned()),
        }
    }
}

fn is_error(answer: &Answer, id: &str) -> bool {
    id == "null" && matches!(answer, Answer::NodeError(_))
}

impl Node {
    fn new(config: &UpstreamConfig) -> Result<Self, Error> {
        let uri = |text: &str| text.parse::<Uri>().map_err(|error| Error::Config(format!("{text}: {error}")));
        Ok(Self {
            uri: uri(&config.url)?,
            ws: config.ws.as_deref().map(uri).transpose()?,
            health: Mutex::new(Health::default()),
            head: AtomicU64::new(0),
        })
    }

    /// Where it gives news.
    pub(crate) const fn ws(&self) -> Option<&Uri> {
        self.ws.as_ref()
    }

    /// Its address, for the log.
    pub(crate) const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Whether it serves the chain.
    pub(crate) fn set_foreign(&self, is_foreign: bool) {
        self.lock().is_foreign = is_foreign;
    }

    fn is_well(&self, now: Instant) -> bool {
        self.lock().rests_until.is_none_or(|until| until <= now)
    }

    fn succeeded(&self) {
        let mut health = self.lock();
        health.failures = 0;
        health.rests_until = None;
    }

    fn failed(&self) {
        let mut health = self.lock();
        health.failures = health.failures.saturating_add(1);
        if health.failures >= FAILURES {
            health.rests_until = Some(Instant::now() + REST);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
