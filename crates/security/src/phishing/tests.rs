#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use surety_primitives::dataset::{DatasetProof, Lookup};
use surety_primitives::{DatasetId, Hash32, Seconds, codec};

use super::*;
use crate::faulty::Lying;
use crate::lists::{Date, Format, Pin, Source, SourceSpec};
use crate::router::{answer, request};
use crate::service::Lists;

fn spec(name: &str, format: Format) -> SourceSpec {
    SourceSpec {
        name: name.to_owned(),
        version: "7".to_owned(),
        as_of: "2026-02-03".parse().unwrap(),
        licence: "MIT".to_owned(),
        format,
        subject: About::Domain,
        semantics: Semantics::Deny,
        label: String::new(),
    }
}

fn dataset() -> Dataset {
    let config = json!({
        "whitelist": ["metamask.io", "good.example", "both.example"],
        "blacklist": ["evil.example", "bad.good.example", "both.example"],
        "fuzzylist": ["zrx.com", "metamask.io", "myetherwallet.com"],
        "tolerance": 2,
    });
    let mut sources =
        Source::read(&spec("original", Format::EthPhishingDetect), config.to_string().as_bytes()).unwrap();
    sources.extend(
        Source::read(&spec("more", Format::Lines), b"EVIL.example.\nworse.github.io\ngithub.io\n10.9.8.7\n").unwrap(),
    );
    Dataset::merge("phishing", "1", sources).unwrap()
}

fn lists() -> Lists {
    Lists::new(Some(dataset()), None)
}

fn asked_of(lists: &Lists, query: &str) -> Value {
    let request = request("", query, Seconds(0)).unwrap();
    let body = answer(&PhishingSite, lists, &request).map_or_else(|refusal| refusal.body(), |reply| reply.body);
    serde_json::from_str(&body).unwrap()
}

fn result(url: &str) -> Value {
    let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("url", url).finish();
    asked_of(&lists(), &query)["result"].clone()
}

#[test]
fn listed_hosts_are_found_however_they_are_written() {
    for url in ["evil.example", "https://user@EVIL.example.:8443/x?y#z", "a.b.evil.example", "//evil.example/"] {
        let result = result(url);
        assert_eq!(result["phishing_site"], 1, "{url}");
        assert_eq!(result["type"], "blocklist");
        assert_eq!(result["match"], "evil.example");
        assert_eq!(result["list"], "original/more");
        assert_eq!(
            result["compatible"],
            json!({"name": "original", "result": true, "type": "blocklist", "version": "7"})
        );
    }
    assert_eq!(result("10.9.8.7")["phishing_site"], 1);
    assert_eq!(result("http://168364039/")["phishing_site"], 1);
}

#[test]
fn own_verdicts_do_not_leak_into_compatible_mode() {
    for (url, kind) in [
        ("metamask-login.example", "combosquat"),
        ("metamask.io.nobody.example", "subdomain_brand"),
        ("rnetamask-x.metarnask.nobody.example", "none"),
    ] {
        let result = result(url);
        assert_eq!(result["type"], kind);
        assert_eq!(result["phishing_site"], 0);
        assert_eq!(result["compatible"], json!({"result": false, "type": "all"}));
    }
    // And what only the original takes for phishing is no verdict of ours.
    let result = result("metapqsk.example");
    assert_eq!((&result["phishing_site"], &result["type"]), (&json!(1), &json!("none")));
}

#[test]
fn a_more_specific_denial_is_ours_and_a_conflict_is_shown() {
    let under = result("bad.good.example");
    assert_eq!((&under["phishing_site"], &under["type"]), (&json!(0), &json!("blocklist")));
    assert_eq!(under["conflict"], json!({"denied": "bad.good.example", "allowed": "good.example"}));
    let both = result("both.example");
    assert_eq!((&both["phishing_site"], &both["type"]), (&json!(0), &json!("allowlist")));
    assert_eq!(both["conflict"]["denied"], "both.example");
    assert!(result("good.example").get("conflict").is_none());
}

#[test]
fn public_suffix_is_never_blocked() {
    assert_eq!(result("github.io")["phishing_site"], 0);
    assert_eq!(result("somebody.github.io")["phishing_site"], 0);
    assert_eq!(result("worse.github.io")["phishing_site"], 1);
}

#[test]
fn what_is_no_url_has_a_code() {
    for query in ["", "url=", "url=ipfs%3A%2F%2Fabc", "url=a..b", "url=a%20b", &format!("url={}", "a".repeat(2_049))] {
        assert_eq!(asked_of(&lists(), query)["code"], 5006, "{query}");
    }
    assert_eq!(request("", "url=a&url=b", Seconds(0)).unwrap_err().code(), 5006);
}

#[test]
fn without_a_list_or_with_an_old_one_nothing_is_clean() {
    let none = asked_of(&Lists::default(), "url=nobody.example");
    assert_eq!(none["code"], 2);
    assert!(none["result"].get("phishing_site").is_none());
    let old = Lists::new(Some(dataset().with_max_age(None, Seconds(86_400))), None);
    let at = |host: &str| {
        let now = Seconds("2026-02-03".parse::<Date>().unwrap().start().0 + 86_401);
        let request = request("", &format!("url={host}"), now).unwrap();
        serde_json::from_str::<Value>(&answer(&PhishingSite, &old, &request).unwrap().body).unwrap()
    };
    let clean = at("nobody.example");
    assert_eq!(clean["code"], 2);
    assert!(clean["result"].get("phishing_site").is_none() && clean["result"].get("compatible").is_none());
    assert_eq!(clean["surety"]["unknown"][0], json!({"field": "phishing_site", "reason": "list_stale"}));
    assert_eq!(at("evil.example")["result"]["phishing_site"], 1);
}

#[test]
fn same_input_same_bytes_and_a_proof_does_not_change_the_digest() {
    let body = |query: &str| answer(&PhishingSite, &lists(), &request("", query, Seconds(0)).unwrap()).unwrap().body;
    assert_eq!(body("url=evil.example"), body("url=evil.example"));
    let digest = |query: &str| serde_json::from_str::<Value>(&body(query)).unwrap()["surety"]["digest"].clone();
    assert_eq!(digest("url=evil.example"), digest("url=evil.example&proof=1"));
    assert_ne!(digest("url=evil.example"), digest("url=nobody.example"));
}

#[test]
fn absence_proof_verifies() {
    let shown = asked_of(&lists(), "url=a.nobody.example&proof=1");
    let evidence = shown["surety"]["evidence"].as_array().unwrap();
    let names: Vec<&str> = evidence.iter().map(|item| item["key"].as_str().unwrap()).collect();
    assert_eq!(names, ["domain/deny/a.nobody.example", "domain/deny/nobody.example", "domain/deny/example"]);
    for item in evidence {
        let bytes = |field: &str| const_hex::decode(item[field].as_str().unwrap()).unwrap();
        let root: Hash32 = item["root"].as_str().unwrap().parse().unwrap();
        let key = Key::from_bytes(bytes("key_bytes")).unwrap();
        let proof: DatasetProof = codec::decode(&bytes("proof"), 1 << 14).unwrap();
        assert_eq!(proof.verify(&root, item["count"].as_u64().unwrap(), &key), Ok(Lookup::Absent));
    }
}

#[test]
fn every_look_up_of_a_published_dataset_is_a_claim_and_a_lie_can_be_shown() {
    let pin = Pin { id: DatasetId(4), version: 2 };
    let honest = dataset().with_pin(pin);
    let (root, count) = (honest.root(), honest.count());
    let lying = Lying::new(honest.clone()).says_clean_of_host("Evil.example").into_dataset();
    let reply = |dataset: Dataset| {
        let request = request("", "url=evil.example", Seconds(0)).unwrap();
        answer(&PhishingSite, &Lists::new(Some(dataset), None), &request).unwrap()
    };
    let (truth, lie) = (reply(honest.clone()), reply(lying));
    assert_eq!(lie.basis, truth.basis);
    assert_eq!(lie.basis.dataset(DatasetId(4), 2).unwrap().root, root);
    let said = |reply: &crate::envelope::Reply| {
        reply.claims.as_slice().iter().find(|claim| claim.key.name() == b"evil.example").unwrap().clone()
    };
    let (truth, lie) = (said(&truth), said(&lie));
    assert_eq!(lie.found, None);
    assert_eq!(honest.refute(&truth), None);
    let proof = honest.refute(&lie).unwrap();
    assert_eq!(proof.verify(&root, count, &lie.key), Ok(Lookup::Found { leaf: truth.found.unwrap() }));
}

#[test]
fn every_answer_has_the_claims_that_its_host_requires() {
    let lists = Lists::new(Some(dataset().with_pin(Pin { id: DatasetId(1), version: 1 })), None);
    for host in ["evil.example", "a.b.nobody.example", "metamask.io", "10.9.8.7", "metapqsk.example"] {
        let reply = answer(&PhishingSite, &lists, &request("", &format!("url={host}"), Seconds(0)).unwrap()).unwrap();
        for key in Host::parse(host).unwrap().required_keys() {
            assert!(reply.claims.as_slice().iter().any(|claim| claim.key == key), "{host}: {key}");
        }
    }
    assert_eq!(Host::parse("10.9.8.7").unwrap().required_keys().len(), 1);
}

#[test]
fn claims_of_the_deepest_and_longest_host_fit_into_their_header() {
    let host = format!("{}a.example", "abcdefghijklmnopqrstuvwx.".repeat(9));
    let deep = format!("{}example", "a.".repeat(120));
    let published = Lists::new(Some(dataset().with_pin(Pin { id: DatasetId(u64::MAX), version: u64::MAX })), None);
    for host in [host, deep] {
        let reply =
            answer(&PhishingSite, &published, &request("", &format!("url={host}"), Seconds(0)).unwrap()).unwrap();
        let header = reply.claims.to_header();
        assert_eq!(surety_primitives::answer::claims::Claims::from_header(&header), Ok(reply.claims.clone()));
        assert_eq!(reply.claims.as_slice().len(), 10);
    }
}
