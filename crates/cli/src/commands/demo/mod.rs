//! `surety demo`: the whole story on an embedded network, every step with real processes and real data.

mod calls;
mod checks;
mod questions;
mod stage;
mod wallet;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use surety_primitives::Amount;

use crate::gather::Sources;
use crate::output::Output;
use stage::Stage;

/// Where the demo's network lies unless another folder is named.
const FOLDER: &str = ".surety/demo";

/// Tells the whole story on an embedded network, in under a minute, and checks every claim it makes.
///
/// Four operator processes; a provider that publishes real lists and sells two services behind a sidecar; a consumer that
/// buys and calls; one operator killed with kill -9 and back; one planted wrong answer, proven, paid for, punished. Windows
/// are shortened so that a refund can be seen. The exit code is not 0 if anything was not as it must be.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Paid calls to make.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    calls: u64,
    /// Leave the network running at the end, and say where it answers.
    #[arg(long)]
    keep: bool,
    /// Where the network lies; what is there is deleted.
    #[arg(long, default_value = FOLDER)]
    folder: PathBuf,
    /// Leave out the wallet's act, which needs contracts of an exchange from npm.
    #[arg(long)]
    no_gateway: bool,
    #[command(flatten)]
    sources: Sources,
}

/// What was seen. Every truth value is the outcome of a check, never a wish.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Operator processes.
    pub operators: usize,
    /// Calls that came back with a valid reply.
    pub calls_served: u64,
    /// Calls that the consumer's key acknowledged and the sidecar wrote down.
    pub calls_acknowledged: u64,
    /// Calls that the ledger paid the provider for.
    pub claimed: u64,
    /// Whether the ledger accepted the evidence.
    pub fault_proven: bool,
    /// CALL that the consumer got as cover.
    pub cover_paid: u64,
    /// CALL taken from the provider as penalty.
    pub slashed: Amount,
    /// What came back to the consumer when the faulty purchase was settled.
    pub refunded: Amount,
    /// Whether accounts and pools of every operator hold what was minted less what was burned.
    pub conserved: bool,
    /// Whether every operator has the same state root at the same height.
    pub state_roots_equal: bool,
    /// Whether grant and answer hold when checked by a process without a network.
    pub offline_verified: bool,
    /// Whether the operator that was killed is back at the tip.
    pub killed_and_rejoined: bool,
    /// Calls whose answers were not what the published lists say; the planted one alone.
    pub wrong_answers: u64,
    /// Questions answered as unknown, because no list was there.
    pub unknown_answers: u64,
    /// Transactions that the gateway let pass, and that are on the chain.
    pub gateway_allowed: u64,
    /// Transactions that the gateway refused.
    pub gateway_blocked: u64,
    /// Refused ones that reached the chain all the same, in whatever encoding.
    pub gateway_bypassed: u64,
    /// Whether each verdict came out the same when another process computed it, and again from its own evidence.
    pub gateway_verified: bool,
    /// Rows of the ledger at the end.
    pub rows: u64,
    /// Seconds from start to end.
    pub elapsed_s: f64,
    /// Where it answers, with --keep.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
}

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<()> {
    let start = Instant::now();
    let mut report = Report::default();
    let mut stage = Stage::build(&arguments, output).await?;
    let has_gateway = !arguments.no_gateway;
    let mut outcome = play(&mut stage, &mut report, output).await;
    if has_gateway && outcome.is_ok() {
        outcome = wallet::play(stage.folder(), &mut report, output).await;
    }
    report.elapsed_s = (start.elapsed().as_secs_f64() * 10.0).round() / 10.0;
    if arguments.keep && outcome.is_ok() {
        report.urls = stage.urls();
    }
    let shown = outcome.and_then(|()| output.result(&report, || table(&report)));
    let judged = shown.and_then(|()| judge(&report, arguments.calls, has_gateway));
    if arguments.keep && judged.is_ok() {
        output.progress("the network keeps running: end it with Ctrl-C");
        super::devnet::stopped().await;
    }
    stage.strike().await?;
    judged
}

async fn play(stage: &mut Stage, report: &mut Report, output: &Output) -> Result<()> {
    report.operators = stage.operators();
    let sold = stage.sell(output).await?;
    calls::make(stage, &sold, report, output).await?;
    checks::rejoined(stage, report, output).await?;
    checks::claimed(stage, &sold, report, output).await?;
    checks::offline(stage, &sold, report, output).await?;
    checks::fault(stage, &sold, report, output).await?;
    checks::state(stage, report, output).await
}

/// Refuses a story that did not end as it must.
fn judge(report: &Report, calls: u64, has_gateway: bool) -> Result<()> {
    let truths = [
        ("every call was served", report.calls_served == calls),
        ("every call was acknowledged", report.calls_acknowledged == calls),
        ("every acknowledged call was claimed", report.claimed == calls),
        ("the fault was proven", report.fault_proven),
        ("the cover was paid", report.cover_paid > 0),
        ("the provider was slashed", !report.slashed.is_zero()),
        ("the consumer was refunded", !report.refunded.is_zero()),
        ("only the planted answer was wrong", report.wrong_answers == 1),
        ("value is conserved", report.conserved),
        ("state roots are equal", report.state_roots_equal),
        ("grant and answer were verified offline", report.offline_verified),
        ("the killed operator is back", report.killed_and_rejoined),
        ("the wallet's transfer passed the gateway", !has_gateway || report.gateway_allowed == 1),
        ("the gateway refused what is dangerous", !has_gateway || report.gateway_blocked == 2),
        ("nothing went around the gateway", report.gateway_bypassed == 0),
        ("the gateway's verdicts were computed again", !has_gateway || report.gateway_verified),
    ];
    let failed: Vec<&str> = truths.iter().filter(|(_, holds)| !holds).map(|(name, _)| *name).collect();
    if failed.is_empty() {
        return Ok(());
    }
    bail!("not as it must be: {}", failed.join("; "))
}

fn table(report: &Report) -> String {
    let yes = |holds: bool| if holds { "yes" } else { "NO" };
    let urls = if report.urls.is_empty() { String::new() } else { format!("\n  {}\n", report.urls.join("\n  ")) };
    format!(
        "\n  operators            {} processes; one killed with kill -9 and back: {}\n  \
         calls                {} served, {} acknowledged, {} claimed\n  \
         wrong answers        {} (planted), {} unknown for want of a list\n  \
         fault                proven on the ledger: {}\n  \
         cover                {} CALL to the consumer\n  \
         penalty              {} CALL from the provider\n  \
         refund               {} CALL to the consumer\n  \
         verified offline     grant and answer: {}\n  \
         value conserved      on every operator, over {} rows: {}\n  \
         state roots equal    {}\n  \
         gateway              {} allowed, {} blocked, {} went around it; verdicts computed again: {}\n  \
         took                 {} s\n{urls}\n\
         The story: a provider published real lists and sold packages of calls. A consumer bought, called and signed for what \
         it got, and the ledger paid for exactly that. One answer said \"clean\" of a name on the provider's own list: the \
         signature on it was the proof, nobody had to vote, and the cover was paid at once. A wallet behind a gateway sent \
         three transactions: the transfer passed; the approval to a drainer and the buy of a token that cannot be sold did not.",
        report.operators,
        yes(report.killed_and_rejoined),
        report.calls_served,
        report.calls_acknowledged,
        report.claimed,
        report.wrong_answers,
        report.unknown_answers,
        yes(report.fault_proven),
        report.cover_paid,
        report.slashed,
        report.refunded,
        yes(report.offline_verified),
        report.rows,
        yes(report.conserved),
        yes(report.state_roots_equal),
        report.gateway_allowed,
        report.gateway_blocked,
        report.gateway_bypassed,
        yes(report.gateway_verified),
        report.elapsed_s,
    )
}

/// Tries until something is there, or too much time has passed.
async fn eventually<T, F>(what: &str, limit: Duration, mut attempt: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let start = Instant::now();
    let mut last = None;
    while start.elapsed() < limit {
        match attempt().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {}
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    match last {
        Some(error) => Err(error).with_context(|| format!("{what}: not within {} s", limit.as_secs())),
        None => bail!("{what}: not within {} s", limit.as_secs()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn good() -> Report {
        Report {
            operators: 4,
            calls_served: 100,
            calls_acknowledged: 100,
            claimed: 100,
            fault_proven: true,
            cover_paid: 5,
            slashed: Amount::call(250),
            refunded: Amount::call(25),
            conserved: true,
            state_roots_equal: true,
            offline_verified: true,
            killed_and_rejoined: true,
            wrong_answers: 1,
            gateway_allowed: 1,
            gateway_blocked: 2,
            gateway_verified: true,
            ..Report::default()
        }
    }

    #[test]
    fn a_story_with_one_thing_wrong_is_refused_and_names_it() {
        judge(&good(), 100, true).unwrap();
        judge(&Report { gateway_allowed: 0, gateway_blocked: 0, gateway_verified: false, ..good() }, 100, false)
            .unwrap();
        let wrong: [fn(&mut Report); 16] = [
            |report| report.calls_served = 99,
            |report| report.calls_acknowledged = 99,
            |report| report.claimed = 101,
            |report| report.fault_proven = false,
            |report| report.cover_paid = 0,
            |report| report.slashed = Amount::ZERO,
            |report| report.refunded = Amount::ZERO,
            |report| report.wrong_answers = 2,
            |report| report.conserved = false,
            |report| report.state_roots_equal = false,
            |report| report.offline_verified = false,
            |report| report.killed_and_rejoined = false,
            |report| report.gateway_allowed = 0,
            |report| report.gateway_blocked = 1,
            |report| report.gateway_bypassed = 1,
            |report| report.gateway_verified = false,
        ];
        for spoil in wrong {
            let mut report = good();
            spoil(&mut report);
            let said = judge(&report, 100, true).unwrap_err().to_string();
            assert!(said.starts_with("not as it must be: ") && !said.contains(';'), "{said}");
        }
    }
}
