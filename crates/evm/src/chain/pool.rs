//! Transactions that wait for a block: checked as they enter, taken in the order of nonce and tip.
//!
//! Invariant: a sender's waiting transactions have distinct nonces, all at or above the account's.

use std::collections::{BTreeMap, HashMap};

use alloy_consensus::Transaction as _;
use alloy_primitives::{Address, B256, U256};
use revm::bytecode::eip7702::EIP7702_MAGIC_BYTES;
use revm::context_interface::cfg::gas::calculate_initial_tx_gas_for_tx;
use revm::primitives::eip3860::MAX_INITCODE_SIZE as MAX_INIT_CODE;

use crate::{MAX_BLOBS, SPEC, Transaction, TransactionError, World};

/// How many transactions wait at most, and how many of one sender.
const CAPACITY: usize = 4096;
const PER_SENDER: usize = 64;

/// The most gas a transaction may ask for since Osaka (EIP-7825).
pub const MAX_TX_GAS: u64 = revm::primitives::eip7825::TX_GAS_LIMIT_CAP;

/// Why a transaction was not accepted. The words are those of geth, which wallets look for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are no transaction, or its signature or blobs are not valid.
    #[error(transparent)]
    Invalid(#[from] TransactionError),
    /// It was signed for another chain.
    #[error("invalid chain id for signer: have {have} want {want}")]
    WrongChain {
        /// The chain it was signed for.
        have: u64,
        /// This chain.
        want: u64,
    },
    /// The same transaction waits or is in a block.
    #[error("already known")]
    Known,
    /// The nonce was used.
    #[error("nonce too low: next nonce {next}, tx nonce {nonce}")]
    NonceTooLow {
        /// The account's next nonce.
        next: u64,
        /// The transaction's.
        nonce: u64,
    },
    /// The nonce can never be used.
    #[error("nonce has max value")]
    NonceMax,
    /// The sender cannot pay for it.
    #[error("insufficient funds for gas * price + value: balance {balance}, tx cost {cost}, overshot {}", .cost.saturating_sub(*.balance))]
    Funds {
        /// What the sender has, in wei.
        balance: U256,
        /// What it could cost at most, in wei; the largest number when it is beyond any amount.
        cost: U256,
    },
    /// It asks for less gas than it uses before it runs.
    #[error("intrinsic gas too low: gas {have}, minimum needed {want}")]
    IntrinsicGas {
        /// Its gas limit.
        have: u64,
        /// What it needs.
        want: u64,
    },
    /// It does not fit in a block.
    #[error("exceeds block gas limit")]
    BlockGas,
    /// It asks for more than one transaction may (EIP-7825).
    #[error("transaction gas limit too high (cap: {MAX_TX_GAS}, tx: {0})")]
    TxGas(u64),
    /// The tip is above the whole fee.
    #[error("max priority fee per gas higher than max fee per gas")]
    TipAboveFee,
    /// Another with this nonce waits and offers as much or nearly.
    #[error("replacement transaction underpriced")]
    Underpriced,
    /// Too many wait.
    #[error("txpool is full")]
    Full,
    /// It can be in no block, by another rule of the fork.
    #[error("{0}")]
    Rule(String),
}

/// A transaction that waits.
#[derive(Clone, Debug)]
struct Waiting {
    tx: Transaction,
    arrival: u64,
}

/// The transactions that wait.
#[derive(Debug, Default)]
pub(super) struct Pool {
    by_sender: BTreeMap<Address, BTreeMap<u64, Waiting>>,
    known: HashMap<B256, (Address, u64)>,
    arrivals: u64,
}

impl Pool {
    /// Lets a transaction wait, in the place of one with the same nonce when it pays a tenth more.
    pub(super) fn add(&mut self, tx: Transaction) -> Result<(), Refusal> {
        let (sender, nonce, hash) = (tx.sender(), tx.envelope().nonce(), tx.hash());
        if self.known.contains_key(&hash) {
            return Err(Refusal::Known);
        }
        let full = self.known.len() >= CAPACITY;
        let of_sender = self.by_sender.entry(sender).or_default();
        match of_sender.get(&nonce) {
            Some(before) if !outbids(&tx, &before.tx) => return Err(Refusal::Underpriced),
            Some(before) => {
                self.known.remove(&before.tx.hash());
            }
            None if full || of_sender.len() >= PER_SENDER => {
                if of_sender.is_empty() {
                    self.by_sender.remove(&sender);
                }
                return Err(Refusal::Full);
            }
            None => {}
        }
        self.arrivals += 1;
        of_sender.insert(nonce, Waiting { tx, arrival: self.arrivals });
        self.known.insert(hash, (sender, nonce));
        Ok(())
    }

    /// The waiting transaction with this hash.
    pub(super) fn get(&self, hash: &B256) -> Option<&Transaction> {
        let (sender, nonce) = self.known.get(hash)?;
        self.by_sender.get(sender)?.get(nonce).map(|waiting| &waiting.tx)
    }

    /// The next one for a block: of those whose nonce is next, the one with the highest tip, then the earliest.
    pub(super) fn best(
        &self,
        nonce: impl Fn(Address) -> u64,
        base_fee: u64,
        skipped: &[Address],
    ) -> Option<&Transaction> {
        let ready = self.by_sender.iter().filter_map(|(sender, waiting)| {
            let next = waiting.get(&nonce(*sender))?;
            let tip = next.tx.envelope().effective_tip_per_gas(base_fee)?;
            (!skipped.contains(sender)).then_some((tip, u64::MAX - next.arrival, &next.tx))
        });
        ready.max_by_key(|(tip, earliness, _)| (*tip, *earliness)).map(|(_, _, tx)| tx)
    }

    /// Forgets one transaction.
    pub(super) fn remove(&mut self, sender: Address, nonce: u64) {
        if let Some(waiting) = self.by_sender.get_mut(&sender) {
            if let Some(gone) = waiting.remove(&nonce) {
                self.known.remove(&gone.tx.hash());
            }
            if waiting.is_empty() {
                self.by_sender.remove(&sender);
            }
        }
    }

    /// Forgets what can be in no block any more, because its nonce is used.
    pub(super) fn prune(&mut self, next: impl Fn(Address) -> u64) {
        let used: Vec<_> = self
            .by_sender
            .iter()
            .flat_map(|(sender, waiting)| waiting.range(..next(*sender)).map(|(nonce, _)| (*sender, *nonce)))
            .collect();
        for (sender, nonce) in used {
            self.remove(sender, nonce);
        }
    }

    /// The nonce after the sender's waiting transactions that follow `next` without a gap.
    pub(super) fn next_nonce(&self, sender: Address, mut next: u64) -> u64 {
        while self.by_sender.get(&sender).is_some_and(|waiting| waiting.contains_key(&next)) {
            next += 1;
        }
        next
    }

    /// All that wait, by sender and nonce.
    pub(super) fn all(&self) -> impl Iterator<Item = &Transaction> {
        self.by_sender.values().flat_map(|waiting| waiting.values().map(|waiting| &waiting.tx))
    }
}

/// Both the fee and the tip must be at least a tenth higher.
fn outbids(new: &Transaction, old: &Transaction) -> bool {
    let higher = |new: u128, old: u128| new >= old.saturating_add(old / 10).max(old.saturating_add(1));
    higher(new.envelope().max_fee_per_gas(), old.envelope().max_fee_per_gas())
        && higher(new.envelope().priority_fee_or_price(), old.envelope().priority_fee_or_price())
}

/// Checks a transaction against the newest state, as geth does before it lets one wait.
pub(super) fn admit(tx: &Transaction, world: &World, chain_id: u64, block_gas: u64) -> Result<(), Refusal> {
    let envelope = tx.envelope();
    if let Some(have) = envelope.chain_id()
        && have != chain_id
    {
        return Err(Refusal::WrongChain { have, want: chain_id });
    }
    if envelope.gas_limit() > block_gas {
        return Err(Refusal::BlockGas);
    }
    if envelope.gas_limit() > MAX_TX_GAS {
        return Err(Refusal::TxGas(envelope.gas_limit()));
    }
    if envelope.max_priority_fee_per_gas().is_some_and(|tip| tip > envelope.max_fee_per_gas()) {
        return Err(Refusal::TipAboveFee);
    }
    check_shape(tx, world)?;
    check_account(tx, world)?;
    check_intrinsic(tx)
}

fn check_account(tx: &Transaction, world: &World) -> Result<(), Refusal> {
    let account = world.get(tx.sender()).map(|account| account.header()).unwrap_or_default();
    let (nonce, next) = (tx.envelope().nonce(), account.nonce);
    if nonce == u64::MAX {
        return Err(Refusal::NonceMax);
    }
    if nonce < next {
        return Err(Refusal::NonceTooLow { next, nonce });
    }
    let (balance, cost) = (account.balance, highest_cost(tx));
    if balance < cost {
        return Err(Refusal::Funds { balance, cost });
    }
    Ok(())
}

/// Gas at the highest price, blobs and value: what the sender must have, in wei.
fn highest_cost(tx: &Transaction) -> U256 {
    let envelope = tx.envelope();
    let gas = U256::from(envelope.gas_limit()).saturating_mul(U256::from(envelope.max_fee_per_gas()));
    let blobs = U256::from(envelope.blob_gas_used().unwrap_or_default())
        .saturating_mul(U256::from(envelope.max_fee_per_blob_gas().unwrap_or_default()));
    gas.saturating_add(blobs).saturating_add(envelope.value())
}

fn check_intrinsic(tx: &Transaction) -> Result<(), Refusal> {
    let needed = calculate_initial_tx_gas_for_tx(tx.environment(), SPEC, None);
    let want = needed.initial_regular_gas.saturating_add(needed.initial_state_gas).max(needed.floor_gas);
    let have = tx.envelope().gas_limit();
    if have < want { Err(Refusal::IntrinsicGas { have, want }) } else { Ok(()) }
}

/// What no block may contain whatever the state's nonces and balances are.
fn check_shape(tx: &Transaction, world: &World) -> Result<(), Refusal> {
    let refuse = |rule: &str| Err(Refusal::Rule(rule.into()));
    if tx.envelope().is_create() && tx.envelope().input().len() > MAX_INIT_CODE {
        return refuse("max initcode size exceeded");
    }
    if tx.envelope().blob_count().is_some_and(|blobs| blobs == 0 || blobs > MAX_BLOBS) {
        return refuse("blob count is not within 1 and 6");
    }
    if tx.envelope().authorization_list().is_some_and(|list| list.is_empty()) {
        return refuse("set code tx must have at least one authorization tuple");
    }
    if world
        .get(tx.sender())
        .is_some_and(|account| !account.code().is_empty() && !account.code().starts_with(EIP7702_MAGIC_BYTES))
    {
        return refuse("sender not an eoa");
    }
    Ok(())
}
