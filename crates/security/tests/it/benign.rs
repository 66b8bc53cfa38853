//! Well-known sites must pass.

use serde_json::Value;
use surety_primitives::Seconds;
use surety_security::lists::Dataset;
use surety_security::router::{answer, request};
use surety_security::{Lists, SERVICES};

use crate::{js, real_lists};

/// Hosts that are taken for phishing: by the compatible mode, or by us.
fn hits(lists: &Lists, hosts: &[String]) -> Vec<String> {
    let said = |host: &String| {
        let request = request("", &format!("url={host}"), Seconds(0)).unwrap();
        let body = answer(SERVICES[0], lists, &request).unwrap().body;
        serde_json::from_str::<Value>(&body).unwrap()["result"].clone()
    };
    let bad = |result: &Value| {
        result["phishing_site"] == 1 || !["none", "allowlist"].contains(&result["type"].as_str().unwrap())
    };
    hosts
        .iter()
        .map(|host| (host, said(host)))
        .filter(|(_, result)| bad(result))
        .map(|(host, result)| format!("{host}: {result}"))
        .collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|host| host.as_str().unwrap().to_owned()).collect()
}

#[test]
fn no_well_known_site_is_taken_for_phishing() {
    let Some(sources) = real_lists::original() else { return };
    let package = js::package("eth-phishing-detect").unwrap();
    let lists = Lists::new(Some(Dataset::merge("phishing", "1.2.0", sources).unwrap()), None);
    let json = |path: std::path::PathBuf| serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap();
    let mut hosts = texts(&json(package.join("test/alexa.json")));
    hosts.extend(texts(&json(package.join("test/dapps.json"))));
    assert!(hosts.len() > 90);
    let top = js::folder().join("node_modules/top-sites/top-sites.json");
    if top.exists() {
        hosts.extend(json(top).as_array().unwrap().iter().map(|site| site["rootDomain"].as_str().unwrap().to_owned()));
    } else {
        eprintln!("SKIPPED: the 500 sites of top-sites, which is not installed in tests/js");
    }
    println!("{} hosts", hosts.len());
    assert_eq!(hits(&lists, &hosts), Vec::<String>::new());
}
