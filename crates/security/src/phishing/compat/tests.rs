#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

fn detector(config: Value) -> Detector {
    Detector::new(Configs::from_json(config.to_string().as_bytes()).unwrap())
}

fn legacy() -> Detector {
    detector(json!({
        "whitelist": ["metamask.io", "good.example"],
        "blacklist": ["evil.example", "bad.good.example", "MetaMask.com"],
        "fuzzylist": ["metamask.io", "myetherwallet.com"],
        "tolerance": 2,
    }))
}

fn says(detector: &Detector, host: &str) -> Value {
    serde_json::to_value(detector.check(host)).unwrap()
}

#[test]
fn the_forms_answer_with_their_own_keys() {
    let one = legacy();
    assert_eq!(says(&one, "evil.example"), json!({"result": true, "type": "blacklist"}));
    assert_eq!(says(&one, "metamosk.io"), json!({"match": "metamask.io", "result": true, "type": "fuzzy"}));
    assert_eq!(says(&one, "nobody.example"), json!({"result": false, "type": "all"}));
    let two = detector(json!([
        {"name": "first", "version": 1, "blocklist": ["evil.example"]},
        {"name": "second", "version": "b", "allowlist": ["evil.example"], "fuzzylist": ["metamask.io"]},
    ]));
    let allowed = json!({"name": "second", "result": false, "type": "allowlist", "version": "b"});
    assert_eq!(says(&two, "x.evil.example"), allowed);
    assert_eq!(
        says(&two, "metam.io"),
        json!({"match": "metamask.io", "name": "second", "result": true, "type": "fuzzy", "version": "b"})
    );
}

#[test]
fn an_entry_counts_for_itself_and_everything_below_but_nothing_beside() {
    let detector = legacy();
    for host in ["evil.example", "a.b.evil.example", "evil.example."] {
        assert_eq!(detector.check(host).kind, Kind::Block, "{host}");
    }
    for host in ["notevil.example", "example", "evil.example.com", "evil.example.."] {
        assert_eq!(detector.check(host).kind, Kind::All, "{host}");
    }
}

#[test]
fn what_lies_under_an_allowed_name_is_allowed_even_when_it_is_listed_itself() {
    assert_eq!(legacy().check("bad.good.example").kind, Kind::Allow);
}

#[test]
fn nothing_is_normalised() {
    let detector = legacy();
    assert_eq!(detector.check("MetaMask.io").kind, Kind::Fuzzy);
    assert_eq!(detector.check("MetaMask.com").kind, Kind::Block);
    assert_eq!(detector.check("metamask.io:443").kind, Kind::Fuzzy);
    assert_eq!(detector.check("metamask.io..").kind, Kind::All);
    assert_eq!(detector.check("mywww.etherwallet.com").matched, Some("myetherwallet.com"));
    assert_eq!(detector.check("мetaмask.io").kind, Kind::Fuzzy);
}

#[test]
fn a_missing_tolerance_is_three_and_zero_turns_the_comparison_off() {
    let with = |tolerance: Value| {
        let mut config = json!({"fuzzylist": ["metamask.io"]});
        if !tolerance.is_null() {
            config["tolerance"] = tolerance;
        }
        detector(config).check("metam.io").kind
    };
    assert_eq!(with(Value::Null), Kind::Fuzzy);
    assert_eq!(with(json!(3)), Kind::Fuzzy);
    assert_eq!(with(json!(2.9)), Kind::All);
    assert_eq!(with(json!(0)), Kind::All);
    assert_eq!(with(json!(-1)), Kind::All);
    assert_eq!(detector(json!({"fuzzylist": ["abcd.io"]})).check("x").kind, Kind::All);
    assert_eq!(detector(json!({"fuzzylist": ["abc.io"]})).check("x").kind, Kind::Fuzzy);
}

#[test]
fn configurations_that_the_original_refuses_are_refused() {
    let refused = |config: Value| Configs::from_json(config.to_string().as_bytes()).unwrap_err();
    for bad in [json!([null]), json!([1]), json!(["x"]), json!([true]), json!(7)] {
        assert_eq!(refused(bad), Error::NotAConfig);
    }
    assert_eq!(refused(json!([{"name": "a", "version": 1, "tolerance": 2}])), Error::ToleranceWithoutFuzzylist);
    for name in [json!(null), json!(""), json!(1), json!({})] {
        assert_eq!(refused(json!([{"name": name, "version": 1}])), Error::Name);
    }
    assert_eq!(refused(json!([[]])), Error::Name);
    for version in [json!(null), json!(""), json!(true), json!({})] {
        assert_eq!(refused(json!([{"name": "a", "version": version}])), Error::Version);
    }
    assert_eq!(refused(json!({"whitelist": [1]})), Error::List("whitelist"));
    assert_eq!(refused(json!({"tolerance": "2"})), Error::Tolerance);
    assert_eq!(Configs::from_json(b"{"), Err(Error::NotAConfig));
    assert_eq!(refused(json!({"tolerance": "2"})).code(), "phishing-config-tolerance");
    assert!(Configs::from_json(json!([{"name": "a", "version": 0}]).to_string().as_bytes()).is_ok());
}
