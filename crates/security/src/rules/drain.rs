//! `drain.*`: the shapes of theft.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, I256, U256};
use serde_json::json;

use super::diff::own_deltas;
use super::{Bench, Outcome, Severity};
use crate::decode::Action;
use crate::decode::action::{Movement, Offer};

pub(super) fn judge(bench: &mut Bench<'_>) {
    for action in bench.actions {
        match action {
            Action::Claim { contract, method, value } if !value.is_zero() => claim(bench, *contract, method, *value),
            Action::Offer(offer) => order(bench, offer),
            _ => {}
        }
    }
    bad_company(bench);
    victims(bench);
    sweep(bench);
    match &bench.context.outcome {
        Some(outcome) if !outcome.is_reverted => split(bench, outcome),
        None if bench.is_run() => bench.unknown("drain.split"),
        _ => {}
    }
}

/// Listed addresses that are called, paid, or paid for.
fn bad_company(bench: &mut Bench<'_>) {
    let called = bench.calls.iter().filter_map(|call| call.raw.to);
    let paid = bench.actions.iter().flat_map(|action| match action {
        Action::Move(movement) => vec![movement.to],
        Action::Offer(offer) => offer.others.iter().map(|(to, _)| *to).chain(offer.receiver).collect(),
        _ => Vec::new(),
    });
    for address in called.chain(paid).collect::<BTreeSet<_>>() {
        if let Some(labels) = bench.listed("drain.listed", address) {
            let evidence = json!({ "address": address, "labels": labels });
            let why = "a contract that is called or somebody who is paid is on a list of malicious addresses";
            bench.risk("drain.listed", Severity::Block, why, evidence);
        }
    }
}

/// Coins sent along with a call that promises to give.
fn claim(bench: &mut Bench<'_>, contract: Address, method: &str, value: U256) {
    if bench.is_trusted(contract) {
        return;
    }
    let got_something = bench
        .context
        .outcome
        .as_ref()
        .and_then(|outcome| own_deltas(bench, outcome).map(|(_, got)| !outcome.is_reverted && !got.is_empty()));
    let severity = match got_something {
        Some(true) => return,
        Some(false) => Severity::Block,
        None => Severity::Warn,
    };
    let evidence = json!({ "contract": contract, "method": method, "value": value.to_string() });
    bench.risk("drain.claim", severity, "a call that promises to give takes coins", evidence);
}

/// What the signer offers for nothing, or for somebody else's good.
fn order(bench: &mut Bench<'_>, offer: &Offer) {
    if !bench.is_ours(offer.maker) {
        return;
    }
    let dust = bench.context.thresholds.dust;
    let gives = offer.gives.iter().any(|item| !item.amount.is_zero());
    // Only for the native coin is it known how little an amount is; of a token, one unit at most is nothing.
    let is_worthless = |item: &crate::decode::action::Item| match (item.token, item.id) {
        (None, _) => item.amount <= dust,
        (Some(_), None) => item.amount <= U256::ONE,
        (Some(_), Some(_)) => item.amount.is_zero(),
    };
    if gives && offer.gets.iter().all(is_worthless) {
        let evidence = json!({ "protocol": offer.protocol, "gives": offer.gives, "gets": offer.gets });
        bench.risk("drain.free_order", Severity::Block, "the order gives assets away for nothing", evidence);
    }
    if let (Some(receiver), Some(signer)) = (offer.receiver, bench.context.signer)
        && receiver != signer
    {
        let evidence = json!({ "protocol": offer.protocol, "receiver": receiver });
        bench.risk("drain.other_receiver", Severity::Warn, "somebody else gets what the order is paid with", evidence);
    }
}

/// Transfers out of one account that is not the sender's.
fn victims(bench: &mut Bench<'_>) {
    let mut from: BTreeMap<Address, Vec<&Movement>> = BTreeMap::new();
    for movement in token_moves(bench.actions) {
        if let Some(victim) = movement.from.filter(|from| Some(*from) != bench.context.signer) {
            from.entry(victim).or_default().push(movement);
        }
    }
    let accounts: Vec<Address> = bench.calls.iter().filter_map(|call| call.raw.from).collect();
    for (victim, moves) in from {
        // An account that makes the calls itself moves its own.
        if moves.len() >= bench.context.thresholds.many && !accounts.contains(&victim) {
            let evidence = json!({ "victim": victim, "transfers": moves.len() });
            let why = "many transfers out of one account that somebody else holds";
            bench.risk("drain.many_from_one", Severity::Quarantine, why, evidence);
        }
    }
}

/// Several tokens of the signer to one receiver.
fn sweep(bench: &mut Bench<'_>) {
    let mut to: BTreeMap<Address, BTreeSet<Address>> = BTreeMap::new();
    for movement in token_moves(bench.actions) {
        if bench.is_ours(movement.from) {
            to.entry(movement.to).or_default().extend(movement.item.token);
        }
    }
    for (receiver, tokens) in to {
        let is_own = Some(receiver) == bench.context.signer || bench.is_trusted(receiver);
        if tokens.len() >= bench.context.thresholds.many && !is_own {
            let evidence = json!({ "receiver": receiver, "tokens": tokens });
            bench.risk("drain.sweep", Severity::Quarantine, "one call sends many tokens to one receiver", evidence);
        }
    }
}

fn token_moves(actions: &[Action]) -> impl Iterator<Item = &Movement> {
    actions.iter().filter_map(|action| match action {
        Action::Move(movement) if movement.item.token.is_some() => Some(movement),
        _ => None,
    })
}

/// Payouts in the shares that drainer services and their customers agree on.
fn split(bench: &mut Bench<'_>, outcome: &Outcome) {
    let Some((given, got)) = own_deltas(bench, outcome) else { return bench.unknown("drain.split") };
    if !got.is_empty() {
        return;
    }
    for out in given {
        let receives =
            |delta: &&super::Delta| delta.token == out.token && delta.id == out.id && delta.change > I256::ZERO;
        let mut shares: Vec<(U256, Address)> =
            outcome.deltas.iter().filter(receives).map(|delta| (delta.change.unsigned_abs(), delta.owner)).collect();
        shares.sort();
        let [(small, one), (large, other)] = shares[..] else { continue };
        let Some(bps) = share_bps(small, large) else { continue };
        let margin = bench.context.thresholds.split_bps;
        if [3_000_u64, 2_000].iter().any(|usual| bps.abs_diff(*usual) <= margin) {
            let evidence = json!({ "token": out.token, "receivers": [one, other], "smaller_bps": bps });
            bench.risk("drain.split", Severity::Quarantine, "what leaves is split as drainers split it", evidence);
        }
    }
}

/// The smaller part in basis points of the sum; nothing for amounts too small to tell.
fn share_bps(small: U256, large: U256) -> Option<u64> {
    let sum = small.checked_add(large).filter(|sum| *sum >= U256::from(10_000))?;
    let bps = small.checked_mul(U256::from(10_000))? / sum;
    u64::try_from(bps).ok()
}
