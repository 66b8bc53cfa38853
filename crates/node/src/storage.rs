//! The authenticated store: what of qmdb the rest of the node sees.
//!
//! Keys are hashes (the store's index looks at their first 8 bytes only); values are at most [`MAX_VALUE_BYTES`].
//! Never here: what a row means.

use std::future::Future;
use std::pin::Pin;

use commonware_codec::{Encode as _, RangeCfg};
use commonware_cryptography::{Sha256, sha256};
use commonware_glue::stateful::db::{DatabaseSet, Shared};
use commonware_parallel::Sequential;
use commonware_runtime::Spawner;
use commonware_runtime::buffer::paged::CacheRef;
use commonware_storage::journal::contiguous::variable::Config as LogConfig;
use commonware_storage::merkle::full::Config as MerkleConfig;
use commonware_storage::qmdb::any::ordered::variable::Operation;
use commonware_storage::qmdb::current::VariableConfig;
use commonware_storage::qmdb::current::ordered::variable;
use commonware_storage::translator::EightCap;
use commonware_storage::{Context as StorageContext, mmr};
use commonware_utils::{NZU64, NZUsize};
use futures::TryStreamExt as _;
use surety_ledger::Key;
use surety_primitives::Hash32;

/// Most bytes of a row's value. A bound of the protocol: it also bounds what a syncing node must accept from a peer.
pub const MAX_VALUE_BYTES: usize = 16 * 1024;

/// Bytes of one operation at most: tag, key, value with its length, next key, location.
pub(crate) const MAX_OPERATION_BYTES: usize = 1 + 32 + 5 + MAX_VALUE_BYTES + 32 + 10;

/// The Merkle structure over the operations.
pub type Family = mmr::Family;

/// The store on runtime `E`.
pub type Database<E> = variable::Db<Family, E, sha256::Digest, Vec<u8>, Sha256, EightCap, 32, Sequential>;

/// The store, shared between the state layer and readers.
pub type Databases<E> = Shared<Database<E>>;

/// A batch that is still written to.
pub(crate) type Batch<E> = <Databases<E> as DatabaseSet<E>>::Unmerkleized;

/// A batch with its roots.
pub(crate) type SealedBatch<E> = <Databases<E> as DatabaseSet<E>>::Merkleized;

/// One entry of the store's log.
pub(crate) type LogOperation = Operation<Family, sha256::Digest, Vec<u8>>;

/// How one entry is decoded: nothing for the key, a length for the value.
pub(crate) type OperationCfg = ((), (RangeCfg<usize>, ()));

pub(crate) fn operation_cfg() -> OperationCfg {
    ((), (RangeCfg::from(..=MAX_VALUE_BYTES), ()))
}

/// How many live rows opening the store keeps in a cache (40 B each). Fewer than the live rows makes opening read the
/// log again for each collision, minutes at 10^7 rows (`engine.md` 5).
pub(crate) fn config(
    prefix: &str,
    page_cache: CacheRef,
    live_rows: std::num::NonZeroUsize,
) -> VariableConfig<EightCap, OperationCfg, Sequential> {
    VariableConfig {
        merkle_config: MerkleConfig {
            journal_partition: format!("{prefix}-merkle-journal"),
            metadata_partition: format!("{prefix}-merkle-metadata"),
            items_per_blob: NZU64!(65_536),
            write_buffer: NZUsize!(1 << 20),
            replay_buffer: NZUsize!(1 << 20),
            strategy: Sequential,
            page_cache: page_cache.clone(),
        },
        journal_config: LogConfig {
            partition: format!("{prefix}-log"),
            // Changing this after the first start makes the store unreadable.
            items_per_section: NZU64!(65_536),
            compression: None,
            codec_config: operation_cfg(),
            page_cache,
            write_buffer: NZUsize!(1 << 20),
            replay_buffer: NZUsize!(1 << 20),
        },
        grafted_metadata_partition: format!("{prefix}-grafted-metadata"),
        translator: EightCap,
        init_cache: Some(live_rows),
        init_buffer: NZUsize!(1 << 21),
        init_concurrency: (),
    }
}

/// Proof that a row has its value, or that there is none, against one state root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowProof {
    /// Encoding of the store's proof: `KeyValueProof` where the row exists, `ExclusionProof` where it does not.
    pub bytes: Vec<u8>,
}

/// A row with its proof, read under one guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenRow {
    /// The value, or none.
    pub value: Option<Vec<u8>>,
    /// The proof of either.
    pub proof: RowProof,
    /// The state root that the proof is against.
    pub state_root: Hash32,
}

/// Why a read failed. The disk or the store is at fault, never the asker.
#[derive(Debug, thiserror::Error)]
#[error("the store cannot be read: {0}")]
pub struct ReadError(pub(crate) String);

type Failed = commonware_storage::qmdb::Error<Family>;
type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, ReadError>> + Send + 'a>>;

/// Every row in order of key, and the root that they belong to.
pub(crate) type Export = (Vec<(Key, Vec<u8>)>, Hash32);

/// Reads of the state at the tip, without the runtime's type.
pub(crate) trait StateReader: Send + Sync {
    /// Rows without proofs, in one pass, and the root that they belong to.
    fn rows<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, (Vec<Option<Vec<u8>>>, Hash32)>;

    /// Every row in order of key, and the root that they belong to.
    fn export(&self) -> Answer<'_, Export>;

    /// One row with its proof.
    fn prove<'a>(&'a self, key: &'a Key) -> Answer<'a, ProvenRow>;
}

impl<E: Spawner + StorageContext> StateReader for Databases<E> {
    fn rows<'a>(&'a self, keys: &'a [Key]) -> Answer<'a, (Vec<Option<Vec<u8>>>, Hash32)> {
        Box::pin(async move {
            let keys: Vec<sha256::Digest> = keys.iter().map(|key| sha256::Digest(key.0)).collect();
            let keys: Vec<&sha256::Digest> = keys.iter().collect();
            let database = self.read().await;
            let rows = database.get_many(&keys).await.map_err(|error| ReadError(error.to_string()))?;
            Ok((rows, Hash32(database.root().0)))
        })
    }

    fn export(&self) -> Answer<'_, Export> {
        Box::pin(async move {
            let database = self.read().await;
            let rows = database.stream_range(..).map_ok(|(key, value)| (Hash32(key.0), value)).try_collect().await;
            let rows: Vec<_> = rows.map_err(|error: Failed| ReadError(error.to_string()))?;
            Ok((rows, Hash32(database.root().0)))
        })
    }

    fn prove<'a>(&'a self, key: &'a Key) -> Answer<'a, ProvenRow> {
        Box::pin(async move {
            let failed = |error: Failed| ReadError(error.to_string());
            let key = sha256::Digest(key.0);
            let database = self.read().await;
            let value = database.get(&key).await.map_err(failed)?;
            let bytes = match value {
                Some(_) => database.key_value_proof(key).await.map_err(failed)?.encode(),
                None => database.exclusion_proof(&key).await.map_err(failed)?.encode(),
            };
            let proof = RowProof { bytes: bytes.to_vec() };
            Ok(ProvenRow { value, proof, state_root: Hash32(database.root().0) })
        })
    }
}
