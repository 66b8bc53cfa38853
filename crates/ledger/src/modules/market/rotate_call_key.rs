//! RotateCallKey: another root key for a package's calls (`market.md` B3).

use surety_primitives::typed_data::Bytes32;
use surety_primitives::{Address, PurchaseId, typed_struct};

use super::register_provider::check_key;
use super::state::{CALL_KEYS, Event, OldCallKey, PURCHASES, PurchaseRecord, PurchaseStatus};
use super::{Error, coverage};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

typed_struct! {
    /// Replaces the root key of a purchase. Claims under the old one count for the claim window more (72 h).
    pub struct RotateCallKey {
        /// The signer's purchase.
        pub purchase: PurchaseId,
        /// The new key (ed25519).
        pub key: Bytes32,
    }
}

impl Action for RotateCallKey {
    fn check(&self) -> Result<()> {
        check_key(self.key)
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut purchase = load_open(ctx, &self.purchase)?;
        ensure!(purchase.call_key != self.key, Error::Unchanged);
        coverage::attach_row(ctx, &mut purchase)?;

        let old = OldCallKey { key: purchase.call_key, until: ctx.now().after(ctx.params().claim_window) };
        CALL_KEYS.set(ctx, &(self.purchase, purchase.key_version), &old);
        purchase.call_key = self.key;
        purchase.key_version = purchase.key_version.saturating_add(1);
        PURCHASES.set(ctx, &self.purchase, &purchase);
        ctx.emit(Event::KeyRotated { purchase: self.purchase, key_version: purchase.key_version });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(PURCHASES.key(&self.purchase));
    }
}

/// The signer's purchase, while anything is left of it.
///
/// # Errors
/// [`Error::UnknownPurchase`], [`Error::NotConsumer`], [`Error::Settled`].
pub(super) fn load_open(ctx: &Context<'_>, id: &PurchaseId) -> Result<PurchaseRecord> {
    let purchase = coverage::load_purchase(ctx, id)?;
    ensure!(purchase.consumer == ctx.signer(), Error::NotConsumer);
    ensure!(purchase.status != PurchaseStatus::Settled, Error::Settled);
    Ok(purchase)
}
