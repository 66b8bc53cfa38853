//! A state in memory: accounts in order of address, with the state root that Ethereum would have.
//!
//! In JSON it looks like the `alloc` of a genesis file.

mod encoding;
mod proof;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use alloy_trie::{HashBuilder, Nibbles, TrieAccount};

use encoding::Alloc;
use serde::{Deserialize, Serialize};

pub use proof::{AccountProof, SlotProof};

use crate::{Account, Changes, Source, StateError};

/// An account with its code and storage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(into = "Alloc", try_from = "Alloc")]
pub struct WorldAccount {
    nonce: u64,
    balance: U256,
    code: Bytes,
    storage: BTreeMap<U256, U256>,
    code_hash: OnceLock<B256>,
    storage_root: OnceLock<B256>,
}

impl WorldAccount {
    /// Transactions sent, or contracts created.
    pub const fn nonce(&self) -> u64 {
        self.nonce
    }

    /// In wei.
    pub const fn balance(&self) -> U256 {
        self.balance
    }

    /// The code; empty when there is none.
    pub const fn code(&self) -> &Bytes {
        &self.code
    }

    /// Slots that are not zero.
    pub const fn storage(&self) -> &BTreeMap<U256, U256> {
        &self.storage
    }

    /// Keccak-256 of the code.
    pub fn code_hash(&self) -> B256 {
        *self.code_hash.get_or_init(|| if self.code.is_empty() { KECCAK256_EMPTY } else { keccak256(&self.code) })
    }

    /// The root of the storage trie.
    pub fn storage_root(&self) -> B256 {
        *self.storage_root.get_or_init(|| trie(self.storage_leaves(), HashBuilder::default()).root())
    }

    fn storage_leaves(&self) -> Vec<Leaf> {
        let leaves = self.storage.iter();
        leaves.map(|(slot, value)| (keccak256(slot.to_be_bytes::<32>()), alloy_rlp::encode(value))).collect()
    }

    /// The account without code and storage.
    pub fn header(&self) -> Account {
        Account { nonce: self.nonce, balance: self.balance, code_hash: self.code_hash() }
    }

    fn is_empty(&self) -> bool {
        self.nonce == 0 && self.balance.is_zero() && self.code.is_empty()
    }
}

impl PartialEq for WorldAccount {
    fn eq(&self, other: &Self) -> bool {
        self.nonce == other.nonce
            && self.balance == other.balance
            && self.code == other.code
            && self.storage == other.storage
    }
}

impl Eq for WorldAccount {}

/// A state in memory. Clones share the accounts that do not change.
///
/// JSON has the accounts only; borsh has the known block hashes too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    accounts: BTreeMap<Address, Arc<WorldAccount>>,
    block_hashes: BTreeMap<u64, B256>,
}

impl World {
    /// An empty state.
    pub const fn new() -> Self {
        Self { accounts: BTreeMap::new(), block_hashes: BTreeMap::new() }
    }

    /// The accounts, in order of address.
    pub fn accounts(&self) -> impl Iterator<Item = (Address, &WorldAccount)> {
        self.accounts.iter().map(|(address, account)| (*address, account.as_ref()))
    }

    /// One account with all it has.
    pub fn get(&self, address: Address) -> Option<&WorldAccount> {
        self.accounts.get(&address).map(AsRef::as_ref)
    }

    /// Places an account, instead of what was there.
    pub fn insert(&mut self, address: Address, nonce: u64, balance: U256, code: impl Into<Bytes>) {
        let account = WorldAccount { nonce, balance, code: code.into(), ..WorldAccount::default() };
        self.accounts.insert(address, Arc::new(account));
    }

    /// Removes an account with all it has.
    pub fn remove(&mut self, address: Address) {
        self.accounts.remove(&address);
    }

    /// Gives an account a balance, in wei.
    pub fn set_balance(&mut self, address: Address, balance: U256) {
        self.account_mut(address).balance = balance;
    }

    /// Gives an account a nonce.
    pub fn set_nonce(&mut self, address: Address, nonce: u64) {
        self.account_mut(address).nonce = nonce;
    }

    /// Places code at an address.
    pub fn set_code(&mut self, address: Address, code: impl Into<Bytes>) {
        let account = self.account_mut(address);
        account.code = code.into();
        account.code_hash = OnceLock::new();
    }

    /// Writes a storage slot; zero removes it.
    pub fn set_storage(&mut self, address: Address, slot: U256, value: U256) {
        let account = self.account_mut(address);
        account.storage_root = OnceLock::new();
        match value.is_zero() {
            true => account.storage.remove(&slot),
            false => account.storage.insert(slot, value),
        };
    }

    /// Makes BLOCKHASH know a block. Only the newest 256 are kept.
    pub fn set_block_hash(&mut self, number: u64, hash: B256) {
        self.block_hashes.insert(number, hash);
        while self.block_hashes.len() > 256 {
            self.block_hashes.pop_first();
        }
    }

    /// Takes over what a session or a transaction changed.
    pub fn apply(&mut self, changes: &Changes) {
        for (address, change) in &changes.accounts {
            if change.cleared
                && let Some(account) = self.accounts.get_mut(address)
            {
                let account = Arc::make_mut(account);
                account.storage.clear();
                account.storage_root = OnceLock::new();
            }
            let Some(header) = change.account else {
                self.accounts.remove(address);
                continue;
            };
            self.set_header(*address, header, changes);
            for (slot, value) in &change.storage {
                self.set_storage(*address, *slot, *value);
            }
        }
    }

    /// The root of Ethereum's state trie. Empty accounts are not in it (EIP-161).
    pub fn root(&self) -> B256 {
        trie(self.leaves(), HashBuilder::default()).root()
    }

    fn leaves(&self) -> Vec<Leaf> {
        let accounts = self.accounts.iter().filter(|(_, account)| !account.is_empty());
        let leaf = |account: &WorldAccount| {
            TrieAccount::new(account.nonce, account.balance, account.storage_root(), account.code_hash())
        };
        accounts.map(|(address, account)| (keccak256(address), alloy_rlp::encode(leaf(account)))).collect()
    }

    fn set_header(&mut self, address: Address, header: Account, changes: &Changes) {
        let account = self.account_mut(address);
        account.nonce = header.nonce;
        account.balance = header.balance;
        if account.code_hash() == header.code_hash {
            return;
        }
        account.code = changes.codes.get(&header.code_hash).cloned().unwrap_or_default();
        account.code_hash = OnceLock::new();
    }

    fn account_mut(&mut self, address: Address) -> &mut WorldAccount {
        Arc::make_mut(self.accounts.entry(address).or_default())
    }
}

/// A key, which is a hash already, and its value in RLP.
type Leaf = (B256, Vec<u8>);

/// A trie with these leaves, complete but for the root.
fn trie(mut leaves: Vec<Leaf>, mut builder: HashBuilder) -> HashBuilder {
    leaves.sort_unstable_by_key(|(key, _)| *key);
    for (key, value) in leaves {
        builder.add_leaf(Nibbles::unpack(key), &value);
    }
    builder
}

impl Source for World {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        Ok(self.get(address).map(WorldAccount::header))
    }

    fn code(&self, address: Address, code_hash: B256) -> Result<Bytes, StateError> {
        let found = self.get(address).filter(|account| account.code_hash() == code_hash);
        let found = found
            .or_else(|| self.accounts.values().map(AsRef::as_ref).find(|account| account.code_hash() == code_hash));
        found
            .map(|account| account.code.clone())
            .ok_or_else(|| StateError::Absent { what: format!("code {code_hash}") })
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        Ok(self.get(address).and_then(|account| account.storage.get(&slot)).copied().unwrap_or_default())
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        // A world without that block has the zero hash there, as BLOCKHASH has for blocks that do not exist.
        Ok(self.block_hashes.get(&number).copied().unwrap_or_default())
    }
}
