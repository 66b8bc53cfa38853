//! Faults of other seats that consensus can prove: two votes where one was due.
//!
//! The bytes are what the ledger judges (`engine.md` 11). Votes are not kept across a restart, so a fault that was seen
//! just before a crash may be lost: evidence is best effort, safety does not rest on it.

use std::sync::Arc;

use commonware_actor::Feedback;
use commonware_codec::Encode as _;
use commonware_consensus::simplex::types::{Activity, Attributable as _};
use commonware_consensus::{Reporter, Viewable as _};
use commonware_cryptography::sha256;

use crate::core::Core;
use crate::scheme::Scheme;

/// What a seat did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Two notarize votes in one view.
    ConflictingNotarize,
    /// Two finalize votes in one view.
    ConflictingFinalize,
    /// A nullify and a finalize vote in one view.
    NullifyFinalize,
}

/// A proven fault.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// What was done.
    pub kind: FaultKind,
    /// The seat, an index into the committee.
    pub seat: u32,
    /// The view.
    pub view: u64,
    /// The two votes, as consensus encodes them.
    pub evidence: Vec<u8>,
}

/// Lets through only what may prove a fault, for the reporter below to check: a check of every single vote, which proves
/// nothing here, would cost a seventh of a busy node.
#[derive(Clone)]
pub(crate) struct FaultsOnly<R>(pub(crate) R);

impl<R: Reporter<Activity = Activity<Scheme, sha256::Digest>>> Reporter for FaultsOnly<R> {
    type Activity = R::Activity;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        match activity {
            Activity::ConflictingNotarize(_) | Activity::ConflictingFinalize(_) | Activity::NullifyFinalize(_) => {
                self.0.report(activity)
            }
            _ => Feedback::Ok,
        }
    }
}

/// Keeps the faults that consensus reports. Votes were checked before they come here.
#[derive(Clone)]
pub(crate) struct FaultWatch {
    pub(crate) core: Arc<Core>,
}

impl Reporter for FaultWatch {
    type Activity = Activity<Scheme, sha256::Digest>;

    fn report(&mut self, activity: Self::Activity) -> Feedback {
        let view = activity.view().get();
        let (kind, seat, evidence) = match &activity {
            Activity::ConflictingNotarize(votes) => {
                (FaultKind::ConflictingNotarize, votes.signer().get(), votes.encode())
            }
            Activity::ConflictingFinalize(votes) => {
                (FaultKind::ConflictingFinalize, votes.signer().get(), votes.encode())
            }
            Activity::NullifyFinalize(votes) => (FaultKind::NullifyFinalize, votes.signer().get(), votes.encode()),
            _ => return Feedback::Ok,
        };
        tracing::warn!(?kind, seat, view, "a seat voted twice");
        self.core.record_fault(Fault { kind, seat, view, evidence: evidence.to_vec() });
        Feedback::Ok
    }
}
