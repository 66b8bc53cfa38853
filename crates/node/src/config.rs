//! The node's configuration file (TOML), read whole and refused whole.

use std::fs;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use surety_ledger::Genesis;
use surety_primitives::header::MAX_SEATS;
use surety_primitives::typed_data::Bytes32;

use crate::block::public_key;
use crate::chain::Pacing;
use crate::engine::{Retention, mailbox_bytes};
use crate::mempool::Limits;

/// Most peers beside the seats: nodes that follow.
pub const MAX_FOLLOWERS: usize = 64;

/// Everything that an operator decides. Paths are relative to the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Folder of the state. One node a folder, one folder a node.
    pub folder: PathBuf,
    /// Folder of the keys; on another disk if the state's may be wiped.
    pub keys: PathBuf,
    /// The chain specification, JSON.
    pub chain: PathBuf,
    /// Where peers connect.
    pub listen: SocketAddr,
    /// Where the HTTP API listens; none if it is not to run.
    #[serde(default)]
    pub api: Option<SocketAddr>,
    /// Whether this is a network on one machine: private addresses are allowed and handshakes hardly limited.
    #[serde(default)]
    pub local: bool,
    /// Whether an empty folder starts from a recent state of the peers instead of from block 1. Not for the seats of a
    /// network that starts: each would wait for the others.
    #[serde(default)]
    pub state_sync: bool,
    /// Every other node: all seats, and those that follow.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Block intervals.
    #[serde(default)]
    pub pacing: Pacing,
    /// Bounds of the pool.
    #[serde(default)]
    pub mempool: Limits,
    /// What is kept.
    #[serde(default)]
    pub retention: Retention,
    /// Memory and threads.
    #[serde(default)]
    pub resources: Resources,
    /// Bounds of the HTTP API.
    #[serde(default)]
    pub limits: crate::api::Limits,
    /// Whether anyone may ask the API for an audit, which reads the whole state.
    #[serde(default)]
    pub audit: bool,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its network identity.
    pub key: Bytes32,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What the node may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Threads for everything but blocking work, 1 to 256.
    pub threads: usize,
    /// Megabytes of the stores' cache, 8 to 65 536.
    pub cache_mb: usize,
    /// Rows for which opening the store should be quick; 40 B of memory each while it opens.
    pub live_rows: NonZeroUsize,
    /// Messages a second and peer on each channel, 64 to 4 096.
    pub quota: u32,
    /// Most megabytes that the network's mailboxes may come to, by count of messages.
    pub mailbox_mb: u64,
    /// Receipts are kept for this many blocks.
    pub receipt_blocks: u64,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            threads: 4,
            cache_mb: 64,
            live_rows: NonZeroUsize::MIN.saturating_add(1 << 20),
            quota: 512,
            mailbox_mb: 512,
            receipt_blocks: 100_000,
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {message}")]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What the parser says.
        message: String,
    },
    /// A number is out of its range.
    #[error("{0} is out of range")]
    Range(&'static str),
    /// A peer's key is no key, or one is listed twice.
    #[error("peer {0} is listed twice or has a key that is not valid")]
    Peer(Bytes32),
    /// A seat of the committee is not among the peers.
    #[error("the seat {0} is not among the peers")]
    MissingSeat(Bytes32),
    /// Too many peers.
    #[error("{0} peers are more than {most}", most = MAX_SEATS + MAX_FOLLOWERS)]
    TooManyPeers(usize),
    /// The network's mailboxes would need too much memory.
    #[error("mailboxes for {peers} peers at {quota} messages/s may take {needed} bytes, {allowed} are allowed")]
    Memory {
        /// Peers, this node included.
        peers: usize,
        /// Messages a second.
        quota: u32,
        /// Bytes that they may take.
        needed: u64,
        /// Bytes allowed.
        allowed: u64,
    },
    /// The chain specification cannot run.
    #[error("the chain specification: {0}")]
    Chain(#[from] surety_ledger::genesis::Error),
}

impl NodeConfig {
    /// Reads a file; relative paths in it are taken from its folder.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let mut config: Self = toml::from_str(&text)
            .map_err(|error| ConfigError::Malformed { path: path.to_owned(), message: error.to_string() })?;
        let base = path.parent().unwrap_or(Path::new("."));
        for relative in [&mut config.folder, &mut config.keys, &mut config.chain] {
            *relative = base.join(&*relative);
        }
        Ok(config)
    }

    /// Reads the chain specification that the configuration names.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load_chain(&self) -> Result<Genesis, ConfigError> {
        let text = read(&self.chain)?;
        let genesis: Genesis = serde_json::from_str(&text)
            .map_err(|error| ConfigError::Malformed { path: self.chain.clone(), message: error.to_string() })?;
        genesis.check()?;
        Ok(genesis)
    }

    /// Refuses what would not run, or only until memory is gone.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn check(&self, genesis: &Genesis, me: &Bytes32) -> Result<(), ConfigError> {
        let ranges = [
            ("pacing", self.pacing.is_valid()),
            ("resources.threads", (1..=256).contains(&self.resources.threads)),
            ("resources.cache_mb", (8..=65_536).contains(&self.resources.cache_mb)),
            ("resources.quota", (64..=4_096).contains(&self.resources.quota)),
            ("resources.receipt_blocks", self.resources.receipt_blocks > 0),
            ("retention.interval", self.retention.interval > 0),
            ("retention.blocks", self.retention.blocks >= self.retention.operations),
            ("mempool.transactions", self.mempool.transactions > 0 && self.mempool.per_account > 0),
        ];
        if let Some((name, _)) = ranges.into_iter().find(|(_, holds)| !holds) {
            return Err(ConfigError::Range(name));
        }
        self.check_peers(genesis, me)?;
        let (peers, quota) = (self.peer_count(), self.resources.quota);
        let (needed, allowed) = (mailbox_bytes(quota, peers), self.resources.mailbox_mb << 20);
        if needed > allowed {
            return Err(ConfigError::Memory { peers, quota, needed, allowed });
        }
        Ok(())
    }

    /// Nodes of the network, this one included.
    #[must_use]
    pub fn peer_count(&self) -> usize {
        self.peers.len().saturating_add(1)
    }

    fn check_peers(&self, genesis: &Genesis, me: &Bytes32) -> Result<(), ConfigError> {
        if self.peers.len() > MAX_SEATS + MAX_FOLLOWERS {
            return Err(ConfigError::TooManyPeers(self.peers.len()));
        }
        for (i, peer) in self.peers.iter().enumerate() {
            let twice = peer.key == *me || self.peers.iter().take(i).any(|other| other.key == peer.key);
            if twice || public_key(&peer.key.0).is_none() {
                return Err(ConfigError::Peer(peer.key));
            }
        }
        let listed = |key: &Bytes32| key == me || self.peers.iter().any(|peer| peer.key == *key);
        match genesis.committee().seats.iter().find(|seat| !listed(&seat.peer)) {
            Some(seat) => Err(ConfigError::MissingSeat(seat.peer)),
            None => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::File { path: path.to_owned(), source })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use surety_ledger::genesis::GenesisOperator;
    use surety_ledger::operators::Profile;
    use surety_primitives::bls::BlsSecret;
    use surety_primitives::{Address, CALL, NetworkId};

    use crate::keys::NodeKeys;

    fn peer(number: u8) -> Bytes32 {
        NodeKeys::from_seeds(&[number; 32], None).unwrap().peer_id()
    }

    fn genesis() -> Genesis {
        let secret = BlsSecret::from_bytes(&[5; 32]).unwrap();
        let operator = GenesisOperator {
            account: Address::repeat_byte(1),
            peer: peer(1),
            bls_key: secret.key(),
            possession: secret.prove_possession(b"unused"),
            weight: CALL,
            profile: Profile { name: String::new(), url: String::new(), gateway: String::new() },
        };
        Genesis {
            network: NetworkId(7),
            time_ms: 0,
            balances: Vec::new(),
            operators: vec![operator],
            params: surety_ledger::params::Params::default(),
        }
    }

    fn config(extra: &str) -> NodeConfig {
        let text = format!(
            "folder = 'state'\nkeys = 'keys'\nchain = 'chain.json'\nlisten = '127.0.0.1:0'\n{extra}\n\
             [[peers]]\nkey = '{}'\naddress = '127.0.0.1:1'\n",
            peer(1)
        );
        toml::from_str(&text).unwrap()
    }

    #[test]
    fn defaults_run_and_a_file_is_read_relative_to_itself() {
        assert!(config("").check(&genesis(), &peer(2)).is_ok());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        fs::write(&path, "folder = 'a'\nkeys = '/k'\nchain = 'c'\nlisten = '127.0.0.1:0'\n").unwrap();
        let loaded = NodeConfig::load(&path).unwrap();
        assert_eq!((loaded.folder, loaded.keys), (folder.path().join("a"), PathBuf::from("/k")));
        fs::write(&path, "folder = 'a'\nkyes = 'k'\n").unwrap();
        assert!(matches!(NodeConfig::load(&path), Err(ConfigError::Malformed { .. })));
        assert!(matches!(NodeConfig::load(&folder.path().join("none")), Err(ConfigError::File { .. })));
    }

    #[test]
    fn mailboxes_above_the_bound_are_refused() {
        let greedy = config("[resources]\nquota = 4096\nmailbox_mb = 16\n");
        assert!(matches!(greedy.check(&genesis(), &peer(2)), Err(ConfigError::Memory { quota: 4096, peers: 2, .. })));
    }

    #[test]
    fn numbers_and_peers_out_of_range_are_refused() {
        for extra in [
            "[pacing]\nmin_interval_ms = 0\n",
            "[pacing]\nmin_interval_ms = 500\nidle_interval_ms = 400\n",
            "[resources]\nthreads = 0\n",
            "[resources]\nquota = 1\n",
            "[retention]\nblocks = 1\noperations = 2\n",
        ] {
            assert!(matches!(config(extra).check(&genesis(), &peer(2)), Err(ConfigError::Range(_))), "{extra}");
        }
        assert!(matches!(config("").check(&genesis(), &peer(1)), Err(ConfigError::Peer(_))), "itself as a peer");
        let mut alone = config("");
        alone.peers.clear();
        assert!(matches!(alone.check(&genesis(), &peer(2)), Err(ConfigError::MissingSeat(_))));
    }
}
