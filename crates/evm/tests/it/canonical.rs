//! The canonical world: reproducible, complete where the packages are, and a place to trade.

use std::path::Path;

use alloy_primitives::{Address, B256, U256, address, b256, keccak256};
use alloy_sol_types::{SolCall, SolValue, sol};
use surety_evm::canonical::steps::{self, perform};
use surety_evm::canonical::{self, Canonical};
use surety_evm::chain::DEV_ACCOUNTS;
use surety_evm::{Call, Limits, Session};

use crate::npm;

sol! {
    function factory() returns (address);
    function WETH() returns (address);
    function WETH9() returns (address);
    function senderCreator() returns (address);
    function name() returns (string);
    function decimals() returns (uint8);
    function admin() returns (address);
    function owner() returns (address);
    function createPool(address a, address b, uint24 fee) returns (address);
    function totalSupply() returns (uint256);
}

const ANA: Address = DEV_ACCOUNTS[0];
const ETHER: U256 = U256::from_limbs([1_000_000_000_000_000_000, 0, 0, 0]);

/// The state root for chain 31337 with the pinned packages. It changes only with them or with the builder, on purpose.
const ROOT: B256 = b256!("0x6e92e19d104329ee58b637c17869b3701f1010a4293f12ed9681def102c09d04");

/// The world, when the packages are installed.
pub(crate) fn world() -> Option<Canonical> {
    npm::package("@uniswap/v2-core")?;
    Some(canonical::build(&npm::folder().join("node_modules"), 31_337).unwrap())
}

pub(crate) fn session(world: &Canonical) -> Session {
    Session::new(&world.snapshot(), Limits::default())
}

fn ask<C: SolCall>(session: &mut Session, to: Address, call: C) -> C::Return {
    let outcome = session.peek(&Call::new(ANA, to, call.abi_encode())).unwrap();
    assert!(outcome.is_success(), "{:?}", outcome.status);
    C::abi_decode_returns(&outcome.output).unwrap()
}

#[test]
fn the_world_has_one_root() {
    let Some(world) = world() else { return };
    let again = self::world().unwrap();
    assert_eq!(world.root, again.root);
    assert_eq!(world.root, world.genesis.world.root());
    assert_eq!(world.root, ROOT, "places: {:#?}", world.places);
}

#[test]
fn the_contracts_know_each_other_by_their_mainnet_addresses() {
    let Some(world) = world() else { return };
    let mut session = session(&world);
    for router in [canonical::V2_ROUTER, canonical::PANCAKE_ROUTER] {
        assert_eq!(ask(&mut session, router, factoryCall {}), canonical::V2_FACTORY);
        assert_eq!(ask(&mut session, router, WETHCall {}), canonical::WETH);
    }
    for periphery in [canonical::V3_ROUTER, canonical::V3_POSITIONS] {
        assert_eq!(ask(&mut session, periphery, factoryCall {}), canonical::V3_FACTORY);
        assert_eq!(ask(&mut session, periphery, WETH9Call {}), canonical::WETH);
    }
    // The helper contract that the entry point has on mainnet, which follows from its address and nonce.
    let creator = address!("0x449ED7C3e6Fee6a97311d4b55475DF59C44AdD33");
    assert_eq!(ask(&mut session, canonical::ENTRY_POINT, senderCreatorCall {}), creator);
    assert!(!session.code(creator).unwrap().is_empty());
    assert!(!world.has(surety_evm::PERMIT2), "no package brings it");
    assert_eq!(world.places.iter().filter(|place| place.code_hash.is_none()).count(), 1);
}

#[test]
fn usdc_and_usdt_are_proxied_minted_and_used_by_others_than_their_stewards() {
    let Some(world) = world() else { return };
    let mut session = session(&world);
    assert_eq!(ask(&mut session, canonical::USDC, nameCall {}), "USD Coin");
    assert_eq!(ask(&mut session, canonical::USDC, ownerCall {}), canonical::STEWARD);
    for token in [canonical::USDC, canonical::USDT] {
        assert_eq!(ask(&mut session, token, decimalsCall {}), 6);
        assert_eq!(ask(&mut session, token, totalSupplyCall {}), U256::from(10_000_000_000_000u64));
        perform(&mut session, &steps::transfer(ANA, token, DEV_ACCOUNTS[1], U256::from(5))).unwrap();
        let received = steps::balance_of(&mut session, token, DEV_ACCOUNTS[1]).unwrap();
        assert_eq!(received, U256::from(1_000_000_000_005u64));
    }
    // The habit that broke many contracts: a transfer of Tether returns nothing.
    let outcome = perform(&mut session, &steps::transfer(ANA, canonical::USDT, DEV_ACCOUNTS[1], U256::ONE)).unwrap();
    assert!(outcome.output.is_empty());
    let as_admin = Call::new(canonical::PROXY_ADMIN, canonical::USDC, adminCall {}.abi_encode());
    assert_eq!(
        session.peek(&as_admin).unwrap().word().unwrap(),
        U256::from_be_bytes(canonical::PROXY_ADMIN.into_word().0)
    );
}

#[test]
fn a_token_can_be_deployed_given_a_pool_bought_and_sold() {
    let Some(world) = world() else { return };
    let mut session = session(&world);
    let Some(code) = npm::init_code("@openzeppelin/contracts-v4/build/contracts/ERC20PresetFixedSupply.json") else {
        return;
    };
    let supply = U256::from(1_000_000) * ETHER;
    let arguments = ("Plain".to_owned(), "PLN".to_owned(), supply, ANA).abi_encode_params();
    let token = steps::deploy(&mut session, ANA, &code, &arguments).unwrap();
    perform(&mut session, &steps::approve(ANA, token, canonical::V2_ROUTER, U256::MAX)).unwrap();
    perform(&mut session, &steps::add_liquidity(ANA, token, supply / U256::from(2), U256::from(100) * ETHER)).unwrap();
    let pair = steps::pair_of(token, canonical::WETH);
    assert_eq!(steps::balance_of(&mut session, token, pair).unwrap(), supply / U256::from(2));

    let bob = DEV_ACCOUNTS[1];
    perform(&mut session, &steps::buy(bob, token, ETHER)).unwrap();
    let bought = steps::balance_of(&mut session, token, bob).unwrap();
    // 1 ether less 0.3 % into a pool of 100 and 500,000.
    assert_eq!(bought, U256::from(4_935_790_171_985_306_494_252u128));
    perform(&mut session, &steps::approve(bob, token, canonical::V2_ROUTER, U256::MAX)).unwrap();
    let before = session.balance(bob).unwrap();
    perform(&mut session, &steps::sell(bob, token, bought)).unwrap();
    let back = session.balance(bob).unwrap() - before;
    assert!(back < ETHER && back > ETHER * U256::from(99) / U256::from(100), "{back}");
    perform(&mut session, &steps::buy(bob, token, ETHER)).unwrap();
    perform(&mut session, &steps::create_pair(bob, token, canonical::USDC)).unwrap();
    assert!(!session.code(steps::pair_of(canonical::USDC, token)).unwrap().is_empty());
    assert!(perform(&mut session, &steps::create_pair(bob, token, canonical::USDC)).is_err(), "it exists");
}

#[test]
fn a_v3_pool_is_where_the_periphery_looks_for_it() {
    let Some(world) = world() else { return };
    let mut session = session(&world);
    let (token0, token1) = (canonical::USDC, canonical::WETH);
    let create = createPoolCall { a: token1, b: token0, fee: alloy_primitives::aliases::U24::from(3000) };
    let pool = perform(&mut session, &Call::new(ANA, canonical::V3_FACTORY, create.abi_encode())).unwrap();
    // The hash of the pool's init code that the periphery has written in it.
    let code = b256!("0xe34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54");
    let salt = keccak256((token0, token1, U256::from(3000)).abi_encode());
    assert_eq!(Address::from_word(pool.word().unwrap().into()), canonical::V3_FACTORY.create2(salt, code));
}

#[test]
fn what_is_not_installed_stays_empty_and_is_said() {
    let world = canonical::build(Path::new("/nowhere"), 31_337).unwrap();
    assert!(world.has(canonical::USDT), "the stand-in is our own");
    assert!(!world.has(canonical::V2_ROUTER));
    assert!(world.genesis.world.get(canonical::V2_ROUTER).is_none());
    assert_eq!(world.places.iter().filter(|place| place.code_hash.is_some()).count(), 1);
    assert_eq!(world.places.len(), 11);
}

#[test]
fn the_stand_in_for_tether_is_what_its_source_compiles_to() {
    if npm::package("solc").is_none() {
        return;
    }
    let kept = include_str!("../../src/canonical/tether/init.hex");
    assert_eq!(npm::run("tether.cjs").as_ref(), kept.as_bytes());
}
