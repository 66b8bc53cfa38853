//! What whoever starts a gateway plugs into it: checks, the lists that they ask, remote services, and what verdicts rest on.

use std::fmt;
use std::sync::Arc;

use alloy_primitives::B256;
use surety_primitives::Hash32;

use super::check::Check;
use super::remote::{Buyer, Service};

/// Everything that a gateway is given at its start. Without services a policy that names one is refused.
#[derive(Default)]
pub struct Plugs {
    /// The checks, each under its own name.
    pub checks: Vec<Arc<dyn Check>>,
    /// The lists that they ask, for records and metrics.
    pub lists: Vec<List>,
    /// What their findings rest on; without it no finding is kept for a second question.
    pub basis: Option<Basis>,
    /// Remote services that can be called, by their names in the policy.
    pub services: Vec<Service>,
    /// Buys further packages of these.
    pub buyer: Option<Buyer>,
}

/// A list that checks ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The root of its entries.
    pub root: Hash32,
    /// The age of its oldest source is counted from here, Unix seconds.
    pub as_of_s: u64,
}

/// What a finding rests on besides the submission, the lists and the policy.
#[derive(Clone)]
pub struct Basis {
    /// Names the build of the checks: another one may find something else.
    pub engine: Hash32,
    /// The hash of the block whose state the checks see now; nothing while they see none.
    pub block: Arc<dyn Fn() -> Option<B256> + Send + Sync>,
}

impl fmt::Debug for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Basis").field("engine", &self.engine).finish_non_exhaustive()
    }
}

impl From<Vec<Arc<dyn Check>>> for Plugs {
    fn from(checks: Vec<Arc<dyn Check>>) -> Self {
        Self { checks, ..Self::default() }
    }
}
