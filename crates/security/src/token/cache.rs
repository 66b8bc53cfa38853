//! Reports remembered while nothing that they rest on can have changed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use alloy_primitives::{Address, B256};

use super::Report;

/// What a report is about: a token with this code, in the state after one block: whatever else it rests on cannot have
/// changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The EIP-155 chain id.
    pub chain_id: u64,
    /// The token.
    pub token: Address,
    /// Keccak-256 of its code.
    pub code_hash: B256,
    /// The block's hash.
    pub block: B256,
}

/// Reports by their keys, at most so many. Full, it forgets all: a gateway asks for few tokens, and those again at once.
#[derive(Debug)]
pub struct Cache {
    most: usize,
    reports: RwLock<HashMap<Key, Arc<Report>>>,
}

impl Cache {
    /// Remembers at most this many reports.
    pub fn new(most: usize) -> Self {
        Self { most, reports: RwLock::default() }
    }

    /// What is remembered.
    pub fn get(&self, key: &Key) -> Option<Arc<Report>> {
        self.reports.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// Remembers a report.
    pub fn put(&self, key: Key, report: Report) -> Arc<Report> {
        let report = Arc::new(report);
        let mut reports = self.reports.write().unwrap_or_else(PoisonError::into_inner);
        if reports.len() >= self.most {
            reports.clear();
        }
        reports.insert(key, Arc::clone(&report));
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_forgotten_with_its_block() {
        let cache = Cache::new(2);
        let key =
            |block| Key { chain_id: 1, token: Address::ZERO, code_hash: B256::ZERO, block: B256::repeat_byte(block) };
        cache.put(key(1), Report::default());
        assert!(cache.get(&key(1)).is_some());
        assert!(cache.get(&key(2)).is_none());
        cache.put(key(2), Report::default());
        cache.put(key(3), Report::default());
        assert!(cache.get(&key(3)).is_some() && cache.get(&key(1)).is_none());
    }
}
