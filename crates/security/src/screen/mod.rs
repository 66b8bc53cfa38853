//! `screen`: one verdict about something that is to be sent or signed (`security-services.md` 3.8).
//!
//! It is decoded, run where it is a transaction and there is state, everybody whom it names or touches is looked up, and
//! the firewall's rules judge the facts. The worst check wins. Always true: a list or a simulation that is missing warns.

mod bought;
mod checks;
mod deployed;
mod environment;
mod facts;
mod judge;
mod pools;
mod question;

use std::collections::BTreeSet;

use alloy_primitives::Address;
use surety_evm::{Call, Session, Snapshot};

use crate::address::Standing;
use crate::decode::Decoded;
use crate::envelope::{Reason, Refusal, Unknown, Verdict as Said, raw};
use crate::evidence::Item;
use crate::history::History;
use crate::json;
use crate::parties::Parties;
use crate::rules::{Risk, Severity};
use crate::service::{Card, Gathered, Method, Request, RestsOn, Service, Sources};
use crate::simulate::{LIMITS, Simulated, evidence, simulate};
use crate::state::{Pinned, State, reason};
use crate::token::Cache;
use crate::views::lower;
use judge::{Facts, Judged, Why, decoded, judge};

pub use checks::{Check, Outcome, Screened, Verdict};
pub(crate) use judge::read;
pub use question::{Question, Sent, What};

/// What is known when something is screened.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The state, or why there is none.
    pub snapshot: Result<&'a Snapshot, Reason>,
    /// What is sent before it, in the same bundle or batch.
    pub before: &'a [Call],
    /// The chain's history up to the snapshot's block, where there is one.
    pub history: Option<&'a History>,
    /// Reports on tokens of the same chain and lists, where they are remembered. An answer that is recorded goes without:
    /// what a report read belongs to the record.
    pub reports: Option<&'a Cache>,
}

impl<'a> Around<'a> {
    /// A state, with its history, and nothing that is sent before.
    pub(crate) fn of(state: &'a State) -> Self {
        let history = state.pinned().and_then(Pinned::history);
        Self { snapshot: state.snapshot(), before: &[], history, reports: None }
    }
}

/// A verdict with what it rests on.
#[derive(Debug)]
pub struct Grounds {
    /// The verdict.
    pub screened: Screened,
    /// What was decoded.
    pub decoded: Decoded,
    /// The run; none of a message, and why there is none of a transaction.
    pub simulated: Result<Option<Simulated>, Reason>,
    /// Every rule that applies.
    pub risks: Vec<Risk>,
    /// The checks that could not run, and the rules that wait for a fact.
    pub unknown: Vec<Unknown>,
}

/// Screens one thing. `parties` keeps the look-ups that were made.
pub fn screen(question: &Question, around: Around<'_>, parties: &mut Parties<'_>) -> Grounds {
    let mut session = around.snapshot.map(|snapshot| Session::new(snapshot, LIMITS));
    let decoded = decoded(question, session.as_ref().ok());
    let simulated = match (&question.what, &mut session) {
        (What::Call(sent), Ok(session)) => run(session, around.before, &sent.call),
        (What::Call(_), Err(reason)) => Err(*reason),
        // A message is not run.
        (What::Message(_), _) => Ok(None),
    };
    let ran = simulated.as_ref().ok().and_then(Option::as_ref);
    let (pools, deployments) = match (ran, around.snapshot, &mut session) {
        (Some(ran), Ok(snapshot), Ok(session)) => {
            // A pool that could not be looked at is a stranger's.
            let pools = pools::made(snapshot, session, ran).unwrap_or_default();
            let deployments = deployed::deployments(session, ran, parties, &pools);
            (pools, deployments)
        }
        _ => Default::default(),
    };
    let facts = Facts { question, decoded: &decoded, simulated: ran, deployments, pools: pools.clone() };
    let Judged { judgement, state, .. } = judge(facts, around, parties);
    let ran = match &simulated {
        // What moved besides was not read: it may be what matters.
        Ok(Some(ran)) if !ran.is_complete() || ran.simulation.changes.incomplete => Err(Reason::OutOfGasBudget),
        Ok(Some(ran)) if ran.elsewhere.is_err() => {
            ran.elsewhere.as_ref().map_or_else(|reason| Err(*reason), |_| Ok(()))
        }
        Ok(_) => state,
        Err(reason) => Err(*reason),
    };
    let mut risks = listed(&decoded, question, parties);
    let missing = parties.unknown("lists").map(|unknown| unknown.reason);
    let lists = match missing {
        Some(reason) if risks.is_empty() => Check::missing("lists", 1, reason),
        reason => Check { reason, ..Check::ran("lists", 1, &risks.iter().collect::<Vec<_>>(), Vec::new()) },
    };
    let mut checks = vec![lists];
    checks.extend(checks::of(&judgement, ran));
    checks.extend(bought::check(around, &simulated, &decoded, &pools));
    if !question.is_transaction() {
        checks.retain(|check| check.name != "simulation");
    }
    let screened = Screened::of(checks);
    let unknown = unknown(&screened, &Why { lists: missing, state: around.snapshot.err() });
    risks.extend(judgement.risks);
    Grounds { screened, decoded, simulated, risks, unknown }
}

/// Runs what comes before, then the call, and the call in another block where it asks what block it is in.
fn run(session: &mut Session, before: &[Call], call: &Call) -> Result<Option<Simulated>, Reason> {
    for earlier in before {
        session.run(earlier).map_err(|error| reason(&error))?;
    }
    let start = session.checkpoint();
    let mut simulated = simulate(session, call).map_err(|error| reason(&error))?;
    if simulated.is_complete() {
        simulated.elsewhere = environment::differences(session, &start, &simulated);
    }
    Ok(Some(simulated))
}

/// What lists say of everybody who was asked about by now.
fn listed(decoded: &Decoded, question: &Question, parties: &Parties<'_>) -> Vec<Risk> {
    let named: BTreeSet<Address> = decoded.addresses().into_iter().chain(question.signer()).collect();
    let risk = |(address, standing): (&Address, &Standing)| {
        let only_doubt = standing.flags == ["blacklist_doubt"];
        let (id, severity) = match (standing.is_sanctioned(), named.contains(address)) {
            (true, _) => ("lists.sanctioned", Severity::Block),
            // It is on a list of bad addresses, which does not say why.
            _ if only_doubt => ("lists.doubted", Severity::Quarantine),
            (_, true) => ("lists.listed", Severity::Block),
            // Met on the way: a listed address may receive a share that nobody here decides on.
            _ => ("lists.touched", Severity::Quarantine),
        };
        let message = format!("{} is listed: {}", lower(address), standing.flags.join(", "));
        Risk { id, severity, message, evidence: Vec::new() }
    };
    parties.bad().map(risk).collect()
}

/// The checks that could not run, and the rules that wait for a fact.
fn unknown(screened: &Screened, why: &Why) -> Vec<Unknown> {
    let mut unknown = Vec::new();
    for check in &screened.checks {
        unknown.extend(check.reason.map(|reason| Unknown::new(check.name, reason)));
        unknown.extend(check.unknown.iter().map(|rule| Unknown::new(rule, why.of(rule))));
    }
    unknown.sort();
    unknown.dedup();
    unknown
}

/// A question with the request that asked it: what is gathered for all services that decode or screen something.
pub(crate) struct Asked {
    pub(crate) question: Question,
    pub(crate) request: Request,
}

impl Asked {
    pub(crate) fn gathered<'a>(self, sources: Sources<'a>, state: State) -> Gathered<'a> {
        Gathered::about(sources.lists, self, state)
    }

    pub(crate) fn of<'g>(gathered: &'g Gathered<'_>) -> Result<&'g Self, Refusal> {
        gathered.question().ok_or_else(|| Refusal::Server("nothing was gathered".to_owned()))
    }
}

/// The service.
#[derive(Debug)]
pub struct Screen;

impl Service for Screen {
    fn card(&self) -> Card {
        Card {
            method: Method::Post,
            reads_state: true,
            rests_on: Some(RestsOn::Addresses),
            ..Card::new("screen", "/v1/screen")
        }
    }

    fn gather<'a>(&self, sources: Sources<'a>, request: &Request) -> Result<Gathered<'a>, Refusal> {
        let body: question::Body = json::read(&request.body)?;
        let chain_id = body.chain_id.chain()?;
        let block = body.block()?;
        let state = State::of_any(sources, chain_id, block)?;
        let base_fee = state.pinned().map_or(0, |pinned| pinned.head().base_fee);
        let question = body.question(chain_id, base_fee)?;
        Ok(Asked { question, request: request.clone() }.gathered(sources, state))
    }

    fn judge<'a>(&self, gathered: &Gathered<'a>) -> Result<Said<'a>, Refusal> {
        let Asked { question, request } = Asked::of(gathered)?;
        let mut parties = Parties::new(gathered.lists, request);
        let around = Around::of(&gathered.state);
        let grounds = screen(question, around, &mut parties);
        let items: Vec<Item> = grounds.simulated.iter().flatten().map(evidence).collect();
        Ok(Said::attested(raw(&grounds.screened), grounds.unknown).resting_on(parties.into_looked(), items))
    }
}
