//! Functions that are shut for good count for nothing, and those that only wait count; and code that is elsewhere is found.

use surety_security::token::Report;

use super::stage::{DEPLOYER, judged};

/// What the owner of a token usually has.
const RULES: [&str; 6] = [
    "transfer_pausable",
    "is_blacklisted",
    "is_whitelisted",
    "slippage_modifiable",
    "personal_slippage_modifiable",
    "anti_whale_modifiable",
];
/// What touches the books.
const BOOKS: [&str; 2] = ["is_mintable", "owner_change_balance"];

fn unclear<'a>(report: &Report, fields: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    fields.into_iter().filter(|field| report.flag(field) != Some(false)).collect()
}

#[test]
fn what_nobody_can_call_is_no_power() {
    for name in ["ShutRenounced", "ShutBuried", "ShutPacked", "ShutOpened", "ShutRepeats"] {
        let report = judged(name);
        let rest = ["hidden_owner", "can_take_back_ownership", "is_honeypot"];
        let wrong = unclear(&report, RULES.into_iter().chain(BOOKS).chain(rest));
        assert!(wrong.is_empty(), "{name} {wrong:?} {:?}", report.notes);
    }
}

#[test]
fn what_only_waits_is_a_power_or_unknown() {
    let names = [
        "WaitsForTime",
        "WaitsForBlock",
        "WaitsForCoin",
        "WaitsForWord",
        "WaitsForDigits",
        "WaitsForAnother",
        "WaitsForBurns",
    ];
    for name in names {
        let report = judged(name);
        assert_ne!(report.flag("is_mintable"), Some(false), "{name} {:?}", report.notes);
    }
}

#[test]
fn what_writes_only_the_books_leaves_the_rules_known() {
    for name in ["WaitsForWord", "WaitsForTime"] {
        let report = judged(name);
        let wrong = unclear(&report, RULES);
        assert!(wrong.is_empty(), "{name} {wrong:?} {:?}", report.notes);
    }
}

#[test]
fn a_grave_is_no_owner_and_may_give_back() {
    let buried = judged("ShutBuried");
    assert_eq!(buried.fields["owner_address"], "0x000000000000000000000000000000000000dead");
    assert_eq!(judged("BuriedReturns").flag("can_take_back_ownership"), Some(true));
    // Who is still there owns it.
    assert_eq!(judged("ShutOpened").fields["owner_address"], format!("{DEPLOYER:#x}"));
}

#[test]
fn code_that_is_elsewhere_is_found_by_whatever_convention() {
    for name in ["ProxyOdd", "ProxyFixed", "ProxyBeacon", "ProxyCut"] {
        let report = judged(name);
        assert_eq!(report.flag("is_proxy"), Some(true), "{name}");
        assert_eq!(report.flag("is_honeypot"), Some(false), "{name}");
    }
    for name in ["ProxyOdd", "ProxyFixed", "ProxyBeacon"] {
        let report = judged(name);
        let wrong = unclear(&report, RULES.into_iter().chain(["external_call"]));
        assert!(wrong.is_empty(), "{name} {wrong:?} {:?}", report.notes);
    }
    let library = judged("ProxyNot");
    assert_eq!((library.flag("is_proxy"), library.flag("external_call")), (Some(false), Some(false)));
}

#[test]
fn what_a_diamond_can_do_nobody_knows() {
    let report = judged("ProxyCut");
    for field in RULES.into_iter().chain(BOOKS) {
        assert_ne!(report.flag(field), Some(false), "{field}");
    }
}

#[test]
fn what_somebody_has_elsewhere_is_no_membership() {
    let (balance, list) = (judged("SharesOlder"), judged("SharesSecret"));
    assert_eq!((balance.flag("is_mintable"), balance.flag("hidden_owner")), (Some(true), Some(false)));
    assert_eq!((list.flag("is_mintable"), list.flag("hidden_owner")), (Some(true), Some(true)));
}
