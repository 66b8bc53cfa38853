//! Signed Answers and claims: what is read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surety_primitives::answer::claims::{ClaimOpening, Claims};
use surety_primitives::answer::{Reply, SignedAnswer};
use surety_primitives::codec::{decode, encode};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(signed) = SignedAnswer::from_bytes(bytes) {
        assert_eq!(signed.to_bytes(), bytes);
    }
    if let Ok(claims) = decode::<Claims>(bytes, 1 << 14) {
        assert_eq!(encode(&claims), bytes);
        let first = claims.open(0).map(|opening| opening.root());
        assert!(first.is_none_or(|root| root == Ok(claims.root())));
    }
    if let Ok(opening) = decode::<ClaimOpening>(bytes, 1 << 14) {
        let _ = opening.root();
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(reply) = Reply::from_header(text)
    {
        assert_eq!(reply.to_header(), text);
    }
});
