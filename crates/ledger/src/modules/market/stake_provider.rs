//! StakeProvider: add to what a provider can answer for (`market.md` B3).

use surety_primitives::{Address, Amount, ProviderId, typed_struct};

use super::state::{Event, PROVIDERS};
use super::{Error, coverage};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::modules::bank::{self, Pool};
use crate::state::Key;

typed_struct! {
    /// Adds the signer's CALL to a provider's stake. It is the provider's from then on.
    pub struct StakeProvider {
        /// Whose stake.
        pub provider: ProviderId,
        /// How much.
        pub amount: Amount,
    }
}

impl Action for StakeProvider {
    fn check(&self) -> Result<()> {
        check_amount(self.amount)
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut provider = coverage::load(ctx, &self.provider)?;
        provider.ensure_live()?;
        let signer = ctx.signer();
        bank::debit(ctx, &signer, Pool::Stake, self.amount)?;

        provider.stake = provider.stake.saturating_add(self.amount);
        coverage::store(ctx, &self.provider, &mut provider);
        ctx.emit(Event::ProviderStaked { provider: self.provider, amount: self.amount });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(PROVIDERS.key(&self.provider));
    }
}

/// Refuses to move nothing.
pub(super) fn check_amount(amount: Amount) -> Result<()> {
    ensure!(!amount.is_zero(), Error::BadRange { field: "amount", rule: "above zero" });
    Ok(())
}
