//! The checks of a call and of a voucher, without any state (`market.md` D3 steps 3 to 7, B3 Claim).

use super::error::Error;
use super::grant::{Grant, GrantFlags, LaneAuthority};
use super::head::{Call, Head, MacCall, SignedCall, Voucher};
use super::mac::LaneKey;
use super::scope::Scope;
use crate::hash::Hash32;
use crate::ids::Seconds;

/// Seconds by which a grant's or sub-grant's times may be missed (`market.md` D5).
pub const GRANT_SKEW: Seconds = Seconds(30);
/// Seconds by which a call's deadline may have passed (`market.md` D3).
pub const MAX_BEHIND: u64 = 5;
/// Seconds that a call's deadline may lie ahead (`market.md` D3).
pub const MAX_AHEAD: u64 = 120;

/// What a call is checked against besides its own bytes.
#[derive(Clone, Copy)]
pub struct CallContext<'a> {
    /// The purchase.
    pub grant: &'a Grant,
    /// What the verified chain gives.
    pub authority: &'a LaneAuthority,
    /// The lane's agreed key, if there is one.
    pub lane_key: Option<&'a LaneKey>,
    /// The texts of the chain's scopes, in any order.
    pub scopes: &'a [Scope],
    /// The method, as sent.
    pub method: &'a str,
    /// The path, as sent.
    pub path: &'a str,
    /// The hash of the request.
    pub request: &'a Hash32,
    /// Ledger time.
    pub now: Seconds,
    /// Wall time in seconds.
    pub wall: u64,
}

/// Checks a call in the order of `market.md` D3, steps 3 to 7 but for the rate: times, lane, revocation, signature or
/// tag, scope. `is_revoked` is asked about every link's hash. Nothing is kept: replay, quota and window come after it.
///
/// # Errors
/// The first check that fails: [`Error::OutsidePackage`], [`Error::ExpiredCall`], [`Error::Clock`],
/// [`Error::WrongPurchase`], [`Error::LaneOutside`], [`Error::ExpiredGrant`], [`Error::Revoked`],
/// [`Error::BadSignature`], [`Error::BadTag`], [`Error::NeedOpen`], [`Error::MacNotAllowed`], [`Error::NeedScope`],
/// [`Error::OutOfScope`].
pub fn verify_call(call: &Call, context: &CallContext<'_>, is_revoked: impl Fn(&Hash32) -> bool) -> Result<(), Error> {
    check_package_time(context.grant, context.now)?;
    check_deadline(call.head().deadline, context.wall)?;
    check_lane(call.head(), context.authority)?;
    check_chain_time(context.authority, context.now)?;
    if context.authority.links.iter().any(is_revoked) {
        return Err(Error::Revoked);
    }
    match call {
        Call::Signed(call) => verify_signed_call(call, context.authority, context.request)?,
        Call::Mac(call) => {
            let key = context.lane_key.ok_or(Error::NeedOpen)?;
            verify_mac_call(call, context.authority, key, context.request)?;
        }
    }
    check_scopes(context)
}

/// Checks a signed call's purchase, lane and signature.
///
/// # Errors
/// [`Error::WrongPurchase`], [`Error::LaneOutside`], [`Error::BudgetSpent`], [`Error::BadSignature`].
pub fn verify_signed_call(call: &SignedCall, authority: &LaneAuthority, request: &Hash32) -> Result<(), Error> {
    check_lane(call.head(), authority)?;
    check_budget(call.head(), authority)?;
    Ok(authority.key.verify(&call.digest(request), call.signature())?)
}

/// Checks the purchase, lane and tag of a call with a tag. `key` must be the one that an opening call under the same
/// authority agreed on: it binds purchase, lane and delegate key.
///
/// # Errors
/// [`Error::WrongPurchase`], [`Error::LaneOutside`], [`Error::MacNotAllowed`], [`Error::BadTag`].
pub fn verify_mac_call(
    call: &MacCall,
    authority: &LaneAuthority,
    key: &LaneKey,
    request: &Hash32,
) -> Result<(), Error> {
    check_lane(&call.head, authority)?;
    if !authority.flags.has(GrantFlags::MAC) {
        return Err(Error::MacNotAllowed);
    }
    key.check_call(call, request)
}

/// Checks a voucher and returns the calls that it acknowledges in its lane.
///
/// # Errors
/// As [`verify_signed_call`].
pub fn verify_voucher(voucher: &Voucher, authority: &LaneAuthority) -> Result<u64, Error> {
    verify_signed_call(&voucher.call, authority, &voucher.request)?;
    Ok(voucher.head().cum)
}

/// Checks a call's deadline against the wall clock: at most 5 s behind, at most 120 s ahead.
///
/// # Errors
/// [`Error::ExpiredCall`], [`Error::Clock`].
pub fn check_deadline(deadline: u32, wall: u64) -> Result<(), Error> {
    let deadline = u64::from(deadline);
    if deadline.saturating_add(MAX_BEHIND) < wall {
        return Err(Error::ExpiredCall);
    }
    if deadline > wall.saturating_add(MAX_AHEAD) {
        return Err(Error::Clock);
    }
    Ok(())
}

fn check_package_time(grant: &Grant, now: Seconds) -> Result<(), Error> {
    if now.after(GRANT_SKEW) < grant.not_before || now >= grant.end {
        return Err(Error::OutsidePackage { from: grant.not_before, end: grant.end });
    }
    Ok(())
}

fn check_chain_time(authority: &LaneAuthority, now: Seconds) -> Result<(), Error> {
    match authority.valid_until {
        Some(end) if now > end.after(GRANT_SKEW) => Err(Error::ExpiredGrant(end)),
        _ => Ok(()),
    }
}

fn check_lane(head: &Head, authority: &LaneAuthority) -> Result<(), Error> {
    if head.purchase != authority.purchase {
        return Err(Error::WrongPurchase);
    }
    if !authority.has_lane(head.lane) {
        return Err(Error::LaneOutside(head.lane));
    }
    Ok(())
}

fn check_budget(head: &Head, authority: &LaneAuthority) -> Result<(), Error> {
    if head.cum > authority.max_calls {
        return Err(Error::BudgetSpent { cum: head.cum, max: authority.max_calls });
    }
    Ok(())
}

fn check_scopes(context: &CallContext<'_>) -> Result<(), Error> {
    for hash in &context.authority.scopes {
        let scope = context.scopes.iter().find(|scope| scope.hash() == *hash).ok_or(Error::NeedScope)?;
        if !scope.allows(context.method, context.path) {
            return Err(Error::OutOfScope);
        }
    }
    Ok(())
}
