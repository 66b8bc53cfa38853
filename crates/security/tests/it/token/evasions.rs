//! Tokens that look for the marks of a trial, and powers that lie behind every bound: nothing of it may be said to be clean.

use alloy_primitives::{Address, U256, address};
use alloy_sol_types::{SolCall, SolValue, sol};
use serde_json::json;
use surety_evm::Call;
use surety_security::deploy::deploy_scan;
use surety_security::token::rugpull::rugpull;
use surety_security::token::{Params, Report, Why, assess, market};

use super::stage::{COIN, DEPLOYER, FACTORY, Stage, init_code, judged};

sol! {
    function createPair(address, address) external returns (address);
    function createPool(address, address) external returns (address);
    function transfer(address, uint256);
    function sync();
    function mark(address);
}

const SUSHI: Address = address!("C0AEe478e3658e2610c5F7A4A2E1777cE9e4f2Ac");
const THREE: Address = address!("1F98431c8aD98523631AE4a59f267346ea31F984");

fn reason(report: &Report, field: &str) -> Option<Why> {
    report.unknown.iter().find(|unknown| unknown.field == field).map(|unknown| unknown.reason)
}

/// Every fixture that sells to those alone whom it takes for a trial, in a pool of its own and without one.
#[test]
fn who_looks_for_a_trial_finds_none() {
    let evasions = [
        "EvadesPurse",
        "EvadesPoor",
        "EvadesBlockHash",
        "EvadesBlockHashParity",
        "EvadesGas",
        "EvadesGasPrice",
        "EvadesCoinbase",
        "EvadesAny",
        "EvadesAddress",
        "EvadesDerived",
    ];
    let mut wrong = Vec::new();
    for name in evasions {
        for pooled in [false, true] {
            let mut stage = Stage::new();
            let token = stage.fixture(name);
            if pooled {
                stage.pool(token);
            }
            let report = stage.assess(token);
            if report.flag("is_honeypot") == Some(false) {
                wrong.push((name, pooled, report.notes));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_depends_on_the_surroundings_is_named() {
    for (name, what) in [
        ("EvadesPoor", "env.wallet"),
        ("EvadesAddress", "env.wallet"),
        ("EvadesBlockHashParity", "env.block_hash"),
        ("EvadesGas", "env.gas"),
        ("EvadesCoinbase", "env.coinbase"),
    ] {
        let report = judged(name);
        let failed = report.probe.as_ref().is_some_and(|probe| probe.sell_tax_bps == 10_000);
        assert!(failed || report.notes.iter().any(|note| note.starts_with(what)), "{name} {:?}", report.notes);
    }
    assert!(judged("LaunchKit").notes.iter().all(|note| !note.starts_with("env.")));
}

#[test]
fn balances_are_what_a_transaction_sees() {
    let report = judged("EvadesLookers");
    assert_eq!(report.fields["buy_tax"], "1");
}

/// Gives a token a second pool, of another factory.
fn second_pool(stage: &mut Stage, token: Address) -> Address {
    stage.session.set_code(SUSHI, market::runtime("Factory")).unwrap();
    let pair = Address::abi_decode(&stage.run(SUSHI, &createPairCall { _0: token, _1: COIN })).unwrap();
    let coins = U256::from(10).pow(U256::from(18));
    let deposit = Call::new(DEPLOYER, COIN, super::stage::depositCall {}.abi_encode()).value(coins);
    assert!(stage.session.run(&deposit).unwrap().is_success());
    stage.run(token, &transferCall { _0: pair, _1: coins * U256::from(1_000) });
    stage.run(COIN, &transferCall { _0: pair, _1: coins });
    stage.run(pair, &super::stage::mintCall(DEPLOYER));
    pair
}

#[test]
fn the_worst_of_all_pools_wins() {
    for (name, expected) in [("EvadesOtherPools", true), ("Standard", false), ("FeeOnePercent", false)] {
        let mut stage = Stage::new();
        let token = stage.fixture(name);
        stage.pool(token);
        let pair = second_pool(&mut stage, token);
        let report = stage.assess(token);
        assert_eq!(report.pools.len(), 2, "{name}");
        assert_eq!(report.flag("is_honeypot"), Some(expected), "{name} {:#?}", report.probe);
        let tax = if name == "FeeOnePercent" { "0.01" } else { "0" };
        assert_eq!(report.fields["buy_tax"], tax, "{name}");
        let samples = report.probe.unwrap().samples;
        assert!(samples.iter().any(|sample| sample.pool == Some(pair)), "{name}");
    }
}

/// Tokens that treat the second pool otherwise than the first.
#[test]
fn powers_that_show_in_another_pool_alone_are_found() {
    for (name, expected) in [("PowerTaxElsewhere", true), ("MarksPools", false)] {
        let mut stage = Stage::new();
        let token = stage.fixture(name);
        stage.pool(token);
        let pair = second_pool(&mut stage, token);
        stage.run(token, &markCall(pair));
        let report = stage.assess(token);
        assert_eq!(report.pools.len(), 2, "{name}");
        assert_eq!(report.flag("slippage_modifiable"), Some(expected), "{name} {:#?}", report.powers);
    }
}

#[test]
fn the_deepest_pool_is_probed() {
    let mut stage = Stage::new();
    let token = stage.fixture("Standard");
    let shallow = second_pool(&mut stage, token);
    let deep = stage.pool(token);
    let report = stage.assess(token);
    assert_eq!(report.pools.iter().map(|pool| pool.pair).collect::<Vec<_>>(), [deep, shallow]);
}

#[test]
fn more_pools_than_are_tried_leave_nothing_clean() {
    let mut stage = Stage::new();
    let token = stage.fixture("Standard");
    stage.pool(token);
    let quotes = Params::default().quotes;
    let supply = U256::from(10).pow(U256::from(24));
    for (dex, quote) in Params::default().dexes.iter().flat_map(|dex| quotes.iter().map(move |quote| (dex, *quote))) {
        stage.session.set_code(dex.factory, market::runtime("Factory")).unwrap();
        if quote != COIN {
            stage.session.set_code(quote, market::runtime("Plain")).unwrap();
            let slot = surety_evm_slot(DEPLOYER, 3);
            stage.session.set_storage(quote, slot, supply).unwrap();
        }
        if dex.factory == FACTORY && quote == COIN {
            continue;
        }
        let pair = Address::abi_decode(&stage.run(dex.factory, &createPairCall { _0: token, _1: quote })).unwrap();
        let amount = U256::from(10).pow(U256::from(18));
        stage.run(token, &transferCall { _0: pair, _1: amount });
        if quote == COIN {
            let deposit = Call::new(DEPLOYER, COIN, super::stage::depositCall {}.abi_encode()).value(amount);
            assert!(stage.session.run(&deposit).unwrap().is_success());
        }
        stage.run(quote, &transferCall { _0: pair, _1: amount });
        stage.run(pair, &syncCall {});
    }
    let report = stage.assess(token);
    assert_eq!(report.pools.len(), 15);
    for field in ["is_honeypot", "cannot_buy", "sell_tax", "cannot_sell_all"] {
        assert_eq!((report.flag(field), reason(&report, field)), (None, Some(Why::OutOfGasBudget)), "{field}");
    }
}

/// The slot of `mapping(address => …)` number `slot`.
fn surety_evm_slot(key: Address, slot: u64) -> U256 {
    let input = [key.into_word().as_slice(), &U256::from(slot).to_be_bytes::<32>()].concat();
    U256::from_be_bytes(alloy_primitives::keccak256(input).0)
}

/// Places a factory with the face of Uniswap V3 with one pool of this token.
fn third_kind(stage: &mut Stage, token: Address) -> Address {
    let made = stage.fixture("FactoryThree");
    let code = stage.session.code(made).unwrap();
    stage.session.set_code(THREE, code).unwrap();
    let pool = Address::abi_decode(&stage.run(THREE, &createPoolCall { _0: token, _1: COIN })).unwrap();
    let coins = U256::from(10).pow(U256::from(18));
    let deposit = Call::new(DEPLOYER, COIN, super::stage::depositCall {}.abi_encode()).value(coins);
    assert!(stage.session.run(&deposit).unwrap().is_success());
    stage.run(token, &transferCall { _0: pool, _1: coins * U256::from(1_000) });
    stage.run(COIN, &transferCall { _0: pool, _1: coins });
    pool
}

#[test]
fn a_token_that_trades_in_v3_alone_is_in_a_dex_and_not_clean() {
    let mut stage = Stage::new();
    let token = stage.fixture("Standard");
    let pool = third_kind(&mut stage, token);
    let report = stage.assess(token);
    assert_eq!(report.flag("is_in_dex"), Some(true));
    assert_eq!(report.fields["dex"], json!([{"name": "UniswapV3", "pair": format!("{pool:#x}")}]));
    for field in ["is_honeypot", "cannot_buy", "cannot_sell_all", "buy_tax", "sell_tax"] {
        assert_eq!(
            (report.fields.get(field), reason(&report, field)),
            (None, Some(Why::UnsupportedContract)),
            "{field}"
        );
    }
    assert_eq!(report.fields["transfer_tax"], "0");
}

#[test]
fn beside_a_pool_that_is_traded_in_the_way_into_a_v3_pool_is_tried() {
    for (name, expected) in [("EvadesOtherPools", true), ("Standard", false), ("FeeOnePercent", false)] {
        let mut stage = Stage::new();
        let token = stage.fixture(name);
        stage.pool(token);
        third_kind(&mut stage, token);
        let report = stage.assess(token);
        assert_eq!(report.flag("is_honeypot"), Some(expected), "{name} {:#?}", report.probe);
    }
}

#[test]
fn powers_behind_a_bound_are_unknown() {
    for (name, fields) in [
        ("ManyKeys", &["is_mintable", "hidden_owner", "owner_change_balance"][..]),
        ("ManyOutside", &["is_blacklisted", "transfer_pausable"]),
        ("TakesBackByWord", &["can_take_back_ownership"]),
        ("GasBomb", &["selfdestruct"]),
        ("PausesInTurnAndLists", &["is_blacklisted"]),
    ] {
        let report = judged(name);
        for field in fields {
            assert_ne!(report.flag(field), Some(false), "{name} {field}");
        }
    }
    assert_eq!(judged("DestroysThrough").flag("selfdestruct"), Some(true));
}

#[test]
fn what_only_ends_a_pause_hides_nothing() {
    let report = judged("PausesInTurn");
    assert_eq!(report.flag("transfer_pausable"), Some(true));
    for field in ["is_blacklisted", "is_whitelisted", "slippage_modifiable", "anti_whale_modifiable", "is_mintable"] {
        assert_eq!(report.flag(field), Some(false), "{field} {:?}", report.notes);
    }
}

#[test]
fn a_vault_with_a_function_that_nobody_made_work_is_not_clean() {
    let mut stage = Stage::new();
    let vault = stage.fixture("SecretVault");
    let found = rugpull(&stage.snapshot(), vault, &Params::default(), &[]).unwrap();
    for field in ["privilege_withdraw", "approval_abuse", "blacklist"] {
        assert_eq!(found.fields[field], json!(-1), "{field}");
        assert!(found.unknown.iter().any(|unknown| unknown.field == field), "{field}");
    }
    assert_eq!((&found.fields["withdraw_missing"], &found.fields["selfdestruct"]), (&json!(0), &json!(0)));
}

#[test]
fn what_is_decided_on_the_day_of_deployment_is_not_clean_before() {
    let (stage, params) = (Stage::new(), Params::default());
    let flag = |name: &str| {
        let scan = deploy_scan(&stage.snapshot(), DEPLOYER, U256::ZERO, &init_code(name), &params).unwrap();
        scan.token.unwrap().flag("is_honeypot")
    };
    assert_ne!(flag("EvadesDeployment"), Some(false));
    assert_eq!(flag("Standard"), Some(false));
}

#[test]
fn however_little_may_be_done_nothing_false_is_said() {
    let mut stage = Stage::new();
    let (trap, plain) = (stage.fixture("TrapWhitelist"), stage.fixture("Standard"));
    let (one_way, honest) = (stage.fixture("OneWayVault"), stage.fixture("HonestVault"));
    let snapshot = stage.snapshot();
    for steps in (0..24).map(|power| 1_u64 << power) {
        let params = Params { steps, ..Params::default() };
        let report = assess(&snapshot, trap, &params, None).unwrap();
        assert_ne!(report.flag("is_honeypot"), Some(false), "{steps}");
        assert_ne!(report.flag("is_whitelisted"), Some(false), "{steps}");
        assert_ne!(assess(&snapshot, plain, &params, None).unwrap().flag("is_honeypot"), Some(true), "{steps}");
        let found = |contract| rugpull(&snapshot, contract, &params, &[]).unwrap().fields;
        let (bad, good) = (found(one_way), found(honest));
        assert_ne!((steps, &bad["withdraw_missing"]), (steps, &json!(0)));
        assert_ne!((steps, &bad["privilege_withdraw"]), (steps, &json!(0)));
        assert_ne!((steps, &good["withdraw_missing"]), (steps, &json!(1)));
    }
}
