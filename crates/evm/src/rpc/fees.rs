//! What gas costs: the suggested tip and `eth_feeHistory`.

use alloy_consensus::Transaction as _;
use alloy_eips::eip7840::BlobParams;
use serde_json::{Value, json};

use super::answers::quantity;
use super::methods::find_block;
use super::params::Params;
use super::wire::RpcError;
use crate::chain::{Block, DevChain};

/// The suggested tip, in wei a gas.
pub(super) const TIP: u128 = 1_000_000_000;
/// How many blocks and percentiles one request may ask for.
const MAX_BLOCKS: u64 = 1024;
const MAX_PERCENTILES: usize = 100;

/// Base fees of the blocks and the one after them, how full they were, and the tips paid in them.
pub(super) fn history(chain: &DevChain, params: Params<'_>) -> Result<Value, RpcError> {
    let count = params.quantity(0)?.min(MAX_BLOCKS);
    let newest = find_block(chain, params.block(1)?).ok_or_else(|| RpcError::server("header not found"))?;
    let percentiles = percentiles(params)?;
    let last = newest.header.number;
    let first = (last + 1).saturating_sub(count);
    let blocks: Vec<_> = (first..=last).filter_map(|number| chain.block(number)).collect();

    let base = |block: &Block| block.header.base_fee_per_gas.unwrap_or_default();
    let next = newest.header.next_block_base_fee(alloy_eips::eip1559::BaseFeeParams::ethereum()).unwrap_or_default();
    let blob = |block: &Block| block.header.blob_fee(BlobParams::osaka()).unwrap_or_default();
    let next_blob = newest.header.next_block_blob_fee(BlobParams::osaka()).unwrap_or_default();
    let blob_limit = BlobParams::osaka().max_blob_gas_per_block();
    let mut answer = json!({
        "oldestBlock": quantity(blocks.first().map_or(last, |block| block.header.number)),
        "baseFeePerGas": blocks.iter().map(|block| base(block)).chain([next]).map(quantity).collect::<Vec<_>>(),
        "gasUsedRatio": blocks.iter().map(|block| ratio(block.header.gas_used, block.header.gas_limit)).collect::<Vec<_>>(),
        "baseFeePerBlobGas": blocks.iter().map(|block| blob(block)).chain([next_blob]).map(quantity).collect::<Vec<_>>(),
        "blobGasUsedRatio": blocks
            .iter()
            .map(|block| ratio(block.header.blob_gas_used.unwrap_or_default(), blob_limit))
            .collect::<Vec<_>>(),
    });
    if let Some(percentiles) = percentiles {
        answer["reward"] = blocks.iter().map(|block| tips(block, &percentiles)).collect();
    }
    Ok(answer)
}

/// The protocol wants a fraction here.
fn ratio(used: u64, limit: u64) -> f64 {
    used as f64 / limit.max(1) as f64
}

fn percentiles(params: Params<'_>) -> Result<Option<Vec<f64>>, RpcError> {
    let Some(list) = params.get(2) else { return Ok(None) };
    let list = list.as_array().filter(|list| list.len() <= MAX_PERCENTILES);
    let list = list.ok_or_else(|| RpcError::params("percentiles must be a list of at most 100"))?;
    let numbers: Option<Vec<f64>> = list.iter().map(Value::as_f64).collect();
    let sound = |numbers: &Vec<f64>| numbers.iter().all(|number| (0.0..=100.0).contains(number)) && numbers.is_sorted();
    let numbers = numbers.filter(sound);
    numbers.map(Some).ok_or_else(|| RpcError::params("percentiles must rise from 0 to 100"))
}

/// The tip at each percentile of the block's gas, cheapest gas first.
fn tips(block: &Block, percentiles: &[f64]) -> Value {
    let base_fee = block.header.base_fee_per_gas.unwrap_or_default();
    let mut paid: Vec<(u128, u64)> = block
        .transactions
        .iter()
        .map(|mined| (mined.tx.envelope.effective_tip_per_gas(base_fee).unwrap_or_default(), mined.gas_used))
        .collect();
    paid.sort_unstable();
    let at = |percentile: &f64| {
        let threshold = block.header.gas_used as f64 * percentile / 100.0;
        let mut sum = 0;
        let reached = paid.iter().find(|(_, gas)| {
            sum += gas;
            sum as f64 >= threshold
        });
        quantity(reached.or(paid.last()).map_or(0, |(tip, _)| *tip))
    };
    percentiles.iter().map(at).collect()
}
