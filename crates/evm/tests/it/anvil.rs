//! A real node (anvil from npm): its state by RPC gives the same answers as the node itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use alloy_primitives::{Address, Bytes, U256, hex};
use alloy_sol_types::{SolCall, SolValue, sol};
use serde_json::{Value, json};
use surety_evm::{Call, Chain, Limits, Recorder, Remote, RemoteConfig, Session};

use crate::npm;

sol! {
    function transfer(address to, uint256 amount);
    function balanceOf(address account) returns (uint256);
}

/// Anvil on a port of its choice; ends with its owner.
pub(crate) struct Anvil {
    process: Child,
    pub(crate) address: String,
}

impl Anvil {
    /// Nothing when it is not installed.
    pub(crate) fn start(options: &[&str]) -> Option<Self> {
        let folder = npm::package("@foundry-rs/anvil-linux-amd64")?;
        let mut process = Command::new(folder.join("bin/anvil"))
            .args(["--port", "0", "--hardfork", "osaka"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.find_map(|line| line.unwrap().strip_prefix("Listening on ").map(str::to_owned));
        // Whatever else it says must go somewhere, or it would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { process, address: address.unwrap() })
    }

    fn ask(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = "POST / HTTP/1.1\r\nhost: anvil\r\nconnection: close\r\ncontent-type: application/json";
        write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (_, body) = response.split_once("\r\n\r\n").unwrap();
        let mut answer: Value = serde_json::from_str(body).unwrap();
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    fn send(&self, transaction: Value) -> Value {
        let hash = self.ask("eth_sendTransaction", json!([transaction]));
        // Anvil mines at once, but answers before it has.
        for _ in 0..200 {
            let receipt = self.ask("eth_getTransactionReceipt", json!([hash]));
            if !receipt.is_null() {
                return receipt;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("the transaction was not mined");
    }
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn state_of_a_real_node_gives_the_answers_of_that_node() {
    let Some(code) = npm::init_code("@uniswap/v2-periphery/build/DeflatingERC20.json") else { return };
    let Some(anvil) = Anvil::start(&[]) else { return };
    let accounts: Vec<Address> = serde_json::from_value(anvil.ask("eth_accounts", json!([]))).unwrap();
    let (ana, ben) = (accounts[0], accounts[1]);
    let init = [code, U256::from(1_000_000).abi_encode()].concat();
    let receipt = anvil.send(json!({"from": ana, "data": hex::encode_prefixed(init)}));
    let token: Address = serde_json::from_value(receipt["contractAddress"].clone()).unwrap();

    let remote = Remote::connect(&RemoteConfig::new(format!("http://{}", anvil.address))).unwrap();
    assert_eq!(remote.chain_id(), 31_337);
    let (snapshot, recorder) = Recorder::record(&remote.snapshot(None).unwrap());
    let call = Call::new(ana, token, transferCall { to: ben, amount: U256::from(5000) }.abi_encode());
    let mut session = Session::new(&snapshot, Limits::default());
    session.prefetch(&remote.access_list(&snapshot.head, &call).unwrap());
    let simulation = session.simulate(&call).unwrap();

    // The witness alone gives the same again, byte for byte.
    let replay = recorder.witness().snapshot(snapshot.head);
    assert_eq!(Session::new(&replay, Limits::default()).simulate(&call).unwrap(), simulation);

    let receipt = anvil.send(json!({"from": ana, "to": token, "data": call.data}));
    let gas: U256 = serde_json::from_value(receipt["gasUsed"].clone()).unwrap();
    assert_eq!(U256::from(simulation.outcome.gas_used), gas);
    let data = balanceOfCall { account: ben }.abi_encode();
    let held: Bytes = serde_json::from_value(
        anvil.ask("eth_call", json!([{"to": token, "data": hex::encode_prefixed(data)}, "latest"])),
    )
    .unwrap();
    let ours = simulation.changes.tokens.iter().find(|change| change.account == ben).unwrap();
    assert_eq!(ours.after, Some(U256::from_be_slice(&held)));
    assert_eq!(ours.after, Some(U256::from(4950)));
}
