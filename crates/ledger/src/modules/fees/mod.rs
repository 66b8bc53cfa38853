//! Fees: what is paid for using the network, and where each unit goes (`market.md` B4).
//!
//! Invariant: every fee and every take is split without remainder into reward pool, treasury and what is burned.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::fixed::{self, ONE};
use surety_primitives::{Address, Amount, Epoch};

use crate::context::Context;
use crate::error::Result;
use crate::modules::bank::{self, Pool};
use crate::state::{Item, Map};
use crate::transaction;

/// The split in force and what it is computed from.
pub const FEES: Item<Fees> = Map::new(4, "fees/state");

/// Epochs over which the number of serving providers is averaged (1/30 an epoch).
const SLOW_MEAN: i128 = 30;

/// How the take is split now, and what the next epoch's split will follow from.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Fees {
    /// The accounting period.
    pub epoch: Epoch,
    /// Operators' and investors' part of what is acknowledged, Q32.32.
    pub reward_rate: u64,
    /// Slow mean of the number of serving providers (N), Q32.32.
    pub serving: u64,
    /// Providers that passed the least take in this epoch.
    pub served_today: u32,
}

/// A take, divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split {
    /// To operators and investors.
    pub rewards: Amount,
    /// To the treasury.
    pub treasury: Amount,
    /// Destroyed.
    pub burned: Amount,
}

/// The epoch of the current moment.
#[must_use]
pub fn epoch_of(ctx: &Context<'_>) -> Epoch {
    Epoch(ctx.now().0.checked_div(ctx.params().epoch.0).unwrap_or(0))
}

/// Takes a transaction's fee from its signer: part is burned, the rest goes to the reward pool.
///
/// # Errors
/// [`transaction::Error::CannotPayFee`].
pub(crate) fn charge_transaction(ctx: &mut Context<'_>, signer: &Address, fee: Amount) -> Result<()> {
    let balance = bank::balance_of(ctx, signer);
    ensure!(balance >= fee, transaction::Error::CannotPayFee { balance, fee });
    bank::debit(ctx, signer, Pool::Rewards, fee)?;
    let burned = fee.bps_down(ctx.params().fee_burned_bps);
    bank::burn(ctx, Pool::Rewards, burned);
    Ok(())
}

/// Takes the ledger's part of `acknowledged` out of escrow and returns it.
pub fn collect_take(ctx: &mut Context<'_>, acknowledged: Amount) -> Amount {
    let take = acknowledged.bps_down(ctx.params().take_bps);
    let split = split(ctx, acknowledged, take);
    bank::shift(ctx, Pool::Escrow, Pool::Rewards, split.rewards);
    bank::shift(ctx, Pool::Escrow, Pool::Treasury, split.treasury);
    bank::burn(ctx, Pool::Escrow, split.burned);
    take
}

/// How a take of `acknowledged` is divided now; the parts sum to `take`.
#[must_use]
pub fn split(ctx: &Context<'_>, acknowledged: Amount, take: Amount) -> Split {
    let rate = FEES.get(ctx, &()).map_or(0, |fees| fees.reward_rate);
    Split::of(acknowledged, take, rate, ctx.params().treasury_bps)
}

impl Split {
    /// A take of `acknowledged` at a reward rate (Q32.32) and the treasury's part of the rest.
    #[must_use]
    pub fn of(acknowledged: Amount, take: Amount, reward_rate: u64, treasury_bps: u16) -> Self {
        let rewards = acknowledged.mul_div_down(u128::from(reward_rate), u128::from(ONE)).unwrap_or(take).min(take);
        let rest = take.saturating_sub(rewards);
        // The burnt part is rounded down; the treasury gets what that leaves.
        let burned = rest.bps_down(10_000_u16.saturating_sub(treasury_bps));
        Self { rewards, treasury: rest.saturating_sub(burned), burned }
    }
}

/// Counts a provider that has passed the least take of this epoch; its module calls this once an epoch and provider.
pub fn count_serving(ctx: &mut Context<'_>) {
    if let Some(mut fees) = FEES.get(ctx, &()) {
        fees.served_today = fees.served_today.saturating_add(1);
        FEES.set(ctx, &(), &fees);
    }
}

/// At an epoch's end: moves the slow mean and sets the next reward rate. One row, whatever the number of providers.
pub(crate) fn begin_block(ctx: &mut Context<'_>) {
    let Some(fees) = FEES.get(ctx, &()) else { return };
    let epoch = epoch_of(ctx);
    if epoch <= fees.epoch {
        return;
    }
    let serving = slow_mean(fees.serving, fees.served_today);
    let params = ctx.params();
    let reward_rate = reward_rate(params.reward_base_bps, params.reward_cap, params.provider_scale, serving);
    FEES.set(ctx, &(), &Fees { epoch, reward_rate, serving, served_today: 0 });
}

/// mean + (served - mean) / 30, rounded down.
fn slow_mean(mean: u64, served: u32) -> u64 {
    let served = i128::from(served).saturating_mul(i128::from(ONE));
    let step = served.saturating_sub(i128::from(mean)).div_euclid(SLOW_MEAN);
    u64::try_from(i128::from(mean).saturating_add(step)).unwrap_or(0)
}

/// base x min(cap, 1 + ln(1 + N / scale) / 4), Q32.32 (`market.md` B4).
#[must_use]
pub fn reward_rate(base_bps: u16, cap: u64, scale: u32, serving: u64) -> u64 {
    let growth = serving.checked_div(u64::from(scale)).and_then(|part| fixed::ln(ONE.saturating_add(part)));
    let factor = ONE.saturating_add(growth.unwrap_or(0) >> 2).min(cap);
    let base = u128::from(base_bps).saturating_mul(u128::from(ONE)).div_euclid(10_000);
    u64::try_from(base).ok().and_then(|base| fixed::mul(base, factor)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reward_rate_follows_the_sheet() {
        let cases = [(0, 128_849_018), (10, 134_721_979), (50, 151_176_851), (120, 168_269_570), (140, 171_798_690)];
        for (serving, rate) in cases {
            assert_eq!(reward_rate(300, 0x1_5555_5555, 50, serving * ONE), rate, "N = {serving}");
        }
        assert_eq!(reward_rate(300, 0x1_5555_5555, 50, 100_000 * ONE), 171_798_690);
    }

    #[test]
    fn the_slow_mean_moves_a_thirtieth_of_the_way() {
        assert_eq!(slow_mean(0, 30), ONE);
        assert_eq!(slow_mean(30 * ONE, 0), 29 * ONE);
        assert_eq!(slow_mean(7 * ONE, 7), 7 * ONE);
    }
}
