//! What is counted for `/metrics` (section 7.8). No label carries a key, a transaction or a client.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

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
    /// Reads that the cache answered.
    pub(crate) cache_hits: Counter,
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
            cache_hits: Counter::default(),
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
        registry.register("cache_hits", "Reads that the cache answered", metrics.cache_hits.clone());
        registry.register("reassessed", "Submissions looked at again before forwarding", metrics.reassessed.clone());
        registry.register("overrides", "Held transactions let go by their senders", metrics.overrides.clone());
        registry.register("held", "Transactions in quarantine", metrics.held.clone());
        registry.register("policy_info", "The policy in force", metrics.policy.clone());
        registry.register("policy_failures", "Policy files that did not compile", metrics.policy_failures.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register("subscriptions", "Live subscriptions", metrics.subscriptions.clone());
        registry.register("slow_clients", "Websocket clients cut for reading slowly", metrics.slow_clients.clone());
        Self { registry: Mutex::new(registry), ..metrics }
    }

    /// Counts a request.
    pub(crate) fn count(&self, class: &'static str, verdict: &'static str) {
        self.requests.get_or_create(&Handled { class, verdict }).inc();
    }

    /// The text form of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner));
        text
    }
}
