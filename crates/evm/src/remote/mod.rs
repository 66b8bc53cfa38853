//! State of a chain behind a node's JSON-RPC.
//!
//! Nothing the node says is trusted further than it can be checked: with proofs on (the default), accounts and slots are
//! checked against the state root in the header, the header against its hash, and code against its hash. What then remains
//! to be trusted is the hash of the block, which the caller can pin.
//!
//! Each value is fetched once, however many ask for it at the same time.

mod client;
mod proof;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_eips::eip2930::AccessList;
use alloy_primitives::{Address, B256, Bytes, KECCAK256_EMPTY, U256, keccak256};
use quick_cache::Weighter;
use quick_cache::sync::{Cache, GuardResult};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Account, AccountProof, Call, Chain, Head, Snapshot, Source, StateError};
use client::{Client, Question};

/// Questions in one request.
const MAX_BATCH: usize = 64;
/// Addresses and slots that a node may suggest to fetch.
const MAX_HINTS: usize = 256;
/// Blocks that BLOCKHASH reaches back.
const HASH_WINDOW: u64 = 256;

/// How to reach a node, and what it may cost.
#[derive(Clone, Debug)]
pub struct RemoteConfig {
    /// An `http://` URL.
    pub url: String,
    /// Time for one request; a snapshot can have a deadline of its own.
    pub timeout: Duration,
    /// Bytes of one response.
    pub max_response_bytes: usize,
    /// Bytes of all that is cached.
    pub cache_bytes: u64,
    /// Whether everything is checked by `eth_getProof`. Without it the node is believed.
    pub proofs: bool,
}

impl RemoteConfig {
    /// Two seconds a request, 8 MiB a response, 256 MiB of cache, with proofs.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            timeout: Duration::from_secs(2),
            max_response_bytes: 8 << 20,
            cache_bytes: 256 << 20,
            proofs: true,
        }
    }
}

/// A chain behind a node. Clones share its cache. Calls block: use it on threads that may.
#[derive(Clone)]
pub struct Remote {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    cache: Cache<Key, Known, Size>,
    chain_id: u64,
    proofs: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// At the block with this hash.
    Account(B256, Address),
    Slot(B256, Address, U256),
    Code(B256),
    /// The hash of a block with this number, seen from the block with this hash.
    BlockHash(B256, u64),
}

#[derive(Clone, Debug)]
enum Known {
    Account(Option<Account>),
    Word(U256),
    Code(Bytes),
}

#[derive(Clone)]
struct Size;

impl Weighter<Key, Known> for Size {
    fn weight(&self, _key: &Key, known: &Known) -> u64 {
        match known {
            Known::Account(_) | Known::Word(_) => 192,
            Known::Code(code) => code.len() as u64 + 192,
        }
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Remote").field("chain_id", &self.inner.chain_id).finish_non_exhaustive()
    }
}

impl Remote {
    /// Reaches a node and asks for its chain id.
    ///
    /// # Errors
    /// When it cannot be reached or gives no chain id.
    pub fn connect(config: &RemoteConfig) -> Result<Self, StateError> {
        let client = Client::start(&config.url, config.timeout, config.max_response_bytes)?;
        let chain_id: U256 = one(&client, ("eth_chainId", json!([])), None)?;
        let chain_id = u64::try_from(chain_id).map_err(|_| garbled("the chain id does not fit in 64 bits"))?;
        let items = usize::try_from(config.cache_bytes / 512).unwrap_or(usize::MAX);
        let cache = Cache::with_weighter(items, config.cache_bytes, Size);
        Ok(Self { inner: Arc::new(Inner { client, cache, chain_id, proofs: config.proofs }) })
    }

    /// The state after a block (the newest when none is named), all reads of which end before a time from now.
    ///
    /// # Errors
    /// When the node does not know the block or its header does not have its hash.
    pub fn snapshot_within(&self, block: Option<u64>, time: Duration) -> Result<Snapshot, StateError> {
        self.open(block.map(hex), None, Instant::now().checked_add(time))
    }

    /// The state after the block with this hash, which is all that is trusted of the node (with proofs on).
    ///
    /// # Errors
    /// When the node does not know the block or shows another one for it.
    pub fn snapshot_of(&self, hash: B256, time: Option<Duration>) -> Result<Snapshot, StateError> {
        self.open(None, Some(hash), time.and_then(|time| Instant::now().checked_add(time)))
    }

    /// What a call will touch by the node's word (`eth_createAccessList`), to be handed to [`crate::Session::prefetch`]: three
    /// requests then fetch what would else be one each. At most 256 addresses and slots are taken.
    ///
    /// # Errors
    /// When the node does not answer; the call can still be run.
    pub fn access_list(&self, head: &Head, call: &Call) -> Result<AccessList, StateError> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Created {
            access_list: AccessList,
        }
        let request = json!({"from": call.from, "to": call.to, "value": call.value, "input": call.data});
        let question = ("eth_createAccessList", json!([request, hex(head.number)]));
        let mut list = one::<Created>(&self.inner.client, question, None)?.access_list;
        let mut room = MAX_HINTS;
        list.0.retain_mut(|item| {
            let kept = room > 0;
            item.storage_keys.truncate(room.saturating_sub(1));
            room = room.saturating_sub(item.storage_keys.len() + 1);
            kept
        });
        Ok(list)
    }

    fn open(
        &self,
        number: Option<String>,
        hash: Option<B256>,
        deadline: Option<Instant>,
    ) -> Result<Snapshot, StateError> {
        let question = match hash {
            Some(hash) => ("eth_getBlockByHash", json!([hash, false])),
            None => ("eth_getBlockByNumber", json!([number.unwrap_or_else(|| "latest".into()), false])),
        };
        let block: Option<Value> = one(&self.inner.client, question, deadline)?;
        let block = block.ok_or_else(|| StateError::Absent { what: "the block".into() })?;
        let (head, state_root) = self.inner.head(block)?;
        if hash.is_some_and(|hash| hash != head.hash) {
            return Err(StateError::Proof("the node shows another block than the one asked for".into()));
        }
        let source = State { inner: Arc::clone(&self.inner), head: head.clone(), state_root, deadline };
        Ok(Snapshot { head, source: Arc::new(source) })
    }
}

impl Chain for Remote {
    fn chain_id(&self) -> u64 {
        self.inner.chain_id
    }

    fn snapshot(&self, block: Option<u64>) -> Result<Snapshot, StateError> {
        self.open(block.map(hex), None, None)
    }
}

impl Inner {
    /// The head that a block says, and its state root.
    fn head(&self, block: Value) -> Result<(Head, B256), StateError> {
        let hash: B256 = parse(block.get("hash").cloned().unwrap_or_default())?;
        let header: alloy_consensus::Header = parse(block)?;
        if self.proofs && header.hash_slow() != hash {
            return Err(StateError::Proof("the header does not have its hash".into()));
        }
        let head = Head {
            chain_id: self.chain_id,
            number: header.number,
            hash,
            parent_hash: header.parent_hash,
            timestamp: header.timestamp,
            gas_limit: header.gas_limit,
            base_fee: header.base_fee_per_gas.unwrap_or_default(),
            coinbase: header.beneficiary,
            prevrandao: header.mix_hash,
            excess_blob_gas: header.excess_blob_gas.unwrap_or_default(),
        };
        Ok((head, header.state_root))
    }

    /// What is cached under a key; fetched by one of those who ask for it at the same time.
    fn known(
        &self,
        key: &Key,
        deadline: Option<Instant>,
        fetch: impl FnOnce() -> Result<Known, StateError>,
    ) -> Result<Known, StateError> {
        let patience = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        match self.cache.get_value_or_guard(key, patience) {
            GuardResult::Value(known) => Ok(known),
            GuardResult::Timeout => Err(StateError::Deadline),
            // A failure drops the guard, and the next one who waits tries for itself.
            GuardResult::Guard(guard) => {
                let known = fetch()?;
                let _ = guard.insert(known.clone());
                Ok(known)
            }
        }
    }
}

/// The state after one block of a remote chain.
struct State {
    inner: Arc<Inner>,
    head: Head,
    state_root: B256,
    deadline: Option<Instant>,
}

impl fmt::Debug for State {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("State").field("head", &self.head).finish_non_exhaustive()
    }
}

impl State {
    fn block(&self) -> String {
        hex(self.head.number)
    }

    fn ask(&self, questions: &[Question]) -> Result<Vec<client::Answer>, StateError> {
        self.inner.client.ask(questions, self.deadline)
    }

    fn one<T: DeserializeOwned>(&self, question: Question) -> Result<T, StateError> {
        one(&self.inner.client, question, self.deadline)
    }

    fn proof_question(&self, address: Address, slots: &[U256]) -> Question {
        let slots: Vec<B256> = slots.iter().map(|slot| B256::from(*slot)).collect();
        ("eth_getProof", json!([address, slots, self.block()]))
    }

    fn proven(&self, address: Address, slots: &[U256]) -> Result<(Option<Account>, Vec<U256>), StateError> {
        let answer: AccountProof = self.one(self.proof_question(address, slots))?;
        proof::check(self.state_root, address, slots, &answer)
    }

    fn believed(&self, address: Address) -> Result<Option<Account>, StateError> {
        let block = self.block();
        let answers = self.ask(&[
            ("eth_getBalance", json!([address, block])),
            ("eth_getTransactionCount", json!([address, block])),
            ("eth_getCode", json!([address, block])),
        ])?;
        let [balance, nonce, code] = <[_; 3]>::try_from(answers).map_err(|_| garbled("three answers were expected"))?;
        let code: Bytes = parse(result(code)?)?;
        let code_hash = if code.is_empty() { KECCAK256_EMPTY } else { keccak256(&code) };
        let nonce: U256 = parse(result(nonce)?)?;
        let nonce = u64::try_from(nonce).map_err(|_| garbled("the nonce does not fit in 64 bits"))?;
        let account = Account { nonce, balance: parse(result(balance)?)?, code_hash };
        if !code.is_empty() {
            self.inner.cache.insert(Key::Code(code_hash), Known::Code(code));
        }
        Ok((!account.is_empty()).then_some(account))
    }

    fn remember(&self, address: Address, slots: &[U256], account: Option<Account>, values: &[U256]) {
        let block = self.head.hash;
        self.inner.cache.insert(Key::Account(block, address), Known::Account(account));
        for (slot, value) in slots.iter().zip(values) {
            self.inner.cache.insert(Key::Slot(block, address, *slot), Known::Word(*value));
        }
    }

    /// Headers from a number up to the parent of this block must link by their hashes.
    fn linked_hash(&self, number: u64) -> Result<B256, StateError> {
        let mut expected = self.head.parent_hash;
        let mut height = self.head.number.saturating_sub(1);
        while height > number {
            let first = height.saturating_sub(MAX_BATCH as u64 - 1).max(number + 1);
            let questions: Vec<Question> =
                (first..=height).rev().map(|number| ("eth_getBlockByNumber", json!([hex(number), false]))).collect();
            for answer in self.ask(&questions)? {
                let (head, _) = self.inner.head(result(answer)?)?;
                if head.hash != expected {
                    return Err(StateError::Proof(format!("block {} is not an ancestor", head.number)));
                }
                expected = head.parent_hash;
            }
            height = first - 1;
        }
        Ok(expected)
    }

    fn fetch_all(&self, wanted: &[(Address, Vec<U256>)]) -> Result<(), StateError> {
        let questions: Vec<Question> =
            wanted.iter().map(|(address, slots)| self.proof_question(*address, slots)).collect();
        let mut codes = Vec::new();
        for ((address, slots), answer) in wanted.iter().zip(self.ask(&questions)?) {
            let (account, values) = proof::check(self.state_root, *address, slots, &parse(result(answer)?)?)?;
            self.remember(*address, slots, account, &values);
            codes.extend(account.filter(Account::has_code).map(|account| (*address, account.code_hash)));
        }
        codes.retain(|(_, hash)| self.inner.cache.peek(&Key::Code(*hash)).is_none());
        if codes.is_empty() {
            return Ok(());
        }
        let questions: Vec<Question> =
            codes.iter().map(|(address, _)| ("eth_getCode", json!([address, self.block()]))).collect();
        for ((_, hash), answer) in codes.iter().zip(self.ask(&questions)?) {
            let code = checked_code(parse(result(answer)?)?, *hash)?;
            self.inner.cache.insert(Key::Code(*hash), Known::Code(code));
        }
        Ok(())
    }
}

impl Source for State {
    fn account(&self, address: Address) -> Result<Option<Account>, StateError> {
        let known = self.inner.known(&Key::Account(self.head.hash, address), self.deadline, || {
            let account = if self.inner.proofs { self.proven(address, &[])?.0 } else { self.believed(address)? };
            Ok(Known::Account(account))
        })?;
        match known {
            Known::Account(account) => Ok(account),
            Known::Word(_) | Known::Code(_) => Err(garbled("the cache holds something else")),
        }
    }

    fn code(&self, address: Address, code_hash: B256) -> Result<Bytes, StateError> {
        let known = self.inner.known(&Key::Code(code_hash), self.deadline, || {
            let code = self.one(("eth_getCode", json!([address, self.block()])))?;
            Ok(Known::Code(checked_code(code, code_hash)?))
        })?;
        match known {
            Known::Code(code) => Ok(code),
            Known::Word(_) | Known::Account(_) => Err(garbled("the cache holds something else")),
        }
    }

    fn storage(&self, address: Address, slot: U256) -> Result<U256, StateError> {
        let known = self.inner.known(&Key::Slot(self.head.hash, address, slot), self.deadline, || {
            if self.inner.proofs {
                let (_, values) = self.proven(address, &[slot])?;
                return Ok(Known::Word(values.first().copied().unwrap_or_default()));
            }
            let word: B256 = self.one(("eth_getStorageAt", json!([address, B256::from(slot), self.block()])))?;
            Ok(Known::Word(word.into()))
        })?;
        word(known)
    }

    fn block_hash(&self, number: u64) -> Result<B256, StateError> {
        if number >= self.head.number || self.head.number - number > HASH_WINDOW {
            return Err(StateError::Absent { what: format!("hash of block {number}") });
        }
        let key = Key::BlockHash(self.head.hash, number);
        let known = self.inner.known(&key, self.deadline, || Ok(Known::Word(self.linked_hash(number)?.into())))?;
        Ok(word(known)?.into())
    }

    fn prefetch(&self, wanted: &[(Address, Vec<U256>)]) {
        if !self.inner.proofs {
            return;
        }
        for wanted in wanted.chunks(MAX_BATCH) {
            // What cannot be fetched now is fetched, and fails if it must, when it is read.
            if let Err(error) = self.fetch_all(wanted) {
                tracing::debug!(%error, "state could not be prefetched");
            }
        }
    }
}

fn word(known: Known) -> Result<U256, StateError> {
    match known {
        Known::Word(word) => Ok(word),
        Known::Account(_) | Known::Code(_) => Err(garbled("the cache holds something else")),
    }
}

fn checked_code(code: Bytes, hash: B256) -> Result<Bytes, StateError> {
    if keccak256(&code) == hash {
        Ok(code)
    } else {
        Err(StateError::Proof(format!("the code does not have the hash {hash}")))
    }
}

fn one<T: DeserializeOwned>(client: &Client, question: Question, deadline: Option<Instant>) -> Result<T, StateError> {
    let answer = client.ask(&[question], deadline)?.pop().ok_or_else(|| garbled("no answer"))?;
    parse(result(answer)?)
}

fn result(answer: client::Answer) -> Result<Value, StateError> {
    answer.map_err(|reason| StateError::Unavailable(format!("the node answered: {reason}")))
}

fn parse<T: DeserializeOwned>(value: Value) -> Result<T, StateError> {
    serde_json::from_value(value).map_err(|error| garbled(&error.to_string()))
}

fn garbled(reason: &str) -> StateError {
    StateError::Unavailable(format!("the node's answer is garbled: {reason}"))
}

fn hex(number: u64) -> String {
    format!("{number:#x}")
}
