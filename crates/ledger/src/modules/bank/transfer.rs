//! Transfer: from one account to another.

use surety_primitives::{Address, Amount, typed_struct};

use super::{ACCOUNTS, Error, Event};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

typed_struct! {
    /// Sends CALL to another account.
    pub struct Transfer {
        /// Recipient.
        pub to: Address,
        /// How much, in base units.
        pub amount: Amount,
    }
}

impl Action for Transfer {
    fn check(&self) -> Result<()> {
        ensure!(!self.amount.is_zero(), Error::ZeroAmount);
        Ok(())
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let from = ctx.signer();
        super::withdraw(ctx, &from, self.amount)?;
        super::deposit(ctx, &self.to, self.amount);
        ctx.emit(Event::Transferred { from, to: self.to, amount: self.amount });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(ACCOUNTS.key(&self.to));
    }
}
