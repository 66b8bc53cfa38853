//! Calls: what is read is written the same, in bytes and in the header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surety_primitives::access::{Call, decode_call, encode_call};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(call) = Call::from_bytes(bytes) {
        assert_eq!(call.to_bytes(), bytes);
        assert_eq!(decode_call(&encode_call(&call)), Ok(call));
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(call) = decode_call(text)
    {
        assert_eq!(encode_call(&call), text);
    }
});
