//! The README's first command, with few calls; the soak makes a million.

use crate::harness::{folder, run};

#[test]
fn the_demo_tells_its_whole_story() {
    tells_its_story(400);
}

/// As the README's first command does it: names of the real list, look-alikes, and addresses of which there is no list.
#[test]
fn the_demo_on_the_real_list_says_of_how_many_it_knows_nothing() {
    let package = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/js/node_modules/eth-phishing-detect");
    if !std::path::Path::new(package).exists() {
        eprintln!("SKIPPED: the demo on the real list: `cargo xtask js` could not install {package}");
        return;
    }
    let home = folder();
    let (code, said) = run(home.path(), &["demo", "--calls", "400"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!((&said["claimed"], &said["wrong_answers"]), (&400.into(), &1.into()));
    assert_eq!(said["unknown_answers"], 100, "a quarter of the calls asks of addresses");
}

#[test]
#[ignore = "soak: a million calls take many minutes"]
fn a_million_calls_are_bought_served_and_claimed_and_value_is_conserved() {
    tells_its_story(1_000_000);
}

fn tells_its_story(calls: u64) {
    let home = folder();
    let list = crate::harness::write(home.path(), "names.txt", &names());
    let source = format!("{},names,deny,2026-02-03", list.display());
    let (lists, count) = (home.path().to_str().unwrap(), calls.to_string());
    let (code, said) =
        run(home.path(), &["demo", "--calls", &count, "--no-npm", "--lists", lists, "--source", &source]);
    assert_eq!(code, 0, "{said}");
    for (field, wanted) in
        [("operators", 4), ("calls_served", calls), ("calls_acknowledged", calls), ("claimed", calls)]
    {
        assert_eq!(said[field], wanted, "{field}: {said}");
    }
    for field in ["fault_proven", "conserved", "state_roots_equal", "offline_verified", "killed_and_rejoined"] {
        assert_eq!(said[field], true, "{field}: {said}");
    }
    assert_eq!(said["cover_paid"], 5);
    assert!(said["elapsed_s"].as_f64().unwrap() > 0.0);
}

#[test]
fn the_demo_says_what_is_missing_and_exits_with_2() {
    let home = folder();
    let (code, said) = run(home.path(), &["demo", "--no-npm", "--lists", home.path().to_str().unwrap()]);
    assert_eq!(code, 2);
    assert!(said["error"].as_str().unwrap().contains("--source"), "{said}");
}

fn names() -> String {
    (0..500).map(|i| format!("claim-airdrop-{i}.example-{}.com\n", i % 7)).collect()
}
