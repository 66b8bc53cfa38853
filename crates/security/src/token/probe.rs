//! Trying a token as ordinary wallets would: what goes in, what comes out, at which sizes, times and surroundings.
//!
//! Method of `security-services.md` section 5.3. A plain token in a pool of the same shape is tried beside it: where that
//! one fails too, it is the market that is broken, and nothing is said of the token.

use std::collections::BTreeSet;

use alloy_primitives::{Address, U256, keccak256};
use serde::Serialize;
use surety_evm::{Checkpoint, Head};

use super::lab::{Lab, Move};
use super::market;
use super::{Stop, ledger};

/// The sizes of trades, in parts in a million of the pool: 0.01 %, 1 %, 5 %.
pub const SIZES: [u64; 3] = [100, 10_000, 50_000];
/// A purchase so large that a limit on size shows, in parts in a million of the pool.
pub(crate) const WHALE: u64 = 300_000;
/// The times after a purchase at which selling is tried again, in seconds.
pub const TIMES: [u64; 3] = [3_600, 86_400, 2_592_000];
/// From this tax on a token that can be sold is sold for nothing.
pub const CONFISCATION_BPS: u64 = 9_000;
/// Taxes of smaller amounts than this, in base units, are rounding.
const EXACT: u64 = 1_000_000;
/// A transfer above this gas makes its sender pay for something else than a transfer.
const ABUSIVE_GAS: u64 = 600_000;

/// Which trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Trade {
    /// From the pool to a wallet.
    Buy,
    /// From wallet to wallet.
    Transfer,
    /// Half of what was bought, to the pool.
    SellHalf,
    /// All that was bought, to the pool.
    SellAll,
}

/// Whose trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// A wallet that had nothing before.
    Fresh,
    /// A wallet that had the token before.
    Holder,
    /// A wallet that is a contract.
    Contract,
}

/// One trade that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Who traded.
    pub who: Who,
    /// What was tried.
    pub trade: Trade,
    /// Its size, in parts in a million of the pool.
    pub size_ppm: u64,
    /// Seconds after the wallet came to the token.
    pub after_s: u64,
    /// What was different in the surroundings; nothing in the ordinary case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surroundings: Option<&'static str>,
    /// Whether anything moved.
    pub ok: bool,
    /// What left, in base units.
    pub sent: U256,
    /// What arrived, in base units.
    pub got: U256,
    /// The difference, in basis points.
    pub tax_bps: u64,
    /// Whether the logs agree with the balances.
    pub logs_agree: bool,
}

/// What came of the trades.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Probe {
    /// Every trade, in the order in which they were tried.
    pub samples: Vec<Sample>,
    /// No size could be bought.
    pub cannot_buy: bool,
    /// Who has the token cannot get rid of it for more than a trifle.
    pub is_honeypot: bool,
    /// Half can be sold where all cannot.
    pub cannot_sell_all: bool,
    /// Tax of buying in basis points, the worst of what was measured; 10,000 when impossible.
    pub buy_tax_bps: u64,
    /// Tax of selling, likewise.
    pub sell_tax_bps: u64,
    /// Tax of moving between wallets, likewise.
    pub transfer_tax_bps: u64,
    /// A trade that fails at first works after some time.
    pub cooldown: bool,
    /// A trade fails only for its size.
    pub size_limit: bool,
    /// The surroundings that change an outcome.
    pub sensitive_to: BTreeSet<&'static str>,
    /// Logs and balances contradict each other somewhere.
    pub inconsistent_logs: bool,
    /// Contracts that the token calls when it moves, neither part of the market nor its own code.
    pub external: BTreeSet<Address>,
    /// Moving the token buys something else with the sender's gas.
    pub gas_abuse: bool,
    /// A wallet that is a contract can buy and sell too.
    pub contracts_trade: bool,
}

impl Probe {
    fn of(&self, who: Who, trades: &[Trade]) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.who == who && trades.contains(&sample.trade) && sample.surroundings.is_none())
    }
}

const SALES: [Trade; 2] = [Trade::SellHalf, Trade::SellAll];

/// Tries everything. `own` are the addresses of the token's own code, which it may call.
pub(crate) fn probe(lab: &mut Lab, own: &BTreeSet<Address>) -> Result<Probe, Stop> {
    control(lab)?;
    let mut probe = Probe::default();
    let bought = matrix(lab, &mut probe)?;
    holders(lab, &mut probe)?;
    times(lab, &mut probe, bought.as_ref())?;
    cooldown(lab, &mut probe, bought.as_ref())?;
    contracts(lab, &mut probe)?;
    limits(lab, &mut probe)?;
    surroundings(lab, &mut probe)?;
    judge(lab, &mut probe, own);
    lab.reset();
    Ok(probe)
}

/// Sizes x trades for a fresh wallet. Returns the state after the smallest purchase that worked.
fn matrix(lab: &mut Lab, probe: &mut Probe) -> Result<Option<Checkpoint>, Stop> {
    let (buyer, sink) = (lab.wallets.buyer, lab.wallets.sink);
    let mut first = None;
    for size in SIZES {
        lab.reset();
        let bought = lab.buy(buyer, lab.price_of(size))?;
        probe.samples.push(sample(Who::Fresh, Trade::Buy, size, 0, bought));
        if bought.is_none_or(|bought| bought.got.is_zero()) {
            continue;
        }
        let at_once = lab.session.checkpoint();
        first.get_or_insert(at_once);
        lab.session.head_mut().advance_blocks(1);
        let held = lab.session.checkpoint();
        let amount = lab.balance(buyer)?;
        let tenth = lab.transfer(buyer, sink, round(amount / U256::from(10)))?;
        probe.samples.push(sample(Who::Fresh, Trade::Transfer, size, 12, tenth));
        lab.session.restore(&held);
        let half = lab.sell(buyer, round(amount / U256::from(2)))?;
        probe.samples.push(sample(Who::Fresh, Trade::SellHalf, size, 12, half));
        lab.session.restore(&held);
        let all = lab.sell(buyer, amount)?;
        probe.samples.push(sample(Who::Fresh, Trade::SellAll, size, 12, all));
    }
    Ok(first)
}

/// A wallet that had the token before it was looked at.
fn holders(lab: &mut Lab, probe: &mut Probe) -> Result<(), Stop> {
    let (holder, sink) = (lab.wallets.holder, lab.wallets.sink);
    for size in SIZES {
        let amount = lab.part(size).min(lab.stock);
        if amount.is_zero() {
            continue;
        }
        lab.reset();
        let moved = lab.transfer(holder, sink, amount)?;
        probe.samples.push(sample(Who::Holder, Trade::Transfer, size, 12, moved));
        lab.reset();
        let sold = lab.sell(holder, amount)?;
        probe.samples.push(sample(Who::Holder, Trade::SellHalf, size, 12, sold));
    }
    Ok(())
}

/// The same purchase, sold later and later.
fn times(lab: &mut Lab, probe: &mut Probe, bought: Option<&Checkpoint>) -> Result<(), Stop> {
    for after in TIMES {
        let (who, wallet, amount) = match bought {
            Some(bought) => {
                lab.session.restore(bought);
                (Who::Fresh, lab.wallets.buyer, lab.balance(lab.wallets.buyer)?)
            }
            None => {
                lab.reset();
                (Who::Holder, lab.wallets.holder, lab.part(SIZES[0]).min(lab.stock))
            }
        };
        lab.session.head_mut().advance_seconds(after);
        let then = lab.session.checkpoint();
        let half = lab.sell(wallet, round(amount / U256::from(2)))?;
        probe.samples.push(sample(who, Trade::SellHalf, SIZES[0], after, half));
        lab.session.restore(&then);
        let buying = lab.buy(lab.wallets.other, lab.price_of(SIZES[1]))?;
        probe.samples.push(sample(Who::Holder, Trade::Buy, SIZES[1], after, buying));
    }
    Ok(())
}

/// Whether a second trade is refused at once and not later.
fn cooldown(lab: &mut Lab, probe: &mut Probe, bought: Option<&Checkpoint>) -> Result<(), Stop> {
    let sells = |samples: &[Sample], early: bool| {
        samples.iter().any(|sample| {
            sample.who == Who::Fresh && SALES.contains(&sample.trade) && (sample.after_s <= 12) == early && sample.ok
        })
    };
    let (early, late) = (sells(&probe.samples, true), sells(&probe.samples, false));
    probe.cooldown = late && !early;
    let Some(bought) = bought else { return Ok(()) };
    let buyer = lab.wallets.buyer;
    lab.session.restore(bought);
    let quarter = round(lab.balance(buyer)? / U256::from(4));
    let at_once = lab.sell(buyer, quarter)?;
    lab.session.restore(bought);
    lab.session.head_mut().advance_seconds(TIMES[1]);
    let once = lab.sell(buyer, quarter)?;
    let sold = lab.session.checkpoint();
    let twice = lab.sell(buyer, quarter)?;
    lab.session.restore(&sold);
    lab.session.head_mut().advance_seconds(TIMES[1]);
    let later = lab.sell(buyer, quarter)?;
    probe.cooldown |= later.is_some() && once.is_some() && (at_once.is_none() || twice.is_none());
    Ok(())
}

/// A wallet that is a contract, as many are.
fn contracts(lab: &mut Lab, probe: &mut Probe) -> Result<(), Stop> {
    let wallet = lab.wallets.contract;
    lab.reset();
    let bought = lab.buy(wallet, lab.price_of(SIZES[1]))?;
    probe.samples.push(sample(Who::Contract, Trade::Buy, SIZES[1], 0, bought));
    let mut sold = None;
    if bought.is_some() {
        lab.session.head_mut().advance_seconds(TIMES[0]);
        let amount = lab.balance(wallet)?;
        sold = lab.sell(wallet, round(amount / U256::from(2)))?;
        probe.samples.push(sample(Who::Contract, Trade::SellHalf, SIZES[1], TIMES[0], sold));
    }
    probe.contracts_trade = bought.is_some() && sold.is_some();
    Ok(())
}

/// Sizes beyond the ordinary, where the ordinary ones work.
fn limits(lab: &mut Lab, probe: &mut Probe) -> Result<(), Stop> {
    let small = |trade: Trade| probe.samples.iter().any(|sample| sample.trade == trade && sample.ok);
    let (buys, moves, sells) = (small(Trade::Buy), small(Trade::Transfer), small(Trade::SellHalf));
    let uneven = |trade: Trade, who: Who| {
        let mut sizes =
            probe.samples.iter().filter(|sample| sample.who == who && sample.trade == trade && sample.after_s <= 12);
        let worked: Vec<bool> = sizes.by_ref().map(|sample| sample.ok).collect();
        worked.windows(2).any(|pair| pair[0] && !pair[1])
    };
    let mut limited = [Who::Fresh, Who::Holder]
        .into_iter()
        .any(|who| [Trade::Buy, Trade::Transfer, Trade::SellHalf].into_iter().any(|trade| uneven(trade, who)));
    lab.reset();
    if buys && !limited {
        limited |= lab.buy(lab.wallets.buyer, lab.price_of(WHALE))?.is_none();
    }
    for percent in [2_u64, 10, 50] {
        let amount = lab.supply / U256::from(100) * U256::from(percent);
        // The pool keeps its amounts in 112 bits.
        if limited || amount.is_zero() || amount.bit_len() > 110 || lab.reserve.bit_len() > 110 {
            continue;
        }
        lab.reset();
        let holder = lab.wallets.holder;
        if !ledger::forge(&mut lab.session, lab.token, holder, amount)? {
            continue;
        }
        let whale = lab.session.checkpoint();
        limited |= moves && lab.transfer(holder, lab.wallets.sink, amount / U256::from(2))?.is_none();
        lab.session.restore(&whale);
        limited |= sells && lab.sell(holder, amount / U256::from(2))?.is_none();
    }
    probe.size_limit = limited;
    Ok(())
}

/// A change of what a transaction sees around it.
struct Change {
    name: &'static str,
    /// Whether ordinary transactions meet it.
    ordinary: bool,
    make: fn(&mut Head, &mut u128, u64),
    times: u64,
}

/// Only what the token was seen to ask for is changed.
fn changes(lab: &Lab) -> Vec<Change> {
    let seen = &lab.seen;
    let mut changes = Vec::new();
    let mut add = |wanted: bool, name, ordinary, times, make| {
        if wanted {
            changes.push(Change { name, ordinary, make, times });
        }
    };
    add(seen.prevrandao, "prevrandao", true, 6, |head, _, n| head.prevrandao = keccak256(n.to_be_bytes()));
    add(seen.coinbase, "coinbase", true, 2, |head, _, n| {
        head.coinbase = Address::from_word(keccak256(n.to_be_bytes()))
    });
    add(seen.coinbase, "coinbase_zero", false, 1, |head, _, _| head.coinbase = Address::ZERO);
    add(seen.gas_price, "gas_price", true, 1, |_, tip, _| *tip = 3_000_000_000);
    add(seen.gas_price, "gas_price_high", false, 1, |_, tip, _| *tip = 900_000_000_000);
    add(seen.gas_price || seen.base_fee, "gas_price_zero", false, 1, |head, tip, _| (head.base_fee, *tip) = (0, 0));
    add(seen.base_fee, "base_fee", true, 1, |head, _, _| head.base_fee = head.base_fee.saturating_mul(2));
    add(seen.gas_limit, "gas_limit", false, 1, |head, _, _| head.gas_limit = 30_000_000);
    changes
}

/// Buys and sells in changed surroundings and compares with the ordinary ones.
fn surroundings(lab: &mut Lab, probe: &mut Probe) -> Result<(), Stop> {
    let tip = lab.tip;
    if changes(lab).is_empty() && !lab.seen.origin {
        return Ok(());
    }
    lab.reset();
    let expected = round_trip(lab)?;
    for change in changes(lab) {
        for n in 0..change.times {
            lab.reset();
            lab.tip = tip;
            (change.make)(lab.session.head_mut(), &mut lab.tip, n);
            let found = round_trip(lab);
            lab.tip = tip;
            let (bought, sold) = found?;
            let outcome = |moved: Option<Move>| moved.map(|moved| moved.tax_bps());
            if (outcome(bought), outcome(sold)) != (outcome(expected.0), outcome(expected.1)) {
                probe.sensitive_to.insert(change.name);
            }
            for (trade, moved) in [(Trade::Buy, bought), (Trade::SellHalf, sold)] {
                let mut sample = sample(Who::Fresh, trade, SIZES[1], 12, moved);
                sample.surroundings = Some(change.name);
                probe.samples.push(sample);
            }
            // Only where the purchase worked has a failing sale caught anybody.
            if change.ordinary && bought.is_some() && sold.is_none() {
                probe.is_honeypot = true;
            }
        }
    }
    let plain = expected.1.is_some();
    if probe.contracts_trade != plain && lab.seen.origin {
        probe.sensitive_to.insert("origin");
    }
    Ok(())
}

fn round_trip(lab: &mut Lab) -> Result<(Option<Move>, Option<Move>), Stop> {
    let buyer = lab.wallets.buyer;
    let bought = lab.buy(buyer, lab.price_of(SIZES[1]))?;
    let (wallet, amount) = match bought {
        Some(_) => (buyer, lab.balance(buyer)?),
        None => (lab.wallets.holder, lab.part(SIZES[1]).min(lab.stock)),
    };
    lab.session.head_mut().advance_blocks(1);
    Ok((bought, lab.sell(wallet, round(amount / U256::from(2)))?))
}

/// Whether a plain token trades in a pool like this one.
fn control(lab: &mut Lab) -> Result<(), Stop> {
    lab.reset();
    let plain = market::control(lab)?;
    let (token, pair, first_reserve) = (lab.token, lab.market.pair, lab.reserve);
    let Some((control, control_pair)) = plain else { return Err(Stop::Market) };
    (lab.token, lab.market.pair) = (control, control_pair);
    let result = control_trades(lab);
    (lab.token, lab.market.pair, lab.reserve) = (token, pair, first_reserve);
    lab.reset();
    if result? { Ok(()) } else { Err(Stop::Market) }
}

fn control_trades(lab: &mut Lab) -> Result<bool, Stop> {
    let buyer = lab.wallets.buyer;
    let bought = lab.buy(buyer, lab.price_of(SIZES[1]))?;
    let sold = lab.sell(buyer, bought.map_or(U256::ZERO, |bought| bought.got / U256::from(2)))?;
    let clean = |moved: Option<Move>| moved.is_some_and(|moved| moved.agree && moved.sent == moved.got);
    Ok(clean(bought) && clean(sold))
}

fn judge(lab: &Lab, probe: &mut Probe, own: &BTreeSet<Address>) {
    let fresh_buys = probe.of(Who::Fresh, &[Trade::Buy]).any(|sample| sample.ok);
    probe.cannot_buy = !fresh_buys;
    let seller = if fresh_buys { Who::Fresh } else { Who::Holder };
    let any_sale = probe.of(seller, &SALES).any(|sample| sample.ok);
    let tried = probe.of(seller, &SALES).next().is_some();
    // What sells today and is shut by time alone has caught everybody who waited.
    let last = probe.of(seller, &SALES).filter(|sample| sample.after_s == TIMES[2]).any(|sample| sample.ok);
    let trapped = tried && (!any_sale || !last || probe.is_honeypot);
    let halves: Vec<u64> = sold(probe, Trade::SellHalf, true);
    let alls: Vec<u64> = sold(probe, Trade::SellAll, true);
    probe.cannot_sell_all = halves.iter().any(|_| true) && halves.iter().all(|size| !alls.contains(size));
    probe.buy_tax_bps = if fresh_buys { worst(probe, Trade::Buy) } else { 10_000 };
    let sale_tax = worst(probe, Trade::SellHalf).max(worst(probe, Trade::SellAll));
    probe.sell_tax_bps = if trapped { 10_000 } else { sale_tax };
    probe.transfer_tax_bps = worst(probe, Trade::Transfer);
    probe.is_honeypot = trapped || sale_tax >= CONFISCATION_BPS;
    let outcomes = |early: bool| {
        let mut at = probe.of(seller, &SALES).filter(move |sample| (sample.after_s <= 12) == early);
        at.by_ref().any(|sample| sample.ok)
    };
    if tried && outcomes(true) && !last || (outcomes(false) && !outcomes(true)) {
        probe.sensitive_to.insert("time");
    }
    probe.inconsistent_logs = probe.samples.iter().any(|sample| sample.ok && !sample.logs_agree);
    probe.external = lab.seen.called.iter().filter(|(_, own_code)| !**own_code).map(|(address, _)| *address).collect();
    probe.external.retain(|address| !own.contains(address));
    probe.gas_abuse = lab.seen.creates || lab.seen.transfer_gas > ABUSIVE_GAS;
}

/// The sizes of a fresh wallet's early sales of one kind that worked.
fn sold(probe: &Probe, trade: Trade, ok: bool) -> Vec<u64> {
    let kinds = [trade];
    let matching = probe.of(Who::Fresh, &kinds).filter(|sample| sample.after_s <= 12 && sample.ok == ok);
    matching.map(|sample| sample.size_ppm).collect()
}

/// The worst tax of a trade: of the exact amounts only, where there are some; else of the largest.
fn worst(probe: &Probe, trade: Trade) -> u64 {
    let ok =
        || probe.samples.iter().filter(|sample| sample.trade == trade && sample.ok && sample.surroundings.is_none());
    let exact = ok().filter(|sample| sample.sent >= U256::from(EXACT)).map(|sample| sample.tax_bps).max();
    exact.or_else(|| ok().max_by_key(|sample| sample.sent).map(|sample| sample.tax_bps)).unwrap_or(0)
}

fn sample(who: Who, trade: Trade, size_ppm: u64, after_s: u64, moved: Option<Move>) -> Sample {
    let (sent, got) = moved.map_or((U256::ZERO, U256::ZERO), |moved| (moved.sent, moved.got));
    Sample {
        who,
        trade,
        size_ppm,
        after_s,
        surroundings: None,
        ok: moved.is_some(),
        sent,
        got,
        tax_bps: moved.map_or(0, |moved| moved.tax_bps()),
        logs_agree: moved.is_none_or(|moved| moved.agree),
    }
}

/// Down to a multiple of 10,000, where there is one.
fn round(amount: U256) -> U256 {
    let unit = U256::from(10_000);
    if amount < unit { amount } else { amount - amount % unit }
}
