//! Thousands of paid calls, each answer compared with what the published lists say.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use surety_client::Caller;
use surety_client::caller::{Reply, Request};
use surety_primitives::Seconds;
use surety_security::{Lists, SERVICES, required_claims};
use tokio::task::JoinSet;

use super::Report;
use super::questions::{Question, questions};
use super::stage::{Sold, Stage};
use crate::commands::{buy::write_json, call};
use crate::output::Output;

/// Lanes of each package, and so its calls under way.
const LANES: u16 = 8;
/// The operator that is killed.
pub(super) const VICTIM: usize = 3;

/// What the callers saw.
#[derive(Default)]
struct Tally {
    served: AtomicU64,
    wrong: AtomicU64,
    unknown: AtomicU64,
}

/// Who answers which questions.
struct Callers {
    names: Caller,
    addresses: Caller,
    honest: Arc<Lists>,
    tally: Tally,
    /// An answer to a name, kept for the offline check.
    sample: OnceLock<(Request, Reply)>,
    bar: indicatif::ProgressBar,
}

/// Where that answer goes.
pub(super) fn answer_path(stage: &Stage) -> PathBuf {
    stage.folder().join("answer.json")
}

/// Makes all calls; on the way one operator is killed and started again.
pub(super) async fn make(stage: &mut Stage, sold: &Sold, report: &mut Report, output: &Output) -> Result<()> {
    output.progress(format_args!("{} paid calls over real names and addresses", stage.calls));
    let folder = stage.call_folder();
    let callers = Arc::new(Callers {
        names: call::open(&stage.session, sold.names.purchase, &folder, LANES).await?,
        addresses: call::open(&stage.session, sold.addresses.purchase, &folder, LANES).await?,
        honest: Arc::clone(&sold.honest),
        tally: Tally::default(),
        sample: OnceLock::new(),
        bar: output.bar(stage.calls, "calls"),
    });
    let mut asked = questions(&sold.honest, &stage.planted, stage.calls - 1);
    // The planted question stands in the middle, among thousands of honest ones.
    asked.insert(asked.len() / 2, Question::Name(stage.planted.clone()));
    let work = ask_all(Arc::clone(&callers), asked);
    let ((), ()) = tokio::try_join!(work, disturb(stage, &callers, output))?;
    callers.bar.finish_and_clear();

    let sample = callers.sample.get().context("no signed answer came back")?;
    let file = call::answer_file(&stage.session, &callers.names, &sample.0, &sample.1).await?;
    write_json(&answer_path(stage), &file)?;
    let settled = [callers.names.settle().await?, callers.addresses.settle().await?];
    let written = settled.iter().flatten().flat_map(|reply| &reply.lanes).map(|lane| lane.cum).sum();
    report.calls_served = callers.tally.served.load(Ordering::Relaxed);
    report.calls_acknowledged = written;
    report.wrong_answers = callers.tally.wrong.load(Ordering::Relaxed);
    report.unknown_answers = callers.tally.unknown.load(Ordering::Relaxed);
    output.progress(format_args!("  {} served, {} acknowledged", report.calls_served, report.calls_acknowledged));
    Ok(())
}

async fn ask_all(callers: Arc<Callers>, asked: Vec<Question>) -> Result<()> {
    let (names, addresses): (Vec<Question>, Vec<Question>) =
        asked.into_iter().partition(|question| matches!(question, Question::Name(_)));
    let mut tasks = JoinSet::new();
    for mut queue in split(names).into_iter().chain(split(addresses)) {
        let callers = Arc::clone(&callers);
        tasks.spawn(async move {
            for question in queue.drain(..) {
                callers.ask(&question).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.context("a caller's task ended")??;
    }
    Ok(())
}

/// Deals questions to as many queues as there are lanes.
fn split(questions: Vec<Question>) -> Vec<Vec<Question>> {
    let mut queues: Vec<Vec<Question>> = (0..LANES).map(|_| Vec::new()).collect();
    for (i, question) in questions.into_iter().enumerate() {
        queues[i % usize::from(LANES)].push(question);
    }
    queues
}

impl Callers {
    async fn ask(&self, question: &Question) -> Result<()> {
        let caller = if matches!(question, Question::Name(_)) { &self.names } else { &self.addresses };
        let request = Request::get(question.path()).claiming(required_claims(&question.path()));
        let reply = caller.call(&request).await.with_context(|| format!("asking {question:?}"))?;
        self.judge(question, &reply)?;
        if matches!(question, Question::Name(_)) && reply.answer.is_some() {
            self.sample.get_or_init(|| (request, reply));
        }
        self.tally.served.fetch_add(1, Ordering::Relaxed);
        self.bar.inc(1);
        Ok(())
    }

    /// Compares the answer with that of the same service on the published lists.
    fn judge(&self, question: &Question, reply: &Reply) -> Result<()> {
        let said: Value = serde_json::from_slice(&reply.body).context("the answer is no JSON")?;
        let honest = honest(&self.honest, question)?;
        let unknown = said["surety"]["unknown"].as_array();
        if unknown.is_some_and(|unknown| unknown.iter().any(|field| field["reason"] == "list_missing")) {
            self.tally.unknown.fetch_add(1, Ordering::Relaxed);
        }
        if verdict(&said) != verdict(&honest) {
            self.tally.wrong.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// What an answer says, without what it rests on.
fn verdict(answer: &Value) -> (&Value, &Value) {
    (&answer["code"], &answer["result"])
}

fn honest(lists: &Lists, question: &Question) -> Result<Value> {
    let path = question.path();
    let (path, query) = path.split_once('?').unwrap_or((&path, ""));
    let name = if matches!(question, Question::Name(_)) { "phishing_site" } else { "address_security" };
    let Some(service) = SERVICES.iter().find(|service| service.name() == name) else { bail!("no service {name}") };
    let segment = if name == "phishing_site" { "" } else { path.rsplit('/').next().unwrap_or_default() };
    let request = surety_security::router::request(segment, query, Seconds(crate::settings::wall_ms() / 1_000));
    let reply = surety_security::router::respond(*service, lists, request);
    let body = reply.map_err(|refusal| anyhow::anyhow!("{}", refusal.body()))?.body;
    serde_json::from_str(&body).context("the answer is no JSON")
}

/// kill -9 of one operator at a third of the way, and its return at two thirds.
async fn disturb(stage: &mut Stage, callers: &Callers, output: &Output) -> Result<()> {
    let reached = |share: u64| async move {
        while callers.tally.served.load(Ordering::Relaxed) < callers.bar.length().unwrap_or(0) * share / 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    reached(1).await;
    stage.network.kill(VICTIM).await?;
    output.progress(format_args!("  operator {VICTIM} killed with kill -9; the calls go on"));
    reached(2).await;
    stage.network.spawn(VICTIM)?;
    output.progress(format_args!("  operator {VICTIM} started again"));
    Ok(())
}
