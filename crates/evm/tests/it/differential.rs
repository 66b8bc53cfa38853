//! The same signed transactions on a second EVM (@ethereumjs/vm) at the same fork: equal status, gas, logs and state roots.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, Log};
use serde::Deserialize;
use surety_evm::{Head, Limits, Session, Snapshot, Transaction, World};

use crate::npm;

#[derive(Deserialize)]
struct Corpus {
    head: CorpusHead,
    alloc: World,
    genesis_root: B256,
    transactions: Vec<Expected>,
}

#[derive(Deserialize)]
struct CorpusHead {
    chain_id: u64,
    number: u64,
    timestamp: u64,
    gas_limit: u64,
    base_fee: u64,
    coinbase: Address,
    prevrandao: B256,
}

#[derive(Deserialize)]
struct Expected {
    raw: Bytes,
    status: u8,
    error: Option<String>,
    gas: u64,
    logs: Vec<ExpectedLog>,
    output: Bytes,
    root: B256,
}

#[derive(Deserialize)]
struct ExpectedLog {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
}

#[test]
fn a_second_evm_gives_the_same_status_gas_logs_and_state() {
    if npm::package("@ethereumjs/vm").is_none() {
        return;
    }
    let corpus: Corpus = serde_json::from_slice(&npm::run("evm.cjs")).unwrap();
    assert!(corpus.transactions.len() >= 200);
    let head = Head {
        chain_id: corpus.head.chain_id,
        number: corpus.head.number,
        timestamp: corpus.head.timestamp,
        gas_limit: corpus.head.gas_limit,
        base_fee: corpus.head.base_fee,
        coinbase: corpus.head.coinbase,
        prevrandao: corpus.head.prevrandao,
        ..Head::default()
    };
    let mut world = corpus.alloc;
    assert_eq!(world.root(), corpus.genesis_root);
    for (index, expected) in corpus.transactions.iter().enumerate() {
        let case = format!("transaction {index} ({:?})", expected.error);
        let transaction = Transaction::decode(&expected.raw).unwrap();
        assert_eq!(transaction.raw(), &expected.raw, "{case}");
        let snapshot = Snapshot { head: head.clone(), source: Arc::new(world.clone()) };
        let mut session = Session::new(&snapshot, Limits::default());
        let outcome = session.execute(&transaction).unwrap();
        world.apply(session.changes());

        assert_eq!(u8::from(outcome.is_success()), expected.status, "{case}: {:?}", outcome.status);
        assert_eq!(outcome.gas_used, expected.gas, "{case}");
        assert_eq!(outcome.logs, logs(expected), "{case}");
        if outcome.created.is_none() {
            assert_eq!(outcome.output, expected.output, "{case}");
        }
        assert_eq!(world.root(), expected.root, "{case}");
    }
}

fn logs(expected: &Expected) -> Vec<Log> {
    let log = |log: &ExpectedLog| Log::new_unchecked(log.address, log.topics.clone(), log.data.clone());
    expected.logs.iter().map(log).collect()
}
