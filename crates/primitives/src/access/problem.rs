//! What a refused call is told: `application/problem+json`, one name and one status a reason (`market.md` D2).

use serde::{Deserialize, Serialize};

use crate::ids::{Lane, PurchaseId};

macro_rules! problems {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal;)*) => {
        /// The reasons for which a sidecar refuses, in the order of their status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ProblemKind {
            $($(#[$doc])* $variant,)*
        }

        impl ProblemKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name, as it ends the problem's `type`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }
        }
    };
}

problems! {
    /// The call's bytes or headers are not in their form.
    Malformed = "malformed", 400;
    /// A version that this side does not know.
    BadVersion = "bad-version", 400;
    /// More acknowledged than was admitted.
    CumAhead = "cum-ahead", 400;
    /// Less acknowledged than before, where the highest was asked for.
    CumBehind = "cum-behind", 400;
    /// The chain of sub-grants, or a scope's text, must come along.
    NeedChain = "need-chain", 401;
    /// No tag key here: sign the call as a new opening with a fresh ephemeral key.
    NeedOpen = "need-open", 401;
    /// The signature does not hold.
    BadSignature = "bad-signature", 401;
    /// The tag does not hold.
    BadTag = "bad-tag", 401;
    /// The call's deadline has passed.
    ExpiredCall = "expired-call", 401;
    /// A sub-grant has ended.
    ExpiredGrant = "expired-grant", 401;
    /// The clocks differ; the reply carries `server_time`.
    Clock = "clock", 401;
    /// No package: the reply names the price.
    PaymentRequired = "payment-required", 402;
    /// All calls of the package are used.
    QuotaExhausted = "quota-exhausted", 402;
    /// The package has not begun or has ended.
    ExpiredPurchase = "expired-purchase", 402;
    /// Key or sub-grant were revoked.
    Revoked = "revoked", 403;
    /// Method or path are outside the scope.
    OutOfScope = "out-of-scope", 403;
    /// The lane is outside the grant.
    LaneOutside = "lane-outside", 403;
    /// The sub-grant's calls are used.
    BudgetSpent = "budget-spent", 403;
    /// This `seq` was seen, with another request or too long ago.
    Replay = "replay", 409;
    /// `seq` is at or below the lane's floor, which the reply names.
    SeqBelowFloor = "seq-below-floor", 409;
    /// Another replica owns the lane.
    LaneMoved = "lane-moved", 409;
    /// The purchase's window is used: send the same request signed, with `cum`.
    VoucherDue = "voucher-due", 428;
    /// Too many calls at a time.
    RateLimited = "rate-limited", 429;
    /// Other lanes hold the purchase's window.
    WindowBusy = "window-busy", 429;
    /// The API behind answered badly; not counted.
    Upstream = "upstream", 502;
    /// The counters cannot be reached.
    StoreUnavailable = "store-unavailable", 503;
    /// The view of the ledger is too old.
    LedgerStale = "ledger-stale", 503;
    /// The API behind did not answer in time; not counted.
    UpstreamTimeout = "upstream-timeout", 504;
}

const URN: &str = "urn:surety:problem:";

impl ProblemKind {
    /// The problem's `type`: `urn:surety:problem:<name>`.
    #[must_use]
    pub fn urn(self) -> String {
        format!("{URN}{}", self.name())
    }

    /// The kind behind a `type`.
    #[must_use]
    pub fn from_urn(urn: &str) -> Option<Self> {
        let name = urn.strip_prefix(URN)?;
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

impl Serialize for ProblemKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.urn())
    }
}

impl<'de> Deserialize<'de> for ProblemKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let urn = String::deserialize(deserializer)?;
        Self::from_urn(&urn).ok_or_else(|| serde::de::Error::custom("unknown problem type"))
    }
}

/// The body of a refusal. Fields that do not fit the kind are left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The kind, as `urn:surety:problem:<name>`.
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    /// The HTTP status again.
    pub status: u16,
    /// A sentence for people.
    pub detail: String,
    /// The purchase that was named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purchase: Option<PurchaseId>,
    /// The lane that was named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lane: Option<Lane>,
    /// The highest `seq` that is refused: go on above it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seq_floor: Option<u64>,
    /// The highest `cum` that this side holds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cum: Option<u64>,
    /// Calls left.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remaining: Option<u64>,
    /// Seconds to wait before the next try.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after: Option<u64>,
    /// What is missing: "signature", "open", "chain", "scope", "payment".
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub need: Option<String>,
    /// This side's wall clock in seconds, to correct by.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub server_time: Option<u64>,
}

impl Problem {
    /// A problem with nothing but its kind and a sentence.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self {
            kind,
            status: kind.status(),
            detail: detail.into(),
            purchase: None,
            lane: None,
            seq_floor: None,
            cum: None,
            remaining: None,
            retry_after: None,
            need: None,
            server_time: None,
        }
    }
}

impl From<&super::Error> for Problem {
    fn from(error: &super::Error) -> Self {
        Self::new(error.problem(), error.to_string())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_found_by_its_type_and_leaves_out_what_it_does_not_know() {
        for kind in ProblemKind::ALL {
            assert_eq!(ProblemKind::from_urn(&kind.urn()), Some(*kind));
        }
        let mut problem = Problem::new(ProblemKind::VoucherDue, "64 calls are not acknowledged");
        problem.cum = Some(12);
        let text = serde_json::to_string(&problem).unwrap();
        assert_eq!(
            text,
            r#"{"type":"urn:surety:problem:voucher-due","status":428,"detail":"64 calls are not acknowledged","cum":12}"#
        );
        assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
        assert!(serde_json::from_str::<Problem>(&text.replace("voucher-due", "voucher-duo")).is_err());
    }
}
