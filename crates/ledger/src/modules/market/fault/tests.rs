use super::*;
use crate::modules::bank;
use crate::modules::market::state::{PROVIDERS, TRANCHES, Terms};
use crate::modules::market::{Collect, Debt, RetireDataset, Settle, UnstakeProvider, UpdateProvider, UpdateService};
use crate::testing::Scenario;
use crate::testing::faults::{Said, list, publication, report};
use crate::testing::market::{DAY, Market, events, public, terms};

const BAD: &str = "bad.example";

fn market(change: impl FnOnce(&mut Terms)) -> Market {
    let mut market = Market::new(change);
    let publication = publication(market.chain.now());
    market.does("vera", publication);
    market
}

fn wrong(market: &Market, purchase: PurchaseId) -> ReportFault {
    report(purchase, &Said::absent(market, purchase, BAD).contradiction())
}

// Cover and penalty that a report came to, and the fault's id.
fn proven(market: &mut Market, reporter: &str, report: ReportFault) -> (Hash32, Amount, Amount) {
    let receipt = market.does(reporter, report);
    market.chain.assert_conserved();
    match events(&receipt)[..] {
        [Event::FaultProven { fault, cover, penalty, .. }] => (fault, cover, penalty),
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_look_up_is_paid_at_once_by_whoever_reports_it() {
    let mut market = market(|_| ());
    let id = market.buy();
    let (ana, max) = (market.chain.balance("ana"), market.chain.balance("max"));
    let (rewards, burned) = (market.chain.totals().rewards, market.chain.totals().burned);
    let report = wrong(&market, id);
    let (_, cover, penalty) = proven(&mut market, "max", report);
    assert_eq!((cover, penalty), (Amount::call(200), Amount::call(250)));
    assert_eq!(market.chain.balance("ana"), ana.saturating_add(Amount::call(200)));
    // A tenth to the reporter, less the fee of 0.01 and the deposits on the rows of fault and penalty.
    assert_eq!(market.chain.balance("max"), max.saturating_add(Amount::milli(24_970)));
    assert_eq!(market.chain.totals().rewards, rewards.saturating_add(Amount::milli(50_005)));
    assert_eq!(market.chain.totals().burned, burned.saturating_add(Amount::milli(175_005)));
    let (provider, purchase) = (market.provider(), market.purchase(id));
    assert_eq!((provider.stake, provider.promised, provider.owed), (Amount::call(4_550), Amount::ZERO, Amount::ZERO));
    assert_eq!((purchase.status, purchase.end()), (PurchaseStatus::Faulted, market.chain.now()));
}

#[test]
fn after_a_fault_all_the_rest_returns_also_under_keep() {
    let mut market = market(|terms| terms.refund_bps = 0);
    let id = market.buy();
    market.claims(id, &[(0, 600)]);
    let report = wrong(&market, id);
    market.does("max", report);
    market.wait_days(2);
    market.claims(id, &[(0, 650)]);
    market.wait_days(1);
    let before = market.chain.balance("ana");
    market.does("max", Settle { purchase: id });
    assert_eq!(market.chain.balance("ana"), before.saturating_add(Amount::call(35)));
    market.chain.assert_conserved();
}

#[test]
fn a_fault_is_paid_once_a_purchase_and_punished_once() {
    let mut market = market(|terms| (terms.cover_faults, terms.cover_cap) = (2, Amount::call(600)));
    let (first, second) = (market.buy(), market.buy());
    let report = wrong(&market, first);
    market.does("max", report.clone());
    market.chain.fails("max", report, Error::Known);
    let again = report_other_call(&market, first);
    market.chain.fails("max", again, Error::Known);
    let other = wrong(&market, second);
    let (_, cover, penalty) = proven(&mut market, "max", other);
    assert_eq!((cover, penalty), (Amount::call(200), Amount::ZERO));
    assert_eq!(market.provider().stake, Amount::call(4_350));
}

fn report_other_call(market: &Market, purchase: PurchaseId) -> ReportFault {
    report(purchase, &Said { seq: 2, ..Said::absent(market, purchase, BAD) }.contradiction())
}

#[test]
fn without_cover_left_the_penalty_still_falls_due() {
    let mut market = market(|_| ());
    let id = market.buy();
    let first = wrong(&market, id);
    market.does("max", first);
    let before = market.chain.balance("ana");
    let other = report(id, &Said::absent(&market, id, "evil.example").contradiction());
    let (_, cover, penalty) = proven(&mut market, "max", other);
    // 5 % of 4,550.
    assert_eq!((cover, penalty), (Amount::ZERO, Amount::milli(227_500)));
    assert_eq!(market.chain.balance("ana"), before);
}

#[test]
fn the_cap_delays_a_cover_to_the_next_epoch_and_forgives_nothing() {
    let mut market = market(|terms| terms.cover_cap = Amount::call(300));
    let (first, second) = (market.buy(), market.buy());
    let report = wrong(&market, first);
    market.does("max", report);
    let before = market.chain.balance("ana");
    let report = wrong(&market, second);
    let (fault, cover, _) = proven(&mut market, "max", report);
    assert_eq!(cover, Amount::call(100));
    assert_eq!(market.provider().promised, Amount::call(100));

    let debts = vec![Debt { fault, purchase: second }];
    let collect = Collect { provider: market.provider, debts, periods: Vec::new() };
    market.chain.fails("max", collect.clone(), Error::NothingDue);
    market.wait_days(1);
    market.does("max", collect.clone());
    assert_eq!(market.chain.balance("ana"), before.saturating_add(Amount::call(200)));
    assert_eq!(market.provider().promised, Amount::ZERO);
    market.chain.assert_conserved();
    market.chain.fails("max", collect, Error::NothingDue);
}

#[test]
fn a_listing_that_lowers_its_cap_still_pays_one_cover_an_epoch() {
    let mut market = market(|terms| terms.cover_cap = Amount::call(600));
    let (first, second) = (market.buy(), market.buy());
    let mut none = terms();
    (none.cover, none.cover_cap) = (Amount::ZERO, Amount::ZERO);
    market.does("vera", UpdateService { service: market.service, terms: none });
    let report = wrong(&market, first);
    assert_eq!(proven(&mut market, "max", report).1, Amount::call(200));
    let report = wrong(&market, second);
    let (fault, cover, _) = proven(&mut market, "max", report);
    assert_eq!(cover, Amount::ZERO);
    market.wait_days(1);
    let debts = vec![Debt { fault, purchase: second }];
    market.does("max", Collect { provider: market.provider, debts, periods: Vec::new() });
    assert_eq!(market.provider().promised, Amount::ZERO);
}

// A provider that lives on what it claimed: 10 staked, 3,800 unreleased in this period.
fn thin() -> (Market, PurchaseId) {
    let chain = Scenario::new().account("vera", 6_000).account("ana", 9_000).account("max", 1_000);
    let chain = chain.with_params(|params| params.fixed_stake = Amount::ZERO);
    let mut market = Market::on(chain, |terms| terms.price = Amount::call(100));
    let publication = publication(market.chain.now());
    market.does("vera", publication);
    for _ in 0..4 {
        let id = market.buy();
        market.claims(id, &[(0, 1_000)]);
    }
    let id = market.buy();
    let mut provider = market.provider();
    let mut totals = market.chain.totals();
    // Moves the stake to where the unreleased claims are, so that the tranche is what backs the purchase.
    let (moved, period) = (Amount::call(4_990), market.period());
    provider.stake = Amount::call(10);
    provider.unreleased = provider.unreleased.saturating_add(moved);
    totals.stake = totals.stake.saturating_sub(moved);
    totals.unreleased = totals.unreleased.saturating_add(moved);
    let key = (market.provider, period);
    let mut tranche = market.chain.get(TRANCHES, &key).unwrap_or_default();
    tranche.amount = tranche.amount.saturating_add(moved);
    market.chain.put(PROVIDERS, &market.provider, &provider);
    market.chain.put(TRANCHES, &key, &tranche);
    market.chain.put(bank::TOTALS, &(), &totals);
    market.chain.assert_conserved();
    (market, id)
}

#[test]
fn named_tranches_pay_where_the_stake_is_short_and_the_rest_stays_due() {
    let (mut market, id) = thin();
    let report = wrong(&market, id);
    let (fault, cover, penalty) = proven(&mut market, "max", report);
    assert_eq!((cover, penalty), (Amount::call(10), Amount::milli(500)));
    assert_eq!((market.provider().promised, market.provider().owed), (Amount::call(990), penalty));
    let debts = vec![Debt { fault, purchase: id }];
    let collect = Collect { provider: market.provider, debts, periods: vec![7, market.period()] };
    market.wait_days(1);
    market.does("max", collect);
    assert_eq!(market.provider().owed, Amount::ZERO);
    assert_eq!(market.provider().promised, Amount::call(800));
    market.chain.assert_conserved();
}

#[test]
fn a_penalty_takes_only_what_backs_nobody_else_and_the_rest_stays_owed() {
    let mut market = market(|terms| {
        (terms.cover, terms.cover_cap, terms.cover_faults) = (Amount::call(600), Amount::call(600), 8);
    });
    let id = market.buy();
    // 4,900 of 5,000 are exposed: 100 are left for 250, and for what is left after the cover as well.
    let report = wrong(&market, id);
    let (fault, cover, penalty) = proven(&mut market, "max", report);
    assert_eq!((cover, penalty), (Amount::call(600), Amount::call(250)));
    assert_eq!((market.provider().stake, market.provider().owed), (Amount::call(4_300), Amount::call(150)));
    let debts = vec![Debt { fault, purchase: id }];
    let collect = Collect { provider: market.provider, debts, periods: Vec::new() };
    market.chain.fails("max", collect.clone(), Error::NothingDue);
    market.wait_days(3);
    market.does("max", Settle { purchase: id });
    market.does("max", collect);
    // The refund of 100 freed as much of the stake.
    assert_eq!((market.provider().stake, market.provider().owed), (Amount::call(4_200), Amount::call(50)));
    market.chain.assert_conserved();
}

#[test]
fn stake_on_its_way_out_pays_penalties_first() {
    let mut market = market(|_| ());
    let id = market.buy();
    market.does("vera", UnstakeProvider { provider: market.provider, amount: Amount::call(1_000) });
    let report = wrong(&market, id);
    let (_, _, penalty) = proven(&mut market, "max", report);
    assert_eq!(penalty, Amount::call(250));
    let provider = market.provider();
    assert_eq!(provider.stake, Amount::call(3_800));
    assert_eq!(provider.unbonding.first().map(|entry| entry.amount), Some(Amount::call(750)));
}

#[test]
fn penalties_of_thirty_days_are_capped() {
    let mut market = market(|terms| {
        (terms.cover, terms.cover_cap) = (Amount::ZERO, Amount::ZERO);
    });
    let mut total = Amount::ZERO;
    for index in 0..6 {
        let id = market.buy();
        let said = Said { found: Some(Hash32([index; 32])), ..Said::absent(&market, id, BAD) };
        let other = Said { found: None, time: said.time.after(Seconds(u64::from(index))), ..said.clone() };
        let said = Said { version: u64::from(index) + 1, ..said };
        let other = Said { version: u64::from(index) + 1, ..other };
        let (.., penalty) = proven(&mut market, "max", report(id, &said.equivocation(&other)));
        total = total.saturating_add(penalty);
    }
    // 10 % of 5,000, then what is left of 20 % of 4,500, then nothing.
    assert_eq!(total, Amount::call(900));
    market.wait_days(30);
    let id = market.buy();
    let wrong = wrong(&market, id);
    let (.., penalty) = proven(&mut market, "max", wrong);
    assert_eq!(penalty, Amount::call(205));
}

#[test]
fn two_answers_to_one_question_are_a_fault_of_ten_percent() {
    let mut market = market(|_| ());
    let id = market.buy();
    let said = Said::absent(&market, id, "good.example");
    let other = Said { found: Some(Hash32([1; 32])), seq: 2, ..said.clone() };
    let same = report(id, &said.equivocation(&Said { seq: 2, ..said.clone() }));
    market.chain.fails("max", same, bad(&evidence::Error::NoFault));
    let asked_else = report(id, &said.equivocation(&Said { version: 2, ..other.clone() }));
    market.chain.fails("max", asked_else, bad(&evidence::Error::OtherQuestion));
    let (_, cover, penalty) = proven(&mut market, "max", report(id, &said.equivocation(&other)));
    assert_eq!((cover, penalty), (Amount::call(200), Amount::call(500)));
}

#[test]
fn an_unknown_a_false_and_a_retired_basis_are_faults() {
    let mut market = market(|terms| terms.cover_cap = Amount::call(900));
    let (a, b, c) = (market.buy(), market.buy(), market.buy());
    let said = Said::absent(&market, a, "good.example");
    market.chain.fails("max", report(a, &said.bad_basis()), bad(&evidence::Error::NoFault));
    proven(&mut market, "max", report(a, &Said { version: 2, ..said.clone() }.bad_basis()));
    proven(&mut market, "max", report(b, &Said { purchase: b, root: Hash32([9; 32]), ..said.clone() }.bad_basis()));

    market.does("vera", RetireDataset { dataset: DatasetId(1), version: 1 });
    let late = |seconds| Said { purchase: c, time: market.chain.now().after(Seconds(seconds)), ..said.clone() };
    let (in_grace, after) = (report(c, &late(600).bad_basis()), report(c, &late(601).bad_basis()));
    market.chain.fails("max", in_grace, bad(&evidence::Error::NoFault));
    // The same fault id as of the false root: one version, one penalty.
    let (_, cover, penalty) = proven(&mut market, "max", after);
    assert_eq!((cover, penalty), (Amount::call(200), Amount::ZERO));
}

#[test]
fn a_version_that_is_no_longer_kept_is_not_judged() {
    let mut market = market(|_| ());
    let id = market.buy();
    let mut dataset = market.chain.get(DATASETS, &DatasetId(1)).unwrap_or_else(|| panic!("published"));
    dataset.first_kept = 2;
    market.chain.put(DATASETS, &DatasetId(1), &dataset);
    let said = Said { root: Hash32([9; 32]), ..Said::absent(&market, id, "good.example") };
    market.chain.fails("max", report(id, &said.bad_basis()), bad_because("this version is no longer kept"));
}

#[test]
fn what_is_right_or_not_proven_is_refused() {
    let mut market = market(|_| ());
    let (id, other) = (market.buy(), market.buy());
    let said = Said::absent(&market, id, BAD);
    let fine = Said { host: "good.example".to_owned(), ..said };
    let version = Said { version: 2, ..said.clone() };
    let root = Said { root: Hash32([9; 32]), ..said.clone() };
    let leaf = list().get(&crate::testing::faults::host(BAD)).map(surety_primitives::dataset::Entry::leaf);
    let right = Said { found: leaf, ..said.clone() };
    let old = Said { time: Seconds(market.chain.now().0 - 61), ..said.clone() };
    let foreign = Said { provider: ProviderId(2), ..said.clone() };
    let forged = Said { signer: "max", ..said.clone() };
    let key = surety_primitives::keys::Error::BadSignature;
    for (said, error) in [
        (fine, bad(&evidence::Error::NoFault)),
        (right, bad(&evidence::Error::NoFault)),
        (version, bad_because("there is no such version: that is kind 3")),
        (root, bad(&evidence::Error::OtherRoot)),
        (foreign, bad_because("the purchase is another provider's")),
        (forged, bad(&evidence::Error::Key(key))),
    ] {
        market.chain.fails("max", report(id, &said.contradiction()), error);
    }
    market.chain.fails("max", report(id, &old.contradiction()), Error::NotThisKey);
    let elsewhere = report(other, &said.contradiction());
    market.chain.fails("max", elsewhere, bad_because("no Answer was paid from this purchase"));
    let unknown = report(PurchaseId([7; 16]), &said.contradiction());
    market.chain.fails("max", unknown, Error::UnknownPurchase);
    market.chain.assert_conserved();
}

#[test]
fn an_answer_older_than_the_purchase_does_not_count() {
    let mut market = market(|_| ());
    let id = market.buy();
    let early = Said::absent(&market, id, BAD).contradiction();
    let mut record = market.purchase(id);
    record.not_before = market.chain.now().after(Seconds(61));
    market.chain.put(PURCHASES, &id, &record);
    market.chain.fails("max", report(id, &early), bad_because("the Answer is older than the purchase"));
}

#[test]
fn an_answer_counts_under_the_key_of_its_time() {
    let mut market = market(|_| ());
    let id = market.buy();
    let before = Said::absent(&market, id, BAD);
    market.does("vera", UpdateProvider { payout: Address::ZERO, key: public("vera 2") });
    market.wait_days(3);
    let late = Said { time: market.chain.now(), ..before.clone() };
    market.chain.fails("max", report(id, &late.contradiction()), Error::NotThisKey);
    let unknown = ReportFault { keys: vec![public("max")], ..report(id, &before.contradiction()) };
    market.chain.fails("max", unknown, Error::NotThisKey);
    let other = Said { signer: "vera 2", found: Some(Hash32([1; 32])), ..late };
    let mut both = report(id, &before.equivocation(&other));
    market.chain.fails("max", both.clone(), Error::NotThisKey);
    both.keys.push(public("vera 2"));
    proven(&mut market, "max", both);
}

#[test]
fn faults_are_proven_until_14_days_after_the_end() {
    let mut market = market(|_| ());
    let id = market.buy();
    let report = wrong(&market, id);
    market.chain.wait(44 * DAY - 1);
    let mut late = market.clone();
    proven(&mut market, "max", report.clone());
    late.chain.wait(1);
    let at = late.chain.now();
    late.chain.fails("max", report, Error::TooOld { at });
}

#[test]
fn a_settled_purchase_is_still_covered() {
    let mut market = market(|_| ());
    let id = market.buy();
    let report = wrong(&market, id);
    market.wait_days(33);
    market.settles(id);
    let (_, cover, _) = proven(&mut market, "max", report);
    assert_eq!(cover, Amount::call(200));
    assert_eq!(market.purchase(id).status, PurchaseStatus::Settled);
    market.chain.fails("max", Settle { purchase: id }, Error::Settled);
}

#[test]
fn bounds_of_the_lists_hold_before_anything_is_sent() {
    let market = market(|_| ());
    let fine = report(PurchaseId([1; 16]), &Said::absent(&market, PurchaseId([1; 16]), BAD).contradiction());
    assert_eq!(Action::check(&fine), Ok(()));
    let unread = ReportFault { evidence: Blob(vec![0; 20]), ..fine.clone() };
    for report in [
        ReportFault { keys: Vec::new(), ..fine.clone() },
        ReportFault { keys: vec![public("a"); 3], ..fine.clone() },
        ReportFault { periods: vec![0; 9], ..fine },
        unread,
    ] {
        assert!(Action::check(&report).is_err());
    }
    let provider = ProviderId(1);
    let debt = Debt { fault: Hash32::default(), purchase: PurchaseId::default() };
    for collect in [
        Collect { provider, debts: Vec::new(), periods: Vec::new() },
        Collect { provider, debts: vec![debt.clone(); 9], periods: Vec::new() },
        Collect { provider, debts: vec![debt], periods: vec![0; 9] },
    ] {
        assert!(Action::check(&collect).is_err());
    }
}

#[test]
fn debts_of_another_provider_are_passed_over() {
    let mut market = market(|terms| terms.cover_cap = Amount::call(200));
    let (first, second) = (market.buy(), market.buy());
    let report = wrong(&market, first);
    market.does("max", report);
    let report = wrong(&market, second);
    let (fault, ..) = proven(&mut market, "max", report);
    market.wait_days(1);
    let debts = vec![Debt { fault, purchase: second }];
    let foreign = Collect { provider: ProviderId(9), debts: debts.clone(), periods: Vec::new() };
    market.chain.fails("max", foreign, Error::UnknownProvider);
    let mut other = market.provider();
    (other.stake, other.promised, other.open_value) = (Amount::ZERO, Amount::ZERO, Amount::ZERO);
    market.chain.put(PROVIDERS, &ProviderId(2), &other);
    let foreign = Collect { provider: ProviderId(2), debts, periods: Vec::new() };
    market.chain.fails("max", foreign, Error::NothingDue);
}
