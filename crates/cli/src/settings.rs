//! Which network, which trust root, which account: the flags that most commands share.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use surety_client::{Client, Keystore, LightClient, LightReader, Options, Sender};
use surety_ledger::Genesis;
use surety_primitives::header::Committee;
use surety_primitives::wallet::AccountKey;
use surety_primitives::{Address, NetworkId};
use zeroize::Zeroizing;

use crate::devnet::{DEFAULT_FOLDER, Layout, NETWORK};
use crate::output::Failure;

/// Where encrypted account keys lie unless another folder is named.
pub(crate) const KEYSTORE: &str = ".surety/keys";
/// Accounts of a devnet are named with this before their label; their keys are public.
const DEV: &str = "dev:";
/// Headers older than this are not believed to be the newest.
const MAX_AGE: Duration = Duration::from_secs(120);
/// How long an action may take until it is final.
pub(crate) const FINAL: Duration = Duration::from_secs(30);

/// The network that a command talks to.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct NetworkArguments {
    /// A node's HTTP API; several are tried in turn [default: those of the devnet].
    #[arg(long = "node", env = "SURETY_NODE", value_delimiter = ',')]
    nodes: Vec<String>,
    /// What to trust: a chain specification or a committee (JSON) [default: the devnet's specification].
    #[arg(long, env = "SURETY_TRUST")]
    trust: Option<PathBuf>,
    /// The devnet whose files to use where the two above are not given.
    #[arg(long, env = "SURETY_DEVNET", default_value = DEFAULT_FOLDER)]
    devnet: PathBuf,
}

/// The account that signs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct AccountArguments {
    /// The signing account: an address of the keystore, or `dev:<label>` on a devnet.
    #[arg(long, env = "SURETY_ACCOUNT")]
    account: String,
    /// Folder of the encrypted keys.
    #[arg(long, env = "SURETY_KEYSTORE", default_value = KEYSTORE)]
    keystore: PathBuf,
    /// File with the keystore's password; its first line counts.
    #[arg(long, env = "SURETY_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
}

/// A network, as far as one account sees it.
pub(crate) struct Session {
    /// Believes the node.
    pub client: Client,
    /// Believes proofs.
    pub light: LightReader,
    /// The network's id.
    pub network: NetworkId,
}

impl NetworkArguments {
    /// The nodes' addresses.
    pub(crate) fn urls(&self) -> Result<Vec<String>> {
        if self.nodes.is_empty() { Ok(self.layout()?.urls) } else { Ok(self.nodes.clone()) }
    }

    /// The committee that is trusted.
    pub(crate) fn committee(&self) -> Result<Committee> {
        match &self.trust {
            Some(path) => read_trust(path),
            None => read_trust(&self.layout()?.genesis),
        }
    }

    /// Everything a command needs to ask the network.
    pub(crate) fn session(&self) -> Result<Session> {
        let client = Client::new(&self.urls()?, Options::default())?;
        let committee = self.committee()?;
        let network = committee.network;
        let light = LightReader::new(client.clone(), LightClient::new(committee, Some(MAX_AGE)));
        Ok(Session { client, light, network })
    }

    fn layout(&self) -> Result<Layout> {
        let hint = "start one with `surety devnet`, or name a network with --node and --trust";
        Layout::load(&self.devnet).map_err(|error| Failure::environment(format!("{error:#}; {hint}")).into())
    }
}

impl AccountArguments {
    /// The key, unlocked.
    pub(crate) fn key(&self) -> Result<AccountKey> {
        unlock(&self.account, &self.keystore, self.password_file.as_deref())
    }

    /// Signs and sends for this account.
    pub(crate) fn sender(&self, session: &Session) -> Result<Sender> {
        if self.account.starts_with(DEV) && session.network != NETWORK {
            let reason = format!("the key of {} is public, and {} is no devnet", self.account, session.network);
            return Err(Failure::environment(reason).into());
        }
        Ok(Sender::new(session.client.clone(), self.key()?, session.network))
    }
}

/// The key of `account`: `dev:<label>`, or an address of the keystore.
pub(crate) fn unlock(account: &str, keystore: &Path, password_file: Option<&Path>) -> Result<AccountKey> {
    if let Some(label) = account.strip_prefix(DEV) {
        return Ok(AccountKey::from_label(label));
    }
    let address: Address = account
        .parse()
        .map_err(|_| Failure::environment(format!("'{account}' is neither an address nor dev:<label>")))?;
    let password = password(password_file)?;
    let store = Keystore::open(keystore, surety_client::wallet::Cost::default())?;
    Ok(store.unlock(&address, &password)?)
}

/// The account behind a name, without its key.
pub(crate) fn address(account: &str) -> Result<Address> {
    match account.strip_prefix(DEV) {
        Some(label) => Ok(AccountKey::from_label(label).address()),
        None => account.parse().with_context(|| format!("'{account}' is neither an address nor dev:<label>")),
    }
}

/// The keystore's password: from a file or SURETY_PASSWORD. An empty one protects nothing.
pub(crate) fn password(file: Option<&Path>) -> Result<Zeroizing<String>> {
    let password = given_password(file)?;
    if password.is_empty() {
        return Err(Failure::environment("the password is empty").into());
    }
    Ok(password)
}

fn given_password(file: Option<&Path>) -> Result<Zeroizing<String>> {
    if let Some(path) = file {
        let text = Zeroizing::new(
            std::fs::read_to_string(path).with_context(|| format!("cannot read the password in {}", path.display()))?,
        );
        return Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned()));
    }
    std::env::var("SURETY_PASSWORD").map(Zeroizing::new).map_err(|_| {
        Failure::environment("a password is needed: --password-file FILE, or SURETY_PASSWORD in the environment").into()
    })
}

/// A committee from a chain specification or from a committee's own JSON.
pub(crate) fn read_trust(path: &Path) -> Result<Committee> {
    let text = std::fs::read(path)
        .map_err(|error| Failure::environment(format!("cannot read the trust root {}: {error}", path.display())))?;
    if let Ok(genesis) = serde_json::from_slice::<Genesis>(&text) {
        genesis.check().with_context(|| format!("{}: not a valid chain specification", path.display()))?;
        return Ok(genesis.committee());
    }
    serde_json::from_slice(&text)
        .with_context(|| format!("{}: neither a chain specification nor a committee", path.display()))
}

/// Reads a JSON file, or standard input for `-`.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?
    } else {
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
    };
    serde_json::from_str(&text).with_context(|| format!("{} is not what was expected", path.display()))
}

/// Milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}
