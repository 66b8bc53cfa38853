//! Checking what a node says against the state root (`eth_getProof`, EIP-1186).

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::proof::verify_proof;
use alloy_trie::{EMPTY_ROOT_HASH, Nibbles, TrieAccount};

use crate::{Account, AccountProof, StateError};

/// Nodes of one proof. The trie of all mainnet accounts is some ten deep.
const MAX_NODES: usize = 64;

/// The account and the values of the slots, in the order asked, as far as the proof holds under the state root.
pub(super) fn check(
    root: B256,
    address: Address,
    slots: &[U256],
    answer: &AccountProof,
) -> Result<(Option<Account>, Vec<U256>), StateError> {
    let nonce = u64::try_from(answer.nonce).map_err(|_| wrong("the nonce does not fit in 64 bits"))?;
    // Nodes differ in what they write for an account that does not exist: zeros, or the hashes of nothing.
    let code_hash = if answer.code_hash.is_zero() { KECCAK256_EMPTY } else { answer.code_hash };
    let storage_root = if answer.storage_hash.is_zero() { EMPTY_ROOT_HASH } else { answer.storage_hash };
    let account = Account { nonce, balance: answer.balance, code_hash };
    let exists = !account.is_empty() || storage_root != EMPTY_ROOT_HASH;
    let leaf = exists.then(|| alloy_rlp::encode(TrieAccount::new(nonce, account.balance, storage_root, code_hash)));
    verify(root, keccak256(address), leaf, &answer.account_proof)?;

    if answer.storage_proof.len() != slots.len() {
        return Err(wrong("not every slot has a proof"));
    }
    let mut values = Vec::with_capacity(slots.len());
    for (slot, proof) in slots.iter().zip(&answer.storage_proof) {
        let leaf = (!proof.value.is_zero()).then(|| alloy_rlp::encode(proof.value));
        verify(storage_root, keccak256(slot.to_be_bytes::<32>()), leaf, &proof.proof)?;
        values.push(proof.value);
    }
    Ok((exists.then_some(account), values))
}

fn verify(root: B256, key: B256, leaf: Option<Vec<u8>>, proof: &[Bytes]) -> Result<(), StateError> {
    if proof.len() > MAX_NODES {
        return Err(wrong("a proof has too many nodes"));
    }
    // In an empty trie there is nothing to show.
    if root == EMPTY_ROOT_HASH && leaf.is_none() {
        return Ok(());
    }
    verify_proof(root, Nibbles::unpack(key), leaf, proof).map_err(|error| wrong(&error.to_string()))
}

fn wrong(reason: &str) -> StateError {
    StateError::Proof(reason.into())
}
