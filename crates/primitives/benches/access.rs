//! What a sidecar pays for a call: `cargo bench -p surety-primitives --bench access`.
//!
//! Goals (one core): 1 M tag checks a second, 20 k signed calls a second.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use surety_primitives::access::{
    Call, Flags, Grant, Head, LaneKey, MacCall, ReplayWindow, SignedCall, body_hash, decode_call, encode_call,
    request_hash, verify_chain, verify_mac_call, verify_signed_call,
};
use surety_primitives::keys::{DhSecret, SecretKey, verify_batch};
use surety_primitives::{Hash32, Lane, NetworkId, PurchaseId, Seconds};
use zeroize::Zeroizing;

fn main() {
    divan::main();
}

fn key(n: u8) -> SecretKey {
    SecretKey::from_seed(&Zeroizing::new([n; 32]))
}

fn grant() -> Grant {
    Grant {
        network: NetworkId(1),
        purchase: PurchaseId([7; 16]),
        key_version: 0,
        call_key: key(1).public(),
        lanes: 8,
        quota: u64::MAX,
        not_before: Seconds(0),
        end: Seconds(u64::MAX),
    }
}

fn head(seq: u64) -> Head {
    Head { flags: Flags::NONE, purchase: PurchaseId([7; 16]), lane: Lane(3), seq, cum: 0, deadline: 1_000 }
}

fn request() -> Hash32 {
    request_hash("GET", "api.example", "/v1/site/example.com", "full=1", &body_hash(b""))
}

fn lane_key() -> LaneKey {
    let ephemeral = DhSecret::from_bytes(Zeroizing::new([9; 32]));
    let lane = Lane(3);
    match LaneKey::of_caller(&ephemeral, &key(2).public(), &PurchaseId([7; 16]), lane, &key(1).public()) {
        Ok(key) => key,
        Err(error) => unreachable!("fixed keys agree: {error}"),
    }
}

fn mac_call(seq: u64) -> MacCall {
    match lane_key().tag_call(head(seq), &request()) {
        Ok(call) => call,
        Err(error) => unreachable!("a fixed head is valid: {error}"),
    }
}

fn signed_call(seq: u64) -> SignedCall {
    match SignedCall::sign(&key(1), head(seq), None, &request()) {
        Ok(call) => call,
        Err(error) => unreachable!("a fixed head is valid: {error}"),
    }
}

#[divan::bench]
fn tag_check(bencher: Bencher<'_, '_>) {
    let (authority, key, call, request) = (verify_chain(&grant(), &[]), lane_key(), mac_call(1), request());
    let Ok(authority) = authority else { return };
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| verify_mac_call(black_box(&call), black_box(&authority), black_box(&key), black_box(&request)));
}

#[divan::bench]
fn tagged_call_from_header_to_window(bencher: Bencher<'_, '_>) {
    let Ok(authority) = verify_chain(&grant(), &[]) else { return };
    let (key, text, mut window) = (lane_key(), encode_call(&Call::Mac(mac_call(1))), ReplayWindow::above(0));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        let Ok(Call::Mac(call)) = decode_call(black_box(&text)) else { return None };
        let request = request();
        verify_mac_call(&call, &authority, &key, &request).ok()?;
        Some(window.mark(window.high() + 1))
    });
}

#[divan::bench]
fn signed_call_check(bencher: Bencher<'_, '_>) {
    let Ok(authority) = verify_chain(&grant(), &[]) else { return };
    let (call, request) = (signed_call(1), request());
    bencher
        .counter(ItemsCount::new(1_usize))
        .bench_local(|| verify_signed_call(black_box(&call), black_box(&authority), black_box(&request)));
}

#[divan::bench(args = [16, 64, 256])]
fn signed_calls_in_a_batch(bencher: Bencher<'_, '_>, count: u64) {
    let items: Vec<_> = (1..=count)
        .map(|seq| {
            let call = signed_call(seq);
            (key(1).public(), call.digest(&request()), *call.signature())
        })
        .collect();
    bencher.counter(ItemsCount::new(count)).bench_local(|| verify_batch(black_box(&items)));
}

#[divan::bench]
fn opening_agreement(bencher: Bencher<'_, '_>) {
    let (provider, ephemeral) = (key(2), DhSecret::from_bytes(Zeroizing::new([9; 32])).public());
    let delegate = key(1).public();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        LaneKey::of_provider(&provider, black_box(&ephemeral), &PurchaseId([7; 16]), Lane(3), &delegate)
    });
}

#[divan::bench]
fn answer_signature(bencher: Bencher<'_, '_>) {
    let (provider, digest) = (key(2), request());
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| provider.sign(black_box(&digest)));
}
