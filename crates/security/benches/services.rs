//! How long the security services take. Lists are made up here, in the size of the real ones, unless the original is
//! installed in `tests/js`.

use std::path::Path;

use divan::{Bencher, black_box};
use surety_primitives::Seconds;
use surety_security::lists::{Dataset, Format, Semantics, Source, SourceSpec, Subject};
use surety_security::phishing::compat::{Config, Configs, Detector};
use surety_security::router::{answer, request};
use surety_security::{Lists, SERVICES, Sources};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// The original's own lists where they are installed, or as many made-up names.
fn configs() -> Configs {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/js/node_modules/eth-phishing-detect/src/config.json");
    std::fs::read(path).ok().and_then(|bytes| Configs::from_json(&bytes).ok()).unwrap_or_else(|| made_up(14_000))
}

fn made_up(count: usize) -> Configs {
    let targets = ["metamask.io", "myetherwallet.com", "opensea.io", "etherscan.io", "cryptokitties.co"];
    let config = Config {
        block: (0..count).map(|n| format!("name-{n}.example{}.com", n % 997)).collect(),
        fuzzy: targets.map(str::to_owned).to_vec(),
        tolerance: Some(2),
        ..Config::default()
    };
    Configs { list: vec![config], legacy: true }
}

const UNKNOWN: [&str; 4] = ["nobody.example.com", "www.wikipedia.org", "news.bbc.co.uk", "app.metaswop.net"];

#[divan::bench]
fn phishing_check_unknown(bencher: Bencher<'_, '_>) {
    let detector = Detector::new(configs());
    let mut hosts = UNKNOWN.iter().cycle();
    bencher.bench_local(|| black_box(detector.check(black_box(hosts.next().unwrap_or(&"")))).is_phishing());
}

#[divan::bench]
fn phishing_check_listed(bencher: Bencher<'_, '_>) {
    let configs = configs();
    let listed = configs.list[0].block.clone();
    let detector = Detector::new(configs);
    let mut hosts = listed.iter().step_by(7).cycle();
    bencher.bench_local(|| hosts.next().map(|host| detector.check(black_box(host)).is_phishing()));
}

#[divan::bench(args = [14_000, 140_000, 1_000_000])]
fn phishing_check_does_not_grow_with_the_list(bencher: Bencher<'_, '_>, count: usize) {
    let detector = Detector::new(made_up(count));
    let mut hosts = UNKNOWN.iter().cycle();
    bencher.bench_local(|| black_box(detector.check(black_box(hosts.next().unwrap_or(&"")))).is_phishing());
}

fn dataset(subject: Subject, semantics: Semantics, text: &str) -> Option<Dataset> {
    let spec = SourceSpec {
        name: "a".to_owned(),
        version: "1".to_owned(),
        as_of: "2026-02-03".parse().ok()?,
        licence: "MIT".to_owned(),
        format: Format::Lines,
        subject,
        semantics,
        label: "sanctioned".to_owned(),
    };
    Dataset::merge("a", "1", Source::read(&spec, text.as_bytes()).ok()?).ok()
}

fn lists() -> Lists {
    let names: String = made_up(70_000).list[0].block.iter().map(|name| format!("{name}\n")).collect();
    let addresses: String = (0..8_000).map(|n| format!("0x{n:040x}\n")).collect();
    Lists::new(
        dataset(Subject::Domain, Semantics::Deny, &names),
        dataset(Subject::Address, Semantics::Label, &addresses),
    )
}

#[divan::bench(args = ["nobody.example.com", "name-7.example7.com"])]
fn phishing_whole_answer(bencher: Bencher<'_, '_>, host: &str) {
    let lists = lists();
    let query = format!("url={host}");
    bencher.bench_local(|| answer(SERVICES[0], &lists, &request("", &query, Seconds(0))?));
}

#[divan::bench(args = ["0x12d66f87a04a9e220743712ce6d9bb1b5616b8fc", "0x0000000000000000000000000000000000000007"])]
fn address_gather_and_judge(bencher: Bencher<'_, '_>, address: &str) {
    let lists = lists();
    let Ok(request) = request(address, "", Seconds(0)) else { return };
    bencher.bench_local(|| {
        let gathered = SERVICES[1].gather(Sources::from(&lists), &request)?;
        SERVICES[1].judge(&gathered).map(|verdict| verdict.result)
    });
}

#[divan::bench(args = ["0x12d66f87a04a9e220743712ce6d9bb1b5616b8fc", "0x0000000000000000000000000000000000000007"])]
fn address_whole_answer(bencher: Bencher<'_, '_>, address: &str) {
    let lists = lists();
    bencher.bench_local(|| answer(SERVICES[1], &lists, &request(address, "", Seconds(0))?));
}

#[divan::bench(args = [70_000, 1_000_000], sample_count = 5, sample_size = 1)]
fn dataset_build(bencher: Bencher<'_, '_>, count: usize) {
    let names: String = made_up(count).list[0].block.iter().map(|name| format!("{name}\n")).collect();
    bencher.bench_local(|| dataset(Subject::Domain, Semantics::Deny, &names).map(|dataset| dataset.root()));
}
