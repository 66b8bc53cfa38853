//! Accounts and pools.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::{Address, Amount};

use crate::state::{Item, Map};

/// address → what it holds and how many transactions it has sent.
pub const ACCOUNTS: Map<Address, Account> = Map::new(1, "bank/account");
/// What lies in the pools, was minted, was burned.
pub const TOTALS: Item<Totals> = Map::new(2, "bank/totals");

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Account {
    /// What it holds, in base units.
    pub balance: Amount,
    /// Transactions that stood in blocks; the next one's nonce.
    pub nonce: u64,
}

/// A pool of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// Providers' stakes, bonded and unbonding.
    Stake,
    /// What was paid for packages and is not acknowledged yet.
    Escrow,
    /// What providers claimed and is not released yet.
    Unreleased,
    /// Deposits on rows.
    Deposits,
    /// What operators and investors will share.
    Rewards,
    /// The treasury.
    Treasury,
}

/// All pools, and the supply.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Totals {
    /// [`Pool::Stake`].
    pub stake: Amount,
    /// [`Pool::Escrow`].
    pub escrow: Amount,
    /// [`Pool::Unreleased`].
    pub unreleased: Amount,
    /// [`Pool::Deposits`].
    pub deposits: Amount,
    /// [`Pool::Rewards`].
    pub rewards: Amount,
    /// [`Pool::Treasury`].
    pub treasury: Amount,
    /// Everything that was ever created.
    pub minted: Amount,
    /// Everything that was ever destroyed.
    pub burned: Amount,
}

impl Totals {
    const fn pool(&mut self, pool: Pool) -> &mut Amount {
        match pool {
            Pool::Stake => &mut self.stake,
            Pool::Escrow => &mut self.escrow,
            Pool::Unreleased => &mut self.unreleased,
            Pool::Deposits => &mut self.deposits,
            Pool::Rewards => &mut self.rewards,
            Pool::Treasury => &mut self.treasury,
        }
    }

    pub(super) fn add(&mut self, pool: Pool, amount: Amount) -> Option<()> {
        let held = self.pool(pool);
        *held = held.checked_add(amount)?;
        Some(())
    }

    pub(super) fn take(&mut self, pool: Pool, amount: Amount) -> Option<()> {
        let held = self.pool(pool);
        *held = held.checked_sub(amount)?;
        Some(())
    }

    /// What all pools hold together.
    #[must_use]
    pub fn in_pools(&self) -> Amount {
        [self.stake, self.escrow, self.unreleased, self.deposits, self.rewards, self.treasury]
            .into_iter()
            .fold(Amount::ZERO, Amount::saturating_add)
    }
}

/// What happened to accounts.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum Event {
    /// Moved between accounts.
    Transferred {
        /// Payer.
        from: Address,
        /// Recipient.
        to: Address,
        /// How much.
        amount: Amount,
    },
    /// Destroyed by its holder.
    Burned {
        /// Holder.
        from: Address,
        /// How much.
        amount: Amount,
    },
}
