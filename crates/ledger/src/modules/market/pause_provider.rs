//! PauseProvider: stop selling for a while (`market.md` B3).

use surety_primitives::{Address, ProviderId, Seconds, typed_struct};

use super::state::{Event, PROVIDERS, Provider, ProviderStatus};
use super::{Error, coverage};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

/// The span over which pauses are summed.
const SPAN: Seconds = Seconds(30 * 86_400);

typed_struct! {
    /// Stops or resumes the sales of the signer's provider; what is sold is still served. A pause may begin while those
    /// of the last 30 days are below the allowance, and last as long as it must.
    pub struct PauseProvider {
        /// The signer's provider.
        pub provider: ProviderId,
        /// Stop, or resume.
        pub paused: bool,
    }
}

impl Action for PauseProvider {
    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut provider = coverage::load_own(ctx, &self.provider)?;
        match (provider.status, self.paused) {
            (ProviderStatus::Active, true) => pause(ctx, &mut provider)?,
            (ProviderStatus::Paused { since }, false) => resume(ctx.now(), since, &mut provider),
            (ProviderStatus::Left, _) => return Err(Error::Stopped.into()),
            _ => return Err(Error::Unchanged.into()),
        }
        coverage::store(ctx, &self.provider, &mut provider);
        ctx.emit(Event::ProviderPaused { provider: self.provider, paused: self.paused });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(PROVIDERS.key(&self.provider));
    }
}

fn pause(ctx: &Context<'_>, provider: &mut Provider) -> Result<()> {
    let now = ctx.now();
    if now >= provider.pause_since.after(SPAN) {
        provider.pause_since = now;
        provider.paused_for = Seconds(0);
    }
    ensure!(provider.paused_for < ctx.params().pause_allowance, Error::PauseSpent);
    provider.status = ProviderStatus::Paused { since: now };
    Ok(())
}

fn resume(now: Seconds, since: Seconds, provider: &mut Provider) {
    provider.paused_for = provider.paused_for.after(now.since(since));
    provider.status = ProviderStatus::Active;
}
