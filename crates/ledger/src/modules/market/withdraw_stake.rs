//! WithdrawStake: receive what has unbonded (`market.md` B3).

use surety_primitives::{Address, ProviderId, Seconds, typed_struct};

use super::state::{Event, PROVIDERS, Unbonding};
use super::{Error, coverage};
use crate::action::Action;
use crate::audit::sum;
use crate::context::Context;
use crate::error::Result;
use crate::modules::bank::{self, Pool};
use crate::state::Key;

typed_struct! {
    /// Pays the owner all stake whose unbonding time is over.
    pub struct WithdrawStake {
        /// The signer's provider; it may have left.
        pub provider: ProviderId,
    }
}

impl Action for WithdrawStake {
    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut provider = coverage::load_own(ctx, &self.provider)?;
        ensure!(provider.owed.is_zero(), Error::DebtOpen { owed: provider.owed });
        let (mature, waiting) = split(provider.unbonding, ctx.now());
        ensure!(!mature.is_empty(), Error::NotMature);

        let amount = sum(mature.iter().map(|entry| entry.amount));
        provider.unbonding = waiting;
        coverage::store(ctx, &self.provider, &mut provider);
        bank::credit(ctx, Pool::Stake, &provider.owner, amount);
        ctx.emit(Event::StakeWithdrawn { provider: self.provider, amount });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(PROVIDERS.key(&self.provider));
    }
}

fn split(unbonding: Vec<Unbonding>, now: Seconds) -> (Vec<Unbonding>, Vec<Unbonding>) {
    unbonding.into_iter().partition(|entry| entry.end <= now)
}
