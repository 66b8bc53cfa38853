//! Starts a sidecar, accepts connections, and ends it so that nothing admitted is lost.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use surety_primitives::keys::SecretKey;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::config::SidecarConfig;
use crate::connections::{Place, accept, listen, serve_http1};
use crate::error::Error;
use crate::ledger::LedgerView;
use crate::state::State;
use crate::store::{CounterStore, RedbStore};
use crate::{admin, duties, serve};

/// Name of the counters' file.
pub const STORE_FILE: &str = "counters.redb";

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
        let (public, address) = listen(state.config.listen).await?;
        let (private, admin) = listen(state.config.admin).await?;
        let (stop, stopped) = watch::channel(false);
        let (shared, bounds) = (Arc::clone(&state), state.config.limits.bounds());
        let connect = move |stream, place| connection(Arc::clone(&shared), stream, place);
        let tasks = vec![
            tokio::spawn(accept(public, bounds, stopped.clone(), connect)),
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

async fn connection(state: Arc<State>, stream: TcpStream, place: Arc<Place>) {
    state.metrics.connections.inc();
    let answer = |request| serve::handle(Arc::clone(&state), request);
    // A broken connection is the caller's affair; the calls on it are counted where they are made.
    if let Err(error) = serve_http1(stream, &place, state.config.limits.bounds(), answer).await {
        tracing::debug!(%error, "connection ended");
    }
    state.metrics.connections.dec();
}
