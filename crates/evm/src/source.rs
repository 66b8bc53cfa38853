//! Where state comes from: one trait for a world in memory, a recorded witness and a node behind RPC.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::Snapshot;
use crate::index::Index;

/// Why state could not be read. None of these says anything about the state itself: what cannot be read is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The source is a recording, or keeps a window of blocks, and this is not in it.
    #[error("{what} is not in the recorded state")]
    Absent {
        /// What was asked for, for people.
        what: String,
    },
    /// The node could not be reached, refused, or answered what cannot be read.
    #[error("state is unavailable: {0}")]
    Unavailable(String),
    /// The time allowed for reading was used up.
    #[error("the deadline passed while state was read")]
    Deadline,
    /// The node's answer contradicts the state root or the hash it must match.
    #[error("state contradicts its proof: {0}")]
    Proof(String),
}

impl revm::database_interface::DBErrorMarker for StateError {}

/// The header of an account, without its code and storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Account {
    /// Transactions sent, or contracts created.
    pub nonce: u64,
    /// In wei.
    pub balance: U256,
    /// Keccak-256 of the code; of nothing when there is none.
    pub code_hash: B256,
}

impl Default for Account {
    fn default() -> Self {
        Self { nonce: 0, balance: U256::ZERO, code_hash: KECCAK256_EMPTY }
    }
}

impl Account {
    /// Whether the account is empty in the sense of EIP-161, and so not in the state.
    pub fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && !self.has_code()
    }

    /// Whether there is code.
    pub fn has_code(&self) -> bool {
        self.code_hash != KECCAK256_EMPTY
    }
}

/// State after one block. Every read of one source sees the same block.
///
/// # Errors
/// Each method fails with a [`StateError`] when the answer is not known; it never substitutes an empty answer.
pub trait Source: Send + Sync + std::fmt::Debug {
    /// The account at an address, `None` when there is none.
    fn account(&self, address: Address) -> Result<Option<Account>, StateError>;

    /// The code with this hash, which stands at this address.
    fn code(&self, address: Address, code_hash: B256) -> Result<Bytes, StateError>;

    /// A storage slot; zero when it was never written.
    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError>;

    /// The hash of an earlier block.
    fn block_hash(&self, number: u64) -> Result<B256, StateError>;

    /// Says what is likely to be read next, so that a source far away can fetch it in one go. Errors show at the read itself.
    fn prefetch(&self, _wanted: &[(Address, Vec<U256>)]) {}
}

/// A chain that can be looked at after any block it still knows.
pub trait Chain: Send + Sync {
    /// The EIP-155 chain id.
    fn chain_id(&self) -> u64;

    /// The state after a block, the newest one when none is named.
    ///
    /// # Errors
    /// [`StateError::Absent`] for a block that is not known (any more), others as the source has them.
    fn snapshot(&self, block: Option<u64>) -> Result<Snapshot, StateError>;

    /// Who holds, approved and created what, where that was replayed. Without it nothing is known of history.
    fn index(&self) -> Option<Arc<Index>> {
        None
    }
}
