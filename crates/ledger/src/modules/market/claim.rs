//! Claim: a provider is paid for what the consumer's keys acknowledged, and for nothing else (`market.md` B3, D1).

use surety_primitives::access::{LaneAuthority, Voucher};
use surety_primitives::typed_data::Blob;
use surety_primitives::{Address, Amount, Lane, PurchaseId, typed_struct};

use super::Error;
use super::coverage::{self, attach_row, load_purchase};
use super::keychain::{KeyChain, check_voucher};
use super::payment::{self, ensure_count};
use super::state::{Event, LANES, PURCHASES, PurchaseRecord};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::modules::params::Params;
use crate::state::Key;

/// What a single voucher or chain comes to.
type Judged<T> = std::result::Result<T, Error>;

/// Most vouchers of a claim, and most chains.
const MOST: u32 = 64;

typed_struct! {
    /// Claims what vouchers acknowledge. Each is judged by itself: a bad one is named in the receipt and passed over.
    pub struct Claim {
        /// The purchase.
        pub purchase: PurchaseId,
        /// 1 to 64 vouchers of 136 or 168 bytes.
        pub vouchers: Vec<Blob>,
        /// For each voucher, which of `chains` its key stands at the end of, from 0.
        pub signers: Vec<u16>,
        /// 1 to 64 chains, at most one a voucher: root key version and sub-grants, borsh.
        pub chains: Vec<Blob>,
    }
}

impl Action for Claim {
    fn check(&self) -> Result<()> {
        ensure_count("vouchers", self.vouchers.len(), 1, MOST)?;
        ensure_count("chains", self.chains.len(), 1, MOST)?;
        let rule = "one number a voucher";
        ensure!(self.signers.len() == self.vouchers.len(), Error::BadRange { field: "signers", rule });
        let rule = "at most one a voucher";
        ensure!(self.chains.len() <= self.vouchers.len(), Error::BadRange { field: "chains", rule });
        Ok(())
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut purchase = load_purchase(ctx, &self.purchase)?;
        let closes = purchase.end().after(ctx.params().claim_window);
        ensure!(ctx.now() < closes, Error::ClaimClosed { at: closes });
        let mut provider = coverage::load(ctx, &purchase.provider)?;

        let before = purchase.claimed;
        self.count(ctx, &mut purchase)?;
        let calls = purchase.claimed.saturating_sub(before);
        ensure!(calls > 0, Error::NothingNew);

        let amount = purchase.value_of(purchase.claimed).saturating_sub(purchase.value_of(before));
        purchase.last_claim = ctx.now();
        let take = payment::accrue(ctx, purchase.provider, &mut provider, amount)?;
        provider.earn(amount, ctx.now());
        coverage::store(ctx, &purchase.provider, &mut provider);
        PURCHASES.set(ctx, &self.purchase, &purchase);
        ctx.emit(Event::Claimed { purchase: self.purchase, provider: purchase.provider, calls, amount, take });
        Ok(())
    }

    // Every link of a chain is a signature to check, like a voucher.
    fn fee(&self, params: &Params) -> Amount {
        let links = self.chains.iter().map(KeyChain::links_most).fold(0_usize, usize::saturating_add);
        let checks = u128::try_from(self.vouchers.len().saturating_add(links)).unwrap_or(u128::MAX);
        params.fee_purchase.saturating_add(Amount(params.fee_voucher.0.saturating_mul(checks)))
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.push(PURCHASES.key(&self.purchase));
        let lane = |voucher: &Blob| Voucher::from_bytes(&voucher.0).ok().map(|voucher| voucher.head().lane);
        keys.extend(self.vouchers.iter().filter_map(lane).map(|lane| LANES.key(&(self.purchase, lane))));
    }
}

impl Claim {
    /// Judges the vouchers in order and raises lanes and purchase.
    fn count(&self, ctx: &mut Context<'_>, purchase: &mut PurchaseRecord) -> Result<()> {
        // Signatures cost more than all else: none is checked before the rows are there.
        if ctx.is_incomplete() {
            return Ok(());
        }
        // A chain that no voucher names is never looked at, and none is looked at twice.
        let mut authorities = vec![None; self.chains.len()];
        let vouchers = (0_u32..).zip(self.vouchers.iter().zip(&self.signers));
        for (index, (voucher, signer)) in vouchers {
            let authority = self.signer(ctx, purchase, &mut authorities, *signer);
            match acknowledged(voucher, authority, purchase).and_then(|told| news(ctx, self.purchase, purchase, told)) {
                Ok((lane, calls)) => raise(ctx, self.purchase, purchase, lane, calls)?,
                Err(error) => {
                    ctx.emit(Event::VoucherSkipped { purchase: self.purchase, index, code: error.code() });
                }
            }
        }
        Ok(())
    }

    /// What the named chain gives, judged when it is first named.
    fn signer<'a>(
        &self,
        ctx: &Context<'_>,
        purchase: &PurchaseRecord,
        authorities: &'a mut [Option<Judged<LaneAuthority>>],
        signer: u16,
    ) -> Judged<&'a LaneAuthority> {
        let at = usize::from(signer);
        let (chain, known) =
            self.chains.get(at).zip(authorities.get_mut(at)).ok_or(Error::Malformed { field: "signers" })?;
        known.get_or_insert_with(|| self.authority(ctx, purchase, chain)).as_ref().map_err(Clone::clone)
    }

    fn authority(&self, ctx: &Context<'_>, purchase: &PurchaseRecord, chain: &Blob) -> Judged<LaneAuthority> {
        KeyChain::from_blob(chain)?.authority(ctx, self.purchase, purchase)
    }
}

/// What a voucher says, if it may: lane and calls.
fn acknowledged(voucher: &Blob, authority: Judged<&LaneAuthority>, purchase: &PurchaseRecord) -> Judged<(Lane, u64)> {
    let voucher = Voucher::from_bytes(&voucher.0).map_err(|_| Error::Malformed { field: "voucher" })?;
    let calls = check_voucher(&voucher, authority?, purchase)?;
    Ok((voucher.head().lane, calls))
}

/// Lane and number of calls that were not claimed before, cut at the quota.
fn news(
    ctx: &Context<'_>,
    id: PurchaseId,
    purchase: &PurchaseRecord,
    (lane, calls): (Lane, u64),
) -> Judged<(Lane, u64)> {
    let claimed = LANES.get(ctx, &(id, lane)).unwrap_or(0);
    let left = purchase.quota.saturating_sub(purchase.claimed);
    match calls.saturating_sub(claimed).min(left) {
        0 => Err(Error::NothingNew),
        new => Ok((lane, new)),
    }
}

fn raise(ctx: &mut Context<'_>, id: PurchaseId, purchase: &mut PurchaseRecord, lane: Lane, calls: u64) -> Result<()> {
    let claimed = LANES.get(ctx, &(id, lane));
    if claimed.is_none() {
        attach_row(ctx, purchase)?;
    }
    LANES.set(ctx, &(id, lane), &claimed.unwrap_or(0).saturating_add(calls));
    purchase.claimed = purchase.claimed.saturating_add(calls);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::market::state::TRANCHES;
    use crate::modules::market::{Purchase, RevokeKey, RotateCallKey, RowRef, Sweep};
    use crate::testing::market::{DAY, Market, claim, events, key, public, voucher, voucher_at};
    use surety_primitives::access::{Grant, GrantFlags, SubGrant, SubGrantTerms};
    use surety_primitives::{Hash32, Seconds};

    fn skipped(receipt: &crate::Receipt) -> Vec<(u32, u16)> {
        let one = |event: &Event| match event {
            Event::VoucherSkipped { index, code, .. } => Some((*index, *code)),
            _ => None,
        };
        events(receipt).iter().filter_map(one).collect()
    }

    fn grant(market: &Market, id: PurchaseId) -> Grant {
        let record = market.purchase(id);
        Grant {
            network: market.chain.network(),
            purchase: id,
            key_version: record.key_version,
            call_key: key("ana").public(),
            lanes: u32::from(record.lanes),
            quota: record.quota,
            not_before: record.not_before,
            end: record.end(),
        }
    }

    fn sub_grant(parent: Hash32, from: &str, to: &str, max_calls: u64) -> SubGrant {
        SubGrantTerms {
            parent,
            delegate: key(to).public(),
            first_lane: Lane(0),
            last_lane: Lane(0),
            max_calls,
            valid_until: Seconds(0),
            rate: 0,
            scope: Hash32::default(),
            flags: GrantFlags::ALL,
        }
        .sign(&key(from))
    }

    // Vouchers of several signers with their chains.
    fn mixed(purchase: PurchaseId, told: &[(&str, u16, u64, u16)], chains: &[KeyChain]) -> Claim {
        Claim {
            purchase,
            vouchers: told.iter().map(|(who, lane, cum, _)| voucher(who, purchase, *lane, *cum, false)).collect(),
            signers: told.iter().map(|(.., signer)| *signer).collect(),
            chains: chains.iter().map(KeyChain::to_blob).collect(),
        }
    }

    #[test]
    fn a_claim_pays_the_new_calls_of_all_lanes() {
        let mut market = Market::default();
        let id = market.buy();
        let receipt = market.claims(id, &[(0, 400), (1, 200)]);
        let (calls, amount, take) = (600, Amount::call(60), Amount::call(3));
        let claimed = Event::Claimed { purchase: id, provider: market.provider, calls, amount, take };
        assert_eq!(events(&receipt), vec![claimed]);
        let (provider, record) = (market.provider(), market.purchase(id));
        assert_eq!((provider.open_value, provider.unreleased), (Amount::call(40), Amount::call(57)));
        assert_eq!((record.claimed, record.rows), (600, 4));
        let tranche = market.chain.get(TRANCHES, &(market.provider, market.period()));
        assert_eq!(tranche.map(|tranche| tranche.amount), Some(Amount::call(57)));
        market.chain.assert_conserved();

        market.claims(id, &[(0, 401)]);
        assert_eq!(market.purchase(id).claimed, 601);
        market.chain.assert_conserved();
    }

    #[test]
    fn sums_of_rounded_claims_never_pass_the_price() {
        let mut market = Market::new(|terms| (terms.calls, terms.window) = (7, 1));
        let id = market.buy();
        for cum in 1..=7 {
            market.claims(id, &[(0, cum)]);
        }
        assert_eq!(market.provider().open_value, Amount::ZERO);
        market.chain.assert_conserved();
    }

    #[test]
    fn a_bad_voucher_is_named_and_does_not_spoil_the_others() {
        let mut market = Market::default();
        let id = market.buy();
        let other = market.buy();
        let mut all = claim("ana", id, &[(0, 5), (0, 5), (0, 4), (2, 9), (1, 3), (0, 8)]);
        all.vouchers[4].0[39] ^= 1;
        all.vouchers.extend([voucher("ana", other, 0, 9, false), voucher("max", id, 0, 9, false), Blob(vec![1])]);
        all.vouchers.push(voucher("ana", id, 0, 9, false));
        all.signers = vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
        let receipt = market.does("max", all);
        let (stale, bad, unread) = (6_034, 6_051, 6_049);
        let expected =
            [(1, stale), (2, stale), (3, bad), (4, bad), (6, bad), (7, bad), (8, unread), (9, unread)].to_vec();
        assert_eq!(skipped(&receipt), expected);
        assert_eq!(market.purchase(id).claimed, 8);
        market.chain.assert_conserved();
    }

    #[test]
    fn claims_are_cut_at_the_quota_over_all_lanes() {
        let mut market = Market::default();
        let id = market.buy();
        market.claims(id, &[(0, 800), (1, 800)]);
        assert_eq!((market.purchase(id).claimed, market.provider().open_value), (1_000, Amount::ZERO));
        assert_eq!(market.chain.get(LANES, &(id, Lane(1))), Some(200));
        market.chain.fails("vera", claim("ana", id, &[(0, 900)]), Error::NothingNew);
        market.chain.assert_conserved();
    }

    #[test]
    fn a_chain_gives_no_more_than_each_of_its_links() {
        let mut market = Market::default();
        let id = market.buy();
        let first = sub_grant(grant(&market, id).hash(), "ana", "bob", 50);
        let second = sub_grant(first.hash(), "bob", "eve", 20);
        let wider = sub_grant(first.hash(), "bob", "eve", 51);
        let chain = |links: &[SubGrant]| KeyChain { key_version: 1, links: links.to_vec() };
        let chains = [chain(&[first]), chain(&[first, second]), chain(&[first, wider]), chain(&[second])];
        let told = [("eve", 0, 21, 1), ("eve", 0, 20, 1), ("bob", 0, 50, 0), ("eve", 0, 51, 2), ("eve", 0, 60, 3)];
        let receipt = market.does("vera", mixed(id, &told, &chains));
        assert_eq!(skipped(&receipt), vec![(0, 6_051), (3, 6_051), (4, 6_051)]);
        assert_eq!(market.purchase(id).claimed, 50);
        market.chain.assert_conserved();
    }

    #[test]
    fn what_was_signed_before_a_revocation_counts_for_the_claim_window() {
        let mut market = Market::default();
        let id = market.buy();
        let link = sub_grant(grant(&market, id).hash(), "ana", "bob", 50);
        let chains = [KeyChain { key_version: 1, links: vec![link] }];
        market.does("ana", RevokeKey { purchase: id, hash: link.hash() });
        market.chain.wait(3 * DAY - 1);
        market.does("vera", mixed(id, &[("bob", 0, 10, 0)], &chains));
        market.chain.wait(1);
        market.chain.fails("vera", mixed(id, &[("bob", 0, 11, 0)], &chains), Error::NothingNew);
    }

    #[test]
    fn an_earlier_root_key_counts_for_the_claim_window() {
        let mut market = Market::default();
        let id = market.buy();
        market.does("ana", RotateCallKey { purchase: id, key: public("new") });
        let chains = [KeyChain::root(1), KeyChain::root(2)];
        market.does("vera", mixed(id, &[("ana", 0, 5, 0), ("new", 1, 5, 1)], &chains));
        market.chain.wait(3 * DAY);
        let late = mixed(id, &[("ana", 0, 6, 0), ("new", 1, 6, 1), ("ana", 0, 7, 1)], &chains);
        let receipt = market.does("vera", late);
        assert_eq!(skipped(&receipt), vec![(0, 6_051), (2, 6_051)]);
        assert_eq!(market.purchase(id).claimed, 11);
    }

    #[test]
    fn what_was_signed_for_a_swept_purchase_does_not_count_for_the_next_of_its_reference() {
        let mut market = Market::default();
        let order = market.order();
        let id = market.buy();
        let signed = |at: Seconds, lane, cum, opens| voucher_at("ana", id, lane, cum, opens, at);
        let old = [signed(market.chain.now(), 0, 40, false), signed(market.chain.now(), 1, 0, true)];
        market.wait_days(60);
        market.settles(id);
        let rows = vec![RowRef { table: 65, id: Blob(id.0.to_vec()) }];
        market.does("max", Sweep { rows });
        let again = Purchase { expires: market.chain.now().after(Seconds(30 * DAY)), ..order };
        market.does("ana", again);
        let now = market.chain.now();
        assert_eq!(market.purchase(id).not_before, now);

        let one = |voucher: &Blob| Claim { vouchers: vec![voucher.clone()], ..claim("ana", id, &[(0, 1)]) };
        let refused = one(&old[0]);
        let mut both = refused.clone();
        both.vouchers.push(signed(now, 0, 2, false));
        both.signers.push(0);
        market.chain.fails("vera", refused, Error::NothingNew);
        let receipt = market.does("vera", both);
        assert_eq!((skipped(&receipt), market.purchase(id).claimed), (vec![(0, 6_051)], 2));

        market.wait_days(30);
        let mut show = market.show(id, 0, 5);
        (show.entries[0].lane, show.entries[0].opening) = (Lane(1), old[1].clone());
        market.chain.fails("vera", show.clone(), Error::NoOpening);
        show.entries[0].opening = signed(now, 1, 0, true);
        market.does("vera", show);
    }

    #[test]
    fn claims_end_72_hours_after_the_package() {
        let mut market = Market::default();
        let id = market.buy();
        market.wait_days(33);
        let at = market.chain.now();
        market.chain.fails("vera", claim("ana", id, &[(0, 5)]), Error::ClaimClosed { at });
        let unknown = claim("ana", PurchaseId([7; 16]), &[(0, 5)]);
        market.chain.fails("vera", unknown, Error::UnknownPurchase);
        market.chain.assert_conserved();
    }

    #[test]
    fn lists_of_a_claim_have_their_bounds() {
        let fine = claim("ana", PurchaseId([1; 16]), &[(0, 5)]);
        assert_eq!(Action::check(&fine), Ok(()));
        let none = Claim { vouchers: Vec::new(), signers: Vec::new(), ..fine.clone() };
        assert!(Action::check(&none).is_err());
        let unnamed = Claim { chains: vec![Blob::default(); 2], ..fine.clone() };
        let rule = "at most one a voucher";
        assert_eq!(Action::check(&unnamed), Err(Error::BadRange { field: "chains", rule }.into()));
        let many = claim("ana", PurchaseId([1; 16]), &[(0, 5); 65]);
        assert!(Action::check(&many).is_err());
        let odd = Claim { signers: vec![0, 0], ..fine.clone() };
        assert!(Action::check(&odd).is_err());
        let params = Params::default();
        assert_eq!(Action::fee(&fine, &params), Amount::milli(25));
    }

    #[test]
    fn every_link_is_paid_like_a_voucher() {
        let (id, params) = (PurchaseId([1; 16]), Params::default());
        let link = sub_grant(Hash32::default(), "ana", "bob", 50);
        let chain = |links| KeyChain { key_version: 1, links: vec![link; links] };
        let fee = |links: &[usize]| {
            let chains: Vec<_> = links.iter().map(|links| chain(*links)).collect();
            Action::fee(&mixed(id, &[("bob", 0, 5, 0); 3], &chains), &params)
        };
        assert_eq!(fee(&[0]), Amount::milli(20 + 15));
        assert_eq!(fee(&[4, 1, 0]), Amount::milli(20 + 15 + 25));
        // What cannot be read is priced by its length, at most as the longest chain.
        let fine = claim("ana", id, &[(0, 5)]);
        let long = Claim { chains: vec![Blob(vec![0; 10_000])], ..fine };
        assert_eq!(Action::fee(&long, &params), Amount::milli(20 + 5 + 20));
    }

    #[test]
    fn a_chain_that_no_voucher_names_spoils_nothing() {
        let mut market = Market::default();
        let id = market.buy();
        let link = sub_grant(grant(&market, id).hash(), "ana", "bob", 50);
        let chain = KeyChain { key_version: 1, links: vec![link] };
        // The second chain is no chain at all, and nobody names it; the third is named twice.
        let mut some = mixed(id, &[("bob", 0, 5, 2), ("bob", 0, 6, 2), ("bob", 0, 7, 3)], &[chain.clone(), chain]);
        some.chains.insert(0, Blob(vec![0xff]));
        assert_eq!(some.chains.len(), 3);
        let receipt = market.does("vera", some);
        assert_eq!(skipped(&receipt), vec![(2, 6_049)]);
        assert_eq!(market.purchase(id).claimed, 6);
    }

    #[test]
    fn whoever_opens_a_lane_row_or_a_tranche_places_its_deposit() {
        let mut market = Market::default();
        let id = market.buy();
        let before = market.chain.balance("max");
        market.does("max", claim("ana", id, &[(0, 5)]));
        // Fee 0.025, a lane, a tranche.
        assert_eq!(market.chain.balance("max"), before.saturating_sub(Amount::milli(45)));
        assert_eq!(market.purchase(id).deposit, Amount::milli(30));
    }

    #[test]
    fn a_provider_serves_once_a_day_when_its_take_passes_one() {
        let mut market = Market::default();
        let id = market.buy();
        let served = |market: &Market| market.chain.get(crate::modules::fees::FEES, &()).map(|fees| fees.served_today);
        market.claims(id, &[(0, 200)]);
        assert_eq!(served(&market), Some(0));
        market.claims(id, &[(0, 201)]);
        market.claims(id, &[(0, 900)]);
        assert_eq!(served(&market), Some(1));
    }
}
