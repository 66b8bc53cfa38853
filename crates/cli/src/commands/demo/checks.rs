//! What must be true after the calls: each check asks the network, or a process without one.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use surety_client::caller::Log;
use surety_client::{Client, Options};
use surety_ledger::market::state::{Event as MarketEvent, PURCHASES};
use surety_ledger::{Event, bank, market};
use surety_primitives::api::AuditView;
use surety_primitives::{Amount, Hash32, PurchaseId};
use tokio::process::Command;

use super::calls::{VICTIM, answer_path};
use super::stage::{PATIENCE, Sold, Stage};
use super::{Report, eventually};
use crate::commands::{call, evidence};
use crate::output::Output;
use crate::settings::FINAL;

/// The killed operator follows the others again.
pub(super) async fn rejoined(stage: &Stage, report: &mut Report, output: &Output) -> Result<()> {
    let url = stage.urls()[VICTIM].clone();
    let (victim, others) = (client(&url)?, &stage.session.client);
    let target = others.finalized().await?.header.height;
    eventually("the killed operator is back at the tip", Duration::from_secs(30), || async {
        let height = victim.status().await?.height;
        Ok(height.filter(|height| *height >= target).map(|_| ()))
    })
    .await?;
    report.killed_and_rejoined = true;
    output.progress(format_args!("  operator {VICTIM} is back at the tip"));
    Ok(())
}

/// The sidecar has claimed by itself what was acknowledged.
pub(super) async fn claimed(stage: &Stage, sold: &Sold, report: &mut Report, output: &Output) -> Result<()> {
    output.progress("the sidecar claims what the consumer signed for");
    let acknowledged = report.calls_acknowledged;
    let purchases = [sold.names.purchase, sold.addresses.purchase];
    let total = eventually("everything acknowledged is claimed", PATIENCE, || async {
        let mut total = 0;
        for purchase in purchases {
            total += claimed_of(stage, purchase).await?;
        }
        Ok((total >= acknowledged).then_some(total))
    })
    .await?;
    report.claimed = total;
    output.progress(format_args!("  {total} calls claimed on the ledger"));
    Ok(())
}

async fn claimed_of(stage: &Stage, purchase: PurchaseId) -> Result<u64> {
    let record = stage.session.light.record(PURCHASES, &purchase).await?.value;
    Ok(record.context("the ledger proves that the purchase does not exist")?.claimed)
}

/// A process that knows the chain specification and nothing else checks grant and answer.
pub(super) async fn offline(stage: &Stage, sold: &Sold, report: &mut Report, output: &Output) -> Result<()> {
    output.progress("a process without a network verifies a grant and an answer");
    let trust = &stage.network.layout().genesis;
    let program = std::env::current_exe().context("this program's own file is unknown")?;
    for (kind, file) in [("grant", sold.names.grant.clone()), ("answer", answer_path(stage))] {
        let status = Command::new(&program)
            .args(["verify", kind, "--trust"])
            .arg(trust)
            .arg(&file)
            .env_remove("SURETY_NODE")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .await
            .context("cannot start the check")?;
        ensure!(status.success(), "the {kind} in {} does not hold offline", file.display());
    }
    report.offline_verified = true;
    Ok(())
}

/// The planted answer is found in the consumer's log, proven, paid for; the rest of the purchase returns.
pub(super) async fn fault(stage: &Stage, sold: &Sold, report: &mut Report, output: &Output) -> Result<()> {
    output
        .progress(format_args!("one answer said \"clean\" of {}, which the provider's own list denies", stage.planted));
    let log = call::log_of(&stage.call_folder(), sold.names.purchase);
    let answers = Log::answers(&log)?;
    let found = evidence::find(&stage.session, &answers, &sold.datasets).await?;
    let evidence = found.context("no answer contradicts its dataset")?;
    let before = balance(stage).await?;
    let receipt = stage.consumer.send(evidence, FINAL).await?.receipt.context("a final transaction has a receipt")?;
    for event in &receipt.events {
        if let Event::Market(MarketEvent::FaultProven { cover, penalty, .. }) = event {
            report.fault_proven = true;
            report.slashed = *penalty;
            let gained = balance(stage).await?.saturating_add(receipt.fee).saturating_sub(before);
            // Besides the cover, the reporter's part of the penalty; less a row's deposit.
            ensure!(gained.saturating_add(Amount::call(1)) >= *cover, "the cover did not reach the consumer");
            report.cover_paid = u64::try_from(cover.0 / Amount::call(1).0).unwrap_or(0);
        }
    }
    output.progress(format_args!("  proven: {} CALL cover, {} CALL penalty", report.cover_paid, report.slashed));
    refund(stage, sold.names.purchase, report, output).await
}

/// Once the windows are over, whoever wants settles the purchase: here the sidecar, or the consumer.
async fn refund(stage: &Stage, purchase: PurchaseId, report: &mut Report, output: &Output) -> Result<()> {
    let events = eventually("the purchase is settled", Duration::from_secs(40), || async {
        match stage.consumer.send(market::Settle { purchase }, FINAL).await {
            Ok(done) => Ok(done.receipt.filter(|receipt| receipt.failure.is_none()).map(|receipt| receipt.events)),
            Err(surety_client::Error::Rejected { .. } | surety_client::Error::Refused(_)) => {
                settled_by_others(stage, purchase).await
            }
            Err(error) => Err(error.into()),
        }
    })
    .await?;
    report.refunded = events
        .iter()
        .map(|event| match event {
            Event::Market(MarketEvent::PurchaseSettled { refunded, .. }) => *refunded,
            _ => Amount::ZERO,
        })
        .fold(Amount::ZERO, Amount::saturating_add);
    output.progress(format_args!("  settled: {} CALL returned to the consumer", report.refunded));
    Ok(())
}

/// The sidecar settles too; then the refund is what its block says.
async fn settled_by_others(stage: &Stage, purchase: PurchaseId) -> Result<Option<Vec<Event>>> {
    let client = &stage.session.client;
    let newest = client.block(None).await?.header.height.0;
    for height in (newest.saturating_sub(200)..=newest).rev() {
        let Ok(block) = client.block(Some(surety_primitives::Height(height))).await else { continue };
        for hash in block.transactions {
            let events = client.transaction(&hash).await?.receipt.map(|receipt| receipt.events).unwrap_or_default();
            let ours = |event: &Event| matches!(event, Event::Market(MarketEvent::PurchaseSettled { purchase: p, .. }) if *p == purchase);
            if events.iter().any(ours) {
                return Ok(Some(events));
            }
        }
    }
    Ok(None)
}

async fn balance(stage: &Stage) -> Result<Amount> {
    let account = stage.session.light.record(bank::ACCOUNTS, &stage.consumer.address()).await?.value;
    Ok(account.unwrap_or_default().balance)
}

/// Every operator audits its whole state, and all have one root at one height.
pub(super) async fn state(stage: &Stage, report: &mut Report, output: &Output) -> Result<()> {
    output.progress("every operator audits its whole state");
    let clients = stage.urls().iter().map(|url| client(url)).collect::<Result<Vec<_>>>()?;
    let audits = eventually("all operators audit one height", Duration::from_secs(30), || async {
        let mut audits = Vec::new();
        for client in &clients {
            audits.push(client.get::<AuditView>("v1/audit").await?);
        }
        let heights: BTreeSet<u64> = audits.iter().map(|audit| audit.height.0).collect();
        Ok((heights.len() == 1).then_some(audits))
    })
    .await?;
    let roots: BTreeSet<Hash32> = audits.iter().map(|audit| audit.state_root).collect();
    report.state_roots_equal = roots.len() == 1;
    report.conserved = audits.iter().all(|audit| audit.failure.is_none());
    report.rows = audits.first().map_or(0, |audit| audit.rows);
    Ok(())
}

fn client(url: &str) -> Result<Client> {
    Ok(Client::new(&[url], Options::default())?)
}
