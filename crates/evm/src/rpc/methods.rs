//! The table of methods.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy_consensus::Transaction as _;
use alloy_eips::eip7840::BlobParams;
use alloy_primitives::{Address, B256, U256};
use serde_json::{Map, Value, json};

use super::answers::{self, quantity};
use super::params::{BlockName, Params};
use super::wire::RpcError;
use super::{calls, fees, logs};
use crate::chain::{Block, DevChain};
use crate::{Chain, Snapshot, World};

/// How many slots one proof may be asked for.
const MAX_PROOF_SLOTS: usize = 256;
/// How many blocks one request may mine.
const MAX_MINED: u64 = 1024;

/// Answers one method. Names are matched exactly.
pub(super) fn call(chain: &DevChain, method: &str, params: &[Value]) -> Result<Value, RpcError> {
    let params = Params(params);
    match method {
        "eth_chainId" => Ok(quantity(chain.config().chain_id)),
        "net_version" => Ok(json!(chain.config().chain_id.to_string())),
        "web3_clientVersion" => Ok(json!(concat!("surety-devchain/", env!("CARGO_PKG_VERSION")))),
        "eth_syncing" => Ok(json!(false)),
        "eth_accounts" => Ok(json!([])),
        "eth_blockNumber" => Ok(quantity(chain.newest().header.number)),
        "eth_getBalance" | "eth_getCode" | "eth_getStorageAt" | "eth_getTransactionCount" | "eth_getProof" => {
            read_state(chain, method, params)
        }
        "eth_call" => calls::call(&snapshot(chain, params.block(1)?)?, params.object(0)?),
        "eth_estimateGas" => calls::estimate(&snapshot(chain, params.block(1)?)?, params.object(0)?),
        "eth_createAccessList" => calls::access_list(&snapshot(chain, params.block(1)?)?, params.object(0)?),
        "eth_gasPrice" => Ok(quantity(u128::from(chain.next_base_fee()) + fees::TIP)),
        "eth_maxPriorityFeePerGas" => Ok(quantity(fees::TIP)),
        "eth_blobBaseFee" => {
            Ok(quantity(chain.newest().header.next_block_blob_fee(BlobParams::osaka()).unwrap_or_default()))
        }
        "eth_feeHistory" => fees::history(chain, params),
        "eth_getLogs" => logs::logs(chain, params.need(0)?),
        "eth_sendRawTransaction" => chain.submit(&params.bytes(0)?).map(|hash| json!(hash)).map_err(RpcError::server),
        "txpool_content" => txpool(chain),
        _ => read_blocks(chain, method, params),
    }
}

fn read_blocks(chain: &DevChain, method: &str, params: Params<'_>) -> Result<Value, RpcError> {
    match method {
        "eth_getBlockByNumber" => {
            params.need(0)?;
            let found = find_block(chain, params.block(0)?);
            found.map_or(Ok(Value::Null), |block| answers::block(&block, params.flag(1)?))
        }
        "eth_getBlockByHash" => {
            let found = chain.block_by_hash(&params.hash(0)?);
            found.map_or(Ok(Value::Null), |block| answers::block(&block, params.flag(1)?))
        }
        "eth_getBlockTransactionCountByNumber" => {
            let found = find_block(chain, params.block(0)?);
            Ok(found.map_or(Value::Null, |block| quantity(block.transactions.len())))
        }
        "eth_getBlockReceipts" => Ok(find_block(chain, params.block(0)?).map_or(Value::Null, |block| {
            (0..block.transactions.len()).map(|index| answers::receipt(&block, index)).collect()
        })),
        "eth_getTransactionByHash" => {
            let hash = params.hash(0)?;
            if let Some((block, index)) = chain.find(&hash) {
                return answers::mined(&block, index);
            }
            chain.waiting(&hash).map_or(Ok(Value::Null), |tx| answers::waiting(&tx))
        }
        "eth_getTransactionReceipt" => {
            let found = chain.find(&params.hash(0)?);
            Ok(found.map_or(Value::Null, |(block, index)| answers::receipt(&block, index)))
        }
        _ => control(chain, method, params),
    }
}

/// What no public node offers: time, blocks and state by hand, under the names that development tools use.
fn control(chain: &DevChain, method: &str, params: Params<'_>) -> Result<Value, RpcError> {
    match method {
        "evm_mine" => {
            chain.mine();
            Ok(json!("0x0"))
        }
        "anvil_mine" => {
            let blocks = if params.get(0).is_some() { params.quantity(0)? } else { 1 };
            if blocks > MAX_MINED {
                return Err(RpcError::limit(format!("at most {MAX_MINED} blocks at once")));
            }
            (0..blocks).for_each(|_| drop(chain.mine()));
            Ok(Value::Null)
        }
        "evm_increaseTime" => {
            let seconds = params.quantity(0)?;
            chain.increase_time(seconds);
            Ok(quantity(seconds))
        }
        "evm_setNextBlockTimestamp" => {
            let later = chain.set_next_timestamp(params.quantity(0)?);
            later.then_some(Value::Null).ok_or_else(|| RpcError::params("the time is not after the newest block"))
        }
        "anvil_setBalance" => edit(chain, params, |world, address| {
            world.set_balance(address, params.word(1)?);
            Ok(())
        }),
        "anvil_setNonce" => edit(chain, params, |world, address| {
            world.set_nonce(address, params.quantity(1)?);
            Ok(())
        }),
        "anvil_setCode" => edit(chain, params, |world, address| {
            world.set_code(address, params.bytes(1)?);
            Ok(())
        }),
        "anvil_setStorageAt" => edit(chain, params, |world, address| {
            world.set_storage(address, params.word(1)?, params.word(2)?);
            Ok(())
        }),
        _ => Err(RpcError::method(method)),
    }
}

/// Tries the change on a copy first, so that bad parameters make no block.
fn edit(
    chain: &DevChain,
    params: Params<'_>,
    change: impl Fn(&mut World, Address) -> Result<(), RpcError>,
) -> Result<Value, RpcError> {
    let address = params.address(0)?;
    change(&mut World::new(), address)?;
    chain.edit(|world| drop(change(world, address)));
    Ok(Value::Null)
}

fn read_state(chain: &DevChain, method: &str, params: Params<'_>) -> Result<Value, RpcError> {
    let address = params.address(0)?;
    let place = if matches!(method, "eth_getStorageAt" | "eth_getProof") { 2 } else { 1 };
    let name = params.block(place)?;
    if method == "eth_getTransactionCount" && name == BlockName::Pending {
        return Ok(quantity(chain.next_nonce(address)));
    }
    let world = world(chain, name)?;
    let account = world.get(address);
    Ok(match method {
        "eth_getBalance" => quantity(account.map(|account| account.balance()).unwrap_or_default()),
        "eth_getTransactionCount" => quantity(account.map(|account| account.nonce()).unwrap_or_default()),
        "eth_getCode" => json!(account.map(|account| account.code().clone()).unwrap_or_default()),
        "eth_getStorageAt" => {
            let slot = params.word(1)?;
            let value = account.and_then(|account| account.storage().get(&slot)).copied().unwrap_or_default();
            json!(B256::from(value))
        }
        _ => proof(&world, address, params)?,
    })
}

/// Slots are named in the answer as they were in the question, padded or not, as geth does.
fn proof(world: &World, address: Address, params: Params<'_>) -> Result<Value, RpcError> {
    let mut proof = answers::encode(&world.prove(address, &slots(params)?))?;
    let asked = params.need(1)?.as_array().into_iter().flatten();
    for (slot, asked) in proof["storageProof"].as_array_mut().into_iter().flatten().zip(asked) {
        slot["key"] = asked.clone();
    }
    Ok(proof)
}

fn slots(params: Params<'_>) -> Result<Vec<U256>, RpcError> {
    let list = params.need(1)?.as_array().ok_or_else(|| RpcError::params("the slots must be a list"))?;
    if list.len() > MAX_PROOF_SLOTS {
        return Err(RpcError::limit(format!("at most {MAX_PROOF_SLOTS} slots")));
    }
    let slots = list.iter().map(super::params::word).collect::<Option<_>>();
    slots.ok_or_else(|| RpcError::params("a slot is not a word of hex digits"))
}

pub(super) fn find_block(chain: &DevChain, name: BlockName) -> Option<Arc<Block>> {
    match name {
        BlockName::Latest | BlockName::Pending => Some(chain.newest()),
        BlockName::Number(number) => chain.block(number),
        BlockName::Hash(hash) => chain.block_by_hash(&hash),
    }
}

fn number(chain: &DevChain, name: BlockName) -> Result<u64, RpcError> {
    let block = find_block(chain, name).ok_or_else(|| RpcError::server("header not found"))?;
    Ok(block.header.number)
}

fn world(chain: &DevChain, name: BlockName) -> Result<Arc<World>, RpcError> {
    let number = number(chain, name)?;
    chain.world(number).ok_or_else(|| RpcError::server(format!("the state of block {number} is not kept any more")))
}

fn snapshot(chain: &DevChain, name: BlockName) -> Result<Snapshot, RpcError> {
    chain.snapshot(Some(number(chain, name)?)).map_err(RpcError::server)
}

/// What waits, by sender and nonce: pending when the nonces before it are there, queued when not.
fn txpool(chain: &DevChain) -> Result<Value, RpcError> {
    let (mut pending, mut queued) = (BTreeMap::new(), BTreeMap::new());
    for tx in chain.pool() {
        let ready = tx.envelope.nonce() < chain.next_nonce(tx.sender);
        let place: &mut BTreeMap<Address, Map<String, Value>> = if ready { &mut pending } else { &mut queued };
        place.entry(tx.sender).or_default().insert(tx.envelope.nonce().to_string(), answers::waiting(&tx)?);
    }
    Ok(json!({ "pending": pending, "queued": queued }))
}
