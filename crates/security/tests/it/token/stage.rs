//! A chain with a factory, a router and wrapped coin, and the fixtures of `contracts/fixtures` deployed on it.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use alloy_primitives::{Address, Bytes, U256, address};
use alloy_sol_types::{SolCall, SolValue, sol};
use serde::Deserialize;
use surety_evm::{Call, Head, Limits, Session, Snapshot, World};
use surety_security::token::{Params, Report, assess, market};

sol! {
    function deposit() external payable;
    function approve(address, uint256) external;
    function transfer(address, uint256) external;
    function balanceOf(address) external view returns (uint256);
    function getPair(address, address) external view returns (address);
    function createPair(address, address) external returns (address);
    function mint(address) external returns (uint256);
}

pub(crate) const FACTORY: Address = address!("5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f");
pub(crate) const ROUTER: Address = address!("7a250d5630B4cF539739dF2C5dAcb4c659F2488D");
pub(crate) const COIN: Address = address!("C02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2");
pub(crate) const DEPLOYER: Address = address!("d00000000000000000000000000000000000cafe");

static FIXTURES: LazyLock<BTreeMap<String, Artifact>> = LazyLock::new(|| {
    let text = include_str!("../../../../../contracts/fixtures/artifacts.json");
    serde_json::from_str::<File>(text).unwrap().contracts
});

#[derive(Deserialize)]
struct File {
    contracts: BTreeMap<String, Artifact>,
}

#[derive(Deserialize)]
struct Artifact {
    bytecode: Bytes,
}

/// A session that plays the chain's history, until it is looked at.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) session: Session,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let mut world = World::new();
        for (address, name) in [(FACTORY, "Factory"), (ROUTER, "Router"), (COIN, "Wrapped")] {
            world.insert(address, 1, U256::ZERO, market::runtime(name));
        }
        world.set_storage(ROUTER, U256::ZERO, U256::from_be_slice(FACTORY.as_slice()));
        world.insert(DEPLOYER, 0, U256::from(10).pow(U256::from(24)), Bytes::new());
        let head = Head { number: 20_000_000, ..Head::default() };
        let snapshot = Snapshot { head, source: Arc::new(world) };
        let limits = Limits { session_steps: 1 << 40, ..Limits::default() };
        Self { session: Session::new(&snapshot, limits) }
    }

    pub(crate) fn run(&mut self, to: Address, call: &impl SolCall) -> Bytes {
        let outcome = self.session.run(&Call::new(DEPLOYER, to, call.abi_encode())).unwrap();
        assert!(outcome.is_success(), "{:?} {:?}", outcome.status, outcome.revert_reason());
        outcome.output
    }

    pub(crate) fn create(&mut self, init: impl Into<Bytes>) -> Address {
        let outcome = self.session.run(&Call::create(DEPLOYER, init)).unwrap();
        assert!(outcome.is_success(), "{:?} {:?}", outcome.status, outcome.revert_reason());
        outcome.created.unwrap()
    }

    /// Deploys a fixture with the chain's factory and coin.
    pub(crate) fn fixture(&mut self, name: &str) -> Address {
        self.create(init_code(name))
    }

    /// Gives the token a pool with a fifth of what its deployer has and a hundred coins.
    pub(crate) fn pool(&mut self, token: Address) -> Address {
        let mut pair = Address::abi_decode(&self.run(FACTORY, &getPairCall { _0: token, _1: COIN })).unwrap();
        if pair.is_zero() {
            pair = Address::abi_decode(&self.run(FACTORY, &createPairCall { _0: token, _1: COIN })).unwrap();
        }
        let coins = U256::from(10).pow(U256::from(20));
        let deposit = Call::new(DEPLOYER, COIN, depositCall {}.abi_encode()).value(coins);
        assert!(self.session.run(&deposit).unwrap().is_success());
        let has = U256::abi_decode(&self.run(token, &balanceOfCall(DEPLOYER))).unwrap();
        self.run(token, &transferCall { _0: pair, _1: has / U256::from(5) });
        self.run(COIN, &transferCall { _0: pair, _1: coins });
        self.run(pair, &mintCall(DEPLOYER));
        pair
    }

    /// The chain as it is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { head: self.session.head().clone(), source: Arc::new(self.world()) }
    }

    /// Its state.
    pub(crate) fn world(&self) -> World {
        let mut world = World::new();
        for (address, name) in [(FACTORY, "Factory"), (ROUTER, "Router"), (COIN, "Wrapped")] {
            world.insert(address, 1, U256::ZERO, market::runtime(name));
        }
        world.set_storage(ROUTER, U256::ZERO, U256::from_be_slice(FACTORY.as_slice()));
        world.apply(self.session.changes());
        world
    }

    pub(crate) fn assess(&self, token: Address) -> Report {
        assess(&self.snapshot(), token, &Params::default(), None).unwrap()
    }
}

/// The init code of a fixture with its arguments.
pub(crate) fn init_code(name: &str) -> Bytes {
    let artifact = FIXTURES.get(name).unwrap_or_else(|| panic!("no fixture {name}"));
    let arguments = match name.starts_with("SwapBack") || name == "LaunchKit" {
        true => (FACTORY, COIN, ROUTER).abi_encode(),
        false => (FACTORY, COIN).abi_encode(),
    };
    [artifact.bytecode.to_vec(), arguments].concat().into()
}

/// A fixture in a chain of its own, assessed.
pub(crate) fn judged(name: &str) -> Report {
    let mut stage = Stage::new();
    let token = stage.fixture(name);
    stage.assess(token)
}
