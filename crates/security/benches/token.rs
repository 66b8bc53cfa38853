//! How long the assessment of a token takes: everything, warm, and remembered.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::SolValue;
use divan::{Bencher, black_box};
use serde::Deserialize;
use surety_evm::{Call, Head, Limits, Session, Snapshot, World};
use surety_security::token::{Cache, Key, Params, assess, market};

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

const FACTORY: Address = address!("5C69bEe701ef814a2B6a3EDD4B1652CB9cc5aA6f");
const ROUTER: Address = address!("7a250d5630B4cF539739dF2C5dAcb4c659F2488D");
const COIN: Address = address!("C02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2");
const TOKENS: [&str; 4] = ["Standard", "PausableStable", "PowerTax", "TrapWhitelist"];

#[derive(Deserialize)]
struct File {
    contracts: BTreeMap<String, Artifact>,
}

#[derive(Deserialize)]
struct Artifact {
    bytecode: Bytes,
}

/// A chain with an exchange and one fixture on it.
fn stage(name: &str) -> (Snapshot, Address) {
    let file: File = serde_json::from_str(include_str!("../../../contracts/fixtures/artifacts.json"))
        .unwrap_or_else(|error| unreachable!("committed artifacts: {error}"));
    let mut world = World::new();
    for (address, name) in [(FACTORY, "Factory"), (ROUTER, "Router"), (COIN, "Wrapped")] {
        world.insert(address, 1, U256::ZERO, market::runtime(name));
    }
    world.set_storage(ROUTER, U256::ZERO, U256::from_be_slice(FACTORY.as_slice()));
    let below = Snapshot { head: Head::default(), source: Arc::new(world.clone()) };
    let mut session = Session::new(&below, Limits::default());
    let init = [file.contracts[name].bytecode.to_vec(), (FACTORY, COIN).abi_encode()].concat();
    let made = session.run(&Call::create(Address::repeat_byte(0xd0), init)).ok().and_then(|outcome| outcome.created);
    world.apply(session.changes());
    (Snapshot { head: Head::default(), source: Arc::new(world) }, made.unwrap_or_default())
}

#[divan::bench(args = TOKENS)]
fn token_probe_and_privileges(bencher: Bencher<'_, '_>, name: &str) {
    let (snapshot, token) = stage(name);
    let params = Params::default();
    bencher.bench(|| assess(black_box(&snapshot), token, &params, None));
}

#[divan::bench]
fn token_cached(bencher: Bencher<'_, '_>) {
    let (snapshot, token) = stage("Standard");
    let cache = Cache::new(1_024);
    let key = Key { chain_id: 1, token, code_hash: B256::ZERO, block: B256::ZERO };
    if let Ok(report) = assess(&snapshot, token, &Params::default(), None) {
        cache.put(key, report);
    }
    bencher.bench(|| cache.get(black_box(&key)));
}
