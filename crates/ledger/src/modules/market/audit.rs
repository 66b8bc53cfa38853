//! What must be true of the market's rows, all of them together.

use std::collections::BTreeMap;

use surety_primitives::{Amount, ProviderId, PurchaseId};

use super::state::{
    CALL_KEYS, DATASET_VERSIONS, DATASETS, FAULTS, LANES, PENALTIES, PROVIDER_KEYS, PROVIDERS, PURCHASES, Provider,
    PurchaseRecord, REVOCATIONS, SALES, SERVICES, SHOWN, TRANCHES,
};
use crate::audit::{Error, sum};
use crate::modules::bank::Totals;
use crate::state::MemoryRows;

/// Checks the market's pools against the rows behind them, each provider's sums against its purchases, faults and
/// penalties, I1 for every provider, and that no row outlives the purchase it belongs to.
pub(crate) fn audit(rows: &MemoryRows, totals: &Totals) -> Result<(), Error> {
    let providers: BTreeMap<_, _> = rows.scan(PROVIDERS).into_iter().collect();
    let purchases: BTreeMap<_, _> = rows.scan(PURCHASES).into_iter().collect();
    pools(rows, totals, &providers)?;
    equal("deposits", totals.deposits, deposits(rows, &purchases))?;
    liabilities(rows, &providers, &purchases)?;
    belongings(rows, &purchases)
}

fn pools(rows: &MemoryRows, totals: &Totals, providers: &BTreeMap<ProviderId, Provider>) -> Result<(), Error> {
    let of = |pick: fn(&Provider) -> Amount| sum(providers.values().map(pick));
    equal("stake", totals.stake, of(bonded))?;
    equal("escrow", totals.escrow, of(|provider| provider.open_value))?;
    equal("unreleased", totals.unreleased, of(|provider| provider.unreleased))?;
    let mut unreleased: Sums = Sums::new();
    for ((provider, _), tranche) in rows.scan(TRANCHES) {
        add(&mut unreleased, provider, tranche.amount);
    }
    agree("unreleased", providers, |provider| provider.unreleased, &unreleased)
}

/// Every row with a deposit says so, or the purchase does that it belongs to.
fn deposits(rows: &MemoryRows, purchases: &BTreeMap<PurchaseId, PurchaseRecord>) -> Amount {
    let parts = [
        sum(purchases.values().map(|purchase| purchase.deposit)),
        sum(rows.scan(TRANCHES).into_iter().map(|(_, row)| row.deposit)),
        sum(rows.scan(PENALTIES).into_iter().map(|(_, row)| row.deposit)),
        sum(rows.scan(SERVICES).into_iter().map(|(_, row)| row.deposit)),
        sum(rows.scan(DATASETS).into_iter().map(|(_, row)| row.deposit)),
        sum(rows.scan(DATASET_VERSIONS).into_iter().map(|(_, row)| row.deposit)),
        sum(rows.scan(PROVIDER_KEYS).into_iter().map(|(_, row)| row.deposit)),
    ];
    sum(parts.into_iter())
}

fn liabilities(
    rows: &MemoryRows,
    providers: &BTreeMap<ProviderId, Provider>,
    purchases: &BTreeMap<PurchaseId, PurchaseRecord>,
) -> Result<(), Error> {
    let (mut open, mut promised, mut owed) = (Sums::new(), Sums::new(), Sums::new());
    for purchase in purchases.values() {
        add(&mut open, purchase.provider, purchase.open());
        add(&mut promised, purchase.provider, purchase.promised());
    }
    for ((_, id), fault) in rows.scan(FAULTS) {
        let purchase = purchases.get(&id).ok_or(Error::Orphan(id))?;
        add(&mut promised, purchase.provider, fault.unpaid);
    }
    for (_, penalty) in rows.scan(PENALTIES) {
        add(&mut owed, penalty.provider, penalty.unpaid);
    }
    agree("open value", providers, |provider| provider.open_value, &open)?;
    agree("promised", providers, |provider| provider.promised, &promised)?;
    agree("owed", providers, |provider| provider.owed, &owed)?;
    match providers.iter().find(|(_, provider)| provider.exposure() > provider.backing()) {
        Some((id, _)) => Err(Error::Uncovered(*id)),
        None => Ok(()),
    }
}

/// Each purchase counts the rows that belong to it, and none belongs to a purchase that is gone.
fn belongings(rows: &MemoryRows, purchases: &BTreeMap<PurchaseId, PurchaseRecord>) -> Result<(), Error> {
    let mut found: BTreeMap<PurchaseId, u32> = BTreeMap::new();
    let owners = [
        purchases.keys().copied().collect(),
        rows.scan(SALES).into_iter().map(|(_, id)| id).collect::<Vec<_>>(),
        rows.scan(LANES).into_iter().map(|((id, _), _)| id).collect(),
        rows.scan(REVOCATIONS).into_iter().map(|((id, _), _)| id).collect(),
        rows.scan(CALL_KEYS).into_iter().map(|((id, _), _)| id).collect(),
        rows.scan(SHOWN).into_iter().map(|(id, _)| id).collect(),
        rows.scan(FAULTS).into_iter().map(|((_, id), _)| id).collect(),
    ];
    for id in owners.into_iter().flatten() {
        let count = found.entry(id).or_default();
        *count = count.saturating_add(1);
    }
    for (id, found) in found {
        let counted = purchases.get(&id).ok_or(Error::Orphan(id))?.rows;
        if counted != found {
            return Err(Error::Rows { purchase: id, counted, found });
        }
    }
    Ok(())
}

type Sums = BTreeMap<ProviderId, Amount>;

fn add(sums: &mut Sums, provider: ProviderId, amount: Amount) {
    let held = sums.entry(provider).or_default();
    *held = held.saturating_add(amount);
}

fn agree(
    what: &'static str,
    providers: &BTreeMap<ProviderId, Provider>,
    pick: fn(&Provider) -> Amount,
    sums: &Sums,
) -> Result<(), Error> {
    for (id, provider) in providers {
        let (held, rows) = (pick(provider), sums.get(id).copied().unwrap_or_default());
        if held != rows {
            return Err(Error::Provider { provider: *id, what, held, rows });
        }
    }
    Ok(())
}

fn bonded(provider: &Provider) -> Amount {
    sum(provider.unbonding.iter().map(|entry| entry.amount)).saturating_add(provider.stake)
}

fn equal(pool: &'static str, held: Amount, rows: Amount) -> Result<(), Error> {
    if held == rows { Ok(()) } else { Err(Error::Pool { pool, held, rows }) }
}
