//! What was spent on packages: it outlives the process, so that a restart refills no budget.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use surety_client::wallet;
use surety_primitives::Amount;
use surety_primitives::typed_data::Bytes16;

use super::{Bought, BuyError, Buyer, Order};

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
    /// The buyer did not buy, or does not know whether it did.
    #[error(transparent)]
    Unbought(#[from] BuyError),
    /// The purchase could not be named.
    #[error("no random numbers: {0}")]
    NoReference(String),
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
    /// What the purchase that is not settled may cost. It counts as spent meanwhile: it may have been.
    #[serde(default)]
    given: Amount,
    /// Names that purchase: the next one is the same again, until it is known what became of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<Bytes16>,
}

impl Account {
    const fn counted(&self) -> Amount {
        Amount(self.spent.0.saturating_add(self.given.0))
    }
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
        for account in accounts.values_mut().filter(|account| account.reference.is_none()) {
            // Nobody can ask what became of it.
            *account = Account { spent: account.counted(), ..Account::default() };
        }
        let ledger = Self { path: path.to_owned(), accounts: Mutex::new(accounts) };
        ledger.save(&ledger.accounts())?;
        Ok(ledger)
    }

    /// What was spent or may have been, by service.
    pub(super) fn spent(&self) -> BTreeMap<String, Amount> {
        self.accounts().iter().map(|(name, account)| (name.clone(), account.counted())).collect()
    }

    /// Lets the buyer buy for what is left of the budget. Reference and amount are on disk before it does, so that neither a
    /// death nor a lost reply leads to a second purchase or to a forgotten one: while the outcome is in doubt, the same order
    /// is given again.
    pub(super) async fn buy(&self, name: &str, budget: Amount, buyer: &Buyer) -> Result<Bought, BudgetError> {
        let order = self.order(name, budget)?;
        let most = order.most;
        let outcome = buyer(order).await;
        self.change(name, |account| {
            *account = match &outcome {
                Ok(bought) => {
                    Account { spent: Amount(account.spent.0.saturating_add(bought.cost.0)), ..Account::default() }
                }
                Err(BuyError::Refused(_)) => Account { spent: account.spent, ..Account::default() },
                Err(BuyError::Doubtful(_)) => *account,
            };
            Ok(())
        })?;
        let bought = outcome?;
        if bought.cost > most {
            return Err(BudgetError::Overspent { cost: bought.cost, most });
        }
        Ok(bought)
    }

    /// The order that is in doubt, or a new one for what is left.
    fn order(&self, name: &str, budget: Amount) -> Result<Order, BudgetError> {
        self.change(name, |account| {
            let reference = match account.reference {
                Some(reference) => reference,
                None => {
                    let left = Amount(budget.0.saturating_sub(account.counted().0));
                    if left.is_zero() {
                        return Err(BudgetError::Spent { budget });
                    }
                    let random = wallet::random::<16>().map_err(|error| BudgetError::NoReference(error.to_string()))?;
                    let reference = Bytes16(*random);
                    *account = Account { given: left, reference: Some(reference), ..*account };
                    reference
                }
            };
            Ok(Order { name: name.to_owned(), most: account.given, reference })
        })
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

    fn save(&self, accounts: &BTreeMap<String, Account>) -> Result<(), BudgetError> {
        let failed = |reason: String| BudgetError::File { path: self.path.clone(), reason };
        let bytes = serde_json::to_vec_pretty(accounts).map_err(|error| failed(error.to_string()))?;
        wallet::replace(&self.path, &bytes).map_err(|error| failed(error.to_string()))
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

    /// A buyer that answers each order so, and keeps what it was ordered.
    fn answering(error: fn(String) -> BuyError) -> (Buyer, Arc<Mutex<Vec<Order>>>) {
        let orders: Arc<Mutex<Vec<Order>>> = Arc::default();
        let kept = Arc::clone(&orders);
        let buyer: Buyer = Arc::new(move |order| {
            kept.lock().unwrap().push(order);
            Box::pin(async move { Err(error("no reply".to_owned())) })
        });
        (buyer, orders)
    }

    #[tokio::test]
    async fn a_purchase_that_certainly_came_to_nothing_costs_nothing_and_the_next_one_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(&folder.path().join("spent.json")).unwrap();
        let (refusing, orders) = answering(BuyError::Refused);
        for _ in 0..2 {
            let refused = ledger.buy("a", Amount(100), &refusing).await.unwrap_err();
            assert!(matches!(refused, BudgetError::Unbought(BuyError::Refused(_))), "{refused}");
            assert_eq!(ledger.spent()["a"], Amount::ZERO);
        }
        let orders = orders.lock().unwrap().clone();
        assert_eq!((orders[0].most, orders[1].most), (Amount(100), Amount(100)));
        assert_ne!(orders[0].reference, orders[1].reference);
        assert!(matches!(ledger.buy("b", Amount::ZERO, &refusing).await, Err(BudgetError::Spent { .. })));
    }

    #[tokio::test]
    async fn a_purchase_in_doubt_counts_as_spent_and_is_ordered_again_under_its_reference_until_it_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spent.json");
        let ledger = Ledger::open(&path).unwrap();
        let (doubting, orders) = answering(BuyError::Doubtful);
        for _ in 0..2 {
            let doubt = ledger.buy("a", Amount(100), &doubting).await.unwrap_err();
            assert!(matches!(doubt, BudgetError::Unbought(BuyError::Doubtful(_))), "{doubt}");
            assert_eq!(ledger.spent()["a"], Amount(100));
        }
        // A restart forgets nothing, and a larger budget makes no second purchase of it.
        let ledger = Ledger::open(&path).unwrap();
        assert!(ledger.buy("a", Amount(900), &doubting).await.is_err());
        let orders = orders.lock().unwrap().clone();
        assert_eq!(orders.len(), 3);
        assert!(orders.iter().all(|order| *order == orders[0]), "{orders:?}");
        // It had not come to anything after all: all of the budget is there again.
        let (refusing, _) = answering(BuyError::Refused);
        assert!(ledger.buy("a", Amount(900), &refusing).await.is_err());
        assert_eq!(ledger.spent()["a"], Amount::ZERO);
        let (next, asked) = answering(BuyError::Doubtful);
        assert!(ledger.buy("a", Amount(900), &next).await.is_err());
        let asked = asked.lock().unwrap().clone();
        assert!(asked[0].most == Amount(900) && asked[0].reference != orders[0].reference);
    }

    #[tokio::test]
    async fn a_death_while_buying_counts_as_spent_until_the_same_order_tells() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spent.json");
        let ledger = Ledger::open(&path).unwrap();
        let never: Buyer = Arc::new(|_| Box::pin(std::future::pending()));
        let wait = tokio::time::timeout(std::time::Duration::from_millis(20), ledger.buy("a", Amount(100), &never));
        assert!(wait.await.is_err());
        let text = std::fs::read_to_string(&path).unwrap();
        let after = Ledger::open(&path).unwrap();
        assert_eq!(after.spent()["a"], Amount(100));
        let (doubting, orders) = answering(BuyError::Doubtful);
        assert!(after.buy("a", Amount(100), &doubting).await.is_err());
        let reference = serde_json::to_string(&orders.lock().unwrap()[0].reference).unwrap();
        assert!(text.contains(&reference), "{text}: {reference}");
        std::fs::write(&path, "[]").unwrap();
        assert!(matches!(Ledger::open(&path), Err(BudgetError::File { .. })), "what was spent is not forgotten");
    }

    #[tokio::test]
    async fn what_was_given_without_a_reference_counts_as_spent_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("spent.json");
        std::fs::write(&path, r#"{"a":{"spent":"40","given":"60"}}"#).unwrap();
        let ledger = Ledger::open(&path).unwrap();
        assert_eq!(ledger.spent()["a"], Amount(100));
        let (refusing, _) = answering(BuyError::Refused);
        assert!(matches!(ledger.buy("a", Amount(100), &refusing).await, Err(BudgetError::Spent { .. })));
        assert!(ledger.buy("a", Amount(110), &refusing).await.is_err());
        assert_eq!(ledger.spent()["a"], Amount(100));
    }
}
