//! One test for each method of section 7.2: what it carries does not pass by the checks.

use serde_json::{Value, json};
use surety_proxy::gateway::code;

use super::signing::{BAD, GOOD, account, legacy, raw};
use super::world::World;

/// The method with the bad transaction is blocked and reaches nobody; with a good one it arrives with what was screened.
async fn screened(method: &str, params: impl Fn(&str) -> Value) {
    let world = World::start().await;
    let (bad, good) = (raw(&legacy(BAD)), raw(&legacy(GOOD)));
    let got = world.call(method, params(&bad)).await;
    assert_eq!(got.code(), i64::from(code::POLICY), "{got:?}");
    assert_eq!(got.json()["error"]["data"]["rule"], "deny.listed");
    world.nothing_reached();
    let got = world.call(method, params(&good)).await;
    assert_eq!(got.code(), 0, "{got:?}");
    let seen = world.node().seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!((seen[0].method.as_str(), &seen[0].params), (method, &params(&good)));
    // Nothing may be hidden beside what is known.
    world.node().shared.seen.lock().unwrap().clear();
    let mut more = params(&good);
    match &mut more {
        Value::Array(values) => values.extend([json!(bad), json!(bad), json!(bad)]),
        other => other["rawTransaction"] = json!(bad),
    }
    assert_eq!(world.call(method, more).await.code(), i64::from(code::PARAMS));
    for nothing in [json!([]), json!({}), Value::Null, json!([Value::Null]), json!([[bad]]), json!([{"raw": bad}])] {
        assert_eq!(world.call(method, nothing.clone()).await.code(), i64::from(code::PARAMS), "{nothing}");
    }
    world.nothing_reached();
}

/// The method is refused, whatever it carries.
async fn refused(method: &str) {
    let world = World::with(1, |config| config.node_signs = true).await;
    let good = raw(&legacy(GOOD));
    for params in [json!([good]), json!([{"from": account().address(), "to": GOOD}, "password"]), json!([]), json!({})]
    {
        assert_eq!(world.call(method, params).await.code(), i64::from(code::METHOD), "{method}");
    }
    world.nothing_reached();
}

/// The method asks a node to sign: refused by default, screened where the administrator allows it.
async fn signs(method: &str, params: impl Fn(&str) -> Value) {
    let world = World::start().await;
    assert_eq!(world.call(method, params(&GOOD.to_string())).await.code(), i64::from(code::METHOD));
    world.nothing_reached();
    let world = World::with(1, |config| config.node_signs = true).await;
    carried(&world, method, params).await;
}

/// As [`screened`], where an address stands for what is carried.
async fn carried(world: &World, method: &str, params: impl Fn(&str) -> Value) {
    let got = world.call(method, params(&BAD.to_string())).await;
    assert_eq!(got.code(), i64::from(code::POLICY), "{got:?}");
    world.nothing_reached();
    let got = world.call(method, params(&GOOD.to_string())).await;
    assert_eq!(got.code(), 0, "{got:?}");
    assert_eq!(world.node().count(method), 1);
    world.node().shared.seen.lock().unwrap().clear();
    let mut more = params(&GOOD.to_string());
    more.as_array_mut().unwrap().extend([json!(1), json!(2), json!(3), json!(4)]);
    assert_eq!(world.call(method, more).await.code(), i64::from(code::PARAMS));
    world.nothing_reached();
}

async fn operation(method: &str, params: impl Fn(&str) -> Value) {
    carried(&World::start().await, method, params).await;
}

macro_rules! bypass {
    ($how:ident: $($test:ident = $method:literal $(, $params:expr)?;)+) => {
        $(#[tokio::test]
        async fn $test() {
            $how($method $(, $params)?).await;
        })+
    };
}

bypass! { screened:
    bypass_eth_send_raw_transaction = "eth_sendRawTransaction", |raw: &str| json!([raw]);
    bypass_eth_send_raw_transaction_sync = "eth_sendRawTransactionSync", |raw: &str| json!([raw]);
    bypass_eth_send_raw_transaction_conditional = "eth_sendRawTransactionConditional", |raw: &str| json!([raw, {"blockNumberMax": "0x9"}]);
    bypass_eth_send_private_transaction = "eth_sendPrivateTransaction", |raw: &str| json!([{"tx": raw, "maxBlockNumber": "0x9"}]);
    bypass_eth_send_private_raw_transaction = "eth_sendPrivateRawTransaction", |raw: &str| json!([raw]);
    bypass_eth_send_raw_private_transaction = "eth_sendRawPrivateTransaction", |raw: &str| json!([raw]);
    bypass_eth_send_blobs = "eth_sendBlobs", |raw: &str| json!([{"txs": [raw]}]);
    bypass_eth_submit_transaction = "eth_submitTransaction", |raw: &str| json!([raw]);
    bypass_eth_send_bundle = "eth_sendBundle", |raw: &str| json!([{"txs": [raw], "blockNumber": "0x9"}]);
    bypass_eth_send_end_of_block_bundle = "eth_sendEndOfBlockBundle", |raw: &str| json!([{"txs": [raw], "blockNumber": "0x9"}]);
    bypass_eth_send_megabundle = "eth_sendMegabundle", |raw: &str| json!([{"txs": [raw], "blockNumber": 9, "relaySignature": "0x00"}]);
    bypass_mev_send_bundle = "mev_sendBundle", |raw: &str| json!([{"version": "v0.1", "inclusion": {"block": "0x9"}, "body": [{"tx": raw, "canRevert": false}]}]);
    bypass_mev_send_bundle_nested = "mev_sendBundle", |raw: &str| json!([{"body": [{"bundle": {"body": [{"tx": raw}]}}]}]);
    bypass_eea_send_raw_transaction = "eea_sendRawTransaction", |raw: &str| json!([raw]);
    bypass_priv_distribute_raw_transaction = "priv_distributeRawTransaction", |raw: &str| json!([raw]);
    bypass_zks_send_raw_transaction_with_detailed_output = "zks_sendRawTransactionWithDetailedOutput", |raw: &str| json!([raw]);
    bypass_klay_send_raw_transaction = "klay_sendRawTransaction", |raw: &str| json!([raw]);
    bypass_kaia_send_raw_transaction = "kaia_sendRawTransaction", |raw: &str| json!([raw]);
    bypass_timeboost_send_express_lane_transaction = "timeboost_sendExpressLaneTransaction", |raw: &str| json!([{"chainId": "0x7a69", "round": "0x1", "transaction": raw, "signature": "0x00"}]);
    bypass_blxr_tx = "blxr_tx", |raw: &str| json!({"transaction": raw[2..]});
    bypass_blxr_private_tx = "blxr_private_tx", |raw: &str| json!({"transaction": raw, "timeout": 5});
    bypass_blxr_batch_tx = "blxr_batch_tx", |raw: &str| json!({"transactions": [raw[2..]]});
    bypass_blxr_submit_bundle = "blxr_submit_bundle", |raw: &str| json!({"transaction": [raw[2..]], "block_number": "0x9"});
}

fn user_operation(target: &str) -> Value {
    let call = format!("0x{}", target[2..].to_lowercase());
    json!({"sender": account().address(), "nonce": "0x1", "callData": call, "signature": "0x00"})
}

const ENTRY: &str = "0x0000000071727De22E5E9d8BAf0edAc6f37da032";

bypass! { operation:
    bypass_eth_send_user_operation = "eth_sendUserOperation", |target: &str| json!([user_operation(target), ENTRY]);
    bypass_eth_send_user_operation_paymaster = "eth_sendUserOperation", |target: &str| {
        let mut operation = user_operation(&GOOD.to_string());
        operation["paymaster"] = json!(target);
        json!([operation, ENTRY])
    };
    bypass_eth_send_user_operation_paymaster_and_data = "eth_sendUserOperation", |target: &str| {
        let mut operation = user_operation(&GOOD.to_string());
        operation["paymasterAndData"] = json!(format!("{target}00"));
        json!([operation, ENTRY])
    };
    bypass_boost_send_user_operation = "boost_sendUserOperation", |target: &str| json!([user_operation(target), ENTRY]);
    bypass_wallet_send_calls = "wallet_sendCalls", |target: &str| json!([{"version": "2.0.0", "chainId": "0x7a69", "calls": [{"to": GOOD}, {"to": target, "value": "0x1"}]}]);
    bypass_wallet_send_prepared_calls = "wallet_sendPreparedCalls", |target: &str| json!([{"type": "user-operation-v070", "chainId": "0x7a69", "data": user_operation(target), "signature": {}}]);
    bypass_wallet_send_transaction = "wallet_sendTransaction", |target: &str| json!([{"to": target, "value": "0x1"}]);
}

fn to(target: &str) -> Value {
    json!({"from": account().address(), "to": target, "value": "0x1"})
}

bypass! { signs:
    bypass_eth_send_transaction = "eth_sendTransaction", |target: &str| json!([to(target)]);
    bypass_eth_send_transaction_sync = "eth_sendTransactionSync", |target: &str| json!([to(target)]);
    bypass_eth_sign_transaction = "eth_signTransaction", |target: &str| json!([to(target)]);
    bypass_eth_send_unsigned_transaction = "eth_sendUnsignedTransaction", |target: &str| json!([to(target)]);
    bypass_eth_sign = "eth_sign", |target: &str| json!([account().address(), target]);
    bypass_eth_sign_typed_data = "eth_signTypedData", |target: &str| json!([account().address(), {"message": {"spender": target}}]);
    bypass_eth_sign_typed_data_v1 = "eth_signTypedData_v1", |target: &str| json!([[{"type": "address", "name": "spender", "value": target}], account().address()]);
    bypass_eth_sign_typed_data_v3 = "eth_signTypedData_v3", |target: &str| json!([account().address(), {"message": {"spender": target}}]);
    bypass_eth_sign_typed_data_v4 = "eth_signTypedData_v4", |target: &str| json!([account().address(), json!({"message": {"spender": target}}).to_string()]);
    bypass_personal_sign = "personal_sign", |target: &str| json!([target, account().address()]);
    bypass_personal_sign_transaction = "personal_signTransaction", |target: &str| json!([to(target), "password"]);
    bypass_personal_send_transaction = "personal_sendTransaction", |target: &str| json!([to(target), "password"]);
    bypass_personal_sign_and_send_transaction = "personal_signAndSendTransaction", |target: &str| json!([to(target), "password"]);
    bypass_account_sign_transaction = "account_signTransaction", |target: &str| json!([to(target)]);
    bypass_account_sign_typed_data = "account_signTypedData", |target: &str| json!([account().address(), {"message": {"spender": target}}]);
    bypass_parity_post_transaction = "parity_postTransaction", |target: &str| json!([to(target)]);
    bypass_parity_post_sign = "parity_postSign", |target: &str| json!([account().address(), target]);
}

bypass! { refused:
    bypass_pimlico_send_compressed_user_operation = "pimlico_sendCompressedUserOperation";
    bypass_eth_resend = "eth_resend";
    bypass_personal_unlock_account = "personal_unlockAccount";
    bypass_personal_import_raw_key = "personal_importRawKey";
    bypass_account_sign_data = "account_signData";
    bypass_signer_confirm_request = "signer_confirmRequest";
    bypass_signer_confirm_request_raw = "signer_confirmRequestRaw";
    bypass_signer_confirm_request_with_token = "signer_confirmRequestWithToken";
    bypass_eea_send_transaction = "eea_sendTransaction";
    bypass_wallet_invoke_method = "wallet_invokeMethod";
    bypass_engine = "engine_newPayloadV4";
    bypass_admin = "admin_addPeer";
    bypass_miner = "miner_start";
    bypass_clique = "clique_propose";
    bypass_les = "les_addBalance";
    bypass_debug_set_head = "debug_setHead";
    bypass_debug_chaindb = "debug_chaindbCompact";
    bypass_anvil = "anvil_setBalance";
    bypass_hardhat = "hardhat_impersonateAccount";
    bypass_evm = "evm_mine";
    bypass_tenderly = "tenderly_setBalance";
    bypass_unknown_method = "eth_sendRawTransactionV2";
    bypass_wrong_case = "eth_sendrawtransaction";
    bypass_blank_in_method = "eth_sendRawTransaction ";
}

/// A dry run passes, with what the checks would say of it in a header.
#[tokio::test]
async fn bypass_dry_runs_pass_with_a_verdict_beside_the_answer() {
    let world = World::start().await;
    for method in ["eth_call", "eth_estimateGas", "eth_createAccessList", "debug_traceCall", "trace_call"] {
        let got = world.call(method, json!([to(&BAD.to_string())])).await;
        assert_eq!((got.code(), got.advice()), (0, Some("block; rule=deny.listed")), "{method} {got:?}");
        let got = world.call(method, json!([to(&GOOD.to_string())])).await;
        assert_eq!((got.code(), got.advice()), (0, Some("allow")), "{method}");
    }
    let bad = raw(&legacy(BAD));
    let got = world.call("trace_rawTransaction", json!([bad, ["trace"]])).await;
    assert_eq!((got.code(), got.advice()), (0, Some("block; rule=deny.listed")));
    let got = world.call("eth_callBundle", json!([{"txs": [bad], "blockNumber": "0x1"}])).await;
    assert_eq!((got.code(), got.advice()), (0, Some("block; rule=deny.listed")));
    for method in ["eth_simulateV1", "eth_callMany", "mev_simBundle", "trace_callMany", "eth_estimateUserOperationGas"]
    {
        assert_eq!(world.call(method, json!([{}])).await.code(), 0, "{method}");
        assert_eq!(world.node().count(method), 1, "{method}");
    }
}

#[tokio::test]
async fn bypass_cancellations_pass_only_from_the_client_that_submitted() {
    let world = World::with(1, |config| config.client_header = Some("x-client".to_owned())).await;
    let uuid = "3f2504e0-4f89-41d3-9a0c-0305e82c3301";
    let hash = legacy(GOOD).tx_hash().to_string();
    let bundle = json!([{"txs": [raw(&legacy(GOOD))], "blockNumber": "0x9", "replacementUuid": uuid}]);
    let body = |method: &str, params: Value| json!({"id": 1, "method": method, "params": params}).to_string();
    let post = |client: &'static str, text: String| {
        let world = &world;
        async move { world.send(hyper::Method::POST, "/", &[("x-client", client)], text.into()).await.code() }
    };
    let by_uuid = body("eth_cancelBundle", json!([{"replacementUuid": uuid}]));
    let by_hash = body("eth_cancelPrivateTransaction", json!([{"txHash": hash}]));
    assert_eq!(post("ana", by_uuid.clone()).await, i64::from(code::PARAMS));
    assert_eq!(post("ana", body("eth_sendBundle", bundle)).await, 0);
    for (client, expected) in [("bob", i64::from(code::PARAMS)), ("ana", 0)] {
        assert_eq!(post(client, by_uuid.clone()).await, expected);
        assert_eq!(post(client, by_hash.clone()).await, expected);
    }
    assert_eq!((world.node().count("eth_cancelBundle"), world.node().count("eth_cancelPrivateTransaction")), (1, 1));
}

#[tokio::test]
async fn bypass_other_paths_get_and_graphql() {
    let world = World::start().await;
    let bad = raw(&legacy(GOOD));
    let text = json!({"id": 1, "method": "eth_sendRawTransaction", "params": [bad]}).to_string();
    let graphql = format!("mutation {{ sendRawTransaction(data: \"{bad}\") }}");
    for (method, path, body) in [
        (hyper::Method::GET, "/", text.clone()),
        (hyper::Method::PUT, "/", text.clone()),
        (hyper::Method::OPTIONS, "/", text.clone()),
        (hyper::Method::POST, "/graphql", graphql),
        (hyper::Method::POST, "/x", text.clone()),
        (hyper::Method::POST, "//", text.clone()),
        (hyper::Method::POST, "/health", text.clone()),
        (hyper::Method::GET, "/graphql?query=x", String::new()),
    ] {
        let got = world.send(method, path, &[], body.into()).await;
        assert!(got.status == 404 || got.status == 405, "{path} {got:?}");
    }
    assert_eq!(world.send(hyper::Method::GET, "/health", &[], Default::default()).await.status, 200);
    world.nothing_reached();
}
