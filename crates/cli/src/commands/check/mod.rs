//! `surety check`: one question to one security service, answered here and now.

pub(super) mod history;
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use surety_evm::{Chain, Remote, RemoteConfig};
use surety_primitives::Seconds;
use surety_security::service::Request;
use surety_security::{Chains, Lists, SERVICES, Service, Sources};

use super::buy::write_json;
use super::lists::{FOLDER, load};
use crate::files::VerdictFile;
use crate::output::{Failure, Output};
use crate::settings::wall_ms;

/// Asks the security services about a token, an address, a URL, a transaction or an owner's approvals.
///
/// Everything is computed here, from your lists and, where state is needed, from a node that you name. What could not be
/// found out is said to be unknown, never clean. Exit code 1 when something bad was found.
#[derive(Debug, clap::Subcommand)]
#[command(after_help = "Examples:
  surety lists build
  surety check url https://metamask-login.example/
  surety check address 0x098b716b8aaf21512996dc57eb0615e2383e2f96
  surety check token 0xdac17f958d2ee523a2206206994597c13d831ec7 --rpc http://127.0.0.1:8545 --save verdict.json
  surety verify verdict verdict.json")]
pub(crate) enum Command {
    /// What a token can do to whoever holds it: sold, taxed, paused, minted, taken (token_security).
    Token {
        /// The token's address.
        token: String,
        #[command(flatten)]
        from: From,
    },
    /// What lists, and the chain where one is named, say of an address (address_security).
    Address {
        /// The address.
        address: String,
        #[command(flatten)]
        from: From,
    },
    /// Whether a site is known, or made to be mistaken for a known one (phishing_site).
    Url {
        /// A URL or a host.
        url: String,
        #[command(flatten)]
        from: From,
    },
    /// What a transaction would do (screen).
    Tx {
        /// A signed transaction in hex; or a file with it, or with an unsigned one as for eth_sendTransaction (JSON); - is
        /// standard input.
        transaction: String,
        #[command(flatten)]
        from: From,
    },
    /// Who may spend an owner's tokens (token_approval_security).
    Approvals {
        /// The owner.
        owner: String,
        /// First block of the history that is read.
        #[arg(long, default_value_t = 0)]
        from_block: u64,
        #[command(flatten)]
        from: From,
    },
}

/// What answers rest on.
#[derive(Debug, clap::Args)]
pub(crate) struct From {
    /// The folder with names.dataset and addresses.dataset: `surety lists build` makes them.
    #[arg(long, default_value = FOLDER)]
    folder: PathBuf,
    /// A node's JSON-RPC, for what needs a chain's state.
    #[arg(long, env = "SURETY_RPC")]
    rpc: Option<String>,
    /// Believe the node, for one that gives no proofs (eth_getProof).
    #[arg(long)]
    trust_rpc: bool,
    /// The block to look at [default: the newest].
    #[arg(long)]
    block: Option<u64>,
    /// Write question, answer and evidence to a file, for `surety verify verdict`.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// A question, ready to be asked.
struct Asked {
    service: &'static str,
    segment: String,
    query: BTreeMap<String, String>,
    body: Vec<u8>,
}

pub(crate) async fn run(command: Command, output: &Output) -> Result<()> {
    // A node is read by calls that block.
    let output = *output;
    tokio::task::spawn_blocking(move || ask(command, &output)).await.context("the check ended")?
}

fn ask(command: Command, output: &Output) -> Result<()> {
    let from = match &command {
        Command::Token { from, .. }
        | Command::Address { from, .. }
        | Command::Url { from, .. }
        | Command::Tx { from, .. }
        | Command::Approvals { from, .. } => from,
    };
    let lists = lists(&from.folder, output)?;
    let chain = from.chain()?;
    let chain_id = chain.as_ref().map(|chain| chain.chain_id());
    let chain = match (&command, chain, &from.rpc) {
        (Command::Approvals { from_block, .. }, Some(chain), Some(url)) => {
            Some(history::read(chain, url, *from_block, output)?)
        }
        (_, chain, _) => chain,
    };
    let chains: Chains = chain.into_iter().map(|chain| (chain.chain_id(), chain)).collect();
    let mut asked = question(&command, chain_id)?;
    if let Some(block) = from.block {
        asked.query.insert("block".to_owned(), block.to_string());
    }
    // Evidence is shown to files and programs; people read the verdict.
    if from.save.is_some() {
        asked.query.insert("proof".to_owned(), "1".to_owned());
    }
    let body = answer(&asked, Sources::new(&lists, &chains))?;
    if let Some(path) = &from.save {
        write_json(path, &asked.file(&body))?;
    }
    tell(&asked, &body, output)
}

impl From {
    fn chain(&self) -> Result<Option<Arc<dyn Chain>>> {
        let Some(url) = &self.rpc else { return Ok(None) };
        let config =
            RemoteConfig { proofs: !self.trust_rpc, timeout: Duration::from_secs(10), ..RemoteConfig::new(url) };
        let remote = Remote::connect(&config).map_err(|error| Failure::environment(format!("{url}: {error}")))?;
        Ok(Some(Arc::new(remote)))
    }
}

/// The lists of a folder; without any, what they would say is unknown.
pub(crate) fn lists(folder: &Path, output: &Output) -> Result<Lists> {
    let part = |name: &str| {
        let path = folder.join(name);
        path.exists().then(|| load(&path)).transpose()
    };
    let (names, addresses) = (part("names.dataset")?, part("addresses.dataset")?);
    for (missing, what) in [(names.is_none(), "names"), (addresses.is_none(), "addresses")] {
        if missing {
            let place = folder.display();
            output.progress(format_args!("no dataset of {what} in {place} (`surety lists build` makes some): unknown"));
        }
    }
    Ok(Lists::new(names, addresses))
}

fn question(command: &Command, chain_id: Option<u64>) -> Result<Asked> {
    let needs_chain = || chain_id.ok_or_else(|| Failure::environment("this needs a chain: name a node with --rpc URL"));
    let asked = |service, segment: String, query: &[(&str, &str)]| Asked {
        service,
        segment,
        query: query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: Vec::new(),
    };
    Ok(match command {
        Command::Token { token, .. } => {
            asked("token_security", needs_chain()?.to_string(), &[("contract_addresses", token)])
        }
        Command::Address { address, .. } => {
            let chain_id = chain_id.map(|id| id.to_string());
            let query: Vec<_> = chain_id.iter().map(|id| ("chain_id", id.as_str())).collect();
            asked("address_security", address.clone(), &query)
        }
        Command::Url { url, .. } => asked("phishing_site", String::new(), &[("url", url)]),
        Command::Approvals { owner, .. } => {
            asked("token_approval_security", needs_chain()?.to_string(), &[("addresses", owner)])
        }
        Command::Tx { transaction, .. } => {
            let mut body = transaction_of(transaction)?;
            if let Some(id) = chain_id {
                body["chain_id"] = id.to_string().into();
            }
            Asked { body: body.to_string().into_bytes(), ..asked("screen", String::new(), &[]) }
        }
    })
}

/// A signed transaction as hex, or an unsigned one as JSON, given on the spot or in a file.
fn transaction_of(text: &str) -> Result<Value> {
    let read = match text {
        "-" => std::io::read_to_string(std::io::stdin()).context("standard input")?,
        text if text.starts_with("0x") => text.to_owned(),
        path => std::fs::read_to_string(path)
            .map_err(|error| Failure::environment(format!("cannot read {path}: {error}")))?,
    };
    let text = read.trim();
    if text.starts_with("0x") {
        return Ok(json!({"raw_tx": text}));
    }
    let unsigned: Value = serde_json::from_str(text).context("neither a signed transaction in hex nor JSON")?;
    Ok(json!({"tx": unsigned}))
}

impl Asked {
    pub(crate) fn service(&self) -> Result<&'static dyn Service> {
        let service = SERVICES.iter().copied().find(|service| service.name() == self.service);
        service.with_context(|| format!("there is no service {}", self.service))
    }

    fn request(&self) -> Request {
        let (segment, query, body) = (self.segment.clone(), self.query.clone(), self.body.clone());
        Request { segment, query, body, at: Seconds(wall_ms() / 1_000), ..Request::default() }
    }

    fn file(&self, answer: &str) -> VerdictFile {
        VerdictFile {
            service: self.service.to_owned(),
            segment: self.segment.clone(),
            query: self.query.clone(),
            body: String::from_utf8_lossy(&self.body).into_owned(),
            answer: answer.to_owned(),
        }
    }
}

fn answer(asked: &Asked, sources: Sources<'_>) -> Result<String> {
    let reply = surety_security::router::respond(asked.service()?, sources, Ok(asked.request()));
    reply.map(|reply| reply.body).map_err(|refusal| anyhow::anyhow!("{refusal}"))
}

/// GoPlus' shape for programs; sentences for people. What is bad makes the exit code 1.
fn tell(asked: &Asked, body: &str, output: &Output) -> Result<()> {
    let value: Value = serde_json::from_str(body).context("the answer is no JSON")?;
    let code = value["code"].as_u64().unwrap_or_default();
    if !(1..=2).contains(&code) {
        bail!(Failure::environment(format!("{} (code {code})", value["message"].as_str().unwrap_or("refused"))));
    }
    let found = words::explain(asked.service, &value);
    output.result(&value, || found.text())?;
    if found.is_bad() {
        return Err(crate::output::Found.into());
    }
    Ok(())
}
