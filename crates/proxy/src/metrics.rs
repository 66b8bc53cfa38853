//! What is counted for `/metrics`. No label carries a purchase, a key or a path.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A problem's or a duty's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Name {
    pub(crate) name: &'static str,
}

/// The counters of a sidecar.
pub(crate) struct Metrics {
    registry: Registry,
    /// Calls admitted.
    pub(crate) admitted: Counter,
    /// Calls served: 2xx to 4xx.
    pub(crate) served: Counter,
    /// Calls that failed behind: not counted.
    pub(crate) failed: Counter,
    /// Replies given again.
    pub(crate) repeated: Counter,
    /// Answers signed.
    pub(crate) signed: Counter,
    /// Refusals by problem.
    pub(crate) refused: Family<Name, Counter>,
    /// Actions on the ledger that became final.
    pub(crate) duties: Family<Name, Counter>,
    /// Actions on the ledger that did not.
    pub(crate) duties_failed: Family<Name, Counter>,
    /// Open connections.
    pub(crate) connections: Gauge<i64, AtomicI64>,
    /// Purchases in memory.
    pub(crate) packages: Gauge<i64, AtomicI64>,
    /// Seconds from the admission to the reply, the API behind included.
    pub(crate) latency: Histogram,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("surety_sidecar");
        let metrics = Self {
            admitted: Counter::default(),
            served: Counter::default(),
            failed: Counter::default(),
            repeated: Counter::default(),
            signed: Counter::default(),
            refused: Family::default(),
            duties: Family::default(),
            duties_failed: Family::default(),
            connections: Gauge::default(),
            packages: Gauge::default(),
            latency: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            registry: Registry::default(),
        };
        registry.register("calls_admitted", "Calls admitted", metrics.admitted.clone());
        registry.register("calls_served", "Calls served", metrics.served.clone());
        registry.register("calls_failed", "Calls that failed upstream and were not counted", metrics.failed.clone());
        registry.register("calls_repeated", "Replies given again to a retry", metrics.repeated.clone());
        registry.register("answers_signed", "Answers signed", metrics.signed.clone());
        registry.register("refused", "Refusals by problem", metrics.refused.clone());
        registry.register("duties", "Ledger actions that became final", metrics.duties.clone());
        registry.register("duties_failed", "Ledger actions that did not", metrics.duties_failed.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register("packages", "Purchases in memory", metrics.packages.clone());
        registry.register("latency_seconds", "From admission to reply", metrics.latency.clone());
        Self { registry, ..metrics }
    }

    /// The text form of Prometheus.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
