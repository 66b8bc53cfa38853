//! The purchases that are known here, found by their id without one lock for all.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use surety_primitives::PurchaseId;

use crate::package::Package;

const SHARDS: usize = 16;

type Shard = RwLock<HashMap<PurchaseId, Arc<Package>>>;

/// Purchases by id.
pub(crate) struct Packages {
    shards: [Shard; SHARDS],
}

impl Packages {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Shard::default()) }
    }

    pub(crate) fn get(&self, id: &PurchaseId) -> Option<Arc<Package>> {
        self.shard(id).read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Puts a purchase in, unless it came meanwhile; gives the one that is in.
    pub(crate) fn insert(&self, package: Package) -> Arc<Package> {
        let mut shard = self.shard(&package.id).write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shard.entry(package.id).or_insert_with(|| Arc::new(package)))
    }

    pub(crate) fn remove(&self, id: &PurchaseId) {
        self.shard(id).write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Package>> {
        let read =
            |shard: &Shard| shard.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect::<Vec<_>>();
        self.shards.iter().flat_map(read).collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    // Ids are hashes: any byte spreads them.
    fn shard(&self, id: &PurchaseId) -> &Shard {
        &self.shards[usize::from(id.0[15]) % SHARDS]
    }
}
