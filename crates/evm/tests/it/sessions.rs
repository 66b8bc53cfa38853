//! A session runs calls one after another and leaves its snapshot alone.

use std::sync::Arc;

use alloy_primitives::{Address, U256, bytes};
use surety_evm::{Call, FrameKind, Head, Limits, Session, Snapshot, Status, World};

pub(crate) const ANA: Address = Address::repeat_byte(0xaa);
pub(crate) const BEN: Address = Address::repeat_byte(0xbb);
pub(crate) const CODE: Address = Address::repeat_byte(0xcc);

/// A world where Ana has ether and one contract has this code.
pub(crate) fn with_code(code: &[u8]) -> Snapshot {
    let mut world = World::new();
    world.set_balance(ANA, U256::from(10u64.pow(18)));
    world.insert(CODE, 1, U256::ZERO, code.to_vec());
    Snapshot { head: Head::default(), source: Arc::new(world) }
}

pub(crate) fn session(code: &[u8]) -> Session {
    Session::new(&with_code(code), Limits::default())
}

/// Adds one to slot 0 and returns it.
const COUNTER: &[u8] = &[0x5f, 0x54, 0x60, 0x01, 0x01, 0x80, 0x5f, 0x55, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xf3];

#[test]
fn run_keeps_and_peek_forgets() {
    let snapshot = with_code(COUNTER);
    let mut session = Session::new(&snapshot, Limits::default());
    let call = Call::new(ANA, CODE, bytes!(""));
    assert_eq!(session.peek(&call).unwrap().word(), Some(U256::from(1)));
    assert_eq!(session.run(&call).unwrap().word(), Some(U256::from(1)));
    assert_eq!(session.run(&call).unwrap().word(), Some(U256::from(2)));
    assert_eq!(session.storage(CODE, U256::ZERO).unwrap(), U256::from(2));
    assert_eq!(snapshot.source.storage(CODE, U256::ZERO).unwrap(), U256::ZERO);
}

#[test]
fn checkpoints_go_back_and_forth() {
    let mut session = session(COUNTER);
    let call = Call::new(ANA, CODE, bytes!(""));
    let start = session.checkpoint();
    session.run(&call).unwrap();
    session.head_mut().advance_seconds(3600);
    let later = session.checkpoint();
    session.restore(&start);
    assert_eq!(session.head().number, 1);
    assert_eq!(session.storage(CODE, U256::ZERO).unwrap(), U256::ZERO);
    session.restore(&later);
    assert_eq!(session.head().number, 301);
    assert_eq!(session.storage(CODE, U256::ZERO).unwrap(), U256::from(1));
}

#[test]
fn the_trace_says_what_was_read_and_written() {
    let mut session = session(COUNTER);
    let outcome = session.run(&Call::new(ANA, CODE, bytes!(""))).unwrap();
    assert_eq!(outcome.trace.reads.get(&(CODE, U256::ZERO)), Some(&U256::ZERO));
    let write = &outcome.trace.writes[0];
    assert_eq!((write.address, write.before, write.after), (CODE, U256::ZERO, U256::from(1)));
    let frame = &outcome.trace.frames[0];
    assert_eq!((frame.kind, frame.from, frame.to, frame.ok), (FrameKind::Call, ANA, CODE, true));
    assert!(!outcome.trace.env().timestamp);
}

#[test]
fn environment_opcodes_are_noted_by_their_contract() {
    let mut session = session(&[0x42, 0x32, 0x00]);
    let outcome = session.run(&Call::new(ANA, CODE, bytes!(""))).unwrap();
    let seen = outcome.trace.opcodes[&CODE].env();
    assert!(seen.timestamp && seen.origin && !seen.number);
}

#[test]
fn value_without_funds_halts_and_moves_nothing() {
    let mut session = session(&[0x00]);
    let outcome = session.run(&Call::new(BEN, CODE, bytes!("")).value(U256::from(1))).unwrap();
    assert_eq!(outcome.status, Status::Halt("out_of_funds".into()));
    assert!(outcome.trace.native.is_empty());
    let outcome = session.run(&Call::new(ANA, CODE, bytes!("")).value(U256::from(1))).unwrap();
    assert!(outcome.is_success());
    assert_eq!(outcome.trace.native.len(), 1);
    assert_eq!(session.balance(CODE).unwrap(), U256::from(1));
}

#[test]
fn native_value_of_a_reverted_frame_is_forgotten() {
    // Calls itself with value when there is calldata, and reverts in the inner call.
    let code = bytes!("361560135760006000600060006001305af1505b600080fd");
    let mut session = session(&code);
    let outcome = session.run(&Call::new(ANA, CODE, bytes!("01")).value(U256::from(5))).unwrap();
    assert_eq!(outcome.status, Status::Revert);
    assert!(outcome.trace.native.is_empty());
    assert!(outcome.trace.frames.iter().all(|frame| !frame.kept));
}

#[test]
fn created_contracts_are_named_and_have_their_code() {
    // Deploys the single byte 0x00.
    let mut session = session(&[]);
    let outcome = session.run(&Call::create(ANA, bytes!("60015ff3")).value(U256::from(2))).unwrap();
    let created = outcome.created.unwrap();
    assert_eq!(session.code(created).unwrap(), bytes!("00"));
    assert_eq!(outcome.trace.native[0].to, created);
    assert!(outcome.trace.created.contains(&created));
}

#[test]
fn keccak_of_a_mapping_key_is_kept() {
    // keccak256(word 7 ‖ word 0), then stores there.
    let mut session = session(&bytes!("60075f5260405f206001905500"));
    let outcome = session.run(&Call::new(ANA, CODE, bytes!(""))).unwrap();
    let preimage = outcome.trace.preimages.values().next().unwrap();
    assert_eq!((preimage.len(), preimage[31]), (64, 7));
}

#[test]
fn overrides_hold_for_the_session_only() {
    let snapshot = with_code(&[0x00]);
    let mut session = Session::new(&snapshot, Limits::default());
    session.set_balance(BEN, U256::from(7)).unwrap();
    session.set_code(BEN, bytes!("5f5460005260206000f3")).unwrap();
    session.set_storage(BEN, U256::ZERO, U256::from(42)).unwrap();
    session.set_nonce(BEN, 3).unwrap();
    assert_eq!(session.run(&Call::new(ANA, BEN, bytes!(""))).unwrap().word(), Some(U256::from(42)));
    assert_eq!((session.balance(BEN).unwrap(), session.nonce(BEN).unwrap()), (U256::from(7), 3));
    assert_eq!(snapshot.source.account(BEN).unwrap(), None);
}

#[test]
fn a_session_is_a_snapshot_for_others() {
    let mut session = session(COUNTER);
    let call = Call::new(ANA, CODE, bytes!(""));
    session.run(&call).unwrap();
    session.set_code(BEN, bytes!("5f54")).unwrap();
    let frozen = session.snapshot();
    session.run(&call).unwrap();
    let mut other = Session::new(&frozen, Limits::default());
    assert_eq!(other.code(BEN).unwrap(), bytes!("5f54"));
    assert_eq!(other.run(&call).unwrap().word(), Some(U256::from(2)));
    assert_eq!(session.storage(CODE, U256::ZERO).unwrap(), U256::from(2));
}
