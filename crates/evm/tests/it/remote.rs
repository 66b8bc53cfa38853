//! A node behind RPC, honest and not: checked by proofs, asked once, given up in time.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alloy_consensus::Header;
use alloy_primitives::{Address, B256, Bytes, U256, bytes};
use serde_json::{Value, json};
use surety_evm::{Call, Chain, Limits, Remote, RemoteConfig, Session, StateError, World};

use crate::sessions::{ANA, BEN, CODE};

/// Returns slot 0 plus the hash of the block two before this one.
const READS: Bytes = bytes!("5f54600243034001805f5260205ff3");

/// A node on this machine that serves one world, in the way its fault says.
struct Node {
    url: String,
    requests: Arc<AtomicUsize>,
    ended: Arc<AtomicBool>,
    address: std::net::SocketAddr,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    LiesAboutSlots,
    LiesAboutBalances,
    LiesAboutCode,
    LiesAboutHeaders,
    Stalls,
    Cuts,
    Floods,
    Garbles,
}

struct Served {
    world: World,
    headers: Vec<Header>,
    fault: Mutex<Fault>,
}

impl Node {
    fn start(fault: Fault) -> Self {
        let served = Arc::new(served(fault));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (requests, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counter, over) = (Arc::clone(&requests), Arc::clone(&ended));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let (served, counter) = (Arc::clone(&served), Arc::clone(&counter));
                std::thread::spawn(move || serve(&served, stream.unwrap(), &counter));
            }
        });
        Self { url: format!("http://{address}/"), requests, ended, address }
    }

    fn connect(&self) -> Remote {
        let config = RemoteConfig { timeout: Duration::from_millis(800), ..RemoteConfig::new(&self.url) };
        Remote::connect(&config).unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn served(fault: Fault) -> Served {
    let mut world = World::new();
    world.set_balance(ANA, U256::from(10u64.pow(18)));
    world.insert(CODE, 1, U256::from(3), READS);
    world.set_storage(CODE, U256::ZERO, U256::from(41));
    for n in 0..50u8 {
        world.set_balance(Address::repeat_byte(n), U256::from(n));
    }
    let mut headers: Vec<Header> = Vec::new();
    for number in 0..6 {
        let parent_hash = headers.last().map(Header::hash_slow).unwrap_or_default();
        headers.push(Header {
            number,
            parent_hash,
            state_root: world.root(),
            gas_limit: 30_000_000,
            timestamp: 1000 + number,
            base_fee_per_gas: Some(7),
            ..Header::default()
        });
    }
    Served { world, headers, fault: Mutex::new(fault) }
}

/// One connection: requests by HTTP/1.1 until it ends.
fn serve(served: &Served, stream: TcpStream, requests: &AtomicUsize) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(body) = request(&mut reader) {
        requests.fetch_add(1, Ordering::SeqCst);
        let questions: Vec<Value> = serde_json::from_slice(&body).unwrap();
        let opening = questions.iter().any(|question| question["method"] == "eth_chainId");
        let fault = if opening { Fault::None } else { *served.fault.lock().unwrap() };
        let response = match fault {
            Fault::Stalls => {
                std::thread::sleep(Duration::from_secs(3));
                return;
            }
            Fault::Cuts => return,
            Fault::Floods => vec![b' '; 9 << 20],
            Fault::Garbles => b"[{\"id\":0,\"result\":".to_vec(),
            _ => {
                let answer = |question: &Value| json!({"jsonrpc": "2.0", "id": question["id"], "result": served.answer(question, fault)});
                serde_json::to_vec(&questions.iter().map(answer).collect::<Vec<_>>()).unwrap()
            }
        };
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", response.len());
        if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&response)).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

impl Served {
    fn answer(&self, question: &Value, fault: Fault) -> Value {
        let params = &question["params"];
        match question["method"].as_str().unwrap() {
            "eth_chainId" => json!("0x1"),
            "eth_getBlockByNumber" => self.block(&params[0], fault),
            "eth_getBlockByHash" => {
                let hash: B256 = serde_json::from_value(params[0].clone()).unwrap();
                let number = self.headers.iter().position(|header| header.hash_slow() == hash);
                number.map_or(Value::Null, |number| self.block(&json!(format!("{number:#x}")), fault))
            }
            "eth_getProof" => self.proof(params, fault),
            "eth_getCode" if fault == Fault::LiesAboutCode => json!("0x5f5ffd"),
            "eth_getCode" => {
                let address = serde_json::from_value(params[0].clone()).unwrap();
                json!(self.world.get(address).map(|account| account.code().clone()).unwrap_or_default())
            }
            "eth_createAccessList" => json!({"gasUsed": "0x1", "accessList": [
                {"address": CODE, "storageKeys": [B256::ZERO]},
                {"address": ANA, "storageKeys": vec![B256::ZERO; 400]},
                {"address": BEN, "storageKeys": []},
            ]}),
            other => panic!("{other} is not asked"),
        }
    }

    fn block(&self, number: &Value, fault: Fault) -> Value {
        let index = match number.as_str().unwrap() {
            "latest" => self.headers.len() - 1,
            hex => usize::from_str_radix(hex.trim_start_matches("0x"), 16).unwrap(),
        };
        let Some(header) = self.headers.get(index) else { return Value::Null };
        let mut block = serde_json::to_value(header).unwrap();
        block["hash"] = json!(header.hash_slow());
        if fault == Fault::LiesAboutHeaders {
            block["timestamp"] = json!("0x1");
        }
        block
    }

    fn proof(&self, params: &Value, fault: Fault) -> Value {
        let address = serde_json::from_value(params[0].clone()).unwrap();
        let slots: Vec<B256> = serde_json::from_value(params[1].clone()).unwrap();
        let slots: Vec<U256> = slots.into_iter().map(|slot| slot.into()).collect();
        let mut proof = self.world.prove(address, &slots);
        match fault {
            Fault::LiesAboutBalances => proof.balance += U256::from(1),
            Fault::LiesAboutSlots => proof.storage_proof.iter_mut().for_each(|slot| slot.value += U256::from(1)),
            _ => {}
        }
        serde_json::to_value(proof).unwrap()
    }
}

fn run(remote: &Remote) -> Result<surety_evm::Outcome, StateError> {
    let snapshot = remote.snapshot(None)?;
    Session::new(&snapshot, Limits::default()).run(&Call::new(ANA, CODE, Bytes::new()).value(U256::from(1)))
}

#[test]
fn a_call_on_remote_state_is_the_call_on_the_world() {
    let node = Node::start(Fault::None);
    let remote = node.connect();
    assert_eq!(remote.chain_id(), 1);
    let outcome = run(&remote).unwrap();
    assert!(outcome.is_success(), "{outcome:?}");
    let expected = U256::from_be_bytes(served(Fault::None).headers[3].hash_slow().0).wrapping_add(U256::from(41));
    assert_eq!(outcome.word(), Some(expected));
    let before = node.requests.load(Ordering::SeqCst);
    run(&remote).unwrap();
    assert_eq!(node.requests.load(Ordering::SeqCst), before + 1, "only the newest block is asked for again");
}

#[test]
fn absent_accounts_and_slots_are_proven_absent() {
    let node = Node::start(Fault::None);
    let snapshot = node.connect().snapshot(None).unwrap();
    assert_eq!(snapshot.source.account(Address::repeat_byte(0xee)).unwrap(), None);
    assert_eq!(snapshot.source.storage(CODE, U256::from(99)).unwrap(), U256::ZERO);
    assert_eq!(snapshot.source.storage(BEN, U256::ZERO).unwrap(), U256::ZERO);
    for n in 1..50u8 {
        let account = snapshot.source.account(Address::repeat_byte(n)).unwrap().unwrap();
        assert_eq!(account.balance, U256::from(n));
    }
}

#[test]
fn a_node_that_lies_is_caught() {
    for fault in [Fault::LiesAboutBalances, Fault::LiesAboutSlots, Fault::LiesAboutCode, Fault::LiesAboutHeaders] {
        let node = Node::start(fault);
        let error = run(&node.connect()).unwrap_err();
        assert!(matches!(error, StateError::Proof(_)), "{error:?}");
    }
}

#[test]
fn a_block_is_pinned_by_its_hash() {
    let node = Node::start(Fault::None);
    let remote = node.connect();
    let hash = served(Fault::None).headers[2].hash_slow();
    assert_eq!(remote.snapshot_of(hash, None).unwrap().head.number, 2);
    let absent = remote.snapshot_of(B256::repeat_byte(1), None).unwrap_err();
    assert!(matches!(absent, StateError::Absent { .. }));
}

#[test]
fn a_node_that_fails_fails_in_time() {
    for fault in [Fault::Stalls, Fault::Cuts, Fault::Floods, Fault::Garbles] {
        let node = Node::start(fault);
        let remote = node.connect();
        let start = Instant::now();
        let error = run(&remote).unwrap_err();
        assert!(matches!(error, StateError::Unavailable(_)), "{error:?}");
        assert!(start.elapsed() < Duration::from_millis(2500));
    }
}

#[test]
fn a_deadline_ends_all_reads() {
    let node = Node::start(Fault::Stalls);
    let start = Instant::now();
    let error = node.connect().snapshot_within(None, Duration::from_millis(100)).unwrap_err();
    assert_eq!(error, StateError::Deadline);
    assert!(start.elapsed() < Duration::from_millis(700));
}

#[test]
fn many_who_ask_at_once_ask_the_node_once() {
    let node = Node::start(Fault::None);
    let snapshot = node.connect().snapshot(None).unwrap();
    let before = node.requests.load(Ordering::SeqCst);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| snapshot.source.storage(CODE, U256::ZERO).unwrap());
        }
    });
    assert_eq!(node.requests.load(Ordering::SeqCst), before + 1);
}

#[test]
fn what_is_prefetched_is_not_fetched_again() {
    let node = Node::start(Fault::None);
    let snapshot = node.connect().snapshot(None).unwrap();
    snapshot.source.prefetch(&[(CODE, vec![U256::ZERO]), (ANA, vec![])]);
    let before = node.requests.load(Ordering::SeqCst);
    let account = snapshot.source.account(CODE).unwrap().unwrap();
    assert_eq!(snapshot.source.code(CODE, account.code_hash).unwrap(), READS);
    assert_eq!(snapshot.source.storage(CODE, U256::ZERO).unwrap(), U256::from(41));
    snapshot.source.account(ANA).unwrap();
    assert_eq!(node.requests.load(Ordering::SeqCst), before);
}

#[test]
fn an_access_list_of_the_node_is_a_bounded_hint() {
    let node = Node::start(Fault::None);
    let remote = node.connect();
    let snapshot = remote.snapshot(None).unwrap();
    let list = remote.access_list(&snapshot.head, &Call::new(ANA, CODE, Bytes::new())).unwrap();
    assert_eq!(list.0.len(), 2);
    assert_eq!(list.0[1].storage_keys.len(), 253);
    let session = Session::new(&snapshot, Limits::default());
    session.prefetch(&list);
    let before = node.requests.load(Ordering::SeqCst);
    assert_eq!(session.storage(CODE, U256::ZERO).unwrap(), U256::from(41));
    assert_eq!(node.requests.load(Ordering::SeqCst), before);
}
