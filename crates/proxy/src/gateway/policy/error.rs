//! What is wrong with a policy: where, what, and what to write instead.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The rule, check or service that it is in; empty when it is in none.
    pub place: String,
    /// What is wrong and what to do about it.
    pub message: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.line, self.column)?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}

/// Everything that is wrong with a policy, in the order of its lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PolicyErrors(pub Vec<PolicyError>);

impl fmt::Display for PolicyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, error) in self.0.iter().enumerate() {
            if count > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl PolicyErrors {
    /// A file that could not be read at all.
    pub(crate) fn unreadable(message: impl Into<String>) -> Self {
        Self(vec![PolicyError { line: 1, column: 1, place: String::new(), message: message.into() }])
    }
}

/// Collects what is wrong with one text.
pub(super) struct Complaints<'t> {
    text: &'t str,
    found: Vec<PolicyError>,
}

impl<'t> Complaints<'t> {
    pub(super) const fn of(text: &'t str) -> Self {
        Self { text, found: Vec::new() }
    }

    /// Something is wrong at a byte of the text.
    pub(super) fn at(&mut self, offset: usize, place: impl Into<String>, message: impl Into<String>) {
        let mut offset = offset.min(self.text.len());
        while !self.text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        self.found.push(PolicyError { line, column, place: place.into(), message: message.into() });
    }

    /// Nothing, or everything that was wrong.
    pub(super) fn into_result(mut self) -> Result<(), PolicyErrors> {
        if self.found.is_empty() {
            return Ok(());
        }
        self.found.sort_by_key(|error| (error.line, error.column));
        Err(PolicyErrors(self.found))
    }
}
