//! Settle: what a purchase still holds goes to its provider or back to its consumer (`market.md` B6.5).

use surety_primitives::{Address, Amount, PurchaseId, Seconds, typed_struct};

use super::Error;
use super::contest::contest_closes;
use super::coverage::{self, load_purchase};
use super::payment;
use super::state::{Event, LANES, PURCHASES, PurchaseRecord, PurchaseStatus, SHOWN, Shown};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::modules::bank::{self, Pool};
use crate::state::Key;

typed_struct! {
    /// Closes a purchase after its last window. Anyone may send it.
    pub struct Settle {
        /// The purchase.
        pub purchase: PurchaseId,
    }
}

impl Action for Settle {
    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut purchase = load_purchase(ctx, &self.purchase)?;
        ensure!(purchase.status != PurchaseStatus::Settled, Error::Settled);
        let shown = SHOWN.get(ctx, &self.purchase);
        let at = settles_at(ctx, &purchase, shown.as_ref());
        ensure!(ctx.now() >= at, Error::TooEarly { at });

        let mut provider = coverage::load(ctx, &purchase.provider)?;
        let open = purchase.open();
        let served = self.served(ctx, &purchase, shown.as_ref());
        let refunded = refund(&purchase, served);
        let paid = open.saturating_sub(refunded);
        payment::accrue(ctx, purchase.provider, &mut provider, paid)?;
        payment::close(ctx, &mut provider, refunded);
        bank::credit(ctx, Pool::Escrow, &purchase.consumer, refunded);

        purchase.status = PurchaseStatus::Settled;
        coverage::store(ctx, &purchase.provider, &mut provider);
        PURCHASES.set(ctx, &self.purchase, &purchase);
        ctx.emit(Event::PurchaseSettled { purchase: self.purchase, paid, refunded });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.extend([PURCHASES.key(&self.purchase), SHOWN.key(&self.purchase)]);
    }
}

fn settles_at(ctx: &Context<'_>, purchase: &PurchaseRecord, shown: Option<&Shown>) -> Seconds {
    match shown {
        Some(_) => contest_closes(ctx, purchase),
        None => purchase.end().after(ctx.params().claim_window),
    }
}

impl Settle {
    /// Calls that are paid for: claimed, and shown without being contested.
    fn served(&self, ctx: &Context<'_>, purchase: &PurchaseRecord, shown: Option<&Shown>) -> u64 {
        let entries = shown.map(|shown| shown.entries.as_slice()).unwrap_or_default();
        let paid = entries.iter().fold(0_u64, |sum, entry| {
            // A voucher that was claimed after the showing covers a part of what was shown.
            let claimed = LANES.get(ctx, &(self.purchase, entry.lane)).unwrap_or(0);
            let shown = entry.from_cum.saturating_add(entry.paid()).saturating_sub(claimed);
            sum.saturating_add(shown)
        });
        purchase.claimed.saturating_add(paid).min(purchase.quota)
    }
}

/// What returns to the consumer: all where nothing was served, or what was not served after a fault; else the part of it
/// that the listing promised, rounded down.
fn refund(purchase: &PurchaseRecord, served: u64) -> Amount {
    let rest = purchase.price.saturating_sub(purchase.value_of(served));
    if served == 0 || purchase.status == PurchaseStatus::Faulted {
        return rest;
    }
    rest.bps_down(purchase.refund_bps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::market::ContestShown;
    use crate::testing::market::{DAY, Market, events};
    use surety_primitives::Lane;
    use surety_primitives::typed_data::Blob;

    fn settled(market: &mut Market, id: PurchaseId) -> (Amount, Amount) {
        let receipt = market.settles(id);
        market.chain.assert_conserved();
        match events(&receipt)[..] {
            [Event::PurchaseSettled { paid, refunded, .. }] => (paid, refunded),
            ref other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nothing_served_is_returned_whole_whatever_the_listing_says() {
        for refund_bps in [0, 10_000] {
            let mut market = Market::new(|terms| terms.refund_bps = refund_bps);
            let id = market.buy();
            market.wait_days(33);
            let before = market.chain.balance("ana");
            assert_eq!(settled(&mut market, id), (Amount::ZERO, Amount::call(100)));
            assert_eq!(market.chain.balance("ana"), before.saturating_add(Amount::call(100)));
        }
    }

    #[test]
    fn the_unused_part_returns_as_the_listing_says() {
        for (refund_bps, back) in [(10_000, 40_000), (2_500, 10_000), (0, 0)] {
            let mut market = Market::new(|terms| terms.refund_bps = refund_bps);
            let id = market.buy();
            market.claims(id, &[(0, 600)]);
            market.wait_days(33);
            let refunded = Amount::milli(back);
            let paid = Amount::call(40).saturating_sub(refunded);
            assert_eq!(settled(&mut market, id), (paid, refunded));
            assert_eq!(market.provider().open_value, Amount::ZERO);
            let unreleased = Amount::call(57).saturating_add(paid.bps_down(9_500));
            assert_eq!(market.provider().unreleased, unreleased);
        }
    }

    #[test]
    fn what_was_shown_is_paid_less_what_was_contested() {
        let mut market = Market::default();
        let id = market.buy();
        market.claims(id, &[(0, 620)]);
        market.wait_days(30);
        market.does("vera", market.show(id, 620, 8));
        market.does("ana", ContestShown { purchase: id, lane: Lane(0), accepted: 5, signature: Blob::default() });
        market.wait_days(3);
        let at = market.purchase(id).end().after(Seconds(5 * DAY));
        market.chain.fails("max", Settle { purchase: id }, Error::TooEarly { at });
        market.wait_days(2);
        assert_eq!(settled(&mut market, id), (Amount::milli(500), Amount::milli(37_500)));
    }

    #[test]
    fn a_call_that_is_shown_and_then_claimed_is_paid_once() {
        let mut market = Market::default();
        let id = market.buy();
        market.wait_days(30);
        market.does("vera", market.show(id, 0, 8));
        market.claims(id, &[(0, 6), (1, 10)]);
        market.wait_days(5);
        // 16 claimed, of the 8 shown 2 are left.
        assert_eq!(settled(&mut market, id), (Amount::milli(200), Amount::milli(98_200)));
    }

    #[test]
    fn a_shown_lane_never_passes_the_quota() {
        let mut market = Market::default();
        let id = market.buy();
        market.claims(id, &[(0, 500)]);
        market.wait_days(30);
        market.does("vera", market.show(id, 500, 64));
        market.claims(id, &[(1, 480)]);
        market.wait_days(5);
        assert_eq!(settled(&mut market, id), (Amount::call(2), Amount::ZERO));
    }

    #[test]
    fn a_purchase_is_settled_once_after_its_windows() {
        let mut market = Market::default();
        let id = market.buy();
        let at = market.purchase(id).end().after(Seconds(3 * DAY));
        market.chain.fails("max", Settle { purchase: id }, Error::TooEarly { at });
        market.wait_days(33);
        settled(&mut market, id);
        market.chain.fails("max", Settle { purchase: id }, Error::Settled);
        market.chain.fails("max", Settle { purchase: PurchaseId([7; 16]) }, Error::UnknownPurchase);
    }
}
