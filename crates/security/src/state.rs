//! Chain state as an answer rests on it: pinned to one block, recorded as it is read, and replayed from the record.
//!
//! Always true: a verdict computed on [`Replay`] reads the same values as the one that was recorded, or finds them absent.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::Address;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::Serialize;
use surety_evm::index::{Approval, Grant, Right};
use surety_evm::{Chain, Head, Limits, Recorder, Session, Snapshot, Source, StateError, Witness};
use surety_primitives::answer::BlockRef;
use surety_primitives::hash::h;
use surety_primitives::{Hash32, codec};

use crate::envelope::{Reason, Refusal};
use crate::service::{Chains, Request, Sources};

/// Largest record that is replayed, in bytes.
pub const MAX_REPLAY: usize = 32 << 20;
/// Most approvals of one answer.
const MAX_APPROVALS: usize = 256;

/// What a service knows of a chain's state.
#[derive(Debug)]
pub enum State {
    /// The question needs none.
    None,
    /// It is needed and cannot be had.
    Absent(Reason),
    /// The state at one block.
    At(Box<Pinned>),
}

impl State {
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
            Self::Absent(reason) => *reason,
            _ => Reason::NoState,
        }
    }
}

/// The state at one block, recorded as it is read.
#[derive(Debug)]
pub struct Pinned {
    snapshot: Snapshot,
    recorder: Arc<Recorder>,
    /// What history said, where the question asked it.
    pub past: Option<Past>,
}

impl Pinned {
    /// Starts a record of what is read of `snapshot`.
    pub fn new(snapshot: &Snapshot) -> Self {
        let recorder = Arc::new(Recorder::new(Arc::clone(&snapshot.source)));
        let source: Arc<dyn Source> = Arc::<Recorder>::clone(&recorder);
        Self { snapshot: Snapshot { head: snapshot.head.clone(), source }, recorder, past: None }
    }

    /// The block.
    pub const fn head(&self) -> &Head {
        &self.snapshot.head
    }

    /// The block with the state after it; what is read of it is recorded.
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
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
        Replay { head: self.head().clone(), witness: self.recorder.witness(), past: self.past.clone() }
    }
}

/// What the record of blocks says, as far as one question asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, BorshSerialize, BorshDeserialize)]
pub struct Past {
    /// First block that was replayed.
    pub from_block: u64,
    /// Last block that was replayed.
    pub to_block: u64,
    /// Approvals that the owner gave and that no log took back, in order of token and spender.
    pub approvals: Vec<PastApproval>,
    /// Whether more was found than is asked about in one answer.
    pub is_cut: bool,
}

/// An approval that was given once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, BorshSerialize, BorshDeserialize)]
pub struct PastApproval {
    /// The token.
    pub token: [u8; 20],
    /// Who may spend.
    pub spender: [u8; 20],
    /// The contract that keeps the allowance where it is not the token: Permit2.
    pub via: Option<[u8; 20]>,
    /// The one token id, where the approval is for one.
    pub token_id: Option<[u8; 32]>,
    /// Whether it is for all tokens of a collection.
    pub for_all: bool,
    /// When it was given last, and by which transaction.
    pub last: Moment,
}

/// A block's time and a transaction in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, BorshSerialize, BorshDeserialize)]
pub struct Moment {
    /// Height.
    pub block: u64,
    /// Seconds since 1970, as the block says; absent where the block is no longer kept.
    pub time: Option<u64>,
    /// Hash of the transaction.
    pub transaction: [u8; 32],
}

impl PastApproval {
    fn new(approval: &Approval, time: Option<u64>) -> Self {
        let Grant { token, spender, via, right } = approval.grant;
        let token_id = match right {
            Right::Item { item } => Some(item.to_be_bytes()),
            Right::Amount { .. } | Right::All { .. } => None,
        };
        Self {
            token: token.0.0,
            spender: spender.0.0,
            via: via.map(|via| via.0.0),
            token_id,
            for_all: matches!(right, Right::All { .. }),
            last: Moment { block: approval.block, time, transaction: approval.tx.0 },
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

impl Past {
    /// Commits to it.
    pub fn root(&self) -> Hash32 {
        h("surety/security/past/v1", &[&codec::encode(self)])
    }
}

impl Replay {
    /// Commits to block, state and history.
    pub fn root(&self) -> Hash32 {
        h("surety/security/replay/v1", &[&codec::encode(self)])
    }
}

/// A chain that consists of one record.
#[derive(Debug)]
pub(crate) struct Recorded {
    snapshot: Snapshot,
}

impl Recorded {
    pub(crate) fn chains(replay: &Replay) -> Chains {
        let source: Arc<dyn Source> = Arc::new(replay.witness.clone());
        let recorded = Self { snapshot: Snapshot { head: replay.head.clone(), source } };
        let chain: Arc<dyn Chain> = Arc::new(recorded);
        Chains::from([(replay.head.chain_id, chain)])
    }
}

impl Chain for Recorded {
    fn chain_id(&self) -> u64 {
        self.snapshot.head.chain_id
    }

    fn snapshot(&self, block: Option<u64>) -> Result<Snapshot, StateError> {
        match block {
            Some(number) if number != self.snapshot.head.number => {
                Err(StateError::Unavailable(format!("block {number} is not the recorded one")))
            }
            _ => Ok(self.snapshot.clone()),
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
            Ok(snapshot) => State::At(Box::new(Pinned::new(&snapshot))),
            Err(error) => State::Absent(reason(&error)),
        })
    }

    /// The approvals that history knows of an owner after a block, where there is a history of it.
    pub(crate) fn past_approvals(&self, chain_id: u64, owner: Address, block: u64) -> Option<Past> {
        if let Some(past) = self.past {
            return Some(past.clone());
        }
        let chain = self.chains.get(&chain_id)?;
        let index = chain.index()?;
        let from_block = *index.covered()?.start();
        let mut found = index.approvals(owner, Some(block), MAX_APPROVALS + 1)?;
        let is_cut = found.len() > MAX_APPROVALS;
        found.truncate(MAX_APPROVALS);
        let mut times = BTreeMap::new();
        let mut time = |block: u64| {
            let read = || chain.snapshot(Some(block)).ok().map(|snapshot| snapshot.head.timestamp);
            *times.entry(block).or_insert_with(read)
        };
        let approvals = found.iter().map(|approval| PastApproval::new(approval, time(approval.block))).collect();
        Some(Past { from_block, to_block: block, approvals, is_cut })
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
