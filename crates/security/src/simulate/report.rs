//! What `tx_simulate` answers, in GoPlus' words for a pre-execution (`security-services.md` 3.4).

use alloy_primitives::{Address, U256};
use serde::Serialize;
use surety_evm::{AllowanceChange, Head, OperatorChange, Outcome, Role, Status};

use super::run::{Simulated, granted};
use crate::envelope::{Reason, Unknown};
use crate::parties::Parties;
use crate::rules::{Risk, Severity};
use crate::views::{Named, is_unlimited, lower};

/// Most bytes of log data that are shown.
const MAX_LOG_BYTES: usize = 256 << 10;
/// Most reads that are shown.
const MAX_READS: usize = 1_024;

/// The result.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    asset_changes: Option<Assets>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowance_upgrades: Option<Vec<Upgrade>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ownership_changes: Option<Vec<Ownership>>,
    risk_type: Vec<&'static str>,
    risk_detail: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    risky_txn: Option<u8>,
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logs: Option<Vec<Log>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction_fee: Option<String>,
    sender: String,
    block_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exposures: Option<Vec<Exposed>>,
    reads: Vec<Read>,
}

#[derive(Clone, Debug, Serialize)]
struct Assets {
    native_changes: Vec<Change>,
    token_changes: Vec<Change>,
    nft_changes: Vec<Nft>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct TokenRef {
    token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    symbol: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decimals: Option<u8>,
}

#[derive(Clone, Debug, Serialize)]
struct Change {
    #[serde(flatten)]
    token: Option<TokenRef>,
    account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<String>,
    /// What the logs say, where they say something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    logged_change: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Nft {
    token: String,
    standard: &'static str,
    token_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    change: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct Upgrade {
    #[serde(flatten)]
    token: TokenRef,
    new_allowances: Vec<Allowance>,
}

#[derive(Clone, Debug, Serialize)]
struct Allowance {
    owner: String,
    spender: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowance_change: Option<String>,
    unlimited: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    via: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<u64>,
    /// 1 where a list names the spender; absent where no list can.
    #[serde(skip_serializing_if = "Option::is_none")]
    risky_spender: Option<u8>,
}

#[derive(Clone, Debug, Serialize)]
struct Ownership {
    contract: String,
    role: Role,
    pre_owner: String,
    post_owner: String,
}

#[derive(Clone, Debug, Serialize)]
struct Log {
    address: String,
    topics: Vec<String>,
    data: String,
}

#[derive(Clone, Debug, Serialize)]
struct Exposed {
    token: String,
    owner: String,
    spender: String,
    amount: String,
}

#[derive(Clone, Debug, Serialize)]
struct Read {
    address: String,
    slot: String,
    value: String,
}

/// Writes the report of a run, and names what it cannot say.
pub fn report(simulated: &Simulated, risks: &[Risk], parties: &mut Parties<'_>, head: &Head) -> (Report, Vec<Unknown>) {
    let outcome = &simulated.simulation.outcome;
    let complete = simulated.is_complete();
    let logs = logs(outcome);
    let mut unknown = untold(simulated, logs.is_none());
    let upgrades = upgrades(simulated, parties);
    unknown.extend(parties.unknown("risky_spender").filter(|_| !upgrades.is_empty()));
    let severe = risks.iter().any(|risk| risk.severity >= Severity::Quarantine);
    let shown = || risks.iter().filter(|risk| risk.severity >= Severity::Warn);
    // A list that is missing could have named somebody: then only a risk that was found is said.
    let risky =
        if severe { Some(1) } else { (unknown.is_empty() && parties.unknown("risky_txn").is_none()).then_some(0) };
    if risky.is_none() {
        let because = parties.unknown("risky_txn").unwrap_or(Unknown::new("risky_txn", Reason::OutOfGasBudget));
        unknown.push(because);
    }
    let mut risk_type: Vec<&'static str> = shown().map(|risk| risk.id).collect();
    risk_type.sort_unstable();
    risk_type.dedup();
    let report = Report {
        asset_changes: complete.then(|| assets(simulated)),
        allowance_upgrades: complete.then_some(upgrades),
        ownership_changes: complete.then(|| ownership(simulated)),
        risk_type,
        risk_detail: shown().map(|risk| format!("{}: {}", risk.id, risk.message)).collect(),
        risky_txn: risky,
        error: error(outcome),
        logs: logs.filter(|_| complete),
        transaction_fee: complete.then(|| simulated.fee.to_string()),
        sender: lower(simulated.call.from),
        block_number: head.number,
        exposures: complete.then(|| exposures(simulated)),
        reads: reads(outcome),
    };
    (report, unknown)
}

/// What a run that was cut short, or that did too much, leaves open.
fn untold(simulated: &Simulated, logs_are_cut: bool) -> Vec<Unknown> {
    let budget = |field| Unknown::new(field, Reason::OutOfGasBudget);
    if !simulated.is_complete() {
        let fields =
            ["asset_changes", "allowance_upgrades", "ownership_changes", "logs", "transaction_fee", "exposures"];
        return fields.map(budget).to_vec();
    }
    let mut unknown = Vec::new();
    if simulated.simulation.changes.incomplete {
        unknown.extend(["asset_changes.more", "allowance_upgrades.more"].map(budget));
    }
    if logs_are_cut {
        unknown.push(budget("logs"));
    }
    if simulated.simulation.outcome.trace.reads.len() > MAX_READS {
        unknown.push(budget("reads.more"));
    }
    let unread = simulated.simulation.changes.tokens.iter().filter(|change| change.after.is_none());
    unknown.extend(unread.map(|change| Unknown::of(&lower(change.token), "post_amount", Reason::UnsupportedContract)));
    unknown.dedup();
    unknown
}

fn token_ref(simulated: &Simulated, token: Address) -> TokenRef {
    let Named { name, symbol, decimals } = simulated.names.get(&token).cloned().unwrap_or_default();
    TokenRef { token: lower(token), name, symbol, decimals }
}

/// A difference in decimal with its sign.
pub(crate) fn signed(before: U256, after: U256) -> String {
    if after < before { format!("-{}", before - after) } else { (after - before).to_string() }
}

fn assets(simulated: &Simulated) -> Assets {
    let changes = &simulated.simulation.changes;
    let native = changes.native.iter().map(|change| Change {
        token: None,
        account: lower(change.account),
        pre_amount: Some(change.before.to_string()),
        post_amount: Some(change.after.to_string()),
        change: Some(signed(change.before, change.after)),
        logged_change: None,
    });
    let tokens = changes.tokens.iter().map(|change| Change {
        token: Some(token_ref(simulated, change.token)),
        account: lower(change.account),
        pre_amount: change.before.map(|amount| amount.to_string()),
        post_amount: change.after.map(|amount| amount.to_string()),
        change: change.before.zip(change.after).map(|(before, after)| signed(before, after)),
        logged_change: (change.agrees() != Some(true)).then(|| signed(change.logged_out, change.logged_in)),
    });
    Assets { native_changes: native.collect(), token_changes: tokens.collect(), nft_changes: nfts(simulated) }
}

fn nfts(simulated: &Simulated) -> Vec<Nft> {
    let changes = &simulated.simulation.changes;
    let single = changes.nfts.iter().map(|change| Nft {
        token: lower(change.token),
        standard: "erc721",
        token_id: change.id.to_string(),
        from: Some(lower(change.owner_before.unwrap_or(change.from))),
        to: Some(lower(change.owner_after.unwrap_or(change.to))),
        account: None,
        change: None,
    });
    let multi = changes.multi_tokens.iter().map(|change| Nft {
        token: lower(change.token),
        standard: "erc1155",
        token_id: change.id.to_string(),
        from: None,
        to: None,
        account: Some(lower(change.account)),
        change: change.before.zip(change.after).map(|(before, after)| signed(before, after)),
    });
    single.chain(multi).collect()
}

fn upgrades(simulated: &Simulated, parties: &mut Parties<'_>) -> Vec<Upgrade> {
    let mut upgrades: Vec<Upgrade> = Vec::new();
    let mut add = |token: Address, allowance: Allowance| {
        let text = lower(token);
        match upgrades.iter_mut().find(|upgrade| upgrade.token.token == text) {
            Some(upgrade) => upgrade.new_allowances.push(allowance),
            None => upgrades.push(Upgrade { token: token_ref(simulated, token), new_allowances: vec![allowance] }),
        }
    };
    for change in granted(&simulated.simulation) {
        add(change.token, allowance(change, parties));
    }
    for change in &simulated.simulation.changes.operators {
        if change.after == Some(true) && change.before != Some(true) {
            add(change.token, operator(change, parties));
        }
    }
    upgrades
}

fn allowance(change: &AllowanceChange, parties: &mut Parties<'_>) -> Allowance {
    let after = change.after.unwrap_or_default();
    Allowance {
        owner: lower(change.owner),
        spender: lower(change.spender),
        pre_amount: change.before.map(|amount| amount.to_string()),
        post_amount: change.after.map(|amount| amount.to_string()),
        allowance_change: change.before.map(|before| signed(before, after)),
        unlimited: u8::from(is_unlimited(after)),
        token_id: None,
        via: change.via.map(lower),
        expiration: change.expiration,
        risky_spender: parties.ask(change.spender).malicious(),
    }
}

fn operator(change: &OperatorChange, parties: &mut Parties<'_>) -> Allowance {
    Allowance {
        owner: lower(change.owner),
        spender: lower(change.operator),
        pre_amount: None,
        post_amount: None,
        allowance_change: None,
        unlimited: u8::from(change.id.is_none()),
        token_id: change.id.map(|id| id.to_string()),
        via: None,
        expiration: None,
        risky_spender: parties.ask(change.operator).malicious(),
    }
}

fn ownership(simulated: &Simulated) -> Vec<Ownership> {
    let changes = simulated.simulation.changes.ownership.iter();
    let shown = changes.map(|change| Ownership {
        contract: lower(change.contract),
        role: change.role,
        pre_owner: lower(change.before),
        post_owner: lower(change.after),
    });
    shown.collect()
}

fn exposures(simulated: &Simulated) -> Vec<Exposed> {
    let exposed = simulated.exposures.iter().map(|exposure| Exposed {
        token: lower(exposure.granted.token),
        owner: lower(exposure.granted.owner),
        spender: lower(exposure.granted.spender),
        amount: exposure.amount.to_string(),
    });
    exposed.collect()
}

/// How the run failed. A revert is a result and not an error of the service.
fn error(outcome: &Outcome) -> Option<String> {
    match &outcome.status {
        Status::Success => None,
        Status::Revert => {
            let reason = outcome.revert_reason().map(|reason| crate::views::clean(&reason));
            Some(reason.map_or_else(|| "reverted".to_owned(), |reason| format!("reverted: {reason}")))
        }
        Status::Halt(name) => Some(format!("halted: {name}")),
        Status::OutOfBudget => Some("out of budget".to_owned()),
    }
}

fn logs(outcome: &Outcome) -> Option<Vec<Log>> {
    let bytes: usize = outcome.logs.iter().map(|log| log.data.data.len() + 200).sum();
    let shown = outcome.logs.iter().map(|log| Log {
        address: lower(log.address),
        topics: log.topics().iter().map(lower).collect(),
        data: const_hex::encode_prefixed(&log.data.data),
    });
    (bytes <= MAX_LOG_BYTES).then(|| shown.collect())
}

fn reads(outcome: &Outcome) -> Vec<Read> {
    let reads = outcome.trace.reads.iter().take(MAX_READS);
    let shown = reads.map(|((address, slot), value)| Read {
        address: lower(address),
        slot: format!("{slot:#066x}"),
        value: format!("{value:#066x}"),
    });
    shown.collect()
}
