//! One node as a process: folders, keys, network, engine, and an end that a supervisor understands.
//!
//! Any actor that ends or panics ends the process: a restart from disk is safe, a half-running node is not.

use std::future::Future;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use commonware_cryptography::ChaCha20Poly1305;
use commonware_cryptography::Signer as _;
use commonware_macros::select;
use commonware_p2p::authenticated::lookup;
use commonware_p2p::{Address, AddressableManager as _, AddressableTrackedPeers};
use commonware_runtime::{Clock, Quota, Runner as _, Spawner, Supervisor as _, tokio as tokio_runtime};
use commonware_stream::cups::{self, Cups};
use commonware_stream::sake::{self, Sake};
use commonware_utils::ordered::Map;
use commonware_utils::{NZU32, NZUsize};
use futures::future::{self, Either};
use surety_ledger::Genesis;
use surety_primitives::header::Committee;
use surety_primitives::ids::Epoch;
use tokio::sync::mpsc;

use crate::block::public_key;
use crate::config::{ConfigError, NodeConfig};
use crate::core::FinalizedBlock;
use crate::engine::{self, Channels, Engine, EngineConfig};
use crate::handle::NodeHandle;
use crate::keys::{self, NodeKeys, Standing};
use crate::receipts::{ReceiptError, ReceiptStore};
use crate::scheme::{self, Scheme};

/// What the engine keeps, its journal of votes among it, below the node's folder.
const STORE: &str = "store";
/// How long actors may take to end.
const STOPPING: Duration = Duration::from_secs(10);
/// Final blocks that wait for the receipts' file.
const RECEIPT_QUEUE: usize = 256;
/// How often a seat that has not voted looks whether it has.
const LOOK_FOR_VOTES: Duration = Duration::from_millis(20);

/// Why a node did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] keys::Error),
    /// The committee or the seat's key cannot vote.
    #[error(transparent)]
    Scheme(#[from] scheme::Error),
    /// The receipts' file cannot be opened.
    #[error(transparent)]
    Receipts(#[from] ReceiptError),
    /// The folder cannot be used.
    #[error("the folder cannot be used: {0}")]
    Folder(std::io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address} for the {what}; is another node running, or the address not this machine's?")]
    Address {
        /// What would listen.
        what: &'static str,
        /// Where.
        address: std::net::SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process uses the folder.
    #[error("another process runs on this folder")]
    Locked,
    /// A part of the node ended: restart it.
    #[error("a part of the node ended ({0}); restart the node")]
    Broken(String),
}

/// A node that runs, as its API sees it.
#[derive(Clone)]
pub struct RunningNode {
    /// State, blocks, pool.
    pub node: NodeHandle,
    /// Receipts on disk.
    pub receipts: ReceiptStore,
    /// The configuration.
    pub config: Arc<NodeConfig>,
    /// Whether its seat votes; if not, it follows.
    pub voting: bool,
}

/// Runs a node until `shutdown` resolves or a part of it ends. `serve` gets the node once it runs and is a part of it:
/// its end ends the node.
///
/// # Errors
/// See [`NodeError`].
///
/// # Panics
/// If a store fails, or the ledger's result differs from that of the network. Restart from disk; if it comes again, keep
/// the folder and compare receipts.
pub fn run<S, F, T>(config: NodeConfig, shutdown: S, serve: F) -> Result<(), NodeError>
where
    S: Future<Output = ()> + Send + 'static,
    F: FnOnce(RunningNode) -> T + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let genesis = config.load_chain()?;
    let keys = NodeKeys::load(&config.keys)?;
    config.check(&genesis, &keys.peer_id())?;
    std::fs::create_dir_all(&config.folder).map_err(NodeError::Folder)?;
    let _lock = lock(&config)?;
    // The network's own attempt would end in a panic. Nothing is held: the port is free again at once.
    std::net::TcpListener::bind(config.listen).map(drop).map_err(|source| NodeError::Address {
        what: "other operators",
        address: config.listen,
        source,
    })?;
    let (scheme, voting) = standing(&config, &genesis, &keys)?;
    let receipts = ReceiptStore::open(&config.folder.join("receipts.redb"), config.resources.receipt_blocks)?;
    // Panics are not caught: they end the process, and the supervisor starts it again.
    let runtime = tokio_runtime::Config::new()
        .with_worker_threads(config.resources.threads)
        .with_storage_directory(config.folder.join(STORE));
    tokio_runtime::Runner::new(runtime).start(|context| async move {
        let (archive, waiting) = mpsc::channel(RECEIPT_QUEUE);
        let store = receipts.clone();
        let writer =
            context.child("receipts").dedicated().spawn(move |context| write_receipts(context, store, waiting));
        let mut shutdown = Box::pin(shutdown);
        // Starting may take long: a state sync waits for peers.
        let starting = connect(context.child("node"), &config, genesis, &keys, scheme, archive);
        let engine = match future::select(&mut shutdown, starting).await {
            Either::Left(_) => return stop(context).await,
            Either::Right((engine, _)) => engine,
        };
        let mut parts = engine.actors;
        if voting {
            let (keys, journal) = (config.keys.clone(), config.folder.join(STORE).join(engine::VOTES));
            parts.push(context.child("votes").spawn(|context| mark_first_vote(context, keys, journal)));
        }
        let running = RunningNode { node: engine.handle, receipts, config: Arc::new(config), voting };
        let served = context.child("serve").spawn(move |_| serve(running));
        parts.extend([writer, served]);
        match future::select(shutdown, future::select_all(parts)).await {
            Either::Left(_) => stop(context).await,
            Either::Right(((result, index, _), _)) => Err(NodeError::Broken(format!("part {index}: {result:?}"))),
        }
    })
}

/// Asks all parts to end. One that does not end in time is cut off: that is what a crash does, and a restart is made
/// for it.
async fn stop(context: tokio_runtime::Context) -> Result<(), NodeError> {
    tracing::info!("stopping");
    let _ = context.stop(0, Some(STOPPING)).await;
    Ok(())
}

/// Keeps a second process from the folder: two processes with one key would contradict each other.
fn lock(config: &NodeConfig) -> Result<std::fs::File, NodeError> {
    let file = std::fs::File::create(config.folder.join("lock")).map_err(NodeError::Folder)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(NodeError::Locked),
        Err(std::fs::TryLockError::Error(error)) => Err(NodeError::Folder(error)),
    }
}

/// Whether this start votes or follows, and the scheme of one who does.
fn standing(config: &NodeConfig, genesis: &Genesis, keys: &NodeKeys) -> Result<(Scheme, bool), NodeError> {
    let committee: Committee = genesis.committee();
    let follow = scheme::verifier(&committee)?;
    let Some(secret) = keys.seat_secret() else { return Ok((follow, false)) };
    let vote = scheme::signer(&committee, secret)?;
    let store = config.folder.join(STORE);
    match keys::mark_start(&config.keys, &store, &store.join(engine::VOTES), genesis.hash(), Epoch(0))? {
        Standing::MayVote => Ok((vote, true)),
        Standing::FollowOnly => {
            tracing::error!(
                "this folder is not the one that the seat last voted with: it follows for good, because it may have voted what this folder does not know"
            );
            Ok((follow, false))
        }
    }
}

/// Notes that the seat has voted once its journal holds something: one that was stopped before has nothing to contradict.
async fn mark_first_vote<E: Clock>(context: E, keys: PathBuf, journal: PathBuf) {
    while !keys::has_votes(&journal) {
        context.sleep(LOOK_FOR_VOTES).await;
    }
    match keys::mark_voting(&keys) {
        Ok(()) => std::future::pending().await,
        // Ends the node, as any part does.
        Err(error) => tracing::error!(%error, "the mark that this seat votes cannot be written"),
    }
}

/// Writes receipts until the node stops, and then what still waits. A disk that fails ends the node, as any part does.
async fn write_receipts<E: Spawner>(context: E, store: ReceiptStore, mut waiting: mpsc::Receiver<Arc<FinalizedBlock>>) {
    let mut stopped = context.stopped();
    let mut stopping = false;
    while !stopping {
        let mut blocks = Vec::new();
        select! {
            count = waiting.recv_many(&mut blocks, RECEIPT_QUEUE) => stopping = count == 0,
            _ = &mut stopped => stopping = true,
        }
        while let Ok(block) = waiting.try_recv() {
            blocks.push(block);
        }
        if let Err(error) = store.write(&blocks) {
            tracing::error!(%error, "receipts were not written");
            return;
        }
    }
}

/// Joins the network and starts the engine. The future is boxed here, in a function without type parameters, so that
/// the engine is compiled into this crate once and not into every binary that runs a node.
fn connect<'a>(
    context: tokio_runtime::Context,
    config: &'a NodeConfig,
    genesis: Genesis,
    keys: &'a NodeKeys,
    scheme: Scheme,
    archive: mpsc::Sender<Arc<FinalizedBlock>>,
) -> Pin<Box<dyn Future<Output = Engine> + 'a>> {
    Box::pin(join(context, config, genesis, keys, scheme, archive))
}

async fn join(
    context: tokio_runtime::Context,
    config: &NodeConfig,
    genesis: Genesis,
    keys: &NodeKeys,
    scheme: Scheme,
    archive: mpsc::Sender<Arc<FinalizedBlock>>,
) -> Engine {
    let committee = genesis.committee();
    let namespace = [b"surety/p2p/v1".as_slice(), &committee.namespace()].concat();
    let handshake = Cups::<_, ChaCha20Poly1305>::new(
        Sake {
            signer: keys.peer().clone(),
            synchrony_bound: Duration::from_secs(5),
            max_handshake_age: Duration::from_secs(10),
            version: sake::Version::V1,
        },
        cups::Version::V1,
    );
    let most = NonZeroUsize::new(config.peer_count()).unwrap_or(NonZeroUsize::MIN);
    let (size, mailbox) = (engine::max_message_size(), NZUsize!(1_024));
    let mut network = if config.local {
        lookup::Config::local(handshake, &namespace, config.listen, most, size, mailbox)
    } else {
        lookup::Config::recommended(handshake, &namespace, config.listen, most, size, mailbox)
    };
    // One set, because there is one epoch; each more multiplies the mailboxes' memory.
    network.tracked_peer_sets = NZUsize!(1);
    let (mut network, mut oracle) = lookup::Network::new(context.child("network"), network);
    oracle.track(0, peer_set(config, &committee, keys));
    let quota = Quota::per_second(NonZeroU32::new(config.resources.quota).unwrap_or(NZU32!(512)));
    let channels = Channels {
        votes: network.register(0, quota),
        certificates: network.register(1, quota),
        resolver: network.register(2, quota),
        backfill: network.register(3, quota),
        broadcast: network.register(4, quota),
        sync: network.register(5, quota),
        probe: network.register(6, quota),
        transactions: network.register(7, quota),
    };
    let network = network.start();
    let settings = EngineConfig {
        me: keys.peer().public_key(),
        scheme,
        genesis,
        prefix: String::new(),
        pacing: config.pacing,
        limits: config.mempool,
        retention: config.retention,
        state_sync: config.state_sync,
        cache_bytes: config.resources.cache_mb << 20,
        live_rows: config.resources.live_rows,
    };
    let mut engine =
        engine::start(context.child("engine"), settings, oracle.clone(), oracle, channels, Some(archive)).await;
    engine.actors.push(network);
    engine
}

/// The committee as primary peers, all others as secondary.
fn peer_set(
    config: &NodeConfig,
    committee: &Committee,
    keys: &NodeKeys,
) -> AddressableTrackedPeers<commonware_cryptography::ed25519::PublicKey> {
    let own = (keys.peer_id(), config.listen);
    let all = config.peers.iter().map(|peer| (peer.key, peer.address)).chain([own]);
    let (mut seats, mut others) = (Vec::new(), Vec::new());
    for (key, address) in all {
        // Checked with the configuration.
        let Some(peer) = public_key(&key.0) else { continue };
        let has_seat = committee.seats.iter().any(|seat| seat.peer == key);
        let list = if has_seat { &mut seats } else { &mut others };
        list.push((peer, Address::from(address)));
    }
    AddressableTrackedPeers::new(Map::from_iter_dedup(seats), Map::from_iter_dedup(others))
}
