//! What `address_security` says of the code at an address: whether it keeps to the standard that it answers by, what it costs
//! those who use it, and whether other code can stand there.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, address};
use alloy_sol_types::{SolCall, SolValue, sol};
use serde_json::{Value, json};
use surety_evm::canonical::steps::{Terms, sign};
use surety_evm::chain::{Clock, Config, DEV_ACCOUNTS, DEV_KEYS, DevChain, fund};
use surety_evm::{Call, Chain, Limits, Session, World};
use surety_primitives::Seconds;
use surety_security::address::AddressSecurity;
use surety_security::router::{answer, request};
use surety_security::verify::recompute;
use surety_security::{Chains, Lists, Sources};

use super::stage::{Stage, init_code, judged};
use crate::town;

sol! {
    function make() external returns (address);
    function flash() external;
    function next() external returns (address);
    function blow() external;
}

const CHAIN: u64 = 31_337;

/// What is said of an address on a chain, which comes out again from its evidence: the fields, and all around them.
fn ask(chains: &Chains, address: Address) -> (Value, Value) {
    let lists = Lists::default();
    let question = request(&address.to_string(), &format!("chain_id={CHAIN}&proof=1"), Seconds(0)).unwrap();
    let reply = answer(&AddressSecurity, Sources::new(&lists, chains), &question).unwrap();
    recompute(&AddressSecurity, &lists, &question, reply.body.as_bytes()).unwrap();
    let said: Value = serde_json::from_str(&reply.body).unwrap();
    (said["result"].clone(), said["surety"].clone())
}

/// A field, or why it is not known.
fn told(said: &(Value, Value), field: &str) -> String {
    let (result, surety) = said;
    let unknown = surety["unknown"].as_array().unwrap().iter().find(|unknown| unknown["field"] == field);
    match (result[field].as_str(), unknown) {
        (Some(value), None) => value.to_owned(),
        (None, Some(unknown)) => unknown["reason"].as_str().unwrap().to_owned(),
        both => panic!("{field}: {both:?}"),
    }
}

fn of_fixture(name: &str) -> (Value, Value) {
    let mut stage = Stage::new();
    let contract = stage.fixture(name);
    ask(&town::chains(Arc::new(stage.world())), contract)
}

/// Fixture, `fake_standard_interface`, `gas_abuse`.
const SAID: &[(&str, &str, &str)] = &[
    ("Standard", "0", "0"),
    ("StandardRaw", "0", "0"),
    ("FeeOnePercent", "0", "0"),
    ("SwapBack", "0", "0"),
    ("Rebasing", "0", "0"),
    ("NoReturnValue", "0", "0"),
    ("ReturnsFalse", "0", "0"),
    ("ZeroDecimals", "0", "0"),
    ("SeventySevenDecimals", "0", "0"),
    ("Hooked", "0", "0"),
    ("ConstantAntiWhale", "0", "0"),
    ("Votes", "0", "0"),
    ("KeepsCheckpoints", "0", "0"),
    ("Reflects", "0", "0"),
    ("ProxyToken", "0", "0"),
    ("Cloned", "0", "0"),
    ("PausableStable", "0", "0"),
    ("EverybodyUses", "0", "0"),
    ("TrapWhitelist", "0", "0"),
    ("HonestItems", "0", "0"),
    ("EmptyItems", "0", "0"),
    ("HonestMulti", "0", "0"),
    ("StakingLedger", "0", "0"),
    ("BooksReceipts", "0", "0"),
    ("HonestVault", "0", "0"),
    ("Frozen", "unsupported_contract", "unsupported_contract"),
    ("SaysMoved", "1", "0"),
    ("SaysMovedRaw", "1", "0"),
    ("EverybodyHas", "1", "0"),
    ("TellsOfOthers", "1", "0"),
    ("TakesUnasked", "1", "0"),
    ("ForgetsApprovals", "1", "0"),
    ("AnswersOne", "1", "0"),
    ("ItemsStay", "1", "0"),
    ("ItemsOfNobody", "1", "0"),
    ("ClaimsItems", "1", "0"),
    ("MultiForAll", "1", "0"),
    ("BuysStorage", "0", "1"),
    ("BuysOnApproval", "0", "1"),
    ("GasThief", "0", "1"),
    ("MinesOnReceipt", "0", "1"),
];

#[test]
fn what_keeps_to_its_standard_is_told_from_what_only_answers_by_it() {
    let mut wrong = Vec::new();
    for (name, fake, gas) in SAID {
        let said = of_fixture(name);
        let both = (told(&said, "fake_standard_interface"), told(&said, "gas_abuse"));
        if (both.0.as_str(), both.1.as_str()) != (*fake, *gas) {
            let sim = said.1["evidence"].as_array().unwrap().iter().find(|item| item["kind"] == "sim").cloned();
            let seen = sim.map(|sim| (sim["claims"].clone(), sim["lies"].clone(), sim["waste"].clone()));
            wrong.push((name, both, seen));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_is_bad_by_its_code_alone_is_bad_and_shows_how_it_was_found() {
    let (result, surety) = of_fixture("SaysMoved");
    assert_eq!(result["verdict"], "bad");
    let sim = surety["evidence"].as_array().unwrap().iter().find(|item| item["kind"] == "sim").unwrap();
    assert_eq!(sim["fields"], json!(["fake_standard_interface", "gas_abuse"]));
    assert_eq!((&sim["claims"], &sim["lies"]), (&json!(["erc20"]), &json!(["moves_nothing"])));
    let act = sim["acts"].as_array().unwrap().iter().find(|act| act["act"] == "transfer").unwrap();
    assert_eq!((&act["said"], &act["got"], &act["status"]), (&json!(true), &json!("0x0"), &json!("success")));
    assert_eq!(of_fixture("Standard").0["verdict"], "unknown");
}

#[test]
fn a_chain_that_does_not_answer_leaves_nothing_clean() {
    let silent = town::chains(Arc::new(town::Silent(surety_evm::StateError::Deadline)));
    let elsewhere = Chains::from([(1, Arc::clone(&silent[&town::CHAIN]))]);
    let lists = Lists::default();
    let without = request(&Address::repeat_byte(7).to_string(), "", Seconds(0)).unwrap();
    let without = answer(&AddressSecurity, Sources::new(&lists, &elsewhere), &without).unwrap();
    let without: Value = serde_json::from_str(&without.body).unwrap();
    for field in ["fake_standard_interface", "gas_abuse", "reinit"] {
        assert_eq!(told(&ask(&silent, Address::repeat_byte(7)), field), "deadline");
        assert_eq!(told(&(without["result"].clone(), without["surety"].clone()), field), "no_state");
    }
}

/// A chain whose first account makes things.
struct Local {
    chain: Arc<DevChain>,
    nonce: u64,
}

impl Local {
    fn new() -> Self {
        let mut world = World::new();
        fund(&mut world);
        let config = Config { chain_id: CHAIN, clock: Clock::Step(12), ..Config::default() };
        Self { chain: Arc::new(DevChain::new(config, world)), nonce: 0 }
    }

    fn send(&mut self, call: &Call) {
        let terms = Terms { chain_id: CHAIN, nonce: self.nonce, gas: 3_000_000, max_fee: 1 << 40, tip: 1 };
        let hash = self.chain.submit(&sign(DEV_KEYS[0], call, terms).unwrap()).unwrap();
        let (block, index) = self.chain.find(&hash).unwrap();
        assert!(block.transactions[index].receipt.status());
        self.nonce += 1;
    }

    fn act(&mut self, to: Address, call: &impl SolCall) {
        self.send(&Call::new(DEV_ACCOUNTS[0], to, call.abi_encode()));
    }

    /// What a call would return.
    fn peek(&self, to: Address, call: &impl SolCall) -> Address {
        let snapshot = self.chain.snapshot(None).unwrap();
        let mut session = Session::new(&snapshot, Limits::default());
        let outcome = session.peek(&Call::new(DEV_ACCOUNTS[0], to, call.abi_encode())).unwrap();
        Address::abi_decode(&outcome.output).unwrap()
    }

    fn code(&self, at: Address) -> Bytes {
        let snapshot = self.chain.snapshot(None).unwrap();
        Session::new(&snapshot, Limits::default()).code(at).unwrap()
    }

    fn reinit(&self, at: Address) -> String {
        let chain: Arc<dyn Chain> = Arc::<DevChain>::clone(&self.chain);
        told(&ask(&Chains::from([(CHAIN, chain)]), at), "reinit")
    }
}

#[test]
fn code_that_came_twice_or_can_come_back_is_told_from_code_that_stays() {
    let mut local = Local::new();
    let maker = DEV_ACCOUNTS[0].create(0);
    local.send(&Call::create(DEV_ACCOUNTS[0], init_code("FuseMaker")));
    let fuse = local.peek(maker, &makeCall {});
    assert_eq!(local.reinit(fuse), "0", "nothing ever stood there");
    // For the length of a transaction it stands, and is gone; and so it can come back.
    local.act(maker, &flashCall {});
    assert!(local.code(fuse).is_empty());
    assert_eq!(local.reinit(fuse), "1");
    local.act(maker, &makeCall {});
    assert!(!local.code(fuse).is_empty());
    assert_eq!(local.reinit(fuse), "1", "it stands for the second time");
    // Since EIP-6780 what stands stays, whatever it says: destroying it leaves its code.
    let other = local.peek(maker, &nextCall {});
    local.act(maker, &nextCall {});
    local.act(other, &blowCall {});
    assert!(!local.code(other).is_empty());
    for stays in [other, maker, DEV_ACCOUNTS[0], address!("00000000000000000000000000000000000000ff")] {
        assert_eq!(local.reinit(stays), "0", "{stays}");
    }
}

#[test]
fn of_a_contract_without_a_history_nobody_says_that_it_was_never_another() {
    let said = of_fixture("Standard");
    assert_eq!(told(&said, "reinit"), "no_history");
    let item = said.1["evidence"].as_array().unwrap().iter().find(|item| item["kind"] == "static").unwrap();
    assert_eq!((&item["fields"], &item["eip_6780"]), (&json!(["reinit"]), &json!(true)));
    assert_ne!(item["codehash"], B256::ZERO.to_string());
}

#[test]
fn an_airdrop_that_cannot_be_moved_is_a_scam_and_nothing_else_is_said_not_to_be() {
    assert_eq!(judged("EverybodyHas").flag("is_airdrop_scam"), Some(true));
    for name in ["EverybodyUses", "Standard", "TrapWhitelist"] {
        assert_eq!(judged(name).flag("is_airdrop_scam"), None, "{name}");
    }
}

#[test]
fn storage_that_holders_pay_for_is_found_by_trading_too() {
    for (name, expected) in [("BuysStorage", true), ("BuysOnApproval", true), ("KeepsCheckpoints", false)] {
        assert_eq!(judged(name).flag("gas_abuse"), Some(expected), "{name}");
    }
}
