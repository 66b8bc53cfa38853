//! The development chain over JSON-RPC and HTTP, for alloy, ethers, viem, cast and the like, unmodified.
//!
//! Bodies, batches, ranges of blocks and the gas of calls are bounded. It holds no keys: `eth_accounts` is empty.

mod answers;
mod calls;
mod fees;
mod logs;
mod methods;
mod params;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::chain::DevChain;

/// The longest body, in bytes: six blobs in hex and their proofs fit.
const MAX_BODY: usize = 4 << 20;
/// How many requests are worked on at once; others wait.
const MAX_PARALLEL: usize = 32;

/// A chain that is being served. Dropping it stops the server too, without waiting for open connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    chain: Arc<DevChain>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Clone, Debug)]
struct Shared {
    chain: Arc<DevChain>,
    slots: Arc<Semaphore>,
}

/// Serves a chain at an address (port 0 takes a free one), and with an interval closes a block each time it has passed.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn serve(listen: SocketAddr, chain: Arc<DevChain>, interval: Option<Duration>) -> std::io::Result<Server> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let shared = Shared { chain: Arc::clone(&chain), slots: Arc::new(Semaphore::new(MAX_PARALLEL)) };
    let router = Router::new().route("/", post(handle)).layer(DefaultBodyLimit::max(MAX_BODY)).with_state(shared);
    let mut until = stopped.clone();
    let server = async move {
        let shutdown = async move { drop(until.wait_for(|stop| *stop).await) };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(shutdown).await {
            tracing::warn!(%error, "the development chain is not served any more");
        }
    };
    let mut tasks = vec![tokio::spawn(server)];
    if let Some(interval) = interval {
        tasks.push(tokio::spawn(mine_every(Arc::clone(&chain), interval, stopped)));
    }
    Ok(Server { address, chain, stop, tasks })
}

impl Server {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The chain behind it.
    pub const fn chain(&self) -> &Arc<DevChain> {
        &self.chain
    }

    /// Stops accepting, waits a second for open requests, and ends.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for mut task in std::mem::take(&mut self.tasks) {
            if tokio::time::timeout(Duration::from_secs(1), &mut task).await.is_err() {
                task.abort();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn mine_every(chain: Arc<DevChain>, interval: Duration, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
    ticks.tick().await;
    loop {
        tokio::select! {
            _ = ticks.tick() => {
                let chain = Arc::clone(&chain);
                if tokio::task::spawn_blocking(move || drop(chain.mine())).await.is_err() {
                    return;
                }
            }
            _ = stopped.changed() => return,
        }
    }
}

async fn handle(State(shared): State<Shared>, body: Bytes) -> Response {
    let Ok(slot) = shared.slots.acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    // Code may run for a second, so that it must not hold up the connections.
    let work = tokio::task::spawn_blocking(move || {
        let answer = wire::answer(&body, |method, params| methods::call(&shared.chain, method, params));
        drop(slot);
        answer.map(|answer| answer.to_string())
    });
    match work.await {
        Ok(Some(answer)) => ([(header::CONTENT_TYPE, "application/json")], answer).into_response(),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
