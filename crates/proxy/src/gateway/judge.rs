//! From findings to one judgement by the policy, and what a wallet is told of it.

use std::sync::Arc;

use alloy_primitives::B256;
use serde_json::json;

use super::hold::Held;
use super::jsonrpc::{RpcError, code};
use super::policy::{Decision, Facts, Policy, PolicyHash};
use super::request::{Advice, Asked};
use super::subject::{Screened, Subject, Unsigned};
use super::verdict::{Fact, Finding, Verdict};

/// What becomes of a submission, and why.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    /// What the policy says.
    pub(crate) decision: Decision,
    /// Which policy said it.
    pub(crate) policy: PolicyHash,
    /// What the checks said.
    pub(crate) findings: Vec<Finding>,
    /// Findings, also of other parts of the same request, that rest on state.
    pub(crate) rests_on: Vec<Finding>,
    /// The transaction.
    pub(crate) hash: Option<B256>,
}

/// Judges one subject.
pub(crate) fn judge(policy: &Policy, subject: &Subject, asked: Asked<'_>, findings: Vec<Finding>) -> Judged {
    let facts = facts(subject).sent_by(&asked.client.0, asked.method);
    let decision = policy.decide_overridden(&facts, &findings, asked.overridden);
    Judged { decision, policy: policy.hash(), findings, rests_on: Vec::new(), hash: subject.hash() }
}

fn facts(subject: &Subject) -> Facts {
    let signed_by = |facts: Facts, signer: Option<_>| match signer {
        Some(signer) => facts.with("tx.from", Fact::Address(signer)),
        None => facts,
    };
    match subject {
        Subject::Transaction(screened) => of_transaction(screened),
        Subject::UserOperation(operation) => signed_by(Facts::new("user_operation"), Some(operation.sender))
            .with("tx.data_size", size(&operation.call_data)),
        Subject::TypedData { signer, .. } => signed_by(Facts::new("typed_data"), *signer),
        Subject::Message { signer, message } => {
            signed_by(Facts::new("message"), *signer).with("tx.data_size", size(message))
        }
        Subject::Unsigned(unsigned) => signed_by(of_unsigned(unsigned), unsigned.from),
    }
}

fn of_transaction(screened: &Screened) -> Facts {
    Facts::transaction(&screened.envelope, screened.sender, screened.hash)
}

fn of_unsigned(unsigned: &Unsigned) -> Facts {
    let facts = Facts::new("unsigned")
        .with("tx.create", Fact::Bool(unsigned.to.is_none()))
        .with("tx.value", Fact::Amount(unsigned.value))
        .with("tx.data_size", size(&unsigned.data));
    match unsigned.to {
        // Of a plain transfer everything is known; what a call moves only its simulation can tell.
        Some(to) if unsigned.data.is_empty() => facts.with("tx.to", Fact::Address(to)).worth(unsigned.value),
        Some(to) => facts.with("tx.to", Fact::Address(to)),
        None => facts,
    }
}

fn size(bytes: &[u8]) -> Fact {
    Fact::Int(i64::try_from(bytes.len()).unwrap_or(i64::MAX))
}

/// How a held transaction may be let go by its sender.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) held: Arc<Held>,
    pub(crate) token: Option<String>,
}

impl Judged {
    /// What becomes of it.
    pub(crate) const fn verdict(&self) -> Verdict {
        self.decision.verdict
    }

    /// The error that a wallet shows of something that is not forwarded; `held` says how it may leave, or why it was not
    /// held.
    pub(crate) fn refusal(&self, held: Result<Waiting, String>) -> RpcError {
        let (verb, why) = match &held {
            Ok(_) => ("held", String::new()),
            Err(reason) => ("blocked", reason.clone()),
        };
        let mut message = format!("{verb} by policy {}", self.decision.rule);
        for more in [&self.decision.message, &why] {
            if !more.is_empty() {
                message = format!("{message}: {more}");
            }
        }
        let mut data = self.data();
        if let Ok(waiting) = held {
            data["hold_id"] = json!(waiting.held.id);
            data["release_after"] = json!(waiting.held.release_at_s);
            if let Some(token) = waiting.token {
                data["override_token"] = json!(token);
            }
        }
        RpcError::new(code::POLICY, message).with(data.to_string())
    }

    /// What goes into a header where nothing is stopped: a warning, or what a policy on trial would have done.
    pub(crate) fn advice(&self) -> Advice {
        let on_trial = self.decision.dry_run.iter().max_by_key(|rule| rule.verdict);
        match on_trial {
            Some(rule) if rule.verdict > self.decision.found => {
                Advice { verdict: rule.verdict, rule: rule.rule.clone() }
            }
            _ => Advice { verdict: self.decision.found, rule: self.decision.rule.clone() },
        }
    }

    /// Verdict and evidence, as errors and `surety_screen` give them.
    pub(crate) fn to_json(&self) -> String {
        self.data().to_string()
    }

    fn data(&self) -> serde_json::Value {
        let checks: Vec<_> = self.findings.iter().map(check_json).collect();
        let mut data = json!({
            "verdict": self.decision.verdict,
            "policy": self.policy,
            "rule": self.decision.rule,
            "checks": checks,
        });
        if let Some(hash) = self.hash {
            data["tx_hash"] = json!(hash.to_string());
        }
        data
    }
}

fn check_json(finding: &Finding) -> serde_json::Value {
    let mut json = json!({ "name": finding.check, "outcome": finding.outcome.word(), "evidence": finding.evidence });
    if !finding.rule.is_empty() {
        json["rule"] = json!(finding.rule);
        json["message"] = json!(finding.message);
    }
    json
}
