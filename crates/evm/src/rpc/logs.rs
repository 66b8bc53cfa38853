//! `eth_getLogs`: a filter over a bounded range of blocks.

use alloy_primitives::{Address, B256, Bloom, BloomInput, Log};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answers;
use super::params::{BlockName, block_name};
use super::wire::RpcError;
use crate::chain::DevChain;

/// How many blocks one filter may span, how many logs it may give, and how many values one place of it may list.
const MAX_BLOCKS: u64 = 10_000;
const MAX_LOGS: usize = 10_000;
const MAX_VALUES: usize = 1_000;

/// What to look for. An empty list means anything.
struct Filter {
    addresses: Vec<Address>,
    topics: Vec<Vec<B256>>,
}

pub(super) fn logs(chain: &DevChain, filter: &Value) -> Result<Value, RpcError> {
    let (first, last) = range(chain, filter)?;
    let filter = Filter::read(filter)?;
    let mut found = Vec::new();
    for number in first..=last {
        let Some(block) = chain.block(number) else {
            return Err(RpcError::server(format!("block {number} is not kept any more")));
        };
        if !filter.may_match(&block.header.logs_bloom) {
            continue;
        }
        for placed in block.logs().filter(|placed| filter.matches(placed.log)) {
            if found.len() == MAX_LOGS {
                return Err(RpcError::limit(format!("query returned more than {MAX_LOGS} results")));
            }
            found.push(answers::log(&block, &placed));
        }
    }
    Ok(Value::Array(found))
}

/// The blocks to look at: one by hash, or those from a name to a name. Names beyond the newest block end at it.
fn range(chain: &DevChain, filter: &Value) -> Result<(u64, u64), RpcError> {
    let newest = chain.newest().header.number;
    if let Some(hash) = filter.get("blockHash").filter(|hash| !hash.is_null()) {
        if filter.get("fromBlock").or_else(|| filter.get("toBlock")).is_some_and(|bound| !bound.is_null()) {
            return Err(RpcError::params("cannot specify both blockHash and fromBlock/toBlock"));
        }
        let hash = one(hash)?;
        let block = chain.block_by_hash(&hash).ok_or_else(|| RpcError::server("unknown block"))?;
        return Ok((block.header.number, block.header.number));
    }
    let bound = |name: &str| match filter.get(name).filter(|bound| !bound.is_null()).map(block_name) {
        None | Some(Some(BlockName::Latest | BlockName::Pending)) => Ok(newest),
        Some(Some(BlockName::Number(number))) => Ok(number),
        Some(_) => Err(RpcError::params(format!("invalid {name}"))),
    };
    let (first, last) = (bound("fromBlock")?, bound("toBlock")?);
    if first > last {
        return Err(RpcError::params("invalid block range params"));
    }
    if last - first >= MAX_BLOCKS {
        return Err(RpcError::limit(format!("a filter spans at most {MAX_BLOCKS} blocks")));
    }
    Ok((first, last.min(newest)))
}

impl Filter {
    fn read(filter: &Value) -> Result<Self, RpcError> {
        let topics = match filter.get("topics").filter(|topics| !topics.is_null()) {
            None => Vec::new(),
            Some(Value::Array(topics)) if topics.len() <= 4 => topics.iter().map(some).collect::<Result<_, _>>()?,
            Some(_) => return Err(RpcError::params("topics must be a list of at most four")),
        };
        let addresses = filter.get("address").map_or(Ok(Vec::new()), some)?;
        Ok(Self { addresses, topics })
    }

    fn matches(&self, log: &Log) -> bool {
        let topics = log.topics();
        (self.addresses.is_empty() || self.addresses.contains(&log.address))
            && self.topics.len() <= topics.len()
            && self.topics.iter().zip(topics).all(|(wanted, topic)| wanted.is_empty() || wanted.contains(topic))
    }

    /// False when the bloom rules out every match.
    fn may_match(&self, bloom: &Bloom) -> bool {
        let has = |raw: &[u8]| bloom.contains_input(BloomInput::Raw(raw));
        (self.addresses.is_empty() || self.addresses.iter().any(|address| has(address.as_slice())))
            && self.topics.iter().all(|wanted| wanted.is_empty() || wanted.iter().any(|topic| has(topic.as_slice())))
    }
}

/// Nothing, one value, or a list of them.
fn some<T: DeserializeOwned>(value: &Value) -> Result<Vec<T>, RpcError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(values) if values.len() <= MAX_VALUES => values.iter().map(one).collect(),
        Value::Array(_) => Err(RpcError::limit(format!("a filter lists at most {MAX_VALUES} values in one place"))),
        value => Ok(vec![one(value)?]),
    }
}

fn one<T: DeserializeOwned>(value: &Value) -> Result<T, RpcError> {
    T::deserialize(value).map_err(|error| RpcError::params(format!("invalid filter: {error}")))
}
