//! A request's life: [`answer`] reads top to bottom as admit, assess, forward, record.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::assess::Assessed;
use super::audit::AuditError;
use super::carry::{self, Load};
use super::core::{Client, Core};
use super::forward::Repeat;
use super::hold::HoldId;
use super::json::Json;
use super::jsonrpc::{Answer, Request, RpcError, code};
use super::judge::{Judged, judge};
use super::methods::{self, Carrier, Class, Method};
use super::own;
use super::policy::Policy;
use super::quarantine;
use super::remote::Question;
use super::subject::{Screened, Subject};
use super::verdict::{Finding, Verdict};

/// What goes back, and a verdict for the header beside it.
#[derive(Debug)]
pub(crate) struct Replied {
    pub(crate) answer: Answer,
    pub(crate) advice: Option<Advice>,
}

/// A verdict that did not stop anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advice {
    pub(crate) verdict: Verdict,
    pub(crate) rule: String,
}

/// A request that may go on.
struct Admitted<'a> {
    method: Method,
    params: Json<'a>,
    load: Load,
}

/// Answers one request. `earlier` is what its batch sent before it.
pub(crate) async fn answer(
    core: &Core,
    client: &Client,
    request: Request<'_>,
    earlier: &mut Vec<Arc<Subject>>,
) -> Replied {
    let admitted = match admit(core, client, request) {
        Ok(admitted) => admitted,
        Err((class, error)) => {
            core.metrics.count(class, "refused");
            return Answer::Error(error).into();
        }
    };
    let class = admitted.method.class;
    let replied = match class {
        Class::Read => core.forwarder.read(admitted.method.name, &admitted.params, &core.metrics).await.into(),
        Class::Local => {
            let params = admitted.params.to_text();
            core.forwarder.read_local(admitted.method.name, &params, &core.metrics).await.into()
        }
        Class::DryRun => try_out(core, client, admitted).await,
        Class::Own => own::answer(core, client, admitted.method.name, &admitted.params).await.into(),
        Class::Cancel => cancel(core, client, admitted).await.into(),
        Class::Subscribe => {
            Answer::Error(RpcError::new(code::METHOD, "subscriptions are given on a websocket only")).into()
        }
        Class::Submission | Class::Bundle | Class::UserOperation | Class::NodeSigns | Class::Administration => {
            return submit(core, client, admitted, earlier).await;
        }
    };
    core.metrics.count(class.word(), "passed");
    replied
}

/// Admits a request: rate, method, and everything that it carries, decoded.
fn admit<'a>(core: &Core, client: &Client, request: Request<'a>) -> Result<Admitted<'a>, (&'static str, RpcError)> {
    if !core.has_room(client) {
        return Err(("limit", RpcError::new(code::LIMIT, "too many requests: try again in a second")));
    }
    let Some(method) = methods::find(&request.method) else {
        return Err(("unknown", RpcError::new(code::METHOD, format!("the method {} is not known", request.method))));
    };
    let refused = |error| (method.class.word(), error);
    let policy = core.policy();
    let signs = core.config.node_signs || policy.methods().takes_unsigned(method.name);
    let is_closed = method.carrier == Carrier::Closed
        || policy.methods().refuses(&request.method)
        || (method.class == Class::NodeSigns && !signs);
    if is_closed {
        return Err(refused(RpcError::new(code::METHOD, format!("this gateway refuses {}", request.method))));
    }
    let mut params = request.params.unwrap_or(Json::List(Vec::new()));
    let load = carry::take(&method, &mut params, core.chain).map_err(refused)?;
    Ok(Admitted { method, params, load })
}

/// A submission: screened whole, then sent, held or refused.
async fn submit(core: &Core, client: &Client, admitted: Admitted<'_>, earlier: &mut Vec<Arc<Subject>>) -> Replied {
    let Admitted { method, params, load } = admitted;
    let assessed = in_order(&method, load.subjects, earlier);
    let asked = Asked { client, method: method.name, overridden: &[] };
    let mut judged = assess(core, asked, &assessed).await;
    if judged.verdict().forwards() && !core.assessor.still_holds(&judged.rests_on).await {
        // The chain has moved under the verdict: it is found once more, on the new state.
        core.metrics.reassessed.inc();
        forget(core, &assessed);
        judged = assess(core, asked, &assessed).await;
    }
    core.metrics.count(method.class.word(), judged.verdict().word());
    if !judged.verdict().forwards() {
        let is_bare = params.as_list().is_some_and(|params| params.len() == 1);
        return refuse(core, asked, &method, &assessed, &judged, is_bare).await;
    }
    // What cannot be recorded is not forwarded.
    let seq = match core.record("submitted", asked, &judged, None, None) {
        Ok(seq) => seq,
        Err(error) => return Answer::Error(RpcError::new(code::INTERNAL, error.to_string())).into(),
    };
    let params = params.to_text();
    let sent = core.forwarder.send(method.name, &params, repeat(&method, &assessed), &core.metrics);
    // The disk works while the node does. Nobody is told that it was sent before the record of it is on disk.
    let seq = if core.config.wait_for_disk { seq } else { 0 };
    let (sent, on_disk) = futures::join!(sent, core.audit.durable(seq));
    if let Err(error) = on_disk.and_then(|()| core.record("answered", asked, &judged, Some(&sent), None)) {
        tracing::error!(%error, "what was sent could not be recorded");
    }
    if matches!(sent.answer, Answer::Result(_)) {
        earlier.extend(assessed.iter().filter(|one| is_sent(&method, one)).map(|one| Arc::clone(&one.subject)));
        for name in load.names {
            core.owners.insert(name, client.clone());
        }
    }
    let advice = Some(judged.advice()).filter(|advice| advice.verdict != Verdict::Allow);
    Replied { answer: sent.answer, advice }
}

/// What does not pass: a signed transaction alone may be held, everything else is refused.
async fn refuse(
    core: &Core,
    asked: Asked<'_>,
    method: &Method,
    assessed: &[Assessed],
    judged: &Judged,
    is_bare: bool,
) -> Replied {
    let held = match (judged.verdict(), repeat(method, assessed), assessed) {
        // What came with conditions would leave without them.
        (Verdict::Quarantine, Repeat::Transaction(_), [one]) if is_bare => match transaction(one) {
            Some(screened) => quarantine::hold(core, asked, screened, judged).await.map_err(|error| error.to_string()),
            None => Err(String::new()),
        },
        (Verdict::Quarantine, ..) => {
            Err("only a signed transaction on its own, without conditions, can be held".to_owned())
        }
        _ => Err(String::new()),
    };
    let hold_id = held.as_ref().ok().map(|waiting| waiting.held.id);
    let event = if hold_id.is_some() { "held" } else { "refused" };
    if let Err(error) = record_refusal(core, event, asked, judged, hold_id).await {
        tracing::error!(%error, "a refusal could not be recorded");
    }
    tracing::info!(method = method.name, verdict = %judged.verdict(), rule = %judged.decision.rule, "not forwarded");
    Answer::Error(judged.refusal(held)).into()
}

/// What is held is on disk before anybody is told; a refusal follows a moment later.
async fn record_refusal(
    core: &Core,
    event: &str,
    asked: Asked<'_>,
    judged: &Judged,
    hold_id: Option<HoldId>,
) -> Result<(), AuditError> {
    let seq = core.record(event, asked, judged, None, hold_id)?;
    if hold_id.is_some() { core.audit.durable(seq).await } else { Ok(()) }
}

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) client: &'a Client,
    pub(crate) method: &'a str,
    /// What somebody took responsibility for.
    pub(crate) overridden: &'a [String],
}

/// Each subject with what runs before it: all of its bundle or of its calls, and what its sender sent before.
fn in_order(method: &Method, subjects: Vec<Subject>, earlier: &[Arc<Subject>]) -> Vec<Assessed> {
    let is_one = method.class == Class::Bundle || method.carrier == Carrier::Calls;
    let mut before: Vec<Arc<Subject>> = Vec::new();
    let mut assessed = Vec::with_capacity(subjects.len());
    for subject in subjects.into_iter().map(Arc::new) {
        let same = |other: &&Arc<Subject>| subject.sender().is_some() && other.sender() == subject.sender();
        let sent: Vec<_> =
            if method.class == Class::Bundle { Vec::new() } else { earlier.iter().filter(same).cloned().collect() };
        let runs = sent.into_iter().chain(before.iter().filter(|other| is_one || same(other)).cloned()).collect();
        if matches!(*subject, Subject::Transaction(_) | Subject::Unsigned(_)) {
            before.push(Arc::clone(&subject));
        }
        assessed.push(Assessed { subject, before: Arc::new(runs) });
    }
    assessed
}

/// Whether a subject runs on the chain once its request is answered: what is only signed may never be sent.
fn is_sent(method: &Method, one: &Assessed) -> bool {
    match one.subject.as_ref() {
        Subject::Transaction(_) => true,
        Subject::Unsigned(_) => ["send", "Send", "post"].iter().any(|verb| method.name.contains(verb)),
        _ => false,
    }
}

/// The worst judgement over all that a request carries. One policy decides on all of it.
pub(crate) async fn assess(core: &Core, asked: Asked<'_>, assessed: &[Assessed]) -> Judged {
    let policy = core.policy();
    let mut worst: Option<Judged> = None;
    let mut reads = Vec::new();
    for one in assessed {
        let judged = judge(&policy, &one.subject, asked, find(core, asked, &policy, one).await);
        reads.extend(judged.findings.iter().filter(|finding| !finding.reads.is_empty()).cloned());
        let is_worse = worst.as_ref().is_none_or(|worst| judged.verdict() > worst.verdict());
        if is_worse {
            worst = Some(judged);
        }
        // One that is refused takes the others with it: they are not sent without it.
        if worst.as_ref().is_some_and(|worst| worst.verdict() == Verdict::Block) {
            break;
        }
    }
    let mut worst = worst.unwrap_or_default();
    if worst.verdict().forwards() {
        worst.rests_on = reads;
    }
    worst
}

/// What is found of one subject: what was found on the same state before, or what checks and then remote services say.
async fn find(core: &Core, asked: Asked<'_>, policy: &Policy, one: &Assessed) -> Vec<Finding> {
    let key = core.screens.key(one, policy.hash());
    if let Some(found) = key.as_ref().and_then(|key| core.screens.get(key)) {
        core.metrics.hit("screens");
        return found.to_vec();
    }
    let mut findings = core.assessor.assess(one, &core.metrics, policy).await;
    if !policy.remotes().is_empty() {
        // What is refused anyway is nobody else's business.
        if judge(policy, &one.subject, asked, findings.clone()).decision.is_blocked_by_check() {
            return findings;
        }
        findings.extend(abroad(core, policy, one).await);
    }
    if let Some(key) = key {
        core.screens.keep(key, core.screens.key(one, policy.hash()), &findings);
    }
    findings
}

/// What remote services say: one finding for each check that the policy gives them a part in.
async fn abroad(core: &Core, policy: &Policy, one: &Assessed) -> Vec<Finding> {
    let within = Duration::from_millis(core.config.limits.assess_ms);
    let questions = Question::of_subject(&one.subject);
    let checks: BTreeSet<&str> = policy.remotes().iter().map(|terms| terms.check.as_str()).collect();
    let asked = checks.into_iter().map(|check| async {
        let began = Instant::now();
        let finding = core.remote.assess_within(check, policy, &questions, within).await;
        core.metrics.checked(&finding, began.elapsed());
        finding
    });
    join_all(asked).await
}

/// Lets everything be found anew.
fn forget(core: &Core, assessed: &[Assessed]) {
    let policy = core.policy().hash();
    for key in assessed.iter().filter_map(|one| core.screens.key(one, policy)) {
        core.screens.forget(&key);
    }
}

/// A signed transaction alone may be sent again when a node does not answer.
fn repeat(method: &Method, assessed: &[Assessed]) -> Repeat {
    let answers_hash = matches!(method.carrier, Carrier::Raw { .. }) && !method.name.ends_with("Sync");
    match assessed {
        [one] if answers_hash => transaction(one).map_or(Repeat::Never, |screened| Repeat::Transaction(screened.hash)),
        _ => Repeat::Never,
    }
}

fn transaction(assessed: &Assessed) -> Option<&Screened> {
    match assessed.subject.as_ref() {
        Subject::Transaction(screened) => Some(screened),
        _ => None,
    }
}

/// A dry run passes, with what the checks would say of it beside the answer.
async fn try_out(core: &Core, client: &Client, admitted: Admitted<'_>) -> Replied {
    let Admitted { method, params, load } = admitted;
    let assessed = in_order(&method, load.subjects, &[]);
    let asked = Asked { client, method: method.name, overridden: &[] };
    let (answer, judged) =
        futures::join!(core.forwarder.read(method.name, &params, &core.metrics), assess(core, asked, &assessed));
    Replied { answer, advice: (!assessed.is_empty()).then(|| judged.advice()) }
}

/// A cancellation passes only from the client that submitted.
async fn cancel(core: &Core, client: &Client, admitted: Admitted<'_>) -> Answer {
    let Admitted { method, params, load } = admitted;
    let is_owner = |name: &String| core.owners.get(name).as_ref() == Some(client);
    if load.names.is_empty() || !load.names.iter().all(is_owner) {
        return Answer::Error(RpcError::params("nothing of this name was submitted by this client"));
    }
    core.forwarder.send(method.name, &params.to_text(), Repeat::Never, &core.metrics).await.answer
}

impl From<Answer> for Replied {
    fn from(answer: Answer) -> Self {
        Self { answer, advice: None }
    }
}
