//! `poison.*`: addresses and tokens that are made to be mistaken for others.

use alloy_primitives::{Address, U256};
use serde_json::json;

use super::{Bench, Severity};
use crate::decode::Action;
use crate::decode::action::Movement;

pub(super) fn judge(bench: &mut Bench<'_>) {
    for action in bench.actions {
        match action {
            Action::Move(movement) => {
                recipient(bench, movement.to);
                amount(bench, movement);
                token(bench, movement.item.token);
            }
            Action::Grant(grant) => token(bench, grant.token),
            Action::Offer(offer) => {
                offer.gives.iter().chain(&offer.gets).for_each(|item| token(bench, item.token));
                offer.receiver.iter().for_each(|receiver| recipient(bench, *receiver));
            }
            _ => {}
        }
    }
}

/// Hex digits at each end that people compare.
const COMPARED: usize = 4;

/// Whether two different addresses show the same first and last four hex digits.
pub(super) fn looks_like(one: Address, other: Address) -> bool {
    let ends = |address: Address| {
        let bytes = address.into_array();
        let half = COMPARED / 2;
        (bytes[..half].to_vec(), bytes[bytes.len() - half..].to_vec())
    };
    one != other && ends(one) == ends(other)
}

fn recipient(bench: &mut Bench<'_>, to: Address) {
    let Some(known) = &bench.context.counterparties else { return bench.unknown("poison.look_alike") };
    let Some(original) = known.iter().find(|other| looks_like(to, **other)) else { return };
    let evidence = json!({ "recipient": to, "looks_like": original });
    // A hostile contract that the signer once called may have put the look-alike into the history.
    let (severity, why) = match known.contains(&to) {
        true => (Severity::Warn, "two whom the signer dealt with look alike, and one of them is the recipient"),
        false => (Severity::Quarantine, "the recipient looks like somebody the signer dealt with, and is another"),
    };
    bench.risk("poison.look_alike", severity, why, evidence);
}

fn amount(bench: &mut Bench<'_>, movement: &Movement) {
    let item = movement.item;
    // One NFT is no small amount, and the number of an NFT may be zero.
    let standard = item.token.and_then(|token| bench.facts(token)?.token.as_ref()).map(|token| token.standard.as_str());
    if standard.is_some_and(|standard| standard != "erc20") {
        return;
    }
    let evidence =
        json!({ "token": item.token, "from": movement.from, "to": movement.to, "amount": item.amount.to_string() });
    if item.amount.is_zero() {
        // Such transfers put a look-alike into the victim's history; only of foreign accounts do they need no consent.
        let is_foreign = movement.from.is_some() && !bench.is_ours(movement.from);
        let severity = if is_foreign && standard.is_some() { Severity::Quarantine } else { Severity::Warn };
        return bench.risk("poison.zero_value", severity, "a transfer of nothing", evidence);
    }
    // Coins that go along with data pay for something.
    let is_used = movement.item.token.is_none() && bench.calls.iter().any(|call| !call.raw.data.is_empty());
    if is_used {
        return;
    }
    match dust(bench, item.token) {
        Some(dust) if item.amount <= dust && item.id.is_none_or(|id| id == item.amount) => {
            bench.risk("poison.dust", Severity::Note, "a transfer of next to nothing", evidence);
        }
        Some(_) => {}
        None => bench.unknown("poison.dust"),
    }
}

/// The largest amount that is dust: for the native coin as configured, for a token the same part of its unit.
pub(super) fn dust(bench: &Bench<'_>, token: Option<Address>) -> Option<U256> {
    let dust = bench.context.thresholds.dust;
    let Some(token) = token else { return Some(dust) };
    let decimals = bench.facts(token)?.token.as_ref()?.decimals?;
    let unit = U256::from(10).checked_pow(U256::from(decimals))?;
    dust.checked_mul(unit).map(|scaled| scaled / U256::from(1_000_000_000_000_000_000_u64))
}

fn token(bench: &mut Bench<'_>, token: Option<Address>) {
    let Some(token) = token else { return };
    let Some(facts) = bench.facts(token).and_then(|facts| facts.token.as_ref()) else {
        return bench.unknown("poison.token_look_alike");
    };
    if let Some(original) = facts.imitates.filter(|original| *original != token) {
        let evidence = json!({ "token": token, "imitates": original });
        let why = "the token bears the name of a listed one and is another";
        bench.risk("poison.token_look_alike", Severity::Quarantine, why, evidence);
    }
}
