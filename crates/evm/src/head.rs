//! The block that calls see, and the state that belongs to it.

use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use borsh::{BorshDeserialize, BorshSerialize};
use revm::context::BlockEnv;
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::primitives::{eip4844, hardfork::SpecId};
use serde::{Deserialize, Serialize};

use crate::Source;

/// The fork whose rules hold everywhere in this crate. It is a part of the engine: another fork gives other answers.
pub const SPEC: SpecId = SpecId::OSAKA;

/// The block whose environment calls see.
///
/// As in `eth_call`, calls run in this block's environment on the state after it.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Head {
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// The block's number.
    pub number: u64,
    /// The block's hash.
    pub hash: B256,
    /// The hash of the block before it.
    pub parent_hash: B256,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Gas that fits in the block.
    pub gas_limit: u64,
    /// Wei a gas, burnt (EIP-1559).
    pub base_fee: u64,
    /// Who receives the tips.
    pub coinbase: Address,
    /// The randomness of the beacon chain (EIP-4399).
    pub prevrandao: B256,
    /// Blob gas above the target so far, from which the blob price follows (EIP-4844).
    pub excess_blob_gas: u64,
}

impl Default for Head {
    /// Block 1 of a chain without history, at a round time in 2026.
    fn default() -> Self {
        Self {
            chain_id: 1,
            number: 1,
            hash: B256::ZERO,
            parent_hash: B256::ZERO,
            timestamp: 1_767_225_600,
            gas_limit: 60_000_000,
            base_fee: 1_000_000_000,
            coinbase: Address::ZERO,
            prevrandao: B256::ZERO,
            excess_blob_gas: 0,
        }
    }
}

impl Head {
    /// Moves on by some blocks of twelve seconds.
    pub fn advance_blocks(&mut self, blocks: u64) {
        self.number = self.number.saturating_add(blocks);
        self.timestamp = self.timestamp.saturating_add(blocks.saturating_mul(12));
    }

    /// Moves on by a time, and by the blocks of twelve seconds that fit into it (at least one).
    pub fn advance_seconds(&mut self, seconds: u64) {
        self.number = self.number.saturating_add((seconds / 12).max(1));
        self.timestamp = self.timestamp.saturating_add(seconds);
    }

    pub(crate) fn environment(&self) -> BlockEnv {
        BlockEnv {
            number: U256::from(self.number),
            beneficiary: self.coinbase,
            timestamp: U256::from(self.timestamp),
            gas_limit: self.gas_limit,
            basefee: self.base_fee,
            difficulty: U256::ZERO,
            prevrandao: Some(self.prevrandao),
            blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(
                self.excess_blob_gas,
                eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE,
            )),
            slot_num: 0,
        }
    }
}

/// State after a block, together with that block. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The block.
    pub head: Head,
    /// The state after it.
    pub source: Arc<dyn Source>,
}
