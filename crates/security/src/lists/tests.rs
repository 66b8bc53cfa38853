#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use surety_primitives::DatasetId;

use super::*;

fn spec(name: &str, format: Format, subject: Subject, semantics: Semantics) -> SourceSpec {
    SourceSpec {
        name: name.to_owned(),
        version: "1".to_owned(),
        as_of: "2026-02-03".parse().unwrap(),
        licence: "MIT".to_owned(),
        format,
        subject,
        semantics,
        label: "given".to_owned(),
    }
}

fn read(format: Format, subject: Subject, text: &str) -> Source {
    Source::read(&spec("a", format, subject, Semantics::Label), text.as_bytes()).unwrap().remove(0)
}

fn names(source: &Source) -> Vec<String> {
    source.entries.iter().map(|(key, label)| format!("{} {label}", String::from_utf8_lossy(key.name()))).collect()
}

#[test]
fn lines_are_normalised_and_the_report_says_what_changed_and_what_was_dropped() {
    let text = "\u{feff}# a list\n\nEvil.example\nevil.example.\n 0.0.0.0 hosts.example # as in a hosts file\nbücher.example\n\
                com\nvercel.app\nno name\na.b.c.d.e.f.g.h.i.j.example\n10.0.0.1\n";
    let source = read(Format::Lines, Subject::Domain, text);
    assert_eq!(
        names(&source),
        ["evil.example given", "hosts.example given", "xn--bcher-kva.example given", "10.0.0.1 given"]
    );
    let report = &source.report;
    assert_eq!((report.read, report.kept, report.duplicates), (9, 4, 1));
    assert_eq!((report.lowered, report.trailing_dots, report.to_ascii), (1, 1, 1));
    assert_eq!(
        report.dropped.iter().map(|(why, n)| (*why, *n)).collect::<Vec<_>>(),
        [("not_a_host", 1), ("public_suffix", 2), ("too_deep", 1)]
    );
    assert_eq!(report.dropped_entries[0], Dropped { text: "com".to_owned(), reason: "public_suffix" });
}

#[test]
fn csv_brings_labels_and_its_heading_is_no_entry() {
    let text = "address,tag\n0xAB00000000000000000000000000000000000000,Phish-Hack\n0x01,x\n\"0xcd00000000000000000000000000000000000000\",\n";
    let source = read(Format::Csv, Subject::Address, text);
    let labels: Vec<&str> = source.entries.iter().map(|(_, label)| label.as_str()).collect();
    assert_eq!(labels, ["phish-hack", "given"]);
    assert_eq!(source.report.dropped["not_an_address"], 1);
    let keys = read(Format::CsvKeys, Subject::Address, "0xab00000000000000000000000000000000000000,USDT\n");
    assert_eq!(keys.entries[0].1, "given");
}

fn two() -> Vec<Source> {
    let config = br#"[{"name": "M", "version": 1, "allowlist": ["ok.example"], "blocklist": ["x.ok.example", "evil.example"], "fuzzylist": ["b.example", "a.example"], "tolerance": 1}]"#;
    let mut sources =
        Source::read(&spec("one", Format::EthPhishingDetect, Subject::Domain, Semantics::Deny), config).unwrap();
    let mut other = spec("two", Format::Lines, Subject::Domain, Semantics::Deny);
    other.licence = "Apache-2.0".to_owned();
    other.as_of = "2025-01-01".parse().unwrap();
    other.label = "scam; 1=x".to_owned();
    sources.extend(Source::read(&other, b"evil.example\nworse.example\n").unwrap());
    sources
}

#[test]
fn merging_keeps_sources_and_labels_apart_and_commits_to_who_they_are() {
    let dataset = Dataset::merge("phishing", "v1", two()).unwrap();
    let deny = kind(Subject::Domain, Semantics::Deny);
    let entry = |name: &str| dataset.get(&Key::new(deny, name.as_bytes()).unwrap()).unwrap().clone();
    assert_eq!(entry("evil.example").sources, 0b11);
    assert_eq!(merge::labels(&entry("evil.example")).collect::<Vec<_>>(), [(0, "given"), (1, "scam--1-x")]);
    assert_eq!(entry("worse.example").sources, 0b10);
    assert_eq!(dataset.count(), 6 + 2);
    let source = dataset.tree().get(&Key::new(SOURCE_KIND, &[1]).unwrap()).unwrap();
    assert_eq!(source.label, b"two@1 as_of=2025-01-01 licence=Apache-2.0");
    assert_eq!(dataset.as_of().to_string(), "2025-01-01");
    assert_eq!(dataset.licence(), "Apache-2.0 AND MIT");
    let conflict = Conflict { denied: "x.ok.example".to_owned(), allowed: "ok.example".to_owned() };
    assert_eq!(dataset.conflicts(), [conflict]);
}

#[test]
fn sources_without_a_sound_name_or_number_are_refused() {
    assert_eq!(Dataset::merge("d", "1", vec![]).unwrap_err().code(), "list-source-count");
    let twice = [two(), two()].concat();
    assert_eq!(Dataset::merge("d", "1", twice).unwrap_err().code(), "list-source-twice");
    let mut unsound = spec("a b", Format::Lines, Subject::Domain, Semantics::Deny);
    assert_eq!(Source::read(&unsound, b"").unwrap_err().code(), "list-source-text");
    unsound.name = "a".to_owned();
    unsound.licence = "ü".to_owned();
    assert_eq!(Source::read(&unsound, b"").unwrap_err().code(), "list-source-text");
    assert_eq!(Dataset::merge("", "1", two()).unwrap_err().code(), "list-source-text");
    assert_eq!(
        Source::read(&spec("a", Format::Lines, Subject::Domain, Semantics::Deny), b"\xff").unwrap_err().code(),
        "list-not-text"
    );
    let wrong = spec("a", Format::EthPhishingDetect, Subject::Address, Semantics::Deny);
    assert_eq!(Source::read(&wrong, b"{}").unwrap_err().code(), "list-wrong-subject");
}

#[test]
fn a_file_gives_back_the_dataset_and_any_damage_is_noticed() {
    let pin = Pin { id: DatasetId(4), version: 2 };
    let dataset = Dataset::merge("phishing", "v1", two()).unwrap().with_pin(pin);
    let bytes = dataset.to_bytes();
    let back = Dataset::from_bytes(&bytes).unwrap();
    assert_eq!(
        (back.root(), back.count(), back.name(), back.version()),
        (dataset.root(), dataset.count(), "phishing", "v1")
    );
    assert_eq!((back.sources(), back.pin()), (dataset.sources(), Some(pin)));
    assert_eq!(back.tree().entries(), dataset.tree().entries());
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(Dataset::from_bytes(&damaged).is_err(), "byte {at}");
        assert!(Dataset::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert_eq!(Dataset::from_bytes(b"something else").unwrap_err().code(), "list-not-a-dataset");
}

#[test]
fn a_version_is_over_age_only_where_a_limit_was_set() {
    let dataset = Dataset::merge("phishing", "v1", two()).unwrap();
    let later = surety_primitives::Seconds(4_000_000_000);
    assert_eq!(dataset.stale_sources(later), 0);
    let limited = dataset.with_max_age(Some("two"), surety_primitives::Seconds(1));
    assert_eq!(limited.stale_sources(later), 0b10);
    assert_eq!(limited.stale_sources(surety_primitives::Seconds(0)), 0);
}

proptest! {
    #[test]
    fn random_files_and_lists_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), format in 0usize..4) {
        let _ = Dataset::from_bytes(&bytes);
        let format = [Format::EthPhishingDetect, Format::Lines, Format::Csv, Format::CsvKeys][format];
        for subject in [Subject::Domain, Subject::Address] {
            let _ = Source::read(&spec("a", format, subject, Semantics::Deny), &bytes);
        }
    }
}
