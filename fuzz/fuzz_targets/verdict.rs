//! Answers of others: see the function.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| surety_fuzz::security::verdict(bytes));
