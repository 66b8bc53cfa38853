//! Collect: what is left of covers and penalties, as far as cap and coverage allow by now (`market.md` B3).

use surety_primitives::{Address, Amount, Hash32, ProviderId, PurchaseId, typed_struct};

use super::Error;
use super::coverage;
use super::fault::levy;
use super::payment::{self, PERIODS_MOST, ensure_count};
use super::state::{Event, FAULTS, PENALTIES, PROVIDERS, PURCHASES, Provider};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

const DEBTS_MOST: u32 = 8;

typed_struct! {
    /// What a proven fault may still cost: its cover for one purchase, and its penalty.
    pub struct Debt {
        /// The fault.
        pub fault: Hash32,
        /// The purchase whose cover is meant; any other where only the penalty is.
        pub purchase: PurchaseId,
    }
}

typed_struct! {
    /// Pays debts of a provider: first covers, then penalties. Anyone may send it.
    pub struct Collect {
        /// Who owes.
        pub provider: ProviderId,
        /// 1 to 8 debts; what owes nothing is passed over.
        pub debts: Vec<Debt>,
        /// At most 8 periods whose tranches pay where stake is short.
        pub periods: Vec<u64>,
    }
}

impl Action for Collect {
    fn check(&self) -> Result<()> {
        ensure_count("debts", self.debts.len(), 1, DEBTS_MOST)?;
        ensure_count("periods", self.periods.len(), 0, PERIODS_MOST)
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut provider = coverage::load(ctx, &self.provider)?;
        let (mut cover, mut penalties) = (Amount::ZERO, Amount::ZERO);
        for debt in &self.debts {
            cover = cover.saturating_add(self.cover(ctx, &mut provider, debt));
        }
        for debt in &self.debts {
            penalties = penalties.saturating_add(self.penalty(ctx, &mut provider, &debt.fault));
        }
        ensure!(!cover.is_zero() || !penalties.is_zero(), Error::NothingDue);
        coverage::store(ctx, &self.provider, &mut provider);
        ctx.emit(Event::Collected { provider: self.provider, cover, penalties });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(PROVIDERS.key(&self.provider));
        for debt in &self.debts {
            let fault = FAULTS.key(&(debt.fault, debt.purchase));
            keys.extend([fault, PURCHASES.key(&debt.purchase), PENALTIES.key(&debt.fault)]);
        }
    }
}

impl Collect {
    fn cover(&self, ctx: &mut Context<'_>, provider: &mut Provider, debt: &Debt) -> Amount {
        let key = (debt.fault, debt.purchase);
        let (Some(mut fault), Some(purchase)) = (FAULTS.get(ctx, &key), PURCHASES.get(ctx, &debt.purchase)) else {
            return Amount::ZERO;
        };
        if purchase.provider != self.provider || fault.unpaid.is_zero() {
            return Amount::ZERO;
        }
        let paid = payment::pay_cover(ctx, &purchase, provider, &self.periods, &mut fault);
        FAULTS.set(ctx, &key, &fault);
        paid
    }

    fn penalty(&self, ctx: &mut Context<'_>, provider: &mut Provider, fault: &Hash32) -> Amount {
        match PENALTIES.get(ctx, fault) {
            Some(penalty) if penalty.provider == self.provider => levy(ctx, provider, &self.periods, fault),
            _ => Amount::ZERO,
        }
    }
}
