//! The names of one policy: its limits, and the facts that its rules use.

use std::collections::BTreeMap;

use super::super::verdict::Fact;
use super::compile::Named;
use super::expression::Slot;
use super::vocabulary::{Kind, Vocabulary};

/// What conditions may name, and what they named so far.
pub(super) struct Scope<'v> {
    vocabulary: &'v Vocabulary,
    limits: &'v BTreeMap<String, Fact>,
    used: Vec<(String, Kind)>,
}

impl<'v> Scope<'v> {
    pub(super) const fn new(vocabulary: &'v Vocabulary, limits: &'v BTreeMap<String, Fact>) -> Self {
        Self { vocabulary, limits, used: Vec::new() }
    }

    /// The names that were used, by their slots.
    pub(super) fn into_used(self) -> Vec<(String, Kind)> {
        self.used
    }

    /// A fact's slot and type.
    pub(super) fn slot(&mut self, name: &str) -> Result<Named, String> {
        let kind = self.vocabulary.kind(name).ok_or_else(|| self.unknown(name))?;
        let place = self.used.iter().position(|(used, _)| used == name);
        let place = place.unwrap_or_else(|| {
            self.used.push((name.to_owned(), kind));
            self.used.len() - 1
        });
        Ok((Slot(place), kind))
    }

    /// A limit's value and type.
    pub(super) fn limit(&self, name: &str) -> Result<(Fact, Kind), String> {
        match self.limits.get(name) {
            Some(fact @ Fact::Int(_)) => Ok((fact.clone(), Kind::Int)),
            Some(fact) => Ok((fact.clone(), Kind::Amount)),
            None => {
                let known: Vec<_> = self.limits.keys().map(String::as_str).collect();
                Err(format!("limits.{name} is not in the table [limits]; there: {}", list(&known)))
            }
        }
    }

    /// What to say of a name that nobody knows.
    pub(super) fn unknown(&self, name: &str) -> String {
        if let Some(near) = self.vocabulary.nearest(name) {
            return format!("nothing is called {name}; did you mean {near}?");
        }
        let root = name.split('.').next().unwrap_or_default();
        let prefix = format!("{root}.");
        let names: Vec<_> =
            self.vocabulary.names().map(|(name, _)| name).filter(|name| name.starts_with(&prefix)).collect();
        if names.is_empty() {
            return format!(
                "nothing is called {name}; names begin with tx, decoded, diff, lists, verdicts, client or limits"
            );
        }
        format!("nothing is called {name}; under {root} there are: {}", list(&names))
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
