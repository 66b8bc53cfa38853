//! Starts a gateway, accepts connections, and ends it so that nothing admitted is lost.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::config::GatewayConfig;
use super::core::Core;
use super::forward::Forwarder;
use super::plugs::Plugs;
use super::policy::{LivePolicy, PolicyErrors, Reloaded};
use super::{admin, http2, quarantine, server};
use crate::connections::{Place, accept, listen, serve_http1};
use crate::error::Error;

/// Between two looks at the policy's file.
const POLICY_LOOK: Duration = Duration::from_secs(1);
/// Between two tries to learn the chain from the nodes at the start.
const ASK_CHAIN: Duration = Duration::from_millis(500);
/// How often it is tried.
const CHAIN_TRIES: u32 = 20;

/// A gateway that runs.
pub struct Gateway {
    core: Arc<Core>,
    address: SocketAddr,
    admin: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Runs a gateway until `shutdown` comes, then drains it.
///
/// # Errors
/// As [`Gateway::start`].
pub async fn run(
    config: GatewayConfig,
    plugs: impl Into<Plugs>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let gateway = Gateway::start(config, plugs).await?;
    shutdown.await;
    gateway.stop().await;
    Ok(())
}

impl Gateway {
    /// Learns the chain, listens, and looks at the nodes from then on.
    ///
    /// # Errors
    /// [`Error::Config`] for parts that do not go together and when no node tells its chain, [`Error::Listen`].
    pub async fn start(config: GatewayConfig, plugs: impl Into<Plugs>) -> Result<Self, Error> {
        config.check()?;
        let forwarder = Forwarder::new(&config)?;
        let chain_id = match config.chain_id {
            Some(chain_id) => chain_id,
            None => ask_chain(&forwarder).await?,
        };
        let core = Arc::new(Core::new(config, plugs.into(), forwarder, chain_id)?);
        let (public, address) = listen(core.config.listen).await?;
        let (private, admin) = listen(core.config.admin).await?;
        let (stop, stopped) = watch::channel(false);
        let (shared, bounds) = (Arc::clone(&core), core.config.limits.bounds());
        let connect = move |stream, place| connection(Arc::clone(&shared), stream, place);
        let tasks = vec![
            tokio::spawn(accept(public, bounds, stopped.clone(), connect)),
            tokio::spawn(admin::serve(Arc::clone(&core), private, stopped.clone())),
            tokio::spawn(quarantine::run(Arc::clone(&core), stopped.clone())),
            tokio::spawn(watch_policy(Arc::clone(&core), stopped.clone())),
            tokio::spawn(probe(Arc::clone(&core), stopped)),
        ];
        tracing::info!(%address, %admin, chain_id, "gateway listens");
        Ok(Self { core, address, admin, stop, tasks })
    }

    /// Where wallets connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/health` and `/metrics` are.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The chain that it serves.
    #[must_use]
    pub fn chain_id(&self) -> u64 {
        self.core.chain.id
    }

    /// Reads the policy's file now; without a file nothing changes.
    ///
    /// # Errors
    /// Everything that is wrong with it; the policy before stays in force.
    pub async fn reload(&self) -> Result<Reloaded, PolicyErrors> {
        reload(&self.core, LivePolicy::reload).await
    }

    /// Stops accepting and lets requests in flight end, within the drain time.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        for task in self.tasks {
            // A task that panicked has nothing left to say.
            let _ = task.await;
        }
        self.core.remote.settle().await;
        // Submissions whose clients went away end by themselves.
        let step = Duration::from_millis(10);
        for _ in 0..self.core.config.limits.drain_s.saturating_mul(100) {
            // Whoever starts the gateway again needs its files: nobody may have them any more.
            if self.core.in_flight.load(Ordering::Acquire) == 0 && Arc::strong_count(&self.core) == 1 {
                break;
            }
            tokio::time::sleep(step).await;
        }
        tracing::info!("gateway stopped");
    }
}

async fn ask_chain(forwarder: &Forwarder) -> Result<u64, Error> {
    let mut last = String::new();
    for _ in 0..CHAIN_TRIES {
        match forwarder.chain_id().await {
            Ok(chain_id) => return Ok(chain_id),
            Err(error) => last = error.to_string(),
        }
        tokio::time::sleep(ASK_CHAIN).await;
    }
    Err(Error::Config(format!("no node tells its chain ({last}): start one, or state chain_id")))
}

async fn probe(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    let every = Duration::from_millis(core.config.limits.probe_ms);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = core.forwarder.probe(core.chain.id, every) => {}
        }
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}

/// Follows the policy's file.
async fn watch_policy(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    while core.live_policy().is_some() {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = tokio::time::sleep(POLICY_LOOK) => {}
        }
        // What is wrong with the file stands in the log and in /health.
        let _ = reload(&core, LivePolicy::look).await;
    }
}

/// Brings the file into force, and records it.
async fn reload(
    core: &Core,
    read: fn(&LivePolicy) -> Result<Reloaded, PolicyErrors>,
) -> Result<Reloaded, PolicyErrors> {
    let Some(live) = core.live_policy().cloned() else { return Ok(Reloaded::Same) };
    // Compiling is work for another thread.
    let read = tokio::task::spawn_blocking(move || read(&live)).await;
    let reloaded = read.unwrap_or_else(|error| Err(PolicyErrors::unreadable(error.to_string())))?;
    if let Reloaded::Changed { now, .. } = reloaded {
        core.record_policy(now).await;
    }
    Ok(reloaded)
}

async fn connection(core: Arc<Core>, stream: TcpStream, place: Arc<Place>) {
    core.metrics.connections.inc();
    let limits = &core.config.limits;
    let (shared, its) = (Arc::clone(&core), Arc::clone(&place));
    let answer = move |request| server::handle(Arc::clone(&shared), Arc::clone(&its), request);
    let ended = match http2::begins(&stream, &place, limits.read_timeout()).await {
        None => Ok(()),
        Some(false) => serve_http1(stream, &place, limits.bounds(), answer).await,
        Some(true) => http2::serve(stream, &place, limits.bounds(), limits.websocket_requests, answer).await,
    };
    // A broken connection is the client's affair; what it sent is recorded where it is made.
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
    core.metrics.connections.dec();
}
