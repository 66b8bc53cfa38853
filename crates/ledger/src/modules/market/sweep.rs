//! Sweep: delete rows past their last deadline, for the deposits on them (`market.md` B1, B3).
//!
//! A purchase goes last of the rows that belong to it: its count of them must be down to itself and its sale. An emptied
//! tranche is deleted where it is emptied, so nothing is left of it to sweep.

use borsh::{BorshDeserialize, BorshSerialize};
use surety_primitives::typed_data::Blob;
use surety_primitives::{Address, Amount, DatasetId, Hash32, PurchaseId, Seconds, codec, typed_struct};

use super::state::{
    CALL_KEYS, DATASET_VERSIONS, DATASETS, Event, FAULTS, LANES, PENALTIES, PURCHASES, PurchaseRecord, PurchaseStatus,
    REVOCATIONS, SALES, SHOWN,
};
use super::{Error, coverage};
use crate::action::Action;
use crate::audit::sum;
use crate::context::Context;
use crate::error::Result;
use crate::state::{Key, Map};

/// Most rows of one sweep.
const ROWS_MOST: usize = 32;
/// Longest id of a row: a fault's, 32 bytes and 16.
const ID_MOST: usize = 48;
/// The rows that a purchase has to the end: itself and its sale.
const OWN_ROWS: u32 = 2;

typed_struct! {
    /// Names a row of the state.
    pub struct RowRef {
        /// The table's number, as the row's value begins with it.
        pub table: u16,
        /// The id, as it stands behind that number in the row's value.
        pub id: Blob,
    }
}

typed_struct! {
    /// Deletes rows that nobody needs any more, in the order given; their deposits go to the signer. All or none.
    pub struct Sweep {
        /// 1 to 32 rows.
        pub rows: Vec<RowRef>,
    }
}

/// A row that can be swept.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Purchase(PurchaseId),
    /// A row that belongs to a purchase, and where it lies.
    Part(PurchaseId, Key),
    Fault(Hash32, PurchaseId),
    Penalty(Hash32),
    Version(DatasetId, u64),
}

impl Action for Sweep {
    fn check(&self) -> Result<()> {
        let fits = (1..=ROWS_MOST).contains(&self.rows.len());
        ensure!(fits, Error::BadCount { field: "rows", least: 1, most: 32 });
        self.rows.iter().try_for_each(|row| row.target().map(|_| ()))
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut deposits = Vec::with_capacity(self.rows.len());
        for (index, row) in (0_u32..).zip(&self.rows) {
            let deposit = row.target()?.delete(ctx)?;
            deposits.push(deposit.ok_or(Error::NotDue { index })?);
        }
        let deposits = sum(deposits.into_iter());
        coverage::refund_rows(ctx, deposits);
        let rows = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        ctx.emit(Event::Swept { rows, deposits });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.extend(self.rows.iter().filter_map(|row| row.target().ok()).map(|target| target.key()));
    }
}

impl RowRef {
    /// Names the record of `id` in a table.
    #[must_use]
    pub fn to<K: BorshSerialize, V>(table: Map<K, V>, id: &K) -> Self {
        Self { table: u16::from(table.label().0), id: Blob(codec::encode(id)) }
    }

    fn is_in<K, V>(&self, table: Map<K, V>) -> bool {
        self.table == u16::from(table.label().0)
    }

    fn read<K: BorshDeserialize>(&self) -> Result<K> {
        codec::decode(&self.id.0, ID_MOST).map_err(|_| Error::Malformed { field: "id" }.into())
    }

    fn part<K, V>(&self, table: Map<(PurchaseId, K), V>) -> Result<Target>
    where
        K: BorshSerialize + BorshDeserialize,
    {
        let id: (PurchaseId, K) = self.read()?;
        Ok(Target::Part(id.0, table.key(&id)))
    }

    fn target(&self) -> Result<Target> {
        if self.is_in(PURCHASES) {
            self.read().map(Target::Purchase)
        } else if self.is_in(LANES) {
            self.part(LANES)
        } else if self.is_in(REVOCATIONS) {
            self.part(REVOCATIONS)
        } else if self.is_in(CALL_KEYS) {
            self.part(CALL_KEYS)
        } else if self.is_in(SHOWN) {
            let purchase = self.read()?;
            Ok(Target::Part(purchase, SHOWN.key(&purchase)))
        } else if self.is_in(FAULTS) {
            self.read().map(|(fault, purchase)| Target::Fault(fault, purchase))
        } else if self.is_in(PENALTIES) {
            self.read().map(Target::Penalty)
        } else if self.is_in(DATASET_VERSIONS) {
            self.read().map(|(dataset, version)| Target::Version(dataset, version))
        } else {
            Err(Error::BadRange { field: "table", rule: "one of those whose rows can be swept" }.into())
        }
    }
}

impl Target {
    fn key(&self) -> Key {
        match self {
            Self::Purchase(id) => PURCHASES.key(id),
            Self::Part(_, key) => *key,
            Self::Fault(fault, purchase) => FAULTS.key(&(*fault, *purchase)),
            Self::Penalty(fault) => PENALTIES.key(fault),
            Self::Version(dataset, version) => DATASET_VERSIONS.key(&(*dataset, *version)),
        }
    }

    /// Deletes the row and returns its deposit; nothing if it is not due or not there.
    fn delete(&self, ctx: &mut Context<'_>) -> Result<Option<Amount>> {
        let key = self.key();
        if ctx.read(&key, <[u8]>::is_empty).is_none() {
            return Ok(None);
        }
        match self {
            Self::Purchase(id) => delete_purchase(ctx, id),
            Self::Part(purchase, _) => delete_part(ctx, purchase, key),
            Self::Fault(fault, purchase) => {
                let unpaid = FAULTS.get(ctx, &(*fault, *purchase)).map_or(Amount::ZERO, |fault| fault.unpaid);
                if unpaid.is_zero() { delete_part(ctx, purchase, key) } else { Ok(None) }
            }
            Self::Penalty(fault) => Ok(delete_penalty(ctx, fault)),
            Self::Version(dataset, version) => Ok(delete_version(ctx, *dataset, *version)),
        }
    }
}

fn delete_purchase(ctx: &mut Context<'_>, id: &PurchaseId) -> Result<Option<Amount>> {
    let purchase = coverage::load_purchase(ctx, id)?;
    if !is_over(ctx, &purchase) || purchase.rows != OWN_ROWS {
        return Ok(None);
    }
    let mut provider = coverage::load(ctx, &purchase.provider)?;
    ctx.invariant(provider.promised >= purchase.promised(), "a purchase's cover is part of what is promised");
    provider.promised = provider.promised.saturating_sub(purchase.promised());
    coverage::store(ctx, &purchase.provider, &mut provider);
    SALES.remove(ctx, &(purchase.provider, purchase.sale));
    PURCHASES.remove(ctx, id);
    Ok(Some(purchase.deposit))
}

fn delete_part(ctx: &mut Context<'_>, id: &PurchaseId, key: Key) -> Result<Option<Amount>> {
    let mut purchase = coverage::load_purchase(ctx, id)?;
    if !is_over(ctx, &purchase) {
        return Ok(None);
    }
    ctx.invariant(purchase.rows > OWN_ROWS, "a purchase counts the rows that belong to it");
    let deposit = coverage::detach_rows(&mut purchase, 1);
    PURCHASES.set(ctx, id, &purchase);
    ctx.erase(key);
    Ok(Some(deposit))
}

// Settled, and no fault of it can be proven any more.
fn is_over(ctx: &Context<'_>, purchase: &PurchaseRecord) -> bool {
    let kept = ctx.params().purchase_kept.max(ctx.params().fault_window);
    purchase.status == PurchaseStatus::Settled && ctx.now() > purchase.end().after(kept)
}

// As long as a package may last that was sold when the fault was proven: till then the row keeps the penalty from being
// set again for the same fault.
fn delete_penalty(ctx: &mut Context<'_>, fault: &Hash32) -> Option<Amount> {
    let penalty = PENALTIES.get(ctx, fault)?;
    if !penalty.unpaid.is_zero() || !is_forgotten(ctx, penalty.proven) {
        return None;
    }
    PENALTIES.remove(ctx, fault);
    Some(penalty.deposit)
}

// Oldest first, so that one number says which versions can still be judged.
fn delete_version(ctx: &mut Context<'_>, id: DatasetId, version: u64) -> Option<Amount> {
    let mut dataset = DATASETS.get(ctx, &id)?;
    let record = DATASET_VERSIONS.get(ctx, &(id, version))?;
    let end = record.retired.map_or(record.valid_until, |retired| retired.min(record.valid_until));
    if version != dataset.first_kept || !is_forgotten(ctx, end) {
        return None;
    }
    dataset.first_kept = version.saturating_add(1);
    DATASETS.set(ctx, &id, &dataset);
    DATASET_VERSIONS.remove(ctx, &(id, version));
    Some(record.deposit)
}

fn is_forgotten(ctx: &Context<'_>, moment: Seconds) -> bool {
    ctx.now() > moment.after(ctx.params().dataset_kept)
}
