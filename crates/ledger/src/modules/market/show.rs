//! ShowAnswers: at the end of a purchase its provider shows what it answered without being acknowledged (`market.md` B6).

use std::collections::BTreeSet;

use surety_primitives::access::{Flags, LaneAuthority, Voucher};
use surety_primitives::keys::{PublicKey, Signature};
use surety_primitives::typed_data::{Blob, Bytes32};
use surety_primitives::{Address, Hash32, Lane, NetworkId, PurchaseId, codec, hash, typed_struct};

use super::Error;
use super::coverage::{self, attach_row, load_purchase};
use super::keychain::{KeyChain, check_voucher};
use super::payment::ensure_count;
use super::state::{Event, LANES, PURCHASES, Provider, PurchaseRecord, SHOWN, Shown, ShownLane};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::state::Key;

const ENTRIES_MOST: u32 = 16;

typed_struct! {
    /// Answers of one lane that were not acknowledged.
    pub struct ShownAnswers {
        /// The lane.
        pub lane: Lane,
        /// The lane's claimed calls.
        pub from_cum: u64,
        /// How many Answers, from 1.
        pub count: u64,
        /// Merkle root over the signed Answers in order of seq.
        pub root: Hash32,
        /// The call that opened the lane, as a voucher of 168 bytes.
        pub opening: Blob,
        /// The chain of the key that signed it: root key version and sub-grants, borsh.
        pub chain: Blob,
    }
}

typed_struct! {
    /// Shows what was answered and not acknowledged; once a purchase, by its provider.
    pub struct ShowAnswers {
        /// The purchase.
        pub purchase: PurchaseId,
        /// 1 to 16 entries, one a lane.
        pub entries: Vec<ShownAnswers>,
        /// Empty where the provider's owner sends it; else 64 bytes by the provider's answering key, so that a sidecar can
        /// do without the owner's.
        pub signature: Blob,
    }
}

impl ShowAnswers {
    /// What the provider's answering key signs.
    #[must_use]
    pub fn digest(&self, network: NetworkId) -> Hash32 {
        let entries = codec::encode(&self.entries);
        hash::h("surety/market/show/v1", &[&network.0.to_be_bytes(), &self.purchase.0, &entries])
    }

    fn check_sender(&self, ctx: &Context<'_>, provider: &Provider) -> Result<()> {
        let signed = || is_signed(provider.key, &self.digest(ctx.network()), &self.signature);
        ensure!(ctx.signer() == provider.owner || signed(), Error::NotParty);
        Ok(())
    }
}

/// Whether `blob` is a signature of `key` over `digest`.
pub(super) fn is_signed(key: Bytes32, digest: &Hash32, blob: &Blob) -> bool {
    let signature = <[u8; 64]>::try_from(blob.0.as_slice()).map(Signature);
    signature.is_ok_and(|signature| PublicKey(key.0).verify(digest, &signature).is_ok())
}

impl Action for ShowAnswers {
    fn check(&self) -> Result<()> {
        ensure_count("entries", self.entries.len(), 1, ENTRIES_MOST)?;
        let lanes: BTreeSet<Lane> = self.entries.iter().map(|entry| entry.lane).collect();
        ensure!(lanes.len() == self.entries.len(), Error::BadRange { field: "entries", rule: "each lane stands once" });
        let counted = self.entries.iter().all(|entry| entry.count >= 1);
        ensure!(counted, Error::BadRange { field: "count", rule: "at least 1" });
        Ok(())
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let mut purchase = load_purchase(ctx, &self.purchase)?;
        let provider = coverage::load(ctx, &purchase.provider)?;
        self.check_sender(ctx, &provider)?;
        let (opens, closes) = (purchase.end(), purchase.end().after(ctx.params().claim_window));
        ensure!(ctx.now() >= opens, Error::TooEarly { at: opens });
        ensure!(ctx.now() < closes, Error::WindowOver { at: closes });
        ensure!(!SHOWN.has(ctx, &self.purchase), Error::AlreadyDone);

        let calls = self.entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.count));
        let most = u64::from(purchase.window).min(purchase.quota.saturating_sub(purchase.claimed));
        ensure!(calls <= most, Error::AboveWindow { most });
        let entries: Result<Vec<ShownLane>> =
            self.entries.iter().map(|entry| entry.judge(ctx, self.purchase, &purchase)).collect();

        attach_row(ctx, &mut purchase)?;
        SHOWN.set(ctx, &self.purchase, &Shown { entries: entries? });
        PURCHASES.set(ctx, &self.purchase, &purchase);
        ctx.emit(Event::AnswersShown { purchase: self.purchase, calls });
        Ok(())
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.extend([PURCHASES.key(&self.purchase), SHOWN.key(&self.purchase)]);
        keys.extend(self.entries.iter().map(|entry| LANES.key(&(self.purchase, entry.lane))));
    }
}

impl ShownAnswers {
    /// Follows what the lane's own key signed: that it was opened, and how much it may use.
    fn judge(&self, ctx: &Context<'_>, id: PurchaseId, purchase: &PurchaseRecord) -> Result<ShownLane> {
        let claimed = LANES.get(ctx, &(id, self.lane)).unwrap_or(0);
        let rule = "the lane's claimed calls";
        ensure!(self.from_cum == claimed, Error::BadRange { field: "from_cum", rule });
        let authority = self.opened(ctx, id, purchase)?;
        let most = authority.max_calls.saturating_sub(self.from_cum);
        ensure!(self.count <= most, Error::AboveWindow { most });
        Ok(ShownLane {
            lane: self.lane,
            from_cum: self.from_cum,
            count: self.count,
            root: self.root,
            lane_key: Bytes32(authority.key.public().0),
            accepted: None,
        })
    }

    fn opened(&self, ctx: &Context<'_>, id: PurchaseId, purchase: &PurchaseRecord) -> Result<LaneAuthority> {
        let opening = Voucher::from_bytes(&self.opening.0).map_err(|_| Error::NoOpening)?;
        let head = opening.head();
        ensure!(head.flags.has(Flags::OPEN) && head.lane == self.lane, Error::NoOpening);
        let chain = KeyChain::from_blob(&self.chain)?;
        let authority = chain.authority(ctx, id, purchase).map_err(|_| Error::NoOpening)?;
        check_voucher(&opening, &authority, purchase).map_err(|_| Error::NoOpening)?;
        Ok(authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::market::{DAY, Market, key, shown, voucher};

    /// A purchase of which lane 0 has 620 and lane 1 has 360 claimed calls, at its end.
    fn ended() -> (Market, PurchaseId) {
        let mut market = Market::default();
        let id = market.buy();
        market.claims(id, &[(0, 620), (1, 360)]);
        market.wait_days(30);
        (market, id)
    }

    #[test]
    fn the_owner_shows_what_is_left() {
        let (mut market, id) = ended();
        market.does("vera", market.show(id, 620, 8));
        let record = market.chain.get(SHOWN, &id).map(|shown| shown.entries).unwrap_or_default();
        assert_eq!(record.first().map(|entry| (entry.count, entry.paid())), Some((8, 8)));
        assert_eq!(market.purchase(id).rows, 5);
        market.chain.fails("vera", market.show(id, 620, 8), Error::AlreadyDone);
        market.chain.assert_conserved();
    }

    #[test]
    fn the_answering_key_may_show_through_any_account() {
        let (mut market, id) = ended();
        let mut show = market.show(id, 620, 8);
        market.chain.fails("max", show.clone(), Error::NotParty);
        show.signature = Blob(key("ana").sign(&show.digest(market.chain.network())).0.to_vec());
        market.chain.fails("max", show.clone(), Error::NotParty);
        show.signature = Blob(key("vera").sign(&show.digest(market.chain.network())).0.to_vec());
        market.does("max", show);
    }

    #[test]
    fn answers_are_shown_between_the_end_and_72_hours_later() {
        let mut market = Market::default();
        let id = market.buy();
        let end = market.purchase(id).end();
        market.chain.fails("vera", market.show(id, 0, 8), Error::TooEarly { at: end });
        market.wait_days(33);
        let at = end.after(surety_primitives::Seconds(3 * DAY));
        market.chain.fails("vera", market.show(id, 0, 8), Error::WindowOver { at });
        let unknown = market.show(PurchaseId([7; 16]), 0, 8);
        market.chain.fails("vera", unknown, Error::UnknownPurchase);
    }

    #[test]
    fn no_more_is_shown_than_window_and_quota_leave() {
        let (mut market, id) = ended();
        market.chain.fails("vera", market.show(id, 620, 21), Error::AboveWindow { most: 20 });
        let other = market.buy();
        market.wait_days(30);
        let mut show = market.show(other, 0, 64);
        market.chain.fails("vera", market.show(other, 0, 65), Error::AboveWindow { most: 64 });
        show.entries.push(shown("ana", other, 1, 0, 1));
        market.chain.fails("vera", show, Error::AboveWindow { most: 64 });
        market.does("vera", market.show(other, 0, 64));
        market.chain.assert_conserved();
    }

    #[test]
    fn a_lane_without_its_opening_call_is_refused() {
        let (mut market, id) = ended();
        let good = market.show(id, 620, 8);
        let with = |opening: Blob| {
            let mut show = good.clone();
            show.entries.iter_mut().for_each(|entry| entry.opening = opening.clone());
            show
        };
        for opening in [
            voucher("ana", id, 0, 620, false),
            voucher("ana", id, 1, 0, true),
            voucher("max", id, 0, 0, true),
            voucher("ana", PurchaseId([7; 16]), 0, 0, true),
            Blob::default(),
        ] {
            market.chain.fails("vera", with(opening), Error::NoOpening);
        }
        let mut unread = good.clone();
        unread.entries.iter_mut().for_each(|entry| entry.chain = Blob::default());
        market.chain.fails("vera", unread, Error::Malformed { field: "chain" });
        let from = Error::BadRange { field: "from_cum", rule: "the lane's claimed calls" };
        market.chain.fails("vera", market.show(id, 619, 8), from);
    }

    #[test]
    fn entries_are_one_a_lane_and_not_empty() {
        let show = |entries| ShowAnswers { purchase: PurchaseId([1; 16]), entries, signature: Blob::default() };
        let entry = shown("ana", PurchaseId([1; 16]), 0, 0, 1);
        assert_eq!(Action::check(&show(vec![entry.clone()])), Ok(()));
        let empty = ShownAnswers { count: 0, ..entry.clone() };
        for entries in [Vec::new(), vec![entry.clone(), entry.clone()], vec![empty], vec![entry; 17]] {
            assert!(Action::check(&show(entries)).is_err());
        }
    }
}
