//! The typed API client: several nodes, one after the other, until one answers.
//!
//! Reads and submissions may be repeated: a transaction has one hash, and the ledger takes it once. What a node says here
//! is believed; [`crate::LightReader`] does not.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::{Method, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use surety_ledger::fees::Fees;
use surety_ledger::params::Params;
use surety_ledger::{Key, SignedTransaction, bank};
use surety_primitives::api::{AccountView, ApiProblem, BlockView, Page, ProvenRow, ServiceQuery, StatusView, Submit};
use surety_primitives::api::{TransactionStatus, TransactionView};
use surety_primitives::header::FinalHeader;
use surety_primitives::typed_data::Blob;
use surety_primitives::{Address, DatasetId, Hash32, Height, ProviderId, PurchaseId, Seconds, ServiceId, codec};
use tokio::time::Instant;
use url::Url;

use crate::error::Error;
use crate::events::EventStream;
use crate::types::{
    CommitteeReport, DatasetVersionView, DatasetView, ProviderView, PurchaseView, SaleFeed, ServiceView,
    TransactionReport, TypedDataAsk, TypedDataDocument,
};

/// Most bytes of an answer.
const MAX_BODY: usize = 16 * 1_024 * 1_024;
/// Most bytes of a refusal: the rest is not for reading.
const MAX_PROBLEM: usize = 64 * 1_024;
/// Longest single wait that a node is asked for.
const LONG_POLL: Duration = Duration::from_secs(20);
/// What a node is given where the others are asked as well.
const BRIEFLY: Duration = Duration::from_secs(2);
/// Pause between two looks at a transaction.
pub(crate) const POLL: Duration = Duration::from_millis(100);
/// How long one node is asked for a transaction before the next one is.
const AT_ONE_NODE: Duration = Duration::from_secs(5);
/// How long no node may know a transaction that they refuse, before it is given up: a few blocks and a change of leader.
const RECEIPT_WITHIN: Duration = Duration::from_secs(6);
/// First pause after all nodes failed; doubled each time.
const BACKOFF: Duration = Duration::from_millis(100);

/// How patient a client is.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// For a connection to stand.
    pub connect: Duration,
    /// For a whole request, beside what it was asked to wait.
    pub timeout: Duration,
    /// How often all nodes are tried, at least once.
    pub rounds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self { connect: Duration::from_secs(3), timeout: Duration::from_secs(10), rounds: 3 }
    }
}

/// A client of one or several nodes; clones share connections.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    nodes: Arc<[Url]>,
    /// The node that answered last: asked first.
    current: Arc<AtomicUsize>,
    options: Options,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("nodes", &self.node_urls()).finish_non_exhaustive()
    }
}

impl Client {
    /// A client of these nodes, `http://host:port` each.
    ///
    /// # Errors
    /// [`Error::NoNode`], [`Error::BadUrl`].
    pub fn new<S: AsRef<str>>(nodes: &[S], options: Options) -> Result<Self, Error> {
        let nodes: Vec<Url> = nodes.iter().map(|node| base_url(node.as_ref())).collect::<Result<_, _>>()?;
        if nodes.is_empty() {
            return Err(Error::NoNode);
        }
        let http = http_client(options.connect)?;
        Ok(Self { http, nodes: nodes.into(), current: Arc::default(), options })
    }

    /// The nodes.
    #[must_use]
    pub fn node_urls(&self) -> Vec<&str> {
        self.nodes.iter().map(Url::as_str).collect()
    }

    /// A client of each node alone, which tries once and briefly: for what must not rest on one node's word.
    pub(crate) fn each(&self) -> impl Iterator<Item = Self> {
        let options = Options { connect: BRIEFLY, timeout: BRIEFLY, rounds: 1 };
        let alone = move |node: &Url| Self {
            http: self.http.clone(),
            nodes: Arc::new([node.clone()]),
            current: Arc::default(),
            options,
        };
        self.nodes.iter().map(alone)
    }

    /// Asks the next node first from now on.
    pub(crate) fn pass_over(&self) {
        let next = (self.current.load(Ordering::Relaxed) + 1) % self.nodes.len();
        self.current.store(next, Ordering::Relaxed);
    }

    /// `GET /v1/status`.
    ///
    /// # Errors
    /// See [`Error`]; so for every request below.
    pub async fn status(&self) -> Result<StatusView, Error> {
        self.get("v1/status").await
    }

    /// The ledger clock, by the first node that has a final block: one that has just started has none yet.
    pub(crate) async fn clock(&self) -> Result<Seconds, Error> {
        if let Some(clock) = self.status().await?.clock {
            return Ok(clock);
        }
        for node in self.each() {
            if let Ok(StatusView { clock: Some(clock), .. }) = node.status().await {
                return Ok(clock);
            }
        }
        Err(Error::NotFound("no node has a final block yet".to_owned()))
    }

    /// Sends a signed transaction. One that waits already, or is final, is no error.
    ///
    /// # Errors
    /// [`Error::Refused`] with the ledger's code when it can stand in no block; [`Error::Doubtful`] when a reply was lost and
    /// no node knows it.
    pub async fn submit(&self, signed: &SignedTransaction) -> Result<TransactionReport, Error> {
        self.submit_waiting(signed, Duration::ZERO).await
    }

    /// Waits until a transaction that a node took is final. Should the node be gone with its pool, the same bytes are sent
    /// again: the ledger takes them once.
    ///
    /// # Errors
    /// [`Error::NotFinal`] at `end`; [`Error::Doubtful`] when it is refused for a while and no node knows it.
    pub(crate) async fn follow(
        &self,
        signed: &SignedTransaction,
        report: TransactionReport,
        limit: Duration,
        end: Instant,
    ) -> Result<TransactionReport, Error> {
        let hash = report.hash;
        let followed = tokio::time::timeout_at(end, self.follow_on(signed, report)).await;
        followed.unwrap_or(Err(Error::NotFinal { hash, limit }))
    }

    async fn follow_on(
        &self,
        signed: &SignedTransaction,
        mut report: TransactionReport,
    ) -> Result<TransactionReport, Error> {
        let path = format!("v1/transactions/{}?wait={}", report.hash, AT_ONE_NODE.as_secs());
        let mut refused = None;
        while report.status != TransactionStatus::Final {
            match self.get_slow::<TransactionReport>(&path, AT_ONE_NODE).await {
                Ok(found) if found.status == TransactionStatus::Final => return Ok(found),
                // That node may be alone with it, or behind: the next one hears of it too.
                Ok(_) => self.pass_over(),
                Err(_) => {}
            }
            report = self.find_or_send(signed, report, &mut refused).await?;
            if report.status != TransactionStatus::Final {
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(report)
    }

    /// What a node knows of a transaction that was taken once. `refused` is since when nobody knows it and it is refused.
    async fn find_or_send(
        &self,
        signed: &SignedTransaction,
        report: TransactionReport,
        refused: &mut Option<Instant>,
    ) -> Result<TransactionReport, Error> {
        let found = self.find(&report.hash).await.ok().flatten();
        if let Some(found) = found.as_ref().filter(|found| found.status == TransactionStatus::Final) {
            return Ok(found.clone());
        }
        match self.submit_waiting(signed, Duration::ZERO).await.or_else(|error| found.ok_or(error)) {
            Ok(known) => {
                *refused = None;
                Ok(known)
            }
            // Nobody can be asked now.
            Err(error) if error.is_transient() => Ok(report),
            // It was taken once: its number is used by itself, in a block whose receipt comes in a moment; or the node that
            // refuses is behind. Or the number is used by another transaction, and no receipt comes.
            Err(_) if refused.get_or_insert_with(Instant::now).elapsed() < RECEIPT_WITHIN => {
                self.pass_over();
                Ok(report)
            }
            Err(error) => Err(Error::Doubtful { hash: report.hash, reason: error.to_string() }),
        }
    }

    async fn submit_waiting(&self, signed: &SignedTransaction, wait: Duration) -> Result<TransactionReport, Error> {
        let path = match wait.as_secs() {
            0 => "v1/transactions".to_owned(),
            seconds => format!("v1/transactions?wait={seconds}"),
        };
        let submit = Submit { transaction: Blob(codec::encode(signed)) };
        let body = written(&path, &submit)?;
        let mut doubt = false;
        match self.request(&Method::POST, &path, Some(body), wait, &mut doubt).await {
            Err(error) if doubt => self.clear_up(signed, error).await,
            outcome => outcome,
        }
    }

    /// A reply was lost and the others refuse, maybe because it was taken: finds out.
    async fn clear_up(&self, signed: &SignedTransaction, error: Error) -> Result<TransactionReport, Error> {
        let hash = signed.clone().verify(signed.transaction.network)?.hash();
        let end = Instant::now() + self.options.timeout;
        loop {
            // Nodes that cannot be asked know nothing either.
            if let Ok(Some(found)) = self.find(&hash).await {
                return Ok(found);
            }
            if Instant::now() >= end {
                return Err(Error::Doubtful { hash, reason: error.to_string() });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// A transaction at whichever node knows it: final before waiting.
    pub(crate) async fn find(&self, hash: &Hash32) -> Result<Option<TransactionReport>, Error> {
        let path = format!("v1/transactions/{hash}");
        let (mut found, mut failed) = (None, None);
        for node in 0..self.nodes.len() {
            match self.try_node::<TransactionReport>(node, &Method::GET, &path, None, Duration::ZERO).await {
                Ok(report) if report.status == TransactionStatus::Final => return Ok(Some(report)),
                Ok(report) => found = Some(report),
                Err(Error::NotFound(_)) => {}
                Err(error) => failed = Some(error),
            }
        }
        match (found, failed) {
            (None, Some(error)) if !error.is_transient() => Err(error),
            (found, _) => Ok(found),
        }
    }

    /// `GET /v1/transactions/{hash}`.
    ///
    /// # Errors
    /// [`Error::NotFound`] for one that neither waits nor is known to be final.
    pub async fn transaction(&self, hash: &Hash32) -> Result<TransactionReport, Error> {
        self.get::<TransactionView<_>>(&format!("v1/transactions/{hash}")).await
    }

    /// `POST /v1/typed-data`: the document that a wallet signs.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn typed_data(&self, ask: &TypedDataAsk) -> Result<TypedDataDocument, Error> {
        self.post("v1/typed-data", ask, Duration::ZERO).await
    }

    /// `GET /v1/accounts/{address}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn account(&self, address: &Address) -> Result<AccountView, Error> {
        self.get(&format!("v1/accounts/{address}")).await
    }

    /// An account's numbers as the nodes know them that are furthest: one that has just started may be behind. Its next
    /// nonce in a block, and that after all that waits.
    pub(crate) async fn newest_nonces(&self, address: &Address) -> Result<(u64, u64), Error> {
        let numbers = |view: &AccountView| (view.nonce, view.next_nonce.unwrap_or(view.nonce).max(view.nonce));
        let mut newest = numbers(&self.account(address).await?);
        for node in self.each() {
            // Who does not answer changes nothing.
            let (nonce, next) = node.account(address).await.map_or((0, 0), |view| numbers(&view));
            newest = (newest.0.max(nonce), newest.1.max(next));
        }
        Ok(newest)
    }

    /// `GET /v1/services`: one page of the listings that match.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn services(&self, query: &ServiceQuery) -> Result<Page<ServiceView>, Error> {
        self.get(&format!("v1/services{}", query_string(query))).await
    }

    /// `GET /v1/services/{id}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn service(&self, id: ServiceId) -> Result<ServiceView, Error> {
        self.get(&format!("v1/services/{id}")).await
    }

    /// `GET /v1/providers/{id}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn provider(&self, id: ProviderId) -> Result<ProviderView, Error> {
        self.get(&format!("v1/providers/{id}")).await
    }

    /// A provider's sales from number `cursor` on. Waits up to `wait` for one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sales(&self, id: ProviderId, cursor: u64, wait: Duration) -> Result<SaleFeed, Error> {
        let wait = wait.min(LONG_POLL);
        self.get_slow(&format!("v1/providers/{id}/purchases?cursor={cursor}&wait={}", wait.as_secs()), wait).await
    }

    /// `GET /v1/purchases/{id}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn purchase(&self, id: PurchaseId) -> Result<PurchaseView, Error> {
        self.get(&format!("v1/purchases/{id}")).await
    }

    /// `GET /v1/datasets?publisher=`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn datasets(&self, publisher: Option<ProviderId>) -> Result<Page<DatasetView>, Error> {
        let query = publisher.map(|id| format!("?publisher={id}")).unwrap_or_default();
        self.get(&format!("v1/datasets{query}")).await
    }

    /// `GET /v1/datasets/{id}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn dataset(&self, id: DatasetId) -> Result<DatasetView, Error> {
        self.get(&format!("v1/datasets/{id}")).await
    }

    /// `GET /v1/datasets/{id}/{version}`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn dataset_version(&self, id: DatasetId, version: u64) -> Result<DatasetVersionView, Error> {
        self.get(&format!("v1/datasets/{id}/{version}")).await
    }

    /// `GET /v1/committee`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn committee(&self) -> Result<CommitteeReport, Error> {
        self.get("v1/committee").await
    }

    /// `GET /v1/params`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn params(&self) -> Result<Params, Error> {
        self.get("v1/params").await
    }

    /// `GET /v1/fees`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn fees(&self) -> Result<Fees, Error> {
        self.get("v1/fees").await
    }

    /// `GET /v1/supply`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn supply(&self) -> Result<bank::Totals, Error> {
        self.get("v1/supply").await
    }

    /// `GET /v1/blocks/{height}`, or the newest block.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn block(&self, height: Option<Height>) -> Result<BlockView, Error> {
        match height {
            Some(height) => self.get(&format!("v1/blocks/{height}")).await,
            None => self.get("v1/blocks/latest").await,
        }
    }

    /// `GET /v1/finalized`: the newest header that can be proven final. Not checked here.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn finalized(&self) -> Result<FinalHeader, Error> {
        self.get("v1/finalized").await
    }

    /// `GET /v1/rows/{key}`: a row with its proof. Not checked here.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn row(&self, key: &Key) -> Result<ProvenRow, Error> {
        self.get(&format!("v1/rows/{key}")).await
    }

    /// `GET /v1/events`: what happens from now on.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn events(&self) -> Result<EventStream, Error> {
        let url = self.url(self.current.load(Ordering::Relaxed), "v1/events")?;
        // The stream has no end, hence no time limit; only its start has one.
        let request = self.http.get(url.clone()).header("accept", "text/event-stream").send();
        let response = tokio::time::timeout(self.options.timeout, request)
            .await
            .map_err(|_| Error::Timeout { url: url.to_string(), limit: self.options.timeout })?
            .map_err(|error| transport(&url, &error))?;
        let response = accepted(&url, response).await?;
        Ok(EventStream::new(url.to_string(), response))
    }

    /// `GET` of any path below the node's root.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.get_slow(path, Duration::ZERO).await
    }

    async fn get_slow<T: DeserializeOwned>(&self, path: &str, wait: Duration) -> Result<T, Error> {
        self.request(&Method::GET, path, None, wait, &mut false).await
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize, wait: Duration) -> Result<T, Error> {
        self.request(&Method::POST, path, Some(written(path, body)?), wait, &mut false).await
    }

    /// Asks the node that answered last, then the others; after a round without an answer waits and begins again. `doubt`
    /// becomes true when a node may have acted on the request although its answer did not come.
    async fn request<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<Vec<u8>>,
        wait: Duration,
        doubt: &mut bool,
    ) -> Result<T, Error> {
        let first = self.current.load(Ordering::Relaxed);
        let mut pause = BACKOFF;
        let mut last = Error::NoNode;
        for round in 0..self.options.rounds.max(1) {
            if round > 0 {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
            for offset in 0..self.nodes.len() {
                let node = first.wrapping_add(offset) % self.nodes.len();
                match self.try_node(node, method, path, body.clone(), wait).await {
                    Ok(value) => {
                        self.current.store(node, Ordering::Relaxed);
                        return Ok(value);
                    }
                    Err(error) => {
                        *doubt |= error.may_have_acted();
                        if !error.is_transient() {
                            return Err(error);
                        }
                        last = error;
                    }
                }
            }
        }
        Err(last)
    }

    async fn try_node<T: DeserializeOwned>(
        &self,
        node: usize,
        method: &Method,
        path: &str,
        body: Option<Vec<u8>>,
        wait: Duration,
    ) -> Result<T, Error> {
        let url = self.url(node, path)?;
        let mut request = self.http.request(method.clone(), url.clone()).timeout(self.options.timeout + wait);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| transport(&url, &error))?;
        let response = accepted(&url, response).await?;
        let body = read_body(&url, response, MAX_BODY).await?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::Malformed { url: url.to_string(), reason: error.to_string() })
    }

    fn url(&self, node: usize, path: &str) -> Result<Url, Error> {
        let base = self.nodes.get(node % self.nodes.len()).ok_or(Error::NoNode)?;
        base.join(path).map_err(|_| Error::BadUrl(path.to_owned()))
    }
}

/// This machine's wall clock in milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn http_client(connect: Duration) -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .connect_timeout(connect)
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(|error| Error::Transport { url: String::new(), reason: error.to_string(), sent: false })
}

pub(crate) fn base_url(text: &str) -> Result<Url, Error> {
    let bad = || Error::BadUrl(text.chars().take(128).collect());
    let mut url = Url::parse(text).map_err(|_| bad())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(bad());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

pub(crate) fn transport(url: &Url, error: &reqwest::Error) -> Error {
    // The innermost cause says what happened ("connection refused"); the outer ones repeat the URL.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let reason = if error.is_timeout() { "no answer in time".to_owned() } else { cause.to_string() };
    Error::Transport { url: url.to_string(), reason, sent: !error.is_connect() }
}

fn written(path: &str, body: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body).map_err(|error| Error::Malformed { url: path.to_owned(), reason: error.to_string() })
}

/// Turns a refusal into an error.
async fn accepted(url: &Url, response: Response) -> Result<Response, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let body = read_body(url, response, MAX_PROBLEM).await.unwrap_or_default();
    let mut problem = serde_json::from_slice(&body).unwrap_or_else(|_| ApiProblem {
        kind: "about:blank".to_owned(),
        title: String::new(),
        status: status.as_u16(),
        detail: String::from_utf8_lossy(&body).chars().take(256).collect(),
        code: None,
        retry_after: None,
    });
    problem.status = status.as_u16();
    Err(if problem.status == 404 { Error::NotFound(problem.detail) } else { Error::Refused(Box::new(problem)) })
}

/// Reads a body of at most `limit` bytes.
pub(crate) async fn read_body(url: &Url, mut response: Response, limit: usize) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| transport(url, &error))? {
        if body.len().saturating_add(chunk.len()) > limit {
            return Err(Error::TooLarge { limit });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A query as `?a=b&c=d`, without what is not set.
fn query_string(query: &ServiceQuery) -> String {
    let mut pairs = url::form_urlencoded::Serializer::new(String::new());
    if let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(query) {
        for (name, value) in &fields {
            match value {
                serde_json::Value::String(text) => pairs.append_pair(name, text),
                other => pairs.append_pair(name, &other.to_string()),
            };
        }
    }
    let text = pairs.finish();
    if text.is_empty() { text } else { format!("?{text}") }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_only_what_is_asked_for() {
        assert_eq!(query_string(&ServiceQuery::default()), "");
        let query =
            ServiceQuery { text: Some("phishing & drainers".to_owned()), limit: Some(5), ..ServiceQuery::default() };
        assert_eq!(query_string(&query), "?limit=5&text=phishing+%26+drainers");
    }

    #[test]
    fn only_http_urls_are_nodes() {
        for bad in ["", "localhost:1", "ftp://a/", "file:///etc/passwd", "http://"] {
            assert!(matches!(Client::new(&[bad], Options::default()), Err(Error::BadUrl(_))), "{bad}");
        }
        assert!(matches!(Client::new::<&str>(&[], Options::default()), Err(Error::NoNode)));
        let client = Client::new(&["http://127.0.0.1:9/base"], Options::default()).unwrap();
        assert_eq!(client.url(0, "v1/status").unwrap().as_str(), "http://127.0.0.1:9/base/v1/status");
    }
}
