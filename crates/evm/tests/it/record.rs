//! A witness replays a session byte for byte, and knows nothing else.

use alloy_primitives::{Address, U256, bytes};
use borsh::BorshDeserialize;
use proptest::prelude::*;
use surety_evm::{Call, Limits, Recorder, Session, Source, StateError, Witness, World};

use crate::sessions::{ANA, BEN, CODE, with_code};

/// Adds calldata's first word to slot 0 and logs it; calls Ben.
const CODE_THAT_READS: &[u8] = &[
    0x5f, 0x35, 0x5f, 0x54, 0x01, 0x80, 0x5f, 0x55, 0x5f, 0x52, 0x60, 0x20, 0x5f, 0xa0, 0x5f, 0x5f, 0x5f, 0x5f, 0x5f,
    0x73, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb, 0xbb,
    0xbb, 0xbb, 0x5a, 0xf1, 0x50, 0x00,
];

#[test]
fn a_witness_replays_to_the_same_bytes() {
    let snapshot = with_code(CODE_THAT_READS);
    let (recorded, recorder) = Recorder::record(&snapshot);
    let calls = [Call::new(ANA, CODE, bytes!("01")), Call::new(ANA, BEN, bytes!("")).value(U256::from(9))];
    let run = |session: &mut Session| calls.iter().map(|call| session.simulate(call)).collect::<Result<Vec<_>, _>>();

    let live = run(&mut Session::new(&recorded, Limits::default())).unwrap();
    let witness = recorder.witness();
    let stored = Witness::try_from_slice(&borsh::to_vec(&witness).unwrap()).unwrap();
    let json: Witness = serde_json::from_str(&serde_json::to_string(&witness).unwrap()).unwrap();
    assert_eq!(json, stored);
    let replayed = run(&mut Session::new(&stored.snapshot(snapshot.head.clone()), Limits::default())).unwrap();
    assert_eq!(serde_json::to_vec(&replayed[0].changes).unwrap(), serde_json::to_vec(&live[0].changes).unwrap());
    assert_eq!(replayed, live);
    assert_eq!(witness.difference(snapshot.source.as_ref()).unwrap(), None);
    assert_eq!(stored.digest(), witness.digest());
}

#[test]
fn what_was_not_recorded_is_absent() {
    let witness = Witness::default();
    assert!(matches!(witness.account(ANA), Err(StateError::Absent { .. })));
    let mut session = Session::new(&witness.snapshot(Default::default()), Limits::default());
    assert!(matches!(session.run(&Call::new(ANA, CODE, bytes!(""))), Err(StateError::Absent { .. })));
}

/// A node that answers so many reads, fails once, and then answers again.
#[derive(Debug)]
struct Stutters {
    below: std::sync::Arc<dyn Source>,
    left: std::sync::atomic::AtomicI64,
}

impl Stutters {
    fn turn(&self) -> Result<(), StateError> {
        match self.left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Err(StateError::Deadline),
            _ => Ok(()),
        }
    }
}

impl Source for Stutters {
    fn account(&self, address: Address) -> Result<Option<surety_evm::Account>, StateError> {
        self.turn()?;
        self.below.account(address)
    }

    fn code(&self, address: Address, code_hash: alloy_primitives::B256) -> Result<alloy_primitives::Bytes, StateError> {
        self.turn()?;
        self.below.code(address, code_hash)
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.turn()?;
        self.below.storage(address, slot)
    }

    fn block_hash(&self, number: u64) -> Result<alloy_primitives::B256, StateError> {
        self.turn()?;
        self.below.block_hash(number)
    }
}

#[test]
fn a_recording_that_was_cut_off_replays_to_the_same_end() {
    let snapshot = with_code(CODE_THAT_READS);
    for reads in 0..6 {
        let source = Stutters { below: std::sync::Arc::clone(&snapshot.source), left: reads.into() };
        let stuttering = surety_evm::Snapshot { head: snapshot.head.clone(), source: std::sync::Arc::new(source) };
        let (recorded, recorder) = Recorder::record(&stuttering);
        // Asked twice: what failed once must not be known the second time.
        let run = |snapshot: &surety_evm::Snapshot| {
            let call = Call::new(ANA, CODE, bytes!("01"));
            [0, 1].map(|_| Session::new(snapshot, Limits::default()).simulate(&call))
        };
        let live = run(&recorded);
        assert_eq!((&live[0], live[0].is_err()), (&live[1], recorder.witness().end.is_some()), "{reads}");
        assert_eq!(run(&recorder.witness().snapshot(snapshot.head.clone())), live, "{reads}");
    }
}

#[test]
fn a_state_that_moved_on_is_told_from_its_witness() {
    let snapshot = with_code(CODE_THAT_READS);
    let (recorded, recorder) = Recorder::record(&snapshot);
    Session::new(&recorded, Limits::default()).run(&Call::new(ANA, CODE, bytes!("01"))).unwrap();
    let mut world = World::new();
    world.set_balance(Address::repeat_byte(9), U256::from(1));
    assert!(recorder.witness().difference(&world).unwrap().is_some());
}

#[test]
fn code_that_does_not_have_its_hash_does_not_run() {
    let snapshot = with_code(&[0x60, 0x07, 0x60, 0x08, 0x00]);
    let (recorded, recorder) = Recorder::record(&snapshot);
    let mut witness = recorder.witness();
    assert!(witness.codes.is_empty());
    recorded.source.account(CODE).unwrap();
    recorded.source.account(ANA).unwrap();
    recorded.source.account(Address::ZERO).unwrap();
    witness = recorder.witness();
    let hash = witness.accounts[&CODE].unwrap().code_hash;
    witness.codes.insert(hash, bytes!("5f5ffd"));
    let mut session = Session::new(&witness.snapshot(snapshot.head), Limits::default());
    assert!(matches!(session.run(&Call::new(ANA, CODE, bytes!(""))), Err(StateError::Proof(_))));
}

proptest! {
    #[test]
    fn any_bytes_are_a_witness_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        if let Ok(witness) = Witness::try_from_slice(&bytes) {
            prop_assert_eq!(borsh::to_vec(&witness).unwrap(), bytes);
        }
        let _ = World::try_from_slice(&[1, 2, 3]);
    }
}
