//! Decoders of what clients send: whatever the bytes, they end in an answer, and nothing has two encodings.

use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Bytes, hex};
use proptest::prelude::*;
use surety_proxy::gateway::json::Json;
use surety_proxy::gateway::{ChainRule, Screened, carry, methods};

use super::node::CHAIN;
use super::signing::{GOOD, blobs, deployment, legacy, raw, type1, type2, type4};

const RULE: ChainRule = ChainRule { id: CHAIN, allow_unprotected: true };

fn transactions() -> Vec<Vec<u8>> {
    let all = [legacy(GOOD), type1(GOOD), type2(GOOD), type4(GOOD, GOOD), deployment(Bytes::from(vec![1; 40]))];
    all.iter().map(Encodable2718::encoded_2718).collect()
}

/// Whatever is taken, its bytes are the encoding of what was decoded.
fn has_one_encoding(bytes: Vec<u8>) -> bool {
    let bytes = Bytes::from(bytes);
    Screened::read(&bytes, RULE).is_ok_and(|screened| {
        assert_eq!(screened.raw, bytes);
        assert_eq!(screened.envelope.encoded_2718(), bytes);
        true
    })
}

proptest! {
    #[test]
    fn changed_transactions_have_one_encoding(
        which in 0..5_usize,
        at in any::<prop::sample::Index>(),
        cut in 0..3_usize,
        put in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let mut bytes = transactions()[which].clone();
        let at = at.index(bytes.len());
        let end = (at + cut).min(bytes.len());
        bytes.splice(at..end, put);
        has_one_encoding(bytes);
    }

    #[test]
    fn random_bytes_end_in_an_answer(kind in 0..6_u8, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        has_one_encoding([&[kind][..], &bytes].concat());
        has_one_encoding(bytes);
    }

    /// Parameters of any shape, for every method that carries something.
    #[test]
    fn random_params_end_in_an_answer(pieces in prop::collection::vec(prop::sample::select(pieces()), 1..10)) {
        let text = pieces.concat();
        for text in [text.clone(), format!("[{text}]"), format!("[{{{text}}}]"), format!("{{{text}}}")] {
            for method in methods::carrying() {
                if let Ok(mut params) = Json::read(text.as_bytes(), 48) {
                    let _ = carry::take(method, &mut params, RULE);
                }
            }
        }
    }
}

fn pieces() -> Vec<&'static str> {
    vec![
        "[",
        "]",
        "{",
        "}",
        ",",
        "1",
        "null",
        "\"0x\"",
        "\"0x1\"",
        "\"txs\":[\"0x\"]",
        "\"tx\":\"0x02\"",
        "\"body\":[",
        "\"bundle\":{",
        "\"calls\":[{}]",
        "\"sender\":\"0x0000000000000000000000000000000000000001\"",
        "\"nonce\":\"0x1\"",
        "\"callData\":\"0x\"",
        "\"paymasterAndData\":\"0x01\"",
        "\"initCode\":\"0x\"",
        "\"transaction\":\"02\"",
        "\"transactions\":[\"0x02\"]",
        "\"to\":\"0x0000000000000000000000000000000000000001\"",
        "\"data\":\"0x01\"",
        "\"0x0000000000000000000000000000000000000001\"",
        "\"type\":\"user-operation-v070\"",
        "\"replacementUuid\":\"x\"",
    ]
}

#[test]
fn every_type_of_transaction_is_read() {
    assert!(transactions().into_iter().all(has_one_encoding));
    assert!(has_one_encoding(hex::decode(raw(&blobs(GOOD, true))).unwrap()));
    assert!(has_one_encoding(hex::decode(raw(&blobs(GOOD, false))).unwrap()));
}
