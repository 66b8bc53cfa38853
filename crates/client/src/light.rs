//! The light client: rows of the ledger, believed only with a proof (`engine.md` 5, `design.md` 6).
//!
//! From one trust root, the committee, it follows: certificate, header, state root, proof, row. Every step is checked
//! here, against what the asker named; nothing that the node merely says enters the result. Pure, but for
//! [`LightReader`], which fetches what is then checked.

use std::time::Duration;

use borsh::{BorshDeserialize, BorshSerialize};
use commonware_codec::{Copying, Decode as _, RangeCfg};
use commonware_cryptography::{Sha256, sha256};
use commonware_storage::merkle::MAX_PROOF_DIGESTS_PER_ELEMENT;
use commonware_storage::mmr;
use commonware_storage::qmdb::any::value::VariableEncoding;
use commonware_storage::qmdb::current::ordered::proof::constant;
use surety_ledger::bank::{self, Account};
use surety_ledger::market::state as market;
use surety_ledger::{Genesis, Key, Map};
use surety_primitives::api::{ProofKind, ProvenRow};
use surety_primitives::header::{self, Committee, FinalHeader, Header};
use surety_primitives::{Address, DatasetId, Hash32, ProviderId, PurchaseId, ServiceId};

use crate::client::Client;

/// Most bytes of a row's value that a proof may carry; as in the node's store.
const MAX_VALUE_BYTES: usize = 16 * 1_024;
/// Most bytes of a proof: 122 digests, the neighbour's row, and what frames them.
const MAX_PROOF_BYTES: usize = MAX_VALUE_BYTES + 8 * 1_024;
/// How far a header's clock may be ahead of ours.
const MAX_AHEAD: Duration = Duration::from_secs(60);

type Value = VariableEncoding<Vec<u8>>;
type Inclusion = constant::KeyValueProof<mmr::Family, sha256::Digest, sha256::Digest, 32>;
type Exclusion = constant::ExclusionProof<mmr::Family, sha256::Digest, Value, sha256::Digest, 32>;

/// Why an answer of the node is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The header is not proven final by this committee.
    #[error("the header is not proven final: {0}")]
    Header(#[from] header::Error),
    /// The header is older than what is accepted.
    #[error("the header is {age_s} s old, {limit_s} s are accepted")]
    Stale {
        /// Its age in seconds.
        age_s: u64,
        /// The most that is accepted.
        limit_s: u64,
    },
    /// The header's clock is ahead of ours.
    #[error("the header's clock is {ahead_s} s ahead of this machine's")]
    Ahead {
        /// By how much, in seconds.
        ahead_s: u64,
    },
    /// The answer is about another row than was asked for.
    #[error("the node answered about another row")]
    OtherRow,
    /// Value and kind of proof contradict each other.
    #[error("the answer has a value without inclusion, or an inclusion without value")]
    Contradicts,
    /// The proof's bytes are no proof.
    #[error("the proof is malformed")]
    Malformed,
    /// The proof does not lead to the header's state root.
    #[error("the proof does not hold against the state root")]
    BadProof,
    /// The proven value is no record of the table that was asked for.
    #[error("the proven value is no record of this table and id")]
    OtherRecord,
    /// The specification is not one that a network starts from.
    #[error("the chain specification is not valid: {0}")]
    BadGenesis(String),
}

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Header(_) => "light-header",
            Self::Stale { .. } => "light-stale",
            Self::Ahead { .. } => "light-ahead",
            Self::OtherRow => "light-other-row",
            Self::Contradicts => "light-contradicts",
            Self::Malformed => "light-malformed",
            Self::BadProof => "light-bad-proof",
            Self::OtherRecord => "light-other-record",
            Self::BadGenesis(_) => "light-bad-genesis",
        }
    }
}

/// Something proven, with the final header it was proven against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven<T> {
    /// What was proven.
    pub value: T,
    /// The state that it was true in.
    pub header: Header,
}

/// A trust root and how old its word may be.
#[derive(Clone, Debug)]
pub struct LightClient {
    committee: Committee,
    max_age: Option<Duration>,
}

impl LightClient {
    /// Trusts this committee. `max_age` bounds how old a header may be; none accepts any age, for archived proofs.
    #[must_use]
    pub const fn new(committee: Committee, max_age: Option<Duration>) -> Self {
        Self { committee, max_age }
    }

    /// Trusts the first committee of a chain specification.
    ///
    /// # Errors
    /// [`Error::BadGenesis`].
    pub fn from_genesis(genesis: &Genesis, max_age: Option<Duration>) -> Result<Self, Error> {
        genesis.check().map_err(|error| Error::BadGenesis(error.to_string()))?;
        Ok(Self::new(genesis.committee(), max_age))
    }

    /// The trust root.
    #[must_use]
    pub const fn committee(&self) -> &Committee {
        &self.committee
    }

    /// Checks that a header is final and fresh. `now_ms` is this machine's wall clock since 1970.
    ///
    /// # Errors
    /// [`Error::Header`], [`Error::Stale`], [`Error::Ahead`].
    pub fn verify_header(&self, proven: &FinalHeader, now_ms: u64) -> Result<(), Error> {
        self.committee.verify_final(proven)?;
        let time_ms = proven.header.time_ms;
        let ahead = Duration::from_millis(time_ms.saturating_sub(now_ms));
        // Without a bound the asker looks at the past, and its own clock says nothing.
        let Some(limit) = self.max_age else { return Ok(()) };
        if ahead > MAX_AHEAD {
            return Err(Error::Ahead { ahead_s: ahead.as_secs() });
        }
        let age = Duration::from_millis(now_ms.saturating_sub(time_ms));
        if age > limit {
            return Err(Error::Stale { age_s: age.as_secs(), limit_s: limit.as_secs() });
        }
        Ok(())
    }

    /// Checks the row at `key`: its value, or that there is none.
    ///
    /// # Errors
    /// See [`Error`]; nothing of the answer may be used then.
    pub fn verify_row(&self, key: &Key, row: &ProvenRow, now_ms: u64) -> Result<Proven<Option<Vec<u8>>>, Error> {
        if row.key != *key {
            return Err(Error::OtherRow);
        }
        self.verify_header(&row.final_header(), now_ms)?;
        let root = &row.header.state_root;
        let value = match (row.kind, &row.value) {
            (ProofKind::Inclusion, Some(value)) => {
                verify_inclusion(key, &value.0, &row.proof.0, root)?;
                Some(value.0.clone())
            }
            (ProofKind::Exclusion, None) => {
                verify_exclusion(key, &row.proof.0, root)?;
                None
            }
            _ => return Err(Error::Contradicts),
        };
        Ok(Proven { value, header: row.header.clone() })
    }

    /// Checks the record of `id` in `table`: its content, or that there is none.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn verify_record<K, V>(
        &self,
        table: Map<K, V>,
        id: &K,
        row: &ProvenRow,
        now_ms: u64,
    ) -> Result<Proven<Option<V>>, Error>
    where
        K: BorshSerialize + BorshDeserialize + PartialEq,
        V: BorshDeserialize,
    {
        let Proven { value, header } = self.verify_row(&table.key(id), row, now_ms)?;
        let value = match value {
            None => None,
            Some(value) => match table.read_row(&value) {
                Some((found, record)) if found == *id => Some(record),
                _ => return Err(Error::OtherRecord),
            },
        };
        Ok(Proven { value, header })
    }
}

/// Checks that the row at `key` has this value in the state with this root.
///
/// # Errors
/// [`Error::Malformed`], [`Error::BadProof`].
pub fn verify_inclusion(key: &Key, value: &[u8], proof: &[u8], root: &Hash32) -> Result<(), Error> {
    let cfg = (MAX_PROOF_DIGESTS_PER_ELEMENT, ());
    let proof = Inclusion::decode_cfg(bounded(proof)?, &cfg).map_err(|_| Error::Malformed)?;
    let holds = proof.verify::<Sha256, Value>(sha256::Digest(key.0), value.to_vec(), &sha256::Digest(root.0));
    if holds { Ok(()) } else { Err(Error::BadProof) }
}

/// Checks that there is no row at `key` in the state with this root.
///
/// # Errors
/// [`Error::Malformed`], [`Error::BadProof`].
pub fn verify_exclusion(key: &Key, proof: &[u8], root: &Hash32) -> Result<(), Error> {
    let value = (RangeCfg::from(..=MAX_VALUE_BYTES), ());
    let cfg = (MAX_PROOF_DIGESTS_PER_ELEMENT, ((), value), value);
    let proof = Exclusion::decode_cfg(bounded(proof)?, &cfg).map_err(|_| Error::Malformed)?;
    let holds = proof.verify::<Sha256>(&sha256::Digest(key.0), &sha256::Digest(root.0));
    if holds { Ok(()) } else { Err(Error::BadProof) }
}

fn bounded(proof: &[u8]) -> Result<Copying<'_>, Error> {
    if proof.len() > MAX_PROOF_BYTES { Err(Error::Malformed) } else { Ok(Copying(proof)) }
}

/// A node to ask and a light client that checks what it says.
#[derive(Clone, Debug)]
pub struct LightReader {
    client: Client,
    light: LightClient,
}

impl LightReader {
    /// Asks `client`, believes `light`.
    #[must_use]
    pub const fn new(client: Client, light: LightClient) -> Self {
        Self { client, light }
    }

    /// The node that is asked.
    #[must_use]
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// The light client.
    #[must_use]
    pub const fn light(&self) -> &LightClient {
        &self.light
    }

    /// The newest final header, verified.
    ///
    /// # Errors
    /// [`crate::Error`]: the node cannot be reached or is not believed.
    pub async fn header(&self) -> Result<Header, crate::Error> {
        let proven = self.client.finalized().await?;
        self.light.verify_header(&proven, crate::client::wall_ms())?;
        Ok(proven.header)
    }

    /// The record of `id` in `table`, or the proven absence of one. A node that was away proves honestly what was true
    /// before it went: an absence is asked of every node, and the newest word counts.
    ///
    /// # Errors
    /// [`crate::Error`]: the node cannot be reached or is not believed.
    pub async fn record<K, V>(&self, table: Map<K, V>, id: &K) -> Result<Proven<Option<V>>, crate::Error>
    where
        K: BorshSerialize + BorshDeserialize + PartialEq,
        V: BorshDeserialize,
    {
        let key = table.key(id);
        let verified = |row: &ProvenRow| self.light.verify_record(table, id, row, crate::client::wall_ms());
        let mut newest = verified(&self.client.row(&key).await?)?;
        if newest.value.is_some() {
            return Ok(newest);
        }
        for node in self.client.each() {
            // Who does not answer, or is not believed, changes nothing.
            let other = node.row(&key).await.ok().and_then(|row| verified(&row).ok());
            if let Some(other) = other.filter(|other| other.header.height > newest.header.height) {
                newest = other;
            }
        }
        Ok(newest)
    }

    /// An account.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn account(&self, address: &Address) -> Result<Proven<Option<Account>>, crate::Error> {
        self.record(bank::ACCOUNTS, address).await
    }

    /// A provider.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn provider(&self, id: ProviderId) -> Result<Proven<Option<market::Provider>>, crate::Error> {
        self.record(market::PROVIDERS, &id).await
    }

    /// A listing.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn service(&self, id: ServiceId) -> Result<Proven<Option<market::Service>>, crate::Error> {
        self.record(market::SERVICES, &id).await
    }

    /// A purchase: with its proof, the grant.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn purchase(&self, id: PurchaseId) -> Result<Proven<Option<market::PurchaseRecord>>, crate::Error> {
        self.record(market::PURCHASES, &id).await
    }

    /// A version of a dataset.
    ///
    /// # Errors
    /// As [`Self::record`].
    pub async fn dataset_version(
        &self,
        id: DatasetId,
        version: u64,
    ) -> Result<Proven<Option<market::DatasetVersion>>, crate::Error> {
        self.record(market::DATASET_VERSIONS, &(id, version)).await
    }

    /// Proves that `table` has no record of `id`.
    ///
    /// # Errors
    /// As [`Self::record`]; [`crate::Error::Exists`] if there is one.
    pub async fn absence<K, V>(&self, table: Map<K, V>, id: &K) -> Result<Proven<()>, crate::Error>
    where
        K: BorshSerialize + BorshDeserialize + PartialEq,
        V: BorshDeserialize,
    {
        let Proven { value, header } = self.record(table, id).await?;
        if value.is_some() { Err(crate::Error::Exists) } else { Ok(Proven { value: (), header }) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
