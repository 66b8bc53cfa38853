//! Approvals on a chain with a history.

use std::sync::Arc;

use alloy_primitives::U256;
use serde_json::{Value, json};
use surety_evm::chain::{Clock, Config, DevChain, Genesis};
use surety_evm::{Call, Chain, Limits, Session, Snapshot};
use surety_primitives::Seconds;
use surety_security::approvals::TOKENS;
use surety_security::router::{answer, request};
use surety_security::verify::recompute;
use surety_security::{Chains, Sources};

use crate::town::{ALICE, BOB, CHAIN, DRAINER, Town, approve, lists};

/// The town after Alice approved the drainer for ever, and Bob for a while.
pub(crate) fn chains(town: &Town) -> Chains {
    let snapshot = Snapshot { head: surety_evm::Head::default(), source: Arc::new(town.world.clone()) };
    let mut session = Session::new(&snapshot, Limits::default());
    let mut logs = Vec::new();
    for (spender, amount) in [(DRAINER, U256::MAX), (BOB, U256::from(5)), (BOB, U256::ZERO)] {
        let outcome = session.run(&Call::new(ALICE, town.token, approve(spender, amount))).unwrap();
        logs.extend(outcome.logs);
    }
    let mut world = town.world.clone();
    world.apply(session.changes());
    let config = Config { chain_id: CHAIN, clock: Clock::Step(12), ..Config::default() };
    let chain: Arc<dyn Chain> = Arc::new(DevChain::new(config, Genesis { world, logs, created: Vec::new() }));
    Chains::from([(CHAIN, chain)])
}

#[test]
fn approvals_are_found_in_history_and_read_again() {
    let town = Town::new();
    let (lists, chains) = (lists(), chains(&town));
    let question = request(&CHAIN.to_string(), &format!("addresses={ALICE}&proof=1"), Seconds(0)).unwrap();
    let reply = answer(&TOKENS, Sources::new(&lists, &chains), &question).unwrap();
    let said: Value = serde_json::from_str(&reply.body).unwrap();
    let tokens = said["result"].as_array().unwrap();
    assert_eq!((tokens.len(), &tokens[0]["token_symbol"]), (1, &json!("FIX")), "{said}");
    let approved = tokens[0]["approved_list"].as_array().unwrap();
    assert_eq!((approved.len(), &approved[0]["approved_contract"]), (1, &json!(format!("{DRAINER:#x}"))));
    assert_eq!((&approved[0]["unlimited"], &approved[0]["address_info"]["doubt_list"]), (&json!(1), &json!(1)));
    assert_eq!(approved[0]["approved_time"], Config::default().timestamp);
    let kinds: Vec<&Value> = said["surety"]["evidence"].as_array().unwrap().iter().map(|item| &item["kind"]).collect();
    assert!(kinds.contains(&&json!("history")));
    recompute(&TOKENS, &lists, &question, reply.body.as_bytes()).unwrap();
    let nobody = request(&CHAIN.to_string(), &format!("addresses={BOB}"), Seconds(0)).unwrap();
    let reply = answer(&TOKENS, Sources::new(&lists, &chains), &nobody).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&reply.body).unwrap()["result"], json!([]));
}
