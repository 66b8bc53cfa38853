//! UpdateService: offer something else from now on; what is sold keeps its terms (`market.md` B3).

use surety_primitives::{Address, ServiceId, typed_struct};

use super::coverage;
use super::state::{DATASETS, Event, SERVICES, Terms};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

typed_struct! {
    /// Replaces what a listing of the signer offers and raises its version.
    pub struct UpdateService {
        /// The listing.
        pub service: ServiceId,
        /// What it offers from now on, whole.
        pub terms: Terms,
    }
}

impl Action for UpdateService {
    fn check(&self) -> Result<()> {
        self.terms.check()
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut service = coverage::load_own_service(ctx, &self.service)?;
        self.terms.check_in(ctx)?;
        service.version = service.version.saturating_add(1);
        service.terms = self.terms.clone();
        SERVICES.set(ctx, &self.service, &service);
        ctx.emit(Event::ServiceUpdated { service: self.service, version: service.version });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(SERVICES.key(&self.service));
        keys.extend(self.terms.datasets.iter().map(|id| DATASETS.key(id)));
    }
}
