//! Release: what was claimed long enough ago goes to the provider (`market.md` B3, C4).

use surety_primitives::{Address, Amount, ProviderId, Seconds, typed_struct};

use super::Error;
use super::coverage;
use super::payment::{draw, ensure_count};
use super::state::{Event, PROVIDERS, Provider, TRANCHES};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::modules::bank::{self, Pool};
use crate::state::Key;

const PERIODS_MOST: u32 = 32;

typed_struct! {
    /// Releases the named tranches whose delay is over, as far as what is sold stays covered. Anyone may send it.
    pub struct Release {
        /// The provider.
        pub provider: ProviderId,
        /// 1 to 32 periods; what is not due is passed over.
        pub periods: Vec<u64>,
    }
}

impl Action for Release {
    fn check(&self) -> Result<()> {
        ensure_count("periods", self.periods.len(), 1, PERIODS_MOST)
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut provider = coverage::load(ctx, &self.provider)?;
        let mature = self.mature(ctx)?;
        let free = provider.free();
        ensure!(!free.is_zero(), Error::CoverageShort { free, needed: mature.amount });

        // The delay is over for each of these, so that a tranche named twice is merely empty the second time.
        let mut amount = Amount::ZERO;
        for period in mature.periods {
            let left = free.saturating_sub(amount);
            amount = amount.saturating_add(draw(ctx, self.provider, &mut provider, period, left));
        }
        let kept = self.pay(ctx, &mut provider, amount);
        coverage::store(ctx, &self.provider, &mut provider);
        ctx.emit(Event::Released { provider: self.provider, amount, kept });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(PROVIDERS.key(&self.provider));
        keys.extend(self.periods.iter().map(|period| TRANCHES.key(&(self.provider, *period))));
    }
}

/// Tranches whose delay is over.
struct Mature {
    periods: Vec<u64>,
    amount: Amount,
}

impl Release {
    fn mature(&self, ctx: &Context<'_>) -> Result<Mature> {
        let mut mature = Mature { periods: Vec::new(), amount: Amount::ZERO };
        let mut earliest = Seconds(u64::MAX);
        for period in &self.periods {
            let Some(tranche) = TRANCHES.get(ctx, &(self.provider, *period)) else { continue };
            let due = tranche.last_claim.after(ctx.params().payout_delay);
            earliest = earliest.min(due);
            if due <= ctx.now() {
                mature.periods.push(*period);
                mature.amount = mature.amount.saturating_add(tranche.amount);
            }
        }
        ensure!(!mature.periods.is_empty(), Error::NothingMature { at: earliest });
        Ok(mature)
    }

    /// Pays what was drawn, and keeps a part for the stake where that is short past its grace. Returns that part.
    fn pay(&self, ctx: &mut Context<'_>, provider: &mut Provider, amount: Amount) -> Amount {
        // Who has left needs no stake.
        let short = provider.ensure_live().is_ok() && provider.is_past_grace(ctx.params(), ctx.now());
        let kept = if short { amount.bps_down(ctx.params().kept_for_stake_bps) } else { Amount::ZERO };
        let payout = provider.payout_at(ctx.now());
        bank::shift(ctx, Pool::Unreleased, Pool::Stake, kept);
        bank::credit(ctx, Pool::Unreleased, &payout, amount.saturating_sub(kept));
        provider.stake = provider.stake.saturating_add(kept);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::market::UpdateProvider;
    use crate::modules::market::state::{PENALTIES, Penalty};
    use crate::testing::market::{DAY, Market};
    use surety_primitives::Hash32;
    use surety_primitives::typed_data::Bytes32;

    const DELAY: u64 = 654_195;

    fn penalty(provider: ProviderId, unpaid: Amount) -> Penalty {
        let (reporter, deposit, proven) = (Address::ZERO, Amount::ZERO, Seconds(0));
        Penalty { provider, reporter, amount: unpaid, unpaid, deposit, proven }
    }

    fn claimed() -> (Market, Release) {
        let mut market = Market::default();
        let id = market.buy();
        market.claims(id, &[(0, 600)]);
        let release = Release { provider: market.provider, periods: vec![market.period()] };
        (market, release)
    }

    #[test]
    fn a_tranche_is_paid_after_the_delay_and_its_deposit_goes_to_the_sender() {
        let (mut market, release) = claimed();
        let at = market.chain.now().after(Seconds(DELAY));
        market.chain.wait(DELAY - 1);
        market.chain.fails("max", release.clone(), Error::NothingMature { at });
        market.chain.wait(1);
        let (vera, max) = (market.chain.balance("vera"), market.chain.balance("max"));
        market.does("max", release.clone());
        assert_eq!(market.chain.balance("vera"), vera.saturating_add(Amount::call(57)));
        // The fee is the deposit.
        assert_eq!(market.chain.balance("max"), max);
        assert_eq!(market.provider().unreleased, Amount::ZERO);
        market.chain.assert_conserved();
        market.chain.fails("max", release, Error::NothingMature { at: Seconds(u64::MAX) });
    }

    #[test]
    fn what_is_not_due_is_passed_over_and_naming_twice_pays_once() {
        let (mut market, release) = claimed();
        let id = market.buy();
        market.chain.wait(DELAY);
        market.claims(id, &[(0, 100)]);
        let first = release.periods.first().copied().unwrap_or(0);
        let periods = vec![first, first, market.period(), 1];
        market.does("max", Release { periods, ..release });
        assert_eq!(market.provider().unreleased, Amount::milli(9_500));
        market.chain.assert_conserved();
    }

    #[test]
    fn no_more_is_released_than_is_free() {
        let (mut market, release) = claimed();
        let mut provider = market.provider();
        // 5,000 staked, 57 unreleased, 240 exposed: all but 30 of it owed.
        provider.owed = Amount::call(4_787);
        market.chain.put(PROVIDERS, &market.provider, &provider);
        market.chain.put(PENALTIES, &Hash32::default(), &penalty(market.provider, provider.owed));
        market.chain.wait(DELAY);
        let before = market.chain.balance("vera");
        market.does("max", release.clone());
        assert_eq!(market.chain.balance("vera"), before.saturating_add(Amount::call(30)));
        let needed = Amount::call(27);
        market.chain.fails("max", release, Error::CoverageShort { free: Amount::ZERO, needed });
        market.chain.assert_conserved();
    }

    #[test]
    fn half_is_kept_where_the_stake_is_short_past_its_grace() {
        let (mut market, release) = claimed();
        let mut provider = market.provider();
        provider.revenue = Amount::call(100_000);
        provider.short_since = Some(market.chain.now());
        market.chain.put(PROVIDERS, &market.provider, &provider);
        market.chain.wait(DELAY);
        let before = market.chain.balance("vera");
        market.does("max", release);
        assert_eq!(market.chain.balance("vera"), before.saturating_add(Amount::milli(28_500)));
        assert_eq!(market.provider().stake, Amount::milli(5_028_500));
        market.chain.assert_conserved();
    }

    #[test]
    fn a_new_payout_address_is_paid_once_it_counts() {
        let (mut market, release) = claimed();
        market.chain.wait(DELAY - DAY);
        let (payout, key) = (market.chain.address("ana"), Bytes32::default());
        market.does("vera", UpdateProvider { payout, key });
        market.chain.wait(DAY);
        let (vera, ana) = (market.chain.balance("vera"), market.chain.balance("ana"));
        market.does("max", release);
        assert_eq!(
            (market.chain.balance("vera"), market.chain.balance("ana")),
            (vera.saturating_add(Amount::call(57)), ana)
        );
        let id = market.buy();
        market.claims(id, &[(0, 600)]);
        let (periods, ana) = (vec![market.period()], market.chain.balance("ana"));
        market.chain.wait(DELAY);
        market.does("max", Release { provider: market.provider, periods });
        assert_eq!(market.chain.balance("ana"), ana.saturating_add(Amount::call(57)));
    }

    #[test]
    fn an_unknown_provider_and_too_many_periods_are_refused() {
        let (mut market, release) = claimed();
        let nobody = Release { provider: ProviderId(9), ..release };
        market.chain.fails("max", nobody, Error::UnknownProvider);
        for periods in [Vec::new(), vec![0; 33]] {
            let count = Release { periods, ..release };
            let error = Error::BadCount { field: "periods", least: 1, most: 32 };
            assert_eq!(Action::check(&count), Err(error.into()));
        }
    }
}
