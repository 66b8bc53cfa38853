//! Code prepared for running: its jump targets are found once a process, not once a call.

use std::sync::LazyLock;

use alloy_primitives::{B256, Bytes, keccak256};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use revm::bytecode::Bytecode;

use crate::StateError;

/// Bytes of code kept prepared, over all chains: some thousand contracts.
const CAPACITY_BYTES: u64 = 64 << 20;

#[derive(Clone)]
struct Size;

impl Weighter<B256, Bytecode> for Size {
    fn weight(&self, _hash: &B256, code: &Bytecode) -> u64 {
        // The jump map and the entry itself are counted too, so that tiny contracts cannot fill the memory.
        code.len() as u64 + code.len() as u64 / 8 + 256
    }
}

// Keyed by the hash of the content, which is checked before it goes in: no source can lie to another through it.
static PREPARED: LazyLock<Cache<B256, Bytecode, Size>> =
    LazyLock::new(|| Cache::with_weighter(8_192, CAPACITY_BYTES, Size));

/// The code with this hash, ready to run.
///
/// # Errors
/// [`StateError::Proof`] when the bytes do not have the hash.
pub(crate) fn prepare(hash: B256, raw: &Bytes) -> Result<Bytecode, StateError> {
    if let Some(code) = PREPARED.get(&hash) {
        return Ok(code);
    }
    if keccak256(raw) != hash {
        return Err(StateError::Proof(format!("the code does not have the hash {hash}")));
    }
    let code = decode(raw);
    PREPARED.insert(hash, code.clone());
    Ok(code)
}

/// Code without a check of its hash: a delegation (EIP-7702) or plain code, as the bytes say.
pub(crate) fn decode(raw: &Bytes) -> Bytecode {
    Bytecode::new_raw_checked(raw.clone()).unwrap_or_else(|_| Bytecode::new_legacy(raw.clone()))
}
