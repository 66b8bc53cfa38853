//! The consumer's side of the call protocol over HTTP (`market.md` B6.2, D).
//!
//! A [`Caller`] takes a bought [`Package`], signs or tags each request, checks each reply, and acknowledges only what came
//! in time, validly, and citing what the listing promises. What it accepted it writes down first ([`Log`]): that is its
//! evidence, and its side of a contest.
//!
//! Always true: no number of a lane is used twice, over restarts too; no call is acknowledged that is not in the log.

mod exchange;
mod log;
mod package;
mod pool;
mod recover;

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use surety_ledger::market::state::PURCHASES;
use surety_primitives::access::{CallSigner, QuotaState, SubGrant, encode_b64, encode_chain};
use surety_primitives::answer::SignedAnswer;
use surety_primitives::answer::claims::Claims;
use surety_primitives::api::{SettleReply, SettleRequest};
use surety_primitives::dataset::Key;
use surety_primitives::keys::SecretKey;
use surety_primitives::{Lane, Seconds};
use tokio::time::Instant;
use url::Url;

use crate::client::{base_url, http_client, read_body, transport, wall_ms};
use crate::error::Error;
use crate::light::LightReader;

pub use log::{Entry, Log, LoggedAnswer, Objection};
pub use package::{Package, grant};
use pool::Pool;

/// How a caller calls.
#[derive(Clone, Debug)]
pub struct Options {
    /// Lanes to use, at least one; no more calls than that are under way at a time.
    pub lanes: u16,
    /// Whether a signed Answer is asked for with each call: the only kind that proves anything to others.
    pub answers: bool,
    /// Whether calls are tagged once a lane is open, and signed only to acknowledge. Else every call is signed.
    pub tags: bool,
    /// Seconds that the provider has for a call, 1 to 120.
    pub deadline_s: u32,
    /// Tries of one request, where the provider says how to go on.
    pub attempts: u32,
    /// Most bytes of a reply's body.
    pub max_body: usize,
    /// The file that lanes and Answers are written to.
    pub log: PathBuf,
}

impl Options {
    /// The usual ways, with the log in this file.
    #[must_use]
    pub fn new(log: impl Into<PathBuf>) -> Self {
        Self {
            lanes: 4,
            answers: true,
            tags: true,
            deadline_s: 30,
            attempts: 8,
            max_body: 8 * 1_024 * 1_024,
            log: log.into(),
        }
    }
}

/// A request to a provider's API.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: reqwest::Method,
    /// Path and query below the listing's endpoint, such as `v1/phishing?name=example.com`.
    pub path: String,
    /// The body's type, if there is a body.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
    /// Keys that an Answer of status 2xx must make a claim about, where the package promises cover: without such a claim
    /// it cannot be contradicted. What a question needs only its asker knows; a question that the service refuses, with
    /// status 200 and no claims, needs none.
    pub must_claim: Vec<Key>,
}

impl Request {
    /// A `GET`.
    #[must_use]
    pub fn get(path: impl Into<String>) -> Self {
        Self {
            method: reqwest::Method::GET,
            path: path.into(),
            content_type: None,
            body: Vec::new(),
            must_claim: Vec::new(),
        }
    }

    /// A `POST` of JSON.
    #[must_use]
    pub fn post_json(path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self {
            method: reqwest::Method::POST,
            path: path.into(),
            content_type: Some("application/json".to_owned()),
            body: body.to_string().into_bytes(),
            must_claim: Vec::new(),
        }
    }

    /// The same, with an Answer refused that promises cover and makes no claim about one of these keys.
    #[must_use]
    pub fn claiming(self, must_claim: Vec<Key>) -> Self {
        Self { must_claim, ..self }
    }
}

/// A reply that was checked, written down and counted.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    /// The signed Answer, if the reply was no tag.
    pub answer: Option<SignedAnswer>,
    /// The claims that the Answer commits to.
    pub claims: Claims,
    /// What is left of the package, as the provider says.
    pub quota: Option<QuotaState>,
    /// The lane that it was called in.
    pub lane: Lane,
    /// The call's number there.
    pub seq: u64,
}

/// Uses one package; clones share lanes and log.
#[derive(Clone, Debug)]
pub struct Caller {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    http: reqwest::Client,
    endpoint: Url,
    authority: String,
    package: Package,
    chain: Option<String>,
    scopes: Option<String>,
    pool: Pool,
    log: Mutex<Log>,
    options: Options,
    reader: Option<LightReader>,
    clock: Mutex<(Seconds, Instant)>,
    /// Seconds that the provider's wall clock is ahead of ours.
    skew_s: AtomicI64,
}

impl Caller {
    /// Calls with the purchase's own key. `reader` is asked for the ledger clock when an Answer's time looks wrong.
    ///
    /// # Errors
    /// [`Error::Access`] when the key is not the package's, [`Error::BadUrl`], [`Error::File`].
    pub fn new(package: Package, key: SecretKey, reader: Option<LightReader>, options: Options) -> Result<Self, Error> {
        Self::with_chain(package, key, Vec::new(), None, reader, options)
    }

    /// Calls with the key at the end of a chain of sub-grants. `scopes` is the value of the scope header, if the chain
    /// names scopes.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_chain(
        package: Package,
        key: SecretKey,
        chain: Vec<SubGrant>,
        scopes: Option<String>,
        reader: Option<LightReader>,
        options: Options,
    ) -> Result<Self, Error> {
        let endpoint = base_url(&package.endpoint)?;
        let authority = package::authority(&endpoint);
        let header = (!chain.is_empty()).then(|| encode_chain(&chain));
        let signer = CallSigner::new(&package.grant, chain, key, package.provider, package.provider_key)?;
        let log = Log::open(&options.log, package.grant.purchase)?;
        let pool = Pool::new(Arc::new(signer), options.lanes.max(1), package.window, &log)?;
        let clock = Mutex::new((package.clock, Instant::now()));
        let inner = Inner {
            http: http_client(Duration::from_secs(5))?,
            endpoint,
            authority,
            package,
            chain: header,
            scopes,
            pool,
            log: Mutex::new(log),
            options,
            reader,
            clock,
            skew_s: AtomicI64::new(0),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The package.
    #[must_use]
    pub fn package(&self) -> &Package {
        &self.inner.package
    }

    /// Calls, and returns a reply that is valid and counted. Follows the provider where it says how to go on: with an
    /// opening, an acknowledgement, a higher number, a pause.
    ///
    /// # Errors
    /// [`Error::Problem`] when the provider refuses for good, [`Error::BadReply`] or [`Error::Access`] when the reply is not
    /// acknowledged, [`Error::Transport`], [`Error::Timeout`], [`Error::TooLarge`], [`Error::File`].
    pub async fn call(&self, request: &Request) -> Result<Reply, Error> {
        exchange::call(&self.inner, request, None).await
    }

    /// The same for a caller to whom a late reply is worth nothing: one that is not here and valid within the time is
    /// neither accepted nor acknowledged, not even when the provider keeps it and hands it out later.
    ///
    /// # Errors
    /// As [`Self::call`]; [`Error::Timeout`] when the time is over.
    pub async fn call_within(&self, request: &Request, within: Duration) -> Result<Reply, Error> {
        exchange::call_by(&self.inner, request, Instant::now() + within).await
    }

    /// Calls acknowledged so far, over all lanes.
    pub async fn acknowledged(&self) -> u64 {
        self.inner.pool.acknowledged().await
    }

    /// Sends the acknowledgement of every lane and waits until the provider has it on disk. Calls under way are waited
    /// for. Nothing is sent when nothing was accepted.
    ///
    /// # Errors
    /// [`Error::Problem`], [`Error::Transport`], [`Error::Timeout`], [`Error::File`].
    pub async fn settle(&self) -> Result<Option<SettleReply>, Error> {
        let calls = self.inner.pool.vouchers(self.inner.deadline(), true).await?;
        self.inner.with_log(Log::sync)?;
        self.inner.send_settlement(calls).await
    }

    /// What the log says of accepted Answers.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn answers(&self) -> Result<Vec<LoggedAnswer>, Error> {
        Log::answers(&self.inner.options.log)
    }
}

impl Inner {
    /// Wall time until which a call may be served, as the provider's clock shows it.
    fn deadline(&self) -> u32 {
        let wall_s = i64::try_from(wall_ms() / 1_000).unwrap_or(i64::MAX);
        let wall_s = wall_s.saturating_add(self.skew_s.load(Ordering::Relaxed));
        u32::try_from(wall_s).unwrap_or(u32::MAX).saturating_add(self.options.deadline_s.clamp(1, 120))
    }

    /// The ledger clock, as far as this side can tell.
    fn ledger_now(&self) -> Seconds {
        let (clock, seen) = *self.clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.after(Seconds(seen.elapsed().as_secs()))
    }

    /// Asks a proven header for the ledger clock; says whether it could.
    async fn refresh_clock(&self) -> bool {
        let Some(reader) = &self.reader else { return false };
        let Ok(header) = reader.header().await else { return false };
        *self.clock.lock().unwrap_or_else(PoisonError::into_inner) = (header.clock, Instant::now());
        true
    }

    /// Follows the provider's wall clock, by at most 300 s (`market.md` D5).
    fn follow_wall(&self, server_time: u64) {
        let ours = i64::try_from(wall_ms() / 1_000).unwrap_or(i64::MAX);
        let theirs = i64::try_from(server_time).unwrap_or(i64::MAX);
        self.skew_s.store(theirs.saturating_sub(ours).clamp(-300, 300), Ordering::Relaxed);
    }

    fn with_log<T>(&self, act: impl FnOnce(&mut Log) -> Result<T, Error>) -> Result<T, Error> {
        act(&mut self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands the provider the purchase's row with its proof. Its answer changes nothing here: the next call tells.
    async fn show_purchase(&self) {
        let Some(reader) = &self.reader else { return };
        let key = PURCHASES.key(&self.package.grant.purchase);
        let Ok(row) = reader.client().row(&key).await else { return };
        if let (Ok(body), Ok(url)) = (serde_json::to_vec(&row), self.endpoint.join("/.well-known/surety/grants")) {
            let request = self.http.post(url).timeout(Duration::from_secs(5));
            let _ = request.header("content-type", "application/json").body(body).send().await;
        }
    }

    async fn send_settlement(&self, calls: Vec<Vec<u8>>) -> Result<Option<SettleReply>, Error> {
        if calls.is_empty() {
            return Ok(None);
        }
        let calls = calls.iter().map(|call| encode_b64(call)).collect();
        let body = SettleRequest { calls, chain: self.chain.clone() };
        let body = serde_json::to_vec(&body)
            .map_err(|error| Error::Malformed { url: self.endpoint.to_string(), reason: error.to_string() })?;
        let path = "/.well-known/surety/settle";
        let url = self.endpoint.join(path).map_err(|_| Error::BadUrl(path.to_owned()))?;
        let request = self.http.post(url.clone()).timeout(Duration::from_secs(15));
        let request = request.header("content-type", "application/json").body(body);
        let response = request.send().await.map_err(|error| transport(&url, &error))?;
        let status = response.status().as_u16();
        let body = read_body(&url, response, self.options.max_body).await?;
        if !(200..300).contains(&status) {
            return Err(exchange::refusal(&url, status, &body));
        }
        serde_json::from_slice(&body)
            .map(Some)
            .map_err(|error| Error::Malformed { url: url.to_string(), reason: error.to_string() })
    }
}
