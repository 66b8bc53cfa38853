//! `diff.*` and `env.*`: what the simulation saw, against what was asked for.

use std::collections::BTreeSet;

use alloy_primitives::{Address, I256};
use serde_json::{Value, json};

use super::poison::dust;
use super::{Bench, Delta, Outcome, Severity};
use crate::decode::action::{Action, Handover, Power};
use crate::decode::role::Role;

pub(super) fn judge(bench: &mut Bench<'_>) {
    owners(bench);
    if !bench.is_run() {
        return;
    }
    let Some(outcome) = &bench.context.outcome else {
        let rules = ["diff.nothing_in", "diff.out_to_listed", "diff.out_to_fresh", "diff.logs_disagree", "env.differs"];
        return rules.into_iter().for_each(|id| bench.unknown(id));
    };
    for what in &outcome.environments {
        let why = "the outcome depends on who builds the block, when, or on who looks";
        bench.risk("env.differs", Severity::Quarantine, why, json!({ "differs": what }));
    }
    if outcome.is_elsewhere_unknown {
        bench.unknown("env.differs");
    }
    if outcome.is_reverted {
        return;
    }
    for token in &outcome.disagreeing {
        let why = "the token's logs tell another story than its balances";
        bench.risk("diff.logs_disagree", Severity::Quarantine, why, json!({ "token": token }));
    }
    balance(bench, outcome);
    receivers(bench, outcome);
}

/// What the signer gives and gets. Dust that comes back is nothing: a thief can spare it.
pub(super) fn own_deltas<'o>(bench: &Bench<'_>, outcome: &'o Outcome) -> Option<(Vec<&'o Delta>, Vec<&'o Delta>)> {
    let signer = bench.context.signer?;
    let own = outcome.deltas.iter().filter(|delta| delta.owner == signer && !delta.change.is_zero());
    let (given, mut got): (Vec<&Delta>, Vec<&Delta>) = own.partition(|delta| delta.change.is_negative());
    got.retain(|delta| is_dust(bench, delta) != Some(true));
    Some((given, got))
}

/// Whether an amount is next to nothing; unknown for a token that does not say its decimals.
fn is_dust(bench: &Bench<'_>, delta: &Delta) -> Option<bool> {
    if delta.id.is_some() {
        return Some(false);
    }
    Some(delta.change.unsigned_abs() <= dust(bench, delta.token)?)
}

fn balance(bench: &mut Bench<'_>, outcome: &Outcome) {
    let Some((given, got)) = own_deltas(bench, outcome) else { return bench.unknown("diff.nothing_in") };
    if given.is_empty() || is_payment(bench) {
        return;
    }
    if !got.is_empty() {
        if got.iter().all(|delta| is_dust(bench, delta).is_none()) {
            bench.unknown("diff.nothing_in");
        }
        return;
    }
    let is_known = bench.calls.iter().filter_map(|call| call.raw.to).any(|to| bench.is_trusted(to));
    let severity = if is_known { Severity::Note } else { Severity::Warn };
    let evidence: Vec<Value> = given.iter().map(|delta| shown(delta)).collect();
    bench.risk("diff.nothing_in", severity, "value leaves the signer and nothing comes back", json!(evidence));
}

/// Whether giving without getting is what the call says: a plain transfer.
fn is_payment(bench: &Bench<'_>) -> bool {
    bench.calls.iter().any(|call| {
        let transfers =
            [Role::Transfer, Role::TransferFrom, Role::NftTransfer, Role::MultiTransfer, Role::MultiTransferBatch];
        let is_plain = call.raw.data.is_empty() && call.raw.to.is_some() && !call.raw.value.is_zero();
        is_plain || call.reading().is_some_and(|reading| transfers.contains(&reading.role))
    })
}

/// Who gets what the signer gives.
fn receivers(bench: &mut Bench<'_>, outcome: &Outcome) {
    let Some((given, _)) = own_deltas(bench, outcome) else { return bench.unknown("diff.out_to_listed") };
    let tokens: BTreeSet<Option<Address>> = given.iter().map(|delta| delta.token).collect();
    for delta in outcome.deltas.iter().filter(|delta| delta.change > I256::ZERO && tokens.contains(&delta.token)) {
        if let Some(labels) = bench.listed("diff.out_to_listed", delta.owner) {
            let evidence = json!({ "delta": shown(delta), "labels": labels });
            let why = "what leaves the signer arrives at an address that is listed as malicious";
            bench.risk("diff.out_to_listed", Severity::Block, why, evidence);
        }
        match bench.facts(delta.owner).and_then(|facts| facts.is_unused) {
            // Its code is known, and what it gets is the sender's still.
            Some(true) if bench.facts(delta.owner).is_some_and(|facts| facts.is_own_pool) => {}
            Some(true) if !is_named(bench, delta.owner) => {
                let why =
                    "what leaves the signer arrives at an address that was never used and is not named in the call";
                bench.risk("diff.out_to_fresh", Severity::Quarantine, why, shown(delta));
            }
            Some(true) => {
                bench.risk("diff.out_to_fresh", Severity::Note, "the recipient's address was never used", shown(delta));
            }
            Some(false) => {}
            None => bench.unknown("diff.out_to_fresh"),
        }
    }
}

/// Whether the receiver is one that the call names as such.
fn is_named(bench: &Bench<'_>, receiver: Address) -> bool {
    bench.actions.iter().any(|action| matches!(action, Action::Move(movement) if movement.to == receiver))
}

fn owners(bench: &mut Bench<'_>) {
    let asked: Vec<&Handover> = bench
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Handover(one) if !matches!(one.power, Power::Hash(_)) => Some(one),
            _ => None,
        })
        .collect();
    for one in &asked {
        let evidence = json!({ "contract": one.contract, "power": one.power, "to": one.to });
        let listed = one.to.filter(|to| !to.is_zero()).and_then(|to| bench.listed("diff.owner_changed", to));
        let severity = if listed.is_some() { Severity::Block } else { Severity::Warn };
        bench.risk("diff.owner_changed", severity, "power over a contract is handed to another", evidence);
    }
    let Some(outcome) = &bench.context.outcome else {
        if bench.is_run() {
            bench.unknown("diff.owner_changed");
        }
        return;
    };
    for (contract, power) in outcome.handovers.iter().filter(|_| !outcome.is_reverted) {
        if !asked.iter().any(|one| one.contract == Some(*contract)) {
            let why = "the call changes who controls a contract, and does not say so";
            let evidence = json!({ "contract": contract, "power": power });
            bench.risk("diff.owner_changed", Severity::Quarantine, why, evidence);
        }
    }
}

fn shown(delta: &Delta) -> Value {
    json!({ "owner": delta.owner, "token": delta.token, "id": delta.id, "change": delta.change.to_string() })
}
