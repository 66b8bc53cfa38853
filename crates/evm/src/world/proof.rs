//! Proofs of what a world holds, as `eth_getProof` gives them (EIP-1186).

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::proof::ProofRetainer;
use alloy_trie::{HashBuilder, Nibbles};
use serde::{Deserialize, Serialize};

use super::{Leaf, World, WorldAccount, trie};

/// An account with the nodes that prove it, or that prove there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountProof {
    /// Whose account.
    pub address: Address,
    /// Nodes from the state root down.
    pub account_proof: Vec<Bytes>,
    /// In wei.
    pub balance: U256,
    /// Keccak-256 of the code.
    pub code_hash: B256,
    /// As a number in hex.
    pub nonce: U256,
    /// The root of the storage trie.
    pub storage_hash: B256,
    /// The slots that were asked for, in that order.
    pub storage_proof: Vec<SlotProof>,
}

/// A slot with the nodes that prove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotProof {
    /// Which slot.
    pub key: U256,
    /// Its value.
    pub value: U256,
    /// Nodes from the storage root down.
    pub proof: Vec<Bytes>,
}

impl World {
    /// Proves an account and some of its slots under [`World::root`].
    pub fn prove(&self, address: Address, slots: &[U256]) -> AccountProof {
        let nothing = WorldAccount::default();
        let account = self.get(address).unwrap_or(&nothing);
        let storage_proof = slots.iter().map(|slot| SlotProof {
            key: *slot,
            value: account.storage.get(slot).copied().unwrap_or_default(),
            proof: path(account.storage_leaves(), keccak256(slot.to_be_bytes::<32>())),
        });
        AccountProof {
            address,
            account_proof: path(self.leaves(), keccak256(address)),
            balance: account.balance,
            code_hash: account.code_hash(),
            nonce: U256::from(account.nonce),
            storage_hash: account.storage_root(),
            storage_proof: storage_proof.collect(),
        }
    }
}

/// The nodes from the root of a trie towards a key.
fn path(leaves: Vec<Leaf>, key: B256) -> Vec<Bytes> {
    if leaves.is_empty() {
        return Vec::new();
    }
    let builder = HashBuilder::default().with_proof_retainer(ProofRetainer::new(vec![Nibbles::unpack(key)]));
    let mut builder = trie(leaves, builder);
    builder.root();
    builder.take_proof_nodes().into_nodes_sorted().into_iter().map(|(_, node)| node).collect()
}
