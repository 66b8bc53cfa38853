//! Bank: who holds how much CALL, and what lies in the ledger's own pools.
//!
//! Invariant: all accounts and pools together hold what was minted less what was burned.
//! Never here: why money moves. Other modules move it through the functions below and through nothing else.

mod burn;
mod error;
mod state;
mod transfer;

pub use burn::Burn;
pub use error::Error;
pub use state::{ACCOUNTS, Account, Event, Pool, TOTALS, Totals};
pub use transfer::Transfer;

use surety_primitives::{Address, Amount};

use crate::context::Context;
use crate::error::Result;
use crate::transaction;

/// What an account holds.
#[must_use]
pub fn balance_of(ctx: &Context<'_>, account: &Address) -> Amount {
    ACCOUNTS.get(ctx, account).unwrap_or_default().balance
}

/// Moves from an account into a pool.
///
/// # Errors
/// [`Error::InsufficientFunds`].
pub fn debit(ctx: &mut Context<'_>, from: &Address, pool: Pool, amount: Amount) -> Result<()> {
    withdraw(ctx, from, amount)?;
    adjust(ctx, |totals| totals.add(pool, amount));
    Ok(())
}

/// Moves from a pool to an account. What a pool owes, it holds: less is a broken invariant.
pub fn credit(ctx: &mut Context<'_>, pool: Pool, to: &Address, amount: Amount) {
    adjust(ctx, |totals| totals.take(pool, amount));
    deposit(ctx, to, amount);
}

/// Moves from one pool to another.
pub fn shift(ctx: &mut Context<'_>, from: Pool, to: Pool, amount: Amount) {
    adjust(ctx, |totals| totals.take(from, amount).and_then(|()| totals.add(to, amount)));
}

/// Burns what lies in a pool.
pub fn burn(ctx: &mut Context<'_>, from: Pool, amount: Amount) {
    adjust(ctx, |totals| {
        totals.take(from, amount)?;
        totals.burned = totals.burned.checked_add(amount)?;
        Some(())
    });
}

/// Creates CALL; only the genesis does.
pub(crate) fn mint(ctx: &mut Context<'_>, to: &Address, amount: Amount) {
    adjust(ctx, |totals| {
        totals.minted = totals.minted.checked_add(amount)?;
        (totals.minted < Amount::SUPPLY_LIMIT).then_some(())
    });
    deposit(ctx, to, amount);
}

/// Takes the account's next nonce.
///
/// # Errors
/// [`transaction::Error::BadNonce`].
pub(crate) fn use_nonce(ctx: &mut Context<'_>, signer: &Address, given: u64) -> Result<()> {
    let mut account = ACCOUNTS.get(ctx, signer).unwrap_or_default();
    let expected = account.nonce;
    ensure!(given == expected, transaction::Error::BadNonce { expected, given });
    account.nonce = expected.saturating_add(1);
    ACCOUNTS.set(ctx, signer, &account);
    Ok(())
}

fn withdraw(ctx: &mut Context<'_>, from: &Address, amount: Amount) -> Result<()> {
    let mut account = ACCOUNTS.get(ctx, from).unwrap_or_default();
    let balance = account.balance;
    account.balance = balance.checked_sub(amount).ok_or(Error::InsufficientFunds { balance, needed: amount })?;
    ACCOUNTS.set(ctx, from, &account);
    Ok(())
}

fn deposit(ctx: &mut Context<'_>, to: &Address, amount: Amount) {
    let mut account = ACCOUNTS.get(ctx, to).unwrap_or_default();
    // The whole supply fits, so a balance does.
    account.balance = account.balance.saturating_add(amount);
    ACCOUNTS.set(ctx, to, &account);
}

fn adjust(ctx: &mut Context<'_>, change: impl FnOnce(&mut Totals) -> Option<()>) {
    let mut totals = TOTALS.get(ctx, &()).unwrap_or_default();
    let changed = change(&mut totals).is_some();
    ctx.invariant(changed, "a pool holds what is taken from it, and the supply stays below its limit");
    TOTALS.set(ctx, &(), &totals);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scenario;

    #[test]
    fn a_transfer_moves_what_it_says_and_the_fee() {
        let mut chain = Scenario::new().account("ana", 100).account("ben", 0);
        let to = chain.address("ben");
        chain.does("ana", Transfer { to, amount: Amount::call(30) });
        assert_eq!(chain.balance("ben"), Amount::call(30));
        assert_eq!(chain.balance("ana"), Amount::call(70).saturating_sub(chain.params().fee_other));
        chain.assert_conserved();
    }

    #[test]
    fn sending_more_than_one_has_costs_the_fee_and_nothing_else() {
        let mut chain = Scenario::new().account("ana", 100);
        let (to, amount) = (chain.address("ben"), Amount::call(100));
        let balance = Amount::call(100).saturating_sub(chain.params().fee_other);
        chain.fails("ana", Transfer { to, amount }, Error::InsufficientFunds { balance, needed: amount });
        assert_eq!(chain.balance("ana"), balance);
        chain.assert_conserved();
    }

    #[test]
    fn what_is_burned_is_gone_from_the_supply() {
        let mut chain = Scenario::new().account("ana", 100);
        let before = chain.totals().burned;
        chain.does("ana", Burn { amount: Amount::call(5) });
        let fee = chain.params().fee_other.bps_down(5_000);
        assert_eq!(chain.totals().burned, before.saturating_add(Amount::call(5)).saturating_add(fee));
        chain.assert_conserved();
    }

    #[test]
    fn moving_nothing_is_refused_before_it_is_sent() {
        let zero = Transfer { to: Address::ZERO, amount: Amount::ZERO };
        assert_eq!(crate::Action::check(&zero), Err(Error::ZeroAmount.into()));
        assert_eq!(crate::Action::check(&Burn { amount: Amount::ZERO }), Err(Error::ZeroAmount.into()));
    }
}
