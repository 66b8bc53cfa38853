//! What checks found of transactions a moment ago: a wallet that screens, signs and submits asks the same thing twice.
//!
//! Always true: what is kept was found by this build, these lists and this policy on the state of one block, and is told for
//! no other; a check that came to no end is asked again.

use std::sync::Arc;

use alloy_primitives::B256;
use quick_cache::sync::Cache;
use surety_primitives::Hash32;

use super::assess::Assessed;
use super::plugs::{Basis, List};
use super::policy::PolicyHash;
use super::verdict::{Finding, Outcome};

/// Transactions whose findings are kept.
const KEPT: usize = 1_024;

/// The findings of one gateway.
pub(crate) struct Screens {
    /// Engine and lists, which stay as they are for a process.
    ground: Hash32,
    basis: Option<Basis>,
    found: Cache<Key, Arc<[Finding]>>,
}

/// What a finding depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    transaction: B256,
    block: B256,
    policy: PolicyHash,
    ground: Hash32,
}

impl Screens {
    pub(crate) fn new(basis: Option<Basis>, lists: &[List]) -> Self {
        let mut ground = blake3::Hasher::new_derive_key("surety gateway screening ground v1");
        if let Some(basis) = &basis {
            ground.update(&basis.engine.0);
        }
        for list in lists {
            ground.update(&list.root.0);
        }
        Self { ground: Hash32(*ground.finalize().as_bytes()), basis, found: Cache::new(KEPT) }
    }

    /// Under what the findings of a submission are kept: of a signed transaction on its own, while the checks see a block.
    pub(crate) fn key(&self, assessed: &Assessed, policy: PolicyHash) -> Option<Key> {
        let transaction = assessed.subject.hash().filter(|_| assessed.before.is_empty())?;
        let block = (self.basis.as_ref()?.block)()?;
        Some(Key { transaction, block, policy, ground: self.ground })
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Arc<[Finding]>> {
        self.found.get(key)
    }

    /// Keeps what was found, unless a check came to no end. `now` is the key after the checks: where another block has come
    /// meanwhile nobody knows on which of them they looked.
    pub(crate) fn keep(&self, key: Key, now: Option<Key>, findings: &[Finding]) {
        let is_told = |finding: &Finding| {
            matches!(finding.outcome, Outcome::Passed | Outcome::Unsafe { .. } | Outcome::Disagreed { .. })
        };
        if now == Some(key) && findings.iter().all(is_told) {
            self.found.insert(key, findings.into());
        }
    }

    /// Forgets what turned out to be old.
    pub(crate) fn forget(&self, key: &Key) {
        self.found.remove(key);
    }
}
