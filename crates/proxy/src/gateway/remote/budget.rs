//! What was spent on packages: it outlives the process, so that a restart refills no budget.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use surety_primitives::Amount;

use super::{Bought, Buyer};

/// Why nothing was bought, or what was spent is not known.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The file cannot be read or written.
    #[error("{path}: {reason}")]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
    /// The policy's budget is used up.
    #[error("the budget of {budget} base units is used up")]
    Spent {
        /// The budget.
        budget: Amount,
    },
    /// The buyer did not buy.
    #[error("{0}")]
    Refused(String),
    /// The buyer spent more than it was given.
    #[error("the purchase cost {cost}, and {most} was left")]
    Overspent {
        /// What it cost.
        cost: Amount,
        /// What was left.
        most: Amount,
    },
    /// Nobody buys.
    #[error("the gateway has no buyer")]
    NoBuyer,
}

/// What was spent on one service, base units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    spent: Amount,
    /// Given to a buyer who has not come back. After a crash it counts as spent: it may have been.
    #[serde(default)]
    given: Amount,
}

#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    accounts: Mutex<BTreeMap<String, Account>>,
}

impl Ledger {
    pub(super) fn open(path: &Path) -> Result<Self, BudgetError> {
        let failed = |reason: String| BudgetError::File { path: path.to_owned(), reason };
        let mut accounts: BTreeMap<String, Account> = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(failed(error.to_string())),
        };
        for account in accounts.values_mut() {
            account.spent = Amount(account.spent.0.saturating_add(account.given.0));
            account.given = Amount::ZERO;
        }
        let ledger = Self { path: path.to_owned(), accounts: Mutex::new(accounts) };
        ledger.save(&ledger.accounts())?;
        Ok(ledger)
    }

    /// What was spent, by service.
    pub(super) fn spent(&self) -> BTreeMap<String, Amount> {
        self.accounts().iter().map(|(name, account)| (name.clone(), account.spent)).collect()
    }

    /// Lets the buyer buy for what is left of the budget. What it may spend is on disk before it does.
    pub(super) async fn buy(&self, name: &str, budget: Amount, buyer: &Buyer) -> Result<Bought, BudgetError> {
        let most = self.change(name, |account| {
            let left = budget.0.saturating_sub(account.spent.0).saturating_sub(account.given.0);
            if left == 0 {
                return Err(BudgetError::Spent { budget });
            }
            account.given = Amount(left);
            Ok(Amount(left))
        })?;
        let bought = buyer(name.to_owned(), most).await;
        self.change(name, |account| {
            account.given = Amount::ZERO;
            if let Ok(bought) = &bought {
                account.spent = Amount(account.spent.0.saturating_add(bought.cost.0));
            }
            Ok(())
        })?;
        let bought = bought.map_err(BudgetError::Refused)?;
        if bought.cost > most {
            return Err(BudgetError::Overspent { cost: bought.cost, most });
        }
        Ok(bought)
    }

    fn change<T>(
        &self,
        name: &str,
        act: impl FnOnce(&mut Account) -> Result<T, BudgetError>,
    ) -> Result<T, BudgetError> {
        let mut accounts = self.accounts();
        let before = accounts.get(name).copied().unwrap_or_default();
        let mut account = before;
        let result = act(&mut account)?;
        accounts.insert(name.to_owned(), account);
        if let Err(error) = self.save(&accounts) {
            accounts.insert(name.to_owned(), before);
            return Err(error);
        }
        Ok(result)
    }

    /// Under another name first: a death in between leaves the old state or the new one.
    fn save(&self, accounts: &BTreeMap<String, Account>) -> Result<(), BudgetError> {
        let failed = |reason: String| BudgetError::File { path: self.path.clone(), reason };
        let bytes = serde_json::to_vec_pretty(accounts).map_err(|error| failed(error.to_string()))?;
        let draft = self.path.with_extension("new");
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&draft)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            std::fs::rename(&draft, &self.path)
        };
        write().map_err(|error| failed(error.to_string()))
    }

    fn accounts(&self) -> MutexGuard<'_, BTreeMap<String, Account>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn refusing() -> Buyer {
        Arc::new(|_, most| Box::pin(async move { Err(format!("nothing for {most}")) }))
    }

    #[tokio::test]
    async fn a_purchase_that_came_to_nothing_costs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("spent.json")).unwrap();
        let refused = ledger.buy("a", Amount(100), &refusing()).await.unwrap_err();
        assert_eq!(refused.to_string(), format!("nothing for {}", Amount(100)));
        assert_eq!(ledger.spent()["a"], Amount::ZERO);
        assert!(matches!(ledger.buy("b", Amount::ZERO, &refusing()).await, Err(BudgetError::Spent { .. })));
    }

    #[tokio::test]
    async fn a_death_while_buying_counts_as_spent() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spent.json");
        let ledger = Ledger::open(&path).unwrap();
        let never: Buyer = Arc::new(|_, _| Box::pin(std::future::pending()));
        let wait = tokio::time::timeout(std::time::Duration::from_millis(20), ledger.buy("a", Amount(100), &never));
        assert!(wait.await.is_err());
        let after = Ledger::open(&path).unwrap();
        assert_eq!(after.spent()["a"], Amount(100));
        assert!(matches!(after.buy("a", Amount(100), &never).await, Err(BudgetError::Spent { .. })));
        std::fs::write(&path, "[]").unwrap();
        assert!(matches!(Ledger::open(&path), Err(BudgetError::File { .. })), "what was spent is not forgotten");
    }
}
