//! Under which key a lane's calls are signed: a root key of the purchase, and the sub-grants below it (`market.md` D1).

use borsh::{BorshDeserialize, BorshSerialize};
use surety_primitives::access::{Grant, LaneAuthority, MAX_DEPTH, SubGrant, Voucher, verify_chain, verify_voucher};
use surety_primitives::keys::PublicKey;
use surety_primitives::typed_data::{Blob, Bytes32};
use surety_primitives::{PurchaseId, Seconds, codec};

use super::Error;
use super::state::{CALL_KEYS, PurchaseRecord, REVOCATIONS};
use crate::context::Context;

/// Most bytes of an encoded chain.
const MAX_BYTES: usize = 4 + 4 + MAX_DEPTH * SubGrant::LEN;

/// How far a caller's clock may be behind (`market.md` D5).
const SKEW: Seconds = Seconds(300);

/// What a voucher acknowledges under the authority of its key.
///
/// A reference may be used again once its purchase is swept, with the same call key: what was signed before must not count
/// for the new purchase. A voucher's deadline is wall time, which the ledger clock never passes, so that none of the new
/// purchase is refused. An old one could pass only where the clock lost more to halts than purchases are kept.
///
/// # Errors
/// [`Error::BadVoucher`].
pub(super) fn check_voucher(
    voucher: &Voucher,
    authority: &LaneAuthority,
    purchase: &PurchaseRecord,
) -> Result<u64, Error> {
    let refused = |reason: &dyn core::fmt::Display| Error::BadVoucher { reason: reason.to_string() };
    let deadline = Seconds(u64::from(voucher.head().deadline));
    if deadline.after(SKEW) < purchase.not_before {
        return Err(refused(&"signed before the purchase"));
    }
    verify_voucher(voucher, authority).map_err(|error| refused(&error))
}

/// How a key got its right to sign: borsh, at most four sub-grants; none where the root key signs itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct KeyChain {
    /// Which root key of the purchase, from 1.
    pub key_version: u32,
    /// From the root key down.
    pub links: Vec<SubGrant>,
}

impl KeyChain {
    /// The root key of this version alone.
    #[must_use]
    pub const fn root(key_version: u32) -> Self {
        Self { key_version, links: Vec::new() }
    }

    /// As actions carry it.
    #[must_use]
    pub fn to_blob(&self) -> Blob {
        Blob(codec::encode(self))
    }

    /// How many links a chain of this length has, at most: what checking it costs can be told without reading it.
    #[must_use]
    pub const fn links_most(blob: &Blob) -> usize {
        let links = blob.0.len() / SubGrant::LEN;
        if links < MAX_DEPTH { links } else { MAX_DEPTH }
    }

    /// Reads what an action carries.
    ///
    /// # Errors
    /// [`Error::Malformed`].
    pub fn from_blob(blob: &Blob) -> Result<Self, Error> {
        codec::decode(&blob.0, MAX_BYTES).map_err(|_| Error::Malformed { field: "chain" })
    }

    /// What the chain gives to the key at its end, by what the ledger knows of its root key and of revocations.
    ///
    /// Times of sub-grants are not looked at: what was signed in time is paid, whenever it is claimed. For the same reason
    /// an earlier root key and a revoked sub-grant count for the claim window after their end: nobody can tell on the
    /// ledger what was signed before it, and a revocation must not cancel what is already used.
    ///
    /// # Errors
    /// [`Error::BadVoucher`].
    pub(super) fn authority(
        &self,
        ctx: &Context<'_>,
        id: PurchaseId,
        purchase: &PurchaseRecord,
    ) -> Result<LaneAuthority, Error> {
        let refused = |reason: &dyn core::fmt::Display| Error::BadVoucher { reason: reason.to_string() };
        let root =
            root_key(ctx, id, purchase, self.key_version).ok_or_else(|| refused(&"the root key is not in use"))?;
        let grant = Grant {
            network: ctx.network(),
            purchase: id,
            key_version: self.key_version,
            call_key: PublicKey(root.0),
            lanes: u32::from(purchase.lanes),
            quota: purchase.quota,
            not_before: purchase.not_before,
            end: purchase.end(),
        };
        let authority = verify_chain(&grant, &self.links).map_err(|error| refused(&error))?;
        let (now, window) = (ctx.now(), ctx.params().claim_window);
        let revoked = |hash| REVOCATIONS.get(ctx, &(id, hash)).is_some_and(|at| now >= at.after(window));
        if authority.links.iter().any(|hash| revoked(*hash)) {
            return Err(refused(&"revoked"));
        }
        Ok(authority)
    }
}

fn root_key(ctx: &Context<'_>, id: PurchaseId, purchase: &PurchaseRecord, version: u32) -> Option<Bytes32> {
    if version == purchase.key_version {
        return Some(purchase.call_key);
    }
    CALL_KEYS.get(ctx, &(id, version)).filter(|old| ctx.now() < old.until).map(|old| old.key)
}
