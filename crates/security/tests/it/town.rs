//! A small chain for tests: tokens compiled from this project's own sources, a few accounts, one block.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::{SolCall, SolValue, sol};
use serde_json::Value;
use surety_evm::{Call, Chain, Head, Limits, Session, Snapshot, Source, StateError, World};
use surety_security::lists::{Dataset, Format, Pin, Semantics, Source as Listed, SourceSpec, Subject};
use surety_security::{Chains, Lists};

sol! {
    function transfer(address to, uint256 value) external returns (bool);
    function approve(address spender, uint256 value) external returns (bool);
    function transferFrom(address from, address to, uint256 value) external returns (bool);
}

pub(crate) const CHAIN: u64 = 31_337;
pub(crate) const ALICE: Address = address!("a11ce00000000000000000000000000000000001");
pub(crate) const BOB: Address = address!("b0b0000000000000000000000000000000000002");
pub(crate) const DRAINER: Address = address!("d4a1000000000000000000000000000000000003");
pub(crate) const WALLET: Address = address!("0000000000000000000000000000000000cafe04");
/// May take Alice's tokens.
pub(crate) const TAKER: Address = address!("7a4e000000000000000000000000000000000006");
/// Where the exchange's factory and the wrapped coin stand on the main network.
const FACTORY: Address = address!("5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f");
const ROUTER: Address = address!("7a250d5630B4cF539739dF2C5dAcb4c659F2488D");
const WETH: Address = address!("C02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2");

/// Runs forever.
pub(crate) const LOOP: Address = address!("1000000000000000000000000000000000000005");

/// The world, with its tokens.
pub(crate) struct Town {
    pub(crate) world: World,
    pub(crate) token: Address,
    pub(crate) liar: Address,
    /// Bought by anyone, sold by nobody but those whom its owner names.
    pub(crate) trap: Address,
}

fn artifact(file: &str, name: &str) -> Bytes {
    let file: Value = serde_json::from_str(file).unwrap();
    file["contracts"][name]["bytecode"].as_str().unwrap().parse().unwrap()
}

fn deploy(session: &mut Session, code: &Bytes, arguments: &[u8]) -> Address {
    let code: Bytes = [code, arguments].concat().into();
    let outcome = session.run(&Call::create(ALICE, code)).unwrap();
    assert!(outcome.is_success(), "{:?}", outcome.status);
    outcome.created.unwrap()
}

impl Town {
    pub(crate) fn new() -> Self {
        let fixtures = include_str!("../../../../contracts/fixtures/artifacts.json");
        let market = include_str!("../../../../contracts/fixtures/market.json");
        let mut world = World::default();
        let ether = U256::from(10).pow(U256::from(20));
        world.set_balance(ALICE, ether);
        world.set_balance(BOB, ether);
        world.set_balance(TAKER, ether);
        // JUMPDEST PUSH1 0 JUMP
        world.insert(LOOP, 1, U256::ZERO, Bytes::from_static(&[0x5b, 0x60, 0x00, 0x56]));
        world.insert(DRAINER, 1, U256::ZERO, Bytes::from_static(&[0x00]));
        let mut session = Session::new(&snapshot(world.clone()), Limits::default());
        let factory = deploy(&mut session, &artifact(market, "Factory"), &[]);
        let code = session.code(factory).unwrap();
        session.set_code(FACTORY, code).unwrap();
        for (name, address) in [("Router", ROUTER), ("Wrapped", WETH)] {
            let made = deploy(&mut session, &artifact(market, name), &[]);
            let code = session.code(made).unwrap();
            session.set_code(address, code).unwrap();
        }
        session.set_storage(ROUTER, U256::ZERO, U256::from_be_slice(FACTORY.as_slice())).unwrap();
        let arguments = (FACTORY, WETH).abi_encode();
        let token = deploy(&mut session, &artifact(fixtures, "Standard"), &arguments);
        let liar = deploy(&mut session, &artifact(fixtures, "TrapFalseLogs"), &arguments);
        let trap = deploy(&mut session, &artifact(fixtures, "TrapWhitelist"), &arguments);
        for sold in [token, trap] {
            assert!(session.run(&Call::new(ALICE, sold, approve(TAKER, U256::MAX))).unwrap().is_success());
        }
        world.apply(session.changes());
        Self { world, token, liar, trap }
    }

    /// Lets somebody take all of Alice's tokens.
    pub(crate) fn allow(&mut self, token: Address, spender: Address) {
        let mut session = Session::new(&snapshot(self.world.clone()), Limits::default());
        assert!(session.run(&Call::new(ALICE, token, approve(spender, U256::MAX))).unwrap().is_success());
        self.world.apply(session.changes());
    }

    pub(crate) fn chains(&self) -> Chains {
        chains(Arc::new(self.world.clone()))
    }
}

fn head() -> Head {
    Head { chain_id: CHAIN, number: 7, hash: B256::repeat_byte(7), ..Head::default() }
}

fn snapshot(world: World) -> Snapshot {
    Snapshot { head: head(), source: Arc::new(world) }
}

/// One block of a chain.
struct OneBlock(Snapshot);

impl Chain for OneBlock {
    fn chain_id(&self) -> u64 {
        self.0.head.chain_id
    }

    fn snapshot(&self, block: Option<u64>) -> Result<Snapshot, StateError> {
        match block {
            None | Some(7) => Ok(self.0.clone()),
            Some(other) => Err(StateError::Absent { what: format!("block {other}") }),
        }
    }
}

/// A chain of one block over any state.
pub(crate) fn chains(source: Arc<dyn Source>) -> Chains {
    let chain: Arc<dyn Chain> = Arc::new(OneBlock(Snapshot { head: head(), source }));
    Chains::from([(CHAIN, chain)])
}

/// A node that answers nothing.
#[derive(Debug)]
pub(crate) struct Silent(pub(crate) StateError);

impl Source for Silent {
    fn account(&self, _: Address) -> Result<Option<surety_evm::Account>, StateError> {
        Err(self.0.clone())
    }

    fn code(&self, _: Address, _: B256) -> Result<Bytes, StateError> {
        Err(self.0.clone())
    }

    fn storage(&self, _: Address, _: U256) -> Result<U256, StateError> {
        Err(self.0.clone())
    }

    fn block_hash(&self, _: u64) -> Result<B256, StateError> {
        Err(self.0.clone())
    }
}

/// A list that names the drainer and trusts one address.
pub(crate) fn addresses() -> Dataset {
    let spec = |name: &str, semantics, label: &str| SourceSpec {
        name: name.to_owned(),
        version: "1".to_owned(),
        as_of: "2026-02-03".parse().unwrap(),
        licence: "MIT".to_owned(),
        format: Format::Lines,
        subject: Subject::Address,
        semantics,
        label: label.to_owned(),
    };
    let bad = format!("{DRAINER}\n");
    let bad = Listed::read(&spec("bad", Semantics::Label, "phish-hack"), bad.as_bytes()).unwrap().remove(0);
    Dataset::merge("addresses", "1", vec![bad])
        .unwrap()
        .with_pin(Pin { id: surety_primitives::DatasetId(2), version: 1 })
}

pub(crate) fn lists() -> Lists {
    Lists::new(None, Some(addresses()))
}

pub(crate) fn transfer(to: Address, value: u64) -> Bytes {
    transferCall { to, value: U256::from(value) }.abi_encode().into()
}

pub(crate) fn approve(spender: Address, value: U256) -> Bytes {
    approveCall { spender, value }.abi_encode().into()
}

/// What the taker calls to get something of Alice's.
pub(crate) fn take(value: u64) -> Bytes {
    transferFromCall { from: ALICE, to: TAKER, value: U256::from(value) }.abi_encode().into()
}

/// The body that asks about a transaction of Alice's.
pub(crate) fn asked(to: Address, value: u64, data: &Bytes) -> Vec<u8> {
    let tx = serde_json::json!({"from": ALICE, "to": to, "value": value.to_string(), "data": data});
    serde_json::json!({"chain_id": CHAIN.to_string(), "tx": tx}).to_string().into_bytes()
}
