//! Lists asked by a prefix: the same is said as to whoever names what it asks about.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use surety_primitives::dataset::Prefix;
use surety_primitives::{DatasetId, Seconds};
use surety_security::lists::{Dataset, Format, Pin, Semantics, Source, SourceSpec, Subject};
use surety_security::router::{answer, request};
use surety_security::service::Request;
use surety_security::verify::{Error, recompute};
use surety_security::{Lists, SERVICES, Service};

const ADDRESSES: u16 = 600;

fn service(name: &str) -> &'static dyn Service {
    *SERVICES.iter().find(|service| service.name() == name).unwrap()
}

fn source(subject: Subject, semantics: Semantics, label: &str, text: &str) -> Source {
    let spec = SourceSpec {
        name: format!("{semantics:?}-{label}").to_lowercase(),
        version: "1".to_owned(),
        as_of: "2026-02-03".parse().unwrap(),
        licence: "MIT".to_owned(),
        format: Format::Lines,
        subject,
        semantics,
        label: label.to_owned(),
    };
    Source::read(&spec, text.as_bytes()).unwrap().remove(0)
}

/// An address of two bytes that differ and zeros.
fn address(number: u16) -> String {
    format!("0x{number:04x}{}", "0".repeat(36))
}

fn prefix(name: &str) -> String {
    let bytes = name.strip_prefix("0x").map_or_else(|| name.as_bytes().to_vec(), |hex| const_hex::decode(hex).unwrap());
    Prefix::of(&bytes).to_string()
}

fn lists() -> Lists {
    let text = |part: u16| -> String {
        (0..ADDRESSES).filter(|number| number % 5 == part).map(|number| format!("{}\n", address(number))).collect()
    };
    let addresses = vec![
        source(Subject::Address, Semantics::Label, "phish-hack|sanctioned", &text(0)),
        source(Subject::Address, Semantics::Deny, "given", &(text(1) + &address(0))),
        source(Subject::Address, Semantics::Allow, "given", &text(2)),
    ];
    let names = vec![
        source(Subject::Domain, Semantics::Deny, "given", "evil.example\nboth.example\n"),
        source(Subject::Domain, Semantics::Allow, "given", "good.example\nboth.example\n"),
    ];
    let pinned = |name: &str, sources, id| {
        Dataset::merge(name, "1", sources).unwrap().with_pin(Pin { id: DatasetId(id), version: 1 })
    };
    Lists::new(Some(pinned("names", names, 1)), Some(pinned("addresses", addresses, 2)))
}

fn asked(segment: &str) -> Request {
    request(segment, "proof=1", Seconds(0)).unwrap()
}

fn said(lists: &Lists, name: &str, segment: &str) -> Value {
    serde_json::from_str(&answer(service(name), lists, &asked(segment)).unwrap().body).unwrap()
}

/// What stands in an answer about a prefix about one name.
fn about(answer: &Value, name: &str) -> Value {
    let result = &answer["result"];
    result["listed"].get(name).unwrap_or(&result["others"]).clone()
}

#[test]
fn an_address_is_said_the_same_of_by_its_prefix_as_by_name() {
    let lists = lists();
    let mut hits = 0;
    for number in 0..ADDRESSES + 100 {
        let name = address(number);
        let under = said(&lists, "address_prefix", &prefix(&name));
        let mut by_prefix = about(&under, &name);
        let mut by_name = said(&lists, "address_security", &name)["result"].clone();
        // That it resembles a trusted address follows from the address itself, which nobody said.
        for said in [&mut by_prefix, &mut by_name] {
            said.as_object_mut().unwrap().remove("look_alike_of");
        }
        assert_eq!(by_prefix, by_name, "{name}");
        hits += usize::from(by_name["verdict"] == "bad");
    }
    assert_eq!(hits, usize::from(ADDRESSES) * 2 / 5);
}

#[test]
fn an_answer_claims_what_it_names_and_says_what_only_a_second_computation_shows() {
    let lists = lists();
    let reply = answer(service("address_prefix"), &lists, &asked(&prefix(&address(0)))).unwrap();
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    assert_eq!((&body["surety"]["standing"], &body["surety"]["attested"]), (&json!("provable"), &json!(["others"])));
    // It is both labelled and denied.
    let claimed = reply.claims.as_slice();
    let own = claimed.iter().filter(|claim| claim.key.name() == const_hex::decode(address(0)).unwrap());
    assert_eq!(own.filter(|claim| claim.found.is_some()).count(), 2);
    assert_eq!(reply.basis.datasets()[0].id, DatasetId(2));
    recompute(service("address_prefix"), &lists, &asked(&prefix(&address(0))), reply.body.as_bytes()).unwrap();
    // Whoever leaves one out is found out.
    let start = reply.body.find(&format!("\"{}\":{{", address(0))).unwrap();
    let (before, entry) = reply.body.split_at(start);
    let after = entry.split_once('}').unwrap().1.trim_start_matches(',');
    let altered = format!("{before}{after}");
    let error = recompute(service("address_prefix"), &lists, &asked(&prefix(&address(0))), altered.as_bytes());
    assert!(matches!(error, Err(Error::Differs { .. })), "{error:?}");
}

#[test]
fn names_are_found_under_their_own_prefixes() {
    let lists = lists();
    for (name, blocked, allowed) in [
        ("evil.example", "1", "0"),
        ("good.example", "0", "1"),
        ("both.example", "1", "1"),
        ("nobody.example", "0", "0"),
    ] {
        let under = said(&lists, "name_prefix", &prefix(name));
        let about = about(&under, name);
        assert_eq!((&about["blocklist"], &about["allowlist"]), (&json!(blocked), &json!(allowed)), "{under}");
        assert_eq!(under["result"]["prefix"], prefix(name));
    }
    assert_eq!(
        said(&lists, "name_prefix", &prefix("both.example"))["result"]["listed"]["both.example"]["data_source"],
        "deny-given/allow-given"
    );
}

#[test]
fn what_no_list_can_tell_is_unknown_and_not_clean() {
    let bare = Lists::default();
    let nothing = said(&bare, "address_prefix", "ab12");
    assert_eq!((&nothing["result"]["others"], &nothing["result"]["listed"]), (&json!({}), &json!({})), "{nothing}");
    assert_eq!(nothing["surety"]["unknown"][0], json!({"field": "sanctioned", "reason": "list_missing"}));
    assert_eq!(nothing["surety"]["standing"], "attested");
    let allows = vec![source(Subject::Domain, Semantics::Allow, "given", "good.example")];
    let lists = Lists::new(Some(Dataset::merge("names", "1", allows).unwrap()), None);
    let under = said(&lists, "name_prefix", &prefix("nobody.example"));
    assert_eq!(under["result"]["others"], json!({"allowlist": "0", "data_source": ""}), "{under}");
    assert_eq!(under["surety"]["unknown"], json!([{"field": "blocklist", "reason": "no_source"}]));
}

#[test]
fn a_prefix_has_four_digits_and_the_prefixes_are_many() {
    let lists = lists();
    for segment in ["", "a", "abc", "abcde", "0xab", "zzzz", "ab 1", "äb1"] {
        let refused = answer(service("address_prefix"), &lists, &asked(segment)).unwrap_err();
        assert_eq!(refused.code(), 5006, "{segment}");
    }
    assert_eq!(said(&lists, "address_prefix", "ABCD")["result"]["prefix"], "abcd");
    let seen: BTreeSet<String> = (0..ADDRESSES).map(|number| prefix(&address(number))).collect();
    assert!(seen.len() > 580, "{}", seen.len());
}
