//! A request's life: [`answer`] reads top to bottom as admit, assess, forward, record.

use std::sync::Arc;

use super::assess::Assessed;
use super::carry::{self, Load};
use super::core::{Client, Core};
use super::forward::Repeat;
use super::json::Json;
use super::jsonrpc::{Answer, Request, RpcError, code};
use super::judge::{Judged, judge};
use super::methods::{self, Carrier, Class, Method};
use super::own;
use super::quarantine;
use super::subject::{Screened, Subject};
use super::verdict::Verdict;

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

/// Answers one request. `earlier` are the transactions that its batch sent before it.
pub(crate) async fn answer(core: &Core, client: &Client, request: Request<'_>, earlier: &mut Vec<Screened>) -> Replied {
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
async fn submit(core: &Core, client: &Client, admitted: Admitted<'_>, earlier: &mut Vec<Screened>) -> Replied {
    let Admitted { method, params, load } = admitted;
    let assessed = in_order(&method, load.subjects, earlier);
    let asked = Asked { client, method: method.name, overridden: &[] };
    let mut judged = assess(core, asked, &assessed).await;
    if judged.verdict().forwards() && !core.assessor.still_holds(&judged.rests_on).await {
        // The chain has moved under the verdict: it is found once more, on the new state.
        core.metrics.reassessed.inc();
        judged = assess(core, asked, &assessed).await;
    }
    core.metrics.count(method.class.word(), judged.verdict().word());
    if !judged.verdict().forwards() {
        let is_bare = params.as_list().is_some_and(|params| params.len() == 1);
        return refuse(core, asked, &method, &assessed, &judged, is_bare).await;
    }
    // What cannot be recorded is not forwarded.
    if let Err(error) = core.record("submitted", asked, &judged, None, None) {
        return Answer::Error(RpcError::new(code::INTERNAL, error.to_string())).into();
    }
    let sent = core.forwarder.send(method.name, &params.to_text(), repeat(&method, &assessed), &core.metrics).await;
    if let Err(error) = core.record("answered", asked, &judged, Some(&sent), None) {
        tracing::error!(%error, "an answer could not be recorded");
    }
    if matches!(sent.answer, Answer::Result(_)) {
        earlier.extend(assessed.iter().filter_map(transaction).cloned());
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
    if let Err(error) = core.record(event, asked, judged, None, hold_id) {
        tracing::error!(%error, "a refusal could not be recorded");
    }
    tracing::info!(method = method.name, verdict = %judged.verdict(), rule = %judged.decision.rule, "not forwarded");
    Answer::Error(judged.refusal(held)).into()
}

/// Who asks for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) client: &'a Client,
    pub(crate) method: &'a str,
    /// What somebody took responsibility for.
    pub(crate) overridden: &'a [String],
}

/// Each subject with what runs before it: all of its bundle, or what its sender sent before.
fn in_order(method: &Method, subjects: Vec<Subject>, earlier: &[Screened]) -> Vec<Assessed> {
    let mut before: Vec<Screened> = Vec::new();
    let mut assessed = Vec::with_capacity(subjects.len());
    for subject in subjects {
        let same = |other: &&Screened| Some(other.sender) == subject.sender();
        let runs = match method.class {
            Class::Bundle => before.clone(),
            _ => earlier.iter().chain(&before).filter(same).cloned().collect(),
        };
        if let Subject::Transaction(screened) = &subject {
            before.push(screened.as_ref().clone());
        }
        assessed.push(Assessed { subject: Arc::new(subject), before: Arc::new(runs) });
    }
    assessed
}

/// The worst judgement over all that a request carries. One policy decides on all of it.
pub(crate) async fn assess(core: &Core, asked: Asked<'_>, assessed: &[Assessed]) -> Judged {
    let policy = core.policy();
    let mut worst: Option<Judged> = None;
    let mut reads = Vec::new();
    for one in assessed {
        let findings = core.assessor.assess(one, &core.metrics, &policy).await;
        let judged = judge(&policy, &one.subject, asked, findings);
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
