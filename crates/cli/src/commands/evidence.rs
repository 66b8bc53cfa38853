//! `surety evidence`: a wrong answer, proven.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::json;
use surety_client::caller::{Log, LoggedAnswer, Objection};
use surety_ledger::market;
use surety_ledger::market::state::{DATASET_VERSIONS, PROVIDERS, SHOWN};
use surety_primitives::answer::evidence::{Contradiction, Evidence, VersionRecord};
use surety_primitives::keys::PublicKey;
use surety_primitives::typed_data::{Blob, Bytes32};
use surety_primitives::{PurchaseId, codec};
use surety_security::Dataset;

use super::buy::{CALL_KEYS, act, act_quietly, write_json};
use super::call::log_of;
use crate::output::Output;
use crate::settings::{AccountArguments, NetworkArguments, Session, read_json};

/// Finds answers that contradict the list they cite, and reports them: the ledger checks the proof and pays by itself.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Compare every answer of a call log with the dataset it cites, and write the first fault to a file.
    Find {
        /// The log that `surety call` keeps.
        #[arg(long)]
        log: PathBuf,
        /// Files of the datasets that the answers cite, as their publisher hands them out.
        #[arg(long = "dataset", required = true)]
        datasets: Vec<PathBuf>,
        /// Where the evidence goes.
        #[arg(long, default_value = "evidence.json")]
        out: PathBuf,
        #[command(flatten)]
        network: NetworkArguments,
    },
    /// Report a fault to the ledger.
    Report {
        /// The evidence (JSON): what `surety evidence find` writes.
        file: PathBuf,
        #[command(flatten)]
        account: AccountArguments,
        #[command(flatten)]
        network: NetworkArguments,
    },
    /// Contest answers that a provider shows and this side never accepted: within 48 h, or they are paid.
    Contest {
        /// The purchase.
        purchase: PurchaseId,
        /// The folder of the logs that `surety call` keeps.
        #[arg(long, default_value = CALL_KEYS)]
        calls: PathBuf,
        #[command(flatten)]
        account: AccountArguments,
        #[command(flatten)]
        network: NetworkArguments,
    },
}

pub(crate) async fn run(command: Command, output: &Output) -> Result<()> {
    match command {
        Command::Find { log, datasets, out, network } => {
            let session = network.session()?;
            let datasets = datasets.iter().map(|path| super::lists::load(path)).collect::<Result<Vec<_>>>()?;
            let answers = Log::answers(&log)?;
            let Some(report) = find(&session, &answers, &datasets).await? else {
                bail!("none of {} answers contradicts its dataset", answers.len());
            };
            write_json(&out, &report)?;
            output.result(&json!({"purchase": report.purchase, "file": out}), || {
                format!(
                    "a fault of purchase {}: report it with `surety evidence report {}`",
                    report.purchase,
                    out.display()
                )
            })
        }
        Command::Report { file, account, network } => {
            let session = network.session()?;
            act(&account.sender(&session)?, read_json::<market::ReportFault>(&file)?, output).await
        }
        Command::Contest { purchase, calls, account, network } => {
            let session = network.session()?;
            let shown = session.light.record(SHOWN, &purchase).await?.value;
            let shown = shown.with_context(|| format!("the provider shows nothing of purchase {purchase}"))?;
            let objections = Log::objections(&log_of(&calls, purchase), &shown)?;
            let sender = account.sender(&session)?;
            for Objection { lane, accepted } in &objections {
                let signature = Blob(Vec::new());
                act_quietly(&sender, market::ContestShown { purchase, lane: *lane, accepted: *accepted, signature })
                    .await?;
            }
            output.result(&json!({"purchase": purchase, "contested": objections.len()}), || match objections.len() {
                0 => "everything shown was accepted: there is nothing to contest".to_owned(),
                lanes => format!("contested what is shown of {lanes} lanes"),
            })
        }
    }
}

/// The first answer with a claim that its dataset contradicts, ready to be reported.
pub(crate) async fn find(
    session: &Session,
    answers: &[LoggedAnswer],
    datasets: &[Dataset],
) -> Result<Option<market::ReportFault>> {
    for logged in answers {
        let Some(evidence) = contradiction(logged, datasets)? else { continue };
        let purchase = logged.signed.answer.call.context("the answer is to no paid call")?.purchase;
        return Ok(Some(report(session, purchase, evidence).await?));
    }
    Ok(None)
}

/// Evidence, if one of the claims is not what the dataset's own proof says.
fn contradiction(logged: &LoggedAnswer, datasets: &[Dataset]) -> Result<Option<Contradiction>> {
    for (index, claim) in logged.claims.as_slice().iter().enumerate() {
        let cited = |dataset: &&Dataset| {
            dataset.pin().is_some_and(|pin| pin.id == claim.dataset && pin.version == claim.version)
        };
        let Some(dataset) = datasets.iter().find(cited) else { continue };
        if let Some(proof) = dataset.refute(claim) {
            let opening = logged.claims.open(index).context("a claim has a path")?;
            return Ok(Some(Contradiction { answer: logged.signed.clone(), body: logged.body, opening, proof }));
        }
    }
    Ok(None)
}

/// Checks the evidence as the ledger will, before a fee is spent on it.
async fn report(session: &Session, purchase: PurchaseId, evidence: Contradiction) -> Result<market::ReportFault> {
    let claim = &evidence.opening.claim;
    let row = session.light.record(DATASET_VERSIONS, &(claim.dataset, claim.version)).await?.value;
    let row = row.context("the ledger proves that the cited version does not exist")?;
    let evidence_of = Evidence::Contradiction(Box::new(evidence.clone()));
    let provider = session.light.record(PROVIDERS, &evidence_of.provider()?).await?.value;
    let key = provider.context("the ledger proves that there is no such provider")?.key;
    let record = VersionRecord {
        root: row.root,
        count: row.count,
        published: row.published,
        valid_until: row.valid_until,
        retired: row.retired,
    };
    evidence.check(&PublicKey(key.0), &record).context("the ledger would not accept this evidence")?;
    Ok(market::ReportFault {
        purchase,
        keys: vec![Bytes32(key.0)],
        periods: Vec::new(),
        evidence: Blob(codec::encode(&evidence_of)),
    })
}
