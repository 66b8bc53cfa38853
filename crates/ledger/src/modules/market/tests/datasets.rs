//! Datasets and their versions.

use surety_primitives::{DatasetId, Hash32, Seconds};

use super::{DAY, VERA, market, registration, terms};
use crate::action::Action;
use crate::modules::market::state::{DATASET_NAMES, DATASET_VERSIONS, DATASETS, Terms};
use crate::modules::market::{Error, PublishDataset, RegisterService, RetireDataset, RowRef, Sweep};
use crate::testing::Scenario;

const LIST: DatasetId = DatasetId(1);

fn publish(chain: &mut Scenario, root: u8) -> (Hash32, Seconds) {
    let valid_until = chain.now().after(Seconds(10 * DAY));
    let version = version(chain, root);
    chain.does("vera", version);
    (Hash32([root; 32]), valid_until)
}

fn version(chain: &Scenario, root: u8) -> PublishDataset {
    PublishDataset {
        name: "phishing/hosts".to_owned(),
        root: Hash32([root; 32]),
        count: 12,
        date: 1_700_000_000,
        licence: "CC0-1.0".to_owned(),
        valid_until: chain.now().after(Seconds(10 * DAY)),
    }
}

fn retire(version: u64) -> RetireDataset {
    RetireDataset { dataset: LIST, version }
}

fn sweep(version: u64) -> Sweep {
    Sweep { rows: vec![RowRef::to(DATASET_VERSIONS, &(LIST, version))] }
}

#[test]
fn each_publication_is_the_next_version_of_its_name() {
    let mut chain = market();
    let (root, valid_until) = publish(&mut chain, 1);
    publish(&mut chain, 2);
    let list = chain.get(DATASETS, &LIST).expect("published");
    assert_eq!((list.publisher, list.latest, list.first_kept), (VERA, 2, 1));
    assert_eq!(chain.get(DATASET_NAMES, &(VERA, "phishing/hosts".to_owned())), Some(LIST));
    let first = chain.get(DATASET_VERSIONS, &(LIST, 1)).expect("kept");
    assert_eq!((first.root, first.count, first.valid_until), (root, 12, valid_until));
    assert_eq!((first.published, first.retired), (chain.now(), None));
    chain.does("vera", RegisterService { terms: Terms { datasets: vec![LIST], ..terms() } });
    chain.assert_conserved();
}

#[test]
fn who_may_not_publish_and_what() {
    let mut chain = market();
    let good = version(&chain, 1);
    chain.fails("eve", good.clone(), Error::NotPublisher);
    let late = Error::BadRange { field: "valid_until", rule: "later than now" };
    chain.fails("vera", PublishDataset { valid_until: chain.now(), ..good.clone() }, late);
    for bad in [
        PublishDataset { name: String::new(), ..good.clone() },
        PublishDataset { name: "x".repeat(65), ..good.clone() },
        PublishDataset { licence: "x".repeat(65), ..good.clone() },
        PublishDataset { count: u64::MAX, ..good },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
    chain.assert_conserved();
}

#[test]
fn only_its_publisher_retires_a_version_and_only_once() {
    let mut chain = market();
    publish(&mut chain, 1);
    chain.fails("eve", retire(1), Error::NotPublisher);
    chain.does("eve", registration(2, 1_000));
    chain.fails("eve", retire(1), Error::NotPublisher);
    chain.fails("vera", retire(2), Error::UnknownDataset);
    chain.fails("vera", RetireDataset { dataset: DatasetId(2), version: 1 }, Error::UnknownDataset);
    chain.does("vera", retire(1));
    let at = chain.now();
    assert_eq!(chain.get(DATASET_VERSIONS, &(LIST, 1)).and_then(|version| version.retired), Some(at));
    chain.wait(5);
    chain.fails("vera", retire(1), Error::Retired { at });
    chain.assert_conserved();
}

#[test]
fn versions_are_swept_oldest_first_when_nobody_can_cite_them() {
    let mut chain = market();
    publish(&mut chain, 1);
    publish(&mut chain, 2);
    chain.wait(DAY);
    chain.does("vera", retire(2));
    chain.wait(400 * DAY + 1);
    // The second was retired earlier than the first ran out, but goes after it.
    chain.fails("eve", sweep(2), Error::NotDue { index: 0 });
    chain.fails("eve", sweep(1), Error::NotDue { index: 0 });
    chain.wait(9 * DAY);
    let both = Sweep { rows: [sweep(1).rows, sweep(2).rows].concat() };
    chain.does("eve", both);
    assert_eq!(chain.get(DATASETS, &LIST).map(|list| (list.first_kept, list.latest)), Some((3, 2)));
    assert_eq!(chain.get(DATASET_VERSIONS, &(LIST, 1)), None);
    publish(&mut chain, 3);
    assert!(chain.get(DATASET_VERSIONS, &(LIST, 3)).is_some());
    chain.assert_conserved();
}
