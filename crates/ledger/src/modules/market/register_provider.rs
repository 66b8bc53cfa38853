//! RegisterProvider: stake, and get a number under which to sell (`market.md` B3).

use surety_primitives::keys::PublicKey;
use surety_primitives::typed_data::Bytes32;
use surety_primitives::{Address, Amount, ProviderId, typed_struct};

use super::state::{COUNTERS, Event, OWNERS, PROVIDER_KEYS, PROVIDERS, Provider, ProviderKey, ProviderStatus};
use super::{Error, coverage};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::modules::bank::{self, Pool};
use crate::state::Key;

typed_struct! {
    /// Registers the signer as a provider.
    pub struct RegisterProvider {
        /// Where released money goes; the zero address stands for the signer.
        pub payout: Address,
        /// The key that will sign its Answers (ed25519), never used by a provider before.
        pub key: Bytes32,
        /// First stake, at least the fixed part.
        pub stake: Amount,
    }
}

impl Action for RegisterProvider {
    fn check(&self) -> Result<()> {
        check_key(self.key)
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let (owner, least) = (ctx.signer(), ctx.params().fixed_stake);
        ensure!(!is_provider(ctx, &owner), Error::AlreadyProvider);
        ensure!(self.stake >= least, Error::StakeBelowFixed { least });
        let id = next_id(ctx);
        enter_key(ctx, self.key, id)?;
        bank::debit(ctx, &owner, Pool::Stake, self.stake)?;

        let payout = if self.payout.is_zero() { owner } else { self.payout };
        let mut provider = Provider { owner, payout, key: self.key, stake: self.stake, ..Provider::default() };
        OWNERS.set(ctx, &owner, &id);
        coverage::store(ctx, &id, &mut provider);
        ctx.emit(Event::ProviderRegistered { provider: id, owner, stake: self.stake });
        Ok(())
    }

    fn reads(&self, signer: Address, keys: &mut Vec<Key>) {
        keys.extend([OWNERS.key(&signer), COUNTERS.key(&()), PROVIDER_KEYS.key(&self.key)]);
    }
}

/// Refuses bytes that nobody could sign under alone.
pub(super) fn check_key(key: Bytes32) -> Result<()> {
    PublicKey(key.0).check_registrable().map_err(|_| Error::BadKey.into())
}

/// Enters an answering key. Its row is evidence and stays for ever, and so does the deposit on it.
pub(super) fn enter_key(ctx: &mut Context<'_>, key: Bytes32, provider: ProviderId) -> Result<()> {
    ensure!(!PROVIDER_KEYS.has(ctx, &key), Error::KeyInUse);
    let deposit = coverage::charge_rows(ctx, 1)?;
    let record = ProviderKey { provider, from: ctx.now(), until: None, deposit };
    PROVIDER_KEYS.set(ctx, &key, &record);
    Ok(())
}

// Who took out its whole stake may begin anew, under a new number.
fn is_provider(ctx: &Context<'_>, owner: &Address) -> bool {
    let provider = OWNERS.get(ctx, owner).and_then(|id| PROVIDERS.get(ctx, &id));
    provider.is_some_and(|provider| provider.status != ProviderStatus::Left)
}

fn next_id(ctx: &mut Context<'_>) -> ProviderId {
    let mut counters = COUNTERS.get(ctx, &()).unwrap_or_default();
    counters.providers = counters.providers.saturating_add(1);
    COUNTERS.set(ctx, &(), &counters);
    ProviderId(counters.providers)
}
