//! How a held transaction leaves: assessed again, marked, sent, marked.

use std::future::Future;
use std::sync::Arc;

use super::super::policy::{Decision, PolicyHash};
use super::super::verdict::Verdict;
use super::{Held, Hold, HoldError, HoldId, MOST_ANSWER, Releaser, Stage};

/// What sending it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The node has it, or had it already.
    Accepted {
        /// What it answered.
        answer: String,
    },
    /// The node does not take it: its nonce is used, its sender cannot pay.
    Refused {
        /// What it answered.
        answer: String,
    },
    /// Nobody knows: no answer came.
    Uncertain,
}

/// What a release came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// It left.
    Gone(Box<Held>),
    /// It was assessed again and does not leave: it waits on, or is dropped when it is refused for good.
    Kept(Box<Held>),
    /// No node answered: it is sent again later.
    Pending(HoldId),
}

/// Releases a transaction.
///
/// `assess` decides again, by the present policy and head; what the release takes responsibility for is set aside there
/// (`Policy::decide_overridden`). `send` brings the bytes to a node, and only these bytes.
///
/// # Errors
/// [`HoldError::Unknown`], [`HoldError::Left`], [`HoldError::NotThisWay`], [`HoldError::Unavailable`].
pub async fn release<A, AFuture, S, SFuture>(
    hold: &Arc<Hold>,
    id: HoldId,
    by: Releaser,
    assess: A,
    send: S,
) -> Result<Released, HoldError>
where
    A: FnOnce(Held) -> AFuture,
    AFuture: Future<Output = (Decision, PolicyHash)>,
    S: FnOnce(Held) -> SFuture,
    SFuture: Future<Output = Sent>,
{
    let held = on_disk(hold, move |hold| {
        let held = hold.read(id)?;
        match held.stage {
            Stage::Held => hold.may_leave(&held, by).map(|()| held),
            _ => Err(HoldError::Left(id)),
        }
    })
    .await?;
    let (decision, policy) = assess(held).await;
    if !decision.verdict.forwards() {
        return keep(hold, id, decision, policy).await;
    }
    let held = on_disk(hold, move |hold| hold.begin(id, by)).await?;
    deliver(hold, held, by, send).await
}

impl Hold {
    /// Sends one again whose sending was interrupted (see [`Hold::interrupted`]).
    ///
    /// # Errors
    /// [`HoldError::Unknown`], [`HoldError::Left`] when it was sent meanwhile or another task sends it,
    /// [`HoldError::Unavailable`].
    pub async fn send_again<S, SFuture>(self: &Arc<Self>, id: HoldId, send: S) -> Result<Released, HoldError>
    where
        S: FnOnce(Held) -> SFuture,
        SFuture: Future<Output = Sent>,
    {
        let held = on_disk(self, move |hold| hold.resume(id)).await?;
        let Stage::Releasing { by } = held.stage else { return Err(HoldError::Left(id)) };
        deliver(self, held, by, send).await
    }
}

/// It is marked as releasing, and this task alone sends it.
async fn deliver<S, SFuture>(hold: &Arc<Hold>, held: Held, by: Releaser, send: S) -> Result<Released, HoldError>
where
    S: FnOnce(Held) -> SFuture,
    SFuture: Future<Output = Sent>,
{
    let id = held.id;
    // A task that is dropped while it sends leaves the transaction to be sent again.
    let landing = Landing { hold: Arc::clone(hold), id };
    let at_s = (hold.clock)();
    let stage = match send(held).await {
        Sent::Accepted { answer } => Stage::Released { by, at_s, answer: short(&answer) },
        Sent::Refused { answer } => {
            Stage::Dropped { at_s, reason: format!("the node does not take it: {}", short(&answer)) }
        }
        Sent::Uncertain => return Ok(Released::Pending(id)),
    };
    let held = on_disk(hold, move |hold| hold.finish(id, stage)).await?;
    drop(landing);
    Ok(match held.stage {
        Stage::Released { .. } => Released::Gone(Box::new(held)),
        _ => Released::Kept(Box::new(held)),
    })
}

/// What is blocked by now is dropped; the rest waits on, for the reasons of today.
async fn keep(hold: &Arc<Hold>, id: HoldId, decision: Decision, policy: PolicyHash) -> Result<Released, HoldError> {
    let held = on_disk(hold, move |hold| {
        if decision.verdict == Verdict::Block {
            return hold.drop_held(id, &format!("blocked by {}", decision.rule));
        }
        hold.hold_on(id, decision, policy)
    })
    .await?;
    Ok(Released::Kept(Box::new(held)))
}

struct Landing {
    hold: Arc<Hold>,
    id: HoldId,
}

impl Drop for Landing {
    fn drop(&mut self) {
        self.hold.suspend(self.id);
    }
}

fn short(answer: &str) -> String {
    answer.chars().take(MOST_ANSWER).collect()
}

/// Does something that waits for the disk on a thread that may.
async fn on_disk<T: Send + 'static>(
    hold: &Arc<Hold>,
    act: impl FnOnce(&Hold) -> Result<T, HoldError> + Send + 'static,
) -> Result<T, HoldError> {
    let hold = Arc::clone(hold);
    let done = tokio::task::spawn_blocking(move || act(&hold)).await;
    done.unwrap_or_else(|error| Err(HoldError::Unavailable(error.to_string())))
}
