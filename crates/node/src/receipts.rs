//! Receipts of final blocks on disk, for the API after a restart.
//!
//! Always true: a height is written as a whole and may be written again; heights may be missing (state sync covers
//! blocks without executing them). Never here: anything that consensus needs; the file may be deleted.

use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use surety_ledger::Receipt;
use surety_primitives::{Hash32, codec};

use crate::core::FinalizedBlock;

const RECEIPTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("receipts");
const HEIGHTS: TableDefinition<'_, [u8; 32], u64> = TableDefinition::new("heights");
/// Most bytes of one block's receipts that are read back.
const MAX_BYTES: usize = 256 << 20;

/// The file is broken or the disk failed. The node stops; a broken file may be deleted before the next start.
#[derive(Debug, thiserror::Error)]
#[error("receipts: {0}")]
pub struct ReceiptError(String);

impl ReceiptError {
    fn of(error: impl core::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

/// The file.
#[derive(Clone)]
pub struct ReceiptStore {
    database: Arc<Database>,
    kept: u64,
}

/// One block's receipts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockReceipts {
    /// The block's digest.
    pub block: Hash32,
    /// One a transaction, in order.
    pub receipts: Vec<Receipt>,
}

impl ReceiptStore {
    /// Opens or creates the file; the newest `kept` blocks stay in it.
    ///
    /// # Errors
    /// See [`ReceiptError`].
    pub fn open(path: &Path, kept: u64) -> Result<Self, ReceiptError> {
        let database = Database::create(path).map_err(ReceiptError::of)?;
        let write = database.begin_write().map_err(ReceiptError::of)?;
        write.open_table(RECEIPTS).map_err(ReceiptError::of)?;
        write.open_table(HEIGHTS).map_err(ReceiptError::of)?;
        write.commit().map_err(ReceiptError::of)?;
        Ok(Self { database: Arc::new(database), kept })
    }

    /// Writes what is known of these blocks, and drops what is too old.
    ///
    /// # Errors
    /// See [`ReceiptError`]; nothing is written then.
    pub fn write(&self, blocks: &[Arc<FinalizedBlock>]) -> Result<(), ReceiptError> {
        let write = self.database.begin_write().map_err(ReceiptError::of)?;
        {
            let mut rows = write.open_table(RECEIPTS).map_err(ReceiptError::of)?;
            let mut heights = write.open_table(HEIGHTS).map_err(ReceiptError::of)?;
            for finalized in blocks {
                let Some(receipts) = &finalized.receipts else { continue };
                let height = finalized.block.header().height.0;
                for receipt in receipts.iter() {
                    heights.insert(receipt.hash.0, height).map_err(ReceiptError::of)?;
                }
                let value = codec::encode(&(finalized.block.hash(), receipts.as_ref()));
                rows.insert(height, value.as_slice()).map_err(ReceiptError::of)?;
            }
            let newest = blocks.iter().map(|finalized| finalized.block.header().height.0).max().unwrap_or(0);
            let oldest = newest.saturating_sub(self.kept);
            let old = rows.range(..oldest).map_err(ReceiptError::of)?;
            let old = old.map(|row| row.map(|(height, value)| (height.value(), decode(value.value()))));
            let old = old.collect::<Result<Vec<_>, _>>().map_err(ReceiptError::of)?;
            for (height, block) in old {
                for receipt in block?.receipts {
                    heights.remove(receipt.hash.0).map_err(ReceiptError::of)?;
                }
                rows.remove(height).map_err(ReceiptError::of)?;
            }
        }
        write.commit().map_err(ReceiptError::of)
    }

    /// The receipts of the block at this height, if they are known and kept.
    ///
    /// # Errors
    /// See [`ReceiptError`].
    pub fn at(&self, height: u64) -> Result<Option<BlockReceipts>, ReceiptError> {
        let read = self.database.begin_read().map_err(ReceiptError::of)?;
        let rows = read.open_table(RECEIPTS).map_err(ReceiptError::of)?;
        let row = rows.get(height).map_err(ReceiptError::of)?;
        row.map(|value| decode(value.value())).transpose()
    }

    /// Height and receipt of a transaction, if they are known and kept.
    ///
    /// # Errors
    /// See [`ReceiptError`].
    pub fn find(&self, transaction: &Hash32) -> Result<Option<(u64, Receipt)>, ReceiptError> {
        let read = self.database.begin_read().map_err(ReceiptError::of)?;
        let heights = read.open_table(HEIGHTS).map_err(ReceiptError::of)?;
        let Some(height) = heights.get(transaction.0).map_err(ReceiptError::of)?.map(|height| height.value()) else {
            return Ok(None);
        };
        let block = self.at(height)?;
        let receipt = block.and_then(|block| block.receipts.into_iter().find(|one| one.hash == *transaction));
        Ok(receipt.map(|receipt| (height, receipt)))
    }
}

fn decode(bytes: &[u8]) -> Result<BlockReceipts, ReceiptError> {
    let (block, receipts) = codec::decode(bytes, MAX_BYTES).map_err(ReceiptError::of)?;
    Ok(BlockReceipts { block, receipts })
}
