//! `tx_simulate`, and computing its answers again.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256};
use proptest::prelude::*;
use serde_json::{Value, json};
use surety_evm::StateError;
use surety_primitives::Seconds;
use surety_security::router::{answer, request, respond};
use surety_security::service::Request;
use surety_security::simulate::TxSimulate;
use surety_security::verify::{Error, recompute, reread};
use surety_security::{Chains, Lists, Sources};

use crate::town::{
    ALICE, BOB, CHAIN, DRAINER, LOOP, Silent, Town, WALLET, addresses, approve, asked, chains, lists, transfer,
};

fn question(query: &str, body: Vec<u8>) -> Request {
    Request { body, ..request("", query, Seconds(0)).unwrap() }
}

fn ask(lists: &Lists, chains: &Chains, query: &str, body: Vec<u8>) -> Value {
    let reply = answer(&TxSimulate, Sources::new(lists, chains), &question(query, body));
    serde_json::from_str(&reply.map_or_else(|refusal| refusal.body(), |reply| reply.body)).unwrap()
}

fn simulate(town: &Town, to: Address, value: u64, data: &Bytes) -> Value {
    ask(&lists(), &town.chains(), "proof=1", asked(to, value, data))
}

fn lower(address: Address) -> String {
    format!("{address:#x}")
}

fn reasons(answer: &Value) -> Vec<(String, String)> {
    let unknown = answer["surety"]["unknown"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    unknown.map(|unknown| (text(&unknown["field"]), text(&unknown["reason"]))).collect()
}

#[test]
fn a_transfer_is_told_as_it_happens() {
    let town = Town::new();
    let said = simulate(&town, town.token, 0, &transfer(BOB, 500));
    assert_eq!(said["code"], 1, "{said}");
    let result = &said["result"];
    assert_eq!((&result["error"], &result["risky_txn"], &result["risk_type"]), (&Value::Null, &json!(0), &json!([])));
    let changes = result["asset_changes"]["token_changes"].as_array().unwrap();
    let of = |who: Address| changes.iter().find(|change| change["account"] == lower(who)).unwrap();
    assert_eq!((&of(ALICE)["change"], &of(BOB)["change"]), (&json!("-500"), &json!("500")));
    assert_eq!((&of(BOB)["symbol"], &of(BOB)["decimals"]), (&json!("FIX"), &json!(18)));
    assert_eq!(result["logs"].as_array().unwrap().len(), 1);
    assert!(!result["reads"].as_array().unwrap().is_empty());
    assert_eq!((&said["surety"]["chain_id"], &said["surety"]["block_number"]), (&json!(CHAIN), &json!(7)));
}

#[test]
fn simulation_verdict_says_attested() {
    let town = Town::new();
    let said = simulate(&town, town.token, 0, &transfer(BOB, 500));
    assert_eq!(said["surety"]["standing"], "attested");
    let kinds: Vec<&Value> = said["surety"]["evidence"].as_array().unwrap().iter().map(|item| &item["kind"]).collect();
    assert!(kinds.contains(&&json!("sim")) && kinds.contains(&&json!("list")), "{kinds:?}");
    let question = question("", asked(town.token, 0, &transfer(BOB, 500)));
    let (lists, chains) = (lists(), town.chains());
    let reply = answer(&TxSimulate, Sources::new(&lists, &chains), &question).unwrap();
    let block = reply.basis.block.unwrap();
    assert_eq!((block.chain, block.number, block.hash.0), (CHAIN, 7, [7; 32]));
}

#[test]
fn an_approval_says_who_may_take_how_much() {
    let town = Town::new();
    let said = simulate(&town, town.token, 0, &approve(DRAINER, U256::MAX));
    let result = &said["result"];
    assert_eq!(result["risky_txn"], 1, "{said}");
    let risks = result["risk_type"].as_array().unwrap();
    assert!(["approve.listed", "approve.unlimited", "lists.listed"].iter().all(|id| risks.contains(&json!(id))));
    let allowance = &result["allowance_upgrades"][0]["new_allowances"][0];
    assert_eq!((&allowance["spender"], &allowance["unlimited"]), (&json!(lower(DRAINER)), &json!(1)));
    assert_eq!((&allowance["risky_spender"], &allowance["pre_amount"]), (&json!(1), &json!("0")));
    let exposed = U256::from(1_000_000) * U256::from(10).pow(U256::from(18));
    assert_eq!(result["exposures"][0]["amount"], exposed.to_string());
    let said = simulate(&town, town.token, 0, &approve(WALLET, U256::from(5)));
    assert_eq!((&said["result"]["risky_txn"], &said["result"]["risk_type"]), (&json!(1), &json!(["approve.no_code"])));
}

#[test]
fn logs_that_say_something_else_than_balances_are_shown_beside_them() {
    let town = Town::new();
    let said = simulate(&town, town.liar, 0, &transfer(BOB, 500));
    assert!(said["result"]["risk_type"].as_array().unwrap().contains(&json!("diff.logs_disagree")), "{said}");
    let changes = said["result"]["asset_changes"]["token_changes"].as_array().unwrap();
    assert!(
        changes.iter().any(|change| change["logged_change"].is_string() && change["logged_change"] != change["change"])
    );
}

#[test]
fn a_revert_is_a_result() {
    let town = Town::new();
    let said = ask(
        &lists(),
        &town.chains(),
        "",
        json!({"chain_id": CHAIN, "tx": {"from": BOB, "to": town.token, "data": transfer(ALICE, 1)}})
            .to_string()
            .into(),
    );
    assert_eq!(said["code"], 1);
    assert!(said["result"]["error"].as_str().unwrap().starts_with("reverted"), "{said}");
    assert_eq!(said["result"]["asset_changes"]["token_changes"], json!([]));
}

#[test]
fn what_takes_too_much_work_is_unknown() {
    let town = Town::new();
    let said = simulate(&town, LOOP, 0, &Bytes::new());
    assert_eq!(said["result"]["risky_txn"], Value::Null, "{said}");
    let unknown = reasons(&said);
    for field in ["asset_changes", "allowance_upgrades", "risky_txn", "logs"] {
        assert!(unknown.contains(&(field.to_owned(), "out_of_gas_budget".to_owned())), "{field}: {unknown:?}");
        assert_eq!(said["result"][field], Value::Null);
    }
}

#[test]
fn state_that_cannot_be_read_is_unknown_and_never_clean() {
    let town = Town::new();
    for (error, reason) in
        [(StateError::Unavailable("gone".to_owned()), "no_state"), (StateError::Deadline, "deadline")]
    {
        let chains = chains(Arc::new(Silent(error)));
        let said = ask(&lists(), &chains, "", asked(town.token, 0, &transfer(BOB, 1)));
        assert_eq!(said["result"], Value::Null, "{said}");
        assert!(reasons(&said).contains(&("risky_txn".to_owned(), reason.to_owned())), "{said}");
    }
    let body = json!({"chain_id": CHAIN, "block": 8, "tx": {"from": ALICE, "to": BOB}}).to_string().into();
    let said = ask(&lists(), &town.chains(), "", body);
    assert!(reasons(&said).contains(&("asset_changes".to_owned(), "no_state".to_owned())), "{said}");
}

#[test]
fn missing_stale_and_other_lists_are_unknown_and_never_clean() {
    let town = Town::new();
    let body = || asked(town.token, 0, &approve(BOB, U256::from(1)));
    let stale = Lists::new(None, Some(addresses().with_max_age(None, Seconds(1))));
    let late = Request { at: Seconds(4_000_000_000), ..question("", body()) };
    let (missing, chains) = (Lists::default(), town.chains());
    let reply = answer(&TxSimulate, Sources::new(&stale, &chains), &late).unwrap();
    let pinned = format!("lists=0x{}", "ab".repeat(32));
    for (said, reason) in [
        (serde_json::from_str(&reply.body).unwrap(), "list_stale"),
        (ask(&missing, &chains, "", body()), "list_missing"),
        (ask(&lists(), &chains, &pinned, body()), "list_missing"),
    ] {
        assert_eq!(said["code"], 2, "{said}");
        let allowance = &said["result"]["allowance_upgrades"][0]["new_allowances"][0];
        assert_eq!(allowance["risky_spender"], Value::Null);
        assert!(reasons(&said).contains(&("risky_spender".to_owned(), reason.to_owned())), "{said}");
        // The spender is a wallet, which no list is needed for.
        assert_eq!(said["result"]["risky_txn"], 1);
    }
    let plain = ask(&missing, &chains, "", asked(town.token, 0, &transfer(BOB, 1)));
    assert_eq!(plain["result"]["risky_txn"], Value::Null);
}

#[test]
fn two_operators_one_digest() {
    let town = Town::new();
    let body = asked(town.token, 0, &approve(DRAINER, U256::MAX));
    let first = ask(&lists(), &town.chains(), "proof=1", body.clone());
    // The other one has read other things before, on other threads, and has other hash seeds.
    let chains = town.chains();
    let others: Vec<Value> = std::thread::scope(|scope| {
        let run = || {
            ask(&lists(), &chains, "", asked(town.token, 0, &transfer(BOB, 3)));
            ask(&lists(), &chains, "proof=1", body.clone())
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(others.iter().all(|other| *other == first));
}

#[test]
fn an_answer_is_computed_again_without_the_chain() {
    let town = Town::new();
    let question = question("proof=1", asked(town.token, 0, &approve(DRAINER, U256::MAX)));
    let (lists, chains) = (lists(), town.chains());
    let reply = answer(&TxSimulate, Sources::new(&lists, &chains), &question).unwrap();
    let again = recompute(&TxSimulate, &lists, &question, reply.body.as_bytes()).unwrap();
    let replay = again.replay.unwrap();
    reread(&replay, &chains[&CHAIN]).unwrap();
    let mut other = Town::new();
    other.world.set_balance(ALICE, U256::ZERO);
    assert!(matches!(reread(&replay, &other.chains()[&CHAIN]), Err(Error::OtherState(_))));
    assert!(matches!(
        recompute(&TxSimulate, &Lists::default(), &question, reply.body.as_bytes()),
        Err(Error::List { .. })
    ));
    let bare = Request { query: [].into(), ..question };
    let reply = answer(&TxSimulate, Sources::new(&lists, &chains), &bare).unwrap();
    assert_eq!(recompute(&TxSimulate, &lists, &bare, reply.body.as_bytes()).unwrap_err(), Error::NoRecord);
}

#[test]
fn recomputing_finds_every_altered_field() {
    let town = Town::new();
    let question = question("proof=1", asked(town.token, 0, &approve(DRAINER, U256::MAX)));
    let (lists, chains) = (lists(), town.chains());
    let reply = answer(&TxSimulate, Sources::new(&lists, &chains), &question).unwrap();
    let said: Value = serde_json::from_str(&reply.body).unwrap();
    for (field, lie) in [
        ("/result/risky_txn", json!(0)),
        ("/result/risk_type", json!([])),
        ("/result/allowance_upgrades/0/new_allowances/0/risky_spender", json!(0)),
        ("/result/allowance_upgrades/0/new_allowances/0/post_amount", json!("1")),
        ("/result/transaction_fee", json!("0")),
        ("/result/sender", json!(lower(BOB))),
        ("/surety/standing", json!("provable")),
        ("/surety/evidence_root", json!(format!("0x{}", "00".repeat(32)))),
        ("/surety/digest", json!(format!("0x{}", "00".repeat(32)))),
        ("/surety/evidence/0/label", json!("clean")),
        ("/code", json!(2)),
    ] {
        let mut altered = said.clone();
        *altered.pointer_mut(field).unwrap() = lie;
        let error = recompute(&TxSimulate, &lists, &question, altered.to_string().as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Differs { .. }), "{field}: {error}");
    }
    let other = Request { body: asked(town.token, 0, &transfer(BOB, 1)), ..question };
    assert!(recompute(&TxSimulate, &lists, &other, reply.body.as_bytes()).is_err());
}

#[test]
fn a_record_without_what_was_read_is_found_out() {
    let town = Town::new();
    let question = question("proof=1", asked(town.token, 0, &transfer(BOB, 9)));
    let (lists, chains) = (lists(), town.chains());
    let reply = answer(&TxSimulate, Sources::new(&lists, &chains), &question).unwrap();
    let mut said: Value = serde_json::from_str(&reply.body).unwrap();
    for cut in ["0x", "0x00", "zz"] {
        said["surety"]["replay"] = json!(cut);
        let error = recompute(&TxSimulate, &lists, &question, said.to_string().as_bytes()).unwrap_err();
        assert!(matches!(error, Error::Record(_)), "{error}");
    }
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let town = Town::new();
    for (body, code) in [
        (json!({"chain_id": CHAIN}), 5006),
        (json!({"chain_id": 5, "tx": {"from": ALICE}}), 2018),
        (json!({"chain_id": "0x7a69", "tx": {"from": ALICE, "chainId": 1}}), 2018),
        (json!({"chain_id": CHAIN, "tx": {"from": ALICE, "frm": 1}}), 5006),
        (json!({"chain_id": CHAIN, "tx": {"from": ALICE, "data": "0x01", "input": "0x02"}}), 5006),
        (json!({"chain_id": CHAIN, "tx": {"from": ALICE, "gas": "0x10000000000000000"}}), 5006),
        (json!({"chain_id": CHAIN, "raw_tx": "0x02ff"}), 5006),
        (json!({"chain_id": CHAIN, "raw_tx": "0x02ff", "tx": {"from": ALICE}}), 5006),
        (json!({"chain_id": CHAIN, "block": "later", "tx": {"from": ALICE}}), 5006),
    ] {
        let said = ask(&lists(), &town.chains(), "", body.to_string().into());
        assert_eq!(said["code"], code, "{body}");
    }
    let said = ask(&lists(), &town.chains(), &format!("engine=0x{}", "00".repeat(32)), asked(BOB, 0, &Bytes::new()));
    assert_eq!(said["code"], 5006);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bodies_are_answered_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let (lists, chains) = (Lists::default(), Chains::new());
        prop_assert!(respond(&TxSimulate, Sources::new(&lists, &chains), Ok(question("", body))).is_ok());
    }

    #[test]
    fn random_calls_are_answered(data in prop::collection::vec(any::<u8>(), 0..80), value in any::<u64>()) {
        let town = Town::new();
        let said = simulate(&town, town.token, value, &data.into());
        prop_assert!(said["code"] == 1, "{}", said);
    }
}
