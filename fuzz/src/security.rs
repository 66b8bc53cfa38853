//! Decoders of `surety-security`: whatever the bytes, reading, judging and answering end, within the limits.

use std::sync::Arc;

use alloy_dyn_abi::DynSolValue;
use alloy_primitives::{Address, U256};
use surety_evm::{Head, Snapshot, World};
use surety_primitives::{Seconds, codec};
use surety_security::decode::call::{Kind, MAX_CALLS, Unread};
use surety_security::decode::typed::TypedData;
use surety_security::decode::{Decoded, Inferred, Input, Known, answer, decode, facts};
use surety_security::lists::{Dataset, Format, Semantics, Source, SourceSpec, Subject, domain};
use surety_security::phishing::Host;
use surety_security::phishing::compat::Configs;
use surety_security::router::{request, respond};
use surety_security::rules::{Context, judge};
use surety_security::service::Request;
use surety_security::state::{MAX_REPLAY, Replay};
use surety_security::token::Params;
use surety_security::token::rugpull::rugpull;
use surety_security::verify::recompute;
use surety_security::{Chains, Lists, SERVICES, Sources};

/// Everything that is done with a subject after it was read.
fn whole(decoded: &Decoded) {
    let judgement = judge(decoded, &Context::default());
    let _ = (answer::answer(decoded, &Default::default(), &judgement), answer::extra(decoded), facts(decoded));
}

/// Call data: within the limits, and nothing exact is misread.
pub fn call(bytes: &[u8]) {
    let Some((first, data)) = bytes.split_first() else { return };
    let kind = match first {
        0..=0x7f => Kind::Call,
        0x80..=0xbf => Kind::Delegate,
        byte => Kind::Command(byte & 0x3f),
    };
    let to = Some([0x77; 20].into());
    let unread = Unread { to, from: to, data: data.to_vec().into(), kind, ..Unread::default() };
    let decoded = decode(&Known::default(), Input::Call(unread));
    let Decoded::Call(call) = &decoded else { unreachable!("call data is a call") };
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
    whole(&decoded);
}

/// Messages and EIP-712 JSON: what is accepted has one hash.
pub fn message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(data) = TypedData::parse(text) {
        assert!(!data.hash().is_zero());
        assert_eq!(TypedData::parse(text).map(|again| again.hash()).ok(), Some(data.hash()));
    }
    for input in [Input::TypedData(text.to_owned()), Input::Personal(bytes.to_vec().into())] {
        whole(&decode(&Known::default(), input));
    }
}

/// URLs and hosts: what a name is made of it is made of again.
pub fn host(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(host) = Host::parse(text) {
        assert!(host.names().all(|name| host.name.ends_with(name)));
        assert!(Host::parse(&host.name).is_ok_and(|again| again.name == host.name), "{}", host.name);
        let _ = host.required_keys();
    }
    if let Some(name) = domain(text) {
        assert_eq!(domain(&name).as_deref(), Some(name.as_str()));
    }
}

/// List files in every format, and dataset files: what is read of one is written the same.
pub fn list(bytes: &[u8]) {
    if let Ok(dataset) = Dataset::from_bytes(bytes) {
        assert_eq!(dataset.to_bytes(), bytes);
    }
    let _ = Configs::from_json(bytes);
    for format in [Format::EthPhishingDetect, Format::Lines, Format::Csv, Format::CsvKeys] {
        for subject in [Subject::Domain, Subject::Address] {
            let Ok(as_of) = "2026-02-03".parse() else { return };
            let text = |text: &str| text.to_owned();
            let (name, version, licence, label) = (text("a"), text("1"), text("MIT"), text("given"));
            let spec = SourceSpec { name, version, as_of, licence, format, subject, semantics: Semantics::Deny, label };
            if let Ok(sources) = Source::read(&spec, bytes) {
                let _ = Dataset::merge("d", "1", sources);
            }
        }
    }
}

/// Questions to every service, as body and as query: answered or refused, and what is answered is computed again.
pub fn question(bytes: &[u8]) {
    let query = std::str::from_utf8(bytes).unwrap_or_default();
    let (lists, chains) = (Lists::default(), Chains::new());
    for service in SERVICES {
        let Ok(asked) = request(query.get(..42).unwrap_or(query), query, Seconds(0)) else { continue };
        let asked = Request { body: bytes.to_vec(), ..asked };
        let reply = respond(*service, Sources::new(&lists, &chains), Ok(asked.clone()));
        let body = reply.unwrap_or_else(|refusal| unreachable!("nothing is too long to be answered: {refusal}")).body;
        let again = recompute(*service, &lists, &asked, body.as_bytes());
        let is_refusal = !body.contains("\"surety\":");
        assert!(again.is_ok() || is_refusal || service.card().is_own_word, "{body}: {again:?}");
    }
}

/// Answers of others, and the records in them: whatever is altered, they end in a reason or hold.
pub fn verdict(bytes: &[u8]) {
    let lists = Lists::default();
    for service in SERVICES {
        let _ = recompute(*service, &lists, &Request::default(), bytes);
    }
    if let Ok(replay) = codec::decode::<Replay>(bytes, MAX_REPLAY) {
        assert_eq!(codec::encode(&replay), bytes);
    }
}

/// Bytecode: read without being run, and tried with little of everything.
pub fn bytecode(bytes: &[u8]) {
    let _ = Inferred::of(bytes);
    let mut world = World::new();
    let at = Address::repeat_byte(0x77);
    world.insert(at, 1, U256::ZERO, bytes.to_vec());
    let snapshot = Snapshot { head: Head::default(), source: Arc::new(world) };
    let params = Params { steps: 100_000, ..Params::default() };
    if let Ok(found) = rugpull(&snapshot, at, &params, &[]) {
        assert!(found.weight <= 10_000);
    }
}
