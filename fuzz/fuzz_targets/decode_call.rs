//! Calls: whatever the bytes, reading, judging and answering end, within the limits, and nothing exact is misread.
#![no_main]

use alloy_dyn_abi::DynSolValue;
use libfuzzer_sys::fuzz_target;
use surety_security::decode::call::{Kind, MAX_CALLS, Unread};
use surety_security::decode::{Decoded, Input, Known, answer, decode, facts};
use surety_security::rules::{Context, judge};

fuzz_target!(|bytes: &[u8]| {
    let Some((first, data)) = bytes.split_first() else { return };
    let kind = match first {
        0..=0x7f => Kind::Call,
        0x80..=0xbf => Kind::Delegate,
        byte => Kind::Command(byte & 0x3f),
    };
    let to = Some([0x77; 20].into());
    let unread = Unread { to, from: to, data: data.to_vec().into(), kind, ..Unread::default() };
    let decoded = decode(&Known::default(), Input::Call(unread));
    let Decoded::Call(call) = &decoded else { unreachable!() };
    let calls = call.walk();
    assert!(calls.len() <= MAX_CALLS);
    for call in calls {
        let arguments = if matches!(call.raw.kind, Kind::Command(_)) {
            &call.raw.data[..]
        } else {
            &call.raw.data[call.raw.data.len().min(4)..]
        };
        for reading in call.readings.iter().filter(|reading| reading.encoding.canonical) {
            let encoded = DynSolValue::Tuple(reading.values.clone()).abi_encode_params();
            assert_eq!(encoded, arguments[..arguments.len() - reading.encoding.left_over]);
        }
    }
    let judgement = judge(&decoded, &Context::default());
    let _ = (answer::answer(&decoded, &Default::default(), &judgement), answer::extra(&decoded), facts(&decoded));
});
