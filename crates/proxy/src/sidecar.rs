//! Starts a sidecar, accepts connections, and ends it so that nothing admitted is lost.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use surety_primitives::keys::SecretKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use crate::config::SidecarConfig;
use crate::connections::{Peers, Timed};
use crate::error::Error;
use crate::ledger::LedgerView;
use crate::state::State;
use crate::store::{CounterStore, RedbStore};
use crate::{admin, duties, serve};

/// Name of the counters' file.
pub const STORE_FILE: &str = "counters.redb";
/// Most header fields of a request.
const MAX_HEADERS: usize = 100;

/// A sidecar that runs.
pub struct Sidecar {
    state: Arc<State>,
    address: SocketAddr,
    admin: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Runs a sidecar until `shutdown` comes, then drains it.
///
/// `key` signs the provider's Answers; it must be the one that the ledger names.
///
/// # Errors
/// As [`Sidecar::start`] and [`Sidecar::stop`].
pub async fn run(
    config: SidecarConfig,
    key: SecretKey,
    ledger: Arc<dyn LedgerView>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Error> {
    let sidecar = Sidecar::start(config, key, ledger).await?;
    shutdown.await;
    sidecar.stop().await
}

impl Sidecar {
    /// Opens the counters, checks the key against the ledger, listens.
    ///
    /// # Errors
    /// [`Error`]: each says who can mend it.
    pub async fn start(config: SidecarConfig, key: SecretKey, ledger: Arc<dyn LedgerView>) -> Result<Self, Error> {
        config.check()?;
        std::fs::create_dir_all(&config.data)
            .map_err(|error| Error::Config(format!("data folder {}: {error}", config.data.display())))?;
        let store = RedbStore::open(&config.data.join(STORE_FILE))?;
        Self::start_with(config, key, ledger, Arc::new(store)).await
    }

    /// The same over another store.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(
        config: SidecarConfig,
        key: SecretKey,
        ledger: Arc<dyn LedgerView>,
        store: Arc<dyn CounterStore>,
    ) -> Result<Self, Error> {
        let state = Arc::new(State::new(config, key, ledger, store)?);
        duties::check_key(&state).await?;
        duties::read_offers(&state).await;
        let public = listen(state.config.listen).await?;
        let private = listen(state.config.admin).await?;
        let (address, admin) = (local(&public)?, local(&private)?);
        let (stop, stopped) = watch::channel(false);
        let tasks = vec![
            tokio::spawn(accept(Arc::clone(&state), public, stopped.clone())),
            tokio::spawn(admin::serve(Arc::clone(&state), private, stopped.clone())),
            tokio::spawn(duties::run(Arc::clone(&state), stopped)),
        ];
        tracing::info!(%address, %admin, provider = %state.config.provider, "sidecar listens");
        Ok(Self { state, address, admin, stop, tasks })
    }

    /// Where calls come in.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where `/health` and `/metrics` are.
    #[must_use]
    pub const fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Stops accepting, lets calls in flight end, gives leases back and writes everything down.
    ///
    /// # Errors
    /// [`Error::Store`] when the last counters could not be written. What was acknowledged before is durable anyway.
    pub async fn stop(self) -> Result<(), Error> {
        let _ = self.stop.send(true);
        for task in self.tasks {
            // A task that panicked has nothing left to say.
            let _ = task.await;
        }
        // Calls whose callers went away end by themselves.
        let step = Duration::from_millis(20);
        for _ in 0..self.state.config.limits.drain_s.saturating_mul(50) {
            if self.state.calls_in_flight() == 0 {
                break;
            }
            tokio::time::sleep(step).await;
        }
        if self.state.calls_in_flight() == 0 {
            for package in self.state.packages.all() {
                package.give_back(self.state.store.as_ref()).await?;
            }
        }
        self.state.store.sync().await?;
        tracing::info!("sidecar stopped");
        Ok(())
    }
}

pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })
}

fn local(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|error| Error::Config(error.to_string()))
}

async fn accept(state: Arc<State>, listener: TcpListener, mut stopped: watch::Receiver<bool>) {
    let graceful = GracefulShutdown::new();
    let room = Arc::new(Semaphore::new(state.config.limits.connections));
    let peers = Arc::new(Peers::default());
    let builder = builder(&state);
    loop {
        let stream = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = accept_one(&listener, &room) => accepted,
        };
        let Some((stream, address, permit)) = stream else { continue };
        // One caller takes no place from the others.
        let Some(peer) = peers.admit(address.ip(), state.config.limits.connections_per_address) else { continue };
        let stream = Timed::new(stream, Duration::from_secs(state.config.limits.write_timeout_s));
        let shared = Arc::clone(&state);
        let service = service_fn(move |request| {
            let state = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(serve::handle(state, request).await) }
        });
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            state.metrics.connections.inc();
            // A broken connection is the caller's affair; the calls on it are counted where they are made.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
            state.metrics.connections.dec();
            drop((peer, permit));
        });
    }
    drop(listener);
    let drain = Duration::from_secs(state.config.limits.drain_s);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("connections were cut at the end of the drain time");
    }
}

/// The next connection, once there is room for it.
async fn accept_one(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => {
            // Replies are small and wait for nothing else.
            let _ = stream.set_nodelay(true);
            Some((stream, address, permit))
        }
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            // Out of file descriptors: others must end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            None
        }
    }
}

fn builder(state: &State) -> http1::Builder {
    let limits = &state.config.limits;
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.read_timeout())
        .max_buf_size(limits.header_bytes)
        .max_headers(MAX_HEADERS);
    builder
}
