//! Contracts that are no tokens: who may take what others left in them, or allowed them.

use serde_json::json;
use surety_security::token::Params;
use surety_security::token::privilege::Effect;
use surety_security::token::rugpull::rugpull;

use super::stage::Stage;

const FIELDS: [&str; 5] = ["approval_abuse", "blacklist", "privilege_withdraw", "withdraw_missing", "selfdestruct"];

#[test]
fn who_may_take_what_others_left() {
    let cases: [(&str, &[&str]); 5] = [
        ("HonestVault", &[]),
        ("OneWayVault", &["privilege_withdraw", "withdraw_missing"]),
        ("AbusiveSpender", &["approval_abuse"]),
        ("HonestSpender", &[]),
        ("Destroys", &["selfdestruct", "privilege_withdraw"]),
    ];
    for (name, expected) in cases {
        let mut stage = Stage::new();
        let contract = stage.fixture(name);
        let found = rugpull(&stage.snapshot(), contract, &Params::default(), &[]).unwrap();
        for field in FIELDS {
            assert_eq!(found.fields[field], json!(i32::from(expected.contains(&field))), "{name} {field} {found:#?}");
        }
        assert_eq!(found.fields["is_open_source"], json!(-1));
        assert_eq!(found.fields["is_proxy"], json!(0));
        assert_eq!(found.weight > 0, !expected.is_empty(), "{name} {found:#?}");
    }
}

#[test]
fn a_proxy_says_who_may_change_it() {
    let mut stage = Stage::new();
    let token = stage.fixture("ProxyToken");
    let found = rugpull(&stage.snapshot(), token, &Params::default(), &[]).unwrap();
    assert_eq!(found.fields["is_proxy"], json!(1));
    assert_eq!(found.fields["proxy_kind"], json!("eip1967"));
    assert_eq!(found.fields["upgrader"], json!("0xd00000000000000000000000000000000000cafe"));
    assert!(found.powers.iter().any(|power| power.effect == Effect::Upgrade));
}
