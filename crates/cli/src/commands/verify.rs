//! `surety verify`: check what somebody else hands over, trusting nobody and asking nobody.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use surety_client::LightClient;
use surety_evm::{Chain, Remote, RemoteConfig};
use surety_security::SERVICES;
use surety_security::service::Request;

use super::check::history;
use super::lists::FOLDER;
use crate::devnet::{DEFAULT_FOLDER, Layout};
use crate::files::{AnswerFile, GrantFile, ReceiptFile, VerdictFile};
use crate::output::{Failure, Output};
use crate::settings::{read_json, read_trust};

/// Checks files offline, from a trust root that you name. Exit code 0: it holds; 1: it does not, with the reason.
#[derive(Debug, clap::Subcommand)]
#[command(
    after_help = "Example:\n  surety buy 1 --account dev:consumer --save grant.json\n  surety verify grant grant.json"
)]
pub(crate) enum Command {
    /// A purchase with its proof (what `surety buy --save` writes).
    Grant(Arguments),
    /// An answer with its request and its key's proof (what `surety call --save` writes).
    Answer(Arguments),
    /// A transaction with its block (what `surety buy --save-receipt` writes).
    Receipt(Arguments),
    /// A security service's answer, computed again from its own evidence (what `surety check --save` writes).
    Verdict(Recompute),
}

/// What is computed again, from what.
#[derive(Debug, clap::Args)]
pub(crate) struct Recompute {
    /// The file, or - for standard input.
    file: PathBuf,
    /// The folder with the lists that the answer cites.
    #[arg(long, default_value = FOLDER)]
    folder: PathBuf,
    /// A node of your own: is the state that the answer rests on the chain's? Without it, only the conclusion is checked.
    #[arg(long, env = "SURETY_RPC")]
    rpc: Option<String>,
}

/// What is checked, against what.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file, or - for standard input.
    file: PathBuf,
    /// What to trust: a chain specification or a committee (JSON) [default: the devnet's specification].
    #[arg(long, env = "SURETY_TRUST")]
    trust: Option<PathBuf>,
}

impl Arguments {
    fn light(&self) -> Result<LightClient> {
        let trust = match &self.trust {
            Some(path) => path.clone(),
            None => Layout::load(Path::new(DEFAULT_FOLDER)).map(|layout| layout.genesis).map_err(|_| {
                Failure::environment("what is trusted? Name a chain specification or a committee with --trust FILE")
            })?,
        };
        // What is checked may be old: no bound on its age.
        Ok(LightClient::new(read_trust(&trust)?, None))
    }
}

pub(crate) fn run(command: Command, output: &Output) -> Result<()> {
    match command {
        Command::Verdict(arguments) => recompute(&arguments, output),
        Command::Grant(arguments) => {
            let file: GrantFile = read_json(&arguments.file)?;
            let purchase = file.verify(&arguments.light()?).context("the grant does not hold")?;
            let header = &file.row.header;
            let (height, left) = (header.height, purchase.quota.saturating_sub(purchase.claimed));
            tell(output, "grant", &purchase, json!({"purchase": file.purchase, "height": height}), || {
                format!(
                    "the grant holds: {} of {} calls of service {} are unclaimed, until {}, as of block {height}",
                    left, purchase.quota, purchase.service, purchase.expires
                )
            })
        }
        Command::Answer(arguments) => {
            let file: AnswerFile = read_json(&arguments.file)?;
            let answer = file.verify(&arguments.light()?).context("the answer does not hold")?;
            let roots: Vec<String> =
                answer.basis.datasets().iter().map(|set| format!("{} version {}", set.id, set.version)).collect();
            let basis =
                if roots.is_empty() { "no dataset".to_owned() } else { format!("dataset {}", roots.join(", ")) };
            tell(output, "answer", &answer, json!({}), || {
                format!("the answer holds: status {} at {}, resting on {basis}", answer.status, answer.time)
            })
        }
        Command::Receipt(arguments) => {
            let file: ReceiptFile = read_json(&arguments.file)?;
            let transaction = file.verify(&arguments.light()?).context("the receipt does not hold")?;
            let (hash, height) = (transaction.hash(), file.block.header.height);
            let failure = &file.receipt.failure;
            // Not its message: that is one node's words, which no block commits to.
            let refused = failure.as_ref().map(|failure| json!({"code": failure.code, "name": failure.name}));
            let more = json!({"hash": hash, "height": height, "succeeded": failure.is_none(),
                "failure": refused, "events": file.receipt.events});
            tell(output, "receipt", transaction.transaction(), more, || {
                let (name, signer) = (transaction.transaction().action.name(), transaction.signer());
                let outcome = match failure {
                    None => "was done".to_owned(),
                    Some(failure) => format!("was refused ({} {})", failure.code, failure.name),
                };
                format!("the receipt holds: {name} by {signer} stands in final block {height} and {outcome}")
            })
        }
    }
}

fn recompute(arguments: &Recompute, output: &Output) -> Result<()> {
    let file: VerdictFile = read_json(&arguments.file)?;
    let service = SERVICES.iter().copied().find(|service| service.name() == file.service);
    let service = service.with_context(|| format!("there is no service {}", file.service))?;
    let lists = super::check::lists(&arguments.folder, output)?;
    let request =
        Request { segment: file.segment, query: file.query, body: file.body.into_bytes(), ..Request::default() };
    let computed = surety_security::verify::recompute(service, &lists, &request, file.answer.as_bytes())
        .context("the answer does not hold")?;
    let mut of_the_chain = None;
    if let (Some(url), Some(replay)) = (&arguments.rpc, &computed.replay) {
        let remote = Remote::connect(&RemoteConfig::new(url))
            .map_err(|error| Failure::environment(format!("{url}: {error}")))?;
        let mut node: Arc<dyn Chain> = Arc::new(remote);
        if let Some(past) = &replay.past {
            node = tokio::task::block_in_place(|| history::read(node, url, past.from_block, output))?;
        }
        surety_security::verify::reread(replay, &node).context("the answer does not rest on this chain's state")?;
        of_the_chain = Some(replay.head.number);
    }
    let more = json!({"service": service.name(), "standing": computed.standing, "state_of_block": of_the_chain});
    tell(output, "digest", &computed.digest, more, || {
        let state = match (of_the_chain, &computed.replay) {
            (Some(block), _) => format!("; the node has the same state at block {block}"),
            (None, Some(replay)) => {
                format!(
                    "; the state of block {} is taken from the answer: compare it with --rpc URL",
                    replay.head.number
                )
            }
            (None, None) => String::new(),
        };
        format!("the answer holds: computed again, {} comes to digest {}{state}", service.name(), computed.digest)
    })
}

fn tell<T: Serialize>(
    output: &Output,
    kind: &str,
    subject: &T,
    mut more: Value,
    text: impl FnOnce() -> String,
) -> Result<()> {
    more["valid"] = true.into();
    more[kind] = serde_json::to_value(subject)?;
    output.result(&more, text)
}
