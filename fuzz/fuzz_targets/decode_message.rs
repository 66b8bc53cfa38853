//! Messages: whatever the text, reading, judging and answering end, and what is accepted has one hash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use surety_security::decode::typed::TypedData;
use surety_security::decode::{Input, Known, answer, decode, facts};
use surety_security::rules::{Context, judge};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(data) = TypedData::parse(text) {
        assert!(!data.hash().is_zero());
    }
    for input in [Input::TypedData(text.to_owned()), Input::Personal(bytes.to_vec().into())] {
        let decoded = decode(&Known::default(), input);
        let judgement = judge(&decoded, &Context::default());
        let _ = (answer::answer(&decoded, &Default::default(), &judgement), answer::extra(&decoded), facts(&decoded));
    }
});
