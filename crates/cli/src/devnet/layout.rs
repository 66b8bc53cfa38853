//! The files of a network on one machine: specification, keys, a configuration a node.
//!
//! Every secret here follows from a public label, so that demos and tests repeat; the network id says that nothing on it
//! has a value.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use surety_ledger::Genesis;
use surety_ledger::genesis::{Balance, GenesisOperator};
use surety_ledger::operators::{Profile, possession_namespace};
use surety_ledger::params::Params;
use surety_node::NodeConfig;
use surety_node::config::{Peer, Resources};
use surety_node::keys::NodeKeys;
use surety_primitives::bls::BlsSecret;
use surety_primitives::wallet::AccountKey;
use surety_primitives::{Amount, Hash32, NetworkId, hash};

use crate::output::Failure;

/// The network id of every devnet.
pub(crate) const NETWORK: NetworkId = NetworkId(1_337);
/// Where a devnet lies unless another folder is named.
pub(crate) const DEFAULT_FOLDER: &str = ".surety/devnet";
const NETWORK_FILE: &str = "network.json";
const GENESIS_FILE: &str = "genesis.json";

/// What a devnet is to be.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where its files go.
    pub folder: PathBuf,
    /// Operators, 1 to 64.
    pub operators: usize,
    /// First port of the HTTP APIs; free ones are chosen if absent.
    pub port: Option<u16>,
    /// Accounts beside the usual ones that get 1,000 CALL each, by label.
    pub accounts: Vec<String>,
    /// Parameters.
    pub params: Params,
}

/// A devnet that exists on disk.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Layout {
    /// Where its files are.
    pub folder: PathBuf,
    /// The HTTP API of each operator.
    pub urls: Vec<String>,
    /// The configuration file of each operator.
    pub configs: Vec<PathBuf>,
    /// The chain specification.
    pub genesis: PathBuf,
}

/// Labels of the accounts that every devnet has, each with 1,000,000 CALL.
pub(crate) const ACCOUNTS: [&str; 4] = ["provider", "consumer", "reporter", "faucet"];

impl Layout {
    /// Reads the devnet in `folder`.
    pub(crate) fn load(folder: &Path) -> Result<Self> {
        let path = folder.join(NETWORK_FILE);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("no devnet in {}: start one with `surety devnet`", folder.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is not a devnet's file", path.display()))
    }

    /// Whether there is one in `folder`.
    pub(crate) fn exists(folder: &Path) -> bool {
        folder.join(NETWORK_FILE).exists()
    }

    /// Whether `folder` holds a devnet, or what is left of an attempt to make one.
    pub(crate) fn is_begun(folder: &Path) -> bool {
        Self::exists(folder) || folder.join(GENESIS_FILE).exists()
    }

    /// Keeps a second supervisor from the folder for as long as the file is held.
    pub(crate) fn lock(folder: &Path) -> Result<fs::File> {
        let path = folder.join("lock");
        let file = fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(fs::TryLockError::WouldBlock) => {
                let reason = format!("another devnet runs in {}: end it, or name another folder", folder.display());
                Err(Failure::environment(reason).into())
            }
            Err(fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }

    /// Writes a new devnet.
    pub(crate) fn create(plan: &Plan) -> Result<Self> {
        let folder = std::path::absolute(&plan.folder).context("the folder has no absolute path")?;
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        let members: Vec<Member> = (0..plan.operators).map(Member::new).collect::<Result<_>>()?;
        // Before anything is written: a refused plan leaves nothing behind.
        let peers = free_addresses(plan.operators, None)?;
        let apis = free_addresses(plan.operators, plan.port)?;
        let genesis_file = folder.join(GENESIS_FILE);
        let genesis = genesis(plan, &members)?;
        genesis.check().context("the chain specification is not valid")?;
        write(&genesis_file, &serde_json::to_vec_pretty(&genesis)?)?;

        let mut configs = Vec::new();
        for (i, member) in members.iter().enumerate() {
            let home = folder.join(format!("node-{i}"));
            let others = members.iter().zip(&peers).enumerate().filter(|(j, _)| *j != i);
            let config = NodeConfig {
                folder: "state".into(),
                keys: "keys".into(),
                chain: genesis_file.clone(),
                listen: peers[i],
                api: Some(apis[i]),
                local: true,
                state_sync: false,
                peers: others.map(|(_, (m, address))| Peer { key: m.keys.peer_id(), address: *address }).collect(),
                pacing: surety_node::chain::Pacing::default(),
                mempool: surety_node::mempool::Limits::default(),
                retention: surety_node::engine::Retention::default(),
                resources: Resources { threads: 2, ..Resources::default() },
                limits: surety_node::api::Limits { exempt_loopback: true, ..Default::default() },
                audit: true,
            };
            member.keys.save(&home.join("keys"))?;
            let file = home.join("node.toml");
            write(&file, toml::to_string_pretty(&config)?.as_bytes())?;
            configs.push(file);
        }
        let urls = apis.iter().map(|address| format!("http://{address}")).collect();
        let layout = Self { folder, urls, configs, genesis: genesis_file };
        write(&layout.folder.join(NETWORK_FILE), &serde_json::to_vec_pretty(&layout)?)?;
        Ok(layout)
    }

    /// The chain specification.
    pub(crate) fn genesis(&self) -> Result<Genesis> {
        let text = fs::read(&self.genesis).with_context(|| format!("cannot read {}", self.genesis.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no specification", self.genesis.display()))
    }

    /// Where operator `i` writes its log.
    pub(crate) fn log(&self, i: usize) -> PathBuf {
        self.folder.join(format!("node-{i}")).join("node.log")
    }
}

/// One operator's keys.
struct Member {
    keys: NodeKeys,
    bls: BlsSecret,
    account: AccountKey,
}

impl Member {
    fn new(i: usize) -> Result<Self> {
        let seed =
            |what: &str| -> Hash32 { hash::h("surety/devnet/v1", &[what.as_bytes(), &(i as u64).to_be_bytes()]) };
        let bls = BlsSecret::generate(&seed("seat").0)?;
        let keys = NodeKeys::from_seeds(&seed("peer").0, Some(&bls.to_secret_bytes()));
        let keys = keys.context("a hash is a usable network key")?;
        Ok(Self { keys, bls, account: AccountKey::from_label(&format!("operator-{i}")) })
    }
}

fn genesis(plan: &Plan, members: &[Member]) -> Result<Genesis> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let namespace = possession_namespace(NETWORK);
    let operators = members
        .iter()
        .enumerate()
        .map(|(i, member)| GenesisOperator {
            account: member.account.address(),
            peer: member.keys.peer_id(),
            bls_key: member.bls.key(),
            possession: member.bls.prove_possession(&namespace),
            weight: Amount::call(10_000),
            profile: Profile { name: format!("Operator {i}"), url: String::new(), gateway: String::new() },
        })
        .collect();
    let funded = |label: &str, call: u64| Balance {
        account: AccountKey::from_label(label).address(),
        amount: Amount::call(call),
    };
    let usual = ACCOUNTS.iter().map(|label| funded(label, 1_000_000));
    let further = plan.accounts.iter().map(|label| funded(label, 1_000));
    Ok(Genesis {
        network: NETWORK,
        time_ms: u64::try_from(now.as_millis()).context("the clock is far off")?,
        balances: usual.chain(further).collect(),
        operators,
        params: plan.params.clone(),
    })
}

/// Free loopback addresses: from `first` on, or wherever the system has some.
fn free_addresses(count: usize, first: Option<u16>) -> Result<Vec<SocketAddr>> {
    if let Some(first) = first {
        let port = |i: usize| u16::try_from(i).ok().and_then(|i| first.checked_add(i)).context("the ports pass 65,535");
        return (0..count).map(|i| Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, port(i)?)))).collect();
    }
    // All are held until the last is known, so that no port comes twice.
    let held: Vec<TcpListener> = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<_>>()
        .context("no free port on 127.0.0.1")?;
    held.iter().map(|listener| listener.local_addr().context("a listener has an address")).collect()
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
