//! What the record of blocks says, asked up to one block and recorded as it is asked.
//!
//! Always true: what a [`Past`] does not hold is unknown to whoever computes an answer again, never "none".

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::Address;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::Serialize;
use surety_evm::Chain;
use surety_evm::index::{Approval, Creation, Grant, Index, Right};
use surety_primitives::hash::h;
use surety_primitives::{Hash32, codec};

use crate::token::{History as TokenHistory, Params};

/// Most approvals of one owner.
const MAX_APPROVALS: usize = 256;
/// Most accounts that one account is known to have paid.
const MAX_PAID: usize = 4_096;
/// Most times that one contract was made; the second tells all.
const MAX_LIVES: usize = 4;

/// What history said, as far as one question asked. Each answer is absent where history could not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Past {
    /// First block that was replayed.
    pub from_block: u64,
    /// Last block that was replayed: the one that the answer is about.
    pub to_block: u64,
    /// By owner, what it approved and no log took back.
    pub approvals: BTreeMap<[u8; 20], Option<Given>>,
    /// By contract, the block that made it.
    pub created: BTreeMap<[u8; 20], Option<u64>>,
    /// By contract, every time that it was made.
    pub lives: BTreeMap<[u8; 20], Option<Vec<Life>>>,
    /// By account, whom it paid by its own transactions.
    pub paid: BTreeMap<[u8; 20], Option<Vec<[u8; 20]>>>,
    /// By token, who made it and who has it.
    pub tokens: BTreeMap<[u8; 20], Option<TokenHistory>>,
}

/// The approvals of one owner.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Given {
    /// In order of token and spender.
    pub list: Vec<PastApproval>,
    /// Whether there are more than are asked about in one answer.
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

/// How a contract was made, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, BorshSerialize, BorshDeserialize)]
pub struct Life {
    /// The account whose code made it; the sender where the transaction itself did.
    pub creator: [u8; 20],
    /// The sender of the transaction.
    pub origin: [u8; 20],
    /// The block.
    pub block: u64,
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

impl Given {
    /// Commits to it.
    pub fn root(&self) -> Hash32 {
        h("surety/security/given/v1", &[&codec::encode(self)])
    }
}

/// The history of a chain up to one block, or a record of it.
pub struct History {
    /// Nothing where only the record is left.
    told: Option<Told>,
    past: Mutex<Past>,
}

struct Told {
    chain: Arc<dyn Chain>,
    index: Arc<Index>,
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History").field("past", &self.past).finish_non_exhaustive()
    }
}

impl History {
    /// What a chain tells up to a block; nothing where it keeps no history, or none of that block.
    pub fn of(chain: &Arc<dyn Chain>, block: u64) -> Option<Self> {
        let index = chain.index()?;
        let covered = index.covered().filter(|covered| covered.contains(&block))?;
        let past = Past { from_block: *covered.start(), to_block: block, ..Past::default() };
        let told = Told { chain: Arc::clone(chain), index };
        Some(Self { told: Some(told), past: Mutex::new(past) })
    }

    /// What was recorded, and nothing else.
    pub const fn recorded(past: Past) -> Self {
        Self { told: None, past: Mutex::new(past) }
    }

    /// Everything that was asked so far.
    pub fn past(&self) -> Past {
        self.lock().clone()
    }

    /// What an owner approved and no log took back.
    pub fn approvals(&self, owner: Address) -> Option<Given> {
        self.ask(owner, |past| &mut past.approvals, Told::approvals)
    }

    /// The block that made a contract.
    pub fn created(&self, contract: Address) -> Option<u64> {
        let creation = |told: &Told, contract, block| Some(told.index.creation(contract, Some(block))?.block);
        self.ask(contract, |past| &mut past.created, creation)
    }

    /// Every time that a contract was made, oldest first.
    pub fn lives(&self, contract: Address) -> Option<Vec<Life>> {
        let lives = |told: &Told, contract, block| {
            let made = told.index.creations(contract, Some(block), MAX_LIVES)?;
            let life = |made: &Creation| Life { creator: made.creator.0.0, origin: made.origin.0.0, block: made.block };
            Some(made.iter().map(life).collect())
        };
        self.ask(contract, |past| &mut past.lives, lives)
    }

    /// The blocks that it is about: the first and the last.
    pub fn span(&self) -> (u64, u64) {
        let past = self.lock();
        (past.from_block, past.to_block)
    }

    /// Whom an account paid by its own transactions. Of more than are kept nothing is said: one left out could be the one
    /// that matters.
    pub fn paid(&self, account: Address) -> Option<Vec<[u8; 20]>> {
        let paid = |told: &Told, account, block| {
            let paid = told.index.paid_by(account, Some(block), MAX_PAID + 1)?;
            (paid.len() <= MAX_PAID).then(|| paid.into_iter().map(|other| other.0.0).collect())
        };
        self.ask(account, |past| &mut past.paid, paid)
    }

    /// Who made a token, and who has it.
    pub fn token(&self, token: Address) -> Option<TokenHistory> {
        let told = |told: &Told, token, block| {
            let snapshot = told.chain.snapshot(Some(block)).ok()?;
            TokenHistory::of(&told.index, &snapshot, token, &Params::default()).ok()
        };
        self.ask(token, |past| &mut past.tokens, told)
    }

    /// The recorded answer, or the chain's, which is then recorded.
    fn ask<T: Clone>(
        &self,
        about: Address,
        answers: impl Fn(&mut Past) -> &mut BTreeMap<[u8; 20], Option<T>>,
        tell: impl FnOnce(&Told, Address, u64) -> Option<T>,
    ) -> Option<T> {
        let mut past = self.lock();
        let block = past.to_block;
        let told = self.told.as_ref();
        let known = answers(&mut past);
        match (known.get(&about.0.0), told) {
            (Some(answer), _) => answer.clone(),
            (None, Some(told)) => known.entry(about.0.0).or_insert(tell(told, about, block)).clone(),
            (None, None) => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Past> {
        // Each answer is inserted whole.
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this history says otherwise than a record that covers the same blocks, for people; nothing where it says the
    /// same. Times of blocks that are no longer kept here are not compared.
    pub fn difference(&self, past: &Past) -> Option<String> {
        let of = |kind: &str, who: &[u8; 20]| {
            format!("{kind} of {} are not known to be so", const_hex::encode_prefixed(who))
        };
        let approvals = past.approvals.iter().find(|(owner, given)| {
            let ours = self.approvals(Address::from(*owner));
            ours.is_some() != given.is_some()
                || ours.zip(given.as_ref()).is_some_and(|(ours, given)| !same(&ours, given))
        });
        let created = past.created.iter().find(|(contract, block)| self.created(Address::from(*contract)) != **block);
        let lives = past.lives.iter().find(|(contract, lives)| self.lives(Address::from(**contract)) != **lives);
        let paid = past.paid.iter().find(|(account, paid)| self.paid(Address::from(*account)) != **paid);
        let tokens = past.tokens.iter().find(|(token, known)| self.token(Address::from(*token)) != **known);
        approvals
            .map(|(owner, _)| of("approvals", owner))
            .or_else(|| created.map(|(contract, _)| of("creations", contract)))
            .or_else(|| lives.map(|(contract, _)| of("creations", contract)))
            .or_else(|| paid.map(|(account, _)| of("payments", account)))
            .or_else(|| tokens.map(|(token, _)| of("makers and holders", token)))
    }
}

impl Told {
    fn approvals(&self, owner: Address, block: u64) -> Option<Given> {
        let mut found = self.index.approvals(owner, Some(block), MAX_APPROVALS + 1)?;
        let is_cut = found.len() > MAX_APPROVALS;
        found.truncate(MAX_APPROVALS);
        let mut times = BTreeMap::new();
        let mut time = |block: u64| {
            let read = || self.chain.snapshot(Some(block)).ok().map(|snapshot| snapshot.head.timestamp);
            *times.entry(block).or_insert_with(read)
        };
        Some(Given { list: found.iter().map(|one| PastApproval::new(one, time(one.block))).collect(), is_cut })
    }
}

/// Whether the approvals are the same, where their times are known here.
fn same(ours: &Given, said: &Given) -> bool {
    let timed = |ours: &PastApproval, said: &PastApproval| {
        let last = Moment { time: ours.last.time.or(said.last.time), ..ours.last.clone() };
        PastApproval { last, ..ours.clone() } == *said
    };
    ours.is_cut == said.is_cut
        && ours.list.len() == said.list.len()
        && ours.list.iter().zip(&said.list).all(|(ours, said)| timed(ours, said))
}
