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
