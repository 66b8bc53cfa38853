//! RevokeKey: end one sub-grant and all below it (`market.md` B3).

use surety_primitives::{Address, Hash32, PurchaseId, typed_struct};

use super::rotate_call_key::load_open;
use super::state::{Event, PURCHASES, REVOCATIONS};
use super::{Error, coverage};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

typed_struct! {
    /// Revokes a sub-grant of a purchase.
    pub struct RevokeKey {
        /// The signer's purchase.
        pub purchase: PurchaseId,
        /// Hash of the sub-grant.
        pub hash: Hash32,
    }
}

impl Action for RevokeKey {
    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut purchase = load_open(ctx, &self.purchase)?;
        let key = (self.purchase, self.hash);
        ensure!(!REVOCATIONS.has(ctx, &key), Error::AlreadyDone);
        coverage::attach_row(ctx, &mut purchase)?;

        let now = ctx.now();
        REVOCATIONS.set(ctx, &key, &now);
        PURCHASES.set(ctx, &self.purchase, &purchase);
        ctx.emit(Event::KeyRevoked { purchase: self.purchase, hash: self.hash });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.extend([PURCHASES.key(&self.purchase), REVOCATIONS.key(&(self.purchase, self.hash))]);
    }
}
