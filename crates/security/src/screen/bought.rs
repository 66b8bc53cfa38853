//! The tokens that a transaction buys, each tried out: one that cannot be sold is not worth having.

use std::collections::BTreeSet;
use std::sync::Arc;

use alloy_primitives::Address;
use surety_evm::{Snapshot, StateError, TokenChange};

use super::{Around, Check};
use crate::decode::Decoded;
use crate::envelope::Reason;
use crate::rules::{Risk, Severity};
use crate::simulate::Simulated;
use crate::state::reason;
use crate::token::{Cache, Key, Params, Refused, Report, Why, assess};
use crate::views::lower;

/// Most tokens of one transaction that are tried.
const MAX_BOUGHT: usize = 2;
/// Time of the check, in milliseconds.
const BUDGET_MS: u64 = 50;

/// Flags of a token that make buying it a loss, the rule for each, and how bad.
const LOSSES: [(&str, &str, Severity); 6] = [
    ("is_honeypot", "token.honeypot", Severity::Block),
    ("cannot_sell_all", "token.cannot_sell_all", Severity::Quarantine),
    ("owner_change_balance", "token.owner_change_balance", Severity::Warn),
    ("hidden_owner", "token.hidden_owner", Severity::Warn),
    ("can_take_back_ownership", "token.take_back_ownership", Severity::Warn),
    ("gas_abuse", "token.gas_abuse", Severity::Warn),
];

/// From this tax on selling is dear, in basis points, and how bad that is.
const SELL_TAXES: [(u64, Severity); 2] = [(3_000, Severity::Quarantine), (1_000, Severity::Warn)];

/// Tries what the transaction buys. No check where that is nothing.
pub(super) fn check(
    around: Around<'_>,
    simulated: &Result<Option<Simulated>, Reason>,
    decoded: &Decoded,
    pools: &BTreeSet<Address>,
) -> Option<Check> {
    let (Ok(snapshot), Ok(Some(simulated))) = (around.snapshot, simulated) else { return None };
    let mut risks = Vec::new();
    let mut unknown = None;
    let bought = match bought(snapshot, simulated, decoded, pools) {
        Ok(bought) => bought,
        Err(error) => return Some(Check::missing("token", BUDGET_MS, reason(&error))),
    };
    for token in bought.iter().take(MAX_BOUGHT) {
        match tried(snapshot, *token, around.reports) {
            Ok(report) => {
                risks.extend(losses(*token, &report));
                if report.flag("is_honeypot").is_none() {
                    unknown = unknown.or(Some(why(&report)));
                }
            }
            Err(Refused::NoContract) => unknown = Some(Reason::UnsupportedContract),
            Err(Refused::State(error)) => unknown = Some(reason(&error)),
        }
    }
    if bought.len() > MAX_BOUGHT {
        unknown = Some(Reason::OutOfGasBudget);
    }
    match unknown {
        _ if bought.is_empty() => None,
        Some(reason) if risks.is_empty() => Some(Check::missing("token", BUDGET_MS, reason)),
        reason => {
            let mut check = Check::ran("token", BUDGET_MS, &risks.iter().collect::<Vec<_>>(), Vec::new());
            check.reason = reason;
            Some(check)
        }
    }
}

/// The report on a token; one of the same block where it is remembered.
fn tried(snapshot: &Snapshot, token: Address, reports: Option<&Cache>) -> Result<Arc<Report>, Refused> {
    let assess = || assess(snapshot, token, &Params::default(), None);
    let Some(reports) = reports else { return assess().map(Arc::new) };
    let account = snapshot.source.account(token).map_err(Refused::State)?.ok_or(Refused::NoContract)?;
    let (chain_id, block) = (snapshot.head.chain_id, snapshot.head.hash);
    let key = Key { chain_id, token, code_hash: account.code_hash, block };
    if let Some(report) = reports.get(&key) {
        return Ok(report);
    }
    let report = assess()?;
    // What could not be read in time may be read at the next try.
    let is_whole = report.unknown.iter().all(|unknown| unknown.reason != Why::NoState);
    Ok(if is_whole { reports.put(key, report) } else { Arc::new(report) })
}

/// Tokens of which the sender has more afterwards; and where the sender pays for it with something else, those of which a
/// wallet or somebody named in the call has more.
fn bought(
    snapshot: &Snapshot,
    simulated: &Simulated,
    decoded: &Decoded,
    pools: &BTreeSet<Address>,
) -> Result<BTreeSet<Address>, StateError> {
    let Simulated { call, simulation, .. } = simulated;
    let changes = &simulation.changes;
    let given: BTreeSet<Address> = changes
        .tokens
        .iter()
        .filter(|change| change.account == call.from && fell(change))
        .map(|one| one.token)
        .collect();
    let pays_coins = changes.native.iter().any(|change| change.account == call.from && change.after < change.before);
    let named: BTreeSet<Address> = decoded.addresses().into_iter().collect();
    let mut bought = BTreeSet::new();
    for change in changes.tokens.iter().filter(|change| grew(change)) {
        // What the sender deploys itself is judged as a deployment; before it there is nothing to try. No exchange tells what
        // one of a collection is worth. Shares of a new pool of one's own are worth what was put into it.
        let is_made = Some(change.token) == simulation.outcome.created || pools.contains(&change.token);
        if is_made || given.contains(&change.token) || changes.is_collection(change.token) {
            continue;
        }
        let is_for_other = || -> Result<bool, StateError> {
            let pays = pays_coins || !given.is_empty();
            // Pools on the way are contracts that nobody names.
            Ok(pays && (named.contains(&change.account) || is_wallet(snapshot, change.account)?))
        };
        if change.account == call.from || is_for_other()? {
            bought.insert(change.token);
        }
    }
    Ok(bought)
}

fn is_wallet(snapshot: &Snapshot, account: Address) -> Result<bool, StateError> {
    Ok(snapshot.source.account(account)?.is_none_or(|account| !account.has_code()))
}

fn fell(change: &TokenChange) -> bool {
    match change.before.zip(change.after) {
        Some((before, after)) => after < before,
        None => change.logged_out > change.logged_in,
    }
}

/// By balances; by logs for a token that does not say its balances.
fn grew(change: &TokenChange) -> bool {
    match change.before.zip(change.after) {
        Some((before, after)) => after > before,
        None => change.logged_in > change.logged_out,
    }
}

fn losses(token: Address, report: &Report) -> Vec<Risk> {
    let tax_bps =
        report.probe.as_ref().filter(|_| report.fields.contains_key("sell_tax")).map(|probe| probe.sell_tax_bps);
    let dear = SELL_TAXES.iter().find(|(from, _)| tax_bps.is_some_and(|bps| bps >= *from));
    let tax = dear.map(|(_, severity)| Risk {
        id: "token.sell_tax",
        severity: *severity,
        message: format!("selling the token {} costs {} of 10,000 parts", lower(token), tax_bps.unwrap_or_default()),
        evidence: Vec::new(),
    });
    let set = LOSSES.iter().filter(|(field, _, _)| report.flag(field) == Some(true));
    let risk = |(field, id, severity): &(&'static str, &'static str, Severity)| Risk {
        id,
        severity: *severity,
        message: format!("the token {} has {field}", lower(token)),
        evidence: Vec::new(),
    };
    set.map(risk).chain(tax).collect()
}

fn why(report: &Report) -> Reason {
    let found = report.unknown.iter().find(|unknown| unknown.field == "is_honeypot");
    found.map_or(Reason::UnsupportedContract, |unknown| unknown.reason.into())
}
