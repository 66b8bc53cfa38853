//! Who holds, approved and created what, block by block, replayed from logs and creations.
//!
//! Invariant: an answer for a block depends only on the blocks up to it, so that it stays the same as the chain grows.
//! Never here: state. What a log claims may be false, and an allowance is spent without a log; whoever acts on an answer reads
//! the state at the block.

mod backfill;
mod events;
mod history;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{PoisonError, RwLock};

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, Log, U256};

pub use backfill::{BackfillError, Span, backfill};
pub use events::{APPROVAL, APPROVAL_FOR_ALL, PERMIT2_APPROVAL, PERMIT2_LOCKDOWN, PERMIT2_PERMIT, TRANSFER};

use crate::chain::{Block, Mined};
use events::Event;
use history::History;

/// How many changes are kept, of all kinds together. An index that is full stops at its last whole block.
const CAPACITY: usize = 8_000_000;

/// One holder of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who holds.
    pub address: Address,
    /// How much, in the token's smallest unit; for ERC-721 how many items.
    pub balance: U256,
}

/// The holders of a token after a block, as its transfers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holders {
    /// How many addresses hold anything. The zero address is not counted.
    pub count: usize,
    /// The sum of what they hold.
    pub total: U256,
    /// The largest, by balance and then address; at most as many as were asked for.
    pub top: Vec<Holder>,
    /// Whether someone sent more than the index had seen them receive: balances then moved without logs.
    pub inconsistent: bool,
}

/// What a spender may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Spend up to an amount of an ERC-20 token; with Permit2 until a time in seconds since 1970.
    Amount {
        /// The amount set, in the token's smallest unit. Spending lowers it without a log.
        amount: U256,
        /// Until when, for Permit2 only.
        expiration: Option<u64>,
    },
    /// Move one ERC-721 item.
    Item {
        /// The item's id.
        item: U256,
    },
    /// Move everything of an ERC-721 or ERC-1155 collection.
    All {
        /// Whether it was allowed or taken back.
        allowed: bool,
    },
}

/// A right that an owner gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The token.
    pub token: Address,
    /// Who may spend. The zero address where an item's approval was cleared.
    pub spender: Address,
    /// The contract that keeps the allowance when it is not the token: Permit2.
    pub via: Option<Address>,
    /// What the spender may do.
    pub right: Right,
}

/// A grant and when it was last set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The grant.
    pub grant: Grant,
    /// The block that set it last.
    pub block: u64,
    /// The transaction that set it last; zero for what the genesis brought.
    pub tx: B256,
}

/// How a contract came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The account that ran the creating instruction; the sender when it was the transaction itself.
    pub creator: Address,
    /// The sender of the transaction.
    pub origin: Address,
    /// The block.
    pub block: u64,
    /// The transaction; zero for what the genesis brought.
    pub tx: B256,
}

/// The index of one chain. It grows block by block and may be asked from any thread.
#[derive(Debug)]
pub struct Index {
    first: u64,
    /// Whether whole blocks are seen, and not their logs alone.
    whole: bool,
    records: RwLock<Records>,
}

/// One grant's place: token, spender, Permit2 or not, and for single items which.
type GrantKey = (Address, Address, Option<Address>, Option<U256>);

#[derive(Debug, Default)]
struct Records {
    /// The block after the last one indexed.
    next: u64,
    changes: usize,
    full: bool,
    balances: BTreeMap<Address, BTreeMap<Address, History<U256>>>,
    inconsistent: BTreeMap<Address, u64>,
    /// owner → grants. An approved item is one place whoever the spender is.
    approvals: BTreeMap<Address, BTreeMap<GrantKey, History<(Grant, B256)>>>,
    creations: BTreeMap<Address, Vec<Creation>>,
    /// sender → whom its own transactions paid, with the first block that did.
    paid: BTreeMap<Address, BTreeMap<Address, u64>>,
}

impl Index {
    /// An empty index whose first block will be this one.
    pub fn new(first: u64) -> Self {
        Self { first, whole: true, records: RwLock::new(Records { next: first, ..Records::default() }) }
    }

    /// The same for one that is told logs alone: it knows neither senders nor creations.
    fn of_logs(first: u64) -> Self {
        Self { whole: false, ..Self::new(first) }
    }

    /// The blocks it has seen, or nothing when it has seen none.
    pub fn covered(&self) -> Option<RangeInclusive<u64>> {
        let next = self.read().next;
        (next > self.first).then(|| self.first..=next - 1)
    }

    /// The holders of a token after a block, the newest when none is named.
    ///
    /// Nothing when the block is not covered, or the index knows no transfer of the token up to it.
    pub fn holders(&self, token: Address, block: Option<u64>, limit: usize) -> Option<Holders> {
        let records = self.read();
        let block = records.resolve(self.first, block)?;
        let mut all: Vec<Holder> = records
            .balances
            .get(&token)?
            .iter()
            .filter_map(|(address, history)| Some(Holder { address: *address, balance: *history.at(block)? }))
            .collect();
        if all.is_empty() {
            return None;
        }
        all.retain(|holder| !holder.balance.is_zero() && !holder.address.is_zero());
        all.sort_unstable_by(|a, b| b.balance.cmp(&a.balance).then(a.address.cmp(&b.address)));
        Some(Holders {
            count: all.len(),
            total: all.iter().fold(U256::ZERO, |sum, holder| sum.saturating_add(holder.balance)),
            inconsistent: records.inconsistent.get(&token).is_some_and(|since| *since <= block),
            top: all.into_iter().take(limit).collect(),
        })
    }

    /// The rights that an owner has given and not taken back by a log, after a block; at most `limit`, in order of token and
    /// spender. Nothing when the block is not covered.
    pub fn approvals(&self, owner: Address, block: Option<u64>, limit: usize) -> Option<Vec<Approval>> {
        let records = self.read();
        let block = records.resolve(self.first, block)?;
        let histories = records.approvals.get(&owner).into_iter().flatten();
        let standing = histories.filter_map(|(_, history)| {
            let (since, (grant, tx)) = history.entry_at(block)?;
            grant.stands().then_some(Approval { grant: *grant, block: since, tx: *tx })
        });
        Some(standing.take(limit).collect())
    }

    /// How a contract came to be, last if more than once, up to a block. Nothing when the index has not seen it.
    pub fn creation(&self, contract: Address, block: Option<u64>) -> Option<Creation> {
        let records = self.read();
        let block = records.resolve(self.first, block)?;
        records.creations.get(&contract)?.iter().rev().find(|creation| creation.block <= block).copied()
    }

    /// Every time that a contract came to be up to a block, oldest first; at most `limit`. Nothing when the block is not
    /// covered or creations are not known.
    pub fn creations(&self, contract: Address, block: Option<u64>, limit: usize) -> Option<Vec<Creation>> {
        let records = self.read();
        let block = records.resolve(self.first, block).filter(|_| self.whole)?;
        let all = records.creations.get(&contract).into_iter().flatten();
        Some(all.filter(|creation| creation.block <= block).take(limit).copied().collect())
    }

    /// The contracts that an account created itself or as the sender, up to a block; at most `limit`, in order of address.
    /// Nothing when the block is not covered.
    pub fn created_by(&self, account: Address, block: Option<u64>, limit: usize) -> Option<Vec<(Address, Creation)>> {
        let records = self.read();
        let block = records.resolve(self.first, block)?;
        let all = records
            .creations
            .iter()
            .flat_map(|(contract, creations)| creations.iter().map(|creation| (*contract, *creation)));
        let own = all.filter(|(_, creation)| {
            creation.block <= block && (creation.creator == account || creation.origin == account)
        });
        Some(own.take(limit).collect())
    }

    /// Whom an account paid by its own transactions up to a block, in coins or tokens; at most `limit`, in order of address.
    /// What others sent in its name is left out, for that is how look-alikes get into a history. Nothing when the block is
    /// not covered or senders are not known.
    pub fn paid_by(&self, account: Address, block: Option<u64>, limit: usize) -> Option<Vec<Address>> {
        let records = self.read();
        let block = records.resolve(self.first, block).filter(|_| self.whole)?;
        let paid = records.paid.get(&account).into_iter().flatten();
        Some(paid.filter(|(_, since)| **since <= block).map(|(other, _)| *other).take(limit).collect())
    }

    /// Adds the next block. A block out of turn is left out, for its gap would never close.
    pub fn add(&self, block: &Block) {
        let logs = block.logs().map(|placed| (placed.tx_hash, placed.log));
        let creations = block.transactions.iter().flat_map(|mined| {
            let (origin, tx) = (mined.tx.sender, mined.tx.hash());
            mined.created.iter().map(move |(contract, creator)| (*contract, *creator, origin, tx))
        });
        let payments = block.transactions.iter().flat_map(payments);
        self.add_parts(block.header.number, logs, creations, payments);
    }

    /// Adds what the state of the first block already held, from the logs and creations that led to it.
    pub fn add_genesis(&self, logs: &[Log], creations: &[(Address, Address)]) {
        let logs = logs.iter().map(|log| (B256::ZERO, log));
        let creations = creations.iter().map(|(contract, creator)| (*contract, *creator, *creator, B256::ZERO));
        self.add_parts(self.first, logs, creations, std::iter::empty());
    }

    /// Adds the next block by its logs, creations `(contract, creator, sender, transaction)` and payments
    /// `(sender, recipient)`.
    pub(crate) fn add_parts<'a>(
        &self,
        block: u64,
        logs: impl Iterator<Item = (B256, &'a Log)>,
        creations: impl Iterator<Item = (Address, Address, Address, B256)>,
        payments: impl Iterator<Item = (Address, Address)>,
    ) {
        let mut records = self.records.write().unwrap_or_else(PoisonError::into_inner);
        if block != records.next || records.full {
            return;
        }
        for (contract, creator, origin, tx) in creations {
            records.changes += 1;
            records.creations.entry(contract).or_default().push(Creation { creator, origin, block, tx });
        }
        for (sender, recipient) in payments {
            records.changes += 1;
            records.paid.entry(sender).or_default().entry(recipient).or_insert(block);
        }
        for (tx, log) in logs {
            if let Some(event) = events::read(log) {
                records.note(block, tx, event);
            }
        }
        records.next = block + 1;
        records.full = records.changes >= CAPACITY;
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Records> {
        self.records.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom a transaction's sender paid: with its value, and by transfers out of its own account. A log is a claim of any
/// contract, but nobody else's transaction can make it.
fn payments(mined: &Mined) -> impl Iterator<Item = (Address, Address)> + '_ {
    let sender = mined.tx.sender;
    let plain = mined.tx.envelope.to().filter(|_| !mined.tx.envelope.value().is_zero() && mined.receipt.status());
    let logged = mined.receipt.logs().iter().filter_map(events::read).filter_map(move |event| match event {
        Event::Moved { from, to, amount, .. } if from == sender && !amount.is_zero() => Some(to),
        Event::MovedItem { from, to, .. } if from == sender => Some(to),
        _ => None,
    });
    plain.into_iter().chain(logged).map(move |to| (sender, to))
}

impl Records {
    /// The block asked for, the last one when none was, if it is covered.
    fn resolve(&self, first: u64, block: Option<u64>) -> Option<u64> {
        let last = self.next.checked_sub(1)?;
        let block = block.unwrap_or(last);
        (first..=last).contains(&block).then_some(block)
    }

    fn note(&mut self, block: u64, tx: B256, event: Event) {
        match event {
            Event::Moved { token, from, to, amount } => self.move_amount(block, token, from, to, amount),
            Event::MovedItem { token, from, to, item } => {
                self.move_amount(block, token, from, to, U256::ONE);
                self.clear_item(block, tx, from, token, item);
            }
            Event::Approved { owner, grant } => self.approve(block, tx, owner, grant),
        }
    }

    fn move_amount(&mut self, block: u64, token: Address, from: Address, to: Address, amount: U256) {
        self.changes += 2;
        let holders = self.balances.entry(token).or_default();
        // Mints come from and burns go to the zero address, whose balance is not kept.
        if !from.is_zero() {
            let history = holders.entry(from).or_default();
            let held = history.last().copied().unwrap_or_default();
            if held < amount {
                self.inconsistent.entry(token).or_insert(block);
            }
            history.set(block, held.saturating_sub(amount));
        }
        if !to.is_zero() {
            let history = holders.entry(to).or_default();
            let held = history.last().copied().unwrap_or_default();
            history.set(block, held.saturating_add(amount));
        }
    }

    fn approve(&mut self, block: u64, tx: B256, owner: Address, grant: Grant) {
        self.changes += 1;
        self.approvals.entry(owner).or_default().entry(grant.key()).or_default().set(block, (grant, tx));
    }

    /// An item that moves loses its approval, by ERC-721 without a log.
    fn clear_item(&mut self, block: u64, tx: B256, owner: Address, token: Address, item: U256) {
        let cleared = Grant { token, spender: Address::ZERO, via: None, right: Right::Item { item } };
        let history = self.approvals.get_mut(&owner).and_then(|grants| grants.get_mut(&cleared.key()));
        if let Some(history) = history {
            self.changes += 1;
            history.set(block, (cleared, tx));
        }
    }
}

impl Grant {
    fn key(&self) -> GrantKey {
        match self.right {
            Right::Item { item } => (self.token, Address::ZERO, self.via, Some(item)),
            Right::Amount { .. } => (self.token, self.spender, self.via, None),
            // A collection may have both kinds; a place of its own keeps them apart.
            Right::All { .. } => (self.token, self.spender, Some(Address::ZERO), None),
        }
    }

    fn stands(&self) -> bool {
        match self.right {
            Right::Amount { amount, .. } => !amount.is_zero(),
            Right::Item { .. } => !self.spender.is_zero(),
            Right::All { allowed } => allowed,
        }
    }
}
