//! What all connections of a gateway share.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alloy_primitives::B256;
use quick_cache::sync::Cache;

use super::assess::Assessor;
use super::audit::{Audit, AuditError, Entry, FILE_BYTES, FindingRecord, ListRoot, UpstreamAnswer};
use super::check::Check;
use super::config::GatewayConfig;
use super::forward::{Forwarded, Forwarder};
use super::hold::{HOLD_FILE, Held, Hold, HoldId, Stage};
use super::jsonrpc::Answer;
use super::judge::Judged;
use super::metrics::Metrics;
use super::override_token::OverrideKey;
use super::plugs::{List, Plugs};
use super::policy::{LivePolicy, Policy, PolicyHash, Vocabulary};
use super::remote::Remote;
use super::request::Asked;
use super::screens::Screens;
use super::subject::ChainRule;
use crate::error::Error;
use crate::meter::Bucket;

/// Folder of the audit log within the gateway's.
const AUDIT_FOLDER: &str = "audit";
/// Verdicts that `surety_verdict` still knows.
const RECENT: usize = 16_384;
/// Submissions whose client is remembered, for cancellations.
const OWNED: usize = 65_536;
/// Clients with a rate of their own.
const MAX_CLIENTS: usize = 65_536;

/// Who asks, as far as the gateway can tell.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client(pub(crate) Arc<str>);

/// What all connections share.
pub(crate) struct Core {
    pub(crate) config: GatewayConfig,
    pub(crate) chain: ChainRule,
    pub(crate) assessor: Assessor,
    pub(crate) screens: Screens,
    pub(crate) remote: Remote,
    /// The lists that the checks ask.
    pub(crate) lists: Vec<List>,
    pub(crate) hold: Arc<Hold>,
    pub(crate) override_key: OverrideKey,
    pub(crate) audit: Audit,
    rules: Rules,
    pub(crate) forwarder: Forwarder,
    pub(crate) metrics: Metrics,
    /// The last verdicts, as JSON, with the client that asked.
    pub(crate) recent: Cache<B256, (Client, Arc<str>)>,
    /// Who submitted what a cancellation may name.
    pub(crate) owners: Cache<String, Client>,
    /// Requests that are not answered yet.
    pub(crate) in_flight: AtomicUsize,
    rates: Mutex<HashMap<Client, Bucket>>,
    began: Instant,
}

impl Core {
    pub(crate) fn new(config: GatewayConfig, plugs: Plugs, forwarder: Forwarder, chain_id: u64) -> Result<Self, Error> {
        let Plugs { checks, lists, basis, services, buyer } = plugs;
        if let Some(twice) = twice(&checks) {
            return Err(Error::Config(format!("two checks have the name {twice}")));
        }
        let data = &config.data;
        std::fs::create_dir_all(data)
            .map_err(|error| Error::Config(format!("data folder {}: {error}", data.display())))?;
        let vocabulary = Assessor::vocabulary(&checks).services(services.iter().map(|service| service.name.clone()));
        let rules = Rules::open(config.policy.as_deref(), vocabulary)?;
        let remote = Remote::new(chain_id, services, data, buyer).map_err(refuse)?;
        let hold = Hold::open(&data.join(HOLD_FILE), rules.get().hold().clone()).map_err(refuse)?;
        let override_key = OverrideKey::open(data).map_err(refuse)?;
        let audit = Audit::open(&data.join(AUDIT_FOLDER), FILE_BYTES).map_err(refuse)?;
        let limits = &config.limits;
        Ok(Self {
            hold: Arc::new(hold),
            override_key,
            audit,
            rules,
            chain: ChainRule { id: chain_id, allow_unprotected: config.allow_unprotected },
            assessor: Assessor::new(checks, limits.heavy_checks, Duration::from_millis(limits.assess_ms)),
            screens: Screens::new(basis, &lists),
            remote,
            lists,
            forwarder,
            metrics: Metrics::new(),
            recent: Cache::new(RECENT),
            owners: Cache::new(OWNED),
            in_flight: AtomicUsize::new(0),
            rates: Mutex::default(),
            began: Instant::now(),
            config,
        })
    }

    /// The policy in force. Whoever decides takes it once.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.rules.get()
    }

    /// What follows the policy's file, if there is one.
    pub(crate) const fn live_policy(&self) -> Option<&Arc<LivePolicy>> {
        match &self.rules {
            Rules::Live(live) => Some(live),
            Rules::Fixed(_) => None,
        }
    }

    /// Records what was decided of a submission, or what a node answered to it. Gives the line's number, for
    /// [`Audit::durable`].
    ///
    /// # Errors
    /// [`AuditError`]: what cannot be recorded must not be forwarded.
    pub(crate) fn record(
        &self,
        event: &str,
        asked: Asked<'_>,
        judged: &Judged,
        sent: Option<&Forwarded>,
        hold_id: Option<HoldId>,
    ) -> Result<u64, AuditError> {
        let mut entry = Entry::new(event, now_ms(), judged.policy);
        entry.client = asked.client.0.to_string();
        entry.method = asked.method.to_owned();
        entry.tx_hash = judged.hash;
        entry.hold_id = hold_id;
        match sent {
            None => {
                entry.findings = judged.findings.iter().map(FindingRecord::from).collect();
                entry.decision = Some(judged.decision.clone());
                entry.lists = self.lists.iter().map(ListRoot::from).collect();
            }
            Some(sent) => entry.upstream = Some(upstream_answer(sent)),
        }
        let seq = self.audit.record(&entry)?;
        if let Some(hash) = judged.hash.filter(|_| sent.is_none()) {
            self.recent.insert(hash, (asked.client.clone(), judged.to_json().into()));
        }
        Ok(seq)
    }

    /// Records where a held transaction stands by now, and who let it go by which override. On disk when this ends.
    pub(crate) async fn record_held(&self, held: &Held, overridden: &[String]) {
        let (event, released_by) = match held.stage {
            Stage::Held => ("kept", None),
            Stage::Releasing { by } => ("releasing", Some(by)),
            Stage::Released { by, .. } => ("released", Some(by)),
            Stage::Dropped { .. } => ("dropped", None),
        };
        let mut entry = Entry::new(event, now_ms(), held.policy);
        entry.client.clone_from(&held.client);
        entry.method.clone_from(&held.method);
        entry.tx_hash = Some(held.hash);
        entry.hold_id = Some(held.id);
        entry.released_by = released_by;
        entry.overridden = overridden.to_vec();
        entry.decision = Some(held.decision.clone());
        if let Err(error) = self.record_durably(&entry).await {
            tracing::error!(%error, "a held transaction's step could not be recorded");
        }
    }

    /// Records that another policy is in force.
    pub(crate) async fn record_policy(&self, now: PolicyHash) {
        if let Err(error) = self.record_durably(&Entry::new("reloaded", now_ms(), now)).await {
            tracing::error!(%error, "a change of the policy could not be recorded");
        }
    }

    async fn record_durably(&self, entry: &Entry) -> Result<(), AuditError> {
        let seq = self.audit.record(entry)?;
        self.audit.durable(seq).await
    }

    /// Whether a client may make one more request now.
    pub(crate) fn has_room(&self, client: &Client) -> bool {
        let rate = self.config.limits.requests_per_second;
        if rate == 0 {
            return true;
        }
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.len() >= MAX_CLIENTS && !rates.contains_key(client) {
            // Whoever has been idle for a second has a full bucket anyway.
            rates.clear();
        }
        let bucket = rates.entry(client.clone()).or_insert_with(|| Bucket::new(rate));
        let has_room = bucket.has_room(now_ms);
        if has_room {
            bucket.take();
        }
        has_room
    }
}

/// Where rules come from.
enum Rules {
    /// A file that may change.
    Live(Arc<LivePolicy>),
    /// The checks' own failure rules.
    Fixed(Arc<Policy>),
}

impl Rules {
    fn open(file: Option<&Path>, vocabulary: Vocabulary) -> Result<Self, Error> {
        match file {
            Some(file) => Ok(Self::Live(Arc::new(LivePolicy::open(file, vocabulary).map_err(refuse)?))),
            None => Ok(Self::Fixed(Arc::new(Policy::load_with("", &vocabulary).map_err(refuse)?))),
        }
    }

    fn get(&self) -> Arc<Policy> {
        match self {
            Self::Live(live) => live.get(),
            Self::Fixed(policy) => Arc::clone(policy),
        }
    }
}

fn refuse(error: impl std::fmt::Display) -> Error {
    Error::Config(error.to_string())
}

fn upstream_answer(sent: &Forwarded) -> UpstreamAnswer {
    let (ok, answer) = match &sent.answer {
        Answer::Result(text) => (true, String::from_utf8_lossy(text).into_owned()),
        Answer::NodeError(text) => (false, String::from_utf8_lossy(text).into_owned()),
        Answer::Error(error) => (false, error.to_string()),
    };
    let micros = u64::try_from(sent.took.as_micros()).unwrap_or(u64::MAX);
    UpstreamAnswer { upstream: sent.node.clone().unwrap_or_default(), ok, answer, micros }
}

impl From<&List> for ListRoot {
    fn from(list: &List) -> Self {
        Self { name: list.name.clone(), version: list.version.clone(), root: list.root }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn twice(checks: &[Arc<dyn Check>]) -> Option<&str> {
    let names: Vec<&str> = checks.iter().map(|check| check.name()).collect();
    names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| *name)
}
