//! Burn: destroy what one holds.

use surety_primitives::{Amount, typed_struct};

use super::{Error, Event};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;

typed_struct! {
    /// Destroys CALL of the signer.
    pub struct Burn {
        /// How much, in base units.
        pub amount: Amount,
    }
}

impl Action for Burn {
    fn check(&self) -> Result<()> {
        ensure!(!self.amount.is_zero(), Error::ZeroAmount);
        Ok(())
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let from = ctx.signer();
        super::withdraw(ctx, &from, self.amount)?;
        super::adjust(ctx, |totals| {
            totals.burned = totals.burned.checked_add(self.amount)?;
            Some(())
        });
        ctx.emit(Event::Burned { from, amount: self.amount });
        Ok(())
    }
}
