//! Blocks, transactions, receipts and logs as the Ethereum JSON-RPC specification writes them.

use alloy_consensus::{Transaction as _, TxReceipt, Typed2718};
use alloy_eips::eip2718::Encodable2718;
use alloy_eips::eip7840::BlobParams;
use alloy_primitives::U256;
use serde::Serialize;
use serde_json::{Value, json};

use super::wire::RpcError;
use crate::chain::{Block, Mined, PlacedLog, Signed};

/// A number as hex digits without leading zeros.
pub(super) fn quantity(number: impl TryInto<U256>) -> Value {
    // Whatever is counted here is not negative, so that it always fits.
    json!(number.try_into().unwrap_or(U256::MAX))
}

pub(super) fn block(block: &Block, full: bool) -> Result<Value, RpcError> {
    let mut json = encode(&block.header)?;
    json["hash"] = json!(block.hash);
    json["size"] = quantity(size(block));
    json["totalDifficulty"] = json!("0x0");
    json["uncles"] = json!([]);
    json["withdrawals"] = json!([]);
    json["transactions"] = if full {
        let all = (0..block.transactions.len()).map(|index| mined(block, index));
        Value::Array(all.collect::<Result<_, _>>()?)
    } else {
        block.transactions.iter().map(|mined| json!(mined.tx.hash())).collect()
    };
    Ok(json)
}

/// The bytes of the block in RLP, without the few of its list headers.
fn size(block: &Block) -> usize {
    let transactions: usize = block.transactions.iter().map(|mined| mined.tx.envelope.encode_2718_len()).sum();
    alloy_rlp::encode(&block.header).len() + transactions
}

/// A transaction in a block.
pub(super) fn mined(block: &Block, index: usize) -> Result<Value, RpcError> {
    let Some(mined) = block.transactions.get(index) else { return Ok(Value::Null) };
    let mut json = waiting(&mined.tx)?;
    json["blockHash"] = json!(block.hash);
    json["blockNumber"] = quantity(block.header.number);
    json["transactionIndex"] = quantity(index);
    json["gasPrice"] = quantity(mined.gas_price);
    Ok(json)
}

/// A transaction that waits.
pub(super) fn waiting(tx: &Signed) -> Result<Value, RpcError> {
    let mut json = encode(&tx.envelope)?;
    json["from"] = json!(tx.sender);
    json["gasPrice"] = quantity(tx.envelope.max_fee_per_gas());
    json["blockHash"] = Value::Null;
    json["blockNumber"] = Value::Null;
    json["transactionIndex"] = Value::Null;
    Ok(json)
}

pub(super) fn receipt(block: &Block, index: usize) -> Value {
    let Some(mined) = block.transactions.get(index) else { return Value::Null };
    let (receipt, envelope) = (&mined.receipt, &mined.tx.envelope);
    let created = (envelope.is_create()).then(|| mined.tx.sender.create(envelope.nonce()));
    let mut json = json!({
        "type": quantity(envelope.ty()),
        "status": quantity(u8::from(receipt.status())),
        "cumulativeGasUsed": quantity(receipt.cumulative_gas_used()),
        "logsBloom": receipt.bloom(),
        "logs": logs(block, index, mined),
        "transactionHash": mined.tx.hash(),
        "transactionIndex": quantity(index),
        "blockHash": block.hash,
        "blockNumber": quantity(block.header.number),
        "gasUsed": quantity(mined.gas_used),
        "effectiveGasPrice": quantity(mined.gas_price),
        "from": mined.tx.sender,
        "to": envelope.to(),
        "contractAddress": created,
    });
    if let Some(blob_gas) = envelope.blob_gas_used() {
        json["blobGasUsed"] = quantity(blob_gas);
        json["blobGasPrice"] = quantity(block.header.blob_fee(BlobParams::osaka()).unwrap_or_default());
    }
    json
}

fn logs(block: &Block, index: usize, mined: &Mined) -> Value {
    let logs = mined.receipt.logs().iter().zip(mined.first_log..);
    let tx_hash = mined.tx.hash();
    let placed = |(entry, log_index)| PlacedLog { log: entry, tx_hash, tx_index: index as u64, log_index };
    logs.map(|pair| log(block, &placed(pair))).collect()
}

pub(super) fn log(block: &Block, placed: &PlacedLog<'_>) -> Value {
    json!({
        "address": placed.log.address,
        "topics": placed.log.topics(),
        "data": placed.log.data.data,
        "blockNumber": quantity(block.header.number),
        "blockHash": block.hash,
        "blockTimestamp": quantity(block.header.timestamp),
        "transactionHash": placed.tx_hash,
        "transactionIndex": quantity(placed.tx_index),
        "logIndex": quantity(placed.log_index),
        "removed": false,
    })
}

/// What has its JSON form already.
pub(super) fn encode(value: &impl Serialize) -> Result<Value, RpcError> {
    serde_json::to_value(value).map_err(RpcError::server)
}
