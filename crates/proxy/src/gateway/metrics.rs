//! What is counted for `/metrics` (section 7.8). No label carries a key, a transaction or a client.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::remote::Calls;
use super::verdict::Finding;

/// A request's class and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Handled {
    pub(crate) class: &'static str,
    pub(crate) verdict: &'static str,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct PolicyLabel {
    pub(crate) hash: String,
}

/// A check.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CheckName {
    pub(crate) check: String,
}

/// A check and how it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CheckOutcome {
    pub(crate) check: String,
    pub(crate) outcome: &'static str,
}

/// A cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct CacheName {
    pub(crate) cache: &'static str,
}

/// A list.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ListName {
    pub(crate) list: String,
}

/// A remote service.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ServiceName {
    pub(crate) service: String,
}

/// A remote service and how calls to it ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ServiceOutcome {
    pub(crate) service: String,
    pub(crate) outcome: &'static str,
}

fn fast() -> Histogram {
    Histogram::new(exponential_buckets(0.000_005, 2.0, 20))
}

/// The counters of a gateway.
pub(crate) struct Metrics {
    registry: Mutex<Registry>,
    /// Requests by class and verdict.
    pub(crate) requests: Family<Handled, Counter>,
    /// Seconds of each check.
    pub(crate) check_seconds: Family<CheckName, Histogram, fn() -> Histogram>,
    /// How checks ended.
    pub(crate) check_outcomes: Family<CheckOutcome, Counter>,
    /// Seconds of all checks of a submission together.
    pub(crate) assess_seconds: Histogram,
    /// Seconds of exchanges with nodes.
    pub(crate) upstream_seconds: Histogram,
    /// Exchanges with nodes that failed.
    pub(crate) upstream_failures: Counter,
    /// What caches answered: `reads` of final blocks, `screens` of transactions.
    pub(crate) cache_hits: Family<CacheName, Counter>,
    /// Calls to remote services.
    pub(crate) remote_calls: Family<ServiceOutcome, Counter>,
    /// Answers of remote services that were acknowledged, and so paid.
    pub(crate) remote_paid: Family<ServiceName, Counter>,
    /// Seconds since the date of each list.
    pub(crate) list_age: Family<ListName, Gauge<i64, AtomicI64>>,
    /// Submissions that were looked at again because the chain had moved.
    pub(crate) reassessed: Counter,
    /// Held transactions that somebody took responsibility for.
    pub(crate) overrides: Counter,
    /// Transactions in quarantine.
    pub(crate) held: Gauge<i64, AtomicI64>,
    /// The policy in force, by its hash.
    pub(crate) policy: Family<PolicyLabel, Gauge<i64, AtomicI64>>,
    /// Policy files that did not compile.
    pub(crate) policy_failures: Gauge<i64, AtomicI64>,
    /// Open connections.
    pub(crate) connections: Gauge<i64, AtomicI64>,
    /// Live subscriptions.
    pub(crate) subscriptions: Gauge<i64, AtomicI64>,
    /// Websocket clients that were cut because they read too slowly.
    pub(crate) slow_clients: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("gateway");
        let metrics = Self {
            requests: Family::default(),
            check_seconds: Family::new_with_constructor(fast as fn() -> Histogram),
            check_outcomes: Family::default(),
            assess_seconds: fast(),
            upstream_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 18)),
            upstream_failures: Counter::default(),
            cache_hits: Family::default(),
            remote_calls: Family::default(),
            remote_paid: Family::default(),
            list_age: Family::default(),
            reassessed: Counter::default(),
            overrides: Counter::default(),
            held: Gauge::default(),
            policy: Family::default(),
            policy_failures: Gauge::default(),
            connections: Gauge::default(),
            subscriptions: Gauge::default(),
            slow_clients: Counter::default(),
            registry: Mutex::default(),
        };
        registry.register("requests", "Requests by class and verdict", metrics.requests.clone());
        registry.register("check_seconds", "Seconds of each check", metrics.check_seconds.clone());
        registry.register("check_outcomes", "How checks ended", metrics.check_outcomes.clone());
        registry.register("assess_seconds", "Seconds of all checks together", metrics.assess_seconds.clone());
        registry.register("upstream_seconds", "Seconds of exchanges with nodes", metrics.upstream_seconds.clone());
        registry.register("upstream_failures", "Exchanges with nodes that failed", metrics.upstream_failures.clone());
        registry.register("cache_hits", "Reads and screenings that a cache answered", metrics.cache_hits.clone());
        registry.register("remote_calls", "Calls to remote services by outcome", metrics.remote_calls.clone());
        registry.register("remote_paid", "Answers of remote services that were paid", metrics.remote_paid.clone());
        registry.register("list_age_seconds", "Seconds since the date of each list", metrics.list_age.clone());
        registry.register("reassessed", "Submissions looked at again before forwarding", metrics.reassessed.clone());
        registry.register("overrides", "Held transactions let go by their senders", metrics.overrides.clone());
        registry.register("held", "Transactions in quarantine", metrics.held.clone());
        registry.register("policy_info", "The policy in force", metrics.policy.clone());
        registry.register("policy_failures", "Policy files that did not compile", metrics.policy_failures.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register("subscriptions", "Live subscriptions", metrics.subscriptions.clone());
        registry.register("slow_clients", "Websocket clients cut for reading slowly", metrics.slow_clients.clone());
        for cache in ["reads", "screens"] {
            drop(metrics.cache_hits.get_or_create(&CacheName { cache }));
        }
        Self { registry: Mutex::new(registry), ..metrics }
    }

    /// Counts a request.
    pub(crate) fn count(&self, class: &'static str, verdict: &'static str) {
        self.requests.get_or_create(&Handled { class, verdict }).inc();
    }

    /// Counts how a check ended, and how long it took.
    pub(crate) fn checked(&self, finding: &Finding, took: Duration) {
        let (check, outcome) = (finding.check.clone(), finding.outcome.word());
        self.check_outcomes.get_or_create(&CheckOutcome { check: check.clone(), outcome }).inc();
        self.check_seconds.get_or_create(&CheckName { check }).observe(took.as_secs_f64());
    }

    /// Counts what a cache answered.
    pub(crate) fn hit(&self, cache: &'static str) {
        self.cache_hits.get_or_create(&CacheName { cache }).inc();
    }

    /// Takes over what is known of a remote service: its calls by outcome, and how many answers were paid.
    pub(crate) fn learn(&self, service: &str, calls: &Calls, paid: u64) {
        for (outcome, count) in calls.by_outcome() {
            let label = ServiceOutcome { service: service.to_owned(), outcome };
            self.remote_calls.get_or_create(&label).inner().store(count, Ordering::Relaxed);
        }
        let label = ServiceName { service: service.to_owned() };
        // What was paid is never less than it was: it is asked while calls are under way.
        self.remote_paid.get_or_create(&label).inner().fetch_max(paid, Ordering::Relaxed);
    }

    /// The text form of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner));
        text
    }
}
