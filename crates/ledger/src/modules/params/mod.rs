//! Params: the numbers that governance may change; here they are read.
//!
//! Invariant: what is sold keeps the terms it was sold under, so a record copies what it needs.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::{Amount, Seconds};

use crate::context::Context;
use crate::state::{Item, Map};

/// The parameters in force.
pub const PARAMS: Item<Params> = Map::new(3, "params/current");

/// The parameters of `market.md` B5 that this ledger uses, and those of the network itself. Times are seconds of the
/// ledger clock, rates are Q32.32 or basis points as their names say.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Params {
    /// Length of an epoch.
    pub epoch: Seconds,
    /// Fee of a purchase.
    pub fee_purchase: Amount,
    /// Fee of a claim, per voucher and per link of its chains: each is a signature to check.
    pub fee_voucher: Amount,
    /// Fee of any other action.
    pub fee_other: Amount,
    /// Part of a transaction fee that is burned; the rest goes to the reward pool.
    pub fee_burned_bps: u16,
    /// Deposit on a row that a user creates.
    pub row_deposit: Amount,
    /// The ledger's part of what is acknowledged.
    pub take_bps: u16,
    /// Operators' and investors' part of what is acknowledged, while no provider serves.
    pub reward_base_bps: u16,
    /// Greatest growth of that part, Q32.32.
    pub reward_cap: u64,
    /// Number of serving providers on which that growth is scaled.
    pub provider_scale: u32,
    /// Treasury's part of the rest of the take; what remains is burned.
    pub treasury_bps: u16,
    /// Least take of a day at which a provider counts as serving.
    pub serving_take: Amount,
    /// Fixed part of a provider's stake (F).
    pub fixed_stake: Amount,
    /// Part of revenue that must be staked (rho at the score of a newcomer), Q32.32.
    pub stake_rate: u64,
    /// How long a provider below its required stake may still sell.
    pub stake_grace: Seconds,
    /// Part of a release that is kept for stake after that.
    pub kept_for_stake_bps: u16,
    /// How long withdrawn stake stays bonded.
    pub unbonding: Seconds,
    /// How long an old key or payout address stays valid.
    pub key_change: Seconds,
    /// Most cover per price (k).
    pub cover_multiple: u32,
    /// Most distinct faults that one purchase can be paid for.
    pub cover_faults_most: u16,
    /// How long after its end a purchase's faults can be proven.
    pub fault_window: Seconds,
    /// Most unacknowledged calls of a purchase (W).
    pub window_most: u32,
    /// Most lanes of a purchase.
    pub lanes_most: u16,
    /// Shortest life of a package.
    pub life_least: Seconds,
    /// Longest life of a package.
    pub life_most: Seconds,
    /// How long after its end a purchase can be claimed and shown.
    pub claim_window: Seconds,
    /// How long after that what was shown can be contested.
    pub contest_window: Seconds,
    /// Part of a contested value that is burned.
    pub contest_burn_bps: u16,
    /// Least that a contest burns.
    pub contest_burn_least: Amount,
    /// Delay between claim and release at the score of a newcomer (D).
    pub payout_delay: Seconds,
    /// Length of the periods by which claims are gathered.
    pub tranche_period: Seconds,
    /// Penalty of a contradiction or a stale basis, as part of the stake.
    pub penalty_fault_bps: u16,
    /// Penalty of an equivocation.
    pub penalty_equivocation_bps: u16,
    /// Most penalties in 30 days.
    pub penalty_cap_bps: u16,
    /// Reporter's part of a penalty.
    pub penalty_reporter_bps: u16,
    /// Reward pool's part of a penalty; the rest is burned.
    pub penalty_pool_bps: u16,
    /// How long a provider may pause in 30 days at no loss.
    pub pause_allowance: Seconds,
    /// How long a retired dataset version may still be cited.
    pub dataset_grace: Seconds,
    /// How long a dataset version is kept after it was retired or ran out.
    pub dataset_kept: Seconds,
    /// How long settled purchases' rows are kept after the end.
    pub purchase_kept: Seconds,
    /// Most services of one provider.
    pub services_most: u32,
}

const DAY: u64 = 86_400;

impl Default for Params {
    fn default() -> Self {
        Self {
            epoch: Seconds(DAY),
            fee_purchase: Amount::milli(20),
            fee_voucher: Amount::milli(5),
            fee_other: Amount::milli(10),
            fee_burned_bps: 5_000,
            row_deposit: Amount::milli(10),
            take_bps: 500,
            reward_base_bps: 300,
            reward_cap: 0x1_5555_5555,
            provider_scale: 50,
            treasury_bps: 5_000,
            serving_take: Amount::call(1),
            fixed_stake: Amount::call(1_000),
            // floor(0.64 x 2^32): rho of a newcomer (market.md, steps).
            stake_rate: 0xa3d7_0a3d,
            stake_grace: Seconds(7 * DAY),
            kept_for_stake_bps: 5_000,
            unbonding: Seconds(21 * DAY),
            key_change: Seconds(2 * DAY),
            cover_multiple: 10,
            cover_faults_most: 8,
            fault_window: Seconds(14 * DAY),
            window_most: 4_096,
            lanes_most: 1_024,
            life_least: Seconds(DAY),
            life_most: Seconds(365 * DAY),
            claim_window: Seconds(3 * DAY),
            contest_window: Seconds(2 * DAY),
            contest_burn_bps: 200,
            contest_burn_least: Amount::milli(50),
            payout_delay: Seconds(654_195),
            tranche_period: Seconds(21_600),
            penalty_fault_bps: 500,
            penalty_equivocation_bps: 1_000,
            penalty_cap_bps: 2_000,
            penalty_reporter_bps: 1_000,
            penalty_pool_bps: 2_000,
            pause_allowance: Seconds(7 * DAY),
            dataset_grace: Seconds(600),
            dataset_kept: Seconds(400 * DAY),
            purchase_kept: Seconds(14 * DAY),
            services_most: 256,
        }
    }
}

/// The parameters in force; the defaults before the genesis block.
#[must_use]
pub fn current(ctx: &Context<'_>) -> Params {
    PARAMS.get(ctx, &()).unwrap_or_default()
}
