//! The policy of a gateway: what is allowed, held and refused, and how checks fail (sections 7.4 and 7.5).
//!
//! A policy is a TOML file. It is compiled when it is loaded: names, types and amounts are checked there, and a decision is
//! then a walk over a list of small trees.
//!
//! Always true: what a sanctions list says is never weakened; a rule without a value blocks; a decision depends on nothing
//! but the policy, the facts and the findings.

mod amount;
mod compile;
mod decide;
mod describe;
mod error;
mod expression;
mod facts;
mod file;
mod live;
mod load;
mod scope;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::collections::BTreeMap;
use std::fmt;

use alloy_primitives::U256;
use serde::{Deserialize, Serialize};
use surety_primitives::Hash32;

use super::verdict::{Fact, Failure, SANCTIONS, Verdict};
use expression::Node;

pub use decide::{Cause, Decision, DryRun};
pub use error::{PolicyError, PolicyErrors};
pub use facts::Facts;
pub use file::{HoldLimits, Methods, Release, RemoteTerms, ShownAs, Sight};
pub use live::{LivePolicy, Reloaded};
pub use vocabulary::{Kind, Vocabulary};

/// Most bytes of a policy's file.
pub const MOST_BYTES: usize = 1 << 20;
/// Most rules of a policy.
pub const MOST_RULES: usize = 512;

/// Names one text of a policy: its hash is in every record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyHash(pub Hash32);

impl PolicyHash {
    fn of(text: &str) -> Self {
        Self(Hash32(blake3::derive_key("surety gateway policy v1", text.as_bytes())))
    }
}

impl fmt::Display for PolicyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Policy {
    hash: PolicyHash,
    name: String,
    dry_run: bool,
    limits: BTreeMap<String, Fact>,
    checks: BTreeMap<String, CheckRule>,
    methods: Methods,
    hold: HoldLimits,
    rules: Vec<Rule>,
    remotes: Vec<RemoteTerms>,
    /// The names that the rules use, by slot.
    used: Vec<(String, Kind)>,
}

/// What the policy says of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CheckRule {
    failure: Failure,
    /// Whether its absence is an error of it.
    required: bool,
    /// How what it held may leave.
    release: Release,
}

/// A compiled rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    id: String,
    source: String,
    condition: Node,
    then: Verdict,
    dry_run: bool,
    /// Findings that an allowing rule sets aside: ids of rules, or `prefix.*`.
    lifts: Vec<String>,
    release: Release,
    message: String,
}

impl Policy {
    /// Compiles the text of a policy with the names of Surety's own checks.
    ///
    /// # Errors
    /// Everything that is wrong, with lines.
    pub fn load(text: &str) -> Result<Self, PolicyErrors> {
        Self::load_with(text, &Vocabulary::standard())
    }

    /// The same with other names.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_with(text: &str, vocabulary: &Vocabulary) -> Result<Self, PolicyErrors> {
        load::load(text, vocabulary)
    }

    /// The hash of its text.
    #[must_use]
    pub const fn hash(&self) -> PolicyHash {
        self.hash
    }

    /// Its name; empty when it has none.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether nothing is enforced but sanctions.
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        self.dry_run
    }

    /// How long a check may take and what happens when it fails.
    #[must_use]
    pub fn failure(&self, check: &str) -> Failure {
        self.check(check).failure
    }

    /// Methods that differ from the gateway's table.
    #[must_use]
    pub const fn methods(&self) -> &Methods {
        &self.methods
    }

    /// Bounds on what is held.
    #[must_use]
    pub const fn hold(&self) -> &HoldLimits {
        &self.hold
    }

    /// Which remote services may see what; none by default.
    #[must_use]
    pub fn remotes(&self) -> &[RemoteTerms] {
        &self.remotes
    }

    /// The value from which failures count as those of something precious, wei: `limits.value`; zero when there is none.
    #[must_use]
    pub fn value_limit(&self) -> U256 {
        match self.limits.get("value") {
            Some(Fact::Amount(limit)) => *limit,
            _ => U256::ZERO,
        }
    }

    fn check(&self, name: &str) -> CheckRule {
        let failure = if name == SANCTIONS { Failure::SANCTIONS } else { Failure::LOCAL };
        self.checks.get(name).copied().unwrap_or(CheckRule { failure, required: false, release: Release::default() })
    }
}
