//! The parameters of a method, each read as what it must be.

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::wire::RpcError;

/// The parameters in order. Those that are missing or null read as absent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Params<'a>(pub(super) &'a [Value]);

/// A block as a client names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockName {
    /// The newest; "safe" and "finalized" are it too, for nothing is ever undone.
    Latest,
    /// The newest and what waits.
    Pending,
    /// By number.
    Number(u64),
    /// By hash.
    Hash(B256),
}

impl<'a> Params<'a> {
    pub(super) fn get(&self, index: usize) -> Option<&'a Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    pub(super) fn need(&self, index: usize) -> Result<&'a Value, RpcError> {
        self.get(index).ok_or_else(|| RpcError::params(format!("missing value for required argument {index}")))
    }

    fn read<T>(&self, index: usize, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, RpcError> {
        let value = self.need(index)?;
        read(value).ok_or_else(|| invalid(index))
    }

    pub(super) fn address(&self, index: usize) -> Result<Address, RpcError> {
        self.read(index, parse)
    }

    pub(super) fn hash(&self, index: usize) -> Result<B256, RpcError> {
        self.read(index, parse)
    }

    pub(super) fn bytes(&self, index: usize) -> Result<Bytes, RpcError> {
        self.read(index, |value| value.as_str().filter(|text| text.starts_with("0x")).and_then(|_| parse(value)))
    }

    pub(super) fn word(&self, index: usize) -> Result<U256, RpcError> {
        self.read(index, word)
    }

    pub(super) fn quantity(&self, index: usize) -> Result<u64, RpcError> {
        self.read(index, |value| value.as_u64().or_else(|| u64::try_from(word(value)?).ok()))
    }

    pub(super) fn flag(&self, index: usize) -> Result<bool, RpcError> {
        self.get(index).map_or(Ok(false), |value| value.as_bool().ok_or_else(|| invalid(index)))
    }

    pub(super) fn block(&self, index: usize) -> Result<BlockName, RpcError> {
        self.get(index).map_or(Ok(BlockName::Latest), |value| block_name(value).ok_or_else(|| invalid(index)))
    }

    pub(super) fn object<T: DeserializeOwned>(&self, index: usize) -> Result<T, RpcError> {
        let value = self.need(index)?;
        T::deserialize(value).map_err(|error| RpcError::params(format!("invalid argument {index}: {error}")))
    }
}

fn invalid(index: usize) -> RpcError {
    RpcError::params(format!("invalid argument {index}"))
}

fn parse<T: DeserializeOwned>(value: &Value) -> Option<T> {
    T::deserialize(value).ok()
}

/// Hex digits of at most 32 bytes, padded or not: tools write slots both ways.
pub(super) fn word(value: &Value) -> Option<U256> {
    let digits = value.as_str()?.strip_prefix("0x")?;
    let sound = (1..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    sound.then(|| U256::from_str_radix(digits, 16).ok()).flatten()
}

/// A tag, a number, or an object with one of both (EIP-1898).
pub(super) fn block_name(value: &Value) -> Option<BlockName> {
    if let Some(object) = value.as_object() {
        return match (object.get("blockNumber"), object.get("blockHash")) {
            (Some(number), None) => u64::try_from(word(number)?).ok().map(BlockName::Number),
            (None, Some(hash)) => parse(hash).map(BlockName::Hash),
            _ => None,
        };
    }
    match value.as_str()? {
        "latest" | "safe" | "finalized" => Some(BlockName::Latest),
        "pending" => Some(BlockName::Pending),
        "earliest" => Some(BlockName::Number(0)),
        _ => u64::try_from(word(value)?).ok().map(BlockName::Number),
    }
}
