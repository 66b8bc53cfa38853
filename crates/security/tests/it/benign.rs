//! Well-known sites must pass, and so must what honest people do for the first time.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolValue, sol};
use serde_json::{Value, json};
use surety_evm::canonical::{self, V2_ROUTER, V3_FACTORY, V3_POSITIONS, WETH, steps};
use surety_evm::chain::DEV_ACCOUNTS;
use surety_evm::{Call, Limits, Session, World};
use surety_primitives::Seconds;
use surety_security::lists::Dataset;
use surety_security::router::{answer, request};
use surety_security::service::Request;
use surety_security::verify::recompute;
use surety_security::{Lists, SERVICES, Sources};

use crate::{js, real_lists, town};

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

sol! {
    function multicall(bytes[] data) external payable returns (bytes[]);
    function createAndInitializePoolIfNecessary(address token0, address token1, uint24 fee, uint160 price) external payable;
    function addLiquidityETH(address token, uint256 amount, uint256 a, uint256 b, address to, uint256 deadline) external payable;
    struct Position {
        address token0; address token1; uint24 fee; int24 low; int24 high; uint256 desired0; uint256 desired1;
        uint256 least0; uint256 least1; address recipient; uint256 deadline;
    }
    function mint(Position calldata position) external payable;
    function deposit() external payable;
}

const ANA: Address = DEV_ACCOUNTS[0];

/// The world of well-known contracts, and what happened in it before somebody asks.
struct Exchange {
    world: World,
    session: Session,
    token: Address,
}

impl Exchange {
    /// With a token of Ana's. Nothing where its packages are not installed.
    fn new() -> Option<Self> {
        let modules = js::package("")?;
        let built = canonical::build(&modules, town::CHAIN).unwrap();
        let mut made = Self {
            session: Session::new(&built.snapshot(), Limits::default()),
            world: built.genesis.world,
            token: Address::ZERO,
        };
        let supply = U256::from(10).pow(U256::from(24));
        let arguments = ("Plain".to_owned(), "PLN".to_owned(), supply, ANA).abi_encode_params();
        let code = "@openzeppelin/contracts-v4/build/contracts/ERC20PresetFixedSupply.json";
        made.token = made.deploy(code, &arguments);
        Some(made)
    }

    fn deploy(&mut self, package: &str, arguments: &[u8]) -> Address {
        let file = std::fs::read(js::package(package).unwrap()).unwrap();
        let artifact: Value = serde_json::from_slice(&file).unwrap();
        let code = const_hex::decode(artifact["bytecode"].as_str().unwrap()).unwrap();
        self.run(&Call::create(ANA, [code, arguments.to_vec()].concat())).unwrap()
    }

    fn run(&mut self, call: &Call) -> Option<Address> {
        let outcome = self.session.run(call).unwrap();
        assert!(outcome.is_success(), "{:?} {:?}", outcome.status, outcome.revert_reason());
        outcome.created
    }

    fn allow(&mut self, token: Address, spender: Address) {
        self.run(&Call::new(ANA, token, town::approve(spender, U256::MAX)));
    }

    /// The verdict about a call, with the rules that hold or block it.
    fn screen(&self, call: &Call) -> (String, Vec<String>) {
        let mut world = self.world.clone();
        world.apply(self.session.changes());
        let (lists, chains) = (town::lists(), town::chains(Arc::new(world)));
        let tx = json!({"from": call.from, "to": call.to, "value": call.value.to_string(), "data": call.data});
        let body = json!({"chain_id": town::CHAIN.to_string(), "tx": tx}).to_string().into_bytes();
        let question = Request { body, ..request("", "proof=1", Seconds(0)).unwrap() };
        let service = *SERVICES.iter().find(|service| service.name() == "screen").unwrap();
        let reply = answer(service, Sources::new(&lists, &chains), &question).unwrap();
        recompute(service, &lists, &question, reply.body.as_bytes()).unwrap();
        let said: Value = serde_json::from_str(&reply.body).unwrap();
        let checks = said["result"]["checks"].as_array().unwrap().iter();
        let risks = checks.flat_map(|check| check["evidence"].as_array().unwrap().clone());
        let heavy = risks.filter(|risk| risk["severity"] == "quarantine" || risk["severity"] == "block");
        let ids = heavy.map(|risk| risk["id"].as_str().unwrap().to_owned()).collect();
        (said["result"]["verdict"].as_str().unwrap().to_owned(), ids)
    }
}

fn ether(hundredths: u64) -> U256 {
    U256::from(hundredths) * U256::from(10).pow(U256::from(16))
}

fn first_liquidity(router: Address, token: Address, to: Address) -> Call {
    let step =
        addLiquidityETHCall { token, amount: ether(10_000), a: U256::ZERO, b: U256::ZERO, to, deadline: U256::MAX };
    Call::new(ANA, router, step.abi_encode()).value(ether(50))
}

#[test]
fn first_liquidity_of_a_new_pair_passes() {
    let Some(mut exchange) = Exchange::new() else { return };
    exchange.allow(exchange.token, V2_ROUTER);
    let (verdict, heavy) = exchange.screen(&first_liquidity(V2_ROUTER, exchange.token, ANA));
    assert_eq!(heavy, Vec::<String>::new());
    assert!(["allow", "warn"].contains(&verdict.as_str()), "{verdict}");
    // Two tokens, without coins.
    exchange.run(&Call::new(ANA, WETH, depositCall {}.abi_encode()).value(ether(300)));
    exchange.allow(WETH, V2_ROUTER);
    let two = steps::add_token_liquidity(ANA, (exchange.token, ether(10_000)), (WETH, ether(100)));
    assert_eq!(exchange.screen(&two).1, Vec::<String>::new());
}

#[test]
fn first_liquidity_of_a_new_pool_of_uniswap_3_passes() {
    let Some(mut exchange) = Exchange::new() else { return };
    exchange.run(&Call::new(ANA, WETH, depositCall {}.abi_encode()).value(ether(300)));
    for asset in [exchange.token, WETH] {
        exchange.allow(asset, V3_POSITIONS);
    }
    let (token0, token1) = if exchange.token < WETH { (exchange.token, WETH) } else { (WETH, exchange.token) };
    let fee = alloy_primitives::aliases::U24::from(3_000);
    let price = alloy_primitives::aliases::U160::ONE << 96;
    let create = createAndInitializePoolIfNecessaryCall { token0, token1, fee, price };
    let tick = |n: i32| alloy_primitives::aliases::I24::try_from(n).unwrap();
    let position = Position {
        token0,
        token1,
        fee,
        low: tick(-60_000),
        high: tick(60_000),
        desired0: ether(100),
        desired1: ether(100),
        least0: U256::ZERO,
        least1: U256::ZERO,
        recipient: ANA,
        deadline: U256::MAX,
    };
    let data = vec![Bytes::from(create.abi_encode()), mintCall { position }.abi_encode().into()];
    let call = Call::new(ANA, V3_POSITIONS, multicallCall { data }.abi_encode());
    assert!(!exchange.session.code(V3_FACTORY).unwrap().is_empty());
    assert_eq!(exchange.screen(&call).1, Vec::<String>::new());
}

/// The same code, made by somebody else's factory; and the true factory, where the shares are somebody else's.
#[test]
fn first_liquidity_of_a_pair_that_only_looks_like_one_is_held() {
    let Some(mut exchange) = Exchange::new() else { return };
    let factory = exchange.deploy("@uniswap/v2-core/build/UniswapV2Factory.json", &ANA.abi_encode());
    let arguments = (factory, WETH).abi_encode();
    let router = exchange.deploy("@uniswap/v2-periphery/build/UniswapV2Router02.json", &arguments);
    for spender in [router, V2_ROUTER] {
        exchange.allow(exchange.token, spender);
    }
    let thief = Address::from_word(B256::repeat_byte(0x77));
    for call in [first_liquidity(router, exchange.token, ANA), first_liquidity(V2_ROUTER, exchange.token, thief)] {
        let (verdict, heavy) = exchange.screen(&call);
        assert_eq!(verdict, "quarantine");
        assert!(heavy.contains(&"diff.out_to_fresh".to_owned()), "{heavy:?}");
    }
}
