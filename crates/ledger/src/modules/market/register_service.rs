//! RegisterService: list a package of calls (`market.md` B3).

use surety_primitives::{Address, Amount, Epoch, ServiceId, typed_struct};

use super::state::{COUNTERS, DATASETS, Event, OWNERS, SERVICES, Service, Terms};
use super::{Error, coverage};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

typed_struct! {
    /// Lists a service of the signer's provider.
    pub struct RegisterService {
        /// What it offers.
        pub terms: Terms,
    }
}

impl Action for RegisterService {
    fn check(&self) -> Result<()> {
        self.terms.check()
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let (id, mut provider) = coverage::own(ctx)?;
        let most = ctx.params().services_most;
        ensure!(provider.services < most, Error::TooManyServices { most });
        self.terms.check_in(ctx)?;
        let deposit = coverage::charge_rows(ctx, 1)?;

        provider.services = provider.services.saturating_add(1);
        coverage::store(ctx, &id, &mut provider);
        let service = next_id(ctx);
        let (cover_epoch, cover_paid, terms) = (Epoch(0), Amount::ZERO, self.terms.clone());
        let record = Service { provider: id, version: 1, paused: false, cover_epoch, cover_paid, deposit, terms };
        SERVICES.set(ctx, &service, &record);
        ctx.emit(Event::ServiceRegistered { service, provider: id });
        Ok(())
    }

    fn reads(&self, signer: Address, keys: &mut Vec<Key>) {
        keys.extend([OWNERS.key(&signer), COUNTERS.key(&())]);
        keys.extend(self.terms.datasets.iter().map(|id| DATASETS.key(id)));
    }
}

fn next_id(ctx: &mut Context<'_>) -> ServiceId {
    let mut counters = COUNTERS.get(ctx, &()).unwrap_or_default();
    counters.services = counters.services.saturating_add(1);
    COUNTERS.set(ctx, &(), &counters);
    ServiceId(counters.services)
}
