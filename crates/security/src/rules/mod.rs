//! The firewall's rules on decoded calls and messages (`security-services.md` section 5.5).
//!
//! Invariants: the rules are pure, a function of what was decoded and of the facts; their ids are stable; a rule whose
//! facts are missing is named as unknown and never counts as passed.
//! Never here: decoding, look-ups, simulation; what to do about a risk (the gateway's policy decides).

pub mod context;

mod approve;
mod delegate;
mod diff;
mod drain;
mod poison;
mod reading;
mod sign;
mod transaction;

use std::collections::BTreeSet;

use alloy_primitives::Address;
use serde::Serialize;
use serde_json::Value;

use crate::decode::{Action, Call, Decoded};

pub use context::{
    AddressFacts, Context, Delta, Deployment, Label, Outcome, SeenGrant, Standing, Thresholds, Token, Transaction,
};

/// How bad a risk is; the worst decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// The user should be told.
    Warn,
    /// It should wait for a second look.
    Quarantine,
    /// It should not happen.
    Block,
}

/// A rule that applies.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Risk {
    /// The rule.
    pub id: &'static str,
    /// How bad.
    pub severity: Severity,
    /// Why, in a sentence without names of tokens (strangers choose those).
    pub message: String,
    /// The facts that decided.
    pub evidence: Vec<Value>,
}

/// What the rules say.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Judgement {
    /// The rules that apply, the worst first, then by id; one entry for each case, up to [`MAX_CASES`].
    pub risks: Vec<Risk>,
    /// The rules that could not run, because a fact is missing.
    pub unknown: BTreeSet<&'static str>,
}

impl Judgement {
    /// The worst severity, where any rule applies.
    pub fn worst(&self) -> Option<Severity> {
        self.risks.iter().map(|risk| risk.severity).max()
    }

    /// Whether a rule of this id applies.
    pub fn has(&self, id: &str) -> bool {
        self.risks.iter().any(|risk| risk.id == id)
    }
}

/// Most cases of one rule and severity that are told; a call may have thousands of them.
pub const MAX_CASES: usize = 16;

/// Every id that the rules use, in alphabetic order.
pub const IDS: &[&str] = &[
    "approve.everything",
    "approve.hash",
    "approve.left_over",
    "approve.listed",
    "approve.look_alike",
    "approve.no_code",
    "approve.not_asked",
    "approve.to_wallet",
    "approve.unlimited",
    "approve.young",
    "chain.missing",
    "chain.wrong",
    "decode.ambiguous",
    "decode.incomplete",
    "decode.left_over",
    "decode.misfit",
    "decode.no_selector",
    "decode.not_canonical",
    "decode.too_deep",
    "decode.too_many",
    "decode.unknown_method",
    "delegate.any_chain",
    "delegate.fresh_code",
    "delegate.listed",
    "delegate.no_code",
    "delegate.unknown_code",
    "deploy.changes_code",
    "deploy.listed",
    "deploy.privileged",
    "deploy.self_destructs",
    "deploy.too_long",
    "diff.logs_disagree",
    "diff.nothing_in",
    "diff.out_to_fresh",
    "diff.out_to_listed",
    "diff.owner_changed",
    "drain.claim",
    "drain.free_order",
    "drain.listed",
    "drain.many_from_one",
    "drain.other_receiver",
    "drain.split",
    "drain.sweep",
    "env.differs",
    "fee.absurd",
    "nonce.gap",
    "nonce.replaces_held",
    "nonce.used",
    "poison.dust",
    "poison.look_alike",
    "poison.token_look_alike",
    "poison.zero_value",
    "sign.eth_sign",
    "sign.hash",
    "sign.hidden_fields",
    "sign.incomplete",
    "sign.other_account",
    "sign.other_site",
    "sign.unreadable",
];

/// The rules that look beyond what was decoded: at a run of it, or at the transaction around it. Without them it is
/// still known whether the call or message asks for something risky.
pub const BEYOND_INPUT: &[&str] = &[
    "approve.left_over",
    "approve.not_asked",
    "chain.missing",
    "chain.wrong",
    "diff.logs_disagree",
    "diff.nothing_in",
    "diff.out_to_fresh",
    "diff.out_to_listed",
    "diff.owner_changed",
    "drain.split",
    "env.differs",
    "fee.absurd",
    "nonce.gap",
    "nonce.replaces_held",
    "nonce.used",
];

/// Judges what was decoded by what is known around it.
pub fn judge(decoded: &Decoded, context: &Context) -> Judgement {
    let actions = decoded.actions();
    let calls = decoded.calls();
    let accounts = calls.iter().flat_map(|call| call.inner.iter().filter_map(|one| one.raw.from));
    let accounts = accounts.chain(decoded.message().and_then(|message| message.contract)).collect();
    let mut bench =
        Bench { decoded, actions: &actions, calls: &calls, accounts, context, judgement: Judgement::default() };
    reading::judge(&mut bench);
    sign::judge(&mut bench);
    approve::judge(&mut bench);
    delegate::judge(&mut bench);
    drain::judge(&mut bench);
    poison::judge(&mut bench);
    diff::judge(&mut bench);
    transaction::judge(&mut bench);
    let mut judgement = bench.judgement;
    judgement.risks.sort_by(|one, other| other.severity.cmp(&one.severity).then(one.id.cmp(other.id)));
    judgement
}

/// What every rule sees, and where it says what it found.
struct Bench<'a> {
    decoded: &'a Decoded,
    actions: &'a [Action],
    /// Every call, outermost first.
    calls: &'a [&'a Call],
    /// Who makes the calls inside, and the account that a message is for.
    accounts: BTreeSet<Address>,
    context: &'a Context,
    judgement: Judgement,
}

impl<'a> Bench<'a> {
    fn risk(&mut self, id: &'static str, severity: Severity, message: impl Into<String>, evidence: Value) {
        let risks = &mut self.judgement.risks;
        if risks.iter().filter(|risk| (risk.id, risk.severity) == (id, severity)).count() >= MAX_CASES {
            return;
        }
        risks.push(Risk { id, severity, message: message.into(), evidence: vec![evidence] });
    }

    /// Whether it can be run at all: a message cannot, so nothing is unknown for want of a run.
    const fn is_run(&self) -> bool {
        matches!(self.decoded, Decoded::Call(_))
    }

    fn unknown(&mut self, id: &'static str) {
        self.judgement.unknown.insert(id);
    }

    fn facts(&self, address: Address) -> Option<&'a AddressFacts> {
        self.context.facts(address)
    }

    /// Whether a list calls the address malicious, with its labels; unknown where no list was asked.
    fn listed(&mut self, rule: &'static str, address: Address) -> Option<&'a [Label]> {
        let Some(labels) = self.facts(address).and_then(|facts| facts.labels.as_deref()) else {
            self.unknown(rule);
            return None;
        };
        labels.iter().any(|label| label.standing == Standing::Malicious).then_some(labels)
    }

    fn is_trusted(&self, address: Address) -> bool {
        self.facts(address).is_some_and(AddressFacts::is_trusted)
    }

    /// Accounts that the signer speaks for: itself, and the accounts that the calls inside are made by.
    fn is_ours(&self, address: Option<Address>) -> bool {
        let (Some(address), Some(signer)) = (address, self.context.signer) else { return true };
        address == signer || self.accounts.contains(&address)
    }
}

#[cfg(test)]
mod tests;
