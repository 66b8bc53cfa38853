//! Changes on top of a source, and both together as the database that the interpreter reads.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use borsh::{BorshDeserialize, BorshSerialize};
use revm::Database;
use revm::bytecode::Bytecode;
use revm::state::{AccountInfo, EvmState};

use crate::{Account, Source, StateError, code};

/// What became of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct AccountChange {
    /// The account now, `None` when it is gone.
    pub account: Option<Account>,
    /// Whether nothing of the source's storage holds any more: the account was created or destroyed on the way.
    pub cleared: bool,
    /// Slots written, with their values now.
    pub storage: BTreeMap<U256, U256>,
}

/// What became of the state, account by account.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Changes {
    /// The accounts touched.
    pub accounts: BTreeMap<Address, AccountChange>,
    /// Code that is new, by its hash.
    pub codes: BTreeMap<B256, Bytes>,
}

/// A source with changes above it. Nothing is ever written to the source.
#[derive(Clone, Debug)]
pub(crate) struct Overlay {
    pub(crate) source: Arc<dyn Source>,
    pub(crate) changes: Arc<Changes>,
    /// The block the source belongs to, whose hash BLOCKHASH may be asked for once the session moves on.
    pub(crate) origin: (u64, B256),
    /// What the hashes of blocks are made of that time travel imagines.
    pub(crate) imagined: B256,
    codes: HashMap<B256, Bytecode>,
    /// Where code with a hash was last seen: sources far away find code by its address.
    seen: HashMap<B256, Address>,
}

impl Overlay {
    pub(crate) fn new(source: Arc<dyn Source>, origin: (u64, B256)) -> Self {
        let imagined = origin.1;
        Self { source, changes: Arc::default(), origin, imagined, codes: HashMap::new(), seen: HashMap::new() }
    }

    pub(crate) fn header(&self, address: Address) -> Result<Option<Account>, StateError> {
        match self.changes.accounts.get(&address) {
            Some(change) => Ok(change.account),
            None => self.source.account(address),
        }
    }

    pub(crate) fn slot(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        let Some(change) = self.changes.accounts.get(&address) else {
            return self.source.storage(address, slot);
        };
        match change.storage.get(&slot) {
            Some(value) => Ok(*value),
            None if change.cleared => Ok(U256::ZERO),
            None => self.source.storage(address, slot),
        }
    }

    pub(crate) fn code_of(&self, address: Address) -> Result<Bytes, StateError> {
        match self.header(address)? {
            Some(account) if account.has_code() => self.raw_code(address, account.code_hash),
            _ => Ok(Bytes::new()),
        }
    }

    fn raw_code(&self, address: Address, hash: B256) -> Result<Bytes, StateError> {
        match self.changes.codes.get(&hash) {
            Some(code) => Ok(code.clone()),
            None => self.source.code(address, hash),
        }
    }

    /// The change of an account, begun from what the source has where there is none yet.
    pub(crate) fn change_mut(&mut self, address: Address) -> Result<&mut AccountChange, StateError> {
        let begun = match self.changes.accounts.contains_key(&address) {
            true => None,
            false => Some(AccountChange { account: self.source.account(address)?, ..AccountChange::default() }),
        };
        let accounts = &mut Arc::make_mut(&mut self.changes).accounts;
        if let Some(begun) = begun {
            accounts.insert(address, begun);
        }
        Ok(accounts.entry(address).or_default())
    }

    pub(crate) fn set_code(&mut self, address: Address, code: Bytes) -> Result<(), StateError> {
        let code_hash = if code.is_empty() { KECCAK256_EMPTY } else { keccak256(&code) };
        self.change_mut(address)?.account.get_or_insert_default().code_hash = code_hash;
        if !code.is_empty() {
            Arc::make_mut(&mut self.changes).codes.insert(code_hash, code);
        }
        Ok(())
    }

    /// Takes over what a call did.
    pub(crate) fn commit(&mut self, state: EvmState) {
        let changes = Arc::make_mut(&mut self.changes);
        for (address, account) in state {
            if !account.is_touched() {
                continue;
            }
            let change = changes.accounts.entry(address).or_default();
            if account.is_selfdestructed() {
                *change = AccountChange { cleared: true, ..AccountChange::default() };
                continue;
            }
            if account.is_created() {
                change.cleared = true;
                change.storage.clear();
            }
            for (slot, value) in account.changed_storage_slots() {
                change.storage.insert(*slot, value.present_value);
            }
            let fresh_code = account.is_created() || account.original_info().code_hash != account.info.code_hash;
            let info = account.info;
            if let Some(code) = info.code.as_ref().filter(|code| fresh_code && !code.is_empty()) {
                changes.codes.entry(info.code_hash).or_insert_with(|| code.original_bytes());
            }
            let now = Account { nonce: info.nonce, balance: info.balance, code_hash: normal(info.code_hash) };
            change.account = (!now.is_empty()).then_some(now);
        }
    }
}

/// An account without code has the hash of nothing, never zero.
fn normal(code_hash: B256) -> B256 {
    if code_hash.is_zero() { KECCAK256_EMPTY } else { code_hash }
}

impl Database for Overlay {
    type Error = StateError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, StateError> {
        let Some(account) = self.header(address)? else {
            return Ok(None);
        };
        let code = match account.has_code() {
            false => Some(Bytecode::default()),
            true => {
                self.seen.insert(account.code_hash, address);
                self.codes.get(&account.code_hash).cloned()
            }
        };
        Ok(Some(AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: account.code_hash,
            account_id: None,
            code,
        }))
    }

    fn code_by_hash(&mut self, hash: B256) -> Result<Bytecode, StateError> {
        if hash == KECCAK256_EMPTY || hash.is_zero() {
            return Ok(Bytecode::default());
        }
        if let Some(code) = self.codes.get(&hash) {
            return Ok(code.clone());
        }
        let address = self.seen.get(&hash).copied().unwrap_or_default();
        let prepared = code::prepare(hash, &self.raw_code(address, hash)?)?;
        self.codes.insert(hash, prepared.clone());
        Ok(prepared)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.slot(address, slot)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, StateError> {
        Source::block_hash(self, number)
    }
}

/// A session's state is a source too, for what looks at a snapshot.
impl Source for Overlay {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        self.header(address)
    }

    fn code(&self, address: Address, code_hash: B256) -> Result<Bytes, StateError> {
        self.raw_code(address, code_hash)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.slot(address, slot)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        let (origin, hash) = self.origin;
        if number < origin {
            return self.source.block_hash(number);
        }
        // No block has the hash zero: a head that says so has none.
        if number == origin && !hash.is_zero() {
            return Ok(hash);
        }
        // A block that time travel imagined has no hash; one made of its number is at least the same for everybody.
        Ok(keccak256([b"surety imagined block ".as_slice(), self.imagined.as_slice(), &number.to_be_bytes()].concat()))
    }

    fn prefetch(&self, wanted: &[(Address, Vec<U256>)]) {
        self.source.prefetch(wanted);
    }
}
