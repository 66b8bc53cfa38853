//! How a held transaction leaves: assessed, marked, sent, marked; and again, as often as it takes.

use std::future::Future;
use std::sync::Arc;

use super::super::policy::{Decision, PolicyHash};
use super::super::verdict::Verdict;
use super::{Held, Hold, HoldError, HoldId, MOST_ANSWER, Releaser, Stage};

/// What is known of a transaction before it is sent once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// No node has it, and the present policy and head say this of it.
    Judged(Decision, PolicyHash),
    /// A node has it, from a try before.
    Taken {
        /// What shows it.
        answer: String,
    },
    /// No node says whether it has it.
    Silent {
        /// What they say instead.
        reason: String,
    },
}

/// What sending it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The node has it, or had it already.
    Accepted {
        /// What it answered.
        answer: String,
    },
    /// No node will ever take it: its nonce is used, its signature is wrong.
    Refused {
        /// What it answered.
        answer: String,
    },
    /// It is not known to be taken, and may be taken later: nobody answered, or not now.
    Later {
        /// What happened.
        reason: String,
    },
}

/// What a release came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// It left.
    Gone(Box<Held>),
    /// It does not leave: it waits on, or is dropped when it is refused for good.
    Kept(Box<Held>),
    /// It is not known to be taken: it is judged and sent again later.
    Pending(Box<Held>, String),
}

impl Released {
    /// Its word, for the log.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Gone(_) => "gone",
            Self::Kept(_) => "kept",
            Self::Pending(..) => "pending",
        }
    }

    /// The transaction, as it stands now.
    #[must_use]
    pub const fn held(&self) -> &Held {
        match self {
            Self::Gone(held) | Self::Kept(held) | Self::Pending(held, _) => held,
        }
    }
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
    deliver(Landing { hold: Arc::clone(hold), id }, held, by, send).await
}

impl Hold {
    /// Brings one to its end whose sending was interrupted or came to nothing (see [`Hold::interrupted`]). It is judged like
    /// at the first time: what a node may have by now is asked first, and what does not pass any more waits again.
    ///
    /// # Errors
    /// [`HoldError::Unknown`], [`HoldError::Left`] when it left meanwhile or another task sends it,
    /// [`HoldError::Unavailable`].
    pub async fn send_again<L, LFuture, S, SFuture>(
        self: &Arc<Self>,
        id: HoldId,
        look: L,
        send: S,
    ) -> Result<Released, HoldError>
    where
        L: FnOnce(Held) -> LFuture,
        LFuture: Future<Output = Look>,
        S: FnOnce(Held) -> SFuture,
        SFuture: Future<Output = Sent>,
    {
        let held = on_disk(self, move |hold| hold.resume(id)).await?;
        let landing = Landing { hold: Arc::clone(self), id };
        let Stage::Releasing { by } = held.stage else { return Err(HoldError::Left(id)) };
        match look(held.clone()).await {
            Look::Taken { answer } => finish(landing, held, by, Sent::Accepted { answer }).await,
            Look::Silent { reason } => Ok(Released::Pending(Box::new(held), reason)),
            // No node has it, and nobody waits for it any more.
            Look::Judged(..) if (self.clock)() >= held.expires_at_s => {
                let answer = "no node took it in time".to_owned();
                finish(landing, held, by, Sent::Refused { answer }).await
            }
            Look::Judged(decision, _) if decision.verdict.forwards() => deliver(landing, held, by, send).await,
            Look::Judged(decision, policy) => {
                on_disk(self, move |hold| hold.take_back(id)).await?;
                drop(landing);
                keep(self, id, decision, policy).await
            }
        }
    }
}

/// It is marked as releasing, and this task alone sends it.
async fn deliver<S, SFuture>(landing: Landing, held: Held, by: Releaser, send: S) -> Result<Released, HoldError>
where
    S: FnOnce(Held) -> SFuture,
    SFuture: Future<Output = Sent>,
{
    let sent = send(held.clone()).await;
    finish(landing, held, by, sent).await
}

async fn finish(landing: Landing, held: Held, by: Releaser, sent: Sent) -> Result<Released, HoldError> {
    let at_s = (landing.hold.clock)();
    let stage = match sent {
        Sent::Accepted { answer } => Stage::Released { by, at_s, answer: short(&answer) },
        Sent::Refused { answer } => Stage::Dropped { at_s, reason: format!("no node takes it: {}", short(&answer)) },
        Sent::Later { reason } => return Ok(Released::Pending(Box::new(held), short(&reason))),
    };
    let id = held.id;
    let held = on_disk(&landing.hold, move |hold| hold.finish(id, stage)).await?;
    Ok(match held.stage {
        Stage::Released { .. } => Released::Gone(Box::new(held)),
        _ => Released::Kept(Box::new(held)),
    })
}

/// What is blocked by something that was found is dropped. What only a failure blocks waits as it did; the rest waits on for
/// the reasons of today.
async fn keep(hold: &Arc<Hold>, id: HoldId, decision: Decision, policy: PolicyHash) -> Result<Released, HoldError> {
    let held = on_disk(hold, move |hold| match (decision.verdict, decision.is_found()) {
        (Verdict::Block, true) => hold.drop_held(id, &format!("blocked by {}", decision.rule)),
        (Verdict::Block, false) => hold.hold_on(id, None),
        _ => hold.hold_on(id, Some((decision, policy))),
    })
    .await?;
    Ok(Released::Kept(Box::new(held)))
}

/// A task that is dropped while it sends leaves the transaction to be sent again.
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
