//! What stands in the store's tables.

use ::redb::{ReadableTable, Table, TableDefinition, WriteTransaction};
use borsh::{BorshDeserialize, BorshSerialize};
use surety_primitives::codec;
use surety_primitives::{Lane, PurchaseId};

use super::{StoreError, StoredVoucher};

type Bytes = &'static [u8];
type Rows<'t> = Table<'t, Bytes, Bytes>;

const PACKAGES: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("packages");
const LEASES: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("leases");
const LANES: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("lanes");
const ANSWERS: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("answers");
const MARKS: TableDefinition<'static, Bytes, Bytes> = TableDefinition::new("marks");

/// More than any row has.
const MAX_ROW: usize = 1 << 16;

/// Which life of the process: each start is a new one, and the file's lock shows that the one before is over.
pub(super) type Life = u64;

/// A purchase.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct PackageRow {
    pub(super) quota: u64,
    pub(super) window: u32,
    pub(super) lanes: u32,
    /// When it ends, ledger seconds.
    pub(super) end: u64,
    /// Units leased or used, of live and dead lives.
    pub(super) debited: u64,
    pub(super) next_lease: u64,
    /// The life that `allotted` belongs to.
    pub(super) life: Life,
    /// What this life holds of W.
    pub(super) allotted: u32,
    /// What dead lives still hold of W.
    pub(super) lapsed: u32,
    /// Lanes that dead lives called in, holding a part of W, and that have sent nothing signed since.
    pub(super) unsigned: u32,
    /// All that ever lapsed: calls that may have been served and show in no voucher.
    pub(super) forgiven: u64,
    /// Wall seconds of the last lapse; 0 when it is reconciled.
    pub(super) lapsed_at: u64,
}

/// A lease.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct LeaseRow {
    pub(super) life: Life,
    pub(super) units: u64,
}

/// A lane.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(super) struct LaneRow {
    pub(super) life: Life,
    pub(super) fence: u64,
    pub(super) ceiling: u64,
    /// Whether the present owner knows what is acknowledged.
    pub(super) signed: bool,
    /// Whether the package counts it among its unsigned lanes.
    pub(super) lapsed: bool,
    pub(super) best: Option<StoredVoucher>,
    pub(super) opening: Option<StoredVoucher>,
}

impl LaneRow {
    pub(super) fn cum(&self) -> u64 {
        self.best.as_ref().map_or(0, |best| best.voucher.head().cum)
    }
}

pub(super) fn lane_key(purchase: PurchaseId, lane: Lane) -> Vec<u8> {
    [purchase.0.as_slice(), &lane.0.to_be_bytes()].concat()
}

pub(super) fn number_key(prefix: &[u8], number: u64) -> Vec<u8> {
    [prefix, &number.to_be_bytes()].concat()
}

/// The tables within one transaction.
pub(super) struct Tables<'t> {
    pub(super) packages: Rows<'t>,
    pub(super) leases: Rows<'t>,
    pub(super) lanes: Rows<'t>,
    pub(super) answers: Rows<'t>,
    pub(super) marks: Rows<'t>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        let open = |definition| transaction.open_table(definition).map_err(failed);
        Ok(Self {
            packages: open(PACKAGES)?,
            leases: open(LEASES)?,
            lanes: open(LANES)?,
            answers: open(ANSWERS)?,
            marks: open(MARKS)?,
        })
    }

    pub(super) fn package(&self, purchase: PurchaseId) -> Result<PackageRow, StoreError> {
        get(&self.packages, &purchase.0)?.ok_or(StoreError::UnknownPurchase(purchase))
    }

    pub(super) fn lane(&self, purchase: PurchaseId, lane: Lane) -> Result<Option<LaneRow>, StoreError> {
        get(&self.lanes, &lane_key(purchase, lane))
    }

    pub(super) fn lanes_of(&self, purchase: PurchaseId) -> Result<Vec<LaneRow>, StoreError> {
        below(&self.lanes, &purchase.0)?.into_iter().map(|(_, bytes)| decode(&bytes)).collect()
    }
}

pub(super) fn get<T: BorshDeserialize>(rows: &Rows<'_>, key: &[u8]) -> Result<Option<T>, StoreError> {
    rows.get(key).map_err(failed)?.map(|value| decode(value.value())).transpose()
}

pub(super) fn put<T: BorshSerialize>(rows: &mut Rows<'_>, key: &[u8], value: &T) -> Result<(), StoreError> {
    rows.insert(key, codec::encode(value).as_slice()).map_err(failed)?;
    Ok(())
}

pub(super) fn remove(rows: &mut Rows<'_>, key: &[u8]) -> Result<(), StoreError> {
    rows.remove(key).map_err(failed)?;
    Ok(())
}

/// A row as it lies in the store: key and value.
pub(super) type Pair = (Vec<u8>, Vec<u8>);

/// Every row whose key begins with `prefix`.
pub(super) fn below(rows: &Rows<'_>, prefix: &[u8]) -> Result<Vec<Pair>, StoreError> {
    from(rows, prefix, prefix, usize::MAX)
}

/// Rows from `start` on, as long as their key begins with `prefix`, at most `most`.
pub(super) fn from(rows: &Rows<'_>, start: &[u8], prefix: &[u8], most: usize) -> Result<Vec<Pair>, StoreError> {
    let mut found = Vec::new();
    for row in rows.range(start..).map_err(failed)?.take(most) {
        let (key, value) = row.map_err(failed)?;
        if !key.value().starts_with(prefix) {
            break;
        }
        found.push((key.value().to_vec(), value.value().to_vec()));
    }
    Ok(found)
}

pub(super) fn decode<T: BorshDeserialize>(bytes: &[u8]) -> Result<T, StoreError> {
    codec::decode(bytes, MAX_ROW).map_err(|error| StoreError::Unavailable(format!("a row is damaged: {error}")))
}

pub(super) fn failed(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}
