//! The result of `token_security`, field by field (`security-services.md` section 3.1).

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};
use serde::Serialize;
use serde_json::{Value, json};
use surety_evm::{Call, Session, Snapshot, StateError};

use super::abi::{self, encode};
use super::code;
use super::facts::{Facts, facts};
use super::history::{self, History};
use super::lab::{Lab, Regard, ask};
use super::market::{self, Kind, Pool};
use super::privilege::{Effect, Opening, Powers, Target, scan};
use super::probe::{Probe, Trade, probe, visit};
use super::proxy::{Proxy, resolve};
use super::standard::{Lie, study};
use super::trial::{Seed, realistic};
use super::{Params, Stop, ledger};

/// Fields that come of trying the token.
const TRIED: [&str; 10] = [
    "is_honeypot",
    "cannot_buy",
    "cannot_sell_all",
    "buy_tax",
    "sell_tax",
    "transfer_tax",
    "trading_cooldown",
    "is_anti_whale",
    "external_call",
    "gas_abuse",
];
/// Fields that come of the privilege pass.
const POWERFUL: [&str; 11] = [
    "is_mintable",
    "owner_change_balance",
    "transfer_pausable",
    "is_blacklisted",
    "is_whitelisted",
    "slippage_modifiable",
    "personal_slippage_modifiable",
    "anti_whale_modifiable",
    "hidden_owner",
    "can_take_back_ownership",
    "selfdestruct",
];
/// Contracts that a token calls whose functions are tried too.
const MOST_OUTSIDE: usize = 3;
/// Other pools in which powers are measured too.
const MOST_UNLIKE: usize = 2;
/// Addresses in a contract's code that it may hand on to, beyond which none is looked at.
const MOST_DELEGATES: usize = 128;
/// Fields that come of history.
const TOLD: [&str; 8] = [
    "creator_address",
    "creator_balance",
    "creator_percent",
    "honeypot_with_same_creator",
    "holders",
    "holder_count",
    "lp_holders",
    "lp_holder_count",
];
/// Fields that come of lists, or of a source text that nobody has.
const LISTED: [&str; 5] = ["is_true_token", "fake_token", "trust_list", "is_airdrop_scam", "is_open_source"];

/// Why a field is not known. The names are the wire's (`security-services.md` section 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// No list that is loaded, and no bytecode, can tell.
    NoSource,
    /// State could not be read.
    NoState,
    /// It needs the chain's history.
    NoHistory,
    /// Finding out would cost more than an answer may cost.
    OutOfGasBudget,
    /// The contract is of a kind that cannot be tried or read.
    UnsupportedContract,
}

/// A field that is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Unknown {
    /// The field.
    pub field: &'static str,
    /// Why.
    pub reason: Why,
}

/// Everything that was found out.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The fields of the answer in GoPlus' form: flags are "1" and "0", what is not known is absent.
    pub fields: BTreeMap<&'static str, Value>,
    /// What is not known, and why.
    pub unknown: BTreeSet<Unknown>,
    /// The trades that were tried.
    pub probe: Option<Probe>,
    /// What keepers can do.
    pub powers: Option<Powers>,
    /// The code behind the address.
    pub proxy: Proxy,
    /// The pools that were found.
    pub pools: Vec<PoolSeen>,
    /// Assumptions and things seen that no field says.
    pub notes: Vec<String>,
}

/// A pool in an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolSeen {
    /// The exchange.
    pub name: &'static str,
    /// How it trades.
    pub kind: Kind,
    /// The pool.
    pub pair: Address,
    /// The other side.
    pub quote: Address,
    /// The other side's amount, in its base units.
    pub quote_reserve: U256,
}

impl Report {
    /// A flag, `None` when it is not known.
    pub fn flag(&self, field: &str) -> Option<bool> {
        self.fields.get(field).and_then(Value::as_str).map(|value| value == "1")
    }

    pub(super) fn set(&mut self, field: &'static str, on: bool) {
        self.fields.insert(field, json!(if on { "1" } else { "0" }));
    }

    pub(super) fn put(&mut self, field: &'static str, value: Value) {
        self.fields.insert(field, value);
    }

    /// Takes back everything good that was said of trading and of keepers: what was looked at need not be what will be.
    pub(crate) fn doubt(&mut self, what: &str) {
        let said = TRIED.iter().chain(&POWERFUL).copied();
        let good: Vec<&'static str> = said.filter(|field| self.fields.get(field) == Some(&json!("0"))).collect();
        self.fields.retain(|field, _| !good.contains(field));
        self.unknown(&good, Why::UnsupportedContract);
        self.notes.push(format!("env.{what}: an outcome differs"));
    }

    /// Marks fields as not known, unless they are.
    pub(super) fn unknown(&mut self, fields: &[&'static str], reason: Why) {
        for field in fields {
            let is_said = self.fields.contains_key(field) || self.unknown.iter().any(|known| known.field == *field);
            if !is_said {
                self.unknown.insert(Unknown { field, reason });
            }
        }
    }
}

/// Why nothing can be said of an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no code at the address.
    #[error("not a contract")]
    NoContract,
    /// State could not be read at all.
    #[error(transparent)]
    State(#[from] StateError),
}

/// How long after its opening trading is looked at, in seconds.
const AFTER_OPENING_S: u64 = 3_600;

/// Finds out everything about a token in the state of a snapshot.
///
/// # Errors
/// [`Refused`] when there is nothing to look at. A contract that is no token, or that cannot be tried, is a report of
/// unknown fields.
pub fn assess(
    snapshot: &Snapshot,
    token: Address,
    params: &Params,
    history: Option<&History>,
) -> Result<Report, Refused> {
    let seed = Seed::new(snapshot, token)?;
    let mut session = realistic(snapshot, seed, seed.limits(params));
    if session.code(token)?.is_empty() {
        return Err(Refused::NoContract);
    }
    let mut report = Report { proxy: resolve(&mut session, token)?, ..Report::default() };
    report.set("is_proxy", report.proxy.kind.is_some());
    let facts = facts(&mut session, token)?;
    describe(&mut report, &facts);
    let named = ledger::named(&mut session, token)?;
    let pools = market::pools(&mut session, token, params, &named)?;
    exchanges(&mut report, &mut session, params, &pools)?;
    if let Some(history) = history {
        history::tell(&mut report, &mut session, snapshot, token, params, history)?;
    }
    if is_airdrop(&mut session, snapshot, seed, token)? {
        report.set("is_airdrop_scam", true);
    }
    report.unknown(&TOLD, Why::NoHistory);
    report.unknown(&LISTED, Why::NoSource);
    let hints: Vec<Address> = history.and_then(|history| history.creator).into_iter().collect();
    let reason = match attempt(&mut report, session, seed, token, params, &pools, &hints) {
        Ok(()) => return Ok(report),
        Err(Stop::State(error)) => return Err(error.into()),
        Err(Stop::Budget) => Why::OutOfGasBudget,
        Err(Stop::Market) => Why::UnsupportedContract,
    };
    report.unknown(&TRIED, reason);
    report.unknown(&POWERFUL, reason);
    Ok(report)
}

/// Whether people who never asked for the token have some, and cannot move it. Who was sent some that he could move, and did
/// not ask for, only lists know: that this is not so is never said.
fn is_airdrop(session: &mut Session, snapshot: &Snapshot, seed: Seed, token: Address) -> Result<bool, StateError> {
    for nobody in ["nobody", "nobody else"] {
        let has = ask(session, token, encode(&abi::balanceOfCall(seed.address(nobody))))?;
        if has.is_none_or(|has| has.is_zero()) {
            return Ok(false);
        }
    }
    Ok(study(snapshot, token)?.lies.contains(&Lie::InventsBalances))
}

fn attempt(
    report: &mut Report,
    session: Session,
    seed: Seed,
    token: Address,
    params: &Params,
    pools: &[Pool],
    hints: &[Address],
) -> Result<(), Stop> {
    let mut own: BTreeSet<Address> = report.proxy.implementations.iter().copied().collect();
    own.extend(report.proxy.beacons(token));
    let targets = targets(&session, token, &report.proxy)?;
    let doom = doom(&session, &targets, &report.proxy)?;
    if doom == Doom::InReach {
        report.set("selfdestruct", true);
    }
    let Some(mut lab) = Lab::new(session, seed, token, params, pools)? else { return Err(Stop::Market) };
    let mut probe = probe(&mut lab, &own, params, pools)?;
    let mut powers = powers(&mut lab, &targets, &report.proxy, hints, &probe)?;
    // What nobody can buy today is judged as it will be once it is open, and the first rush is over.
    let opening = powers.opening.clone().filter(|_| probe.cannot_buy);
    if let Some(Opening { who, contract, call }) = opening {
        lab.reset();
        let opened = lab.session.run(&Call::new(who, contract, call.clone()))?;
        if opened.is_success() {
            lab.session.head_mut().advance_seconds(AFTER_OPENING_S);
            lab.base = lab.session.checkpoint();
            let selector = const_hex::encode_prefixed(call.get(..4).unwrap_or_default());
            report.notes.push(format!("not yet open; results after selector {selector} by {}", lower(who)));
            probe = self::probe(&mut lab, &own, params, pools)?;
            let later = self::powers(&mut lab, &targets, &report.proxy, hints, &probe)?;
            powers.merge(later);
        }
    }
    let unlike = unlike(&mut lab, &targets, pools)?;
    powers.exhausted |= unlike.len() > MOST_UNLIKE;
    for pool in unlike.into_iter().take(MOST_UNLIKE) {
        let there = |lab: &mut Lab| self::powers(lab, &targets, &report.proxy, hints, &probe);
        match visit(&mut lab, params, pool, there) {
            Ok(there) => powers.merge_pool(there),
            Err(Stop::Market) => powers.exhausted = true,
            Err(stop) => return Err(stop),
        }
    }
    show(report, &probe);
    show_powers(report, &powers, doom);
    report.probe = Some(probe);
    report.powers = Some(powers);
    Ok(())
}

/// The other pools of V2 that the token treats otherwise than the one in which it is tried: what keepers can do may show
/// there alone.
fn unlike<'p>(lab: &mut Lab, targets: &[Target], pools: &'p [Pool]) -> Result<Vec<&'p Pool>, Stop> {
    let home = lab.market.pair;
    let mut others =
        pools.iter().filter(|pool| pool.kind == Kind::V2 && pool.is_live() && pool.pair != home).peekable();
    if others.peek().is_none() {
        return Ok(Vec::new());
    }
    let mut regard = |pool: Address| -> Result<Regard, Stop> {
        let in_code = targets.iter().any(|target| target.code.addresses.contains(&pool));
        let regard = lab.regard(pool)?;
        Ok(Regard { is_named: regard.is_named || in_code, ..regard })
    };
    let known = regard(home)?;
    let mut unlike = Vec::new();
    for pool in others {
        if regard(pool.pair)? != known {
            unlike.push(pool);
        }
    }
    Ok(unlike)
}

/// The token's own code, outermost first, each under the token's address.
pub(super) fn targets(session: &Session, token: Address, proxy: &Proxy) -> Result<Vec<Target>, StateError> {
    let mut targets = Vec::new();
    for at in std::iter::once(token).chain(proxy.implementations.iter().copied()) {
        targets.push(Target { address: token, code: code::known(&session.code(at)?) });
    }
    Ok(targets)
}

/// What reading code says of SELFDESTRUCT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Doom {
    /// An instruction that can run.
    InReach,
    /// None, neither in the code nor in what it hands on to.
    OutOfReach,
    /// The code hands on to other code, and does not say which.
    Unclear,
}

/// Reads a contract's code for SELFDESTRUCT, and the code at the addresses in it where it hands on to other code.
pub(super) fn doom(session: &Session, targets: &[Target], proxy: &Proxy) -> Result<Doom, StateError> {
    if targets.iter().any(|target| target.code.can_selfdestruct) {
        return Ok(Doom::InReach);
    }
    let mut is_told = proxy.kind.is_some();
    for target in targets.iter().filter(|target| target.code.can_delegate) {
        // Each is fetched, and who makes a thousand of them wants that to be slow.
        if target.code.addresses.len() > MOST_DELEGATES {
            return Ok(Doom::Unclear);
        }
        for address in &target.code.addresses {
            let code = session.code(*address)?;
            if code::can_selfdestruct(&code) {
                return Ok(Doom::InReach);
            }
            is_told |= !code.is_empty();
        }
    }
    let hands_on = targets.iter().any(|target| target.code.can_delegate);
    Ok(if hands_on && !is_told { Doom::Unclear } else { Doom::OutOfReach })
}

/// What reading the code at an address says of SELFDESTRUCT.
pub(crate) fn doom_at(session: &mut Session, address: Address) -> Result<Doom, StateError> {
    let proxy = resolve(session, address)?;
    let targets = targets(session, address, &proxy)?;
    doom(session, &targets, &proxy)
}

/// What keepers can do, of the token and of the contracts that it calls when it moves.
fn powers(lab: &mut Lab, own: &[Target], proxy: &Proxy, hints: &[Address], probe: &Probe) -> Result<Powers, Stop> {
    let mut targets = own.to_vec();
    for beacon in proxy.beacons(lab.token).into_iter().take(MOST_OUTSIDE) {
        targets.push(Target { address: beacon, code: code::known(&lab.session.code(beacon)?) });
    }
    for outside in probe.external.iter().take(MOST_OUTSIDE) {
        let behind = resolve(&mut lab.session, *outside)?;
        targets.extend(self::targets(&lab.session, *outside, &behind)?);
    }
    lab.reset();
    lab.limited = probe.size_limit;
    let mut powers = scan(lab, &targets, proxy, hints)?;
    powers.exhausted |= probe.external.len() > MOST_OUTSIDE;
    Ok(powers)
}

/// The fields of the privilege pass. What a function might do that could not be made to work is unknown.
fn show_powers(report: &mut Report, powers: &Powers, doom: Doom) {
    // Code in which no transfer is found was not read at all.
    let complete = !powers.exhausted && powers.readable;
    let flags = [
        ("is_mintable", powers.has(Effect::Mint), powers.uncovered_books.is_empty()),
        (
            "owner_change_balance",
            powers.has(Effect::Balances) || powers.has(Effect::Delegate),
            powers.uncovered_books.is_empty(),
        ),
        ("transfer_pausable", powers.has(Effect::Pause), powers.uncovered.is_empty()),
        ("is_blacklisted", powers.has(Effect::Blacklist), powers.uncovered.is_empty()),
        ("is_whitelisted", powers.has(Effect::Whitelist), powers.uncovered.is_empty()),
        ("slippage_modifiable", powers.has(Effect::Tax), powers.uncovered.is_empty()),
        ("personal_slippage_modifiable", powers.has(Effect::PersonalTax), powers.uncovered.is_empty()),
        ("anti_whale_modifiable", powers.has(Effect::Limit), powers.uncovered.is_empty()),
        ("hidden_owner", powers.is_hidden(), !powers.hidden_gate),
        ("can_take_back_ownership", powers.take_back, powers.uncovered_ownership.is_empty()),
    ];
    for (field, found, covered) in flags {
        if found || (complete && covered) {
            report.set(field, found);
        }
    }
    let destroyed = doom == Doom::InReach || powers.has(Effect::Destroy);
    // Who may choose the code that runs has that power already.
    if destroyed || (complete && (doom == Doom::OutOfReach || powers.has(Effect::Delegate))) {
        report.set("selfdestruct", destroyed);
    }
    let reason = if complete { Why::UnsupportedContract } else { Why::OutOfGasBudget };
    report.unknown(&POWERFUL, reason);
    let mut idle: BTreeSet<&String> = powers.uncovered.union(&powers.uncovered_books).collect();
    idle.extend(&powers.uncovered_ownership);
    if !idle.is_empty() {
        let list: Vec<&str> = idle.into_iter().map(String::as_str).collect();
        report.notes.push(format!("not made to work: {}", list.join(" ")));
    }
}

/// The fields of a probe. What another wallet, block or pool changes is said only where it is bad.
fn show(report: &mut Report, probe: &Probe) {
    let could_hold = probe.samples.iter().any(|sample| sample.trade == Trade::SellHalf);
    let settled =
        |trade: Trade| !probe.unsettled.contains(&trade) && (trade == Trade::Transfer || probe.untried.is_empty());
    let (buy, sell, transfer) = (settled(Trade::Buy), settled(Trade::SellHalf), settled(Trade::Transfer));
    let flags = [
        ("cannot_buy", probe.cannot_buy, buy),
        ("is_honeypot", probe.is_honeypot, probe.is_trap().is_some()),
        ("cannot_sell_all", probe.cannot_sell_all, could_hold && sell),
        ("trading_cooldown", probe.cooldown, buy && sell),
        ("is_anti_whale", probe.size_limit, buy && sell),
        ("external_call", !probe.external.is_empty(), true),
        ("gas_abuse", !probe.waste.is_empty(), true),
    ];
    for (field, on, is_settled) in flags {
        if on || is_settled {
            report.set(field, on);
        }
    }
    let taxes = [
        ("buy_tax", probe.buy_tax_bps, buy),
        ("sell_tax", probe.sell_tax_bps, could_hold && sell),
        ("transfer_tax", probe.transfer_tax_bps, could_hold && transfer),
    ];
    for (field, bps, is_settled) in taxes {
        if bps > 0 || is_settled {
            report.put(field, json!(fraction(bps)));
        }
    }
    let bound = probe.untried.values().find(|why| **why == Why::OutOfGasBudget);
    report.unknown(&TRIED, bound.copied().unwrap_or(Why::UnsupportedContract));
    tell_of(report, probe);
}

/// What no field of a probe says.
fn tell_of(report: &mut Report, probe: &Probe) {
    for surroundings in &probe.sensitive_to {
        report.notes.push(format!("env.{surroundings}: an outcome differs"));
    }
    if report.pools.len() > 1 || !probe.untried.is_empty() {
        let tried = report.pools.iter().map(|pool| pool.pair).filter(|pair| !probe.untried.contains_key(pair));
        let list = |pools: Vec<String>| if pools.is_empty() { "none".to_owned() } else { pools.join(" ") };
        let untried = probe.untried.keys().map(|pair| lower(*pair)).collect();
        report.notes.push(format!("pools tried: {}; not tried: {}", list(tried.map(lower).collect()), list(untried)));
    }
    if probe.inconsistent_logs {
        report.notes.push("inconsistent_logs".to_owned());
    }
    if !probe.contracts_trade && !probe.cannot_buy && !probe.is_honeypot {
        report.notes.push("contracts_cannot_trade".to_owned());
    }
}

/// Basis points as a fraction without trailing zeros: "0.01", "0", "1".
pub(crate) fn fraction(bps: u64) -> String {
    if bps.is_multiple_of(10_000) {
        return (bps / 10_000).to_string();
    }
    let text = format!("{}.{:04}", bps / 10_000, bps % 10_000);
    text.trim_end_matches('0').to_owned()
}

fn describe(report: &mut Report, facts: &Facts) {
    let texts = [("token_name", &facts.name), ("token_symbol", &facts.symbol)];
    for (field, text) in texts {
        if let Some(text) = text {
            report.put(field, json!(text));
        }
    }
    let amounts = [("total_supply", facts.total_supply), ("owner_balance", facts.owner_balance)];
    for (field, amount) in amounts {
        if let Some(amount) = amount {
            report.put(field, json!(amount.to_string()));
        }
    }
    if let Some(owner) = facts.owner {
        report.put("owner_address", json!(lower(owner)));
    }
    if let (Some(balance), Some(supply)) = (facts.owner_balance, facts.total_supply) {
        report.put("owner_percent", json!(share(balance, supply)));
    }
    let fields = ["token_name", "token_symbol", "total_supply", "owner_address", "owner_balance", "owner_percent"];
    report.unknown(&fields, Why::UnsupportedContract);
}

fn exchanges(report: &mut Report, session: &mut Session, params: &Params, pools: &[Pool]) -> Result<(), StateError> {
    let mut asked = false;
    for dex in &params.dexes {
        asked |= !session.code(dex.factory)?.is_empty();
    }
    for dex in &params.tiered {
        asked |= !session.code(dex.factory)?.is_empty();
    }
    let seen = pools.iter().filter(|pool| pool.is_live()).map(|pool| PoolSeen {
        name: pool.dex.unwrap_or("unknown"),
        kind: pool.kind,
        pair: pool.pair,
        quote: pool.quote,
        quote_reserve: pool.quote_reserve,
    });
    report.pools = seen.collect();
    if asked || !report.pools.is_empty() {
        report.set("is_in_dex", !report.pools.is_empty());
        let dex: Vec<Value> =
            report.pools.iter().map(|pool| json!({"name": pool.name, "pair": lower(pool.pair)})).collect();
        report.put("dex", json!(dex));
    }
    if let Some(pool) = report.pools.first().filter(|pool| pool.kind == Kind::V2)
        && let Some(supply) = ask(session, pool.pair, encode(&abi::totalSupplyCall {}))?
    {
        report.put("lp_total_supply", json!(supply.to_string()));
    }
    report.unknown(&["is_in_dex", "dex"], Why::NoState);
    if !report.pools.is_empty() {
        report.unknown(&["lp_total_supply"], Why::UnsupportedContract);
    }
    Ok(())
}

/// An address as answers have it.
pub(crate) fn lower(address: Address) -> String {
    format!("{address:#x}")
}

/// A part of a whole as a fraction, rounded half up to basis points.
pub(super) fn share(part: U256, whole: U256) -> String {
    let shift = whole.bit_len().saturating_sub(240);
    let (part, whole) = (part >> shift, whole >> shift);
    if whole.is_zero() {
        return "0".to_owned();
    }
    let bps = (part.min(U256::MAX >> 16) * U256::from(20_000) + whole) / (whole * U256::from(2));
    fraction(bps.try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_have_no_trailing_zeros() {
        let cases = [
            (0, "0"),
            (100, "0.01"),
            (1, "0.0001"),
            (9_999, "0.9999"),
            (10_000, "1"),
            (5_000, "0.5"),
            (12_500, "1.25"),
        ];
        for (bps, text) in cases {
            assert_eq!(fraction(bps), text);
        }
        assert_eq!(share(U256::from(1), U256::from(3)), "0.3333");
        assert_eq!(share(U256::from(2), U256::from(3)), "0.6667");
        assert_eq!(share(U256::MAX, U256::MAX), "1");
        assert_eq!(share(U256::ONE, U256::ZERO), "0");
    }
}
