//! What must be true of the market's rows, all of them together.

use surety_primitives::Amount;

use super::state::{PROVIDERS, Provider, TRANCHES};
use crate::audit::{Error, sum};
use crate::modules::bank::Totals;
use crate::state::MemoryRows;

/// Checks the market's pools against the rows behind them, and I1 for every provider.
pub(crate) fn audit(rows: &MemoryRows, totals: &Totals) -> Result<(), Error> {
    let providers = rows.scan(PROVIDERS);
    let of = |pick: fn(&Provider) -> Amount| sum(providers.iter().map(|(_, provider)| pick(provider)));
    equal("stake", totals.stake, of(bonded))?;
    equal("escrow", totals.escrow, of(|provider| provider.open_value))?;
    equal("unreleased", totals.unreleased, of(|provider| provider.unreleased))?;
    let tranches = sum(rows.scan(TRANCHES).into_iter().map(|(_, tranche)| tranche.amount));
    equal("unreleased", totals.unreleased, tranches)?;
    for (id, provider) in &providers {
        let backing = provider.stake.saturating_add(provider.unreleased);
        let exposure = provider.open_value.saturating_add(provider.promised);
        if exposure > backing {
            return Err(Error::Uncovered(*id));
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
