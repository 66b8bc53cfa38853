//! UnstakeProvider: begin to take stake out, or all of it to leave (`market.md` B3).

use surety_primitives::{Address, Amount, ProviderId, typed_struct};

use super::stake_provider::check_amount;
use super::state::{Event, PROVIDERS, Provider, ProviderStatus, Unbonding};
use super::{Error, coverage};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

/// Most withdrawals that may wait.
const UNBONDINGS: usize = 8;

typed_struct! {
    /// Takes stake out of what backs sales. It can be withdrawn when the unbonding time is over, and is taken for penalties
    /// until then. Taking all of it ends the provider, which must be paused and owe nothing to anyone.
    pub struct UnstakeProvider {
        /// The signer's provider.
        pub provider: ProviderId,
        /// How much.
        pub amount: Amount,
    }
}

impl Action for UnstakeProvider {
    fn check(&self) -> Result<()> {
        check_amount(self.amount)
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut provider = coverage::load_own(ctx, &self.provider)?;
        provider.ensure_live()?;
        ensure!(provider.unbonding.len() < UNBONDINGS, Error::TooManyUnbondings);
        provider.ensure_covers(self.amount)?;
        provider.stake = self.remaining(ctx, &provider)?;
        if provider.stake.is_zero() {
            provider.status = ProviderStatus::Left;
        }

        let (amount, end) = (self.amount, ctx.now().after(ctx.params().unbonding));
        provider.unbonding.push(Unbonding { amount, end });
        coverage::store(ctx, &self.provider, &mut provider);
        ctx.emit(Event::ProviderUnstaked { provider: self.provider, amount, end });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(PROVIDERS.key(&self.provider));
    }
}

impl UnstakeProvider {
    // What stays staked: enough for the revenue, or nothing where nobody can claim anything any more.
    fn remaining(&self, ctx: &Context<'_>, provider: &Provider) -> Result<Amount> {
        let needed = provider.required_stake(ctx.params(), ctx.now());
        let remaining = provider.stake.checked_sub(self.amount).ok_or(Error::StakeNeeded { needed })?;
        if remaining >= needed {
            return Ok(remaining);
        }
        let paused = matches!(provider.status, ProviderStatus::Paused { .. });
        ensure!(remaining.is_zero() && paused, Error::StakeNeeded { needed });
        let exposure = provider.exposure();
        ensure!(exposure.is_zero(), Error::CoverageShort { free: provider.free(), needed: exposure });
        ensure!(provider.owed.is_zero(), Error::DebtOpen { owed: provider.owed });
        Ok(remaining)
    }
}
