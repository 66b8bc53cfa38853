//! What becomes of who sells bit by bit, and of who stays: his purchase is added to, its price rises, and it is kept for long.

use alloy_primitives::{Address, U256};

use super::abi::{encode, syncCall};
use super::lab::{Lab, Move, round};
use super::probe::{Probe, SIZES, Sample, TIMES, Trade, Who, patience, sample};
use super::{Stop, ledger};

/// A small part of what was bought, which may be little, is one in this many.
const PART: u64 = 20;
/// How often a small part of a purchase is sold, a day apart.
const SALES_IN_A_ROW: u64 = 16;
/// How many times as much of the quote a pool has once the price rose.
const RISE: u64 = 16;
/// Longer than anybody waits: 400 days, in seconds.
pub(super) const EVER: u64 = 34_560_000;

/// What becomes of a purchase that is added to and sold bit by bit, whose price rises, or that is kept for long. Counted
/// only where such a purchase can be sold at once.
pub(super) fn endure(lab: &mut Lab, probe: &mut Probe) -> Result<(), Stop> {
    lab.reset();
    let buyer = lab.wallets.buyer;
    if lab.buy(buyer, lab.price_of(SIZES[1]))?.is_none() {
        return Ok(());
    }
    lab.session.head_mut().advance_seconds(patience(probe));
    let held = lab.session.checkpoint();
    let part = round(lab.balance(buyer)? / U256::from(50));
    // Of next to nothing a pool takes no part.
    if part.is_zero() || part < lab.part(SIZES[0]) || lab.sell(buyer, part)?.is_none() {
        return Ok(());
    }
    lab.session.restore(&held);
    again(lab, probe, part)?;
    for (name, what) in [("price", dearer as fn(&mut Lab) -> Result<bool, Stop>), ("later", later)] {
        lab.session.restore(&held);
        if what(lab)? {
            let sold = lab.sell(buyer, part)?;
            stayed(probe, name, sold);
        }
    }
    Ok(())
}

/// Buys once more, and sells part after part.
fn again(lab: &mut Lab, probe: &mut Probe, part: U256) -> Result<(), Stop> {
    let buyer = lab.wallets.buyer;
    lab.session.head_mut().advance_seconds(TIMES[1]);
    let alone = lab.session.checkpoint();
    if lab.buy(buyer, lab.price_of(SIZES[0]))?.is_none() {
        lab.session.restore(&alone);
    }
    for n in 1..=SALES_IN_A_ROW {
        lab.session.head_mut().advance_seconds(TIMES[1] + 12 * n);
        let sold = lab.sell(buyer, part)?;
        stayed(probe, "again", sold);
        if sold.is_none() {
            break;
        }
    }
    Ok(())
}

/// Makes the token dearer. Whether the pool says so.
fn dearer(lab: &mut Lab) -> Result<bool, Stop> {
    let (quote, pair) = (lab.market.quote, lab.market.pair);
    let risen = lab.quote_reserve.saturating_mul(U256::from(RISE));
    let sync = lab.transaction(lab.wallets.sink, pair, encode(&syncCall {}));
    Ok(risen.bit_len() <= 110
        && ledger::forge(&mut lab.session, quote, pair, risen)?
        && lab.session.run(&sync)?.is_success())
}

fn later(lab: &mut Lab) -> Result<bool, Stop> {
    lab.session.head_mut().advance_seconds(EVER);
    Ok(true)
}

/// Notes a sale by somebody who stayed. Who could have sold at once and cannot any more is caught.
fn stayed(probe: &mut Probe, name: &'static str, sold: Option<Move>) {
    probe.samples.push(Sample { surroundings: Some(name), ..sample(Who::Fresh, Trade::SellPart, SIZES[1], 12, sold) });
    if sold.is_none() {
        probe.sensitive_to.insert(name);
        probe.is_honeypot = true;
    }
}

/// Sells half of something, and where that is refused a small part.
pub(super) fn sell_some(
    lab: &mut Lab,
    probe: &mut Probe,
    (who, wallet): (Who, Address),
    size: u64,
    after: u64,
    amount: U256,
) -> Result<(), Stop> {
    let before = lab.session.checkpoint();
    let half = lab.sell(wallet, round(amount / U256::from(2)))?;
    probe.samples.push(sample(who, Trade::SellHalf, size, after, half));
    if half.is_none() {
        lab.session.restore(&before);
        let part = lab.sell(wallet, round(amount / U256::from(PART)))?;
        probe.samples.push(sample(who, Trade::SellPart, size, after, part));
    }
    Ok(())
}
