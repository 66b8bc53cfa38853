//! Recording all state that a simulation reads, so that anyone can run it again without the chain.
//!
//! A [`Witness`] answers exactly what was asked when it was recorded. Running the same calls on it gives the same bytes; asking
//! anything else is an error, never a silent zero: [`StateError::Absent`], or what ended the recording.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::{Account, Head, Snapshot, Source, StateError};

/// A source that remembers everything it was asked, and its first failure.
///
/// After a failure nothing new is read: had a later read succeeded, whoever replays could not tell where the run went on.
#[derive(Debug)]
pub struct Recorder {
    source: Arc<dyn Source>,
    witness: Mutex<Witness>,
}

impl Recorder {
    /// A recorder in front of a source.
    pub fn new(source: Arc<dyn Source>) -> Self {
        Self { source, witness: Mutex::default() }
    }

    /// The snapshot with a recorder in front of its source.
    pub fn record(snapshot: &Snapshot) -> (Snapshot, Arc<Self>) {
        let recorder = Arc::new(Self::new(Arc::clone(&snapshot.source)));
        let recorded = Snapshot { head: snapshot.head.clone(), source: Arc::<Self>::clone(&recorder) };
        (recorded, recorder)
    }

    /// What was read so far.
    pub fn witness(&self) -> Witness {
        self.lock().clone()
    }

    /// Reads something new, unless the recording has ended.
    fn read<T>(&self, read: impl FnOnce(&dyn Source) -> Result<T, StateError>) -> Result<T, StateError> {
        if let Some(end) = self.lock().end {
            return Err(end.error());
        }
        read(&*self.source).inspect_err(|error| {
            self.lock().end.get_or_insert(End::of(error));
        })
    }

    fn lock(&self) -> MutexGuard<'_, Witness> {
        // A thread that died while it held the lock left whole entries: each is one insertion.
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Recorder {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        if let Some(known) = self.lock().accounts.get(&address) {
            return Ok(*known);
        }
        let account = self.read(|source| source.account(address))?;
        Ok(*self.lock().accounts.entry(address).or_insert(account))
    }

    fn code(&self, address: Address, code_hash: B256) -> Result<Bytes, StateError> {
        if let Some(known) = self.lock().codes.get(&code_hash) {
            return Ok(known.clone());
        }
        let code = self.read(|source| source.code(address, code_hash))?;
        Ok(self.lock().codes.entry(code_hash).or_insert(code).clone())
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        if let Some(known) = self.lock().slot(address, slot) {
            return Ok(known);
        }
        let value = self.read(|source| source.storage(address, slot))?;
        Ok(*self.lock().storage.entry(address).or_default().entry(slot).or_insert(value))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        if let Some(known) = self.lock().block_hashes.get(&number) {
            return Ok(*known);
        }
        let hash = self.read(|source| source.block_hash(number))?;
        Ok(*self.lock().block_hashes.entry(number).or_insert(hash))
    }

    fn prefetch(&self, wanted: &[(Address, Vec<U256>)]) {
        self.source.prefetch(wanted);
    }
}

/// All state that a simulation read: the evidence by which it can be run again.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Accounts, `None` where there was none.
    #[borsh(deserialize_with = "in_order")]
    pub accounts: BTreeMap<Address, Option<Account>>,
    /// Code by its hash, which is checked again when it runs.
    #[borsh(deserialize_with = "in_order")]
    pub codes: BTreeMap<B256, Bytes>,
    /// Slots, zeros included.
    #[borsh(deserialize_with = "both_in_order")]
    pub storage: BTreeMap<Address, BTreeMap<U256, U256>>,
    /// Hashes of earlier blocks.
    #[borsh(deserialize_with = "in_order")]
    pub block_hashes: BTreeMap<u64, B256>,
    /// Why nothing more could be read, where a read failed. Nobody else can check this: it only ever makes less known.
    pub end: Option<End>,
}

/// Reads a map whose keys rise, as they are written: one state has one encoding.
fn in_order<R: Read, K: BorshDeserialize + Ord, V: BorshDeserialize>(reader: &mut R) -> io::Result<BTreeMap<K, V>> {
    sorted(Vec::<(K, V)>::deserialize_reader(reader)?)
}

/// The same of a map of maps.
fn both_in_order<R: Read>(reader: &mut R) -> io::Result<BTreeMap<Address, BTreeMap<U256, U256>>> {
    let entries = Vec::<(Address, Vec<(U256, U256)>)>::deserialize_reader(reader)?;
    sorted(entries.into_iter().map(|(key, inner)| Ok((key, sorted(inner)?))).collect::<io::Result<_>>()?)
}

fn sorted<K: Ord, V>(entries: Vec<(K, V)>) -> io::Result<BTreeMap<K, V>> {
    if !entries.is_sorted_by(|(one, _), (next, _)| one < next) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "keys out of order"));
    }
    Ok(entries.into_iter().collect())
}

/// Why a recording ended before all was read.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// [`StateError::Deadline`].
    Deadline,
    /// Any other failure.
    Unavailable,
}

impl End {
    const fn of(error: &StateError) -> Self {
        match error {
            StateError::Deadline => Self::Deadline,
            _ => Self::Unavailable,
        }
    }

    /// The failure as whoever replays meets it.
    pub fn error(self) -> StateError {
        match self {
            Self::Deadline => StateError::Deadline,
            Self::Unavailable => StateError::Unavailable("it could not be read when it was recorded".to_owned()),
        }
    }
}

impl Witness {
    /// Keccak-256 of the borsh encoding: what evidence cites as `reads_root`.
    pub fn digest(&self) -> B256 {
        let mut encoded = Vec::new();
        // Writing to memory cannot fail.
        let _ = BorshSerialize::serialize(self, &mut encoded);
        keccak256(encoded)
    }

    /// The snapshot to run on: this state under the block it was read at.
    pub fn snapshot(&self, head: Head) -> Snapshot {
        Snapshot { head, source: Arc::new(self.clone()) }
    }

    /// The first thing that another source has differently, for people; `None` when all is the same there.
    ///
    /// # Errors
    /// When the other source cannot say.
    pub fn difference(&self, source: &dyn Source) -> Result<Option<String>, StateError> {
        for (address, account) in &self.accounts {
            if source.account(*address)? != *account {
                return Ok(Some(format!("account {address}")));
            }
        }
        for (address, slots) in &self.storage {
            for (slot, value) in slots {
                if source.storage(*address, *slot)? != *value {
                    return Ok(Some(format!("slot {slot:#x} of {address}")));
                }
            }
        }
        for (number, hash) in &self.block_hashes {
            if source.block_hash(*number)? != *hash {
                return Ok(Some(format!("hash of block {number}")));
            }
        }
        Ok(None)
    }

    /// What is not recorded: for want of time or of a node when it was recorded, or because nobody asked for it then.
    fn absent(&self, what: String) -> StateError {
        self.end.map_or(StateError::Absent { what }, End::error)
    }

    fn slot(&self, address: Address, slot: U256) -> Option<U256> {
        self.storage.get(&address)?.get(&slot).copied()
    }
}

impl Source for Witness {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        self.accounts.get(&address).copied().ok_or_else(|| self.absent(format!("account {address}")))
    }

    fn code(&self, _address: Address, code_hash: B256) -> Result<Bytes, StateError> {
        let code = self.codes.get(&code_hash).cloned().ok_or_else(|| self.absent(format!("code {code_hash}")))?;
        // A record comes from whoever is doubted.
        if keccak256(&code) != code_hash {
            return Err(StateError::Proof(format!("code {code_hash} is other code")));
        }
        Ok(code)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.slot(address, slot).ok_or_else(|| self.absent(format!("slot {slot:#x} of {address}")))
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        self.block_hashes.get(&number).copied().ok_or_else(|| self.absent(format!("hash of block {number}")))
    }
}
