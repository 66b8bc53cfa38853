//! Params: the numbers that governance may change; here they are read.
//!
//! Invariant: what is sold keeps the terms it was sold under, so a record copies what it needs.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::fixed::ONE;
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
/// The longest time that a parameter may give: 10 years of 365 days.
const TIME_MOST: Seconds = Seconds(3_650 * DAY);
/// A whole, in basis points.
const WHOLE: u16 = 10_000;

/// A parameter that no network can run with. Governance is bound more narrowly (`market.md` B5); a test network may have
/// shorter windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parameter {name} must be {range}")]
pub struct OutOfRange {
    /// The parameter.
    pub name: &'static str,
    /// What it may be.
    pub range: &'static str,
}

impl Params {
    /// Refuses what the ledger could not compute with, or what would break a promise.
    ///
    /// # Errors
    /// [`OutOfRange`] for the first such parameter.
    pub fn check(&self) -> Result<(), OutOfRange> {
        self.check_amounts()?;
        self.check_parts()?;
        self.check_counts()?;
        self.check_times()?;
        self.check_windows()
    }

    fn check_amounts(&self) -> Result<(), OutOfRange> {
        let range = "below the limit of the supply, 2^92 base units";
        let amounts = [
            ("fee_purchase", self.fee_purchase),
            ("fee_voucher", self.fee_voucher),
            ("fee_other", self.fee_other),
            ("row_deposit", self.row_deposit),
            ("serving_take", self.serving_take),
            ("fixed_stake", self.fixed_stake),
            ("contest_burn_least", self.contest_burn_least),
        ];
        all(amounts.map(|(name, amount)| (name, range, amount < Amount::SUPPLY_LIMIT)))
    }

    fn check_parts(&self) -> Result<(), OutOfRange> {
        let range = "0 to 10,000 basis points";
        let parts = [
            ("fee_burned_bps", self.fee_burned_bps),
            ("take_bps", self.take_bps),
            ("treasury_bps", self.treasury_bps),
            ("kept_for_stake_bps", self.kept_for_stake_bps),
            ("contest_burn_bps", self.contest_burn_bps),
            ("penalty_fault_bps", self.penalty_fault_bps),
            ("penalty_equivocation_bps", self.penalty_equivocation_bps),
            ("penalty_cap_bps", self.penalty_cap_bps),
            ("penalty_reporter_bps", self.penalty_reporter_bps),
            ("penalty_pool_bps", self.penalty_pool_bps),
        ];
        all(parts.map(|(name, part)| (name, range, part <= WHOLE)))?;
        let given = self.penalty_reporter_bps.saturating_add(self.penalty_pool_bps);
        let (base, take) = (u128::from(self.reward_base_bps), u128::from(self.take_bps));
        let most = base.saturating_mul(u128::from(self.reward_cap));
        all([
            ("penalty_pool_bps", "at most 10,000 basis points together with penalty_reporter_bps", given <= WHOLE),
            ("reward_base_bps", "at most take_bps", base <= take),
            ("reward_cap", "1 (2^32) to take_bps / reward_base_bps", self.reward_cap >= ONE && most <= take << 32),
            ("stake_rate", "at most 10 (10 x 2^32)", self.stake_rate <= ONE.saturating_mul(10)),
        ])
    }

    fn check_counts(&self) -> Result<(), OutOfRange> {
        all([
            ("provider_scale", "at least 1", self.provider_scale >= 1),
            ("cover_multiple", "at most 100", self.cover_multiple <= 100),
            ("cover_faults_most", "1 to 64", (1..=64).contains(&self.cover_faults_most)),
            ("window_most", "1 to 65,536", (1..=65_536).contains(&self.window_most)),
            ("lanes_most", "at least 1", self.lanes_most >= 1),
            ("services_most", "at least 1", self.services_most >= 1),
        ])
    }

    fn check_times(&self) -> Result<(), OutOfRange> {
        let times = [
            ("epoch", self.epoch),
            ("stake_grace", self.stake_grace),
            ("unbonding", self.unbonding),
            ("key_change", self.key_change),
            ("fault_window", self.fault_window),
            ("life_least", self.life_least),
            ("life_most", self.life_most),
            ("claim_window", self.claim_window),
            ("contest_window", self.contest_window),
            ("payout_delay", self.payout_delay),
            ("tranche_period", self.tranche_period),
            ("pause_allowance", self.pause_allowance),
            ("dataset_grace", self.dataset_grace),
            ("dataset_kept", self.dataset_kept),
            ("purchase_kept", self.purchase_kept),
        ];
        all(times.map(|(name, time)| (name, "at most 315,360,000 s", time <= TIME_MOST)))?;
        let divisors = [("epoch", self.epoch), ("tranche_period", self.tranche_period)];
        all(divisors.map(|(name, time)| (name, "at least 1 s", time >= Seconds(1))))
    }

    // Rows must not be swept while something can still be done with them.
    fn check_windows(&self) -> Result<(), OutOfRange> {
        let settled = self.claim_window.after(self.contest_window);
        let evidence = self.life_most.after(self.fault_window);
        all([
            ("life_least", "at most life_most", self.life_least <= self.life_most),
            ("purchase_kept", "at least fault_window", self.purchase_kept >= self.fault_window),
            ("purchase_kept", "at least claim_window and contest_window together", self.purchase_kept >= settled),
            ("dataset_kept", "at least life_most and fault_window together", self.dataset_kept >= evidence),
        ])
    }
}

/// The first of these that does not hold.
fn all<const N: usize>(rules: [(&'static str, &'static str, bool); N]) -> Result<(), OutOfRange> {
    match rules.into_iter().find(|(.., holds)| !holds) {
        Some((name, range, _)) => Err(OutOfRange { name, range }),
        None => Ok(()),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Params)) -> Option<&'static str> {
        let mut params = Params::default();
        change(&mut params);
        params.check().err().map(|error| error.name)
    }

    #[test]
    fn the_sheet_s_parameters_and_short_windows_are_accepted() {
        assert_eq!(refused(|_| ()), None);
        assert_eq!(refused(|params| (params.claim_window, params.contest_window) = (Seconds(1), Seconds(0))), None);
        assert_eq!(refused(|params| (params.take_bps, params.reward_base_bps) = (10_000, 7_500)), None);
        let free = |params: &mut Params| (params.take_bps, params.reward_base_bps) = (0, 0);
        assert_eq!(refused(free), None);
    }

    #[test]
    fn each_nonsense_is_refused_by_its_name() {
        type Change = fn(&mut Params);
        let cases: [(&str, Change); 24] = [
            ("take_bps", |params| params.take_bps = 10_001),
            ("fee_burned_bps", |params| params.fee_burned_bps = 10_001),
            ("treasury_bps", |params| params.treasury_bps = u16::MAX),
            ("kept_for_stake_bps", |params| params.kept_for_stake_bps = 10_001),
            ("contest_burn_bps", |params| params.contest_burn_bps = 10_001),
            ("penalty_fault_bps", |params| params.penalty_fault_bps = 10_001),
            ("penalty_equivocation_bps", |params| params.penalty_equivocation_bps = 10_001),
            ("penalty_cap_bps", |params| params.penalty_cap_bps = 10_001),
            ("penalty_pool_bps", |params| params.penalty_reporter_bps = 8_001),
            ("reward_base_bps", |params| params.reward_base_bps = 501),
            ("reward_cap", |params| params.reward_cap = ONE - 1),
            ("reward_cap", |params| params.reward_cap = 2 * ONE),
            ("stake_rate", |params| params.stake_rate = u64::MAX),
            ("provider_scale", |params| params.provider_scale = 0),
            ("cover_faults_most", |params| params.cover_faults_most = 0),
            ("window_most", |params| params.window_most = 0),
            ("lanes_most", |params| params.lanes_most = 0),
            ("epoch", |params| params.epoch = Seconds(0)),
            ("tranche_period", |params| params.tranche_period = Seconds(0)),
            ("unbonding", |params| params.unbonding = Seconds(u64::MAX)),
            ("fixed_stake", |params| params.fixed_stake = Amount::SUPPLY_LIMIT),
            ("life_least", |params| params.life_most = Seconds(1)),
            ("purchase_kept", |params| params.purchase_kept = Seconds(14 * DAY - 1)),
            ("dataset_kept", |params| params.dataset_kept = Seconds(365 * DAY)),
        ];
        for (name, change) in cases {
            assert_eq!(refused(change), Some(name));
        }
    }
}
