//! The bodies of the fuzz targets, on random bytes and on sound ones with something changed.

use std::sync::LazyLock;

use alloy_primitives::bytes;
use proptest::prelude::*;
use surety_evm::{Call, Limits, Recorder, Session};

use crate::sessions::{ANA, CODE, with_code};
use crate::transactions::of_every_type;

#[path = "../../../../fuzz/src/evm.rs"]
#[allow(unreachable_pub, reason = "public where the fuzz targets call them")]
mod bodies;

static TRANSACTIONS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(of_every_type);

/// A record of a run that reads code and a slot.
static WITNESS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (recorded, recorder) = Recorder::record(&with_code(&[0x5f, 0x54, 0x00]));
    Session::new(&recorded, Limits::default()).run(&Call::new(ANA, CODE, bytes!(""))).unwrap();
    borsh::to_vec(&recorder.witness()).unwrap()
});

#[test]
fn what_is_changed_below_is_sound() {
    for bytes in TRANSACTIONS.iter() {
        surety_evm::Transaction::decode(bytes).unwrap().check_blobs().unwrap();
    }
    borsh::from_slice::<surety_evm::Witness>(&WITNESS).unwrap();
}

proptest! {
    #[test]
    fn random_bytes_are_read_or_refused(kind in 0u8..6, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        bodies::transaction(&bytes);
        bodies::transaction(&[&[kind][..], &bytes].concat());
        bodies::witness(&bytes);
    }

    #[test]
    fn sound_bytes_with_something_changed_are_read_or_refused(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        near in any::<bool>(),
        cut in 0usize..4,
        put in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let changed = |sound: &[u8]| {
            // Most of a transaction with blobs is blobs: half of the changes are where the fields are.
            let at = at.index(if near { sound.len().min(200) } else { sound.len() });
            let mut bytes = sound.to_vec();
            bytes.splice(at..(at + cut).min(sound.len()), put.clone());
            bytes
        };
        bodies::transaction(&changed(&TRANSACTIONS[which.index(TRANSACTIONS.len())]));
        bodies::witness(&changed(&WITNESS));
    }
}
