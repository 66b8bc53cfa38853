//! Hostile code: every bytecode, random ones too, ends in an answer within the limits.

use alloy_primitives::{Bytes, U256, bytes};
use proptest::prelude::*;
use surety_evm::{Call, Limits, Session, Status};

use crate::sessions::{ANA, CODE, session, with_code};

fn run(code: &[u8]) -> surety_evm::Outcome {
    session(code).run(&Call::new(ANA, CODE, bytes!(""))).unwrap()
}

#[test]
fn an_endless_loop_is_out_of_budget() {
    let outcome = run(&bytes!("5b5f56"));
    assert_eq!(outcome.status, Status::OutOfBudget);
    let limits = Limits { steps: 1000, ..Limits::default() };
    let mut session = Session::new(&with_code(&bytes!("5b5f56")), limits);
    let outcome = session.run(&Call::new(ANA, CODE, bytes!(""))).unwrap();
    assert_eq!((outcome.status, outcome.trace.steps), (Status::OutOfBudget, 1000));
}

#[test]
fn the_session_has_a_budget_of_its_own() {
    let limits = Limits { steps: 1000, session_steps: 1500, ..Limits::default() };
    let mut session = Session::new(&with_code(&bytes!("5b5f56")), limits);
    let call = Call::new(ANA, CODE, bytes!(""));
    session.run(&call).unwrap();
    assert_eq!(session.steps_left(), 500);
    session.run(&call).unwrap();
    assert_eq!(session.run(&call).unwrap().status, Status::OutOfBudget);
    assert_eq!(session.steps_left(), 0);
}

#[test]
fn gas_that_the_caller_named_is_a_halt_and_not_a_budget() {
    let mut session = session(&bytes!("5b5f56"));
    let outcome = session.run(&Call::new(ANA, CODE, bytes!("")).gas(50_000)).unwrap();
    assert_eq!(outcome.status, Status::Halt("out_of_gas".into()));
}

#[test]
fn a_call_that_calls_itself_ends() {
    // Calls itself with all gas, over and over, at every depth.
    let outcome = run(&bytes!("5b5f5f5f5f5f305af1505f56"));
    assert_eq!(outcome.status, Status::OutOfBudget);
    assert!(outcome.trace.frames.len() <= 8192);
}

#[test]
fn a_returndata_bomb_is_bounded() {
    // Returns 2 MB; the caller copies it again and again.
    let bomb = bytes!("3615600b57621e84805ff35b5f5f60015f5f305af1503d5f5f3e600b56");
    let outcome = run(&bomb);
    assert_eq!(outcome.status, Status::OutOfBudget);
}

#[test]
fn a_contract_that_rewrites_itself_by_create2_and_selfdestruct_ends() {
    // Creates contracts that destroy themselves, in a loop.
    let outcome = run(&bytes!("5b6130ff5f525f6002601e5ff5505f56"));
    assert!(!outcome.is_success());
}

#[test]
fn too_much_memory_halts() {
    let outcome = run(&bytes!("67ffffffffffffffff5ff3"));
    assert!(matches!(outcome.status, Status::OutOfBudget | Status::Halt(_)));
}

/// What runs in a loop until the gas is used up: each does much for few instructions.
fn heavy() -> Vec<(&'static str, Vec<u8>)> {
    // Each body leaves the stack as it was.
    let looped = |before: &[u8], body: &[u8]| {
        let start = u8::try_from(before.len()).unwrap();
        [before, &[0x5b], body, &[0x60, start, 0x56]].concat()
    };
    // PUSH2 outsize PUSH0 PUSH2 insize PUSH0 PUSH1 precompile GAS STATICCALL POP
    let precompile = |number: u8, input: u16, output: u8| {
        let [high, low] = input.to_be_bytes();
        vec![0x60, output, 0x5f, 0x61, high, low, 0x5f, 0x60, number, 0x5a, 0xfa, 0x50]
    };
    // Base and modulus of 256 bytes, an exponent of 32, all ones. MSTORE of the lengths, then of ones.
    let mut modexp = vec![];
    for (place, length) in [(0u8, 0x100u16), (0x20, 0x20), (0x40, 0x100)] {
        let [high, low] = length.to_be_bytes();
        modexp.extend([0x61, high, low, 0x60, place, 0x52]);
    }
    for place in (0x60u16..0x280).step_by(32) {
        let [high, low] = place.to_be_bytes();
        modexp.extend([0x5f, 0x19, 0x61, high, low, 0x52]);
    }
    let modexp_start = u16::try_from(modexp.len()).unwrap();
    let [high, low] = modexp_start.to_be_bytes();
    let modexp = [&modexp[..], &[0x5b], &precompile(5, 0x280, 0)[..], &[0x61, high, low, 0x56]].concat();
    vec![
        // Keccak of 64 KiB.
        ("hashing", looped(&[], &[0x62, 0x01, 0x00, 0x00, 0x5f, 0x20, 0x50])),
        // Pairing of two points at infinity.
        ("pairing", looped(&[], &precompile(8, 384, 0x20))),
        ("modexp", modexp),
        ("sha256", looped(&[], &precompile(2, 0xffff, 0))),
        // CODECOPY and MCOPY of 64 KiB.
        ("copying", looped(&[], &[0x61, 0xff, 0xff, 0x5f, 0x5f, 0x39, 0x61, 0xff, 0xff, 0x5f, 0x5f, 0x5e])),
    ]
}

const WORKED: Limits = Limits { gas: 3_000_000, steps: u64::MAX, session_steps: 1_000_000 };

/// The calls that a session takes before it is used up, and the gas of all of them together.
fn until_used_up(code: &[u8]) -> (u64, u64) {
    let mut session = Session::new(&with_code(code), WORKED);
    let (mut calls, mut gas) = (0, 0);
    while session.steps_left() > 0 && calls < 100_000 {
        gas += session.run(&Call::new(ANA, CODE, bytes!(""))).unwrap().gas_used - 21_000;
        calls += 1;
    }
    (calls, gas)
}

#[test]
fn work_that_few_instructions_do_counts_for_what_it_costs() {
    for (what, code) in heavy() {
        let (calls, gas) = until_used_up(&code);
        // The last call may use all of its own gas: nothing stops a call before its instructions are counted.
        assert!(gas <= 20 * WORKED.session_steps + WORKED.gas, "{what}: {gas} gas in {calls} calls");
    }
}

#[test]
fn work_before_a_failure_counts_like_work_before_a_return() {
    for (what, code) in heavy() {
        // One round: the loop's jump is cut off and the end put in its place.
        let jump = if what == "modexp" { 4 } else { 3 };
        let once = |end: u8| [&code[..code.len() - jump], &[end]].concat();
        let cost = |code: &[u8]| {
            let mut session = Session::new(&with_code(code), WORKED);
            session.run(&Call::new(ANA, CODE, bytes!(""))).unwrap();
            WORKED.session_steps - session.steps_left()
        };
        let (returned, failed) = (cost(&once(0x00)), cost(&once(0xfe)));
        assert!(failed >= returned && returned > 1, "{what}: {failed} against {returned}");
        // And the gas that a failure forfeits is no work.
        assert!(failed <= returned + 2, "{what}: {failed} against {returned}");
    }
}

#[test]
fn frames_that_fail_inside_count_as_if_they_had_not() {
    for (what, code) in heavy() {
        // With data it works and fails, without it calls itself with data and some gas, for as long as there is any:
        // CALLDATASIZE PUSH1 inner JUMPI, JUMPDEST PUSH0 PUSH0 PUSH1 1 PUSH0 PUSH0 ADDRESS PUSH3 gas CALL POP PUSH1 4 JUMP.
        let outer = [
            0x36, 0x60, 21, 0x57, 0x5b, 0x5f, 0x5f, 0x60, 1, 0x5f, 0x5f, 0x30, 0x62, 0x02, 0x00, 0x00, 0xf1, 0x50,
            0x60, 4, 0x56, 0x5b,
        ];
        // The heavy loop's own jumps are moved by as much as stands before it: it is only tried where that is easy.
        if what == "modexp" {
            continue;
        }
        let mut inner = code.clone();
        let target = inner.len() - 2;
        inner[target] = 22;
        let (calls, gas) = until_used_up(&[&outer[..], &inner].concat());
        assert!(gas <= 40 * WORKED.session_steps + WORKED.gas, "{what}: {gas} gas in {calls} calls");
    }
}

#[test]
fn a_creation_whose_code_only_works_is_counted() {
    let (_, body) = heavy().swap_remove(0);
    let mut session = Session::new(&with_code(&[]), WORKED);
    let mut calls = 0;
    while session.steps_left() > 0 && calls < 1_000 {
        session.run(&Call::create(ANA, body.clone())).unwrap();
        calls += 1;
    }
    assert!(calls < 20, "{calls}");
}

#[test]
fn invalid_transactions_have_names() {
    let mut session = session(&[0x00]);
    let outcome = session.run(&Call::new(ANA, CODE, bytes!("")).gas(20_000)).unwrap();
    assert_eq!(outcome.status, Status::Halt("intrinsic_gas".into()));
    assert_eq!(outcome.gas_used, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_bytecode_ends_in_an_answer(code in code(), data in proptest::collection::vec(any::<u8>(), 0..128), value in 0u64..3) {
        let limits = Limits { gas: 2_000_000, steps: 100_000, session_steps: 250_000 };
        let mut session = Session::new(&with_code(&code), limits);
        let call = Call::new(ANA, CODE, Bytes::from(data)).value(U256::from(value));
        let simulation = session.simulate(&call).unwrap();
        prop_assert!(simulation.outcome.trace.steps <= 100_000);
        let mut again = Session::new(&with_code(&code), limits);
        prop_assert_eq!(again.simulate(&call).unwrap(), simulation);
        session.run(&Call::create(ANA, Bytes::from(code))).unwrap();
    }
}

/// Random bytes, and random programs whose stack is rarely empty.
fn code() -> impl Strategy<Value = Vec<u8>> {
    let raw = proptest::collection::vec(any::<u8>(), 0..300);
    let program = (proptest::collection::vec(0u8..64, 40), proptest::collection::vec(any::<u8>(), 0..200))
        .prop_map(|(stock, rest)| stock.into_iter().flat_map(|byte| [0x60, byte]).chain(rest).collect::<Vec<u8>>());
    prop_oneof![raw, program]
}
