//! `approve.*`: who may take what, and for how long.

use alloy_primitives::Address;
use serde_json::{Value, json};

use super::{Bench, Severity};
use crate::decode::Action;
use crate::decode::action::{Extent, Grant, Handover, Means, Power};

pub(super) fn judge(bench: &mut Bench<'_>) {
    for action in bench.actions {
        match action {
            Action::Grant(grant) if !grant.extent.is_nothing() && bench.is_ours(grant.owner) => asked(bench, grant),
            Action::Handover(Handover { power: Power::Hash(hash), contract, .. }) => {
                let why = "fixes a hash that may be executed later without another signature";
                bench.risk("approve.hash", Severity::Warn, why, json!({ "contract": contract, "hash": hash }));
            }
            _ => {}
        }
    }
    if bench.is_run() {
        seen(bench);
    }
}

fn asked(bench: &mut Bench<'_>, grant: &Grant) {
    let evidence =
        json!({ "token": grant.token, "spender": grant.spender, "extent": grant.extent, "means": grant.means });
    spender(bench, grant.spender, &evidence);
    let is_nft =
        grant.token.and_then(|token| bench.facts(token)?.token.as_ref()).is_some_and(|token| token.standard != "erc20");
    match grant.extent {
        Extent::Everything => {
            let why = "everything of the owner in this contract may be taken, also what comes later";
            bench.risk("approve.everything", Severity::Warn, why, evidence);
        }
        // A single NFT's number may be as large as a limitless amount.
        Extent::Amount(_) if grant.extent.is_unlimited() && !is_nft && grant.means != Means::Permit2Transfer => {
            bench.risk("approve.unlimited", Severity::Warn, "the amount has no limit", evidence);
        }
        _ => {}
    }
}

/// Rules about whoever may take.
fn spender(bench: &mut Bench<'_>, spender: Address, evidence: &Value) {
    if let Some(labels) = bench.listed("approve.listed", spender) {
        let evidence = json!({ "grant": evidence, "labels": labels });
        bench.risk("approve.listed", Severity::Block, "the spender is on a list of malicious addresses", evidence);
    }
    let Some(facts) = bench.facts(spender) else {
        for id in ["approve.look_alike", "approve.to_wallet", "approve.no_code", "approve.young"] {
            bench.unknown(id);
        }
        return;
    };
    if let Some(original) = facts.look_alike_of.filter(|_| !facts.is_trusted()) {
        let evidence = json!({ "grant": evidence, "looks_like": original });
        bench.risk(
            "approve.look_alike",
            Severity::Block,
            "the spender looks like a known address and is another",
            evidence,
        );
    }
    if facts.is_trusted() {
        return;
    }
    match (facts.has_code, facts.is_unused) {
        (Some(false), Some(true)) => {
            let why = "nothing is at the spender's address yet, and anything may be put there";
            bench.risk("approve.no_code", Severity::Quarantine, why, evidence.clone());
        }
        (Some(false), _) => {
            let why = "the spender is a wallet: whoever holds its key may take the tokens";
            bench.risk("approve.to_wallet", Severity::Quarantine, why, evidence.clone());
        }
        (Some(true), _) => young(bench, facts.age_blocks, evidence),
        (None, _) => ["approve.to_wallet", "approve.no_code"].into_iter().for_each(|id| bench.unknown(id)),
    }
}

fn young(bench: &mut Bench<'_>, age: Option<u64>, evidence: &Value) {
    match age {
        Some(age) if age < bench.context.thresholds.young_blocks => {
            let why = format!("the spender's contract is {age} blocks old");
            bench.risk("approve.young", Severity::Quarantine, why, evidence.clone());
        }
        Some(_) => {}
        None => bench.unknown("approve.young"),
    }
}

/// Rules about allowances that the simulation saw.
fn seen(bench: &mut Bench<'_>) {
    let Some(outcome) = &bench.context.outcome else {
        return ["approve.not_asked", "approve.left_over"].into_iter().for_each(|id| bench.unknown(id));
    };
    if outcome.is_reverted {
        return;
    }
    for seen in &outcome.grants {
        if !bench.is_ours(Some(seen.owner)) || seen.left.is_nothing() {
            continue;
        }
        let evidence = json!({ "token": seen.token, "owner": seen.owner, "spender": seen.spender, "left": seen.left });
        if is_asked(bench, seen.token, seen.spender) {
            if moved_by(bench, seen.spender) {
                let why = "the call used an allowance and leaves the rest of it";
                bench.risk("approve.left_over", Severity::Warn, why, evidence);
            }
            continue;
        }
        let why = "the call raises an allowance that it does not ask for";
        bench.risk("approve.not_asked", Severity::Quarantine, why, evidence.clone());
        spender(bench, seen.spender, &evidence);
    }
}

fn is_asked(bench: &Bench<'_>, token: Address, spender: Address) -> bool {
    bench.actions.iter().any(|action| match action {
        Action::Grant(grant) => grant.spender == spender && grant.token.is_none_or(|named| named == token),
        _ => false,
    })
}

/// Whether the same subject also calls the spender: then the grant was for this call.
fn moved_by(bench: &Bench<'_>, spender: Address) -> bool {
    bench.calls.iter().any(|call| call.raw.to == Some(spender))
}
