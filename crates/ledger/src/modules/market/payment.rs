//! How a provider's money moves: acknowledged calls into tranches, covers and penalties out of what backs them.
//!
//! Covers lower exposure and backing alike; penalties take only what backs nobody else (`market.md` B2).

use surety_primitives::{Address, Amount, ProviderId};

use super::Error;
use super::coverage::{charge_rows, refund_rows};
use super::state::{Fault, Penalty, Provider, PurchaseRecord, SERVICES, TRANCHES, Tranche};
use crate::context::Context;
use crate::error::Result;
use crate::modules::bank::{self, Pool};
use crate::modules::fees;

/// Most tranches that a report or a collection may name.
pub(super) const PERIODS_MOST: u32 = 8;

/// The period whose tranche takes what is claimed now.
pub(super) fn current_period(ctx: &Context<'_>) -> u64 {
    ctx.now().0.checked_div(ctx.params().tranche_period.0).unwrap_or(0)
}

/// Refuses a list outside its bounds.
///
/// # Errors
/// [`Error::BadCount`].
pub(super) fn ensure_count(field: &'static str, count: usize, least: u32, most: u32) -> Result<()> {
    let fits = u32::try_from(count).is_ok_and(|count| (least..=most).contains(&count));
    ensure!(fits, Error::BadCount { field, least, most });
    Ok(())
}

/// Pays `amount` of a purchase out of escrow: the take at once, the rest into the current tranche. Returns the take.
///
/// # Errors
/// [`bank::Error::InsufficientFunds`] where the signer cannot place the deposit on a new tranche.
pub(super) fn accrue(ctx: &mut Context<'_>, id: ProviderId, provider: &mut Provider, amount: Amount) -> Result<Amount> {
    close(ctx, provider, amount);
    let take = fees::collect_take(ctx, amount);
    let net = amount.saturating_sub(take);
    bank::shift(ctx, Pool::Escrow, Pool::Unreleased, net);
    provider.unreleased = provider.unreleased.saturating_add(net);
    add_to_tranche(ctx, id, net)?;
    count_take(ctx, provider, take);
    Ok(take)
}

/// Takes value off a provider's open purchases: it was paid or goes back.
pub(super) fn close(ctx: &Context<'_>, provider: &mut Provider, amount: Amount) {
    ctx.invariant(provider.open_value >= amount, "what a purchase holds in escrow is part of the open value");
    provider.open_value = provider.open_value.saturating_sub(amount);
}

fn add_to_tranche(ctx: &mut Context<'_>, id: ProviderId, net: Amount) -> Result<()> {
    if net.is_zero() {
        return Ok(());
    }
    let key = (id, current_period(ctx));
    let mut tranche = match TRANCHES.get(ctx, &key) {
        Some(tranche) => tranche,
        None => Tranche { deposit: charge_rows(ctx, 1)?, ..Tranche::default() },
    };
    tranche.amount = tranche.amount.saturating_add(net);
    tranche.last_claim = ctx.now();
    TRANCHES.set(ctx, &key, &tranche);
    Ok(())
}

// A provider counts as serving at the moment its take of the epoch passes the least, if its stake suffices (B4).
fn count_take(ctx: &mut Context<'_>, provider: &mut Provider, take: Amount) {
    let epoch = fees::epoch_of(ctx);
    if provider.take_epoch != epoch {
        provider.take_epoch = epoch;
        provider.take_today = Amount::ZERO;
    }
    let (before, least) = (provider.take_today, ctx.params().serving_take);
    provider.take_today = before.saturating_add(take);
    let passed = before <= least && provider.take_today > least;
    if passed && provider.stake >= provider.required_stake(ctx.params(), ctx.now()) {
        fees::count_serving(ctx);
    }
}

/// Takes at most `most` from one tranche, and returns how much. An emptied tranche is deleted: its deposit goes to the
/// signer. The money stays in the pool of unreleased claims.
pub(super) fn draw(
    ctx: &mut Context<'_>,
    id: ProviderId,
    provider: &mut Provider,
    period: u64,
    most: Amount,
) -> Amount {
    let key = (id, period);
    let Some(mut tranche) = TRANCHES.get(ctx, &key) else { return Amount::ZERO };
    let drawn = tranche.amount.min(most);
    tranche.amount = tranche.amount.saturating_sub(drawn);
    if tranche.amount.is_zero() {
        TRANCHES.remove(ctx, &key);
        refund_rows(ctx, tranche.deposit);
    } else {
        TRANCHES.set(ctx, &key, &tranche);
    }
    ctx.invariant(provider.unreleased >= drawn, "a tranche is part of what is unreleased");
    provider.unreleased = provider.unreleased.saturating_sub(drawn);
    drawn
}

/// Takes at most `most` of what backs a provider, stake first, then the named tranches. What it returns lies in the
/// stake pool.
fn take_backing(
    ctx: &mut Context<'_>,
    id: ProviderId,
    provider: &mut Provider,
    periods: &[u64],
    most: Amount,
) -> Amount {
    let mut taken = provider.stake.min(most);
    provider.stake = provider.stake.saturating_sub(taken);
    for period in periods {
        let short = most.saturating_sub(taken);
        if short.is_zero() {
            break;
        }
        let drawn = draw(ctx, id, provider, *period, short);
        bank::shift(ctx, Pool::Unreleased, Pool::Stake, drawn);
        taken = taken.saturating_add(drawn);
    }
    taken
}

/// Takes at most `most` of the stake on its way out, what leaves first first. It stays in the stake pool.
fn take_unbonding(provider: &mut Provider, most: Amount) -> Amount {
    let mut taken = Amount::ZERO;
    for entry in &mut provider.unbonding {
        let part = entry.amount.min(most.saturating_sub(taken));
        entry.amount = entry.amount.saturating_sub(part);
        taken = taken.saturating_add(part);
    }
    provider.unbonding.retain(|entry| !entry.amount.is_zero());
    taken
}

/// Pays what is due of a fault's cover to the consumer, as far as the service's cap of the epoch and what the named
/// tranches and the stake hold allow. Returns how much.
pub(super) fn pay_cover(
    ctx: &mut Context<'_>,
    purchase: &PurchaseRecord,
    provider: &mut Provider,
    periods: &[u64],
    fault: &mut Fault,
) -> Amount {
    let Some(mut service) = SERVICES.get(ctx, &fault.service) else {
        ctx.invariant(false, "a listing is never deleted");
        return Amount::ZERO;
    };
    let epoch = fees::epoch_of(ctx);
    if service.cover_epoch != epoch {
        service.cover_epoch = epoch;
        service.cover_paid = Amount::ZERO;
    }
    // The listing may have lowered its cap since the sale; one cover an epoch is always paid, so that none is stranded.
    let cap = service.terms.cover_cap.max(purchase.cover).saturating_sub(service.cover_paid);
    let paid = take_backing(ctx, purchase.provider, provider, periods, fault.unpaid.min(cap));

    fault.unpaid = fault.unpaid.saturating_sub(paid);
    ctx.invariant(provider.promised >= paid, "a cover is paid out of what was promised");
    provider.promised = provider.promised.saturating_sub(paid);
    service.cover_paid = service.cover_paid.saturating_add(paid);
    SERVICES.set(ctx, &fault.service, &service);
    bank::credit(ctx, Pool::Stake, &purchase.consumer, paid);
    paid
}

/// Takes what is due of a penalty from unbonding stake, then from what backs nobody else; the rest stays owed. Returns how
/// much was taken.
pub(super) fn levy(ctx: &mut Context<'_>, provider: &mut Provider, periods: &[u64], penalty: &mut Penalty) -> Amount {
    let from_unbonding = take_unbonding(provider, penalty.unpaid);
    let rest = penalty.unpaid.saturating_sub(from_unbonding).min(provider.beyond_exposure());
    let from_backing = take_backing(ctx, penalty.provider, provider, periods, rest);
    let taken = from_unbonding.saturating_add(from_backing);

    penalty.unpaid = penalty.unpaid.saturating_sub(taken);
    ctx.invariant(provider.owed >= taken, "a penalty is paid out of what is owed");
    provider.owed = provider.owed.saturating_sub(taken);
    distribute(ctx, taken, &penalty.reporter);
    taken
}

// Reporter and reward pool get their parts, rounded down; the rest is burned.
fn distribute(ctx: &mut Context<'_>, taken: Amount, reporter: &Address) {
    let to_reporter = taken.bps_down(ctx.params().penalty_reporter_bps);
    let left = taken.saturating_sub(to_reporter);
    let to_pool = taken.bps_down(ctx.params().penalty_pool_bps).min(left);
    bank::credit(ctx, Pool::Stake, reporter, to_reporter);
    bank::shift(ctx, Pool::Stake, Pool::Rewards, to_pool);
    bank::burn(ctx, Pool::Stake, left.saturating_sub(to_pool));
}
