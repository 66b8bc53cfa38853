//! Blocks: what a transaction left behind, and the real header over all of them.

use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, Eip658Value, EthereumTxEnvelope, Header, Receipt, ReceiptEnvelope, Transaction as _,
    TxEip4844, TxReceipt,
};
use alloy_eips::eip1559::BaseFeeParams;
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_eips::eip7840::BlobParams;
use alloy_primitives::{Address, B256, Bloom, Log, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;

use crate::{FrameKind, Outcome, Transaction};

/// A transaction whose sender is known. A blob transaction is kept without its blobs, as blocks keep it.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The transaction, of any type from 0 to 4.
    pub envelope: EthereumTxEnvelope<TxEip4844>,
    /// Recovered from the signature.
    pub sender: Address,
}

impl Signed {
    /// The transaction's hash.
    pub fn hash(&self) -> B256 {
        *self.envelope.tx_hash()
    }
}

impl From<&Transaction> for Signed {
    fn from(tx: &Transaction) -> Self {
        Self { envelope: tx.envelope().clone().into(), sender: tx.sender() }
    }
}

/// A transaction in a block, with what it did.
#[derive(Clone, Debug)]
pub struct Mined {
    /// The transaction.
    pub tx: Signed,
    /// Status, cumulative gas, bloom and logs: exactly what the receipts root commits to.
    pub receipt: ReceiptEnvelope<Log>,
    /// Gas this transaction alone paid for.
    pub gas_used: u64,
    /// What it paid for a unit of gas, in wei.
    pub gas_price: u128,
    /// Contracts that exist because of it, each with the account that ran the creating instruction.
    pub created: Vec<(Address, Address)>,
    /// The index of its first log in the block.
    pub first_log: u64,
}

/// A block of the chain.
#[derive(Clone, Debug)]
pub struct Block {
    /// The header, with all its roots computed.
    pub header: Header,
    /// The hash of the header.
    pub hash: B256,
    /// Its transactions in order.
    pub transactions: Vec<Mined>,
}

/// A log with its place in the chain.
#[derive(Clone, Debug)]
pub struct PlacedLog<'a> {
    /// What the contract emitted.
    pub log: &'a Log,
    /// The hash of the transaction that emitted it.
    pub tx_hash: B256,
    /// The transaction's index in the block.
    pub tx_index: u64,
    /// The log's index in the block.
    pub log_index: u64,
}

impl Block {
    /// All logs in order.
    pub fn logs(&self) -> impl Iterator<Item = PlacedLog<'_>> {
        self.transactions.iter().zip(0u64..).flat_map(|(mined, tx_index)| {
            let tx_hash = mined.tx.hash();
            let placed = move |(log, log_index)| PlacedLog { log, tx_hash, tx_index, log_index };
            mined.receipt.logs().iter().zip(mined.first_log..).map(placed)
        })
    }
}

/// The header of the block after `parent`, before anything ran in it.
pub(super) fn open(parent: &Block, timestamp: u64, coinbase: Address, gas_limit: u64) -> Header {
    let (parent, parent_hash) = (&parent.header, parent.hash);
    let number = parent.number + 1;
    let mut seed = parent_hash.to_vec();
    seed.extend_from_slice(&number.to_be_bytes());
    Header {
        parent_hash,
        number,
        timestamp,
        beneficiary: coinbase,
        gas_limit,
        // Unpredictable is not needed here, reproducible is.
        mix_hash: keccak256(seed),
        base_fee_per_gas: parent.next_block_base_fee(BaseFeeParams::ethereum()),
        excess_blob_gas: parent.next_block_excess_blob_gas(BlobParams::osaka()),
        ..empty()
    }
}

/// A header of the fork with nothing in it.
pub(super) fn empty() -> Header {
    Header {
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// Adds an executed transaction to those of the open block.
pub(super) fn include(header: &mut Header, transactions: &mut Vec<Mined>, tx: Signed, outcome: Outcome) {
    header.gas_used += outcome.gas_used;
    let blobs = header.blob_gas_used.get_or_insert(0);
    *blobs += tx.envelope.blob_gas_used().unwrap_or_default();
    let created = creations(&outcome);
    let first_log =
        transactions.last().map_or(0, |last| last.first_log + u64::try_from(last.receipt.logs().len()).unwrap_or(0));
    let receipt = Receipt {
        status: Eip658Value::Eip658(outcome.is_success()),
        cumulative_gas_used: header.gas_used,
        logs: outcome.logs,
    };
    transactions.push(Mined {
        receipt: ReceiptEnvelope::from_typed(tx.envelope.tx_type(), receipt),
        gas_used: outcome.gas_used,
        gas_price: tx.envelope.effective_gas_price(header.base_fee_per_gas),
        created,
        first_log,
        tx,
    });
}

/// The contracts whose creation holds, with their creators. A contract that destroyed itself at once is among them.
fn creations(outcome: &Outcome) -> Vec<(Address, Address)> {
    let created = outcome
        .trace
        .frames
        .iter()
        .filter(|frame| frame.kept && frame.ok && matches!(frame.kind, FrameKind::Create | FrameKind::Create2));
    created.map(|frame| (frame.to, frame.from)).collect()
}

/// Closes the block over the state's root.
pub(super) fn seal(mut header: Header, transactions: Vec<Mined>, state_root: B256) -> Block {
    let envelopes: Vec<_> = transactions.iter().map(|mined| &mined.tx.envelope).collect();
    let receipts: Vec<_> = transactions.iter().map(|mined| &mined.receipt).collect();
    header.state_root = state_root;
    header.transactions_root = calculate_transaction_root(&envelopes);
    header.receipts_root = calculate_receipt_root(&receipts);
    header.logs_bloom = receipts.iter().fold(Bloom::ZERO, |all, receipt| all | receipt.bloom());
    Block { hash: header.hash_slow(), header, transactions }
}
