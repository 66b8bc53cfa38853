//! `screen`, `input_decode` and the token services on the seam.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256};
use proptest::prelude::*;
use serde_json::{Value, json};
use surety_evm::StateError;
use surety_primitives::Seconds;
use surety_security::history::Past;
use surety_security::router::{answer, request, respond};
use surety_security::service::{Request, service_of};
use surety_security::verify::{Error, recompute};
use surety_security::{Chains, Lists, SERVICES, Service, Sources};

use crate::town::{
    ALICE, BOB, CHAIN, DRAINER, LOOP, Silent, TAKER, Town, approve, asked, chains, lists, take, transfer,
};

fn service(name: &str) -> &'static dyn Service {
    *SERVICES.iter().find(|service| service.name() == name).unwrap()
}

fn ask_on(name: &str, lists: &Lists, chains: &Chains, body: Vec<u8>) -> Value {
    let question = Request { body, ..request("", "proof=1", Seconds(0)).unwrap() };
    let reply = answer(service(name), Sources::new(lists, chains), &question);
    if let Ok(reply) = &reply {
        // Whatever is said is said again by whoever computes it from the evidence.
        recompute(service(name), lists, &question, reply.body.as_bytes()).unwrap();
    }
    serde_json::from_str(&reply.map_or_else(|refusal| refusal.body(), |reply| reply.body)).unwrap()
}

fn screen(town: &Town, to: Address, value: u64, data: &Bytes) -> Value {
    ask_on("screen", &lists(), &town.chains(), asked(to, value, data))
}

fn check<'a>(said: &'a Value, name: &str) -> &'a Value {
    said["result"]["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap()
}

#[test]
fn a_plain_transfer_is_allowed() {
    let town = Town::new();
    for (to, value, data) in [(BOB, 1_000, Bytes::new()), (town.token, 0, transfer(BOB, 5))] {
        let said = screen(&town, to, value, &data);
        assert_eq!((&said["result"]["verdict"], &said["result"]["status"]), (&json!("allow"), &json!(0)), "{said}");
        assert_eq!(check(&said, "simulation")["outcome"], "passed", "{said}");
        assert_eq!(check(&said, "lists")["outcome"], "passed", "{said}");
    }
}

#[test]
fn an_approval_to_a_listed_drainer_is_blocked() {
    let town = Town::new();
    let said = screen(&town, town.token, 0, &approve(DRAINER, U256::MAX));
    assert_eq!((&said["result"]["verdict"], &said["result"]["status"]), (&json!("block"), &json!(3)), "{said}");
    assert!(said["result"]["risk_score"].as_u64().unwrap() > 9_500);
    assert_eq!(check(&said, "rules")["outcome"], "unsafe");
    assert!(check(&said, "rules")["evidence"].as_array().unwrap().iter().any(|risk| risk["id"] == "approve.listed"));
    assert_eq!(said["surety"]["standing"], "attested");
}

#[test]
fn a_token_that_cannot_be_sold_is_not_bought() {
    let town = Town::new();
    let buy = |token: Address| {
        let tx = json!({"from": TAKER, "to": token, "data": take(1_000)});
        let body = json!({"chain_id": CHAIN, "tx": tx}).to_string().into_bytes();
        ask_on("screen", &lists(), &town.chains(), body)
    };
    let trap = buy(town.trap);
    assert_eq!(
        (&trap["result"]["verdict"], &check(&trap, "token")["severity"]),
        (&json!("block"), &json!("block")),
        "{trap}"
    );
    let honest = buy(town.token);
    assert_eq!(check(&honest, "token")["outcome"], "passed", "{honest}");
}

#[test]
fn what_is_bought_for_another_is_tried_too_and_what_is_not_tried_is_unknown() {
    let town = Town::new();
    // Pays with its own tokens and sends what it takes of Alice's to Bob, who has no code: CALL twice with fixed data.
    let calls = |tokens: &[Address]| {
        let mut code = Vec::new();
        for token in tokens {
            code.extend(calling(*token, &taking(ALICE, BOB, 1_000)));
        }
        code.push(0x00);
        code
    };
    let said = |tokens: &[Address]| {
        let mut other = Town::new();
        other.world.insert(SHOP, 1, U256::ZERO, Bytes::from(calls(tokens)));
        for token in tokens {
            other.allow(*token, SHOP);
        }
        let tx = json!({"from": TAKER, "to": SHOP, "value": "1000"});
        let body = json!({"chain_id": CHAIN, "tx": tx}).to_string().into_bytes();
        ask_on("screen", &lists(), &other.chains(), body)
    };
    let trap = said(&[town.trap]);
    assert_eq!(check(&trap, "token")["severity"], "block", "{trap}");
    let honest = said(&[town.token]);
    assert_eq!(check(&honest, "token")["outcome"], "passed", "{honest}");
    let many = said(&[town.token, town.liar, town.trap]);
    assert_eq!(check(&many, "token")["reason"], "out_of_gas_budget", "{many}");
    assert_ne!(many["result"]["verdict"], "allow");
}

/// A contract that sells.
const SHOP: Address = Address::repeat_byte(0x5b);

fn taking(from: Address, to: Address, value: u64) -> Vec<u8> {
    use alloy_sol_types::SolCall;
    crate::town::transferFromCall { from, to, value: U256::from(value) }.abi_encode()
}

/// Code that calls a contract with this data.
fn calling(to: Address, data: &[u8]) -> Vec<u8> {
    let mut code = Vec::new();
    for (at, word) in data.chunks(32).enumerate() {
        let mut padded = [0; 32];
        padded[..word.len()].copy_from_slice(word);
        // PUSH32 word PUSH1 place MSTORE
        code.push(0x7f);
        code.extend(padded);
        code.extend([0x60, u8::try_from(at * 32).unwrap(), 0x52]);
    }
    // PUSH0 PUSH0 PUSH1 length PUSH0 PUSH0 PUSH20 to GAS CALL POP
    code.extend([0x5f, 0x5f, 0x60, u8::try_from(data.len()).unwrap(), 0x5f, 0x5f, 0x73]);
    code.extend(to.as_slice());
    code.extend([0x5a, 0xf1, 0x50]);
    code
}

fn screen_contract(code: &[u8], value: u64) -> Value {
    let mut town = Town::new();
    town.world.insert(SHOP, 1, U256::ZERO, Bytes::copy_from_slice(code));
    screen(&town, SHOP, value, &Bytes::from_static(&[1, 2, 3, 4]))
}

fn has_risk(check: &Value, id: &str) -> bool {
    check["evidence"].as_array().unwrap().iter().any(|risk| risk["id"] == id)
}

#[test]
fn code_that_behaves_otherwise_in_another_block_is_found_out() {
    // Works where nobody produces the block: COINBASE ISZERO PUSH1 8 JUMPI PUSH0 PUSH0 REVERT JUMPDEST STOP.
    let reverts = [0x41, 0x15, 0x60, 8, 0x57, 0x5f, 0x5f, 0xfd, 0x5b, 0x00];
    // Gives the coins back where the block's randomness is even: PREVRANDAO PUSH1 1 AND PUSH1 17 JUMPI, then
    // PUSH0 four times CALLVALUE CALLER GAS CALL POP STOP JUMPDEST STOP.
    let keeps = |asks: u8| {
        vec![
            asks, 0x60, 1, 0x16, 0x60, 17, 0x57, 0x5f, 0x5f, 0x5f, 0x5f, 0x34, 0x33, 0x5a, 0xf1, 0x50, 0x00, 0x5b, 0x00,
        ]
    };
    // Also by the number of the block (7 here, so that it is kept here) and by the fee.
    for code in [reverts.to_vec(), keeps(0x44), keeps(0x43), keeps(0x48)] {
        let said = screen_contract(&code, 5_000_000_000_000_000);
        assert!(has_risk(check(&said, "simulation"), "env.differs"), "{code:02x?}: {said}");
        assert_eq!(said["result"]["verdict"], "quarantine");
    }
    // TIMESTAMP PUSH0 SSTORE: the time is written down, and nothing depends on it.
    let honest = screen_contract(&[0x42, 0x5f, 0x55, 0x00], 0);
    assert_eq!(check(&honest, "simulation")["outcome"], "passed", "{honest}");
}

#[test]
fn code_that_does_too_much_in_another_block_is_unknown() {
    // COINBASE PUSH1 5 JUMPI STOP JUMPDEST PUSH1 5 JUMP: loops where somebody produces the block.
    let said = screen_contract(&[0x41, 0x60, 5, 0x57, 0x00, 0x5b, 0x60, 5, 0x56], 0);
    assert_eq!(check(&said, "simulation")["reason"], "out_of_gas_budget", "{said}");
    assert_eq!(said["result"]["verdict"], "warn");
}

/// Leaves a contract that anyone destroys: CALLER SELFDESTRUCT.
const MAKES_DEADLY: [u8; 10] = [0x61, 0x33, 0xff, 0x5f, 0x52, 0x60, 2, 0x60, 0x1e, 0xf3];

#[test]
fn deployment_is_scanned() {
    let town = Town::new();
    let deploy = |code: &[u8]| {
        let tx = json!({"from": ALICE, "data": Bytes::copy_from_slice(code)});
        let body = json!({"chain_id": CHAIN, "tx": tx}).to_string().into_bytes();
        ask_on("screen", &lists(), &town.chains(), body)
    };
    let deadly = deploy(&MAKES_DEADLY);
    assert!(has_risk(check(&deadly, "rules"), "deploy.self_destructs"), "{deadly}");
    // One STOP.
    let harmless = deploy(&[0x60, 1, 0x60, 0, 0xf3]);
    assert_eq!(check(&harmless, "rules")["severity"], "allow", "{harmless}");
    assert_eq!(
        check(&harmless, "rules")["unknown"],
        json!([
            "chain.missing",
            "chain.wrong",
            "deploy.listed",
            "fee.absurd",
            "nonce.gap",
            "nonce.replaces_held",
            "nonce.used"
        ])
    );
    // A constructor that fails leaves nothing to scan, which is not clean.
    let failing = deploy(&[0xfe]);
    let unknown = check(&failing, "rules")["unknown"].as_array().unwrap();
    assert!(unknown.contains(&json!("deploy.privileged")), "{failing}");
}

#[test]
fn contracts_that_a_call_makes_are_scanned() {
    // PUSH10 init code PUSH0 MSTORE, then CREATE, or CREATE2 with salt 0, of those ten bytes.
    let start = [&[0x69][..], &MAKES_DEADLY, &[0x5f, 0x52]].concat();
    let plain = [&start[..], &[0x60, 10, 0x60, 22, 0x5f, 0xf0, 0x50]].concat();
    let said = screen_contract(&[&plain[..], &[0x00]].concat(), 0);
    assert!(has_risk(check(&said, "rules"), "deploy.self_destructs"), "{said}");
    assert!(!has_risk(check(&said, "rules"), "deploy.changes_code"), "{said}");
    let salted = [&start[..], &[0x5f, 0x60, 10, 0x60, 22, 0x5f, 0xf5, 0x00]].concat();
    assert!(has_risk(check(&screen_contract(&salted, 0), "rules"), "deploy.changes_code"));
    // More than are scanned.
    let many = screen_contract(&[plain.repeat(5), vec![0x00]].concat(), 0);
    assert!(check(&many, "rules")["unknown"].as_array().unwrap().contains(&json!("deploy.privileged")), "{many}");
}

#[test]
fn what_history_tells_is_judged() {
    let town = Town::new();
    let past = |created: Option<u64>, paid: &[Address]| Past {
        to_block: 7,
        created: [(town.trap.0.0, created)].into(),
        paid: [(ALICE.0.0, Some(paid.iter().map(|other| other.0.0).collect()))].into(),
        ..Past::default()
    };
    let ask = |past: &Past, data: Bytes| {
        let (lists, chains) = (lists(), town.chains());
        let question = Request { body: asked(town.token, 0, &data), ..request("", "proof=1", Seconds(0)).unwrap() };
        let sources = Sources { past: Some(past), ..Sources::new(&lists, &chains) };
        let reply = answer(service("screen"), sources, &question).unwrap();
        recompute(service("screen"), &lists, &question, reply.body.as_bytes()).unwrap();
        serde_json::from_str::<Value>(&reply.body).unwrap()
    };
    let approves = || approve(town.trap, U256::from(5));
    let young = ask(&past(Some(5), &[]), approves());
    assert!(has_risk(check(&young, "rules"), "approve.young"), "{young}");
    let untold = ask(&past(None, &[]), approves());
    assert!(check(&untold, "rules")["unknown"].as_array().unwrap().contains(&json!("approve.young")), "{untold}");
    let mut twin = BOB.0.0;
    twin[10] ^= 1;
    let poisoned = ask(&past(None, &[Address::from(twin)]), transfer(BOB, 5));
    assert!(has_risk(check(&poisoned, "rules"), "poison.look_alike"), "{poisoned}");
    let usual = ask(&past(None, &[BOB]), transfer(BOB, 5));
    assert!(!has_risk(check(&usual, "rules"), "poison.look_alike"), "{usual}");
}

#[test]
fn dust_in_return_for_much_is_nothing() {
    let town = Town::new();
    let mut shop = town;
    let token = shop.token;
    // Takes coins and gives one unit of a token.
    let code = [calling(token, &taking(ALICE, TAKER, 1)), vec![0x00]].concat();
    shop.world.insert(SHOP, 1, U256::ZERO, code);
    shop.allow(token, SHOP);
    let tx = json!({"from": TAKER, "to": SHOP, "value": "5000000000000000000", "data": "0x01020304"});
    let said =
        ask_on("screen", &lists(), &shop.chains(), json!({"chain_id": CHAIN, "tx": tx}).to_string().into_bytes());
    assert!(has_risk(check(&said, "simulation"), "diff.nothing_in"), "{said}");
}

#[test]
fn without_state_or_lists_nothing_is_allowed() {
    let town = Town::new();
    let body = || asked(BOB, 1, &Bytes::new());
    let late = chains(Arc::new(Silent(StateError::Deadline)));
    for (lists, chains, name, outcome) in [
        (lists(), Chains::new(), "simulation", "unknown"),
        (Lists::default(), town.chains(), "lists", "unknown"),
        (lists(), late, "simulation", "timeout"),
    ] {
        let question = Request { body: body(), ..request("", "", Seconds(0)).unwrap() };
        let reply = answer(service("screen"), Sources::new(&lists, &chains), &question).unwrap();
        let said: Value = serde_json::from_str(&reply.body).unwrap();
        assert_eq!(
            (&said["result"]["verdict"], &check(&said, name)["outcome"]),
            (&json!("warn"), &json!(outcome)),
            "{said}"
        );
    }
    let said = screen(&town, LOOP, 0, &Bytes::new());
    assert_eq!(check(&said, "simulation")["reason"], "out_of_gas_budget", "{said}");
    assert_ne!(said["result"]["verdict"], "allow");
}

#[test]
fn messages_are_screened_like_transactions() {
    let town = Town::new();
    let permit = json!({
        "types": {
            "EIP712Domain": [{"name": "name", "type": "string"}, {"name": "chainId", "type": "uint256"},
                {"name": "verifyingContract", "type": "address"}],
            "Permit": [{"name": "owner", "type": "address"}, {"name": "spender", "type": "address"},
                {"name": "value", "type": "uint256"}, {"name": "nonce", "type": "uint256"},
                {"name": "deadline", "type": "uint256"}],
        },
        "primaryType": "Permit",
        "domain": {"name": "Fixture", "chainId": CHAIN, "verifyingContract": town.token},
        "message": {"owner": ALICE, "spender": DRAINER, "value": U256::MAX.to_string(), "nonce": 0, "deadline": "9999999999"},
    });
    for typed in [permit.clone(), Value::String(permit.to_string())] {
        let body = json!({"chain_id": CHAIN, "typed_data": typed, "signer": ALICE}).to_string().into_bytes();
        let said = ask_on("screen", &lists(), &town.chains(), body);
        assert_eq!(said["result"]["verdict"], "block", "{said}");
    }
    let body =
        json!({"chain_id": CHAIN, "message": format!("0x{}", "11".repeat(32)), "method": "eth_sign", "signer": ALICE});
    let said = ask_on("screen", &lists(), &town.chains(), body.to_string().into_bytes());
    assert_ne!(said["result"]["verdict"], "allow", "{said}");
}

#[test]
fn call_data_is_decoded_with_what_is_known_of_its_addresses() {
    let town = Town::new();
    let body = json!({
        "chain_id": CHAIN, "transcation_type": "common", "signer": ALICE,
        "contract_address": town.token, "data": approve(DRAINER, U256::MAX),
    });
    let said = ask_on("input_decode", &lists(), &town.chains(), body.to_string().into_bytes());
    let result = &said["result"];
    assert_eq!((&result["method"], &result["risky_signature"]), (&json!("approve"), &json!(1)), "{said}");
    let info = &result["params"][0]["address_info"];
    assert_eq!((&info["malicious_address"], &info["is_contract"]), (&json!(1), &json!(1)));
    let right = body.to_string().replace("transcation_type", "transaction_type");
    assert_eq!(ask_on("input_decode", &lists(), &town.chains(), right.into_bytes())["result"], *result);
    for bad in [json!({"chain_id": CHAIN}), json!({"chain_id": CHAIN, "data": "0xzz", "contract_address": town.token})]
    {
        assert_eq!(ask_on("input_decode", &lists(), &town.chains(), bad.to_string().into_bytes())["code"], 5006);
    }
}

#[test]
fn tokens_are_answered_in_a_map_and_computed_again() {
    let town = Town::new();
    let (lists, chains) = (lists(), town.chains());
    for name in ["token_security", "rugpull_detecting"] {
        let query = format!("proof=1&contract_addresses={}", town.token);
        let question = request(&CHAIN.to_string(), &query, Seconds(0)).unwrap();
        let reply = answer(service(name), Sources::new(&lists, &chains), &question).unwrap();
        recompute(service(name), &lists, &question, reply.body.as_bytes()).unwrap();
        let altered =
            reply.body.replace("\"is_proxy\":\"0\"", "\"is_proxy\":\"1\"").replace("\"is_proxy\":0", "\"is_proxy\":1");
        assert_ne!(altered, reply.body);
        let error = recompute(service(name), &lists, &question, altered.as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Differs { .. }), "{error}");
    }
    let said = |query: &str| {
        let question = request(&CHAIN.to_string(), query, Seconds(0)).unwrap();
        answer(service("token_security"), Sources::new(&lists, &chains), &question).map(|reply| reply.body)
    };
    assert_eq!(said(&format!("contract_addresses={BOB}")).unwrap_err().code(), 2020);
    assert_eq!(said("contract_addresses=0x1").unwrap_err().code(), 2004);
    assert_eq!(said("").unwrap_err().code(), 5006);
}

#[test]
fn init_code_is_scanned_before_it_is_deployed() {
    let town = Town::new();
    // A contract of one STOP: PUSH1 1 PUSH1 0 RETURN.
    let body = json!({"chain_id": CHAIN, "init_code": "0x60016000f3", "from": ALICE});
    let said = ask_on("deploy_scan", &lists(), &town.chains(), body.to_string().into_bytes());
    assert_eq!((&said["code"], &said["result"]["code_size"]), (&json!(1), &json!(1)), "{said}");
    let body = json!({"chain_id": CHAIN, "init_code": "0xfe"});
    assert_eq!(ask_on("deploy_scan", &lists(), &town.chains(), body.to_string().into_bytes())["code"], 5006);
}

#[test]
fn every_service_is_found_by_its_path() {
    for service in SERVICES {
        let path = service.card().path.replace("{chain_id}", "1").replace("{address}", "0x0");
        let (found, _) = service_of(&format!("/below{path}")).unwrap();
        assert_eq!(found.name(), service.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bodies_and_queries_are_answered_or_refused(
        body in prop::collection::vec(any::<u8>(), 0..200),
        segment in "[0-9a-fx]{0,8}",
        query in "(addresses|contract_addresses|chain_id|block|lists|engine|url)=[0-9a-fx,]{0,50}",
    ) {
        let (lists, chains) = (Lists::default(), Chains::new());
        for service in SERVICES {
            let question = request(&segment, &query, Seconds(0)).map(|asked| Request { body: body.clone(), ..asked });
            prop_assert!(respond(*service, Sources::new(&lists, &chains), question).is_ok());
        }
    }

    #[test]
    fn random_calls_are_screened(data in prop::collection::vec(any::<u8>(), 0..80), to_token in any::<bool>()) {
        let town = Town::new();
        let said = screen(&town, if to_token { town.token } else { DRAINER }, 1, &data.into());
        prop_assert!(said["code"] == 1, "{}", said);
    }
}
