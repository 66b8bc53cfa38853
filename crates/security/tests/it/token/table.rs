//! What trading each fixture must show, in a malicious and a harmless form.

use super::stage::{Stage, judged};

/// Fixture, honeypot, cannot buy, buy tax, sell tax.
const TRADES: &[(&str, &str, &str, &str, &str)] = &[
    ("Standard", "0", "0", "0", "0"),
    ("StandardRaw", "0", "0", "0", "0"),
    ("StandardIr", "0", "0", "0", "0"),
    ("FeeOnePercent", "0", "0", "0.01", "0.01"),
    ("FeeOnePercentRaw", "0", "0", "0.01", "0.01"),
    ("FeeOnePercentIr", "0", "0", "0.01", "0.01"),
    ("FeeBuyThreeSellFive", "0", "0", "0.03", "0.05"),
    ("SwapBack", "0", "0", "0.02", "0.02"),
    ("PausableStable", "0", "0", "0", "0"),
    ("CappedMint", "0", "0", "0", "0"),
    ("Rebasing", "0", "0", "0", "0"),
    ("NoReturnValue", "0", "0", "0", "0"),
    ("ReturnsFalse", "0", "0", "0", "0"),
    ("ZeroDecimals", "0", "0", "0", "0"),
    ("SeventySevenDecimals", "0", "0", "0", "0"),
    ("Hooked", "0", "0", "0", "0"),
    ("Permitted", "0", "0", "0", "0"),
    ("ConstantAntiWhale", "0", "0", "0", "0"),
    ("Votes", "0", "0", "0", "0"),
    ("HarmlessNames", "0", "0", "0", "0"),
    ("Rescue", "0", "0", "0", "0"),
    ("TrapListsBuyers", "1", "0", "0", "1"),
    ("TrapWhitelist", "1", "0", "0", "1"),
    ("TrapWhitelistRaw", "1", "0", "0", "1"),
    ("TrapPair", "1", "0", "0", "1"),
    ("TrapPairIr", "1", "0", "0", "1"),
    ("TrapTime", "1", "0", "0", "1"),
    ("TrapSize", "1", "0", "0", "1"),
    ("TrapSimulation", "1", "0", "0", "1"),
    ("TrapLottery", "1", "0", "0", "1"),
    ("TrapNotAll", "0", "0", "0", "0"),
    ("TrapTax", "1", "0", "0", "0.99"),
    ("TrapLateTax", "1", "0", "0", "1"),
    ("TrapFalseLogs", "0", "0", "0.3", "0"),
    ("NoBuy", "0", "1", "1", "0"),
    ("ReturnBomb", "1", "0", "0", "1"),
    ("PowerBlacklist", "0", "0", "0", "0"),
    ("PowerTax", "0", "0", "0.02", "0.02"),
    ("PowerTaxRaw", "0", "0", "0.02", "0.02"),
    ("PowerTaxIr", "0", "0", "0.02", "0.02"),
    ("PowerBoundedTax", "0", "0", "0.01", "0.01"),
    ("PowerCooldown", "0", "0", "0", "0"),
    ("ProxyToken", "0", "0", "0", "0"),
    ("ProxyTrap", "1", "0", "0", "1"),
    ("Reflects", "0", "0", "0.05", "0.05"),
    ("LaunchKit", "0", "0", "0.03", "0.03"),
    ("Cloned", "0", "0", "0", "0"),
    ("PackedBlacklist", "0", "0", "0", "0"),
];

fn check(name: &str, pooled: bool, expected: [&str; 4]) -> Vec<String> {
    let mut stage = Stage::new();
    let token = stage.fixture(name);
    if pooled {
        stage.pool(token);
    }
    let report = stage.assess(token);
    let fields = ["is_honeypot", "cannot_buy", "buy_tax", "sell_tax"];
    let differs = |(field, expected): (&str, &str)| {
        let said = report.fields.get(field).map_or("absent", |value| value.as_str().unwrap());
        (said != expected).then(|| format!("{name} (pool {pooled}): {field} is {said}, not {expected}"))
    };
    fields.into_iter().zip(expected).filter_map(differs).collect()
}

#[test]
fn trades_show_what_each_fixture_does_without_a_pool() {
    let wrong: Vec<String> = TRADES.iter().flat_map(|(name, a, b, c, d)| check(name, false, [a, b, c, d])).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn trades_show_what_each_fixture_does_in_its_own_pool() {
    // These let not even their maker fill a pool.
    let cannot = ["TrapLottery", "ReturnBomb", "ProxyTrap"];
    let with_pool = TRADES.iter().filter(|(name, ..)| !cannot.contains(name));
    let wrong: Vec<String> = with_pool.flat_map(|(name, a, b, c, d)| check(name, true, [a, b, c, d])).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn gas_bomb_is_unknown() {
    let report = judged("GasBomb");
    for field in ["is_honeypot", "cannot_buy", "buy_tax", "sell_tax"] {
        assert!(!report.fields.contains_key(field), "{field} {:?}", report.fields.get(field));
    }
}

#[test]
fn other_findings_of_trading() {
    let cases = [
        ("TrapNotAll", "cannot_sell_all"),
        ("ConstantAntiWhale", "is_anti_whale"),
        ("PowerMaxTrade", "is_anti_whale"),
        ("PowerCooldown", "trading_cooldown"),
        ("TrapOutside", "external_call"),
        ("GasThief", "gas_abuse"),
        ("ProxyToken", "is_proxy"),
        ("Cloned", "is_proxy"),
        ("LaunchKit", "is_anti_whale"),
    ];
    let all = ["cannot_sell_all", "is_anti_whale", "trading_cooldown", "external_call", "gas_abuse", "is_proxy"];
    for (name, flag) in cases {
        let report = judged(name);
        for field in all {
            assert_eq!(report.flag(field), Some(field == flag), "{name} {field}");
        }
    }
    for name in ["Standard", "Rebasing", "SwapBack", "FeeOnePercent"] {
        let report = judged(name);
        for field in all {
            assert_eq!(report.flag(field), Some(false), "{name} {field}");
        }
    }
    assert!(judged("TrapFalseLogs").notes.contains(&"inconsistent_logs".to_owned()));
    assert!(judged("Standard").notes.is_empty());
}
