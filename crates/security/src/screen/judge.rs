//! Decoding a question and letting the firewall's rules judge the facts.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use surety_evm::Session;

use super::{Around, Question, facts};
use crate::decode::{self, Decoded, Inferred, Input, Known};
use crate::envelope::{Reason, Unknown};
use crate::history::History;
use crate::parties::Parties;
use crate::rules::context::{AddressFacts, Deployment, Thresholds};
use crate::rules::{self, Context, Judgement};
use crate::simulate::{LIMITS, Simulated};
use crate::state::reason;
use crate::views::Named;

/// What was decoded and judged without a run.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) decoded: Decoded,
    pub(crate) addresses: BTreeMap<Address, AddressFacts>,
    pub(crate) judgement: Judgement,
    pub(crate) unknown: Vec<Unknown>,
}

/// Rules that only a run could settle.
const OF_A_RUN: [&str; 3] = ["approve.not_asked", "approve.left_over", "drain.split"];

/// Decodes something and lets the rules judge what it says, without running it.
pub(crate) fn read(question: &Question, around: Around<'_>, parties: &mut Parties<'_>) -> Read {
    let session = around.snapshot.map(|snapshot| Session::new(snapshot, LIMITS));
    let decoded = decoded(question, session.as_ref().ok());
    let facts = Facts { question, decoded: &decoded, simulated: None, deployments: Vec::new(), pools: BTreeSet::new() };
    let Judged { mut judgement, addresses, state } = judge(facts, around, parties);
    let of_a_run = |id: &str| id.starts_with("diff.") || id.starts_with("env.") || OF_A_RUN.contains(&id);
    judgement.unknown.retain(|id| !of_a_run(id));
    let lists = parties.unknown("lists").map(|unknown| unknown.reason);
    let why = Why { lists, state: around.snapshot.err().or(state.err()) };
    let unknown = judgement.unknown.iter().map(|rule| Unknown::new(rule, why.of(rule))).collect();
    Read { decoded, addresses, judgement, unknown }
}

/// Decodes, with types inferred from the contract's code where no table knows the method.
pub(super) fn decoded(question: &Question, session: Option<&Session>) -> Decoded {
    let input = question.input();
    let decoded = decode::decode(&Known::default(), input.clone());
    let (Input::Call(call), Decoded::Call(read), Some(session)) = (&input, &decoded, session) else { return decoded };
    let (Some(to), true) = (call.to, read.readings.is_empty() && call.data.len() >= 4) else { return decoded };
    match session.code(to) {
        Ok(code) if !code.is_empty() => {
            let inferred = BTreeMap::from([(to, Inferred::of(&code).into())]);
            decode::decode(&Known { inferred, ..Known::default() }, input)
        }
        _ => decoded,
    }
}

/// What the rules said, of which facts, and whether the state could be read.
pub(super) struct Judged {
    pub(super) judgement: Judgement,
    addresses: BTreeMap<Address, AddressFacts>,
    pub(super) state: Result<(), Reason>,
}

/// What is judged.
pub(super) struct Facts<'a> {
    pub(super) question: &'a Question,
    pub(super) decoded: &'a Decoded,
    pub(super) simulated: Option<&'a Simulated>,
    pub(super) deployments: Vec<Option<Deployment>>,
    /// The pools of well-known exchanges that come to be and are the sender's.
    pub(super) pools: BTreeSet<Address>,
}

/// Lets the rules judge what was decoded, and each delegation that the transaction brings besides.
pub(super) fn judge(judged: Facts<'_>, around: Around<'_>, parties: &mut Parties<'_>) -> Judged {
    let Facts { question, decoded, simulated, deployments, pools } = judged;
    let Around { snapshot, history, .. } = around;
    let delegations = question.delegations();
    let asked = asked(question, decoded, &delegations, simulated);
    let none = BTreeMap::new();
    let names: &BTreeMap<Address, Named> = simulated.map_or(&none, |simulated| &simulated.names);
    // What stood before the transaction: a spender that it makes itself has no code yet.
    let session = snapshot.ok().map(|snapshot| Session::new(snapshot, LIMITS));
    let (addresses, state) = match facts::addresses(&asked, parties, session.as_ref(), history, names, &pools) {
        Ok(addresses) => (addresses, Ok(())),
        // Without a session nothing is read, so that lists still count.
        Err(error) => {
            (facts::addresses(&asked, parties, None, None, names, &pools).unwrap_or_default(), Err(reason(&error)))
        }
    };
    let context = Context {
        chain_id: Some(question.chain_id),
        signer: question.signer(),
        now: snapshot.ok().map(|snapshot| snapshot.head.timestamp),
        site: question.site.clone(),
        addresses,
        counterparties: counterparties(question, history),
        outcome: simulated.filter(|simulated| simulated.is_complete()).map(facts::outcome),
        transaction: question.transaction(session.as_ref()),
        deployments,
        thresholds: Thresholds::default(),
    };
    let mut judgement = rules::judge(decoded, &context);
    for delegation in &delegations {
        let alone = Context { outcome: None, transaction: None, deployments: Vec::new(), ..context.clone() };
        let more = rules::judge(delegation, &alone);
        judgement.risks.extend(more.risks.into_iter().filter(|risk| risk.id.starts_with("delegate.")));
        judgement.unknown.extend(more.unknown.into_iter().filter(|id| id.starts_with("delegate.")));
    }
    Judged { judgement, addresses: context.addresses, state }
}

/// Whom the signer paid before, where the chain's history tells.
fn counterparties(question: &Question, history: Option<&History>) -> Option<BTreeSet<Address>> {
    let paid = history?.paid(question.signer()?)?;
    Some(paid.into_iter().map(Address::from).collect())
}

/// Everybody whom it names, brings or touches.
fn asked(
    question: &Question,
    decoded: &Decoded,
    delegations: &[Decoded],
    simulated: Option<&Simulated>,
) -> BTreeSet<Address> {
    let named = decoded.addresses().into_iter().chain(question.signer());
    let brought = delegations.iter().flat_map(Decoded::addresses);
    let touched = simulated.map(|simulated| facts::touched(&simulated.simulation)).unwrap_or_default();
    let mut asked: BTreeSet<Address> = named.chain(brought).chain(touched).collect();
    asked.remove(&Address::ZERO);
    asked
}

/// Why rules could not run: for want of a list, of the state, or else of the chain's history.
pub(super) struct Why {
    pub(super) lists: Option<Reason>,
    pub(super) state: Option<Reason>,
}

impl Why {
    pub(super) fn of(&self, rule: &str) -> Reason {
        if rule.ends_with("listed") || rule.ends_with("look_alike") {
            return self.lists.or(self.state).unwrap_or(Reason::NoSource);
        }
        // The fields around a transaction are there once it is signed, and no state or history has them.
        let given = ["deploy.", "chain.", "fee.", "nonce."].iter().any(|family| rule.starts_with(family));
        if given { Reason::NoSource } else { self.state.unwrap_or(Reason::NoHistory) }
    }
}
