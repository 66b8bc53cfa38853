//! Why the call protocol refused something: for each reason one code, and the problem that the caller is told.

use super::problem::ProblemKind;
use crate::ids::{Lane, Seconds};
use crate::keys;

/// Why bytes, a chain, a call or a reply were refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes have a length that this object never has.
    #[error("{what} cannot have {len} bytes")]
    Length {
        /// Which object.
        what: &'static str,
        /// Its bytes.
        len: usize,
    },
    /// A header's text is not in its one form.
    #[error("{0} is not in its one form")]
    Text(&'static str),
    /// The head's version is not 1.
    #[error("version {0} is not known")]
    Version(u8),
    /// Unknown or contradictory flags, or flags that the length denies.
    #[error("flags {0:#04x} do not go together or with the length")]
    Flags(u8),
    /// `seq` counts from 1.
    #[error("seq counts from 1")]
    ZeroSeq,
    /// The object belongs to another purchase.
    #[error("this belongs to another purchase")]
    WrongPurchase,
    /// The lane is outside what the key may use.
    #[error("lane {0} is outside what this key may use")]
    LaneOutside(Lane),
    /// More sub-grants than a chain may have.
    #[error("a chain has at most {max} sub-grants, not {len}", max = super::MAX_DEPTH)]
    TooDeep {
        /// Sub-grants given.
        len: usize,
    },
    /// A sub-grant names another parent than the one before it.
    #[error("sub-grant {0} does not continue the chain")]
    BrokenChain(usize),
    /// A sub-grant of a parent that may not delegate.
    #[error("the parent of sub-grant {0} may not delegate")]
    NotDelegable(usize),
    /// A sub-grant that gives more than its parent has.
    #[error("sub-grant {link} widens {field}")]
    Widened {
        /// Position in the chain, from 0.
        link: usize,
        /// Which right it widens.
        field: &'static str,
    },
    /// A key is not a point of the curve, or of small order.
    #[error("not a usable key")]
    BadKey,
    /// A signature does not hold.
    #[error("the signature does not hold")]
    BadSignature,
    /// A tag does not hold.
    #[error("the tag does not hold")]
    BadTag,
    /// No key was agreed on in this lane: the call must be a signed opening.
    #[error("the lane must be opened first")]
    NeedOpen,
    /// The key may not use tags.
    #[error("this key may only sign its calls")]
    MacNotAllowed,
    /// The call's deadline has passed.
    #[error("the call's deadline has passed")]
    ExpiredCall,
    /// The call's deadline is further ahead than clocks differ.
    #[error("the call's deadline is too far ahead: compare the clocks")]
    Clock,
    /// A sub-grant has ended.
    #[error("the sub-grant ended at {0}")]
    ExpiredGrant(Seconds),
    /// The package has not begun, or has ended.
    #[error("the package runs from {from} to {end}")]
    OutsidePackage {
        /// First moment.
        from: Seconds,
        /// The moment it ends.
        end: Seconds,
    },
    /// The key or a sub-grant above it was revoked.
    #[error("revoked")]
    Revoked,
    /// A scope names a method or path in a form that is not accepted.
    #[error("not a scope: {0}")]
    BadScope(&'static str),
    /// The chain names a scope whose text did not come along.
    #[error("the text of a scope is missing")]
    NeedScope,
    /// The request is outside the scope.
    #[error("the request is outside the scope")]
    OutOfScope,
    /// `cum` is above the calls that this key may acknowledge.
    #[error("{cum} calls are above the {max} of this key")]
    BudgetSpent {
        /// Calls acknowledged.
        cum: u64,
        /// The most of the chain.
        max: u64,
    },
    /// A reply to another call.
    #[error("the reply belongs to another call")]
    WrongReply,
    /// The answer says something else than what came with it: {0}.
    #[error("the answer does not fit what came with it: {0}")]
    AnswerMismatch(&'static str),
    /// All numbers of this lane are used.
    #[error("the lane is used up")]
    LaneSpent,
}

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Length { .. } => "access-length",
            Self::Text(_) => "access-text",
            Self::Version(_) => "access-version",
            Self::Flags(_) => "access-flags",
            Self::ZeroSeq => "access-zero-seq",
            Self::WrongPurchase => "access-wrong-purchase",
            Self::LaneOutside(_) => "access-lane-outside",
            Self::TooDeep { .. } => "access-too-deep",
            Self::BrokenChain(_) => "access-broken-chain",
            Self::NotDelegable(_) => "access-not-delegable",
            Self::Widened { .. } => "access-widened",
            Self::BadKey => "access-bad-key",
            Self::BadSignature => "access-bad-signature",
            Self::BadTag => "access-bad-tag",
            Self::NeedOpen => "access-need-open",
            Self::MacNotAllowed => "access-mac-not-allowed",
            Self::ExpiredCall => "access-expired-call",
            Self::Clock => "access-clock",
            Self::ExpiredGrant(_) => "access-expired-grant",
            Self::OutsidePackage { .. } => "access-outside-package",
            Self::Revoked => "access-revoked",
            Self::BadScope(_) => "access-bad-scope",
            Self::NeedScope => "access-need-scope",
            Self::OutOfScope => "access-out-of-scope",
            Self::BudgetSpent { .. } => "access-budget-spent",
            Self::WrongReply => "access-wrong-reply",
            Self::AnswerMismatch(_) => "access-answer-mismatch",
            Self::LaneSpent => "access-lane-spent",
        }
    }

    /// The problem that a sidecar answers with (`market.md` D2).
    #[must_use]
    pub const fn problem(&self) -> ProblemKind {
        match self {
            Self::Version(_) => ProblemKind::BadVersion,
            Self::LaneOutside(_) => ProblemKind::LaneOutside,
            Self::TooDeep { .. }
            | Self::BrokenChain(_)
            | Self::NotDelegable(_)
            | Self::Widened { .. }
            | Self::NeedScope => ProblemKind::NeedChain,
            Self::BadKey | Self::BadSignature => ProblemKind::BadSignature,
            Self::BadTag => ProblemKind::BadTag,
            Self::NeedOpen | Self::MacNotAllowed => ProblemKind::NeedOpen,
            Self::ExpiredCall => ProblemKind::ExpiredCall,
            Self::Clock => ProblemKind::Clock,
            Self::ExpiredGrant(_) => ProblemKind::ExpiredGrant,
            Self::OutsidePackage { .. } => ProblemKind::ExpiredPurchase,
            Self::Revoked => ProblemKind::Revoked,
            Self::OutOfScope => ProblemKind::OutOfScope,
            Self::BudgetSpent { .. } => ProblemKind::BudgetSpent,
            Self::Length { .. }
            | Self::Text(_)
            | Self::Flags(_)
            | Self::ZeroSeq
            | Self::WrongPurchase
            | Self::BadScope(_)
            | Self::WrongReply
            | Self::AnswerMismatch(_)
            | Self::LaneSpent => ProblemKind::Malformed,
        }
    }
}

impl From<keys::Error> for Error {
    fn from(error: keys::Error) -> Self {
        match error {
            keys::Error::BadKey | keys::Error::WeakKey => Self::BadKey,
            keys::Error::BadSignature => Self::BadSignature,
        }
    }
}
