//! UpdateProvider: another payout address, another answering key (`market.md` B3).

use surety_primitives::typed_data::Bytes32;
use surety_primitives::{Address, ProviderId, typed_struct};

use super::register_provider::{check_key, enter_key};
use super::state::{Event, OWNERS, PROVIDER_KEYS, Provider};
use super::{Error, coverage};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

typed_struct! {
    /// Changes the signer's provider. Zero leaves a field as it is.
    pub struct UpdateProvider {
        /// Where released money goes, from the end of the change time on (48 h): a thief cannot redirect what is due.
        pub payout: Address,
        /// The key that signs Answers from now on; the old one is valid for the change time more.
        pub key: Bytes32,
    }
}

impl Action for UpdateProvider {
    fn check(&self) -> Result<()> {
        ensure!(!self.payout.is_zero() || self.names_key(), Error::Unchanged);
        if self.names_key() { check_key(self.key) } else { Ok(()) }
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let (id, mut provider) = coverage::own(ctx)?;
        if !self.payout.is_zero() {
            self.change_payout(ctx, &mut provider);
        }
        if self.names_key() {
            self.change_key(ctx, id, &mut provider)?;
        }
        coverage::store(ctx, &id, &mut provider);
        ctx.emit(Event::ProviderUpdated { provider: id });
        Ok(())
    }

    fn reads(&self, signer: Address, keys: &mut Vec<Key>) {
        keys.push(OWNERS.key(&signer));
    }
}

impl UpdateProvider {
    fn names_key(&self) -> bool {
        self.key != Bytes32::default()
    }

    fn change_payout(&self, ctx: &Context<'_>, provider: &mut Provider) {
        provider.payout = provider.payout_at(ctx.now());
        provider.next_payout = Some((self.payout, ctx.now().after(ctx.params().key_change)));
    }

    fn change_key(&self, ctx: &mut Context<'_>, id: ProviderId, provider: &mut Provider) -> Result<()> {
        enter_key(ctx, self.key, id)?;
        let until = ctx.now().after(ctx.params().key_change);
        if let Some(mut old) = PROVIDER_KEYS.get(ctx, &provider.key) {
            old.until = Some(until);
            PROVIDER_KEYS.set(ctx, &provider.key, &old);
        }
        provider.key = self.key;
        Ok(())
    }
}
