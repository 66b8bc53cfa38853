//! An index of another chain, from the logs that its node gives. Bounded in blocks, logs, bytes and time.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, Log, LogData};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{APPROVAL, APPROVAL_FOR_ALL, Index, PERMIT2_APPROVAL, PERMIT2_LOCKDOWN, PERMIT2_PERMIT, TRANSFER};

/// The most bytes one answer of the node may have.
const MAX_ANSWER: usize = 32 << 20;

/// What to fetch. The index knows nothing of contract creations and of senders, which no log tells.
#[derive(Clone, Debug)]
pub struct Span {
    /// The first block.
    pub from: u64,
    /// The last block.
    pub to: u64,
    /// Only logs of these contracts; of all when empty.
    pub addresses: Vec<Address>,
    /// Blocks a request at first; halved whenever the node finds it too much.
    pub step: u64,
    /// The most logs in all.
    pub max_logs: usize,
    /// How long one request may take.
    pub timeout: Duration,
}

/// Why a chain could not be indexed.
#[derive(Debug, thiserror::Error)]
pub enum BackfillError {
    /// The node could not be reached, was too slow or cut the answer.
    #[error("the node did not answer: {0}")]
    Unreachable(String),
    /// The node refused even a single block.
    #[error("the node refuses logs of block {block}: {message}")]
    Refused {
        /// The block.
        block: u64,
        /// The node's words.
        message: String,
    },
    /// The answer is not what was asked for.
    #[error("the node's answer is not usable: {0}")]
    Garbage(String),
    /// There are more logs than allowed.
    #[error("more than {0} logs")]
    TooMany(usize),
}

/// Fetches the logs of a span of blocks by `eth_getLogs` and replays them.
///
/// # Errors
/// See [`BackfillError`]; nothing partial is returned.
pub async fn backfill(client: &reqwest::Client, url: &str, span: &Span) -> Result<Index, BackfillError> {
    let index = Index::of_logs(span.from);
    let (mut next, mut step, mut seen) = (span.from, span.step.max(1), 0usize);
    while next <= span.to {
        let last = next.saturating_add(step - 1).min(span.to);
        let logs = match fetch(client, url, span, next, last).await? {
            Ok(logs) => logs,
            Err(_) if last > next => {
                step = (step / 2).max(1);
                continue;
            }
            Err(message) => return Err(BackfillError::Refused { block: next, message }),
        };
        seen += logs.len();
        if seen > span.max_logs {
            return Err(BackfillError::TooMany(span.max_logs));
        }
        replay(&index, next, last, logs)?;
        next = last + 1;
    }
    Ok(index)
}

/// One log as a node writes it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    address: Address,
    topics: Vec<B256>,
    data: Bytes,
    block_number: String,
    log_index: String,
    transaction_hash: B256,
    #[serde(default)]
    removed: bool,
}

/// The logs, or the words with which the node refused.
async fn fetch(
    client: &reqwest::Client,
    url: &str,
    span: &Span,
    from: u64,
    to: u64,
) -> Result<Result<Vec<Entry>, String>, BackfillError> {
    let kinds = [TRANSFER, APPROVAL, APPROVAL_FOR_ALL, PERMIT2_APPROVAL, PERMIT2_PERMIT, PERMIT2_LOCKDOWN];
    let mut filter = json!({
        "fromBlock": format!("{from:#x}"),
        "toBlock": format!("{to:#x}"),
        "topics": [kinds],
    });
    if !span.addresses.is_empty() {
        filter["address"] = json!(span.addresses);
    }
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "eth_getLogs", "params": [filter] });
    let exchange = async {
        let mut response = client.post(url).json(&request).send().await.map_err(unreachable)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(BackfillError::Garbage(format!("an answer of more than {MAX_ANSWER} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    };
    let body = tokio::time::timeout(span.timeout, exchange)
        .await
        .map_err(|_| BackfillError::Unreachable("it took too long".into()))??;
    let mut answer: Value = serde_json::from_slice(&body).map_err(|error| BackfillError::Garbage(error.to_string()))?;
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        return Ok(Err(error["message"].as_str().unwrap_or("no reason given").chars().take(200).collect()));
    }
    let logs = serde_json::from_value(answer["result"].take());
    logs.map(Ok).map_err(|error| BackfillError::Garbage(error.to_string()))
}

#[allow(clippy::needless_pass_by_value, reason = "given to map_err")]
fn unreachable(error: reqwest::Error) -> BackfillError {
    BackfillError::Unreachable(error.without_url().to_string())
}

/// Adds every block of the range, also those without logs.
fn replay(index: &Index, from: u64, to: u64, entries: Vec<Entry>) -> Result<(), BackfillError> {
    let mut placed = Vec::with_capacity(entries.len());
    for entry in entries {
        let block = quantity(&entry.block_number)?;
        if entry.removed || !(from..=to).contains(&block) {
            return Err(BackfillError::Garbage(format!("a log of block {block} among those of {from} to {to}")));
        }
        let data = LogData::new(entry.topics, entry.data)
            .ok_or_else(|| BackfillError::Garbage("a log with more than four topics".into()))?;
        let log = Log { address: entry.address, data };
        placed.push(((block, quantity(&entry.log_index)?), entry.transaction_hash, log));
    }
    placed.sort_by_key(|(place, _, _)| *place);
    if let Some(pair) = placed.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Err(BackfillError::Garbage(format!("two logs at place {} of block {}", pair[0].0.1, pair[0].0.0)));
    }
    let mut rest = placed.as_slice();
    for block in from..=to {
        let (own, later) = rest.split_at(rest.partition_point(|((of, _), _, _)| *of == block));
        index.add_parts(block, own.iter().map(|(_, tx, log)| (*tx, log)), std::iter::empty(), std::iter::empty());
        rest = later;
    }
    Ok(())
}

fn quantity(text: &str) -> Result<u64, BackfillError> {
    text.strip_prefix("0x")
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or_else(|| BackfillError::Garbage("a number that is none".into()))
}
