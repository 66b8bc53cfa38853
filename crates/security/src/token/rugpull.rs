//! The result of `rugpull_detecting`: what the keepers of a contract can do to those who use it, and how weighty that is
//! (`security-services.md` section 3.7). The contract need not be a token.

use std::collections::BTreeMap;

use alloy_primitives::{Address, Bytes, U256};
use serde::Serialize;
use serde_json::{Value, json};
use surety_evm::{Session, Snapshot, Status};

use super::abi::{self, encode, is_nobody};
use super::lab::{Lab, ask};
use super::privilege::{Effect, Gate, Power, Powers, Target, scan};
use super::proxy::{Kind, Proxy, resolve};
use super::report::{Doom, Refused, Unknown, Why, doom, lower, targets};
use super::trial::{Seed, realistic};
use super::{Params, Stop, facts, ledger, market};

/// Who owns a contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnerType {
    /// Nobody.
    Blackhole,
    /// A contract.
    Contract,
    /// An account with a key.
    Eoa,
    /// Several, who must agree.
    MultiAddress,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rugpull {
    /// The fields of the answer in GoPlus' form: 1, 0, and -1 for what is not known.
    pub fields: BTreeMap<&'static str, Value>,
    /// What is not known, and why.
    pub unknown: Vec<Unknown>,
    /// Everything that keepers can do.
    pub powers: Vec<Power>,
    /// The code behind the address.
    pub proxy: Proxy,
    /// Seconds that the owner must wait after announcing, where the owner is a contract that makes it wait.
    pub delay_s: Option<u64>,
    /// How much the powers weigh, in parts of 10,000: a power without a bound in one person's hand weighs most.
    pub weight: u32,
}

const FIELDS: [&str; 5] = ["approval_abuse", "blacklist", "privilege_withdraw", "withdraw_missing", "selfdestruct"];
/// Powers as a plain owner has them weigh all of it; others a part, in parts of 10,000.
const TIMELOCK_WEIGHT: u64 = 2_500;
const MULTISIG_WEIGHT: u64 = 4_000;
const CONTRACT_WEIGHT: u64 = 6_000;
const BOUNDED_WEIGHT: u64 = 5_000;
/// A wait shorter than this gives nobody the time to leave.
const SHORT_DELAY_S: u64 = 3_600;

impl Rugpull {
    /// Takes back everything good that was said: what was looked at need not be what will be.
    pub(crate) fn doubt(&mut self) {
        for field in FIELDS {
            if self.fields.get(field) == Some(&json!(0)) {
                self.fields.insert(field, json!(-1));
                self.unknown.push(Unknown { field, reason: Why::UnsupportedContract });
            }
        }
    }
}

/// Finds out what the keepers of a contract can do.
///
/// # Errors
/// [`Refused`] when there is no code, or no state.
pub fn rugpull(snapshot: &Snapshot, contract: Address, params: &Params, hints: &[Address]) -> Result<Rugpull, Refused> {
    let seed = Seed::new(snapshot, contract)?;
    let mut session = realistic(snapshot, seed, seed.limits(params));
    if session.code(contract)?.is_empty() {
        return Err(Refused::NoContract);
    }
    let proxy = resolve(&mut session, contract)?;
    let owner = facts::owner(&mut session, contract)?;
    let (owner_type, delay_s) = owner_of(&mut session, owner)?;
    let mut found = Rugpull {
        fields: BTreeMap::from([("is_proxy", json!(i32::from(proxy.kind.is_some()))), ("is_open_source", json!(-1))]),
        unknown: vec![Unknown { field: "is_open_source", reason: Why::NoSource }],
        powers: Vec::new(),
        proxy,
        delay_s,
        weight: 0,
    };
    found.fields.insert(
        "owner",
        json!({
            "owner_address": owner.map(lower),
            "owner_name": owner.map(|_| "owner"),
            "owner_type": owner_type,
        }),
    );
    if let Some(name) = facts::facts(&mut session, contract)?.name {
        found.fields.insert("contract_name", json!(name));
    }
    match tried(session, seed, contract, params, &found.proxy, hints) {
        Ok(tried) => show(&mut found, tried, owner, owner_type),
        Err(Stop::State(error)) => return Err(error.into()),
        Err(stop) => {
            let reason = if stop == Stop::Budget { Why::OutOfGasBudget } else { Why::UnsupportedContract };
            for field in FIELDS {
                found.fields.insert(field, json!(-1));
                found.unknown.push(Unknown { field, reason });
            }
        }
    }
    Ok(found)
}

/// What was found by trying.
struct Tried {
    powers: Powers,
    /// Whether value that goes in never comes out; nothing where that could not be tried to its end.
    is_stuck: Option<bool>,
    doom: Doom,
}

fn tried(
    mut session: Session,
    seed: Seed,
    contract: Address,
    params: &Params,
    proxy: &Proxy,
    hints: &[Address],
) -> Result<Tried, Stop> {
    let targets = targets(&session, contract, proxy)?;
    let doom = doom(&session, &targets, proxy)?;
    let named = ledger::named(&mut session, contract)?;
    let pools = market::pools(&mut session, contract, params, &named)?;
    let start = session.clone();
    // What is no token is tried beside one: its keepers may still take what people allowed it or left in it.
    let mut lab = match Lab::new(session, seed, contract, params, &pools)? {
        Some(lab) => lab,
        None => beside(start, seed, params)?,
    };
    let is_stuck = is_stuck(&mut lab, contract, &targets)?;
    lab.reset();
    Ok(Tried { powers: scan(&mut lab, &targets, proxy, hints)?, is_stuck, doom })
}

fn beside(mut session: Session, seed: Seed, params: &Params) -> Result<Lab, Stop> {
    let plain = market::place(&mut session, seed.nth(0), "Plain")?;
    Lab::new(session, seed, plain, params, &[])?.ok_or(Stop::Market)
}

/// Whether an ordinary wallet can put coin in and by no function get any out. What could not be tried to its end, or has
/// functions that could not be read, is not known.
fn is_stuck(lab: &mut Lab, contract: Address, targets: &[Target]) -> Result<Option<bool>, Stop> {
    let wallet = lab.wallets.stranger;
    let selectors = targets.iter().flat_map(|target| &target.code.functions).map(|function| function.selector);
    let selectors: Vec<[u8; 4]> = selectors.collect();
    let coin = lab.seed.purse("coin", 15);
    let is_read = targets.iter().all(|target| target.code.complete);
    let mut is_known = is_read;
    let takes = std::iter::once(Bytes::new()).chain(selectors.iter().map(|selector| padded(*selector, U256::ONE)));
    for data in takes {
        lab.reset();
        let call = lab.transaction(wallet, contract, data).value(coin);
        let paid = lab.session.run(&call)?;
        is_known &= paid.status != Status::OutOfBudget;
        if !paid.is_success() {
            continue;
        }
        match comes_out(lab, contract, wallet, &selectors, coin)? {
            Some(true) => {}
            Some(false) if is_read => return Ok(Some(true)),
            _ => is_known = false,
        }
    }
    Ok(is_known.then_some(false))
}

/// Whether some function pays the wallet; nothing where one could not be run to its end and no other pays.
fn comes_out(
    lab: &mut Lab,
    contract: Address,
    wallet: Address,
    selectors: &[[u8; 4]],
    coin: U256,
) -> Result<Option<bool>, Stop> {
    let inside = lab.session.checkpoint();
    let mut is_known = true;
    for selector in selectors {
        for amount in [coin, U256::ONE, U256::ZERO] {
            lab.session.head_mut().advance_seconds(366 * 86_400);
            let call = lab.transaction(wallet, contract, padded(*selector, amount));
            let back = lab.session.run(&call)?;
            lab.session.restore(&inside);
            if back.trace.native.iter().any(|paid| paid.from == contract && paid.to == wallet) {
                return Ok(Some(true));
            }
            is_known &= back.status != Status::OutOfBudget;
        }
    }
    Ok(is_known.then_some(false))
}

/// A selector and a few words that hold the same number.
fn padded(selector: [u8; 4], number: U256) -> Bytes {
    let word = number.to_be_bytes::<32>();
    [&selector[..], &word, &word, &word].concat().into()
}

fn show(found: &mut Rugpull, tried: Tried, owner: Option<Address>, owner_type: Option<OwnerType>) {
    let Tried { powers, is_stuck, doom } = tried;
    // A function that nobody made work may be the one that takes everything.
    let is_covered = powers.idle.is_empty() && powers.uncovered.is_empty() && powers.uncovered_books.is_empty();
    let complete = !powers.exhausted && powers.is_read && is_covered;
    let destroyed = doom == Doom::InReach || powers.has(Effect::Destroy);
    let is_told = doom == Doom::OutOfReach || powers.has(Effect::Delegate);
    let flags = [
        ("approval_abuse", powers.has(Effect::Spend), complete),
        ("blacklist", powers.has(Effect::Blacklist), complete),
        ("privilege_withdraw", powers.has(Effect::Withdraw), complete),
        ("withdraw_missing", is_stuck == Some(true), is_stuck.is_some()),
        ("selfdestruct", destroyed, !powers.exhausted && is_told),
    ];
    let reason = if powers.exhausted { Why::OutOfGasBudget } else { Why::UnsupportedContract };
    for (field, on, is_complete) in flags {
        let known = on || is_complete;
        found.fields.insert(field, json!(if known { i32::from(on) } else { -1 }));
        if !known {
            let reason = if field == "withdraw_missing" { Why::OutOfGasBudget } else { reason };
            found.unknown.push(Unknown { field, reason });
        }
    }
    found.powers = powers.powers;
    found.weight = found.powers.iter().map(|power| weight(power, owner, owner_type, found.delay_s)).max().unwrap_or(0);
    if let Some(kind) = found.proxy.kind {
        found.fields.insert("proxy_kind", json!(kind));
        if kind != Kind::Minimal {
            found.fields.insert("upgrader", json!(found.proxy.admin.map(lower)));
        }
    }
    if let Some(delay) = found.delay_s {
        found.fields.insert("delay", json!(delay.to_string()));
    }
}

/// What one power weighs, in parts of 10,000.
fn weight(power: &Power, owner: Option<Address>, owner_type: Option<OwnerType>, delay_s: Option<u64>) -> u32 {
    let severity: u64 = match power.effect {
        Effect::Mint | Effect::Balances | Effect::Delegate | Effect::Spend | Effect::Withdraw => 10_000,
        Effect::Upgrade | Effect::Destroy => 8_000,
        Effect::Pause | Effect::Blacklist | Effect::Tax | Effect::PersonalTax => 7_000,
        Effect::Limit => 4_000,
        Effect::Whitelist | Effect::Open | Effect::Ownership => 2_000,
    };
    let by_owner = power.gate == Gate::Address && power.who.is_some() && power.who == owner;
    let hand = match (owner_type, delay_s) {
        _ if !by_owner => 10_000,
        (_, Some(delay)) if delay >= SHORT_DELAY_S => TIMELOCK_WEIGHT,
        (Some(OwnerType::MultiAddress), _) => MULTISIG_WEIGHT,
        (Some(OwnerType::Contract), _) => CONTRACT_WEIGHT,
        _ => 10_000,
    };
    let bound = if power.bounded { BOUNDED_WEIGHT } else { 10_000 };
    u32::try_from(severity * hand / 10_000 * bound / 10_000).unwrap_or(10_000)
}

/// What kind of owner it is, and how long it must wait.
fn owner_of(session: &mut Session, owner: Option<Address>) -> Result<(Option<OwnerType>, Option<u64>), Refused> {
    let Some(owner) = owner else { return Ok((None, None)) };
    if is_nobody(owner) {
        return Ok((Some(OwnerType::Blackhole), None));
    }
    let code = session.code(owner)?;
    // An account with a delegation still has its key.
    if code.is_empty() || code.starts_with(&[0xef, 0x01, 0x00]) {
        return Ok((Some(OwnerType::Eoa), None));
    }
    let mut number = |data: Bytes| ask(session, owner, data);
    let threshold = number(encode(&abi::getThresholdCall {}))?.unwrap_or_default();
    let (minimum, fixed) = (number(encode(&abi::getMinDelayCall {}))?, number(encode(&abi::delayCall {}))?);
    let delay = minimum.or(fixed).and_then(|delay| u64::try_from(delay).ok()).filter(|delay| *delay > 0);
    let kind = if threshold > U256::ONE { OwnerType::MultiAddress } else { OwnerType::Contract };
    Ok((Some(kind), delay))
}
