//! The tokens that a transaction buys, each tried out: one that cannot be sold is not worth having.

use alloy_primitives::Address;
use surety_evm::{Snapshot, TokenChange};

use super::Check;
use crate::envelope::Reason;
use crate::rules::{Risk, Severity};
use crate::simulate::Simulated;
use crate::state::reason;
use crate::token::{Params, Refused, Report, assess};
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

/// Tries what the sender has more of after the transaction. No check where that is nothing.
pub(super) fn check(
    snapshot: Result<&Snapshot, Reason>,
    simulated: &Result<Option<Simulated>, Reason>,
) -> Option<Check> {
    let (Ok(snapshot), Ok(Some(simulated))) = (snapshot, simulated) else { return None };
    let bought = bought(simulated);
    let mut risks = Vec::new();
    let mut unknown = None;
    for token in bought.iter().take(MAX_BOUGHT) {
        match assess(snapshot, *token, &Params::default(), None) {
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

/// Tokens of which the sender has more afterwards.
fn bought(simulated: &Simulated) -> Vec<Address> {
    let mine = simulated.simulation.changes.tokens.iter().filter(|change| change.account == simulated.call.from);
    // What the sender deploys itself is judged as a deployment; before it there is nothing to try.
    let own = simulated.simulation.outcome.created;
    mine.filter(|change| grew(change) && Some(change.token) != own).map(|change| change.token).collect()
}

/// By balances; by logs for a token that does not say its balances.
fn grew(change: &TokenChange) -> bool {
    match change.before.zip(change.after) {
        Some((before, after)) => after > before,
        None => change.logged_in > change.logged_out,
    }
}

fn losses(token: Address, report: &Report) -> Vec<Risk> {
    let set = LOSSES.iter().filter(|(field, _, _)| report.flag(field) == Some(true));
    let risk = |(field, id, severity): &(&'static str, &'static str, Severity)| Risk {
        id,
        severity: *severity,
        message: format!("the token {} has {field}", lower(token)),
        evidence: Vec::new(),
    };
    set.map(risk).collect()
}

fn why(report: &Report) -> Reason {
    let found = report.unknown.iter().find(|unknown| unknown.field == "is_honeypot");
    found.map_or(Reason::UnsupportedContract, |unknown| unknown.reason.into())
}
