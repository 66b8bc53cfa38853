//! Trying a token as ordinary wallets would: what goes in, what comes out, at which sizes, times and surroundings.
//!
//! Method of `security-services.md` section 5.3. A plain token in a pool of the same shape is tried beside it: where that
//! one fails too, it is the market that is broken, and nothing is said of the token.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};
use serde::Serialize;
use surety_evm::Checkpoint;

use super::endure::{endure, sell_some};
use super::lab::{Lab, Move, round};
use super::market::{self, Kind, Pool};
use super::vital::NOISE_BPS;
use super::waste::Waste;
use super::{Params, Stop, Why, ledger};

/// The sizes of trades, in parts in a million of the pool: 0.01 %, 1 %, 5 %.
pub const SIZES: [u64; 3] = [100, 10_000, 50_000];
/// A purchase so large that a limit on size shows, in parts in a million of the pool.
pub(crate) const WHALE: u64 = 300_000;
/// The times after a purchase at which selling is tried again, in seconds; each a little later, by up to half an hour.
pub const TIMES: [u64; 3] = [3_600, 86_400, 2_592_000];
/// Other pools of each kind that are tried beside the first.
const MOST_POOLS: usize = 5;
/// Surroundings that ordinary transactions do not meet.
const EXTRAORDINARY: [&str; 4] = ["coinbase_zero", "gas_limit", "gas_price_high", "gas_price_zero"];
/// Half of something, in parts of 100,000.
const HALF: u64 = 50_000;
/// From this tax on a token that can be sold is sold for nothing.
pub const CONFISCATION_BPS: u64 = 9_000;
/// Taxes of smaller amounts than this, in base units, are rounding.
const EXACT: u64 = 1_000_000;

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
    /// A small part of it, to the pool: tried where half is refused.
    SellPart,
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
    /// The pool, where it is not the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<Address>,
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
    /// The trades whose outcome another wallet, another block or another pool changes: nothing good is said of them.
    pub unsettled: BTreeSet<Trade>,
    /// Pools with something in them in which nothing could be tried, and why.
    pub untried: BTreeMap<Address, Why>,
    /// Logs and balances contradict each other somewhere.
    pub inconsistent_logs: bool,
    /// Contracts that the token calls when it moves, neither part of the market nor its own code.
    pub external: BTreeSet<Address>,
    /// What moving or allowing the token buys besides with the sender's gas.
    pub waste: BTreeSet<Waste>,
    /// A wallet that is a contract can buy and sell too.
    pub contracts_trade: bool,
}

impl Probe {
    /// Whether who has the token cannot get rid of it; nothing where that was not tried everywhere, or depends on what
    /// surrounds the sale.
    pub fn is_trap(&self) -> Option<bool> {
        let was_tried = self.samples.iter().any(|sample| sample.trade == Trade::SellHalf);
        let is_settled = was_tried && !self.unsettled.contains(&Trade::SellHalf) && self.untried.is_empty();
        (self.is_honeypot || is_settled).then_some(self.is_honeypot)
    }

    fn of(&self, who: Who, trades: &[Trade]) -> impl Iterator<Item = &Sample> {
        self.samples
            .iter()
            .filter(move |sample| sample.who == who && trades.contains(&sample.trade) && sample.is_plain())
    }
}

impl Sample {
    /// Whether nothing was different about it.
    const fn is_plain(&self) -> bool {
        self.surroundings.is_none() && self.pool.is_none()
    }

    /// Whether it shows what may happen to anybody.
    fn is_ordinary(&self) -> bool {
        self.surroundings.is_none_or(|name| !EXTRAORDINARY.contains(&name))
    }
}

const SALES: [Trade; 3] = [Trade::SellHalf, Trade::SellAll, Trade::SellPart];

/// Tries everything. `own` are the addresses of the token's own code, which it may call.
pub(crate) fn probe(lab: &mut Lab, own: &BTreeSet<Address>, params: &Params, pools: &[Pool]) -> Result<Probe, Stop> {
    control(lab)?;
    // What keepers did before is not what holders pay for.
    lab.seen.waste.clear();
    let mut probe = Probe::default();
    let bought = matrix(lab, &mut probe)?;
    holders(lab, &mut probe)?;
    times(lab, &mut probe, bought.as_ref())?;
    cooldown(lab, &mut probe, bought.as_ref())?;
    contracts(lab, &mut probe)?;
    limits(lab, &mut probe)?;
    surroundings(lab, &mut probe)?;
    endure(lab, &mut probe)?;
    elsewhere(lab, &mut probe, params, pools)?;
    judge(lab, &mut probe, own)?;
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
        sell_some(lab, probe, (Who::Fresh, buyer), size, 12, amount)?;
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
        let after = after + 12 * lab.seed.within(&format!("after {after}"), 1, 150);
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
        sell_some(lab, probe, (who, wallet), SIZES[0], after, amount)?;
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
    lab.session.restore(bought);
    // One purchase a block is no wait.
    lab.session.head_mut().advance_blocks(1);
    let more = lab.buy(buyer, lab.price_of(SIZES[0]))?;
    lab.session.restore(bought);
    lab.session.head_mut().advance_seconds(TIMES[1]);
    probe.cooldown |= more.is_none() && lab.buy(buyer, lab.price_of(SIZES[0]))?.is_some();
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
    let small = |who: Who, trade: Trade| {
        probe.samples.iter().any(|sample| sample.who == who && sample.trade == trade && sample.ok)
    };
    let buys = small(Who::Fresh, Trade::Buy);
    let (moves, sells) = (small(Who::Holder, Trade::Transfer), small(Who::Holder, Trade::SellHalf));
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
    make: fn(&mut Lab, u64),
    times: u64,
}

/// Only what the token was seen to ask for is changed.
fn changes(lab: &Lab) -> Vec<Change> {
    let seen = &lab.seen;
    let mut changes = Vec::new();
    let mut add = |wanted: bool, name, times, make| {
        if wanted {
            changes.push(Change { name, make, times });
        }
    };
    add(seen.prevrandao, "prevrandao", 6, |lab, n| lab.session.head_mut().prevrandao = lab.seed.nth(n).hash("mix"));
    add(seen.coinbase, "coinbase", 6, |lab, n| {
        lab.session.head_mut().coinbase = lab.seed.nth(n).address("coinbase");
    });
    add(seen.coinbase, "coinbase_zero", 1, |lab, _| lab.session.head_mut().coinbase = Address::ZERO);
    add(seen.block_hash, "block_hash", 6, |lab, n| {
        lab.session.imagine_blocks(lab.seed.nth(n).hash("blocks"));
        lab.session.head_mut().advance_blocks(1 + n);
    });
    add(seen.gas_price, "gas_price", 2, |lab, n| lab.manner.tip = 1_000_000_000 << n);
    add(seen.gas_price, "gas_price_high", 1, |lab, _| lab.manner.tip = 900_000_000_000);
    add(seen.gas_price || seen.base_fee, "gas_price_zero", 1, |lab, _| {
        (lab.session.head_mut().base_fee, lab.manner.tip) = (0, 0);
    });
    add(seen.base_fee, "base_fee", 1, |lab, _| {
        let head = lab.session.head_mut();
        head.base_fee = head.base_fee.saturating_mul(2);
    });
    add(seen.gas_limit, "gas_limit", 1, |lab, _| lab.session.head_mut().gas_limit = 30_000_000);
    add(seen.gas, "gas", 1, |lab, _| lab.manner.is_frugal = true);
    changes
}

/// What comes of a purchase, of a movement out of it and of a sale.
#[derive(Clone, Copy)]
struct Trip {
    buy: Option<Move>,
    transfer: Option<Move>,
    sell: Option<Move>,
}

/// Trades as other wallets and in changed surroundings, and compares with the ordinary ones.
fn surroundings(lab: &mut Lab, probe: &mut Probe) -> Result<(), Stop> {
    let (buyer, wait) = (lab.wallets.buyer, patience(probe));
    lab.reset();
    let expected = trip(lab, buyer, wait, HALF)?;
    for (n, visitor) in (0..).zip(lab.wallets.visitors) {
        lab.reset();
        lab.provide(visitor)?;
        let found = trip(lab, visitor, wait, lab.seed.nth(n).within("part", HALF - 999, HALF))?;
        compare(probe, "wallet", wait, expected, found);
    }
    let mut done: Vec<&str> = Vec::new();
    // One surrounding may lead to code that asks for another.
    while let Some(change) = changes(lab).into_iter().find(|change| !done.contains(&change.name)) {
        done.push(change.name);
        for n in 0..change.times {
            lab.reset();
            (change.make)(lab, n);
            let found = trip(lab, buyer, wait, HALF);
            lab.behave();
            compare(probe, change.name, wait, expected, found?);
        }
    }
    if probe.contracts_trade != expected.sell.is_some() && lab.seen.origin {
        probe.sensitive_to.insert("origin");
    }
    Ok(())
}

/// Seconds after which what was bought can be sold, where it can be at all.
pub(super) fn patience(probe: &Probe) -> u64 {
    let early = probe.of(Who::Fresh, &SALES).any(|sample| sample.ok && sample.after_s <= 12);
    let late = probe.of(Who::Fresh, &SALES).any(|sample| sample.ok && sample.after_s > 12);
    if late && !early { TIMES[1] } else { 12 }
}

/// Buys, waits, moves and sells `part` of 100,000 of what was bought.
fn trip(lab: &mut Lab, buyer: Address, wait: u64, part: u64) -> Result<Trip, Stop> {
    let buy = lab.buy(buyer, lab.price_of(SIZES[1]))?;
    let (wallet, amount) = match buy {
        Some(_) => (buyer, lab.balance(buyer)?),
        None => (lab.wallets.holder, lab.part(SIZES[1]).min(lab.stock)),
    };
    lab.session.head_mut().advance_seconds(wait);
    let held = lab.session.checkpoint();
    let transfer = lab.transfer(wallet, lab.wallets.sink, round(amount / U256::from(10)))?;
    lab.session.restore(&held);
    let sold = amount.saturating_mul(U256::from(part)) / U256::from(2 * HALF);
    // Round amounts are for the exact tax; people sell others.
    let sell = lab.sell(wallet, if part == HALF { round(sold) } else { sold })?;
    Ok(Trip { buy, transfer, sell })
}

/// Notes what came of a trip in other surroundings, and whether it is what was expected.
fn compare(probe: &mut Probe, name: &'static str, wait: u64, expected: Trip, found: Trip) {
    let trades = [
        (Trade::Buy, expected.buy, found.buy),
        (Trade::Transfer, expected.transfer, found.transfer),
        (Trade::SellHalf, expected.sell, found.sell),
    ];
    let mut caught = false;
    for (trade, was, is) in trades {
        let sample = Sample { surroundings: Some(name), ..sample(Who::Fresh, trade, SIZES[1], wait, is) };
        // Only where the purchase worked has a failing sale caught anybody.
        caught |=
            trade == Trade::SellHalf && was.is_some() && is.is_none() && found.buy.is_some() && sample.is_ordinary();
        probe.samples.push(sample);
        if differ(was, is) {
            probe.sensitive_to.insert(name);
            probe.unsettled.insert(trade);
        }
    }
    probe.is_honeypot |= caught;
}

/// Whether two outcomes are not the same, but for rounding and for who holds what.
fn differ(was: Option<Move>, is: Option<Move>) -> bool {
    let (Some(was), Some(is)) = (was, is) else { return was.is_some() != is.is_some() };
    let least: U256 = was.sent.min(is.sent).max(U256::ONE);
    let rounding: U256 = U256::from(20_000) / least;
    was.tax_bps().abs_diff(is.tax_bps()) > NOISE_BPS.saturating_add(rounding.saturating_to())
}

/// The same trades in the other pools that have something; the worst outcome of all pools counts.
fn elsewhere(lab: &mut Lab, probe: &mut Probe, params: &Params, pools: &[Pool]) -> Result<(), Stop> {
    let home = lab.market.pair;
    for kind in [Kind::V2, Kind::V3] {
        let others = pools.iter().filter(|pool| pool.kind == kind && pool.is_live() && pool.pair != home);
        for (at, pool) in others.enumerate() {
            let tried = match kind {
                _ if at >= MOST_POOLS => Err(Why::OutOfGasBudget),
                Kind::V2 => in_pool(lab, probe, params, pool)?,
                Kind::V3 => on_the_way(lab, probe, pool)?,
            };
            if let Err(why) = tried {
                probe.untried.insert(pool.pair, why);
            }
        }
    }
    // Nobody trades in a pool that we had to make: what happens in those of V3 is all that matters, and only the way into
    // them was tried.
    if !pools.iter().any(|pool| pool.kind == Kind::V2 && pool.is_live()) {
        let only = pools.iter().filter(|pool| pool.is_live());
        probe.untried.extend(only.map(|pool| (pool.pair, Why::UnsupportedContract)));
    }
    Ok(())
}

/// Trades in another pool of V2, where a plain token can be traded there too.
fn in_pool(lab: &mut Lab, probe: &mut Probe, params: &Params, pool: &Pool) -> Result<Result<(), Why>, Stop> {
    match visit(lab, params, pool, |lab| trades_in(lab, pool.pair)) {
        Ok(samples) => {
            probe.samples.extend(samples);
            Ok(Ok(()))
        }
        Err(Stop::Market) => Ok(Err(Why::UnsupportedContract)),
        Err(stop) => Err(stop),
    }
}

/// Does something in another pool of V2, and comes back. [`Stop::Market`] where nobody can trade there.
pub(super) fn visit<T>(
    lab: &mut Lab,
    params: &Params,
    pool: &Pool,
    act: impl FnOnce(&mut Lab) -> Result<T, Stop>,
) -> Result<T, Stop> {
    lab.reset();
    let (base, home) = (lab.base.clone(), (lab.market.clone(), lab.reserve, lab.quote_reserve));
    let place = (pool.pair, pool.quote, pool.factory);
    let mut others = lab.market.others.clone();
    others.extend([home.0.pair, home.0.quote, home.0.router, home.0.factory]);
    let market = market::enter(&mut lab.session, lab.seed.nth(0), params, place, others)?;
    let result = match lab.settle(market) {
        Ok(true) => {
            lab.base = lab.session.checkpoint();
            act(lab)
        }
        Ok(false) => Err(Stop::Market),
        Err(stop) => Err(stop),
    };
    (lab.market, lab.reserve, lab.quote_reserve) = home;
    lab.base = base;
    lab.reset();
    result
}

fn trades_in(lab: &mut Lab, pool: Address) -> Result<Vec<Sample>, Stop> {
    control(lab)?;
    let mut samples = Vec::new();
    for size in [SIZES[1], SIZES[0]] {
        lab.reset();
        let bought = lab.buy(lab.wallets.buyer, lab.price_of(size))?;
        samples.push(Sample { pool: Some(pool), ..sample(Who::Fresh, Trade::Buy, size, 0, bought) });
        let (who, wallet, amount) = match bought.filter(|bought| !bought.got.is_zero()) {
            Some(_) => (Who::Fresh, lab.wallets.buyer, lab.balance(lab.wallets.buyer)?),
            None => (Who::Holder, lab.wallets.holder, lab.part(size).min(lab.stock)),
        };
        if amount.is_zero() {
            continue;
        }
        lab.session.head_mut().advance_blocks(1);
        let held = lab.session.checkpoint();
        for after in [12, TIMES[1]] {
            lab.session.restore(&held);
            lab.session.head_mut().advance_seconds(after - 12);
            let mut some = Probe::default();
            sell_some(lab, &mut some, (who, wallet), size, after, amount)?;
            samples.extend(some.samples.into_iter().map(|one| Sample { pool: Some(pool), ..one }));
        }
    }
    Ok(samples)
}

/// Moves tokens out of a pool of V3 and into it.
fn on_the_way(lab: &mut Lab, probe: &mut Probe, pool: &Pool) -> Result<Result<(), Why>, Stop> {
    lab.reset();
    let moves = lab.through(pool.pair);
    lab.reset();
    let Some([bought, sold]) = moves? else { return Ok(Err(Why::UnsupportedContract)) };
    for (trade, moved) in [(Trade::Buy, bought), (Trade::SellHalf, sold)] {
        probe.samples.push(Sample { pool: Some(pool.pair), ..sample(Who::Fresh, trade, SIZES[1], 12, moved) });
    }
    Ok(Ok(()))
}

/// Lets the worst pool decide. Nobody is better off for being able to sell where he did not buy.
fn judge_pools(probe: &mut Probe, buys: bool, sells: bool) {
    let pools: BTreeSet<Address> = probe.samples.iter().filter_map(|sample| sample.pool).collect();
    for pool in pools {
        let of = |trades: &[Trade]| {
            let here = |one: &&Sample| one.pool == Some(pool) && trades.contains(&one.trade);
            let mut all = probe.samples.iter().filter(here).peekable();
            all.peek().is_some().then(|| all.any(|sample| sample.ok))
        };
        let (bought, sold) = (of(&[Trade::Buy]) == Some(true), of(&SALES) == Some(true));
        let was_tried = of(&SALES).is_some();
        if sells && was_tried && !sold {
            probe.is_honeypot = true;
        }
        if buys && !bought {
            probe.unsettled.insert(Trade::Buy);
        }
        if (sells && !sold) || (buys && !bought) {
            probe.sensitive_to.insert("pool");
        }
    }
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

fn judge(lab: &Lab, probe: &mut Probe, own: &BTreeSet<Address>) -> Result<(), Stop> {
    let fresh_buys = probe.of(Who::Fresh, &[Trade::Buy]).any(|sample| sample.ok);
    probe.cannot_buy = !fresh_buys;
    // Who bought and got nothing has nothing to sell.
    let seller = if probe.of(Who::Fresh, &SALES).next().is_some() { Who::Fresh } else { Who::Holder };
    let any_sale = probe.of(seller, &SALES).any(|sample| sample.ok);
    judge_pools(probe, fresh_buys, any_sale);
    let tried = probe.of(seller, &SALES).next().is_some();
    // What sells today and is shut by time alone has caught everybody who waited.
    let last = probe.of(seller, &SALES).filter(|sample| sample.after_s >= TIMES[2]).any(|sample| sample.ok);
    let trapped = tried && (!any_sale || !last || probe.is_honeypot);
    let alls: Vec<u64> = sold(probe, &[Trade::SellAll]);
    let some: Vec<u64> = sold(probe, &[Trade::SellHalf, Trade::SellPart]);
    probe.cannot_sell_all = !some.is_empty() && some.iter().all(|size| !alls.contains(size));
    probe.buy_tax_bps = if fresh_buys { worst(probe, Trade::Buy) } else { 10_000 };
    let sale_tax = SALES.into_iter().map(|trade| worst(probe, trade)).max().unwrap_or(0);
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
    for address in lab.seen.called.iter().filter(|(_, own_code)| !**own_code).map(|(address, _)| *address) {
        // Who is only paid has no code.
        if !own.contains(&address) && !lab.session.code(address)?.is_empty() {
            probe.external.insert(address);
        }
    }
    probe.waste.clone_from(&lab.seen.waste);
    Ok(())
}

/// The sizes of a fresh wallet's early sales of these kinds that worked.
fn sold(probe: &Probe, trades: &[Trade]) -> Vec<u64> {
    let early = probe.of(Who::Fresh, trades).filter(|sample| sample.after_s <= 12 && sample.ok);
    early.map(|sample| sample.size_ppm).collect()
}

/// The worst tax of a trade: of the exact amounts only, where there are some; else of the largest.
fn worst(probe: &Probe, trade: Trade) -> u64 {
    let ok = || probe.samples.iter().filter(|sample| sample.trade == trade && sample.ok && sample.is_ordinary());
    let exact = ok().filter(|sample| sample.sent >= U256::from(EXACT)).map(|sample| sample.tax_bps).max();
    exact.or_else(|| ok().max_by_key(|sample| sample.sent).map(|sample| sample.tax_bps)).unwrap_or(0)
}

pub(super) fn sample(who: Who, trade: Trade, size_ppm: u64, after_s: u64, moved: Option<Move>) -> Sample {
    let (sent, got) = moved.map_or((U256::ZERO, U256::ZERO), |moved| (moved.sent, moved.got));
    Sample {
        who,
        trade,
        size_ppm,
        after_s,
        surroundings: None,
        pool: None,
        ok: moved.is_some(),
        sent,
        got,
        tax_bps: moved.map_or(0, |moved| moved.tax_bps()),
        logs_agree: moved.is_none_or(|moved| moved.agree),
    }
}
