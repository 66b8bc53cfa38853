//! The lists that are delivered beside the repository, and the one from npm, through reading, merging and look-ups.

use std::path::{Path, PathBuf};

use surety_primitives::Seconds;
use surety_primitives::dataset::{Key, Lookup};
use surety_security::lists::{Dataset, Semantics, Source, SourceSpec, Subject, kind};
use surety_security::router::{answer, request};
use surety_security::{Lists, SERVICES, Service};

use crate::js;

/// A delivered list, or nothing (with a word why) where the repository stands alone.
fn delivered(file: &str) -> Option<Vec<u8>> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/lists").join(file);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        eprintln!("SKIPPED: no list {file} beside the repository");
    }
    bytes
}

fn addresses() -> Option<Dataset> {
    let sources = [
        (SourceSpec::ofac_eth(), delivered("ofac-eth.txt")?),
        (SourceSpec::ofac_other_evm(), delivered("ofac-other-evm.csv")?),
        (SourceSpec::forta_eth(), delivered("forta-eth.csv")?),
    ];
    let read = sources.into_iter().flat_map(|(spec, bytes)| Source::read(&spec.unwrap(), &bytes).unwrap());
    Some(Dataset::merge("address", "2024-09-27", read.collect()).unwrap())
}

pub(crate) fn original() -> Option<Vec<Source>> {
    let config = std::fs::read(js::package("eth-phishing-detect")?.join("src/config.json")).unwrap();
    Some(Source::read(&SourceSpec::eth_phishing_detect().unwrap(), &config).unwrap())
}

fn service(name: &str) -> &'static dyn Service {
    *SERVICES.iter().find(|service| service.name() == name).unwrap()
}

fn asked(lists: &Lists, name: &str, segment: &str, query: &str) -> serde_json::Value {
    let request = request(segment, query, Seconds(0)).unwrap();
    serde_json::from_str(&answer(service(name), lists, &request).unwrap().body).unwrap()
}

#[test]
fn the_delivered_addresses_answer_with_their_labels() {
    let Some(dataset) = addresses() else { return };
    // 152, 4 more under other symbols, 7,407 labels that share nothing with them, 3 sources.
    assert_eq!(dataset.count(), 152 + 4 + 7_407 + 3);
    assert_eq!(dataset.as_of().to_string(), "2023-01-26");
    let lists = Lists::new(None, Some(dataset));
    let tornado = asked(&lists, "address_security", "0x12D66f87A04A9E220743712cE6d9bB1B5616B8Fc", "");
    assert_eq!(tornado["result"]["sanctioned"], "1");
    assert_eq!(tornado["result"]["sanctioned_as_of"], "2024-09-27");
    assert_eq!(tornado["result"]["data_source"], "ofac-eth");
    let phisher = asked(&lists, "address_security", "0x000000000532b45f47779fce440748893b257865", "chain_id=1");
    assert_eq!(phisher["result"]["phishing_activities"], "1");
    assert_eq!(phisher["result"]["sanctioned"], "0");
    assert_eq!(phisher["result"]["data_source"], "forta-eth");
    assert!(phisher["result"].get("mixer").is_none());
}

#[test]
fn the_delivered_domains_are_normalised_as_their_description_says() {
    let Some(bytes) = delivered("polkadot-deny.txt") else { return };
    let source = Source::read(&SourceSpec::polkadot_deny().unwrap(), &bytes).unwrap().remove(0);
    let report = &source.report;
    println!("{report:#?}");
    assert_eq!(report.read, 54_863);
    let dropped: u64 = report.dropped.values().sum();
    assert_eq!(report.kept + report.duplicates + dropped, report.read);
    assert!((53_900..=54_030).contains(&report.kept), "{} kept", report.kept);
    assert!(dropped < 60, "{dropped} dropped");
}

#[test]
fn the_original_has_eleven_conflicts_and_answers_allow() {
    let Some(sources) = original() else { return };
    println!("{:#?}", sources[0].report);
    let dataset = Dataset::merge("phishing", "1.2.0", sources).unwrap();
    let conflicts = dataset.conflicts();
    assert_eq!(conflicts.len(), 11, "{conflicts:#?}");
    assert_eq!(conflicts.iter().filter(|conflict| conflict.denied == conflict.allowed).count(), 3);
    let lists = Lists::new(Some(dataset), None);
    for conflict in conflicts {
        let said = asked(&lists, "phishing_site", "", &format!("url={}", conflict.denied));
        assert_eq!(said["result"]["phishing_site"], 0, "{conflict:?}");
        assert_eq!(said["result"]["conflict"]["denied"], conflict.denied.as_str());
    }
}

#[test]
fn everything_denied_and_nothing_else_is_found_in_the_union_and_is_proven() {
    let (Some(mut sources), Some(bytes)) = (original(), delivered("polkadot-deny.txt")) else { return };
    sources.extend(Source::read(&SourceSpec::polkadot_deny().unwrap(), &bytes).unwrap());
    let listed: Vec<Key> =
        sources.iter().flat_map(|source| source.entries.iter().map(|(key, _)| key.clone())).collect();
    let dataset = Dataset::merge("phishing", "union", sources).unwrap();
    println!("{} entries", dataset.count());
    assert!(dataset.count() > 66_000);
    for key in listed.iter().step_by(37) {
        let proof = dataset.prove(key).unwrap();
        assert!(matches!(proof.verify(&dataset.root(), dataset.count(), key), Ok(Lookup::Found { .. })), "{key}");
        let absent = Key::new(key.kind(), &[key.name(), b"x"].concat()).unwrap();
        assert_eq!(
            dataset.prove(&absent).unwrap().verify(&dataset.root(), dataset.count(), &absent),
            Ok(Lookup::Absent)
        );
    }
    let back = Dataset::from_bytes(&dataset.to_bytes()).unwrap();
    assert_eq!((back.root(), back.count()), (dataset.root(), dataset.count()));
    let deny = kind(Subject::Domain, Semantics::Deny);
    let lists = Lists::new(Some(back), None);
    let (mut found, mut asked_for) = (0, 0);
    for key in listed.iter().filter(|key| key.kind() == deny).step_by(101) {
        let host = String::from_utf8_lossy(key.name()).into_owned();
        let said = asked(&lists, "phishing_site", "", &format!("url={host}"));
        asked_for += 1;
        found += u64::from(said["result"]["phishing_site"] == 1 || !said["result"]["conflict"].is_null());
    }
    assert_eq!(found, asked_for);
}
