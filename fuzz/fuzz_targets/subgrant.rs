//! Sub-grants, chains and scopes: what is read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surety_primitives::access::{Scope, SubGrant, decode_chain, decode_scopes, encode_chain, encode_scopes};
use surety_primitives::codec::encode;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(grant) = SubGrant::from_bytes(bytes) {
        assert_eq!(encode(&grant), bytes);
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(chain) = decode_chain(text) {
        assert_eq!(encode_chain(&chain), text);
    }
    if let Ok(scopes) = decode_scopes(text) {
        assert_eq!(encode_scopes(&scopes), text);
    }
    if let Ok(scope) = Scope::parse(text) {
        assert_eq!(scope.text(), text);
        assert!(!scope.allows("GET", text));
    }
});
