//! `delegate.*`: foreign code that acts as an account.

use serde_json::{Value, json};

use super::{Bench, Severity};
use crate::decode::Action;
use crate::decode::action::Delegation;

pub(super) fn judge(bench: &mut Bench<'_>) {
    for action in bench.actions {
        if let Action::Delegate(one) = action {
            delegation(bench, one);
        }
    }
    let seen = bench.context.outcome.as_ref().map(|outcome| outcome.delegated.as_slice()).unwrap_or_default();
    for (account, code) in seen {
        let one = Delegation { account: Some(*account), code: *code, stays: false, chain_id: None };
        let is_asked =
            bench.actions.iter().any(|action| matches!(action, Action::Delegate(asked) if asked.code == *code));
        if !is_asked && bench.is_ours(Some(*account)) {
            delegation(bench, &one);
        }
    }
}

fn delegation(bench: &mut Bench<'_>, one: &Delegation) {
    // Delegating to the zero address takes the delegation back.
    if one.stays && one.code.is_zero() {
        return;
    }
    let evidence = json!({ "account": one.account, "code": one.code, "stays": one.stays });
    if let Some(labels) = bench.listed("delegate.listed", one.code) {
        let evidence = json!({ "delegation": evidence, "labels": labels });
        bench.risk("delegate.listed", Severity::Block, "the code is on a list of malicious addresses", evidence);
    }
    if one.stays && one.chain_id.is_some_and(|id| id.is_zero()) {
        let why = "the authorization holds on every chain, whatever is at that address there";
        bench.risk("delegate.any_chain", Severity::Quarantine, why, evidence.clone());
    }
    if bench.is_trusted(one.code) {
        return;
    }
    if one.stays {
        let why = "code that nobody vouches for would have full power over the account until it is replaced";
        bench.risk("delegate.unknown_code", Severity::Quarantine, why, evidence.clone());
    }
    age(bench, one, evidence);
}

fn age(bench: &mut Bench<'_>, one: &Delegation, evidence: Value) {
    let Some(facts) = bench.facts(one.code) else {
        return ["delegate.no_code", "delegate.fresh_code"].into_iter().for_each(|id| bench.unknown(id));
    };
    match (facts.has_code, facts.age_blocks) {
        (Some(false), _) => {
            let why = "there is no code yet at the address that would act as the account";
            bench.risk("delegate.no_code", Severity::Quarantine, why, evidence);
        }
        (_, Some(age)) if age < bench.context.thresholds.young_blocks => {
            let why = format!("the code that would act as the account is {age} blocks old");
            bench.risk("delegate.fresh_code", Severity::Quarantine, why, evidence);
        }
        (_, Some(_)) => {}
        _ => bench.unknown("delegate.fresh_code"),
    }
}
