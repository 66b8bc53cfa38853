//! What the manual says that rules can ask for is what the checks learn.

use std::collections::BTreeMap;

use alloy_primitives::{Bytes, keccak256};
use surety_evm::World;
use surety_evm::chain::{Config, DEV_ACCOUNTS, DevChain, Genesis, fund};
use surety_proxy::gateway::policy::Vocabulary;
use surety_proxy::gateway::verdict::Fact;

use super::*;

const OTHER: Address = Address::repeat_byte(0x77);

fn call(signature: &str, words: &[U256]) -> Bytes {
    let selector = keccak256(signature);
    selector[..4].iter().copied().chain(words.iter().flat_map(U256::to_be_bytes::<32>)).collect()
}

fn word(address: Address) -> U256 {
    U256::from_be_slice(address.as_slice())
}

fn sent(data: Bytes) -> Subject {
    let from = Some(DEV_ACCOUNTS[1]);
    let unsigned = Unsigned { from, to: Some(OTHER), value: U256::ONE, data, ..Unsigned::default() };
    Subject::Unsigned(Box::new(unsigned))
}

fn signed(json: &Value) -> Subject {
    Subject::TypedData { signer: Some(DEV_ACCOUNTS[1]), json: json.to_string() }
}

fn permit() -> Value {
    let field = |name: &str, kind: &str| serde_json::json!({"name": name, "type": kind});
    let fields = [("owner", "address"), ("spender", "address"), ("value", "uint256")];
    let more = [("nonce", "uint256"), ("deadline", "uint256")];
    let fields: Vec<Value> = fields.iter().chain(&more).map(|(name, kind)| field(name, kind)).collect();
    let domain = [("name", "string"), ("chainId", "uint256"), ("verifyingContract", "address")];
    let domain: Vec<Value> = domain.iter().map(|(name, kind)| field(name, kind)).collect();
    serde_json::json!({
        "types": {"EIP712Domain": domain, "Permit": fields},
        "primaryType": "Permit",
        "domain": {"name": "Coin", "chainId": 31_337, "verifyingContract": OTHER},
        "message": {"owner": DEV_ACCOUNTS[1], "spender": DEV_ACCOUNTS[2], "value": "5", "nonce": "0", "deadline": "1900000000"},
    })
}

/// `execTransaction` of a Safe that runs foreign code as its own.
fn foreign_code() -> Bytes {
    let types = "address,uint256,bytes,uint8,uint256,uint256,uint256,address,address,bytes";
    let (none, empty) = (U256::ZERO, U256::from(11 * 32));
    let words = [word(DEV_ACCOUNTS[3]), none, U256::from(10 * 32), U256::ONE, none, none, none, none, none, empty];
    call(&format!("execTransaction({types})"), &[words.as_slice(), &[none, none]].concat())
}

fn facts_of(subjects: &[Subject]) -> BTreeMap<String, Fact> {
    let mut world = World::default();
    fund(&mut world);
    let chain = DevChain::new(Config::default(), Genesis { world, ..Genesis::default() });
    let all = checks(Arc::new(Lists::new(None, None)), Some(Head::follow(chain)), 31_337, true);
    let ask = |subject| all.iter().map(move |check| futures::executor::block_on(check.assess(subject, &[])));
    subjects.iter().flat_map(ask).flat_map(|finding| finding.facts).collect()
}

#[test]
fn every_name_that_rules_may_use_is_learned_and_no_other() {
    let (account, amount) = (word(DEV_ACCOUNTS[2]), U256::from(5));
    let learned = facts_of(&[
        sent(Bytes::new()),
        sent(call("transferFrom(address,address,uint256)", &[word(DEV_ACCOUNTS[1]), account, amount])),
        sent(call("approve(address,uint256)", &[account, amount])),
        sent(call("transferOwnership(address)", &[account])),
        sent(foreign_code()),
        signed(&permit()),
    ]);
    let vocabulary = Vocabulary::standard();
    let is_learned = |name: &str| ["decoded.", "diff.", "lists."].iter().any(|root| name.starts_with(root));
    let announced: BTreeMap<&str, _> = vocabulary.names().filter(|(name, _)| is_learned(name)).collect();
    assert_eq!(learned.keys().collect::<Vec<_>>(), announced.keys().collect::<Vec<_>>());
    for (name, fact) in &learned {
        assert!(announced[name.as_str()].admits(fact), "{name} is {fact:?}");
    }
}

#[tokio::test]
async fn what_was_found_on_the_newest_block_holds_and_what_was_found_elsewhere_is_compared() {
    let mut world = World::default();
    fund(&mut world);
    let chain = DevChain::new(Config::default(), Genesis { world, ..Genesis::default() });
    let all = checks(Arc::new(Lists::new(None, None)), Some(Head::follow(chain)), 31_337, false);
    let simulation = all.iter().find(|check| check.is_heavy()).expect("the simulation");
    let found = simulation.assess(&sent(Bytes::new()), &[]).await;
    assert!(found.block.is_some(), "{found:?}");
    let read = |value| vec![Read { address: OTHER, slot: U256::ZERO, value }];
    // A slot has one value on one block: nothing is read.
    let here = Finding { reads: read(U256::ONE), ..found };
    assert!(simulation.still_holds(&here).await);
    for block in [None, Some(B256::ZERO)] {
        let changed = Finding { block, ..here.clone() };
        assert!(!simulation.still_holds(&changed).await);
        assert!(simulation.still_holds(&Finding { reads: read(U256::ZERO), ..changed }).await);
    }
}
