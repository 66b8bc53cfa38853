//! A network of nodes in one process, and what was seen of their chains.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use commonware_codec::{Copying, DecodeExt as _};
use commonware_cryptography::ed25519::PublicKey;
use commonware_macros::select;
use commonware_p2p::simulated::{self, Control, Link, Manager, Network, Oracle};
use commonware_runtime::deterministic::{self, Context};
use commonware_runtime::{Clock as _, Handle, Quota, Spawner as _, Supervisor as _};
use commonware_utils::sync::Mutex;
use commonware_utils::{NZU32, NZUsize, probability};
use rand_core::Rng as _;
use surety_ledger::bank::Transfer;
use surety_ledger::genesis::{Balance, GenesisOperator};
use surety_ledger::operators::{Profile, possession_namespace};
use surety_ledger::{Genesis, Transaction};
use surety_node::NodeHandle;
use surety_node::chain::Pacing;
use surety_node::engine::{self, Channels, EngineConfig, Retention};
use surety_node::mempool::Limits;
use surety_node::{keys, scheme};
use surety_primitives::bls::BlsSecret;
use surety_primitives::header::Committee;
use surety_primitives::wallet::AccountKey;
use surety_primitives::{Amount, CALL, Hash32, NetworkId, Seconds};

pub(crate) const SEATS: usize = 4;
/// One more node that follows.
pub(crate) const NODES: usize = 5;
const START: Duration = Duration::from_secs(1_700_000_000);
const QUOTA: Quota = Quota::per_second(NZU32!(512));

type Sent = simulated::Sender<PublicKey, Context>;
type Received = simulated::Receiver<PublicKey>;
pub(crate) type Net = Oracle<PublicKey, Context>;

/// (digest, state root) of each height, as every node in each of its lives saw it.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<BTreeMap<u64, (Hash32, Hash32)>>>);

impl Seen {
    /// Notes a final block; another digest or root at the same height ends the test.
    fn note(&self, height: u64, digest: Hash32, root: Hash32, node: usize) {
        let first = *self.0.lock().entry(height).or_insert((digest, root));
        assert_eq!(first, (digest, root), "node {node} differs at height {height}");
    }

    pub(crate) fn heights(&self) -> usize {
        self.0.lock().len()
    }

    /// The whole chain that was seen.
    pub(crate) fn chain(&self) -> BTreeMap<u64, (Hash32, Hash32)> {
        self.0.lock().clone()
    }
}

/// Network key and consensus key of a node, by number. Nodes above the seats have no consensus key that counts.
fn node_keys(node: usize) -> keys::NodeKeys {
    let (peer, seat) = ([node as u8 + 1; 32], [node as u8 + 11; 32]);
    keys::NodeKeys::from_seeds(&peer, Some(&seat)).unwrap()
}

pub(crate) fn peer(node: usize) -> PublicKey {
    PublicKey::decode(Copying(node_keys(node).peer_id().0.as_slice())).unwrap()
}

pub(crate) fn account(number: usize) -> AccountKey {
    AccountKey::from_label(&format!("account {number}"))
}

pub(crate) fn genesis() -> Genesis {
    let network = NetworkId(7);
    let operator = |node: usize| {
        let secret = BlsSecret::from_bytes(&[node as u8 + 11; 32]).unwrap();
        GenesisOperator {
            account: account(100 + node).address(),
            peer: node_keys(node).peer_id(),
            bls_key: secret.key(),
            possession: secret.prove_possession(&possession_namespace(network)),
            weight: CALL,
            profile: Profile { name: format!("node {node}"), url: String::new(), gateway: String::new() },
        }
    };
    let balance = |number| Balance { account: account(number).address(), amount: Amount(1_000 * CALL.0) };
    Genesis {
        network,
        time_ms: START.as_millis() as u64,
        balances: (0..20).map(balance).collect(),
        operators: (0..SEATS).map(operator).collect(),
        params: surety_ledger::params::Params::default(),
    }
}

pub(crate) fn committee() -> Committee {
    genesis().committee()
}

pub(crate) fn signer(node: usize) -> scheme::Scheme {
    let secret = commonware_cryptography::bls12381::primitives::group::Private::decode(Copying(
        [node as u8 + 11; 32].as_slice(),
    ))
    .unwrap();
    scheme::signer(&committee(), secret).unwrap()
}

pub(crate) fn runtime(seed: u64) -> deterministic::Config {
    deterministic::Config::new()
        .with_seed(seed)
        .with_start_time(UNIX_EPOCH + START)
        .with_timeout(Some(Duration::from_secs(600)))
}

pub(crate) fn link(latency_ms: u64, loss: bool) -> Link {
    Link {
        latency: Duration::from_millis(latency_ms),
        jitter: Duration::from_millis(latency_ms / 3),
        success_rate: if loss { probability!(0.9) } else { probability!(1.0) },
    }
}

/// Nodes of one life of the cluster.
pub(crate) struct Cluster {
    context: Context,
    pub(crate) oracle: Net,
    manager: Manager<PublicKey, Context>,
    lives: u64,
    seen: Seen,
    running: Vec<Option<(NodeHandle, Handle<()>)>>,
    broken: Vec<Arc<AtomicBool>>,
    nonces: BTreeMap<usize, u64>,
}

impl Cluster {
    pub(crate) async fn new(context: Context, seen: &Seen, link: Link) -> Self {
        let config = simulated::Config {
            max_size: engine::max_message_size(),
            max_peers_per_set: NZUsize!(NODES),
            disconnect_on_block: true,
            tracked_peer_sets: NZUsize!(1),
        };
        let peers: Vec<PublicKey> = (0..NODES).map(peer).collect();
        let (network, oracle) = Network::new_with_split_peers(
            context.child("network"),
            config,
            peers.iter().take(SEATS).cloned(),
            peers.iter().skip(SEATS).cloned(),
        )
        .await;
        network.start();
        let cluster = Self {
            manager: oracle.manager(),
            context,
            oracle,
            lives: 0,
            seen: seen.clone(),
            running: (0..NODES).map(|_| None).collect(),
            broken: (0..NODES).map(|_| Arc::default()).collect(),
            nonces: BTreeMap::new(),
        };
        for (from, to) in pairs() {
            cluster.oracle.add_link(peer(from), peer(to), link.clone()).await.unwrap();
        }
        cluster
    }

    pub(crate) async fn channels(&self, node: usize) -> Channels<Sent, Received> {
        let control: Control<PublicKey, Context> = self.oracle.control(peer(node));
        let open = async |channel| control.register(channel, QUOTA).await.unwrap();
        Channels {
            votes: open(0).await,
            certificates: open(1).await,
            resolver: open(2).await,
            backfill: open(3).await,
            broadcast: open(4).await,
            sync: open(5).await,
            probe: open(6).await,
            transactions: open(7).await,
        }
    }

    pub(crate) async fn start(&mut self, node: usize) {
        self.start_as(node, if node < SEATS { signer(node) } else { scheme::verifier(&committee()).unwrap() }, false)
            .await;
    }

    /// Starts a node. Waits until it has state, unless that takes very long.
    pub(crate) async fn start_as(&mut self, node: usize, scheme: scheme::Scheme, state_sync: bool) {
        self.lives += 1;
        let config = EngineConfig {
            me: peer(node),
            scheme,
            genesis: genesis(),
            prefix: format!("node-{node}-"),
            pacing: Pacing { min_interval_ms: 100, idle_interval_ms: 500 },
            limits: Limits::default(),
            retention: Retention { blocks: 2_000, operations: 20, interval: 8 },
            state_sync,
            cache_bytes: 1 << 20,
            live_rows: NZUsize!(1_000),
        };
        let channels = self.channels(node).await;
        let (manager, control) = (self.manager.clone(), self.oracle.control(peer(node)));
        let context = self.context.child("node").with_attribute("life", self.lives);
        let (tell, told) = futures::channel::oneshot::channel();
        let seen = self.seen.clone();
        let broken = Arc::<AtomicBool>::default();
        self.broken[node] = Arc::clone(&broken);
        let life = context.spawn(move |context| async move {
            let engine = engine::start(context.child("engine"), config, manager, control, channels, None).await;
            let mut blocks = engine.handle.subscribe();
            let _ = tell.send(engine.handle);
            // What ends the process of a real node.
            let parts = async move {
                // Which part ended first, and how, is all the same: the node is broken.
                let _first = futures::future::select_all(engine.actors).await;
                broken.store(true, Ordering::Relaxed);
            };
            let watch = async move {
                while let Ok(finalized) = blocks.recv().await {
                    let header = finalized.block.header();
                    seen.note(header.height.0, finalized.block.hash(), header.state_root, node);
                }
            };
            futures::future::join(parts, watch).await;
        });
        select! {
            handle = told => {
                if let Ok(handle) = handle {
                    self.running[node] = Some((handle, life));
                }
            },
            () = self.context.sleep(Duration::from_secs(60)) => panic!("node {node} did not start"),
        }
    }

    /// Kills a node at whatever it is doing. What it wrote and did not sync stays readable to its next life.
    pub(crate) async fn kill(&mut self, node: usize) {
        self.assert_nobody_voted_twice();
        if let Some((_, life)) = self.running[node].take() {
            life.abort();
            let _ = life.await;
        }
    }

    /// No honest seat may ever be seen with two votes, however often it was killed: its journal forbids it.
    pub(crate) fn assert_nobody_voted_twice(&self) {
        for (handle, _) in self.running.iter().flatten() {
            assert_eq!(handle.faults(), [], "a seat contradicted itself");
        }
    }

    pub(crate) fn handle(&self, node: usize) -> &NodeHandle {
        &self.running[node].as_ref().unwrap().0
    }

    /// Whether a part of the node has ended: a real one would be gone, and its supervisor would start it again.
    pub(crate) fn is_broken(&self, node: usize) -> bool {
        self.running[node].is_none() || self.broken[node].load(Ordering::Relaxed)
    }

    pub(crate) fn height(&self, node: usize) -> u64 {
        let running = self.running[node].as_ref();
        running.and_then(|(handle, _)| handle.tip()).map_or(0, |tip| tip.height.0)
    }

    pub(crate) fn highest(&self) -> u64 {
        (0..NODES).map(|node| self.height(node)).max().unwrap()
    }

    /// Waits until all these nodes are at `height`; false if that takes longer than `limit`.
    pub(crate) async fn reach(&self, nodes: &[usize], height: u64, limit: Duration) -> bool {
        let end = self.context.current() + limit;
        while !nodes.iter().all(|node| self.height(*node) >= height) {
            if self.context.current() > end {
                return false;
            }
            self.context.sleep(Duration::from_millis(50)).await;
        }
        true
    }

    pub(crate) async fn must_reach(&self, nodes: &[usize], height: u64) {
        let heights = || (0..NODES).map(|node| self.height(node)).collect::<Vec<_>>();
        assert!(self.reach(nodes, height, Duration::from_secs(60)).await, "stuck below {height}: {:?}", heights());
    }

    pub(crate) async fn sleep(&self, milliseconds: u64) {
        self.context.sleep(Duration::from_millis(milliseconds)).await;
    }

    pub(crate) fn random(&mut self, below: u64) -> u64 {
        self.context.next_u64() % below
    }

    /// The next transfer of an account, submitted to a node; the account's nonce moves on if it was taken.
    pub(crate) async fn transfer(&mut self, from: usize, to: usize, via: usize) -> Option<Hash32> {
        let nonce = self.nonces.get(&from).copied().unwrap_or(0);
        let signed = transfer(to, nonce).sign(&account(from));
        let taken = self.handle(via).submit(signed).await;
        if taken.is_ok() {
            self.nonces.insert(from, nonce + 1);
        }
        taken.ok()
    }

    /// Cuts or restores every link between two groups.
    pub(crate) async fn cut(&self, left: &[usize], right: &[usize]) {
        for (from, to) in pairs().filter(|(from, to)| across(*from, *to, left, right)) {
            let _ = self.oracle.remove_link(peer(from), peer(to)).await;
        }
    }

    pub(crate) async fn join(&self, left: &[usize], right: &[usize], link: Link) {
        for (from, to) in pairs().filter(|(from, to)| across(*from, *to, left, right)) {
            let _ = self.oracle.add_link(peer(from), peer(to), link.clone()).await;
        }
    }
}

/// The account's next nonces are asked from the state, so that a new life of the cluster can go on.
impl Cluster {
    pub(crate) async fn recall_nonces(&mut self, node: usize) {
        for number in 0..20 {
            let key = surety_ledger::bank::ACCOUNTS.key(&account(number).address());
            let (rows, _) = self.handle(node).rows(&[key]).await.unwrap();
            let row = rows[0].as_ref().and_then(|row| surety_ledger::bank::ACCOUNTS.read_row(row));
            self.nonces.insert(number, row.map_or(0, |(_, account)| account.nonce));
        }
    }
}

pub(crate) fn transfer(to: usize, nonce: u64) -> Transaction {
    Transaction {
        network: NetworkId(7),
        nonce,
        expires: Seconds(START.as_secs() + 100_000),
        fee: Amount(CALL.0 / 10),
        action: Transfer { to: account(to).address(), amount: Amount(5) }.into(),
    }
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to))).filter(|(from, to)| from != to)
}

fn across(from: usize, to: usize, left: &[usize], right: &[usize]) -> bool {
    (left.contains(&from) && right.contains(&to)) || (right.contains(&from) && left.contains(&to))
}
