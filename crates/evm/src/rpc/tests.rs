use proptest::prelude::*;
use serde_json::{Value, json};

use super::{methods, wire};
use crate::World;
use crate::chain::{Config, DEV_ACCOUNTS, DevChain, fund};

fn chain() -> DevChain {
    let mut world = World::new();
    fund(&mut world);
    DevChain::new(Config::default(), world)
}

const METHODS: [&str; 24] = [
    "eth_getBalance",
    "eth_getCode",
    "eth_getStorageAt",
    "eth_getTransactionCount",
    "eth_getProof",
    "eth_call",
    "eth_estimateGas",
    "eth_createAccessList",
    "eth_feeHistory",
    "eth_getLogs",
    "eth_sendRawTransaction",
    "eth_getBlockByNumber",
    "eth_getBlockByHash",
    "eth_getBlockTransactionCountByNumber",
    "eth_getBlockReceipts",
    "eth_getTransactionByHash",
    "eth_getTransactionReceipt",
    "evm_increaseTime",
    "evm_setNextBlockTimestamp",
    "anvil_setBalance",
    "anvil_setNonce",
    "anvil_setCode",
    "anvil_setStorageAt",
    "txpool_content",
];

/// What clients get wrong, and what they get right, in any place.
fn parameter() -> impl Strategy<Value = Value> {
    let plain = prop_oneof![
        Just(Value::Null),
        Just(json!(DEV_ACCOUNTS[0])),
        Just(json!("latest")),
        Just(json!("0x0")),
        Just(json!("0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff")),
        Just(json!([])),
        any::<u64>().prop_map(|number| json!(format!("{number:#x}"))),
        any::<[u8; 32]>().prop_map(|bytes| json!(alloy_primitives::B256::from(bytes))),
        any::<i64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(|flag| json!(flag)),
        ".{0,20}".prop_map(|text| json!(text)),
    ];
    let key = prop_oneof![
        Just("to"),
        Just("data"),
        Just("from"),
        Just("gas"),
        Just("value"),
        Just("blockHash"),
        Just("blockNumber"),
        Just("fromBlock"),
        Just("toBlock"),
        Just("address"),
        Just("topics"),
        Just("authorizationList"),
    ];
    plain.prop_recursive(3, 24, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::Array),
            proptest::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn any_body_has_an_answer(body in proptest::collection::vec(any::<u8>(), 0..200), text in "[\\[\\]{}\",:0-9a-z. ]{0,60}") {
        for body in [body.as_slice(), text.as_bytes()] {
            let answer = wire::answer(body, |_, _| Ok(Value::Null));
            prop_assert!(answer.is_none_or(|answer| answer.is_object() || answer.is_array()));
        }
    }

    #[test]
    fn any_parameters_have_an_answer(method in 0..METHODS.len(), params in proptest::collection::vec(parameter(), 0..4)) {
        let _ = methods::call(&chain(), METHODS[method], &params);
    }
}

#[test]
fn deep_nesting_is_refused_and_not_followed() {
    let body = "[".repeat(100_000);
    let answer = wire::answer(body.as_bytes(), |_, _| Ok(Value::Null)).unwrap();
    assert_eq!(answer["error"]["code"], -32700);
}
