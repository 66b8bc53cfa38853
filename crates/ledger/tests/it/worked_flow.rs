//! The worked flow of `market.md` B4 with its numbers: 1,000 calls for 100 CALL. The score is the constant of a newcomer,
//! so that releases come later than in the sheet; no amount depends on it.

use surety_ledger::market::state::{
    PENALTIES, PROVIDERS, PURCHASES, Penalty, Provider, PurchaseRecord, SALES, TRANCHES, Tranche,
};
use surety_ledger::market::{ContestShown, Release, RowRef, Sweep};
use surety_ledger::testing::Scenario;
use surety_ledger::testing::faults::{Said, publication, report};
use surety_ledger::testing::market::{Market, claim};
use surety_ledger::{bank, market};
use surety_primitives::typed_data::Blob;
use surety_primitives::{Amount, Lane, PurchaseId, Seconds};

const DELAY_DAYS: u64 = 8;
const NONE: [Amount; 3] = [Amount::ZERO; 3];
const STRANGER: PurchaseId = PurchaseId([0xee; 16]);

fn milli(amount: u64) -> Amount {
    Amount::milli(amount)
}

fn units(text: &str) -> Amount {
    text.parse().unwrap()
}

// Rounded to nine places, as the sheet prints.
fn nine(amount: Amount) -> Amount {
    Amount((amount.0 + 500_000_000) / 1_000_000_000 * 1_000_000_000)
}

/// Provider: stake 5,000, unreleased 1,500, open value 2,400, promised 3,000, owed 0; N = 120; the consumer holds 150.
fn begin(refund_bps: u16) -> Market {
    let chain = Scenario::new().account("vera", 6_000).account("max", 9_000).account("ana", 150);
    // The reward rate of N = 120, held there: it is the cap.
    let chain = chain.with_params(|params| (params.reward_cap, params.provider_scale) = (5_608_985_705, 1));
    let mut market = Market::on(chain, |terms| terms.refund_bps = refund_bps);
    market.does("vera", publication(market.chain.now()));
    let rate = |market: &Market| market.chain.get(surety_ledger::fees::FEES, &()).unwrap();
    let mut fees = rate(&market);
    (fees.reward_rate, fees.serving) = (168_269_570, 1_000_000 << 32);
    market.chain.put(surety_ledger::fees::FEES, &(), &fees);

    // A package of another consumer stands for all that is open, promised and unreleased.
    let mut totals = market.chain.totals();
    (totals.escrow, totals.unreleased) = (Amount::call(2_400), Amount::call(1_500));
    market.chain.put(bank::TOTALS, &(), &totals);
    let max = market.chain.address("max");
    let mut account = market.chain.get(bank::ACCOUNTS, &max).unwrap();
    account.balance = account.balance.saturating_sub(Amount::call(3_900));
    market.chain.put(bank::ACCOUNTS, &max, &account);
    let tranche = Tranche { amount: Amount::call(1_500), last_claim: Seconds(u64::MAX), deposit: Amount::ZERO };
    market.chain.put(TRANCHES, &(market.provider, 0), &tranche);
    let provider = Provider {
        open_value: Amount::call(2_400),
        promised: Amount::call(3_000),
        unreleased: Amount::call(1_500),
        sales: 1,
        ..market.provider()
    };
    market.chain.put(PROVIDERS, &market.provider, &provider);
    market.chain.put(PURCHASES, &STRANGER, &stranger(&market));
    market.chain.put(SALES, &(market.provider, 0), &STRANGER);
    market.chain.assert_conserved();
    market
}

fn stranger(market: &Market) -> PurchaseRecord {
    let mut other = Market::default();
    let id = other.buy();
    PurchaseRecord {
        consumer: market.chain.address("max"),
        price: Amount::call(2_400),
        cover: Amount::call(3_000),
        deposit: Amount::ZERO,
        expires: Seconds(u64::MAX / 2),
        ..other.purchase(id)
    }
}

#[derive(Clone, Copy)]
struct Split {
    pool: Amount,
    treasury: Amount,
    burned: Amount,
}

// Fees' pools, less what transaction fees brought.
fn split(market: &Market, fees: Amount) -> Split {
    let totals = market.chain.totals();
    let half = fees.bps_down(5_000);
    Split {
        pool: totals.rewards.saturating_sub(half),
        treasury: totals.treasury,
        burned: totals.burned.saturating_sub(half),
    }
}

struct Flow {
    market: Market,
    fees: Amount,
    start: Split,
}

impl Flow {
    fn new(refund_bps: u16) -> Self {
        let market = begin(refund_bps);
        let start = split(&market, Amount::ZERO);
        Self { market, fees: Amount::ZERO, start }
    }

    fn does(&mut self, name: &str, action: impl Into<surety_ledger::AnyAction>) {
        let receipt = self.market.does(name, action);
        self.fees = self.fees.saturating_add(receipt.fee);
        self.market.chain.assert_conserved();
    }

    // Pool, treasury and burnt parts of all takes so far.
    fn takes(&self) -> [Amount; 3] {
        let now = split(&self.market, self.fees);
        [
            now.pool.saturating_sub(self.start.pool),
            now.treasury.saturating_sub(self.start.treasury),
            now.burned.saturating_sub(self.start.burned),
        ]
    }

    // Compares with what the sheet prints.
    fn assert_takes(&self, since: [Amount; 3], printed: [&str; 3]) {
        let mut taken = self.takes();
        for (amount, before) in taken.iter_mut().zip(since) {
            *amount = nine(amount.saturating_sub(before));
        }
        assert_eq!(taken, printed.map(units));
    }

    fn buys(&mut self) -> PurchaseId {
        let order = self.market.order();
        let id = PurchaseId::derive(self.market.chain.network(), self.market.chain.address("ana"), order.client_ref.0);
        assert_eq!(self.market.provider().free(), Amount::call(1_100));
        self.does("ana", order);
        assert_eq!(self.market.chain.balance("ana"), milli(49_960));
        let provider = self.market.provider();
        assert_eq!((provider.open_value, provider.promised), (Amount::call(2_500), Amount::call(3_200)));
        id
    }

    fn first_claim(&mut self, id: PurchaseId) {
        self.market.wait_days(3);
        self.does("max", claim("ana", id, &[(0, 400), (1, 200)]));
        self.assert_takes(NONE, ["2.350698737", "0.324650631", "0.324650631"]);
        let provider = self.market.provider();
        assert_eq!((provider.open_value, provider.unreleased), (Amount::call(2_440), Amount::call(1_557)));
        assert_eq!(provider.free(), Amount::call(917));
    }

    fn releases(&mut self, paid: Amount) {
        let period = self.market.period();
        self.market.wait_days(DELAY_DAYS);
        let before = self.market.chain.balance("vera");
        self.does("max", Release { provider: self.market.provider, periods: vec![period] });
        assert_eq!(self.market.chain.balance("vera"), before.saturating_add(paid));
    }
}

#[test]
fn the_worked_flow_pays_and_returns_what_the_sheet_says() {
    let mut flow = Flow::new(10_000);
    let id = flow.buys();
    flow.first_claim(id);
    flow.releases(Amount::call(57));
    assert_eq!(flow.market.provider().free(), Amount::call(860));

    // Day 29: 980 calls in all.
    let first = flow.takes();
    flow.market.wait_days(18);
    flow.does("max", claim("ana", id, &[(0, 620), (1, 360)]));
    flow.assert_takes(first, ["1.488775867", "0.205612066", "0.205612066"]);
    assert_eq!(flow.market.provider().open_value, Amount::call(2_402));
    let second = flow.market.period();

    // Day 31: eight answers are shown, day 32: three of them contested.
    flow.market.wait_days(2);
    flow.does("vera", flow.market.show(id, 620, 8));
    flow.market.wait_days(1);
    let burned = flow.market.chain.totals().burned;
    flow.does("ana", ContestShown { purchase: id, lane: Lane(0), accepted: 5, signature: Blob::default() });
    assert_eq!(flow.market.chain.totals().burned, burned.saturating_add(milli(55)));
    flow.start.burned = flow.start.burned.saturating_add(milli(50));

    // Day 35.
    flow.market.wait_days(3);
    let before = flow.market.chain.balance("ana");
    flow.does("max", market::Settle { purchase: id });
    assert_eq!(flow.market.chain.balance("ana"), before.saturating_add(milli(1_500)));
    assert_eq!(flow.market.provider().open_value, Amount::call(2_400));
    flow.assert_takes(NONE, ["3.859063761", "0.53296812", "0.53296812"]);
    let third = flow.market.period();

    // Day 44: what is left of the purchase is swept; the provider had 93.575.
    flow.market.wait_days(9);
    let release = Release { provider: flow.market.provider, periods: vec![second, third] };
    let before = flow.market.chain.balance("vera");
    flow.does("max", release);
    assert_eq!(flow.market.chain.balance("vera"), before.saturating_add(milli(36_575)));
    flow.market.chain.wait(1);
    sweep(&mut flow, id);
    assert_eq!(flow.market.provider().promised, Amount::call(3_000));
    assert_eq!(flow.market.provider().unreleased, Amount::call(1_500));
}

fn sweep(flow: &mut Flow, id: PurchaseId) {
    let lane = |n| RowRef::to(market::state::LANES, &(id, Lane(n)));
    let rows = vec![lane(0), lane(1), RowRef::to(market::state::SHOWN, &id), RowRef::to(PURCHASES, &id)];
    let before = flow.market.chain.balance("max");
    flow.does("max", Sweep { rows });
    // Five rows' deposits less the fee.
    assert_eq!(flow.market.chain.balance("max"), before.saturating_add(milli(40)));
    assert!(flow.market.chain.get(PURCHASES, &id).is_none());
}

#[test]
fn under_keep_the_unused_part_pays_take_and_goes_to_the_provider() {
    let mut flow = Flow::new(0);
    let id = flow.buys();
    flow.first_claim(id);
    flow.market.wait_days(26);
    flow.does("max", claim("ana", id, &[(0, 620), (1, 360)]));
    flow.market.wait_days(6);
    let before = flow.market.chain.balance("ana");
    flow.does("max", market::Settle { purchase: id });
    assert_eq!(flow.market.chain.balance("ana"), before);
    assert_eq!(flow.market.provider().unreleased, Amount::call(1_595));
    flow.assert_takes(NONE, ["3.917831229", "0.541084385", "0.541084385"]);
}

#[test]
fn nothing_acknowledged_and_nothing_shown_returns_all_in_both_modes() {
    for refund_bps in [0, 10_000] {
        let mut flow = Flow::new(refund_bps);
        let id = flow.buys();
        flow.market.wait_days(33);
        flow.does("max", market::Settle { purchase: id });
        assert_eq!(flow.market.chain.balance("ana"), milli(149_960));
    }
}

#[test]
fn a_proven_fault_pays_the_cover_at_once_and_returns_the_rest_also_under_keep() {
    for refund_bps in [0, 10_000] {
        let mut flow = Flow::new(refund_bps);
        let id = flow.buys();
        flow.first_claim(id);
        flow.releases(Amount::call(57));
        flow.market.wait_days(1);

        let evidence = Said::absent(&flow.market, id, "bad.example").contradiction();
        let (ana, max) = (flow.market.chain.balance("ana"), flow.market.chain.balance("max"));
        flow.does("max", report(id, &evidence));
        assert_eq!(flow.market.chain.balance("ana"), ana.saturating_add(Amount::call(200)));
        assert_eq!(flow.market.chain.balance("max"), max.saturating_add(milli(25_000 - 30)));
        let provider = flow.market.provider();
        assert_eq!((provider.stake, provider.promised), (Amount::call(4_550), Amount::call(3_000)));
        let penalties: Vec<(_, Penalty)> = flow.market.chain.rows().scan(PENALTIES);
        assert!(matches!(&penalties[..], [(_, penalty)] if penalty.amount == Amount::call(250)));

        flow.market.wait_days(3 - 1);
        flow.does("max", claim("ana", id, &[(0, 450)]));
        flow.market.wait_days(1);
        let before = flow.market.chain.balance("ana");
        flow.does("max", market::Settle { purchase: id });
        assert_eq!(flow.market.chain.balance("ana"), before.saturating_add(Amount::call(35)));
    }
}
