//! Audit: what must be true of a whole state, computed from its rows alone.
//!
//! It reads every row, so it runs in tests, at export and when an operator asks; never inside a block.

use surety_primitives::{Amount, ProviderId, PurchaseId};

use crate::modules::bank::{ACCOUNTS, TOTALS};
use crate::modules::market;
use crate::state::MemoryRows;

/// What an audit found, when all is well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Rows of the state.
    pub rows: usize,
    /// Held by accounts.
    pub in_accounts: Amount,
    /// Held by the ledger's pools.
    pub in_pools: Amount,
    /// Created less destroyed.
    pub supply: Amount,
}

/// What is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Accounts and pools do not sum to the supply.
    #[error("accounts hold {accounts} and pools {pools} CALL, but {supply} exist")]
    NotConserved {
        /// Held by accounts.
        accounts: Amount,
        /// Held by pools.
        pools: Amount,
        /// Created less destroyed.
        supply: Amount,
    },
    /// A pool is not the sum of the rows behind it.
    #[error("the {pool} pool holds {held} CALL, its rows say {rows}")]
    Pool {
        /// Which.
        pool: &'static str,
        /// What it holds.
        held: Amount,
        /// What its rows sum to.
        rows: Amount,
    },
    /// A provider's exposure is above its backing (`market.md` B2, I1).
    #[error("provider {0} is exposed to more than what backs it")]
    Uncovered(ProviderId),
    /// A provider's sum is not that of the rows behind it.
    #[error("provider {provider}: {what} is {held} CALL, its rows say {rows}")]
    Provider {
        /// Whose.
        provider: ProviderId,
        /// Which sum.
        what: &'static str,
        /// What its record says.
        held: Amount,
        /// What its rows sum to.
        rows: Amount,
    },
    /// A row belongs to a purchase that is gone.
    #[error("a row belongs to purchase {0}, which is gone")]
    Orphan(PurchaseId),
    /// A purchase does not count its rows.
    #[error("purchase {purchase} counts {counted} rows, there are {found}")]
    Rows {
        /// Which.
        purchase: PurchaseId,
        /// What it says.
        counted: u32,
        /// What there is.
        found: u32,
    },
}

/// Checks a whole state.
///
/// # Errors
/// The first thing that is not as it must be.
pub fn audit(rows: &MemoryRows) -> Result<Audit, Error> {
    let totals = rows.scan(TOTALS).pop().map(|(_, totals)| totals).unwrap_or_default();
    let accounts = sum(rows.scan(ACCOUNTS).into_iter().map(|(_, account)| account.balance));
    let (pools, supply) = (totals.in_pools(), totals.minted.saturating_sub(totals.burned));
    if accounts.checked_add(pools) != Some(supply) {
        return Err(Error::NotConserved { accounts, pools, supply });
    }
    market::audit(rows, &totals)?;
    Ok(Audit { rows: rows.0.len(), in_accounts: accounts, in_pools: pools, supply })
}

/// The sum of amounts that together fit the supply.
pub(crate) fn sum(amounts: impl Iterator<Item = Amount>) -> Amount {
    amounts.fold(Amount::ZERO, Amount::saturating_add)
}
