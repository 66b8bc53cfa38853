//! The store of one process: a redb file. One writer; the file's lock shows that no other life of the replica goes on.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use ::redb::{Database, StorageBackend};
use surety_primitives::access::Flags;
use surety_primitives::{Lane, PurchaseId, Seconds};

use super::rows::{
    LaneRow, LeaseRow, Life, PackageRow, Tables, below, decode, failed, from, get, lane_key, number_key, put, remove,
};
use super::writer::Writer;
use super::{CounterStore, LaneOwner, Lease, LeaseId, MAX_LEASE, RECONCILE_AFTER, StoreError, StoredVoucher, Ticket};

/// Bytes of redb's page cache.
const CACHE: usize = 32 << 20;
const LIFE: &[u8] = b"life";

/// Counters in a redb file. Each opening is a new life: what an earlier one held and did not give back has lapsed.
pub struct RedbStore {
    writer: Writer,
    life: Life,
    clock: Clock,
}

/// Wall seconds.
type Clock = fn() -> u64;

impl RedbStore {
    /// Opens or makes the file.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also when another process has it open.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::begin(Database::builder().set_cache_size(CACHE).create(path).map_err(failed)?, wall)
    }

    /// The same on a backend of the caller's, with its clock in seconds: for simulation.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn with_backend(backend: impl StorageBackend, clock: fn() -> u64) -> Result<Self, StoreError> {
        Self::begin(Database::builder().create_with_backend(backend).map_err(failed)?, clock)
    }

    fn begin(database: Database, clock: Clock) -> Result<Self, StoreError> {
        let transaction = database.begin_write().map_err(failed)?;
        let life = {
            let mut tables = Tables::open(&transaction)?;
            let life = get::<Life>(&tables.marks, LIFE)?.unwrap_or(0) + 1;
            put(&mut tables.marks, LIFE, &life)?;
            life
        };
        transaction.commit().map_err(failed)?;
        let keep = move |tables: &mut Tables<'_>, (purchase, lane): (_, _), fence, voucher: &StoredVoucher| {
            keep_voucher(tables, purchase, lane, fence, voucher)
        };
        let writer = Writer::start(database, Box::new(keep)).map_err(failed)?;
        Ok(Self { writer, life, clock })
    }

    /// Runs `job` on the purchase's row and writes the row back.
    fn with_package<T: Send + 'static>(
        &self,
        purchase: PurchaseId,
        job: impl FnOnce(&mut Tables<'_>, &mut PackageRow) -> Result<T, StoreError> + Send + 'static,
    ) -> Ticket<T> {
        let (life, now) = (self.life, (self.clock)());
        self.writer.write(move |tables| {
            let mut row = tables.package(purchase)?;
            enter_life(tables, purchase, &mut row, life, now)?;
            let result = job(tables, &mut row)?;
            put(&mut tables.packages, &purchase.0, &row)?;
            Ok(result)
        })
    }
}

impl CounterStore for RedbStore {
    fn open(&self, purchase: PurchaseId, quota: u64, window: u32, lanes: u32, end: Seconds) -> Ticket<()> {
        let life = self.life;
        self.writer.write(move |tables| match get::<PackageRow>(&tables.packages, &purchase.0)? {
            Some(row) if (row.quota, row.window, row.lanes) == (quota, window, lanes) => Ok(()),
            Some(_) => Err(StoreError::OtherTerms(purchase)),
            None => put(&mut tables.packages, &purchase.0, &fresh(quota, window, lanes, end, life)),
        })
    }

    fn lease(&self, purchase: PurchaseId, want: u64) -> Ticket<Lease> {
        let life = self.life;
        self.with_package(purchase, move |tables, row| {
            let left = row.quota.saturating_sub(row.debited);
            let units = want.min(left.div_ceil(8)).min(MAX_LEASE);
            let id = LeaseId(row.next_lease);
            if units > 0 {
                row.debited += units;
                row.next_lease += 1;
                put(&mut tables.leases, &number_key(&purchase.0, id.0), &LeaseRow { life, units })?;
            }
            Ok(Lease { id, units, unleased: left - units })
        })
    }

    fn settle(&self, purchase: PurchaseId, lease: LeaseId, used: u64) -> Ticket<()> {
        let life = self.life;
        self.with_package(purchase, move |tables, row| {
            let key = number_key(&purchase.0, lease.0);
            // A lapsed lease counts as spent: only who holds it may end it.
            if let Some(held) = get::<LeaseRow>(&tables.leases, &key)?.filter(|held| held.life == life) {
                row.debited = row.debited.saturating_sub(held.units.saturating_sub(used));
                remove(&mut tables.leases, &key)?;
            }
            Ok(())
        })
    }

    fn allot(&self, purchase: PurchaseId, want: u32) -> Ticket<u32> {
        self.with_package(purchase, move |_, row| {
            row.allotted = want.min(row.window.saturating_sub(row.lapsed));
            Ok(row.allotted)
        })
    }

    fn own_lane(&self, purchase: PurchaseId, lane: Lane) -> Ticket<LaneOwner> {
        let life = self.life;
        self.with_package(purchase, move |tables, _| {
            let before = tables.lane(purchase, lane)?;
            let inherited = before.as_ref().is_some_and(|row| row.life != life || !row.signed);
            let row = LaneRow {
                life,
                fence: before.as_ref().map_or(1, |row| row.fence + 1),
                ceiling: before.as_ref().map_or(0, |row| row.ceiling),
                signed: !inherited,
                lapsed: before.as_ref().is_some_and(|row| row.lapsed),
                best: before.as_ref().and_then(|row| row.best.clone()),
                opening: before.and_then(|row| row.opening),
            };
            put(&mut tables.lanes, &lane_key(purchase, lane), &row)?;
            Ok(LaneOwner { fence: row.fence, seq_floor: row.ceiling, best: row.cum(), inherited })
        })
    }

    fn reserve_seq(&self, purchase: PurchaseId, lane: Lane, fence: u64, ceiling: u64) -> Ticket<()> {
        let life = self.life;
        self.writer.write(move |tables| {
            let mut row = tables
                .lane(purchase, lane)?
                .filter(|row| row.fence == fence && row.life == life)
                .ok_or(StoreError::Fenced(lane))?;
            row.ceiling = row.ceiling.max(ceiling);
            put(&mut tables.lanes, &lane_key(purchase, lane), &row)
        })
    }

    fn put_voucher(&self, purchase: PurchaseId, lane: Lane, fence: u64, voucher: StoredVoucher) {
        self.writer.put_voucher((purchase, lane), fence, voucher);
    }

    fn sync(&self) -> Ticket<()> {
        self.writer.read(|_| Ok(()))
    }

    fn vouchers(&self, purchase: PurchaseId) -> Ticket<Vec<StoredVoucher>> {
        self.writer.read(move |tables| Ok(tables.lanes_of(purchase)?.into_iter().filter_map(|row| row.best).collect()))
    }

    fn opening(&self, purchase: PurchaseId, lane: Lane) -> Ticket<Option<StoredVoucher>> {
        self.writer.read(move |tables| Ok(tables.lane(purchase, lane)?.and_then(|row| row.opening)))
    }

    fn reconcile(&self, purchase: PurchaseId) -> Ticket<u64> {
        let (life, now) = (self.life, (self.clock)());
        self.with_package(purchase, move |tables, row| {
            if row.lapsed_at > 0 && now >= row.lapsed_at.saturating_add(RECONCILE_AFTER) {
                row.debited = row.debited.min(count_again(tables, purchase, row, life)?);
                row.lapsed_at = 0;
            }
            Ok(row.quota.saturating_sub(row.debited))
        })
    }

    fn purchases(&self) -> Ticket<Vec<(PurchaseId, Seconds)>> {
        self.writer.read(|tables| {
            let read = |(key, row): (Vec<u8>, Vec<u8>)| {
                let id = key.as_slice().try_into().map_err(failed)?;
                Ok((PurchaseId(id), Seconds(decode::<PackageRow>(&row)?.end)))
            };
            below(&tables.packages, &[])?.into_iter().map(read).collect()
        })
    }

    fn forget(&self, purchase: PurchaseId) -> Ticket<()> {
        self.writer.write(move |tables| {
            remove(&mut tables.packages, &purchase.0)?;
            for rows in [&mut tables.leases, &mut tables.lanes, &mut tables.answers] {
                for (key, _) in below(rows, &purchase.0)? {
                    remove(rows, &key)?;
                }
            }
            Ok(())
        })
    }

    fn log_answer(&self, purchase: PurchaseId, lane: Lane, seq: u64, answer: Vec<u8>, drop: Option<u64>) -> Ticket<()> {
        self.writer.write(move |tables| {
            let lane = lane_key(purchase, lane);
            tables.answers.insert(number_key(&lane, seq).as_slice(), answer.as_slice()).map_err(failed)?;
            drop.map_or(Ok(()), |seq| remove(&mut tables.answers, &number_key(&lane, seq)))
        })
    }

    fn answers(&self, purchase: PurchaseId, lane: Lane, first: u64, most: usize) -> Ticket<Vec<(u64, Vec<u8>)>> {
        self.writer.read(move |tables| {
            let lane = lane_key(purchase, lane);
            let rows = from(&tables.answers, &number_key(&lane, first), &lane, most)?;
            let seq = |key: &[u8]| key.last_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            Ok(rows.into_iter().map(|(key, answer)| (seq(&key), answer)).collect())
        })
    }

    fn read_mark(&self, name: &'static str) -> Ticket<u64> {
        self.writer.read(move |tables| Ok(get(&tables.marks, &mark_key(name))?.unwrap_or(0)))
    }

    fn write_mark(&self, name: &'static str, value: u64) -> Ticket<()> {
        self.writer.write(move |tables| put(&mut tables.marks, &mark_key(name), &value))
    }
}

fn mark_key(name: &str) -> Vec<u8> {
    [b"mark/", name.as_bytes()].concat()
}

const fn fresh(quota: u64, window: u32, lanes: u32, end: Seconds, life: Life) -> PackageRow {
    PackageRow {
        quota,
        window,
        lanes,
        end: end.0,
        debited: 0,
        next_lease: 1,
        life,
        allotted: 0,
        lapsed: 0,
        unsigned: 0,
        forgiven: 0,
        lapsed_at: 0,
    }
}

/// What an earlier life held of W has lapsed when a later one first looks.
fn enter_life(
    tables: &mut Tables<'_>,
    purchase: PurchaseId,
    row: &mut PackageRow,
    life: Life,
    now: u64,
) -> Result<(), StoreError> {
    if row.life == life {
        return Ok(());
    }
    let (held, dead) = (row.allotted, row.life);
    row.life = life;
    row.allotted = 0;
    row.lapsed_at = now.max(1);
    row.forgiven = row.forgiven.saturating_add(u64::from(held));
    if held == 0 {
        return Ok(());
    }
    // A lane that the dead life did not take has nothing unacknowledged of it.
    for (key, bytes) in below(&tables.lanes, &purchase.0)? {
        let mut lane = decode::<LaneRow>(&bytes)?;
        if lane.life == dead && !lane.lapsed {
            lane.lapsed = true;
            row.unsigned = row.unsigned.saturating_add(1);
            put(&mut tables.lanes, &key, &lane)?;
        }
    }
    row.lapsed = if row.unsigned == 0 { 0 } else { row.lapsed.saturating_add(held).min(row.window) };
    Ok(())
}

/// The most that can have been used: live leases, what each lane acknowledged (or could have sent, where nothing came since
/// the lapse), W for what is unacknowledged now, and what lapsed unacknowledged before.
fn count_again(tables: &mut Tables<'_>, purchase: PurchaseId, row: &PackageRow, life: Life) -> Result<u64, StoreError> {
    let mut used = u64::from(row.window).saturating_add(row.forgiven);
    for lane in tables.lanes_of(purchase)? {
        let known = lane.signed && lane.life == life;
        used = used.saturating_add(if known { lane.cum() } else { lane.ceiling });
    }
    for (key, bytes) in below(&tables.leases, &purchase.0)? {
        let lease = decode::<LeaseRow>(&bytes)?;
        if lease.life == life {
            used = used.saturating_add(lease.units);
        } else {
            remove(&mut tables.leases, &key)?;
        }
    }
    Ok(used)
}

fn keep_voucher(
    tables: &mut Tables<'_>,
    purchase: PurchaseId,
    lane: Lane,
    fence: u64,
    voucher: &StoredVoucher,
) -> Result<(), StoreError> {
    // A voucher for what was forgotten meanwhile has nothing left to pay for it.
    let Some(mut row) = tables.lane(purchase, lane)? else { return Ok(()) };
    if row.cum() < voucher.voucher.head().cum {
        row.best = Some(voucher.clone());
    }
    if voucher.voucher.head().flags.has(Flags::OPEN) {
        row.opening = Some(voucher.clone());
    }
    if row.fence == fence && !row.signed {
        row.signed = true;
        if std::mem::take(&mut row.lapsed)
            && let Some(mut package) = get::<PackageRow>(&tables.packages, &purchase.0)?
        {
            package.unsigned = package.unsigned.saturating_sub(1);
            if package.unsigned == 0 {
                package.lapsed = 0;
            }
            put(&mut tables.packages, &purchase.0, &package)?;
        }
    }
    put(&mut tables.lanes, &lane_key(purchase, lane), &row)
}

fn wall() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
