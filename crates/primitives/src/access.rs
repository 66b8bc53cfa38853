//! The call protocol: how a consumer that bought a package calls a provider, off the ledger (`market.md`, part D).
//!
//! A [`Grant`] is the purchase row as both sides read it on the ledger; a chain of [`SubGrant`]s hands parts of it on.
//! Each call names a lane and a rising `seq`, and is signed ([`SignedCall`]) or carries a tag under a key that an
//! opening call agreed on ([`MacCall`]). A signed call acknowledges: the highest `cum` of a lane, as a [`Voucher`], is
//! what the provider claims on the ledger.
//!
//! Everything here is pure and bounded: time, randomness and what is revoked come in as arguments. No one is charged
//! for what no key signed, and no chain gives more than its parent had.
//! Never here: counters that survive a restart, quota, windows of unacknowledged calls (see the sidecar).

mod client;
mod error;
mod grant;
mod head;
mod header;
mod mac;
mod problem;
mod request;
mod scope;
mod verify;
mod window;

pub use client::{CallSigner, LaneClient, LaneState, Pending};
pub use error::Error;
pub use grant::{Grant, GrantFlags, LaneAuthority, MAX_DEPTH, SubGrant, SubGrantTerms, verify_chain};
pub use head::{Call, Flags, HEAD_LEN, Head, MacCall, NO_REQUEST, SignedCall, Voucher};
pub use header::{
    ANSWER_HEADER, BASIS_HEADER, CALL_HEADER, CHAIN_HEADER, CLAIMS_HEADER, QUOTA_HEADER, QuotaState, SCOPE_HEADER,
    decode_b64, decode_call, decode_chain, decode_scopes, encode_b64, encode_call, encode_chain, encode_scopes,
};
pub use mac::{LaneKey, TagReply};
pub use problem::{Problem, ProblemKind};
pub use request::{Request, body_hash, normalize_authority, request_hash};
pub use scope::{Scope, is_plain_path};
pub use verify::{
    CallContext, GRANT_SKEW, MAX_AHEAD, MAX_BEHIND, check_deadline, verify_call, verify_mac_call, verify_signed_call,
    verify_voucher,
};
pub use window::{ReplayWindow, Seen, WINDOW_LEN};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
