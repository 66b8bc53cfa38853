//! The same transactions on this chain and on anvil, which shares the interpreter and none of the rest: blocks, pool, receipts
//! and fees must agree.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{Address, B256, Bytes, U256, address};
use alloy_sol_types::SolValue;
use serde_json::{Value, json};
use surety_evm::Call;
use surety_evm::canonical::steps;
use surety_evm::chain::DEV_ACCOUNTS;
use surety_evm::rpc::serve;

use crate::anvil::Anvil;
use crate::chain::{chain, config, signed};
use crate::npm;

const ANA: Address = DEV_ACCOUNTS[0];
const BOB: Address = DEV_ACCOUNTS[1];
/// Where the miner's tips go on both chains.
const MINER: Address = address!("0x00000000000000000000000000000000000000c0");

async fn ask(url: &str, method: &str, params: Value) -> Value {
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
    let request = reqwest::Client::new().post(url).header("content-type", "application/json").body(body);
    let answer = request.send().await.unwrap().bytes().await.unwrap();
    serde_json::from_slice(&answer).unwrap()
}

/// Transactions that deploy, move, fail, run out, refund and create from within; with the nonces they need.
fn corpus() -> Option<Vec<Bytes>> {
    let token_code = npm::init_code("@openzeppelin/contracts-v4/build/contracts/ERC20PresetFixedSupply.json")?;
    let factory_code = npm::init_code("@uniswap/v2-core/build/UniswapV2Factory.json")?;
    let weth_code = npm::init_code("@uniswap/v2-periphery/build/WETH9.json")?;
    let (token, factory, weth) = (ANA.create(0), ANA.create(1), ANA.create(2));
    let arguments = ("Plain".to_owned(), "PLN".to_owned(), U256::from(1_000_000), ANA).abi_encode_params();
    let ether = U256::from(1_000_000_000_000_000_000u64);
    let pair = Call { to: Some(factory), ..steps::create_pair(ANA, token, weth) };
    let deposit = Call { to: Some(weth), ..steps::wrap(ANA, ether) };
    let withdraw = [&[0x2e, 0x1a, 0x7d, 0x4d][..], &U256::from(5).to_be_bytes::<32>()].concat();
    let own = vec![
        Call::create(ANA, [token_code, arguments].concat()).gas(3_000_000),
        Call::create(ANA, [factory_code, ANA.abi_encode()].concat()).gas(5_000_000),
        Call::create(ANA, weth_code).gas(3_000_000),
        steps::transfer(ANA, token, BOB, U256::from(10)),
        steps::transfer(ANA, token, BOB, U256::from(10_000_000)),
        steps::approve(ANA, token, BOB, U256::from(7)),
        // Back to zero earns a refund.
        steps::approve(ANA, token, BOB, U256::ZERO),
        pair.clone().gas(4_000_000),
        pair.gas(4_000_000),
        deposit,
        Call::new(ANA, weth, withdraw),
        steps::transfer(ANA, weth, BOB, ether),
        Call::new(ANA, BOB, Bytes::new()).value(ether).gas(21_000),
        // Runs out of gas, reverts, and runs into an invalid instruction.
        steps::transfer(ANA, token, BOB, U256::ONE).gas(25_000),
        Call::create(ANA, vec![0x5f, 0x5f, 0xfd]).gas(100_000),
        Call::create(ANA, vec![0xfe]).gas(100_000),
        // Code that begins with 0xef is refused (EIP-3541).
        Call::create(ANA, vec![0x60, 0xef, 0x5f, 0x53, 0x60, 0x01, 0x5f, 0xf3]).gas(100_000),
        // Sends all it has and is gone in the same transaction (EIP-6780).
        Call::create(ANA, [&[0x73][..], BOB.as_slice(), &[0xff]].concat()).value(U256::from(9)).gas(100_000),
        // Much calldata costs the floor price (EIP-7623).
        Call::new(ANA, BOB, vec![1; 2000]).gas(200_000),
        // The precompile for secp256r1 is there (EIP-7951).
        Call::new(ANA, Address::from_word(B256::from(U256::from(256))), vec![2; 160]).gas(100_000),
    ];
    let raw = own.iter().zip(0..).map(|(step, nonce)| signed(0, nonce, step));
    Some(raw.collect())
}

/// What a receipt says apart from hashes of blocks, whose states differ in what anvil's genesis has.
fn essence(receipt: &Value) -> Value {
    let logs = receipt["logs"].as_array().unwrap().iter();
    let logs: Vec<_> = logs.map(|log| json!([log["address"], log["topics"], log["data"], log["logIndex"]])).collect();
    let names = [
        "transactionHash",
        "transactionIndex",
        "status",
        "type",
        "gasUsed",
        "cumulativeGasUsed",
        "effectiveGasPrice",
        "from",
        "to",
        "contractAddress",
        "logsBloom",
        "blockNumber",
    ];
    json!([names.map(|name| receipt[name].clone()), logs])
}

/// The receipt, once there is one: anvil mines a little later than it accepts.
async fn receipt(url: &str, hash: &Value) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let receipt = ask(url, "eth_getTransactionReceipt", json!([hash])).await["result"].take();
        if receipt.is_object() {
            return receipt;
        }
        assert!(Instant::now() < deadline, "{url} has no receipt of {hash}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn anvil_agrees_on_receipts_fees_and_state() {
    let Some(corpus) = corpus() else { return };
    let timestamp = config().timestamp.to_string();
    let fees = ["--gas-limit", "60000000", "--block-base-fee-per-gas", "1000000000", "--timestamp", &timestamp];
    let Some(anvil) = Anvil::start(&fees) else { return };
    let peer = format!("http://{}", anvil.address);
    let config = surety_evm::chain::Config { coinbase: MINER, ..config() };
    let server = serve(([127, 0, 0, 1], 0).into(), Arc::new(chain(config)), None).await.unwrap();
    let own = server.url();
    ask(&peer, "anvil_setCoinbase", json!([MINER])).await;
    // Anvil gives its first block the base fee itself; by EIP-1559 it is an eighth below that of the empty block 0.
    ask(&peer, "anvil_setNextBlockBaseFeePerGas", json!(["0x342770c0"])).await;

    for (number, raw) in corpus.iter().enumerate() {
        let mut receipts = Vec::new();
        for url in [&own, &peer] {
            let sent = ask(url, "eth_sendRawTransaction", json!([raw])).await;
            assert!(sent["result"].is_string(), "{url} on {number}: {sent}");
            receipts.push(receipt(url, &sent["result"]).await);
        }
        assert_eq!(essence(&receipts[0]), essence(&receipts[1]), "transaction {number}");
    }
    let mut reads = vec![("eth_blockNumber", json!([])), ("eth_gasPrice", json!([]))];
    for account in [ANA, BOB, MINER, ANA.create(0), ANA.create(2)] {
        reads.push(("eth_getBalance", json!([account, "latest"])));
        reads.push(("eth_getTransactionCount", json!([account, "latest"])));
        reads.push(("eth_getCode", json!([account, "latest"])));
    }
    for (method, params) in reads {
        let answers = [ask(&own, method, params.clone()).await, ask(&peer, method, params.clone()).await];
        assert_eq!(answers[0]["result"], answers[1]["result"], "{method} {params}");
    }
    // The factory's slots were never cleared: anvil leaves cleared ones in its trie, as zeros that Ethereum's does not have.
    let proofs = json!([ANA.create(1), [B256::with_last_byte(1)], "latest"]);
    let proofs = [ask(&own, "eth_getProof", proofs.clone()).await, ask(&peer, "eth_getProof", proofs).await];
    for part in ["storageHash", "codeHash", "nonce", "balance", "storageProof"] {
        assert!(proofs[1].get("error").is_none(), "{}", proofs[1]);
        assert_eq!(proofs[0]["result"][part], proofs[1]["result"][part], "{part}");
    }
    // Both refuse what is used up, for the same reason.
    for url in [&own, &peer] {
        let again = ask(url, "eth_sendRawTransaction", json!([signed(0, 0, &Call::new(ANA, BOB, Bytes::new()))])).await;
        assert!(again["error"]["message"].as_str().unwrap().contains("nonce too low"), "{again}");
    }
    server.stop().await;
}
