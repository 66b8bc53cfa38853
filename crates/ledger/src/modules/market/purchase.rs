//! Purchase: a package of calls, paid into escrow and covered before it is sold (`market.md` B3).

use surety_primitives::keys::PublicKey;
use surety_primitives::typed_data::{Bytes16, Bytes32};
use surety_primitives::{Address, Amount, ProviderId, PurchaseId, Seconds, ServiceId, typed_struct};

use super::Error;
use super::coverage::{self, charge_rows};
use super::state::{
    CALL_KEYS, Event, PROVIDERS, PURCHASES, Provider, ProviderStatus, PurchaseRecord, PurchaseStatus, SALES, SERVICES,
    Service,
};
use crate::action::Action;
use crate::context::Context;
use crate::error::Result;
use crate::modules::bank::{self, Pool};
use crate::modules::params::Params;
use crate::state::Key;

/// Rows that a purchase begins with: itself and its sale.
const ROWS: u32 = 2;

typed_struct! {
    /// Buys a package of calls. The same reference and terms again change nothing and succeed.
    pub struct Purchase {
        /// Who sells.
        pub provider: ProviderId,
        /// The listing.
        pub service: ServiceId,
        /// The listing's version that the buyer has read.
        pub version: u32,
        /// The most that may be charged for the package.
        pub max_fee: Amount,
        /// The buyer's own reference: names the purchase, so that a retry is not a second one.
        pub client_ref: Bytes16,
        /// The root key of its calls (ed25519).
        pub call_key: Bytes32,
        /// Independent counters, from 1.
        pub lanes: u16,
        /// When the package ends, ledger time.
        pub expires: Seconds,
    }
}

impl Action for Purchase {
    fn check(&self) -> Result<()> {
        PublicKey(self.call_key.0).check_registrable().map_err(|_| Error::BadKey)?;
        Ok(())
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        let id = PurchaseId::derive(ctx.network(), ctx.signer(), self.client_ref.0);
        if let Some(existing) = PURCHASES.get(ctx, &id) {
            return self.repeat(ctx, id, &existing);
        }
        let (service, mut provider) = self.parties(ctx)?;
        self.check_offer(&service, &provider)?;
        let terms = &service.terms;
        let promised = Amount(terms.cover.0.saturating_mul(u128::from(terms.cover_faults)));
        provider.ensure_covers(terms.price.saturating_add(promised))?;
        self.check_stake(ctx, &provider)?;
        self.check_shape(ctx, &service)?;
        ensure_funds(ctx, terms.price)?;

        let consumer = ctx.signer();
        bank::debit(ctx, &consumer, Pool::Escrow, terms.price)?;
        let deposit = charge_rows(ctx, ROWS)?;
        let record = self.record(ctx, &service, provider.sales, deposit);
        provider.open_value = provider.open_value.saturating_add(terms.price);
        provider.promised = provider.promised.saturating_add(promised);
        provider.sales = record.sale.saturating_add(1);
        coverage::store(ctx, &self.provider, &mut provider);
        PURCHASES.set(ctx, &id, &record);
        SALES.set(ctx, &(self.provider, record.sale), &id);
        ctx.emit(purchased(id, &record, false));
        Ok(())
    }

    fn fee(&self, params: &Params) -> Amount {
        params.fee_purchase
    }

    fn reads(&self, _signer: Address, keys: &mut Vec<Key>) {
        keys.extend([SERVICES.key(&self.service), PROVIDERS.key(&self.provider)]);
    }
}

impl Purchase {
    fn repeat(&self, ctx: &mut Context<'_>, id: PurchaseId, existing: &PurchaseRecord) -> Result<()> {
        let first_key = if existing.key_version == 1 {
            Some(existing.call_key)
        } else {
            CALL_KEYS.get(ctx, &(id, 1)).map(|old| old.key)
        };
        let same = existing.provider == self.provider
            && existing.service == self.service
            && existing.version == self.version
            && existing.lanes == self.lanes
            && existing.expires == self.expires
            && existing.price <= self.max_fee
            && first_key == Some(self.call_key);
        ensure!(same, Error::RefReused);
        ctx.emit(purchased(id, existing, true));
        Ok(())
    }

    fn parties(&self, ctx: &Context<'_>) -> Result<(Service, Provider)> {
        let service = SERVICES.get(ctx, &self.service).ok_or(Error::UnknownService)?;
        let provider = coverage::load(ctx, &self.provider)?;
        ensure!(service.provider == self.provider, Error::ServiceMismatch);
        Ok((service, provider))
    }

    fn check_offer(&self, service: &Service, provider: &Provider) -> Result<()> {
        let (current, price) = (service.version, service.terms.price);
        ensure!(self.version == current, Error::VersionChanged { current });
        ensure!(price <= self.max_fee, Error::FeeAboveMax { price });
        let paused = matches!(provider.status, ProviderStatus::Paused { .. });
        ensure!(!service.paused && !paused, Error::Paused);
        provider.ensure_live()
    }

    fn check_stake(&self, ctx: &Context<'_>, provider: &Provider) -> Result<()> {
        let (params, now) = (ctx.params(), ctx.now());
        let short = Error::StakeShort { stake: provider.stake, needed: provider.required_stake(params, now) };
        ensure!(!provider.is_past_grace(params, now), short);
        Ok(())
    }

    fn check_shape(&self, ctx: &Context<'_>, service: &Service) -> Result<()> {
        let (least, most) = (service.terms.life_least, service.terms.life_most);
        let life = self.expires.since(ctx.now());
        ensure!(least <= life && life <= most, Error::BadExpiry { least, most });
        let most = ctx.params().lanes_most;
        ensure!((1..=most).contains(&self.lanes), Error::TooManyLanes { most });
        Ok(())
    }

    fn record(&self, ctx: &Context<'_>, service: &Service, sale: u64, deposit: Amount) -> PurchaseRecord {
        let terms = &service.terms;
        PurchaseRecord {
            consumer: ctx.signer(),
            call_key: self.call_key,
            key_version: 1,
            provider: self.provider,
            service: self.service,
            version: service.version,
            sale,
            quota: terms.calls,
            price: terms.price,
            refund_bps: terms.refund_bps,
            window: terms.window,
            rate: terms.rate,
            lanes: self.lanes,
            cover: terms.cover,
            cover_left: terms.cover_faults,
            datasets: terms.datasets.clone(),
            not_before: ctx.now(),
            expires: self.expires,
            ended: None,
            claimed: 0,
            last_claim: ctx.now(),
            status: PurchaseStatus::Open,
            rows: ROWS,
            deposit,
        }
    }
}

// Price and deposits together, so that the rejection names the whole sum.
fn ensure_funds(ctx: &Context<'_>, price: Amount) -> Result<()> {
    let deposits = Amount(ctx.params().row_deposit.0.saturating_mul(u128::from(ROWS)));
    let needed = price.saturating_add(deposits);
    let balance = bank::balance_of(ctx, &ctx.signer());
    ensure!(balance >= needed, bank::Error::InsufficientFunds { balance, needed });
    Ok(())
}

const fn purchased(purchase: PurchaseId, record: &PurchaseRecord, existing: bool) -> Event {
    Event::Purchased {
        purchase,
        consumer: record.consumer,
        provider: record.provider,
        service: record.service,
        sale: record.sale,
        price: record.price,
        expires: record.expires,
        existing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules::market::state::Terms;
    use crate::modules::market::{
        PauseProvider, PauseService, RegisterProvider, RotateCallKey, UnstakeProvider, UpdateService,
    };
    use crate::testing::Scenario;
    use crate::testing::market::{DAY, Market, events, public, terms};
    use surety_primitives::DatasetId;

    #[test]
    fn a_purchase_moves_price_and_deposits_and_is_the_next_sale() {
        let mut market = Market::default();
        let id = market.buy();
        // 100 for the package, 0.02 on two rows, 0.02 fee.
        assert_eq!(market.chain.balance("ana"), Amount::milli(899_960));
        let (provider, record) = (market.provider(), market.purchase(id));
        assert_eq!((provider.open_value, provider.promised), (Amount::call(100), Amount::call(200)));
        assert_eq!((record.price, record.quota, record.cover_left), (Amount::call(100), 1_000, 1));
        assert_eq!((record.rows, record.deposit), (2, Amount::milli(20)));
        let next = market.buy();
        assert_eq!(market.chain.get(SALES, &(market.provider, 0)), Some(id));
        assert_eq!(market.chain.get(SALES, &(market.provider, 1)), Some(next));
        market.chain.assert_conserved();
    }

    #[test]
    fn an_update_of_the_listing_leaves_what_is_sold_as_it_was() {
        let chain = Scenario::new().account("vera", 6_000).account("ana", 1_000);
        let mut market = Market::on(chain, |terms| terms.rate = 7);
        let publication = crate::testing::faults::publication(market.chain.now());
        market.does("vera", publication);
        let pinned = Terms { datasets: vec![DatasetId(1)], rate: 7, ..terms() };
        market.does("vera", UpdateService { service: market.service, terms: pinned });
        let order = Purchase { version: 2, ..market.order() };
        let id = PurchaseId::derive(market.chain.network(), market.chain.address("ana"), order.client_ref.0);
        market.does("ana", order);
        let sold = market.purchase(id);
        assert_eq!((&sold.datasets[..], sold.rate), (&[DatasetId(1)][..], 7));

        let less = Terms { datasets: Vec::new(), rate: 1, window: 1, cover: Amount::ZERO, ..terms() };
        market.does("vera", UpdateService { service: market.service, terms: less });
        assert_eq!(market.purchase(id), sold);
    }

    #[test]
    fn the_same_order_again_succeeds_and_costs_only_the_fee() {
        let mut market = Market::default();
        let order = market.order();
        let id = market.buy();
        let before = market.chain.balance("ana");
        let receipt = market.does("ana", order.clone());
        assert!(matches!(events(&receipt)[..], [Event::Purchased { existing: true, sale: 0, .. }]));
        assert_eq!(market.chain.balance("ana"), before.saturating_sub(Amount::milli(20)));

        market.does("ana", RotateCallKey { purchase: id, key: public("other") });
        market.does("ana", order);
        assert_eq!(market.provider().sales, 1);
        market.chain.assert_conserved();
    }

    #[test]
    fn a_reference_cannot_be_used_for_other_terms() {
        let mut market = Market::default();
        let order = market.order();
        market.buy();
        for other in [
            Purchase { lanes: 3, ..order },
            Purchase { expires: order.expires.after(Seconds(1)), ..order },
            Purchase { call_key: public("other"), ..order },
            Purchase { version: 2, ..order },
            Purchase { service: ServiceId(2), ..order },
            Purchase { max_fee: Amount::call(99), ..order },
        ] {
            market.chain.fails("ana", other, Error::RefReused);
        }
        market.chain.does("max", order);
        assert_eq!(market.provider().sales, 2);
    }

    #[test]
    fn only_what_is_offered_at_the_moment_can_be_bought() {
        let mut market = Market::default();
        let order = market.order();
        let rejections = [
            (Purchase { service: ServiceId(9), ..order }, Error::UnknownService),
            (Purchase { provider: ProviderId(9), ..order }, Error::UnknownProvider),
            (Purchase { version: 2, ..order }, Error::VersionChanged { current: 1 }),
            (Purchase { max_fee: Amount::call(99), ..order }, Error::FeeAboveMax { price: Amount::call(100) }),
        ];
        for (order, error) in rejections {
            market.chain.fails("ana", order, error);
        }
        market.does("vera", UpdateService { service: market.service, terms: terms() });
        market.chain.fails("ana", order, Error::VersionChanged { current: 2 });
        market.chain.assert_conserved();
    }

    #[test]
    fn a_listing_of_another_provider_is_refused() {
        let chain = Scenario::new().account("vera", 6_000).account("ana", 1_000).account("rival", 2_000);
        let mut market = Market::on(chain, |_| ());
        let stake = Amount::call(1_000);
        market.does("rival", RegisterProvider { payout: Address::ZERO, key: public("rival"), stake });
        let order = Purchase { provider: ProviderId(2), ..market.order() };
        market.chain.fails("ana", order, Error::ServiceMismatch);
    }

    #[test]
    fn nothing_is_sold_while_paused_or_after_leaving() {
        let mut market = Market::default();
        let (provider, service, order) = (market.provider, market.service, market.order());
        market.does("vera", PauseService { service, paused: true });
        market.chain.fails("ana", order.clone(), Error::Paused);
        market.does("vera", PauseService { service, paused: false });
        market.does("vera", PauseProvider { provider, paused: true });
        market.chain.fails("ana", order.clone(), Error::Paused);
        market.does("vera", UnstakeProvider { provider, amount: Amount::call(5_000) });
        market.chain.fails("ana", order, Error::Stopped);
        market.chain.assert_conserved();
    }

    #[test]
    fn what_would_not_be_covered_is_not_sold() {
        let mut market = Market::new(|terms| {
            terms.cover_faults = 8;
            terms.cover = Amount::call(600);
            terms.cover_cap = Amount::call(600);
        });
        market.buy();
        let (free, needed) = (Amount::call(100), Amount::call(4_900));
        market.chain.fails("ana", market.order(), Error::CoverageShort { free, needed });
        market.chain.assert_conserved();
    }

    #[test]
    fn a_short_stake_sells_through_its_grace_and_not_after() {
        let mut market = Market::default();
        let mut provider = market.provider();
        provider.revenue = Amount::call(100_000);
        provider.revenue_day = market.chain.now().day() + 8;
        market.chain.put(PROVIDERS, &market.provider, &provider);
        market.buy();
        market.wait_days(8);
        let (stake, now) = (Amount::call(5_000), market.chain.now());
        let needed = market.provider().required_stake(market.chain.params(), now);
        market.chain.fails("ana", market.order(), Error::StakeShort { stake, needed });
    }

    #[test]
    fn life_lanes_and_key_have_their_bounds() {
        let mut market = Market::default();
        let order = market.order();
        let life = Error::BadExpiry { least: Seconds(DAY), most: Seconds(60 * DAY) };
        for days in [0, 61, 400] {
            let expires = market.chain.now().after(Seconds(days * DAY));
            market.chain.fails("ana", Purchase { expires, ..order }, life.clone());
        }
        let lanes = Error::TooManyLanes { most: 1_024 };
        market.chain.fails("ana", Purchase { lanes: 0, ..order }, lanes.clone());
        market.chain.fails("ana", Purchase { lanes: 1_025, ..order }, lanes);
        let weak = Purchase { call_key: Bytes32([0; 32]), ..order };
        assert_eq!(Action::check(&weak), Err(Error::BadKey.into()));
    }

    #[test]
    fn the_funds_needed_are_price_and_deposits() {
        let chain = Scenario::new().account("vera", 6_000).account("ana", 100);
        let mut market = Market::on(chain, |_| ());
        let (balance, needed) = (Amount::milli(99_980), Amount::milli(100_020));
        let order = market.order();
        market.chain.fails("ana", order, bank::Error::InsufficientFunds { balance, needed });
        market.chain.assert_conserved();
    }

    #[test]
    fn a_free_package_can_be_bought() {
        let mut market = Market::new(|terms| {
            (terms.price, terms.cover, terms.cover_cap) = (Amount::ZERO, Amount::ZERO, Amount::ZERO);
        });
        let id = market.buy();
        market.claims(id, &[(0, 10)]);
        assert_eq!(market.purchase(id).claimed, 10);
        market.chain.assert_conserved();
    }
}
