//! Chain state as an answer rests on it: pinned to one block, recorded as it is read, and replayed from the record.
//!
//! Always true: a verdict computed on [`Replay`] reads the same values as the one that was recorded, and where a read
//! failed then, for want of time or of a node, it fails again and for the same reason. How reading ended is the word of
//! whoever gave the answer: it only ever makes less known.

use std::sync::Arc;

use borsh::{BorshDeserialize, BorshSerialize};
use surety_evm::{Chain, End, Head, Limits, Recorder, Session, Snapshot, Source, StateError, Witness};
use surety_primitives::answer::BlockRef;
use surety_primitives::hash::h;
use surety_primitives::{Hash32, codec};

use crate::envelope::{Reason, Refusal};
use crate::history::{History, Past};
use crate::service::{Chains, Request, Sources};

/// Largest record that is replayed, in bytes.
pub const MAX_REPLAY: usize = 32 << 20;

/// What a service knows of a chain's state.
#[derive(Debug)]
pub enum State {
    /// The question needs none.
    None,
    /// It is needed, and no such chain is read.
    Absent,
    /// The chain is read and gave no state.
    Silent(Silent),
    /// The state at one block.
    At(Box<Pinned>),
}

impl State {
    /// The state of a chain that need not be read: a question about it can be answered in part without.
    ///
    /// # Errors
    /// None today; those of [`Sources::pin`] for a chain that is read.
    pub(crate) fn of_any(sources: Sources<'_>, chain_id: u64, block: Option<u64>) -> Result<Self, Refusal> {
        if sources.chains.contains_key(&chain_id) { sources.pin(chain_id, block) } else { Ok(Self::Absent) }
    }

    /// The state, if there is one.
    pub fn pinned(&self) -> Option<&Pinned> {
        match self {
            Self::At(pinned) => Some(pinned),
            _ => None,
        }
    }

    /// The block with the state after it, or why there is none.
    ///
    /// # Errors
    /// [`Reason`] why it is unknown.
    pub fn snapshot(&self) -> Result<&Snapshot, Reason> {
        self.pinned().map(Pinned::snapshot).ok_or_else(|| self.why_absent())
    }

    /// Why there is none.
    pub const fn why_absent(&self) -> Reason {
        match self {
            Self::Silent(silent) => silent.reason,
            _ => Reason::NoState,
        }
    }
}

/// A chain that gave no state, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silent {
    /// Its id.
    pub chain_id: u64,
    /// [`Reason::Deadline`] or [`Reason::NoState`].
    pub reason: Reason,
}

impl Silent {
    /// Commits to it.
    pub fn root(&self) -> Hash32 {
        h("surety/security/silent/v1", &[&codec::encode(&(self.chain_id, self.reason == Reason::Deadline))])
    }
}

/// The state at one block, recorded as it is read.
#[derive(Debug)]
pub struct Pinned {
    snapshot: Snapshot,
    recorder: Arc<Recorder>,
    history: Option<History>,
}

impl Pinned {
    /// Starts a record of what is read of `snapshot` and asked of its history.
    pub fn new(snapshot: &Snapshot, history: Option<History>) -> Self {
        let recorder = Arc::new(Recorder::new(Arc::clone(&snapshot.source)));
        let source: Arc<dyn Source> = Arc::<Recorder>::clone(&recorder);
        Self { snapshot: Snapshot { head: snapshot.head.clone(), source }, recorder, history }
    }

    /// The block.
    pub const fn head(&self) -> &Head {
        &self.snapshot.head
    }

    /// The block with the state after it; what is read of it is recorded.
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The history up to the block, where there is one.
    pub const fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// A fresh overlay, for code to run on.
    pub fn session(&self, limits: Limits) -> Session {
        Session::new(&self.snapshot, limits)
    }

    /// The block as an Answer's basis names it.
    pub fn block(&self) -> BlockRef {
        let head = self.head();
        BlockRef { chain: head.chain_id, number: head.number, hash: Hash32(head.hash.0) }
    }

    /// Everything that was read so far.
    pub fn replay(&self) -> Replay {
        Replay {
            head: self.head().clone(),
            witness: self.recorder.witness(),
            past: self.history.as_ref().map(History::past),
        }
    }
}

/// Everything that an answer read, enough to compute it again without the chain.
#[derive(Clone, Debug, BorshSerialize, BorshDeserialize)]
pub struct Replay {
    /// The block.
    pub head: Head,
    /// What was read of its state.
    pub witness: Witness,
    /// What was read of its history.
    pub past: Option<Past>,
}

impl Replay {
    /// Commits to block, state and history.
    pub fn root(&self) -> Hash32 {
        h("surety/security/replay/v1", &[&codec::encode(self)])
    }
}

/// A chain that consists of one record, or that gave no state.
#[derive(Debug)]
pub(crate) struct Recorded {
    chain_id: u64,
    snapshot: Result<Snapshot, StateError>,
}

impl Recorded {
    /// The chain that was read.
    pub(crate) fn of(replay: &Replay) -> Chains {
        let source: Arc<dyn Source> = Arc::new(replay.witness.clone());
        let snapshot = Snapshot { head: replay.head.clone(), source };
        Self { chain_id: replay.head.chain_id, snapshot: Ok(snapshot) }.into_chains()
    }

    /// The chain that was asked in vain.
    pub(crate) fn silent(silent: Silent) -> Chains {
        let end = if silent.reason == Reason::Deadline { End::Deadline } else { End::Unavailable };
        Self { chain_id: silent.chain_id, snapshot: Err(end.error()) }.into_chains()
    }

    fn into_chains(self) -> Chains {
        let (chain_id, chain): (u64, Arc<dyn Chain>) = (self.chain_id, Arc::new(self));
        Chains::from([(chain_id, chain)])
    }
}

impl Chain for Recorded {
    fn chain_id(&self) -> u64 {
        self.chain_id
    }

    fn snapshot(&self, block: Option<u64>) -> Result<Snapshot, StateError> {
        let snapshot = self.snapshot.clone()?;
        match block {
            Some(number) if number != snapshot.head.number => {
                Err(StateError::Unavailable(format!("block {number} is not the recorded one")))
            }
            _ => Ok(snapshot),
        }
    }
}

impl Sources<'_> {
    /// The state that a question is about: at the block it names, or at the newest.
    ///
    /// # Errors
    /// [`Refusal::Chain`] for a chain that no state is read from.
    pub(crate) fn pin(&self, chain_id: u64, block: Option<u64>) -> Result<State, Refusal> {
        let chain = self.chains.get(&chain_id).ok_or(Refusal::Chain)?;
        Ok(match chain.snapshot(block) {
            Ok(snapshot) => {
                let told = || History::of(chain, snapshot.head.number);
                let history = self.past.map_or_else(told, |past| Some(History::recorded(past.clone())));
                State::At(Box::new(Pinned::new(&snapshot, history)))
            }
            Err(error) => State::Silent(Silent { chain_id, reason: reason(&error) }),
        })
    }
}

/// Why a field is unknown when the state behind it could not be read.
pub(crate) const fn reason(error: &StateError) -> Reason {
    match error {
        StateError::Deadline => Reason::Deadline,
        _ => Reason::NoState,
    }
}

/// The block that a request names: `latest`, a number, or a number in hex.
///
/// # Errors
/// [`Refusal::Parameter`] for anything else.
pub(crate) fn block_of(text: Option<&str>) -> Result<Option<u64>, Refusal> {
    let Some(text) = text.filter(|text| *text != "latest") else { return Ok(None) };
    let number = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    number.map(Some).ok_or_else(|| Refusal::Parameter("block: a number, or latest".to_owned()))
}

/// The chain id that a request names.
///
/// # Errors
/// [`Refusal::Chain`] for what is no number.
pub(crate) fn chain_of(text: &str) -> Result<u64, Refusal> {
    // One chain has one spelling: "+1" and "01" would be other questions with the same answer.
    let id: u64 = text.parse().map_err(|_| Refusal::Chain)?;
    if id.to_string() == text { Ok(id) } else { Err(Refusal::Chain) }
}

/// The chain id and block of a question by path and query.
pub(crate) fn place(chain_id: &str, request: &Request) -> Result<(u64, Option<u64>), Refusal> {
    Ok((chain_of(chain_id)?, block_of(request.get("block"))?))
}
