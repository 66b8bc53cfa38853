//! UpdateOperator: change what one says of oneself.

use surety_primitives::{OperatorId, typed_struct};

use super::{Error, Event, OPERATORS, Profile};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;

typed_struct! {
    /// Replaces the signer's profile.
    pub struct UpdateOperator {
        /// The new one.
        pub profile: Profile,
    }
}

impl Action for UpdateOperator {
    fn check(&self) -> Result<()> {
        self.profile.check()
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let id = OperatorId(ctx.signer());
        let mut operator = OPERATORS.get(ctx, &id).ok_or(Error::NotOperator)?;
        operator.profile = self.profile.clone();
        OPERATORS.set(ctx, &id, &operator);
        ctx.emit(Event::OperatorUpdated { operator: id });
        Ok(())
    }
}
