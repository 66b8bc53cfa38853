//! The seam to what looks at a submission. The gateway knows no check: whoever starts it plugs them in.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::subject::Subject;
use super::verdict::{Failure, Finding};

/// Looks at one submission.
pub trait Check: Send + Sync {
    /// Its stable name, as policies and records have it.
    fn name(&self) -> &str;

    /// Looks at `subject` as it would run after `before`: the earlier transactions of its bundle, the earlier calls of its
    /// request, or what the same sender sent before in its batch.
    ///
    /// The finding's `reads` are what must still be so when the subject is forwarded.
    fn assess<'a>(&'a self, subject: &'a Subject, before: &'a [Arc<Subject>]) -> BoxFuture<'a, Finding>;

    /// Whether what a finding of this check rests on is still so.
    fn still_holds<'a>(&'a self, finding: &'a Finding) -> BoxFuture<'a, bool>;

    /// How long it may take and what an outcome that decides nothing comes to, where the policy says nothing else.
    fn failure(&self) -> Failure;

    /// Whether it computes for long without waiting. Such a check gets a thread of its own, so that its deadline holds.
    fn is_heavy(&self) -> bool {
        false
    }
}
