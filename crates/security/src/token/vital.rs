//! The few trades by which a change of the rules shows.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::{Address, U256};

use super::Stop;
use super::abi::{self, encode};
use super::lab::{Lab, Move};
use super::ledger;
use super::probe::WHALE;

/// A small trade, in parts in a million of the pool.
const SMALL: u64 = 10_000;
/// A large one.
const LARGE: u64 = 50_000;

/// Taxes that differ by this or less are the same: where holders share a tax, it depends a little on who holds what.
pub(super) const NOISE_BPS: u64 = 20;

/// Which trade of which size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Act {
    Move,
    Buy,
    Sell,
    LargeBuy,
    LargeSell,
    WhaleBuy,
}

const ACTS: [Act; 6] = [Act::Move, Act::Buy, Act::Sell, Act::LargeBuy, Act::LargeSell, Act::WhaleBuy];
const SMALL_ACTS: [(Act, Option<Act>); 4] = [
    (Act::Move, None),
    (Act::Buy, Some(Act::LargeBuy)),
    (Act::Sell, Some(Act::LargeSell)),
    (Act::Buy, Some(Act::WhaleBuy)),
];

/// The tax of each trade in basis points, `None` where it fails; of two wallets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vital {
    pub(crate) named: BTreeMap<Act, Option<u64>>,
    pub(crate) other: BTreeMap<Act, Option<u64>>,
}

/// How one wallet fares after a change, next to how it fared before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shift {
    /// A small trade that worked fails.
    pub(crate) broke: bool,
    /// A small trade that failed works.
    pub(crate) fixed: bool,
    /// A tax is another.
    pub(crate) taxed: bool,
    /// Only the large trade changed.
    pub(crate) limited: bool,
}

impl Vital {
    /// Tries the trades in the session's present state, and returns to it.
    pub(crate) fn take(lab: &mut Lab) -> Result<Self, Stop> {
        Ok(Self { named: wallet(lab, lab.wallets.named)?, other: wallet(lab, lab.wallets.other)? })
    }

    /// Whether no small trade of the other wallet works.
    pub(crate) fn is_shut(&self) -> bool {
        let works = |act: Act| self.other.get(&act).is_some_and(Option::is_some);
        !works(Act::Buy) || !works(Act::Sell)
    }

    /// The worst tax of all trades that work.
    pub(crate) fn worst(&self) -> u64 {
        self.named.values().chain(self.other.values()).filter_map(|tax| *tax).max().unwrap_or(0)
    }
}

/// Compares one wallet before and after.
pub(crate) fn shift(before: &BTreeMap<Act, Option<u64>>, after: &BTreeMap<Act, Option<u64>>) -> Shift {
    let mut shift = Shift::default();
    let tax = |of: &BTreeMap<Act, Option<u64>>, act: Act| of.get(&act).copied().flatten();
    for (small, large) in SMALL_ACTS {
        let (was, is) = (tax(before, small), tax(after, small));
        shift.broke |= was.is_some() && is.is_none();
        shift.fixed |= was.is_none() && is.is_some();
        shift.taxed |= was.zip(is).is_some_and(|(was, is)| was.abs_diff(is) > noise(was));
        if let Some(large) = large {
            let (large_was, large_is) = (tax(before, large), tax(after, large));
            let steady = was.is_some() && is.is_some();
            shift.limited |= steady && large_was.is_some() != large_is.is_some();
            // A limit between the two sizes shows also where it lets the small one through only now.
            shift.limited |= was.is_none() && is.is_some() && large_is.is_none() && large != Act::WhaleBuy;
        }
    }
    shift
}

/// Where nothing is taken there is nothing to share, and only roundings differ.
const fn noise(was: u64) -> u64 {
    if was == 0 { 2 } else { NOISE_BPS }
}

fn wallet(lab: &mut Lab, wallet: Address) -> Result<BTreeMap<Act, Option<u64>>, Stop> {
    let start = lab.session.checkpoint();
    let mut taxes = BTreeMap::new();
    for act in ACTS {
        // Where no limit was met at any size, the largest trade is spared.
        if act == Act::WhaleBuy && !lab.limited {
            continue;
        }
        // The large trade of what fails when small tells nothing more.
        let small = match act {
            Act::LargeBuy | Act::WhaleBuy => taxes.get(&Act::Buy),
            Act::LargeSell => taxes.get(&Act::Sell),
            _ => None,
        };
        let tax = match small {
            Some(None) => None,
            _ => trade(lab, wallet, act)?.map(|moved: Move| moved.tax_bps()),
        };
        taxes.insert(act, tax);
        lab.session.restore(&start);
    }
    Ok(taxes)
}

fn trade(lab: &mut Lab, wallet: Address, act: Act) -> Result<Option<Move>, Stop> {
    let part = |lab: &Lab, ppm: u64| -> U256 { lab.part(ppm).min(lab.stock) };
    match act {
        Act::Move => lab.transfer(wallet, lab.wallets.sink, part(lab, SMALL)),
        Act::Buy => purchase(lab, wallet, SMALL),
        Act::Sell => sale(lab, wallet, part(lab, SMALL)),
        Act::LargeBuy => purchase(lab, wallet, LARGE),
        Act::WhaleBuy => purchase(lab, wallet, WHALE),
        Act::LargeSell => sale(lab, wallet, part(lab, LARGE)),
    }
}

/// Buys with nothing in hand: what one may have, one may buy.
fn purchase(lab: &mut Lab, wallet: Address, ppm: u64) -> Result<Option<Move>, Stop> {
    ledger::forge(&mut lab.session, lab.token, wallet, U256::ZERO)?;
    lab.buy(wallet, lab.price_of(ppm))
}

/// Lets the router spend, which may be what is refused, and sells.
fn sale(lab: &mut Lab, wallet: Address, amount: U256) -> Result<Option<Move>, Stop> {
    lab.act(wallet, lab.token, encode(&abi::approveCall { _0: lab.market.router, _1: U256::MAX }))?;
    lab.sell(wallet, amount)
}

/// The slots that decide about trades: whatever else is written changes none of them.
pub(crate) fn deciding(lab: &Lab) -> BTreeSet<(Address, U256)> {
    lab.seen.reads.keys().copied().collect()
}
