//! The names that rules may use, and the type of each.
//!
//! A name that is not here is an error when a policy is loaded: a misspelt one would never match.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::super::verdict::{Fact, Failure, SANCTIONS};

/// The type of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A word.
    Text,
    /// Yes or no.
    Bool,
    /// A plain number: a count, or seconds.
    Int,
    /// An amount of 256 bits: never mixed with plain numbers.
    Amount,
    /// An account.
    Address,
    /// Several words.
    Words,
    /// Several accounts.
    Addresses,
}

impl Kind {
    /// Whether a fact is of this type.
    #[must_use]
    pub fn admits(self, fact: &Fact) -> bool {
        match (self, fact) {
            (Self::Text, Fact::Text(_))
            | (Self::Bool, Fact::Bool(_))
            | (Self::Int, Fact::Int(_))
            | (Self::Amount, Fact::Amount(_))
            | (Self::Address, Fact::Address(_)) => true,
            (Self::Words, Fact::List(entries)) => entries.iter().all(|entry| matches!(entry, Fact::Text(_))),
            (Self::Addresses, Fact::List(entries)) => entries.iter().all(|entry| matches!(entry, Fact::Address(_))),
            _ => false,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "a text",
            Self::Bool => "true or false",
            Self::Int => "a plain number",
            Self::Amount => "an amount",
            Self::Address => "an address",
            Self::Words => "a list of texts",
            Self::Addresses => "a list of addresses",
        })
    }
}

/// Facts that the gateway itself takes from what was submitted.
const SUBMITTED: &[(&str, Kind)] = &[
    ("tx.kind", Kind::Text),
    ("tx.method", Kind::Text),
    ("tx.hash", Kind::Text),
    ("tx.type", Kind::Int),
    ("tx.chain_id", Kind::Int),
    ("tx.protected", Kind::Bool),
    ("tx.from", Kind::Address),
    ("tx.to", Kind::Address),
    ("tx.create", Kind::Bool),
    ("tx.value", Kind::Amount),
    ("tx.nonce", Kind::Int),
    ("tx.gas", Kind::Int),
    ("tx.max_fee", Kind::Amount),
    ("tx.priority_fee", Kind::Amount),
    ("tx.fee", Kind::Amount),
    ("tx.data_size", Kind::Int),
    ("tx.selector", Kind::Text),
    ("tx.access_list", Kind::Int),
    ("tx.authorizations", Kind::Int),
    ("tx.blobs", Kind::Int),
    ("client.id", Kind::Text),
    ("client.group", Kind::Text),
];

/// Facts that checks learn.
const LEARNED: &[(&str, Kind)] = &[
    ("decoded.kind", Kind::Text),
    ("decoded.signature", Kind::Text),
    ("decoded.contract", Kind::Address),
    ("decoded.token", Kind::Address),
    ("decoded.spender", Kind::Address),
    ("decoded.recipient", Kind::Address),
    ("decoded.owner", Kind::Address),
    ("decoded.amount", Kind::Amount),
    ("decoded.unlimited", Kind::Bool),
    ("decoded.approved", Kind::Bool),
    ("decoded.deadline", Kind::Int),
    ("decoded.calls", Kind::Int),
    ("decoded.delegate", Kind::Address),
    ("diff.reverted", Kind::Bool),
    ("diff.native_out", Kind::Amount),
    ("diff.native_in", Kind::Amount),
    ("diff.tokens_out", Kind::Int),
    ("diff.tokens_in", Kind::Int),
    ("diff.nfts_out", Kind::Int),
    ("diff.nfts_in", Kind::Int),
    ("diff.approvals", Kind::Int),
    ("diff.unlimited_approvals", Kind::Int),
    ("diff.recipients", Kind::Addresses),
    ("diff.spenders", Kind::Addresses),
    ("diff.owner_changed", Kind::Bool),
    ("diff.selfdestruct", Kind::Bool),
    ("diff.created", Kind::Addresses),
];

/// Whom labels of lists are about: `lists.spender` holds the labels of the spender.
const ROLES: &[&str] = &["from", "to", "contract", "token", "spender", "recipient", "owner", "delegate"];

/// Checks that come with Surety, and what happens when they fail (section 7.4).
const CHECKS: &[(&str, Failure)] = &[
    (SANCTIONS, Failure::SANCTIONS),
    ("lists", Failure::LOCAL),
    ("simulation", Failure::SIMULATION),
    ("remote", Failure::REMOTE),
];

/// The names that rules may use.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    names: BTreeMap<String, Kind>,
    checks: BTreeMap<String, Failure>,
    /// Remote services that can be called; nothing where that is not known.
    services: Option<BTreeSet<String>>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self::standard()
    }
}

impl Vocabulary {
    /// The gateway's own names and those of the checks that come with Surety.
    #[must_use]
    pub fn standard() -> Self {
        let mut names: BTreeMap<String, Kind> =
            SUBMITTED.iter().chain(LEARNED).map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        names.extend(ROLES.iter().map(|role| (format!("lists.{role}"), Kind::Words)));
        names.insert("verdicts.rules".to_owned(), Kind::Words);
        let mut vocabulary = Self { names, checks: BTreeMap::new(), services: None };
        for (check, failure) in CHECKS {
            vocabulary = vocabulary.check(check, *failure);
        }
        vocabulary
    }

    /// The same with one more name; its root is `decoded`, `diff` or `lists`.
    #[must_use]
    pub fn with(mut self, name: &str, kind: Kind) -> Self {
        self.names.insert(name.to_owned(), kind);
        self
    }

    /// The same with one more check, `verdicts.<name>`, or with other failure rules of one. Those of sanctions stay.
    #[must_use]
    pub fn check(mut self, name: &str, failure: Failure) -> Self {
        self.names.insert(format!("verdicts.{name}"), Kind::Text);
        let failure = if name == SANCTIONS { Failure::SANCTIONS } else { failure };
        self.checks.insert(name.to_owned(), failure);
        self
    }

    /// The same for a gateway that can call these remote services, and no others: a policy that names another is refused.
    #[must_use]
    pub fn services(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.services = Some(names.into_iter().collect());
        self
    }

    /// Whether a remote service can be called, as far as that is known.
    pub(super) fn can_call(&self, service: &str) -> bool {
        self.services.as_ref().is_none_or(|services| services.contains(service))
    }

    /// What happens when a check fails, before the policy; one that nobody announced fails as local ones do.
    pub(super) fn failure(&self, check: &str) -> Failure {
        self.checks.get(check).copied().unwrap_or(Failure::LOCAL)
    }

    /// Checks that were announced.
    pub(super) fn checks(&self) -> impl Iterator<Item = (&str, Failure)> {
        self.checks.iter().map(|(name, failure)| (name.as_str(), *failure))
    }

    /// The type of a name.
    pub(super) fn kind(&self, name: &str) -> Option<Kind> {
        self.names.get(name).copied()
    }

    /// Names and their types, in order.
    pub fn names(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.names.iter().map(|(name, kind)| (name.as_str(), *kind))
    }

    /// The known name that looks most like this one, if one does.
    pub(super) fn nearest(&self, name: &str) -> Option<&str> {
        let near = self.names.keys().map(|known| (distance(known, name), known));
        near.min().filter(|(distance, _)| *distance <= 3).map(|(_, known)| known.as_str())
    }
}

/// Edits from one name to the other; names are short.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, right) in b.iter().enumerate() {
            let change = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_a_far_one_is_not() {
        let vocabulary = Vocabulary::standard();
        assert_eq!(vocabulary.nearest("decoded.knd"), Some("decoded.kind"));
        assert_eq!(vocabulary.nearest("decoded.spendr"), Some("decoded.spender"));
        assert_eq!(vocabulary.nearest("weather.today"), None);
    }

    #[test]
    fn a_list_is_admitted_only_with_entries_of_its_type() {
        assert!(Kind::Words.admits(&Fact::words(["trust"])));
        assert!(!Kind::Words.admits(&Fact::List(vec![Fact::Int(1)])));
        assert!(!Kind::Int.admits(&Fact::Amount(alloy_primitives::U256::ONE)));
    }
}
