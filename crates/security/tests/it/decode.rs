//! Decoding of calls and hashing of typed data, against ethers and viem on the methods of published contracts.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use alloy_dyn_abi::DynSolValue;
use alloy_json_abi::{Function, JsonAbi};
use alloy_primitives::{Address, Bytes};
use serde_json::{Value, json};
use surety_security::decode::typed::TypedData;
use surety_security::decode::{AbiSource, Call, Contract, Decoded, Input, Known, Reading, call, decode, table};

use crate::js;

/// A call that ethers and viem read alike.
pub(crate) struct Sample {
    pub(crate) signature: String,
    pub(crate) abi: Value,
    pub(crate) data: Bytes,
    pub(crate) params: Value,
}

/// Runs `node decode.cjs` with these arguments; nothing without npm.
fn run(arguments: &[&str]) -> Option<Vec<Value>> {
    js::package("ethers")?;
    let output = Command::new("node").arg("decode.cjs").args(arguments).current_dir(js::folder()).output().unwrap();
    assert!(output.status.success(), "decode.cjs {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// Two calls of every method of every artifact, with arguments from a fixed seed.
pub(crate) fn samples() -> Option<&'static [Sample]> {
    static SAMPLES: OnceLock<Option<Vec<Sample>>> = OnceLock::new();
    let read = || {
        let lines = run(&["calls", "20261122", "2"])?;
        let sample = |line: Value| Sample {
            signature: line["signature"].as_str().unwrap().to_owned(),
            abi: line["abi"].clone(),
            data: line["data"].as_str().unwrap().parse().unwrap(),
            params: line["params"].clone(),
        };
        Some(lines.into_iter().map(sample).collect())
    };
    SAMPLES.get_or_init(read).as_deref()
}

/// Values in the form that the script writes.
fn plain(values: &[DynSolValue]) -> Value {
    values.iter().map(one).collect()
}

fn one(value: &DynSolValue) -> Value {
    match value {
        DynSolValue::Bool(flag) => json!(flag),
        DynSolValue::Int(number, _) => json!(number.to_string()),
        DynSolValue::Uint(number, _) => json!(number.to_string()),
        DynSolValue::Address(address) => json!(const_hex::encode_prefixed(address)),
        DynSolValue::Bytes(bytes) => json!(const_hex::encode_prefixed(bytes)),
        DynSolValue::FixedBytes(word, size) => json!(const_hex::encode_prefixed(&word[..*size])),
        DynSolValue::Function(function) => json!(const_hex::encode_prefixed(function)),
        DynSolValue::String(text) => json!(text),
        DynSolValue::Array(values) | DynSolValue::FixedArray(values) | DynSolValue::Tuple(values) => plain(values),
        DynSolValue::CustomStruct { .. } => unreachable!("structs are decoded as tuples"),
    }
}

fn target() -> Address {
    Address::repeat_byte(0x77)
}

/// The ABI of one method, as a contract's.
fn known(sample: &Sample) -> Known {
    let function: Function = serde_json::from_value(sample.abi.clone()).unwrap();
    let mut abi = JsonAbi::new();
    abi.functions.insert(function.name.clone(), vec![function]);
    let (contract, left_out) = Contract::new("Sample", "", &abi);
    assert_eq!(left_out, 0, "{}", sample.signature);
    Known { contracts: BTreeMap::from([(target(), Arc::new(contract))]), ..Known::default() }
}

fn read(known: &Known, data: &Bytes) -> Call {
    let Decoded::Call(call) = decode(known, Input::call(None, target(), data.clone())) else { unreachable!() };
    *call
}

fn assert_exact(reading: &Reading, sample: &Sample) {
    assert_eq!(reading.method.signature, sample.signature);
    assert_eq!(plain(&reading.values), sample.params, "{}", sample.signature);
    assert!(
        reading.encoding.canonical && reading.encoding.left_over == 0,
        "{}: {:?}",
        sample.signature,
        reading.encoding
    );
}

#[test]
fn calls_are_read_as_ethers_and_viem_read_them() {
    let Some(samples) = samples() else { return };
    assert!(samples.len() >= 2_000, "{}", samples.len());
    for sample in samples {
        let call = read(&known(sample), &sample.data);
        assert_eq!(call.reading().unwrap().source, AbiSource::Contract);
        assert_exact(call.reading().unwrap(), sample);
    }
}

#[test]
fn the_built_in_table_reads_them_alike_where_it_has_the_method() {
    let Some(samples) = samples() else { return };
    let nothing = Known::default();
    let mut found = 0;
    for sample in samples {
        let selector = *sample.data.first_chunk().unwrap();
        if !table::rows(selector).iter().any(|row| row.method.signature == sample.signature) {
            continue;
        }
        found += 1;
        let call = read(&nothing, &sample.data);
        let reading = call.readings.iter().find(|reading| reading.method.signature == sample.signature).unwrap();
        assert_exact(reading, sample);
    }
    println!("{found} of {} calls are in the table", samples.len());
    assert!(found >= 550, "{found}");
}

#[test]
fn typed_data_hashes_as_ethers_and_viem_hash_it() {
    let Some(lines) = run(&["typed", "712", "500"]) else { return };
    assert_eq!(lines.len(), 500);
    for line in lines {
        let text = line["typed"].as_str().unwrap();
        let data = TypedData::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(json!(data.hash()), line["hash"], "{text}");
        assert!(data.domain_is_usual(), "{text}");
        assert_eq!(data.unsigned_fields(), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn bytes_that_follow_the_arguments_are_counted_and_cut_ones_are_no_reading() {
    let Some(samples) = samples() else { return };
    for sample in samples.iter().step_by(7) {
        let known = known(sample);
        let longer: Bytes = [&sample.data[..], &[1, 2, 3]].concat().into();
        let call = read(&known, &longer);
        assert_eq!(call.reading().unwrap().encoding.left_over, 3, "{}", sample.signature);
        assert_eq!(plain(&call.reading().unwrap().values), sample.params);
        if sample.data.len() > 4 {
            let shorter = read(&known, &sample.data.slice(..sample.data.len() - 32));
            let is_exact = shorter.reading().is_some_and(|reading| reading.encoding.canonical);
            assert!(!is_exact, "{}", sample.signature);
        }
    }
}

#[test]
fn a_usual_call_is_read_in_microseconds() {
    let Some(samples) = samples() else { return };
    let nothing = Known::default();
    let swaps: Vec<&Sample> = samples.iter().filter(|sample| sample.signature.starts_with("swap")).collect();
    let unread =
        |sample: &&Sample| call::Unread { to: Some(target()), data: sample.data.clone(), ..call::Unread::default() };
    let calls: Vec<_> = swaps.iter().map(unread).collect();
    let start = std::time::Instant::now();
    let rounds = 200;
    for _ in 0..rounds {
        for unread in &calls {
            std::hint::black_box(call::decode(&nothing, unread.clone()));
        }
    }
    let each = start.elapsed() / u32::try_from(rounds * calls.len()).unwrap();
    println!("{each:?} a call");
    // The goal is 20 us optimised; this build is not, and other tests run beside it.
    assert!(each.as_micros() < 2_000, "{each:?}");
}
