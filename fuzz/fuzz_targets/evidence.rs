//! Evidence: bytes of strangers prove nothing against a key that signed nothing, and never panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surety_primitives::answer::evidence::{Evidence, VersionRecord};
use surety_primitives::keys::PublicKey;
use surety_primitives::{Hash32, Seconds};

// A point of full order, whose secret half nobody here has used.
const KEY: PublicKey = PublicKey([
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e, 0xe1, 0x72,
    0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
]);

fuzz_target!(|bytes: &[u8]| {
    let Ok(evidence) = Evidence::from_bytes(bytes) else { return };
    assert_eq!(evidence.to_bytes(), bytes);
    let record = VersionRecord {
        root: Hash32::default(),
        count: 3,
        published: Seconds(1),
        valid_until: Seconds(2),
        retired: None,
    };
    let fault = match &evidence {
        Evidence::Contradiction(found) => found.check(&KEY, &record),
        Evidence::Equivocation(found) => found.check(&KEY, &KEY),
        Evidence::Basis(found) => found.check(&KEY, Some(&record), Seconds(600)),
    };
    assert!(fault.is_err());
});
