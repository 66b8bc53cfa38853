//! ContestShown: a consumer accepts only a part of what was shown, and pays for saying so (`market.md` B6).

use surety_primitives::typed_data::Blob;
use surety_primitives::{Address, Amount, Hash32, Lane, NetworkId, PurchaseId, hash, typed_struct};

use super::Error;
use super::coverage::load_purchase;
use super::show::is_signed;
use super::state::{Event, PURCHASES, PurchaseRecord, SHOWN, ShownLane};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::modules::bank::{self, Pool};
use crate::state::Key;

typed_struct! {
    /// Accepts only `accepted` of the Answers shown for a lane. Burns a part of the contested value from the sender.
    pub struct ContestShown {
        /// The purchase.
        pub purchase: PurchaseId,
        /// The lane.
        pub lane: Lane,
        /// At least 1: the opening call was signed. Less than was shown.
        pub accepted: u64,
        /// Empty where the consumer's account sends it; else 64 bytes by the lane's key.
        pub signature: Blob,
    }
}

impl ContestShown {
    /// What the lane's key signs.
    #[must_use]
    pub fn digest(&self, network: NetworkId) -> Hash32 {
        let (lane, accepted) = (self.lane.0.to_be_bytes(), self.accepted.to_be_bytes());
        hash::h("surety/market/contest/v1", &[&network.0.to_be_bytes(), &self.purchase.0, &lane, &accepted])
    }

    fn check_sender(&self, ctx: &Context<'_>, purchase: &PurchaseRecord, entry: &ShownLane) -> Result<()> {
        let signed = || is_signed(entry.lane_key, &self.digest(ctx.network()), &self.signature);
        ensure!(ctx.signer() == purchase.consumer || signed(), Error::NotParty);
        Ok(())
    }
}

impl Action for ContestShown {
    fn check(&self) -> Result<()> {
        let rule = "at least 1: the lane was opened by a signed call";
        ensure!(self.accepted >= 1, Error::BadRange { field: "accepted", rule });
        Ok(())
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let purchase = load_purchase(ctx, &self.purchase)?;
        let not_shown = Error::BadRange { field: "lane", rule: "a lane that was shown" };
        let mut shown = SHOWN.get(ctx, &self.purchase).ok_or_else(|| not_shown.clone())?;
        let entry = shown.entries.iter_mut().find(|entry| entry.lane == self.lane).ok_or(not_shown)?;
        self.check_sender(ctx, &purchase, entry)?;
        let closes = contest_closes(ctx, &purchase);
        ensure!(ctx.now() < closes, Error::WindowOver { at: closes });
        ensure!(entry.accepted.is_none(), Error::AlreadyDone);
        let rule = "less than was shown";
        ensure!(self.accepted < entry.count, Error::BadRange { field: "accepted", rule });

        let contested = entry.count.saturating_sub(self.accepted);
        entry.accepted = Some(self.accepted);
        SHOWN.set(ctx, &self.purchase, &shown);
        let burned = burn_for(ctx, purchase.value_of(contested))?;
        let (purchase, lane, accepted) = (self.purchase, self.lane, self.accepted);
        ctx.emit(Event::ShownContested { purchase, lane, accepted, burned });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.extend([PURCHASES.key(&self.purchase), SHOWN.key(&self.purchase)]);
    }
}

/// The moment from which what was shown stands.
pub(super) fn contest_closes(ctx: &Context<'_>, purchase: &PurchaseRecord) -> surety_primitives::Seconds {
    purchase.end().after(ctx.params().claim_window).after(ctx.params().contest_window)
}

fn burn_for(ctx: &mut Context<'_>, contested: Amount) -> Result<Amount> {
    let params = ctx.params();
    let burned = contested.bps_down(params.contest_burn_bps).max(params.contest_burn_least);
    let signer = ctx.signer();
    bank::debit(ctx, &signer, Pool::Escrow, burned)?;
    bank::burn(ctx, Pool::Escrow, burned);
    Ok(burned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::market::{DAY, Market, key};
    use surety_primitives::Seconds;

    fn shown() -> (Market, ContestShown) {
        let mut market = Market::default();
        let id = market.buy();
        market.claims(id, &[(0, 620)]);
        market.wait_days(30);
        market.does("vera", market.show(id, 620, 8));
        (market, ContestShown { purchase: id, lane: Lane(0), accepted: 5, signature: Blob::default() })
    }

    #[test]
    fn a_contest_burns_at_least_the_least() {
        let (mut market, contest) = shown();
        let (before, burned) = (market.chain.balance("ana"), market.chain.totals().burned);
        market.does("ana", contest.clone());
        // 0.05 and the fee of 0.01, of which half is burned.
        assert_eq!(market.chain.balance("ana"), before.saturating_sub(Amount::milli(60)));
        assert_eq!(market.chain.totals().burned, burned.saturating_add(Amount::milli(55)));
        let paid =
            market.chain.get(SHOWN, &contest.purchase).and_then(|shown| shown.entries.first().map(ShownLane::paid));
        assert_eq!(paid, Some(5));
        market.chain.fails("ana", contest, Error::AlreadyDone);
        market.chain.assert_conserved();
    }

    #[test]
    fn a_large_contest_burns_a_part_of_its_value() {
        let mut market = Market::default();
        let id = market.buy();
        market.wait_days(30);
        market.does("vera", market.show(id, 0, 61));
        let before = market.chain.balance("ana");
        market.does("ana", ContestShown { purchase: id, lane: Lane(0), accepted: 1, signature: Blob::default() });
        // 2 % of 6 CALL.
        assert_eq!(market.chain.balance("ana"), before.saturating_sub(Amount::milli(130)));
    }

    #[test]
    fn the_lane_s_key_contests_through_any_account() {
        let (mut market, mut contest) = shown();
        market.chain.fails("max", contest.clone(), Error::NotParty);
        contest.signature = Blob(key("ana").sign(&contest.digest(market.chain.network())).0.to_vec());
        let other = ContestShown { accepted: 4, ..contest.clone() };
        market.chain.fails("max", other, Error::NotParty);
        market.does("max", contest);
    }

    #[test]
    fn contests_end_120_hours_after_the_package() {
        let (mut market, contest) = shown();
        market.chain.wait(5 * DAY - 1);
        let mut late = market.clone();
        market.does("ana", contest.clone());
        late.chain.wait(1);
        let at = late.purchase(contest.purchase).end().after(Seconds(5 * DAY));
        late.chain.fails("ana", contest, Error::WindowOver { at });
    }

    #[test]
    fn only_less_than_was_shown_can_be_accepted() {
        let (mut market, contest) = shown();
        let less = Error::BadRange { field: "accepted", rule: "less than was shown" };
        market.chain.fails("ana", ContestShown { accepted: 8, ..contest.clone() }, less);
        let lane = Error::BadRange { field: "lane", rule: "a lane that was shown" };
        market.chain.fails("ana", ContestShown { lane: Lane(1), ..contest.clone() }, lane);
        let purchase = PurchaseId([7; 16]);
        market.chain.fails("ana", ContestShown { purchase, ..contest.clone() }, Error::UnknownPurchase);
        assert!(Action::check(&ContestShown { accepted: 0, ..contest }).is_err());
    }

    #[test]
    fn who_cannot_pay_the_burn_cannot_contest() {
        let (mut market, contest) = shown();
        let id = contest.purchase;
        let mut record = market.purchase(id);
        record.consumer = market.chain.address("poor");
        market.chain.put(PURCHASES, &id, &record);
        let to = record.consumer;
        market.does("ana", bank::Transfer { to, amount: Amount::milli(20) });
        let (balance, needed) = (Amount::milli(10), Amount::milli(50));
        market.chain.fails("poor", contest, bank::Error::InsufficientFunds { balance, needed });
    }
}
