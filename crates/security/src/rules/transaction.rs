//! `nonce.*`, `fee.*`, `chain.*`, `deploy.*`: the transaction around a call.

use alloy_primitives::U256;
use serde_json::json;

use super::{Bench, Deployment, Severity, Transaction};
use crate::decode::{Action, Decoded};

pub(super) fn judge(bench: &mut Bench<'_>) {
    for action in bench.actions {
        if let Action::Deploy { init_code } = action {
            deployed(bench, *init_code);
        }
    }
    for deployment in &bench.context.deployments {
        match deployment {
            Some(scan) => scanned(bench, scan),
            None => not_scanned(bench),
        }
    }
    if !matches!(bench.decoded, Decoded::Call(_)) {
        return;
    }
    let Some(transaction) = bench.context.transaction else {
        let rules = ["nonce.gap", "nonce.used", "nonce.replaces_held", "fee.absurd", "chain.missing", "chain.wrong"];
        return rules.into_iter().for_each(|id| bench.unknown(id));
    };
    nonce(bench, &transaction);
    fee(bench, &transaction);
    chain(bench, &transaction);
}

fn nonce(bench: &mut Bench<'_>, transaction: &Transaction) {
    let evidence = json!({ "nonce": transaction.nonce, "account": transaction.account_nonce });
    if transaction.replaces_held {
        let why = "it would replace a transaction that is held";
        bench.risk("nonce.replaces_held", Severity::Quarantine, why, evidence.clone());
    }
    match transaction.account_nonce {
        Some(account) if transaction.nonce < account => {
            bench.risk("nonce.used", Severity::Note, "the nonce is used up", evidence);
        }
        Some(account) if transaction.nonce > account => {
            let why = "it waits for others before it, and may come into force later";
            bench.risk("nonce.gap", Severity::Note, why, evidence);
        }
        Some(_) => {}
        None => ["nonce.gap", "nonce.used"].into_iter().for_each(|id| bench.unknown(id)),
    }
}

fn fee(bench: &mut Bench<'_>, transaction: &Transaction) {
    // Nobody pays more than base fee and tip, however high the maximum is; without the base fee the maximum counts.
    let paid = transaction
        .base_fee
        .map_or(transaction.max_fee, |base| transaction.max_fee.min(base.saturating_add(transaction.max_priority_fee)));
    let cost = U256::from(paid).saturating_mul(U256::from(transaction.gas_limit));
    if cost > bench.context.thresholds.fee {
        let evidence = json!({ "gas_limit": transaction.gas_limit, "cost": cost.to_string() });
        bench.risk("fee.absurd", Severity::Quarantine, "the transaction may burn an absurd fee", evidence);
    }
}

fn chain(bench: &mut Bench<'_>, transaction: &Transaction) {
    let Some(ours) = bench.context.chain_id else { return bench.unknown("chain.wrong") };
    match transaction.chain_id {
        None => {
            let why = "the transaction is bound to no chain: any chain would take it";
            bench.risk("chain.missing", Severity::Quarantine, why, json!({ "expected": ours }));
        }
        Some(said) if said != ours => {
            let evidence = json!({ "chain_id": said, "expected": ours });
            bench.risk("chain.wrong", Severity::Block, "the transaction is for another chain", evidence);
        }
        Some(_) => {}
    }
}

fn deployed(bench: &mut Bench<'_>, init_code: usize) {
    let most = bench.context.thresholds.init_code;
    if init_code > most {
        let evidence = json!({ "bytes": init_code, "most": most });
        bench.risk("deploy.too_long", Severity::Block, "the init code is longer than any chain takes", evidence);
    }
    if bench.context.deployments.is_empty() {
        not_scanned(bench);
    }
}

fn not_scanned(bench: &mut Bench<'_>) {
    let rules = ["deploy.listed", "deploy.self_destructs", "deploy.changes_code", "deploy.privileged"];
    rules.into_iter().for_each(|id| bench.unknown(id));
}

fn scanned(bench: &mut Bench<'_>, scan: &Deployment) {
    let address = scan.address;
    match &scan.listed_in {
        Some(lists) if !lists.is_empty() => {
            let evidence = json!({ "address": address, "lists": lists });
            bench.risk("deploy.listed", Severity::Block, "a list knows this code as malicious", evidence);
        }
        Some(_) => {}
        None => bench.unknown("deploy.listed"),
    }
    if scan.changes_code {
        let why = "other code may later take the place of the code that is seen now";
        bench.risk("deploy.changes_code", Severity::Quarantine, why, json!({ "address": address }));
    }
    if scan.self_destructs {
        let why = "the contract can destroy itself";
        bench.risk("deploy.self_destructs", Severity::Warn, why, json!({ "address": address }));
    }
    for privilege in &scan.privileges {
        let why = "the contract gives somebody power over what others hold in it";
        let evidence = json!({ "address": address, "privilege": privilege });
        bench.risk("deploy.privileged", Severity::Warn, why, evidence);
    }
}
