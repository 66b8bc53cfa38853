//! Vouchers: what is read is written the same, plain and in borsh.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surety_primitives::access::Voucher;
use surety_primitives::codec::{decode, encode};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(voucher) = Voucher::from_bytes(bytes) {
        assert_eq!(voucher.to_bytes(), bytes);
    }
    if let Ok(voucher) = decode::<Voucher>(bytes, 256) {
        assert_eq!(encode(&voucher), bytes);
    }
});
