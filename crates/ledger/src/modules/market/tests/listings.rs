//! Services as they are listed, changed, paused and ended.

use surety_primitives::{Amount, DatasetId, Seconds, ServiceId};

use super::{DAY, SERVICE, VERA, bought, buy, market, terms, vera};
use crate::action::Action;
use crate::modules::market::state::{SERVICES, Terms};
use crate::modules::market::{Error, PauseService, RegisterService, UpdateService};

fn update(terms: Terms) -> UpdateService {
    UpdateService { service: SERVICE, terms }
}

#[test]
fn a_listing_says_what_was_registered_and_an_update_raises_its_version() {
    let mut chain = market();
    let listed = chain.get(SERVICES, &SERVICE).expect("listed");
    assert_eq!((listed.provider, listed.version, listed.paused, &listed.terms), (VERA, 1, false, &terms()));
    let purchase = buy(&mut chain, 1);
    let dearer = Terms { price: Amount::call(120), calls: 2_000, ..terms() };
    chain.does("vera", update(dearer.clone()));
    let listed = chain.get(SERVICES, &SERVICE).expect("listed");
    assert_eq!((listed.version, listed.terms), (2, dearer));
    // What is sold keeps its terms.
    assert_eq!((bought(&chain, purchase).price, bought(&chain, purchase).quota), (Amount::call(100), 1_000));
    chain.assert_conserved();
}

#[test]
fn only_the_owner_lists_updates_and_pauses() {
    let mut chain = market();
    chain.fails("eve", RegisterService { terms: terms() }, Error::NotOwner);
    chain.fails("eve", update(terms()), Error::NotOwner);
    chain.fails("eve", PauseService { service: SERVICE, paused: true }, Error::NotOwner);
    chain.fails("vera", UpdateService { service: ServiceId(9), terms: terms() }, Error::UnknownService);
    chain.assert_conserved();
}

#[test]
fn a_listing_pauses_and_resumes() {
    let mut chain = market();
    chain.fails("vera", PauseService { service: SERVICE, paused: false }, Error::Unchanged);
    chain.does("vera", PauseService { service: SERVICE, paused: true });
    assert!(chain.get(SERVICES, &SERVICE).is_some_and(|listed| listed.paused));
    chain.does("vera", PauseService { service: SERVICE, paused: false });
    assert!(chain.get(SERVICES, &SERVICE).is_some_and(|listed| !listed.paused));
    chain.assert_conserved();
}

#[test]
fn a_provider_lists_only_so_many_services() {
    let mut chain = market_with_room_for(2);
    chain.does("vera", RegisterService { terms: terms() });
    assert_eq!(vera(&chain).services, 2);
    chain.fails("vera", RegisterService { terms: terms() }, Error::TooManyServices { most: 2 });
    chain.assert_conserved();
}

fn market_with_room_for(services: u32) -> crate::testing::Scenario {
    let mut chain =
        crate::testing::Scenario::new().account("vera", 20_000).with_params(|params| params.services_most = services);
    chain.does("vera", super::registration(1, 5_000));
    chain.does("vera", RegisterService { terms: terms() });
    chain
}

#[test]
fn what_the_network_does_not_allow_is_refused_when_it_is_listed() {
    let mut chain = market();
    let cover = |rule| Error::BadCover { rule };
    let lives = Error::BadRange { field: "life_least", rule: "within the network's shortest and longest life" };
    let cases = [
        (Terms { window: 4_097, calls: 1_000_000, ..terms() }, Error::WindowTooWide { most: 4_096 }),
        (
            Terms { cover: Amount::call(1_001), cover_cap: Amount::call(1_001), ..terms() },
            cover("at most the network's multiple of the price"),
        ),
        (Terms { price: Amount::ZERO, ..terms() }, cover("at most the network's multiple of the price")),
        (Terms { cover_faults: 9, ..terms() }, cover("at most the network's number of faults")),
        (Terms { life_least: Seconds(DAY - 1), ..terms() }, lives.clone()),
        (Terms { life_most: Seconds(366 * DAY), ..terms() }, lives),
        (Terms { datasets: vec![DatasetId(1)], ..terms() }, Error::UnknownDataset),
    ];
    for (terms, error) in cases {
        chain.fails("vera", RegisterService { terms: terms.clone() }, error.clone());
        chain.fails("vera", update(terms), error);
    }
    chain.does("vera", RegisterService { terms: Terms { price: Amount::ZERO, cover: Amount::ZERO, ..terms() } });
    chain.assert_conserved();
}

#[test]
fn what_no_listing_may_say_is_refused_before_it_is_sent() {
    let long = |bytes: usize| "x".repeat(bytes);
    let fields: [(&str, Terms); 17] = [
        ("title", Terms { title: String::new(), ..terms() }),
        ("title", Terms { title: long(97), ..terms() }),
        ("title", Terms { title: "a\nb".to_owned(), ..terms() }),
        ("description", Terms { description: long(4_097), ..terms() }),
        ("tags", Terms { tags: vec![long(1); 9], ..terms() }),
        ("tags", Terms { tags: vec![long(33)], ..terms() }),
        ("chains", Terms { chains: vec![1; 9], ..terms() }),
        ("region", Terms { region: long(33), ..terms() }),
        ("endpoint", Terms { endpoint: long(257), ..terms() }),
        ("schema_url", Terms { schema_url: long(257), ..terms() }),
        ("category", Terms { category: 99, ..terms() }),
        ("category", Terms { category: 600, ..terms() }),
        ("delivery", Terms { delivery: 2, ..terms() }),
        ("calls", Terms { calls: 0, ..terms() }),
        ("price", Terms { price: Amount::SUPPLY_LIMIT, ..terms() }),
        ("refund_bps", Terms { refund_bps: 10_001, ..terms() }),
        ("datasets", Terms { datasets: vec![DatasetId(1); 2], ..terms() }),
    ];
    for (name, terms) in fields {
        let refused = update(terms.clone()).check().expect_err(name);
        assert!(refused.to_string().starts_with(name), "{refused}");
        assert_eq!(RegisterService { terms }.check(), Err(refused));
    }
    let wide = update(Terms { window: 101, ..terms() }).check();
    assert_eq!(wide, Err(Error::WindowTooWide { most: 100 }.into()));
    assert_eq!(update(Terms { window: 1, calls: 5, ..terms() }).check(), Ok(()));
    assert_eq!(update(Terms { description: "a\nb".to_owned(), ..terms() }).check(), Ok(()));
    assert!(update(Terms { window: 0, ..terms() }).check().is_err());
    assert!(update(Terms { cover_faults: 0, ..terms() }).check().is_err());
    assert!(update(Terms { cover_cap: Amount::call(199), ..terms() }).check().is_err());
    assert!(update(Terms { calls: 1_000_000_000_001, ..terms() }).check().is_err());
    assert!(update(Terms { life_least: Seconds(61 * DAY), ..terms() }).check().is_err());
}
