//! `surety verify`: check what somebody else hands over, trusting nobody and asking nobody.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Value, json};
use surety_client::LightClient;

use crate::devnet::{DEFAULT_FOLDER, Layout};
use crate::files::{AnswerFile, GrantFile, ReceiptFile};
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
