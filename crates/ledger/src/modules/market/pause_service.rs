//! PauseService: stop selling one listing (`market.md` B3).

use surety_primitives::{Address, ServiceId, typed_struct};

use super::state::{Event, SERVICES};
use super::{Error, coverage};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

typed_struct! {
    /// Stops or resumes the sale of a listing of the signer; what is sold is still served.
    pub struct PauseService {
        /// The listing.
        pub service: ServiceId,
        /// Stop, or resume.
        pub paused: bool,
    }
}

impl Action for PauseService {
    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut service = coverage::load_own_service(ctx, &self.service)?;
        ensure!(service.paused != self.paused, Error::Unchanged);
        service.paused = self.paused;
        SERVICES.set(ctx, &self.service, &service);
        ctx.emit(Event::ServicePaused { service: self.service, paused: self.paused });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(SERVICES.key(&self.service));
    }
}
