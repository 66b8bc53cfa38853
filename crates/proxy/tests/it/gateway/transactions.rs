//! One test for each form of a transaction: none passes by the checks, and what arrives is what was screened.

use alloy_consensus::TxEnvelope;
use alloy_primitives::{Address, Bytes, TxKind, hex};
use serde_json::json;
use surety_proxy::gateway::code;

use super::node::CHAIN;
use super::signing::{
    BAD, GOOD, blobs, deployment, high_s, legacy, legacy_with, raw, type1, type2, type4, without_blobs,
};
use super::world::World;

async fn screened(bad: TxEnvelope, good: TxEnvelope) {
    let world = World::start().await;
    let got = world.send_raw(&raw(&bad)).await;
    assert_eq!(got.code(), i64::from(code::POLICY), "{got:?}");
    assert_eq!(got.json()["error"]["data"]["tx_hash"], bad.tx_hash().to_string());
    world.nothing_reached();
    let got = world.send_raw(&raw(&good)).await;
    assert_eq!(got.code(), 0, "{got:?}");
    assert_eq!(world.sent(), [raw(&good)]);
}

async fn refused(raw: String) {
    let world = World::start().await;
    let got = world.send_raw(&raw).await;
    assert_eq!(got.code(), i64::from(code::PARAMS), "{got:?}");
    world.nothing_reached();
}

fn bytes(envelope: &TxEnvelope) -> Vec<u8> {
    hex::decode(raw(envelope)).unwrap()
}

#[tokio::test]
async fn bypass_legacy() {
    screened(legacy(BAD), legacy(GOOD)).await;
}

#[tokio::test]
async fn bypass_type_1() {
    screened(type1(BAD), type1(GOOD)).await;
}

#[tokio::test]
async fn bypass_type_2() {
    screened(type2(BAD), type2(GOOD)).await;
}

#[tokio::test]
async fn bypass_type_3_with_blob_proofs() {
    screened(blobs(BAD, false), blobs(GOOD, false)).await;
}

#[tokio::test]
async fn bypass_type_3_with_cell_proofs() {
    screened(blobs(BAD, true), blobs(GOOD, true)).await;
}

#[tokio::test]
async fn bypass_type_4() {
    screened(type4(BAD, GOOD), type4(GOOD, GOOD)).await;
}

#[tokio::test]
async fn bypass_type_4_delegation() {
    screened(type4(GOOD, BAD), type4(GOOD, GOOD)).await;
}

#[tokio::test]
async fn bypass_blobs_without_sidecar() {
    refused(raw(&without_blobs(GOOD))).await;
}

#[tokio::test]
async fn bypass_blobs_of_another_transaction() {
    let mut bytes = bytes(&blobs(GOOD, false));
    // A commitment that is not the one that was signed for.
    let at = bytes.windows(48).position(|part| part == [0xc0; 48]).unwrap();
    bytes[at] = 0xc1;
    refused(hex::encode_prefixed(bytes)).await;
}

#[tokio::test]
async fn bypass_legacy_without_chain_id() {
    let (bad, good) = (legacy_with(BAD.into(), None, 0, Bytes::new()), legacy_with(GOOD.into(), None, 0, Bytes::new()));
    refused(raw(&good)).await;
    let world = World::with(1, |config| config.allow_unprotected = true).await;
    assert_eq!(world.send_raw(&raw(&bad)).await.code(), i64::from(code::POLICY));
    world.nothing_reached();
    assert_eq!(world.send_raw(&raw(&good)).await.code(), 0);
    assert_eq!(world.sent(), [raw(&good)]);
}

#[tokio::test]
async fn bypass_wrong_chain() {
    refused(raw(&legacy_with(GOOD.into(), Some(CHAIN + 1), 0, Bytes::new()))).await;
}

#[tokio::test]
async fn bypass_high_s() {
    refused(raw(&high_s(GOOD))).await;
}

#[tokio::test]
async fn bypass_unknown_type_byte() {
    for kind in [0_u8, 5, 0x7e, 0x7f] {
        let mut bytes = bytes(&type2(GOOD));
        bytes[0] = kind;
        refused(hex::encode_prefixed(bytes)).await;
    }
}

#[tokio::test]
async fn bypass_trailing_rlp() {
    for envelope in [legacy(GOOD), type2(GOOD), blobs(GOOD, true)] {
        let mut bytes = bytes(&envelope);
        bytes.push(0);
        refused(hex::encode_prefixed(bytes)).await;
    }
}

#[tokio::test]
async fn bypass_non_canonical_rlp() {
    // The list's length with one more byte than it needs, and the nonce with a leading zero.
    let bytes = bytes(&legacy(GOOD));
    assert_eq!(bytes[0], 0xf8);
    let mut long = bytes.clone();
    long.splice(0..2, [0xf9, 0, bytes[1]]);
    refused(hex::encode_prefixed(long)).await;
    let mut zero = bytes.clone();
    assert_eq!(zero[2], 0x80);
    zero[1] += 1;
    zero.splice(2..3, [0x81, 0]);
    refused(hex::encode_prefixed(&zero)).await;
    zero[1] -= 1;
    zero.splice(2..4, [0]);
    refused(hex::encode_prefixed(zero)).await;
    // The network's own form wraps a typed transaction in a string.
    let typed = self::bytes(&type2(GOOD));
    let wrapped = alloy_rlp::encode(typed.as_slice());
    refused(hex::encode_prefixed(wrapped)).await;
}

#[tokio::test]
async fn bypass_hex_forms() {
    let good = raw(&legacy(GOOD));
    for text in [
        good.replacen("0x", "0X", 1),
        good[2..].to_owned(),
        format!("{good}0"),
        format!("{good} "),
        format!(" {good}"),
        format!("0x0x{}", &good[2..]),
        good.replacen("0x", "0x ", 1),
        format!("{good}\n"),
        format!("{good}\u{0}"),
        "0x".to_owned(),
        String::new(),
    ] {
        refused(text).await;
    }
}

#[tokio::test]
async fn bypass_upper_case_digits() {
    let world = World::start().await;
    let upper = |envelope| format!("0x{}", raw(&envelope)[2..].to_uppercase());
    assert_eq!(world.send_raw(&upper(legacy(BAD))).await.code(), i64::from(code::POLICY));
    world.nothing_reached();
    assert_eq!(world.send_raw(&upper(legacy(GOOD))).await.code(), 0);
    assert_eq!(world.sent(), [raw(&legacy(GOOD))]);
}

#[tokio::test]
async fn deployment_is_screened() {
    let code = |address: Address| Bytes::from([&[0x73][..], address.as_slice()].concat());
    screened(deployment(code(BAD)), deployment(code(GOOD))).await;
}

#[tokio::test]
async fn bypass_init_code_too_long() {
    let mut code = vec![0x5b; 100_000];
    code.extend_from_slice(BAD.as_slice());
    screened(deployment(code.into()), deployment(vec![0; 100_000].into())).await;
}

#[tokio::test]
async fn bypass_to_zero_precompile_and_self() {
    let own = super::signing::account().address();
    for to in [Address::ZERO, Address::with_last_byte(1), own] {
        let with = |input: Bytes| legacy_with(TxKind::Call(to), Some(CHAIN), 0, input);
        screened(with(Bytes::from(BAD.to_vec())), with(Bytes::new())).await;
    }
}

#[tokio::test]
async fn bypass_too_long_transaction() {
    refused(raw(&deployment(vec![0; (4 << 20) + 1].into()))).await;
}

#[tokio::test]
async fn forwarded_bytes_equal_screened_bytes() {
    let world = World::start().await;
    let good = raw(&type2(GOOD));
    let spelt = format!(
        " {{ \"id\" : 1 ,\n\"\\u006dethod\":\"eth_send\\u0052awTransaction\",\"x\":{{\"y\":1}},\"params\":[ \"\\u0030x{}\" ] }} ",
        good[2..].to_uppercase()
    );
    assert_eq!(world.post(spelt).await.code(), 0);
    let seen = world.node().seen();
    let id = serde_json::from_str::<serde_json::Value>(&seen[0].text).unwrap()["id"].clone();
    let expected =
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"eth_sendRawTransaction\",\"params\":[\"{good}\"]}}");
    assert_eq!((seen.len(), &seen[0].text), (1, &expected));
    assert_eq!(seen[0].params, json!([good]));
}
