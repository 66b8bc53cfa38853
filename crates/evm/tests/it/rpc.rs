//! The chain over JSON-RPC: unmodified clients, exact errors, bounds.

use std::process::{Command, Stdio};
use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_trie::proof::verify_proof;
use alloy_trie::{Nibbles, TrieAccount};
use serde_json::{Value, json};
use surety_evm::canonical::{self, steps};
use surety_evm::chain::{DEV_ACCOUNTS, DevChain};
use surety_evm::rpc::{Server, serve};
use surety_evm::{Call, Chain, Limits, Remote, RemoteConfig, Session};

use crate::chain::{chain, config, signed};
use crate::npm;

async fn start() -> Server {
    serve(([127, 0, 0, 1], 0).into(), Arc::new(chain(config())), None).await.unwrap()
}

async fn post(server: &Server, body: impl Into<reqwest::Body>) -> Value {
    let answer = reqwest::Client::new().post(server.url()).body(body).send().await.unwrap();
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

async fn ask(server: &Server, method: &str, params: Value) -> Value {
    post(server, json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn ethers_and_viem_work_unmodified() {
    if npm::package("ethers").is_none() || npm::package("viem").is_none() {
        return;
    }
    let server = start().await;
    let url = server.url();
    let output = tokio::task::spawn_blocking(move || {
        Command::new("node").args(["chain.cjs", &url]).current_dir(npm::folder()).stdin(Stdio::null()).output().unwrap()
    });
    let output = output.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["types"], json!([0, 1, 2, 4, "legacy", "eip2930", "eip1559", "eip7702"]), "{said}");
    let token: Address = serde_json::from_value(said["token"].clone()).unwrap();
    let holders = server.chain().index().unwrap().holders(token, None, 10).unwrap();
    assert_eq!(holders.total, U256::from(1_000_000));
    server.stop().await;
}

#[tokio::test]
async fn errors_are_the_ones_of_the_standard() {
    let server = start().await;
    let code = |answer: Value| answer["error"]["code"].as_i64().unwrap();
    assert_eq!(code(post(&server, "{").await), -32700);
    assert_eq!(code(post(&server, "[]").await), -32600);
    assert_eq!(code(post(&server, "1").await), -32600);
    assert_eq!(code(post(&server, r#"{"jsonrpc":"1.0","id":1,"method":"eth_chainId"}"#).await), -32600);
    assert_eq!(code(ask(&server, "eth_chainid", json!([])).await), -32601);
    assert_eq!(code(ask(&server, "eth_getBalance", json!([])).await), -32602);
    assert_eq!(code(ask(&server, "eth_getBalance", json!(["0x12"])).await), -32602);
    assert_eq!(code(ask(&server, "eth_getBalance", json!([DEV_ACCOUNTS[0], "0x99"])).await), -32000);
    assert_eq!(code(ask(&server, "eth_chainId", json!({})).await), -32602);
    let first = signed(0, 0, &Call::new(DEV_ACCOUNTS[0], DEV_ACCOUNTS[1], Bytes::new()).gas(21_000));
    assert!(ask(&server, "eth_sendRawTransaction", json!([first])).await["result"].is_string());
    let again = ask(&server, "eth_sendRawTransaction", json!([first])).await;
    assert_eq!(again["error"], json!({ "code": -32000, "message": "already known" }));
    let unprefixed = ask(&server, "eth_sendRawTransaction", json!([first.to_string().trim_start_matches("0x")])).await;
    assert_eq!(code(unprefixed), -32602);
    // revert(0, 0) behind no constructor: a creation that reverts.
    let reverted = ask(&server, "eth_call", json!([{ "data": "0x5f5ffd" }])).await;
    assert_eq!(reverted["error"], json!({ "code": 3, "message": "execution reverted", "data": "0x" }));
    server.stop().await;
}

#[tokio::test]
async fn batches_keep_their_order_and_notifications_their_silence() {
    let server = start().await;
    let batch = json!([
        { "jsonrpc": "2.0", "id": "a", "method": "eth_chainId" },
        { "jsonrpc": "2.0", "method": "evm_mine" },
        7,
        { "jsonrpc": "2.0", "id": 9_007_199_254_740_993u64, "method": "eth_blockNumber", "params": null },
    ]);
    let answers = post(&server, batch.to_string()).await;
    assert_eq!(answers.as_array().unwrap().len(), 3);
    assert_eq!(answers[0], json!({ "jsonrpc": "2.0", "id": "a", "result": "0x7a69" }));
    assert_eq!(answers[1]["error"]["code"], -32600);
    assert_eq!(answers[2], json!({ "jsonrpc": "2.0", "id": 9_007_199_254_740_993u64, "result": "0x1" }));
    let silent = reqwest::Client::new()
        .post(server.url())
        .body(r#"{"jsonrpc":"2.0","method":"evm_mine"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(silent.status(), 204);
    let long = Value::Array(vec![json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_chainId" }); 1001]);
    assert_eq!(post(&server, long.to_string()).await["error"]["code"], -32600);
    let large = reqwest::Client::new().post(server.url()).body(vec![b' '; (4 << 20) + 1]).send().await.unwrap();
    assert_eq!(large.status(), 413);
    let far = ask(&server, "eth_getLogs", json!([{ "fromBlock": "0x0", "toBlock": "0x2711" }])).await;
    assert_eq!(far["error"]["code"], -32005);
    server.stop().await;
}

#[tokio::test]
async fn a_proof_over_rpc_holds_against_the_block() {
    let server = start().await;
    let account = Address::repeat_byte(0x44);
    for (slot, value) in [("0x1", "0x63"), ("0x2", "0x64"), ("0x30", "0x65")] {
        let set = ask(&server, "anvil_setStorageAt", json!([account, slot, value])).await;
        assert!(set.get("error").is_none(), "{set}");
    }
    ask(&server, "anvil_setBalance", json!([account, "0x10"])).await;
    let block = ask(&server, "eth_getBlockByNumber", json!(["latest", false])).await;
    let root: B256 = serde_json::from_value(block["result"]["stateRoot"].clone()).unwrap();
    let answer = ask(&server, "eth_getProof", json!([account, ["0x2", "0x7"], "latest"])).await;
    let proof = &answer["result"];
    let nodes = |value: &Value| serde_json::from_value::<Vec<Bytes>>(value.clone()).unwrap();
    let storage_root: B256 = serde_json::from_value(proof["storageHash"].clone()).unwrap();
    let leaf = TrieAccount { balance: U256::from(16), storage_root, ..TrieAccount::default() };
    let key = Nibbles::unpack(keccak256(account));
    verify_proof(root, key, Some(alloy_rlp::encode(leaf)), &nodes(&proof["accountProof"])).unwrap();
    for (place, slot, value) in [(0, 2u64, Some(0x64u64)), (1, 7, None)] {
        let key = Nibbles::unpack(keccak256(U256::from(slot).to_be_bytes::<32>()));
        let value = value.map(|value| alloy_rlp::encode(U256::from(value)));
        verify_proof(storage_root, key, value, &nodes(&proof["storageProof"][place]["proof"])).unwrap();
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_come_by_themselves_at_an_interval() {
    let interval = Some(std::time::Duration::from_millis(20));
    let server = serve(([127, 0, 0, 1], 0).into(), Arc::new(chain(config())), interval).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while server.chain().newest().header.number < 3 {
        assert!(std::time::Instant::now() < deadline);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    server.stop().await;
}

/// Reads through RPC, with every proof checked against the block's state root, give what the chain itself gives.
#[tokio::test(flavor = "multi_thread")]
async fn the_chain_seen_from_afar_is_the_chain() {
    let Some(world) = crate::canonical::world() else { return };
    let chain = DevChain::new(config(), world.genesis);
    let who = DEV_ACCOUNTS[1];
    let allow = steps::approve(who, canonical::USDC, canonical::V2_ROUTER, U256::MAX);
    chain.submit(&signed(1, 0, &allow)).unwrap();
    let server = serve(([127, 0, 0, 1], 0).into(), Arc::new(chain), None).await.unwrap();
    let (url, chain) = (server.url(), Arc::clone(server.chain()));
    let compared = tokio::task::spawn_blocking(move || {
        let remote = Remote::connect(&RemoteConfig::new(url)).unwrap();
        assert_eq!(remote.chain_id(), 31_337);
        let afar = remote.snapshot(None).unwrap();
        let near = chain.snapshot(None).unwrap();
        assert_eq!(afar.head, near.head);
        let add = steps::add_liquidity(
            who,
            canonical::USDC,
            U256::from(3_000_000_000u64),
            U256::from(10).pow(U256::from(18)),
        );
        for step in [add, steps::buy(who, canonical::USDC, U256::from(1_000_000_000_000_000u64))] {
            let mut sessions = [&afar, &near].map(|snapshot| Session::new(snapshot, Limits::default()));
            let outcomes = sessions.each_mut().map(|session| session.run(&step).unwrap());
            assert_eq!(outcomes[0], outcomes[1]);
        }
    });
    compared.await.unwrap();
    server.stop().await;
}
