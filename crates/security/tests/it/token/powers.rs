//! What the keepers of each fixture can do: flags by effect, whatever the functions are called.

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::SolValue;
use surety_security::deploy::{Failure, deploy_scan};
use surety_security::token::probe::{Sample, Trade};
use surety_security::token::{Held, History, Holder, Params, Siblings, Why, assess};

use super::stage::{COIN, DEPLOYER, FACTORY, Stage, balanceOfCall, init_code, judged};

const FLAGS: [&str; 11] = [
    "is_mintable",
    "owner_change_balance",
    "transfer_pausable",
    "is_blacklisted",
    "is_whitelisted",
    "slippage_modifiable",
    "personal_slippage_modifiable",
    "anti_whale_modifiable",
    "hidden_owner",
    "can_take_back_ownership",
    "selfdestruct",
];

/// Fixture and the flags that must be set; all others must be "0".
const POWERS: &[(&str, &[&str])] = &[
    ("Standard", &[]),
    ("StandardRaw", &[]),
    ("StandardIr", &[]),
    ("FeeOnePercent", &[]),
    ("FeeOnePercentRaw", &[]),
    ("FeeOnePercentIr", &[]),
    ("FeeBuyThreeSellFive", &[]),
    ("SwapBack", &[]),
    ("PausableStable", &["transfer_pausable"]),
    ("CappedMint", &["is_mintable"]),
    ("Rebasing", &[]),
    ("NoReturnValue", &[]),
    ("ReturnsFalse", &[]),
    ("ZeroDecimals", &[]),
    ("SeventySevenDecimals", &[]),
    ("Hooked", &[]),
    ("Permitted", &[]),
    ("ConstantAntiWhale", &[]),
    ("Votes", &[]),
    ("HarmlessNames", &[]),
    ("Rescue", &[]),
    ("OpensOnce", &[]),
    ("TrapWhitelist", &["is_whitelisted"]),
    ("TrapWhitelistRaw", &["is_whitelisted"]),
    ("PowerBlacklist", &["is_blacklisted"]),
    ("PowerBlacklistRaw", &["is_blacklisted"]),
    ("PowerBlacklistIr", &["is_blacklisted"]),
    ("PowerBatchBlacklist", &["is_blacklisted"]),
    ("PowerTax", &["slippage_modifiable"]),
    ("PowerTaxRaw", &["slippage_modifiable"]),
    ("PowerTaxIr", &["slippage_modifiable"]),
    ("PowerBoundedTax", &["slippage_modifiable"]),
    ("PowerPersonalTax", &["personal_slippage_modifiable"]),
    ("PowerMaxTrade", &["anti_whale_modifiable"]),
    ("PowerMaxTradeIr", &["anti_whale_modifiable"]),
    ("PowerCooldown", &[]),
    ("PowerPause", &["transfer_pausable"]),
    ("PowerHiddenMint", &["is_mintable"]),
    ("PowerMint", &["is_mintable"]),
    ("PowerMintRaw", &["is_mintable"]),
    ("PowerMintIr", &["is_mintable"]),
    ("PowerSetBalance", &["is_mintable", "owner_change_balance"]),
    ("PowerTakes", &["owner_change_balance"]),
    ("PowerApproves", &["owner_change_balance", "hidden_owner"]),
    ("HiddenOwner", &["is_mintable", "hidden_owner"]),
    ("HiddenOwnerRaw", &["is_mintable", "hidden_owner"]),
    ("MaskedOwner", &["is_mintable", "hidden_owner"]),
    ("MaskedOwnerIr", &["is_mintable", "hidden_owner"]),
    ("SecretMembers", &["is_mintable", "owner_change_balance", "hidden_owner"]),
    ("TakesBack", &["can_take_back_ownership"]),
    ("TakesBackAfterRenouncing", &["can_take_back_ownership"]),
    ("Destroys", &["selfdestruct"]),
    ("Delegates", &["owner_change_balance"]),
    ("OpensAndShuts", &["transfer_pausable"]),
    ("OpensATrap", &[]),
    ("PowerWhitelist", &["is_whitelisted", "transfer_pausable"]),
    ("TrapOutside", &["is_blacklisted", "hidden_owner"]),
    ("TimelockedStable", &["transfer_pausable"]),
    ("Reflects", &[]),
    ("LaunchKit", &["is_whitelisted", "slippage_modifiable", "personal_slippage_modifiable", "anti_whale_modifiable"]),
    ("Cloned", &[]),
    ("PowerShutsAt", &["transfer_pausable"]),
    ("PowerBurnsOthers", &["owner_change_balance"]),
    ("FreeMint", &["is_mintable"]),
    ("PackedPause", &["transfer_pausable"]),
    ("PackedBlacklist", &["is_blacklisted"]),
];

#[test]
fn powers_show_by_their_effects() {
    let mut wrong = Vec::new();
    for (name, expected) in POWERS {
        let report = judged(name);
        for flag in FLAGS {
            let said = report.flag(flag);
            if said != Some(expected.contains(&flag)) {
                wrong.push(format!("{name}: {flag} is {said:?}: {:?} {:?}", report.notes, report.powers));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_owner_behind_a_hash_is_unknown_until_somebody_is_known_to_fit() {
    let mut stage = Stage::new();
    let token = stage.fixture("HashedOwner");
    let report = stage.assess(token);
    for field in ["hidden_owner", "is_mintable", "owner_change_balance"] {
        assert_eq!(report.flag(field), None, "{field}");
    }
    let history = History { creator: Some(DEPLOYER), ..History::default() };
    let report = assess(&stage.snapshot(), token, &Params::default(), Some(&history)).unwrap();
    assert_eq!((report.flag("hidden_owner"), report.flag("is_mintable")), (Some(true), Some(true)));
}

#[test]
fn what_is_shut_is_judged_as_it_will_be_when_open() {
    for (name, honeypot) in [("OpensOnce", false), ("OpensAndShuts", false), ("OpensATrap", true)] {
        let report = judged(name);
        assert_eq!(report.flag("is_honeypot"), Some(honeypot), "{name}");
        assert!(report.notes.iter().any(|note| note.starts_with("not yet open")), "{name} {:?}", report.notes);
    }
}

#[test]
fn tax_does_not_depend_on_trade_size() {
    let report = judged("FeeOnePercent");
    let samples = report.probe.unwrap().samples;
    let taxes: Vec<u64> = samples.iter().filter(|sample| sample.ok).map(|sample| sample.tax_bps).collect();
    assert!(taxes.len() > 12 && taxes.iter().all(|tax| *tax == 100), "{taxes:?}");
    let round = |sample: &&Sample| sample.ok && sample.trade == Trade::SellHalf && sample.surroundings.is_none();
    let exact = samples.iter().filter(round);
    assert!(exact.clone().count() > 0);
    for sample in exact {
        assert_eq!((sample.sent - sample.got) * U256::from(100), sample.sent, "an exact ratio, not a rounded one");
    }
}

#[test]
fn closed_source_is_unknown_not_clean() {
    let report = judged("Standard");
    for field in ["is_open_source", "trust_list", "is_true_token", "holders", "creator_address"] {
        assert!(!report.fields.contains_key(field), "{field}");
        let reason = report.unknown.iter().find(|unknown| unknown.field == field).map(|unknown| unknown.reason);
        assert!(matches!(reason, Some(Why::NoSource | Why::NoHistory)), "{field} {reason:?}");
    }
}

#[test]
fn every_field_is_said_or_unknown() {
    for name in ["Standard", "GasBomb", "ReturnBomb", "NoBuy"] {
        let report = judged(name);
        for field in FLAGS.into_iter().chain(["is_honeypot", "buy_tax", "sell_tax", "cannot_buy", "is_anti_whale"]) {
            let unknown = report.unknown.iter().any(|unknown| unknown.field == field);
            assert!(report.fields.contains_key(field) != unknown, "{name} {field}");
        }
    }
}

#[test]
fn two_assessments_are_the_same_bytes() {
    for name in ["Standard", "PowerTax", "TrapLottery", "ProxyTrap"] {
        let bytes = || serde_json::to_vec(&judged(name)).unwrap();
        assert_eq!(bytes(), bytes(), "{name}");
    }
}

#[test]
fn contracts_that_are_no_tokens_are_unknown() {
    let mut stage = Stage::new();
    let lock = stage.fixture("Timelock");
    let report = stage.assess(lock);
    assert_eq!(report.flag("is_honeypot"), None);
    let nothing = assess(&stage.snapshot(), Address::repeat_byte(0x77), &Params::default(), None);
    assert!(nothing.is_err());
}

/// Everything of a fixture in its deployer's hands.
fn held(stage: &mut Stage, token: Address) -> Held {
    let total = U256::abi_decode(&stage.run(token, &balanceOfCall(DEPLOYER))).unwrap();
    let top = vec![Holder { address: DEPLOYER, balance: total }];
    Held { top, count: 1, total, is_consistent: true }
}

#[test]
fn history_is_checked_against_balances() {
    let mut stage = Stage::new();
    let token = stage.fixture("Standard");
    let held = held(&mut stage, token);
    let asked = |held: Held| {
        let history = History { creator: Some(DEPLOYER), holders: Some(held), ..History::default() };
        assess(&stage.snapshot(), token, &Params::default(), Some(&history)).unwrap()
    };
    let report = asked(held.clone());
    assert_eq!(report.fields["creator_percent"], "1");
    assert_eq!(report.fields["holder_count"], "1");
    assert_eq!(report.fields["holders"][0]["percent"], "1");
    let half = Holder { address: DEPLOYER, balance: held.total / U256::from(2) };
    for wrong in [
        Held { top: vec![half], ..held.clone() },
        Held { total: U256::ONE, ..held.clone() },
        Held { is_consistent: false, ..held },
    ] {
        let report = asked(wrong);
        for field in ["holders", "holder_count"] {
            let why = report.unknown.iter().find(|unknown| unknown.field == field).map(|unknown| unknown.reason);
            assert_eq!((report.fields.get(field), why), (None, Some(Why::UnsupportedContract)), "{field}");
        }
    }
}

#[test]
fn a_creator_is_known_by_what_else_he_made() {
    let mut stage = Stage::new();
    let token = stage.fixture("Standard");
    let (trap, plain, vault) =
        (stage.fixture("TrapWhitelist"), stage.fixture("Standard"), stage.fixture("HonestVault"));
    let asked = |contracts: &[Address], is_whole| {
        let siblings = Some(Siblings { contracts: contracts.to_vec(), is_whole });
        let history = History { creator: Some(DEPLOYER), siblings, ..History::default() };
        assess(&stage.snapshot(), token, &Params::default(), Some(&history)).unwrap()
    };
    let flag = |contracts: &[Address], is_whole| asked(contracts, is_whole).flag("honeypot_with_same_creator");
    assert_eq!(flag(&[plain, trap], false), Some(true));
    assert_eq!(flag(&[plain, vault], true), Some(false));
    assert_eq!(flag(&[plain], false), None);
}

#[test]
fn a_deployment_is_scanned_before_it_happens() {
    let mut stage = Stage::new();
    let params = Params::default();
    let snapshot = stage.snapshot();
    let scan = deploy_scan(&snapshot, DEPLOYER, U256::ZERO, &init_code("TrapWhitelist"), &params).unwrap();
    assert_eq!(scan.token.unwrap().flag("is_honeypot"), Some(true));
    let scan = deploy_scan(&snapshot, DEPLOYER, U256::ZERO, &init_code("Destroys"), &params).unwrap();
    assert_eq!(scan.rugpull.fields["selfdestruct"], 1);
    let failing = deploy_scan(&snapshot, DEPLOYER, U256::ZERO, &Bytes::from_static(&[0xfe]), &params);
    assert!(matches!(failing, Err(Failure::Constructor(_))));
    assert!(matches!(deploy_scan(&snapshot, DEPLOYER, U256::ZERO, &Bytes::new(), &params), Err(Failure::Size)));
    // Nothing of it reached the chain.
    assert_eq!(stage.fixture("Standard"), scan.address);
    assert_ne!(B256::from(FACTORY.into_word()), COIN.into_word());
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
    #[test]
    fn any_code_ends_in_an_answer(code in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..200)) {
        let mut stage = Stage::new();
        let at = Address::repeat_byte(0x66);
        stage.session.set_code(at, Bytes::from(code)).unwrap();
        let report = stage.assess(at);
        proptest::prop_assert!(report.flag("is_honeypot") != Some(false) || report.flag("cannot_buy").is_some());
    }
}
