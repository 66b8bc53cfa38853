//! What a provider can answer for, what it must, and the deposits on rows (`market.md` B2, C4).
//!
//! Every change of a provider goes through `load` and `store`: the latter asserts I1 and notes since when the stake
//! is short.

use surety_primitives::fixed::{self, LN2};
use surety_primitives::{Address, Amount, ProviderId, PurchaseId, Seconds, ServiceId};

use super::Error;
use super::state::{
    OWNERS, PROVIDERS, PURCHASES, Provider, ProviderStatus, PurchaseRecord, PurchaseStatus, SERVICES, Service,
};
use crate::context::Context;
use crate::error::Result;
use crate::modules::bank::{self, Pool};
use crate::modules::params::Params;

impl Provider {
    /// Bonded stake and what was claimed and not released.
    #[must_use]
    pub fn backing(&self) -> Amount {
        self.stake.saturating_add(self.unreleased)
    }

    /// Sold and unacknowledged value, and promised cover.
    #[must_use]
    pub fn exposure(&self) -> Amount {
        self.open_value.saturating_add(self.promised)
    }

    /// Backing less exposure and debts, 0 where those are more.
    #[must_use]
    pub fn free(&self) -> Amount {
        self.backing().saturating_sub(self.exposure()).saturating_sub(self.owed)
    }

    /// Backing less exposure: what penalties may take of it, after everybody else.
    #[must_use]
    pub fn beyond_exposure(&self) -> Amount {
        self.backing().saturating_sub(self.exposure())
    }

    /// Refuses what would take more than is free. Even nothing is refused while debts are above what is free.
    ///
    /// # Errors
    /// [`Error::CoverageShort`].
    pub fn ensure_covers(&self, needed: Amount) -> Result<()> {
        let taken = self.exposure().saturating_add(self.owed).saturating_add(needed);
        ensure!(taken <= self.backing(), Error::CoverageShort { free: self.free(), needed });
        Ok(())
    }

    /// The decaying sum of revenue on the day of `now`.
    #[must_use]
    pub fn revenue_at(&self, now: Seconds) -> Amount {
        Amount(fixed::decay(self.revenue.0, now.day().saturating_sub(self.revenue_day)))
    }

    /// Adds acknowledged value to the revenue from which the required stake follows.
    pub fn earn(&mut self, acknowledged: Amount, now: Seconds) {
        self.revenue = self.revenue_at(now).saturating_add(acknowledged);
        self.revenue_day = self.revenue_day.max(now.day());
    }

    /// R: what must be staked for sales to go on; nothing of a provider that left, which sells no more.
    #[must_use]
    pub fn required_stake(&self, params: &Params, now: Seconds) -> Amount {
        if self.status == ProviderStatus::Left {
            return Amount::ZERO;
        }
        required(params.fixed_stake, params.stake_rate, self.revenue_at(now))
    }

    /// Since when the stake is below what is required: nothing if it is not.
    #[must_use]
    pub fn short_since_at(&self, params: &Params, now: Seconds) -> Option<Seconds> {
        (self.stake < self.required_stake(params, now)).then(|| self.short_since.unwrap_or(now))
    }

    /// Whether the stake is short for longer than the grace: no sales, and a part of each release is kept.
    #[must_use]
    pub fn is_past_grace(&self, params: &Params, now: Seconds) -> bool {
        self.short_since_at(params, now).is_some_and(|since| now > since.after(params.stake_grace))
    }

    /// Where released money goes at `now`.
    #[must_use]
    pub fn payout_at(&self, now: Seconds) -> Address {
        match self.next_payout {
            Some((address, from)) if from <= now => address,
            _ => self.payout,
        }
    }

    /// Refuses a provider that took out its whole stake.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    pub fn ensure_live(&self) -> Result<()> {
        ensure!(self.status != ProviderStatus::Left, Error::Stopped);
        Ok(())
    }
}

/// F + rho x rev x ln 2: a steady daily revenue of r has rev x ln 2 = 30 r (`market.md` C4).
fn required(fixed_stake: Amount, rate: u64, revenue: Amount) -> Amount {
    fixed_stake.saturating_add(revenue.rate_up(LN2).rate_up(rate))
}

impl PurchaseRecord {
    /// Cover that can still be claimed: its part of the provider's `promised`.
    #[must_use]
    pub fn promised(&self) -> Amount {
        Amount(self.cover.0.saturating_mul(u128::from(self.cover_left)))
    }

    /// Paid and not acknowledged: its part of the provider's `open_value`, and of the escrow.
    #[must_use]
    pub fn open(&self) -> Amount {
        match self.status {
            PurchaseStatus::Settled => Amount::ZERO,
            _ => self.price.saturating_sub(self.value_of(self.claimed)),
        }
    }
}

/// A provider.
///
/// # Errors
/// [`Error::UnknownProvider`].
pub(super) fn load(ctx: &Context<'_>, id: &ProviderId) -> Result<Provider> {
    PROVIDERS.get(ctx, id).ok_or_else(|| Error::UnknownProvider.into())
}

/// Writes a provider back: asserts I1, and notes since when its stake is short.
pub(super) fn store(ctx: &mut Context<'_>, id: &ProviderId, provider: &mut Provider) {
    provider.short_since = provider.short_since_at(ctx.params(), ctx.now());
    ensure_i1(ctx, provider);
    PROVIDERS.set(ctx, id, provider);
}

/// I1: exposure stays within backing.
///
/// # Panics
/// If it does not: the node must stop rather than sign such a state.
pub(super) fn ensure_i1(ctx: &Context<'_>, provider: &Provider) {
    let holds = provider.exposure() <= provider.backing();
    ctx.invariant(holds, "a provider's exposure is within its backing");
}

/// The signer's live provider.
///
/// # Errors
/// [`Error::NotOwner`] if it has none.
pub(super) fn own(ctx: &Context<'_>) -> Result<(ProviderId, Provider)> {
    let id = OWNERS.get(ctx, &ctx.signer()).ok_or(Error::NotOwner)?;
    let provider = load(ctx, &id)?;
    ensure!(provider.status != ProviderStatus::Left, Error::NotOwner);
    Ok((id, provider))
}

/// The named provider, which must be the signer's; it may have left.
///
/// # Errors
/// [`Error::UnknownProvider`], [`Error::NotOwner`].
pub(super) fn load_own(ctx: &Context<'_>, id: &ProviderId) -> Result<Provider> {
    let provider = load(ctx, id)?;
    ensure!(provider.owner == ctx.signer(), Error::NotOwner);
    Ok(provider)
}

/// A listing of the signer's live provider.
///
/// # Errors
/// [`Error::UnknownService`], [`Error::NotOwner`], [`Error::Stopped`].
pub(super) fn load_own_service(ctx: &Context<'_>, id: &ServiceId) -> Result<Service> {
    let service = SERVICES.get(ctx, id).ok_or(Error::UnknownService)?;
    load_own(ctx, &service.provider)?.ensure_live()?;
    Ok(service)
}

/// A purchase.
///
/// # Errors
/// [`Error::UnknownPurchase`].
pub(super) fn load_purchase(ctx: &Context<'_>, id: &PurchaseId) -> Result<PurchaseRecord> {
    PURCHASES.get(ctx, id).ok_or_else(|| Error::UnknownPurchase.into())
}

/// Takes the deposit on `rows` new rows from the signer and returns it; the record on which it lies must note it.
///
/// # Errors
/// [`bank::Error::InsufficientFunds`].
pub(super) fn charge_rows(ctx: &mut Context<'_>, rows: u32) -> Result<Amount> {
    let deposit = Amount(ctx.params().row_deposit.0.saturating_mul(u128::from(rows)));
    let signer = ctx.signer();
    bank::debit(ctx, &signer, Pool::Deposits, deposit)?;
    Ok(deposit)
}

/// Gives the deposit of deleted rows to the signer.
pub(super) fn refund_rows(ctx: &mut Context<'_>, deposit: Amount) {
    let signer = ctx.signer();
    bank::credit(ctx, Pool::Deposits, &signer, deposit);
}

/// Takes the deposit on one more row that belongs to a purchase, and counts the row there.
///
/// # Errors
/// [`bank::Error::InsufficientFunds`].
pub(super) fn attach_row(ctx: &mut Context<'_>, purchase: &mut PurchaseRecord) -> Result<()> {
    let deposit = charge_rows(ctx, 1)?;
    purchase.deposit = purchase.deposit.saturating_add(deposit);
    purchase.rows = purchase.rows.saturating_add(1);
    Ok(())
}

/// Takes `rows` rows off a purchase's count and returns their part of its deposit.
pub(super) fn detach_rows(purchase: &mut PurchaseRecord, rows: u32) -> Amount {
    let part = purchase.deposit.mul_div_down(u128::from(rows.min(purchase.rows)), u128::from(purchase.rows));
    let part = part.unwrap_or(Amount::ZERO);
    purchase.rows = purchase.rows.saturating_sub(rows);
    purchase.deposit = purchase.deposit.saturating_sub(part);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(stake: u64) -> Provider {
        Provider { stake: Amount::call(stake), ..Provider::default() }
    }

    // rho at a score s: 0.10 + mul_up(0.90, one - s).
    fn rho(s: u64) -> u64 {
        0x1999_9999 + fixed::mul_up(0xe666_6666, fixed::ONE - s).unwrap_or(0)
    }

    #[test]
    fn the_required_stake_is_the_sheet_s() {
        assert_eq!(Params::default().stake_rate, rho(0x6666_6666));
        for (rev, s, stake) in [
            (0_u128, 0x6666_6666_u64, 1_000_000_000_000_000_000_000_u128),
            (100_000_000_000_000_000_000, 0x672a_57d9, 1_044_174_902_682_630_435_431),
            (100_000_000_000_000_000_000_000, 0x696e_8291, 44_622_646_009_021_576_315_666),
            (20_000_000_000_000_000_000_000, 0xc2fb_e545, 5_360_027_332_320_029_688_773),
            (13_883_697_047_865_575_034_886, 0xad36_88c4, 4_763_228_727_662_543_806_356),
        ] {
            assert_eq!(required(Amount::call(1_000), rho(s), Amount(rev)), Amount(stake));
        }
    }

    #[test]
    fn revenue_halves_every_thirty_days() {
        let mut some = provider(0);
        some.earn(Amount::call(8), Seconds(0));
        assert_eq!(some.revenue_at(Seconds(30 * 86_400)), Amount::call(4));
        some.earn(Amount::call(1), Seconds(60 * 86_400));
        assert_eq!(some.revenue, Amount::call(3));
        assert_eq!(some.revenue_day, 60);
    }

    #[test]
    fn debts_count_against_what_is_free_but_not_against_what_is_covered() {
        let some = Provider {
            open_value: Amount::call(40),
            promised: Amount::call(30),
            unreleased: Amount::call(20),
            owed: Amount::call(60),
            ..provider(100)
        };
        assert_eq!((some.backing(), some.exposure()), (Amount::call(120), Amount::call(70)));
        assert_eq!((some.free(), some.beyond_exposure()), (Amount::ZERO, Amount::call(50)));
        let short = Error::CoverageShort { free: Amount::ZERO, needed: Amount::ZERO };
        assert_eq!(some.ensure_covers(Amount::ZERO), Err(short.into()));
        let less = Provider { owed: Amount::call(10), ..some };
        assert_eq!(less.ensure_covers(Amount::call(40)), Ok(()));
        assert!(less.ensure_covers(Amount::call(41)).is_err());
    }

    #[test]
    fn a_short_stake_is_noted_once_and_forgotten_when_it_suffices() {
        let (params, day) = (Params::default(), 86_400);
        let mut some = provider(999);
        assert_eq!(some.short_since_at(&params, Seconds(5)), Some(Seconds(5)));
        some.short_since = Some(Seconds(5));
        assert_eq!(some.short_since_at(&params, Seconds(9)), Some(Seconds(5)));
        assert!(!some.is_past_grace(&params, Seconds(5 + 7 * day)));
        assert!(some.is_past_grace(&params, Seconds(6 + 7 * day)));
        some.stake = Amount::call(1_000);
        assert_eq!(some.short_since_at(&params, Seconds(9)), None);
    }

    #[test]
    fn a_new_payout_address_counts_from_its_moment() {
        let (old, new) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let some = Provider { payout: old, next_payout: Some((new, Seconds(10))), ..provider(0) };
        assert_eq!((some.payout_at(Seconds(9)), some.payout_at(Seconds(10))), (old, new));
    }
}
