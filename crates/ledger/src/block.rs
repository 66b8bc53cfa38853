//! One block: transactions in order, each whole or not at all.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::{Address, Amount, Hash32, codec, hash};

pub use crate::context::BlockMeta;
use crate::context::{Context, Writes};
use crate::error::{Error, Result};
use crate::genesis::{self, Genesis};
use crate::modules::params::{self, Params};
use crate::modules::{Event, bank, fees};
use crate::state::{Key, Rows};
use crate::transaction::{self, VerifiedTransaction};

/// What became of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Receipt {
    /// The transaction.
    pub hash: Hash32,
    /// Who signed it.
    pub signer: Address,
    /// Its nonce.
    pub nonce: u64,
    /// The action's number.
    pub action: u8,
    /// The fee that was paid.
    pub fee: Amount,
    /// The rejection, if the action failed; then nothing but the fee happened.
    pub failure: Option<Failure>,
    /// What happened, in order.
    pub events: Vec<Event>,
}

impl Receipt {
    /// What a block's header commits to. Of a rejection the code counts: its name and words may be put better one day.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        let code = self.failure.as_ref().map(|failure| failure.code);
        let parts = (self.hash, self.signer, self.nonce, self.action, self.fee, code, &self.events);
        hash::h("surety/receipt/v1", &[&codec::encode(&parts)])
    }
}

/// A rejection as it stands in a receipt.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Failure {
    /// The stable number.
    pub code: u16,
    /// The stable name.
    pub name: String,
    /// For people.
    pub message: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self { code: error.code(), name: error.name().to_owned(), message: error.to_string() }
    }
}

/// Why a transaction has no receipt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// These rows must be read first; then try again.
    Missing(Vec<Key>),
    /// It cannot stand in this block: a leader leaves it out, a verifier refuses the block.
    Rejected(Error),
}

/// What a block came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows written, in order of key.
    pub writes: Writes,
    /// A receipt for each transaction.
    pub receipts: Vec<Receipt>,
}

/// A block while it runs.
#[derive(Clone, Debug)]
pub struct BlockRun {
    meta: BlockMeta,
    params: Params,
    outcome: Outcome,
}

impl BlockRun {
    /// Opens a block and does what is due at its start: a bounded step, and that only when an epoch has ended.
    ///
    /// # Errors
    /// The rows that must be read first.
    pub fn begin(rows: &dyn Rows, meta: BlockMeta) -> std::result::Result<Self, Vec<Key>> {
        let (defaults, empty) = (Params::default(), Writes::new());
        let ctx = Context::new(rows, &empty, meta, &defaults, Address::ZERO);
        let params = params::current(&ctx);
        if ctx.is_incomplete() {
            return Err(ctx.missing());
        }
        let mut ctx = Context::new(rows, &empty, meta, &params, Address::ZERO);
        fees::begin_block(&mut ctx);
        if ctx.is_incomplete() {
            return Err(ctx.missing());
        }
        let (writes, _) = ctx.into_effects();
        Ok(Self { meta, params, outcome: Outcome { writes, receipts: Vec::new() } })
    }

    /// Block 1: writes what the chain specification says into an empty state.
    #[must_use]
    pub fn genesis(spec: &Genesis) -> Outcome {
        genesis::write(spec)
    }

    /// The parameters in force in this block.
    #[must_use]
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// Receipts so far.
    #[must_use]
    pub fn receipts(&self) -> &[Receipt] {
        &self.outcome.receipts
    }

    /// Runs the next transaction. After an error the block is as before.
    ///
    /// # Errors
    /// See [`ApplyError`].
    pub fn apply(&mut self, rows: &dyn Rows, transaction: &VerifiedTransaction) -> std::result::Result<(), ApplyError> {
        let mut ctx = self.admitted(rows, transaction)?;
        let executed = transaction.transaction().action.execute(&mut ctx);
        if ctx.is_incomplete() {
            return Err(ApplyError::Missing(ctx.missing()));
        }
        if executed.is_err() {
            // Nothing but the fee happened.
            ctx = self.admitted(rows, transaction)?;
        }
        let (writes, events) = ctx.into_effects();
        self.outcome.writes.extend(writes);
        self.outcome.receipts.push(receipt(transaction, executed.err(), events));
        Ok(())
    }

    /// The world in which the action runs: nonce and fee are taken.
    fn admitted<'a>(
        &'a self,
        rows: &'a dyn Rows,
        transaction: &VerifiedTransaction,
    ) -> std::result::Result<Context<'a>, ApplyError> {
        let mut ctx = Context::new(rows, &self.outcome.writes, self.meta, &self.params, transaction.signer());
        let admitted = admit(&mut ctx, transaction);
        if ctx.is_incomplete() {
            return Err(ApplyError::Missing(ctx.missing()));
        }
        admitted.map_err(ApplyError::Rejected)?;
        Ok(ctx)
    }

    /// Closes the block.
    #[must_use]
    pub fn finish(self) -> Outcome {
        self.outcome
    }
}

fn admit(ctx: &mut Context<'_>, verified: &VerifiedTransaction) -> Result<()> {
    let transaction = verified.transaction();
    let (expires, now) = (transaction.expires, ctx.now());
    ensure!(expires >= now, transaction::Error::Expired { expires, now });
    let (needed, offered) = (transaction.action.fee(ctx.params()), transaction.fee);
    ensure!(offered >= needed, transaction::Error::FeeShort { needed, offered });
    bank::use_nonce(ctx, &verified.signer(), transaction.nonce)?;
    fees::charge_transaction(ctx, &verified.signer(), offered)
}

fn receipt(transaction: &VerifiedTransaction, error: Option<Error>, events: Vec<Event>) -> Receipt {
    Receipt {
        hash: transaction.hash(),
        signer: transaction.signer(),
        nonce: transaction.transaction().nonce,
        action: transaction.transaction().action.tag(),
        fee: transaction.transaction().fee,
        failure: error.as_ref().map(Failure::from),
        events,
    }
}

/// Rows that a transaction will surely read: fetched together before the block runs.
#[must_use]
pub fn prefetch(transaction: &VerifiedTransaction) -> Vec<Key> {
    let mut keys = vec![bank::ACCOUNTS.key(&transaction.signer()), bank::TOTALS.key(&()), fees::FEES.key(&())];
    transaction.transaction().action.reads(transaction.signer(), &mut keys);
    keys
}
