//! `screen`, `input_decode` and the token services on the seam.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256};
use proptest::prelude::*;
use serde_json::{Value, json};
use surety_evm::StateError;
use surety_primitives::Seconds;
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
        let path = service.path().replace("{chain_id}", "1").replace("{address}", "0x0");
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
