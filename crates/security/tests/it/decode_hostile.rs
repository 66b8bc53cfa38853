//! Bytes from strangers: reading them always ends, soon, and says what it could not read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, Bytes, U256};
use proptest::prelude::*;
use surety_security::decode::call::{Kind, MAX_CALLS, MAX_DEPTH, Unread};
use surety_security::decode::infer::MAX_METHODS;
use surety_security::decode::typed::TypedData;
use surety_security::decode::{
    AbiSource, Call, Decoded, Inferred, Input, Known, MessageKind, Method, Note, answer, decode,
};
use surety_security::rules::{Context, MAX_CASES, judge};

use crate::js;

fn target() -> Address {
    Address::repeat_byte(0x77)
}

fn read(data: impl Into<Bytes>) -> Call {
    let Decoded::Call(call) = decode(&Known::default(), Input::call(None, target(), data)) else { unreachable!() };
    *call
}

/// Everything that is done with a subject: decoding, judging, answering.
fn whole(input: Input) {
    let decoded = decode(&Known::default(), input);
    let judgement = judge(&decoded, &Context::default());
    let said = answer::answer(&decoded, &Default::default(), &judgement);
    serde_json::to_string(&(said, answer::extra(&decoded))).unwrap();
    for call in decoded.calls() {
        let skipped = if matches!(call.raw.kind, Kind::Command(_)) { 0 } else { 4 };
        for reading in call.readings.iter().filter(|reading| reading.encoding.canonical) {
            let encoded = DynSolValue::Tuple(reading.values.clone()).abi_encode_params();
            assert_eq!(encoded.len() + skipped + reading.encoding.left_over, call.raw.data.len());
            assert!(call.raw.data[skipped..].starts_with(&encoded));
        }
    }
}

fn within(limit: Duration, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    assert!(start.elapsed() < limit, "{:?}", start.elapsed());
}

fn encoded(signature: &str, values: Vec<DynSolValue>) -> Vec<u8> {
    let method = Method::parse(signature).unwrap();
    [&method.selector[..], &DynSolValue::Tuple(values).abi_encode_params()].concat()
}

fn multicall(calls: Vec<Vec<u8>>) -> Vec<u8> {
    encoded("multicall(bytes[])", vec![DynSolValue::Array(calls.into_iter().map(DynSolValue::Bytes).collect())])
}

#[test]
fn calls_nested_too_deeply_are_said_to_be() {
    let mut data = encoded("transfer(address,uint256)", vec![target().into(), DynSolValue::Uint(U256::ONE, 256)]);
    for _ in 0..MAX_DEPTH + 3 {
        data = multicall(vec![data]);
    }
    let call = read(data);
    let notes: Vec<Note> = call.walk().iter().flat_map(|call| call.notes.clone()).collect();
    assert_eq!(notes, [Note::TooDeep]);
    assert_eq!(call.walk().len(), MAX_DEPTH);
}

#[test]
fn too_many_calls_are_said_to_be() {
    let call = read(multicall(vec![vec![0xd0, 0xe3, 0x0d, 0xb0]; MAX_CALLS + 10]));
    assert!(call.notes.contains(&Note::TooMany));
    assert_eq!(call.walk().len(), MAX_CALLS);
}

#[test]
fn a_bomb_of_offsets_that_all_lead_to_one_place_ends_soon() {
    // An array of 3,000 byte strings, each at the same 90 kB.
    let count = 3_000_usize;
    let word = |number: usize| U256::from(number).to_be_bytes::<32>();
    let mut data = vec![0xac, 0x96, 0x50, 0xd8];
    data.extend(word(32));
    data.extend(word(count));
    (0..count).for_each(|_| data.extend(word(count * 32)));
    data.extend(word(90_000));
    data.extend(vec![0xac; 90_016]);
    within(Duration::from_secs(5), || {
        let call = read(data);
        assert!(call.notes.contains(&Note::TooMany), "{:?}", call.notes);
    });
}

#[test]
fn lengths_beyond_all_memory_are_refused() {
    for length in [U256::MAX, U256::from(u64::MAX), U256::from(1_u64 << 40)] {
        let mut data = vec![0xac, 0x96, 0x50, 0xd8];
        data.extend(U256::from(32).to_be_bytes::<32>());
        data.extend(length.to_be_bytes::<32>());
        assert_eq!(read(data).notes, [Note::Misfit]);
    }
}

#[test]
fn dirty_upper_bytes_do_not_hide_an_approval() {
    let mut data = encoded("approve(address,uint256)", vec![target().into(), DynSolValue::Uint(U256::MAX, 256)]);
    data[4] = 0xff;
    let call = read(data);
    assert!(call.notes.contains(&Note::NotCanonical));
    let approval = call.readings.iter().find(|reading| reading.method.name == "approve").unwrap();
    assert_eq!(approval.values[0].as_address(), Some(target()));
}

#[test]
fn types_that_multiply_are_refused_or_end_soon() {
    // Each struct holds the next one many times: as a tree it would have 8^20 parts.
    let fields =
        |next: usize| (0..8).map(|n| format!(r#"{{"name":"f{n}","type":"T{next}"}}"#)).collect::<Vec<_>>().join(",");
    let types: Vec<String> = (0..20).map(|n| format!(r#""T{n}":[{}]"#, fields(n + 1))).collect();
    let text = format!(
        r#"{{"types":{{{},"T20":[{{"name":"x","type":"uint8"}}]}},"primaryType":"T0","domain":{{}},"message":{{}}}}"#,
        types.join(",")
    );
    within(Duration::from_secs(2), || assert!(TypedData::parse(&text).is_err()));
}

#[test]
fn typed_data_that_wallets_hash_differently_is_refused() {
    let with = |fields: &str, message: &str| {
        format!(r#"{{"types":{{"A":[{fields}]}},"primaryType":"A","domain":{{}},"message":{message}}}"#)
    };
    let number = r#"{"name":"x","type":"uint256"}"#;
    assert!(TypedData::parse(&with(number, r#"{"x":9007199254740991}"#)).is_ok());
    assert!(TypedData::parse(&with(number, r#"{"x":9007199254740993}"#)).is_err());
    assert!(TypedData::parse(&with(number, r#"{"x":1e3}"#)).is_err());
    assert!(TypedData::parse(&with(number, "{}")).is_err());
    assert!(TypedData::parse(&with(number, r#"{"x":null}"#)).is_err());
    assert!(TypedData::parse(&with(number, r#"{"x":-1}"#)).is_err());
    assert!(TypedData::parse(&with(r#"{"name":"x","type":"uint8"}"#, r#"{"x":256}"#)).is_err());
    assert!(TypedData::parse(&with(r#"{"name":"x","type":"int8"}"#, r#"{"x":-128}"#)).is_ok());
    assert!(TypedData::parse(&with(r#"{"name":"x","type":"int8"}"#, r#"{"x":-129}"#)).is_err());
    assert!(TypedData::parse(&with(r#"{"name":"x","type":"int8"}"#, r#"{"x":128}"#)).is_err());
    assert!(TypedData::parse(&with(r#"{"name":"x","type":"uint7"}"#, r#"{"x":1}"#)).is_err());
    assert!(TypedData::parse(&with(&format!("{number},{number}"), r#"{"x":1}"#)).is_err());
    assert!(TypedData::parse(&with(number, r#"{"x":1,"x":2}"#)).is_err());
    assert!(TypedData::parse(&with(r#"{"name":"x","type":"B"}"#, r#"{"x":{}}"#)).is_err());
    assert!(TypedData::parse(&with(r#"{"name":"x","type":"uint256[2]"}"#, r#"{"x":[1]}"#)).is_err());
    assert!(TypedData::parse(&with(r#"{"name":"x,uint y","type":"uint256"}"#, r#"{"x,uint y":1}"#)).is_err());
}

#[test]
fn a_struct_may_hold_itself() {
    let text = r#"{"types":{"Node":[{"name":"v","type":"uint8"},{"name":"next","type":"Node[]"}]},"primaryType":"Node",
        "domain":{},"message":{"v":1,"next":[{"v":2,"next":[]}]}}"#;
    assert!(TypedData::parse(text).is_ok());
}

#[test]
fn code_that_is_no_contract_infers_nothing() {
    assert!(Inferred::of(&[]).is_empty());
    assert!(Inferred::of(&vec![0x5b; 30_000]).is_empty());
}

#[test]
fn thousands_of_transfers_in_a_call_are_judged_soon_and_told_in_part() {
    let one = DynSolValue::Tuple(vec![
        Address::repeat_byte(1).into(),
        Address::repeat_byte(2).into(),
        DynSolValue::Uint(U256::ZERO, 160),
        Address::repeat_byte(3).into(),
    ]);
    let data =
        encoded("transferFrom((address,address,uint160,address)[])", vec![DynSolValue::Array(vec![one; 10_000])]);
    within(Duration::from_secs(5), || {
        let decoded = decode(&Known::default(), Input::call(Some(Address::ZERO), target(), data));
        let context = Context { signer: Some(Address::ZERO), ..Context::default() };
        let judgement = judge(&decoded, &context);
        assert!(judgement.has("drain.many_from_one"));
        assert_eq!(judgement.risks.iter().filter(|risk| risk.id == "poison.zero_value").count(), MAX_CASES);
    });
}

#[test]
fn batches_within_batches_share_one_budget() {
    // Fifty calls of `execute(mode, …)`, all with the same 60 kB, in which a list names the same 50 kB a hundred times.
    let word = |number: usize| U256::from(number).to_be_bytes::<32>();
    let mut list = [word(32), word(100)].concat();
    (0..100).for_each(|_| list.extend(word(3_200)));
    list.extend([word(7), word(0), word(96), word(50_000)].concat());
    list.extend(vec![0; 50_016]);
    let mode = DynSolValue::FixedBytes(alloy_primitives::B256::right_padding_from(&[1]), 32);
    let one = encoded("execute(bytes32,bytes)", vec![mode, DynSolValue::Bytes(list)]);
    within(Duration::from_secs(5), || {
        let call = read(multicall(vec![one; 50]));
        let notes: Vec<Note> = call.walk().iter().flat_map(|call| call.notes.clone()).collect();
        assert!(notes.contains(&Note::TooMany) || notes.contains(&Note::Incomplete), "{notes:?}");
    });
}

/// Code that dispatches so many methods, all of which read an argument and then loop.
fn looping(methods: u32) -> Vec<u8> {
    // PUSH0 CALLDATALOAD PUSH1 e0 SHR, then DUP1 PUSH4 selector EQ PUSH2 target JUMPI for each method.
    let mut code = vec![0x5f, 0x35, 0x60, 0xe0, 0x1c];
    let end = u16::try_from(code.len() + methods as usize * 11).unwrap();
    for method in 0..methods {
        code.extend([0x80, 0x63]);
        code.extend((method + 0x1000_0000).to_be_bytes());
        code.extend([0x14, 0x61]);
        code.extend(end.to_be_bytes());
        code.push(0x57);
    }
    // JUMPDEST, reads an argument, jumps back.
    code.extend([0x5b, 0x60, 0x04, 0x35, 0x50, 0x61]);
    code.extend(end.to_be_bytes());
    code.push(0x56);
    code
}

#[test]
fn code_with_thousands_of_methods_that_loop_is_not_looked_at() {
    for methods in [u32::try_from(MAX_METHODS).unwrap(), 2_000] {
        let start = Instant::now();
        let found = Inferred::of(&looping(methods));
        println!("{:?} for {methods} methods that loop", start.elapsed());
        assert_eq!(found.is_empty(), methods == 2_000);
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}

#[test]
fn inferred_types_are_marked_and_used_last() {
    let Some(package) = js::package("@uniswap/v2-periphery") else { return };
    let artifact = std::fs::read(package.join("build/UniswapV2Router02.json")).unwrap();
    let artifact: serde_json::Value = serde_json::from_slice(&artifact).unwrap();
    let code = const_hex::decode(artifact["evm"]["deployedBytecode"]["object"].as_str().unwrap()).unwrap();
    let known = Known { inferred: [(target(), Arc::new(Inferred::of(&code)))].into(), ..Known::default() };
    let read = |data: Vec<u8>| {
        let Decoded::Call(call) = decode(&known, Input::call(None, target(), data)) else { unreachable!() };
        *call
    };

    // Not in the table: types alone are known, and not what the method is called.
    let three = vec![DynSolValue::Uint(U256::from(5), 256); 3];
    let quote = read(encoded("quote(uint256,uint256,uint256)", three.clone()));
    let reading = quote.reading().unwrap();
    assert_eq!((reading.source, reading.method.name.as_str()), (AbiSource::Inferred, ""));
    assert_eq!((reading.method.signature.as_str(), &reading.values), ("(uint256,uint256,uint256)", &three));

    let path = DynSolValue::Array(vec![target().into()]);
    let amount = || DynSolValue::Uint(U256::ONE, 256);
    let signature = "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)";
    let swap = read(encoded(signature, vec![amount(), amount(), path, target().into(), amount()]));
    assert_eq!(swap.reading().unwrap().source, AbiSource::Table);
}

/// Selectors behind which the reader looks for calls.
const NESTING: [[u8; 4]; 8] = [
    [0xac, 0x96, 0x50, 0xd8],
    [0x5a, 0xe4, 0x01, 0xdc],
    [0x82, 0xad, 0x56, 0xcb],
    [0x8d, 0x80, 0xff, 0x0a],
    [0xe9, 0xae, 0x5c, 0x53],
    [0x35, 0x93, 0x56, 0x4c],
    [0x6a, 0x76, 0x12, 0x02],
    [0x1f, 0xad, 0x94, 0x8c],
];

/// Words that look like offsets, so that random data gets past the first check.
fn word() -> impl Strategy<Value = [u8; 32]> {
    prop_oneof![
        (0_u64..512).prop_map(|number| U256::from(number).to_be_bytes()),
        (0_u64..32).prop_map(|number| U256::from(number * 32).to_be_bytes()),
        any::<[u8; 32]>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_end(data in proptest::collection::vec(any::<u8>(), 0..600), delegate in any::<bool>()) {
        let kind = if delegate { Kind::Delegate } else { Kind::Call };
        whole(Input::Call(Unread { to: Some(target()), data: data.clone().into(), kind, ..Unread::default() }));
        whole(Input::Personal(data.clone().into()));
        whole(Input::EthSign(data.into()));
    }

    #[test]
    fn any_words_behind_a_nesting_selector_end(
        selector in proptest::sample::select(NESTING.to_vec()),
        words in proptest::collection::vec(word(), 0..40),
    ) {
        whole(Input::call(None, target(), [selector.to_vec(), words.concat()].concat()));
    }

    #[test]
    fn any_text_ends(text in "\\PC{0,200}") {
        whole(Input::TypedData(text.clone()));
        whole(Input::Personal(text.into_bytes().into()));
    }

    #[test]
    fn any_json_like_text_ends(text in "[\\[\\]{}:,\"0-9a-z \\\\]{0,200}") {
        whole(Input::TypedData(text));
    }

    #[test]
    fn any_user_operation_ends(init in proptest::collection::vec(any::<u8>(), 0..90), data in proptest::collection::vec(any::<u8>(), 0..200)) {
        let (entry_point, sender) = (target(), Address::ZERO);
        whole(Input::UserOperation { entry_point, sender, init_code: init.into(), call_data: data.into() });
    }
}

#[test]
fn what_is_no_json_is_unreadable() {
    let Decoded::Message(message) = decode(&Known::default(), Input::TypedData("{".to_owned())) else { unreachable!() };
    assert_eq!(message.kind, MessageKind::Unreadable);
}
