#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use alloy_primitives::{B256, Bytes, U256, address};
use serde_json::{Value, json};
use surety_evm::{Chain, Head, PERMIT2, Snapshot, StateError, World};
use surety_primitives::Seconds;

use super::*;
use crate::history::{Moment, PastApproval};
use crate::router::{answer, request};
use crate::service::{Chains, Lists};
use crate::verify::recompute;

const OWNER: Address = address!("00000000000000000000000000000000000000aa");
const SPENDER: Address = address!("00000000000000000000000000000000000000bb");
const TOKEN: Address = address!("00000000000000000000000000000000000000cc");
const SILENT: Address = address!("00000000000000000000000000000000000000dd");
const PROXY: Address = address!("00000000000000000000000000000000000000ee");

struct OneBlock(Snapshot);

impl Chain for OneBlock {
    fn chain_id(&self) -> u64 {
        1
    }

    fn snapshot(&self, _: Option<u64>) -> Result<Snapshot, StateError> {
        Ok(self.0.clone())
    }
}

/// Answers every call with these words.
fn says(words: &[U256]) -> Bytes {
    let mut code = Vec::new();
    for (at, word) in words.iter().enumerate() {
        // PUSH32 word PUSH1 place MSTORE
        code.push(0x7f);
        code.extend(word.to_be_bytes::<32>());
        code.extend([0x60, u8::try_from(at * 32).unwrap(), 0x52]);
    }
    // PUSH1 length PUSH1 0 RETURN
    code.extend([0x60, u8::try_from(words.len() * 32).unwrap(), 0x60, 0, 0xf3]);
    code.into()
}

fn chains(permit2: &[U256]) -> Chains {
    let mut world = World::default();
    world.insert(TOKEN, 1, U256::ZERO, says(&[U256::from(7)]));
    world.insert(SILENT, 1, U256::ZERO, says(&[U256::ZERO]));
    world.insert(PERMIT2, 1, U256::ZERO, says(permit2));
    let minimal = [
        &[0x36, 0x3d, 0x3d, 0x37, 0x3d, 0x3d, 0x3d, 0x36, 0x3d, 0x73][..],
        TOKEN.as_slice(),
        &[0x5a, 0xf4, 0x3d, 0x82, 0x80, 0x3e, 0x90, 0x3d, 0x91, 0x60, 0x2b, 0x57, 0xfd, 0x5b, 0xf3],
    ];
    world.insert(PROXY, 1, U256::ZERO, Bytes::from(minimal.concat()));
    let head = Head { hash: B256::repeat_byte(1), ..Head::default() };
    let chain: Arc<dyn Chain> = Arc::new(OneBlock(Snapshot { head, source: Arc::new(world) }));
    Chains::from([(1, chain)])
}

fn given(token: Address, via: Option<Address>, token_id: Option<u8>, for_all: bool) -> PastApproval {
    PastApproval {
        token: token.0.0,
        spender: SPENDER.0.0,
        via: via.map(|via| via.0.0),
        token_id: token_id.map(|id| U256::from(id).to_be_bytes()),
        for_all,
        last: Moment { block: 1, time: Some(9), transaction: [9; 32] },
    }
}

fn past(approvals: Vec<PastApproval>) -> Past {
    given_by_owner(Given { list: approvals, is_cut: false })
}

fn given_by_owner(given: Given) -> Past {
    Past { to_block: 1, approvals: [(OWNER.0.0, Some(given))].into(), ..Past::default() }
}

fn ask(service: &dyn Service, chains: &Chains, past: Option<&Past>, query: &str) -> Value {
    let sources = Sources { past, ..Sources::new(&NO_LISTS, chains) };
    let reply = answer(service, sources, &request("1", query, Seconds(0)).unwrap());
    serde_json::from_str(&reply.map_or_else(|refusal| refusal.body(), |reply| reply.body)).unwrap()
}

static NO_LISTS: Lists = Lists { names: None, addresses: None };

fn owner() -> String {
    format!("addresses={OWNER}&proof=1")
}

#[test]
fn only_what_still_stands_is_listed() {
    let past = past(vec![given(TOKEN, None, None, false), given(SILENT, None, None, false)]);
    let said = ask(&TOKENS, &chains(&[]), Some(&past), &owner());
    let tokens = said["result"].as_array().unwrap();
    assert_eq!(tokens.len(), 1, "{said}");
    assert_eq!((&tokens[0]["token_address"], &tokens[0]["balance"]), (&json!(format!("{TOKEN:#x}")), &json!("7")));
    let approved = &tokens[0]["approved_list"][0];
    assert_eq!((&approved["approved_amount"], &approved["unlimited"]), (&json!("7"), &json!(0)));
    assert_eq!((&approved["approved_time"], &approved["address_info"]["is_contract"]), (&json!(9), &json!(0)));
    // No list is loaded, so that nobody is called clean.
    assert_eq!(tokens[0]["malicious_address"], Value::Null);
    assert_eq!(said["surety"]["standing"], "attested");
}

#[test]
fn without_history_nothing_is_listed_and_it_says_so() {
    let said = ask(&TOKENS, &chains(&[]), None, &owner());
    assert_eq!(said["result"], Value::Null);
    assert_eq!(said["surety"]["unknown"], json!([{"field": "approved_list", "reason": "no_history"}]));
    let cut = given_by_owner(Given { list: Vec::new(), is_cut: true });
    let said = ask(&TOKENS, &chains(&[]), Some(&cut), &owner());
    let unknown = said["surety"]["unknown"].as_array().unwrap();
    assert!(unknown.contains(&json!({"field": "approved_list", "reason": "out_of_gas_budget"})), "{said}");
}

#[test]
fn permit2_is_shown_with_its_end_and_left_out_after_it() {
    let past = past(vec![given(TOKEN, Some(PERMIT2), None, false)]);
    let end = Head::default().timestamp;
    let amount = (U256::from(1) << 160) - U256::from(1);
    let said = ask(&TOKENS, &chains(&[amount, U256::from(end), U256::ZERO]), Some(&past), &owner());
    let approved = &said["result"][0]["approved_list"][0];
    assert_eq!((&approved["via"], &approved["unlimited"]), (&json!(format!("{PERMIT2:#x}")), &json!(1)), "{said}");
    assert_eq!(approved["expiration"], end);
    for over in [[amount, U256::from(end - 1), U256::ZERO], [U256::ZERO, U256::from(end), U256::ZERO]] {
        assert_eq!(ask(&TOKENS, &chains(&over), Some(&past), &owner())["result"], json!([]));
    }
}

#[test]
fn an_operator_of_a_collection_is_listed_by_the_standard_it_follows() {
    let mut world = World::default();
    world.insert(TOKEN, 1, U256::ZERO, says(&[U256::from(1)]));
    let chain: Arc<dyn Chain> = Arc::new(OneBlock(Snapshot { head: Head::default(), source: Arc::new(world) }));
    let chains = Chains::from([(1, chain)]);
    let past = past(vec![given(TOKEN, None, None, true)]);
    for (service, count) in [(&NFT_721, 1), (&NFT_1155, 1), (&TOKENS, 0)] {
        let said = ask(service, &chains, Some(&past), &owner());
        assert_eq!(said["result"].as_array().unwrap().len(), count, "{said}");
        if count == 1 {
            assert_eq!(said["result"][0]["approved_list"][0]["approved_for_all"], 1);
        }
    }
}

#[test]
fn a_list_of_approvals_is_computed_again_from_its_evidence() {
    let past = past(vec![given(TOKEN, None, None, false)]);
    let chains = chains(&[]);
    let request = request("1", &owner(), Seconds(0)).unwrap();
    let sources = Sources { past: Some(&past), ..Sources::new(&NO_LISTS, &chains) };
    let body = answer(&TOKENS, sources, &request).unwrap().body;
    recompute(&TOKENS, &NO_LISTS, &request, body.as_bytes()).unwrap();
    let altered = body.replace("\"approved_amount\":\"7\"", "\"approved_amount\":\"8\"");
    assert!(recompute(&TOKENS, &NO_LISTS, &request, altered.as_bytes()).is_err());
}

#[test]
fn a_spender_is_described_by_its_code() {
    let ask = |spender: Address| {
        ask(&ApprovalSecurity, &chains(&[]), None, &format!("contract_addresses={spender}"))["result"].clone()
    };
    assert_eq!((&ask(TOKEN)["is_contract"], &ask(TOKEN)["is_proxy"]), (&json!(1), &json!(0)));
    assert_eq!((&ask(SPENDER)["is_contract"], &ask(SPENDER)["is_proxy"]), (&json!(0), &json!(0)));
    let proxy = ask(PROXY);
    assert_eq!((&proxy["is_proxy"], &proxy["implementation"]), (&json!(1), &json!(format!("{TOKEN:#x}"))));
}

#[test]
fn questions_that_make_no_sense_are_refused() {
    let refused = |segment: &str, query: &str| {
        let chains = chains(&[]);
        let request = request(segment, query, Seconds(0)).unwrap();
        answer(&TOKENS, Sources::new(&NO_LISTS, &chains), &request).unwrap_err().code()
    };
    assert_eq!(refused("1", ""), 5006);
    assert_eq!(refused("1", "addresses=0x12"), 2004);
    for chain in ["2", "01", "x", ""] {
        assert_eq!(refused(chain, &owner()), 2018);
    }
}
