//! Speed of simulation on contracts from the npm packages of `tests/js`: warm, with everything that a trace keeps.
//!
//! Run with `cargo bench -p surety-evm`. Without the packages there is nothing to measure, and it says so.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::sync::{Arc, LazyLock};

use alloy_primitives::{Address, U256, hex};
use alloy_sol_types::{SolCall, SolValue, sol};
use divan::Bencher;
use surety_evm::{Call, Head, Limits, Session, Snapshot, World};

sol! {
    function transfer(address to, uint256 amount);
    function approve(address spender, uint256 amount);
    function addLiquidityETH(address token, uint256 amount, uint256 min, uint256 minEth, address to, uint256 deadline);
    function swapExactETHForTokens(uint256 min, address[] path, address to, uint256 deadline);
}

const ANA: Address = Address::repeat_byte(0xaa);
const BEN: Address = Address::repeat_byte(0xbb);

/// A world with a token, and a pool of it at the V2 router.
struct Market {
    snapshot: Snapshot,
    transfer: Call,
    swap: Call,
}

static MARKET: LazyLock<Option<Market>> = LazyLock::new(market);

fn main() {
    if MARKET.is_none() {
        println!("SKIPPED: @uniswap/v2-core and @uniswap/v2-periphery are not installed in tests/js");
        return;
    }
    divan::main();
}

fn init_code(path: &str) -> Option<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/js/node_modules/@uniswap").join(path);
    let artifact: serde_json::Value = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    let code = artifact["bytecode"].as_str().or_else(|| artifact["evm"]["bytecode"]["object"].as_str())?;
    hex::decode(code).ok()
}

fn deploy(session: &mut Session, path: &str, arguments: impl SolValue) -> Option<Address> {
    let mut code = init_code(path)?;
    code.extend(arguments.abi_encode());
    session.run(&Call::create(ANA, code)).unwrap().created
}

fn market() -> Option<Market> {
    let ether = U256::from(10u64.pow(18));
    let mut world = World::new();
    world.set_balance(ANA, ether * U256::from(1000));
    let head = Head::default();
    let empty = Snapshot { head: head.clone(), source: Arc::new(world.clone()) };
    let mut session = Session::new(&empty, Limits::default());
    let weth = deploy(&mut session, "v2-periphery/build/WETH9.json", ())?;
    let factory = deploy(&mut session, "v2-core/build/UniswapV2Factory.json", ANA)?;
    let router = deploy(&mut session, "v2-periphery/build/UniswapV2Router02.json", (factory, weth))?;
    let token = deploy(&mut session, "v2-core/build/ERC20.json", ether * U256::from(10_000))?;
    let deadline = U256::from(head.timestamp);
    let approve = approveCall { spender: router, amount: U256::MAX };
    let add = addLiquidityETHCall {
        token,
        amount: ether * U256::from(1000),
        min: U256::ZERO,
        minEth: U256::ZERO,
        to: ANA,
        deadline,
    };
    let swap = swapExactETHForTokensCall { min: U256::ZERO, path: vec![weth, token], to: ANA, deadline };
    let transfer = transferCall { to: BEN, amount: ether };
    let calls = [
        Call::new(ANA, token, approve.abi_encode()),
        Call::new(ANA, router, add.abi_encode()).value(ether * U256::from(10)),
    ];
    for call in &calls {
        assert!(session.run(call).unwrap().is_success());
    }
    world.apply(session.changes());
    Some(Market {
        snapshot: Snapshot { head, source: Arc::new(world) },
        transfer: Call::new(ANA, token, transfer.abi_encode()),
        swap: Call::new(ANA, router, swap.abi_encode()).value(ether),
    })
}

fn bench(bencher: Bencher<'_, '_>, call: impl Fn(&Market) -> &Call + Sync, work: impl Fn(&mut Session, &Call) + Sync) {
    let market = MARKET.as_ref().unwrap();
    bencher.bench(|| {
        let mut session = Session::new(&market.snapshot, Limits::default());
        work(&mut session, call(market));
        session
    });
}

#[divan::bench]
fn transfer(bencher: Bencher<'_, '_>) {
    bench(bencher, |market| &market.transfer, |session, call| assert!(session.run(call).unwrap().is_success()));
}

#[divan::bench]
fn swap(bencher: Bencher<'_, '_>) {
    bench(bencher, |market| &market.swap, |session, call| assert!(session.run(call).unwrap().is_success()));
}

#[divan::bench]
fn swap_with_asset_changes(bencher: Bencher<'_, '_>) {
    bench(
        bencher,
        |market| &market.swap,
        |session, call| {
            assert!(session.simulate(call).unwrap().outcome.is_success());
        },
    );
}
