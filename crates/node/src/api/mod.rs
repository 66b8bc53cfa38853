//! HTTP API: what wallets, sidecars, light clients and pages ask of a node.
//!
//! Always true: every failure is a problem document with a stable code ([`problem`]); no input makes a 5xx; what a
//! request may cost is bounded ([`Limits`]); one table lists the routes, and the OpenAPI document follows from it.
//! Never here: rules of the ledger, and anything that only the engine knows ([`Backend`] is the seam).

mod accounts;
mod actions;
mod backend;
mod chain;
mod events;
mod extract;
mod feed;
mod guard;
mod market;
mod meters;
mod openapi;
pub mod problem;
mod read;
mod routes;
mod schema;
mod serve;
#[cfg(test)]
mod tests;
mod transactions;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};

pub use backend::{
    Answer, Backend, Export, FinalBlock, Health, PlacedReceipt, ReadFailure, ReadRows, Refusal, RowAnswer,
};
pub use openapi::document;
pub use serve::serve;

use crate::index::Index;
use guard::Buckets;
use meters::Meters;

/// What requests may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most bytes of a request's body.
    pub body_bytes: usize,
    /// Most bytes of a request's line and headers. Above twice as many (and 8,192) the connection is closed with a bare 431.
    pub header_bytes: usize,
    /// Requests a second of one client address (an IPv6 /64 counts as one), 0 for no limit.
    pub rate: u32,
    /// Requests that one address may send at once.
    pub burst: u32,
    /// Whether addresses of this machine are exempt from rate and connections of one address: where only trusted programs
    /// run, or behind a reverse proxy that has its own limits.
    pub exempt_loopback: bool,
    /// Most connections.
    pub connections: usize,
    /// Most connections of one client address (an IPv6 /64 counts as one).
    pub connections_per_address: usize,
    /// Most open event streams and long polls.
    pub streams: usize,
    /// Milliseconds in which a request's headers, and then its body, must arrive.
    pub request_ms: u64,
    /// Milliseconds in which a client must take something of an answer that waits to be sent.
    pub write_ms: u64,
    /// Most seconds that a long poll or a submission waits.
    pub wait_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 256 << 10,
            header_bytes: 32 << 10,
            rate: 500,
            burst: 1_000,
            exempt_loopback: false,
            connections: 1_024,
            connections_per_address: 64,
            streams: 256,
            request_ms: 10_000,
            write_ms: 20_000,
            wait_seconds: 60,
        }
    }
}

impl Limits {
    /// The time in which headers or a body must arrive.
    #[must_use]
    pub const fn request_time(&self) -> Duration {
        Duration::from_millis(self.request_ms)
    }

    /// The time in which a client must read.
    #[must_use]
    pub const fn write_time(&self) -> Duration {
        Duration::from_millis(self.write_ms)
    }
}

/// Most entries of a page.
pub const MAX_PAGE: u32 = 200;

/// The API of one node.
pub struct Api {
    backend: Arc<dyn Backend>,
    index: Arc<Index>,
    limits: Limits,
    meters: Meters,
    buckets: Buckets,
    streams: Arc<Semaphore>,
    /// One at a time: it reads the whole state.
    auditing: Semaphore,
    stop: watch::Receiver<bool>,
}

/// What handlers share.
pub(crate) type Shared = Arc<Api>;

impl Api {
    /// The API of a node. Streams and long polls end when `stop` becomes true.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, limits: Limits, stop: watch::Receiver<bool>) -> Arc<Self> {
        Arc::new(Self {
            index: Arc::new(Index::new(backend.genesis())),
            backend,
            meters: Meters::default(),
            buckets: Buckets::new(limits.rate, limits.burst),
            streams: Arc::new(Semaphore::new(limits.streams)),
            auditing: Semaphore::new(1),
            limits,
            stop,
        })
    }

    /// The index behind the searches.
    #[must_use]
    pub const fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Keeps the index at the newest final block until the API stops.
    pub async fn follow(self: Arc<Self>) {
        let mut stop = self.stop.clone();
        tokio::select! {
            () = self.index.follow(self.backend.as_ref()) => {}
            () = stopped(&mut stop) => {}
        }
    }

    /// All routes with their guards.
    pub fn router(self: &Arc<Self>) -> Router {
        guard::around(routes::router(), self).with_state(Arc::clone(self))
    }
}

/// Ends when `stop` becomes true or nobody can make it so.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
