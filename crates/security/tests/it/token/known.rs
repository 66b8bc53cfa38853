//! What history and lists tell of a token, through the service.

use std::sync::Arc;

use alloy_primitives::{Address, Log, U256};
use alloy_sol_types::SolValue;
use serde_json::{Value, json};
use surety_evm::Chain;
use surety_evm::chain::{Clock, Config, DevChain, Genesis};
use surety_evm::index::TRANSFER;
use surety_primitives::Seconds;
use surety_security::lists::{Dataset, Format, Semantics, Source, SourceSpec, Subject};
use surety_security::router::{answer, request};
use surety_security::tokens::TokenSecurity;
use surety_security::verify::recompute;
use surety_security::{Chains, Lists, Sources};

use super::stage::{DEPLOYER, Stage, balanceOfCall};

const CHAIN: u64 = 31_337;
const OTHER: Address = Address::repeat_byte(0x0e);

fn moved(token: Address, from: Address, to: Address, amount: U256) -> Log {
    let topics = vec![TRANSFER, from.into_word(), to.into_word()];
    Log::new_unchecked(token, topics, amount.abi_encode().into())
}

/// What somebody has of a token.
fn has(stage: &mut Stage, token: Address, who: Address) -> U256 {
    U256::abi_decode(&stage.run(token, &balanceOfCall(who))).unwrap()
}

/// A chain that begins with a stage, these logs and these contracts of the deployer.
fn chains(stage: &Stage, logs: Vec<Log>, created: &[Address]) -> Chains {
    let config = Config { chain_id: CHAIN, clock: Clock::Step(12), ..Config::default() };
    let created = created.iter().map(|contract| (*contract, DEPLOYER)).collect();
    let chain: Arc<dyn Chain> = Arc::new(DevChain::new(config, Genesis { world: stage.world(), logs, created }));
    Chains::from([(CHAIN, chain)])
}

/// What the service says of a token, which comes out again from its evidence.
fn ask(lists: &Lists, chains: &Chains, token: Address, at: u64) -> (Value, Value) {
    let query = format!("proof=1&contract_addresses={token}");
    let question = request(&CHAIN.to_string(), &query, Seconds(at)).unwrap();
    let reply = answer(&TokenSecurity, Sources::new(lists, chains), &question).unwrap();
    recompute(&TokenSecurity, lists, &question, reply.body.as_bytes()).unwrap();
    let said: Value = serde_json::from_str(&reply.body).unwrap();
    (said["result"][format!("{token:#x}")].clone(), said["surety"].clone())
}

fn reason(surety: &Value, token: Address, field: &str) -> Value {
    let name = format!("{token:#x}.{field}");
    let found = surety["unknown"].as_array().unwrap().iter().find(|unknown| unknown["field"] == name.as_str());
    found.map_or(Value::Null, |unknown| unknown["reason"].clone())
}

const OF_HISTORY: [&str; 8] = [
    "creator_address",
    "creator_balance",
    "creator_percent",
    "honeypot_with_same_creator",
    "holders",
    "holder_count",
    "lp_holders",
    "lp_holder_count",
];

#[test]
fn history_tells_who_made_and_who_has_a_token() {
    let mut stage = Stage::new();
    let (token, trap) = (stage.fixture("Standard"), stage.fixture("TrapWhitelist"));
    let pair = stage.pool(token);
    let [rest, pooled, shares] =
        [(token, DEPLOYER), (token, pair), (pair, DEPLOYER)].map(|(of, who)| has(&mut stage, of, who));
    let logs = vec![
        moved(token, Address::ZERO, DEPLOYER, rest + pooled),
        moved(token, DEPLOYER, pair, pooled),
        moved(pair, Address::ZERO, DEPLOYER, shares),
    ];
    let lists = Lists::default();
    let (said, surety) = ask(&lists, &chains(&stage, logs.clone(), &[token, trap]), token, 0);
    assert_eq!(said["creator_address"], format!("{DEPLOYER:#x}"), "{surety}");
    assert_eq!((&said["creator_percent"], &said["honeypot_with_same_creator"]), (&json!("0.8"), &json!("1")));
    assert_eq!((&said["holder_count"], &said["lp_holder_count"]), (&json!("2"), &json!("1")));
    let holders = said["holders"].as_array().unwrap();
    assert_eq!((&holders[0]["percent"], &holders[1]["address"]), (&json!("0.8"), &json!(format!("{pair:#x}"))));
    assert_eq!((&holders[1]["is_contract"], &said["lp_holders"][0]["percent"]), (&json!(1), &json!("1")));
    let kinds: Vec<&Value> = surety["evidence"].as_array().unwrap().iter().map(|item| &item["kind"]).collect();
    assert!(kinds.contains(&&json!("history")));

    // A transfer that never happened: nobody knows who else is missing.
    let false_logs = [logs, vec![moved(token, DEPLOYER, OTHER, U256::ONE)]].concat();
    let (said, surety) = ask(&lists, &chains(&stage, false_logs, &[token]), token, 0);
    for field in ["holders", "holder_count"] {
        assert_eq!((&said[field], reason(&surety, token, field)), (&Value::Null, json!("unsupported_contract")));
    }
    assert_eq!(said["honeypot_with_same_creator"], "0");
}

#[test]
fn without_history_and_lists_their_fields_are_unknown() {
    let mut stage = Stage::new();
    let token = stage.fixture("Standard");
    let mut snapshot = stage.snapshot();
    snapshot.head.chain_id = CHAIN;
    struct Now(surety_evm::Snapshot);
    impl Chain for Now {
        fn chain_id(&self) -> u64 {
            CHAIN
        }
        fn snapshot(&self, _: Option<u64>) -> Result<surety_evm::Snapshot, surety_evm::StateError> {
            Ok(self.0.clone())
        }
    }
    let chain: Arc<dyn Chain> = Arc::new(Now(snapshot));
    let (said, surety) = ask(&Lists::default(), &Chains::from([(CHAIN, chain)]), token, 0);
    for field in OF_HISTORY {
        assert_eq!((&said[field], reason(&surety, token, field)), (&Value::Null, json!("no_history")), "{field}");
    }
    for field in ["trust_list", "is_true_token", "fake_token", "is_airdrop_scam", "is_open_source"] {
        assert_eq!((&said[field], reason(&surety, token, field)), (&Value::Null, json!("no_source")), "{field}");
    }
}

/// A list of trusted tokens with their symbols.
fn trusting(token: Address, symbol: &str) -> Dataset {
    let spec = SourceSpec {
        name: "tokens".to_owned(),
        version: "1".to_owned(),
        as_of: "2026-02-03".parse().unwrap(),
        licence: "MIT".to_owned(),
        format: Format::Csv,
        subject: Subject::Address,
        semantics: Semantics::Allow,
        label: String::new(),
    };
    let source = Source::read(&spec, format!("address,symbol\n{token},{symbol}\n").as_bytes()).unwrap().remove(0);
    Dataset::merge("addresses", "1", vec![source]).unwrap()
}

#[test]
fn a_trust_list_tells_true_tokens_from_those_that_bear_their_names() {
    let mut stage = Stage::new();
    let token = stage.fixture("Standard");
    let chains = chains(&stage, Vec::new(), &[]);
    let asked = |dataset: Dataset, at: u64| ask(&Lists::new(None, Some(dataset)), &chains, token, at);
    let (said, surety) = asked(trusting(token, "FIX"), 0);
    assert_eq!((&said["trust_list"], &said["is_true_token"]), (&json!("1"), &json!("1")));
    assert_eq!(reason(&surety, token, "fake_token"), "no_source");
    let kinds: Vec<&Value> = surety["evidence"].as_array().unwrap().iter().map(|item| &item["kind"]).collect();
    assert!(kinds.contains(&&json!("list")));
    for symbol in ["FIX", "fix"] {
        let (said, _) = asked(trusting(OTHER, symbol), 0);
        assert_eq!((&said["trust_list"], &said["is_true_token"]), (&json!("0"), &json!("0")));
        assert_eq!(said["fake_token"], json!({"true_token_address": format!("{OTHER:#x}"), "value": 1}));
    }
    let (said, surety) = asked(trusting(OTHER, "OTHER"), 0);
    assert_eq!((&said["trust_list"], &said["is_true_token"]), (&json!("0"), &Value::Null));
    assert_eq!(reason(&surety, token, "is_true_token"), "no_source");
    let aged = trusting(OTHER, "FIX").with_max_age(None, Seconds(1));
    let (said, surety) = asked(aged, 4_000_000_000);
    for field in ["trust_list", "is_true_token", "fake_token"] {
        assert_eq!((&said[field], reason(&surety, token, field)), (&Value::Null, json!("list_stale")), "{field}");
    }
}
