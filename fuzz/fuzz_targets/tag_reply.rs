//! Tag replies and quotas: what is read is written the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surety_primitives::access::{QuotaState, TagReply};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(reply) = TagReply::from_bytes(bytes) {
        assert_eq!(reply.to_bytes(), bytes);
    }
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(quota) = text.parse::<QuotaState>()
    {
        assert_eq!(quota.to_string().parse(), Ok(quota));
    }
});
