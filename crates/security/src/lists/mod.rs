//! Lists: from what others publish to datasets with a root (`security-services.md` 4.3).
//!
//! A source is read once, normalised with a report of what changed or was dropped, and merged with others into one
//! [`Dataset`]. Sources stay apart in each entry: a bit says who lists it, a label what each of them says.

mod dataset;
mod date;
pub(crate) mod merge;
pub(crate) mod normal;
mod read;

use serde::{Deserialize, Serialize};
use surety_primitives::dataset::{self as tree, Key};

pub use dataset::{Dataset, Pin, SourceInfo};
pub use date::Date;
pub use merge::Conflict;
pub use normal::{MAX_LABELS, address, domain};
pub use read::{Dropped, Format, Report, Source, SourceSpec};

/// What a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Host names and IP literals.
    Domain,
    /// 20-byte addresses.
    Address,
}

/// What it means to be on a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Semantics {
    /// Bad.
    Deny,
    /// Known to be good.
    Allow,
    /// What the label says.
    Label,
    /// Worth imitating: names that resemble it are suspect. The label is its position in the source's list.
    Fuzzy,
}

/// Key kind of the entries that name the sources of a dataset.
pub const SOURCE_KIND: u8 = 0;

/// The kind byte of a dataset key: subject in the upper four bits, semantics in the lower.
pub const fn kind(subject: Subject, semantics: Semantics) -> u8 {
    let subject = match subject {
        Subject::Domain => 0x10,
        Subject::Address => 0x20,
    };
    subject
        | match semantics {
            Semantics::Deny => 1,
            Semantics::Allow => 2,
            Semantics::Label => 3,
            Semantics::Fuzzy => 4,
        }
}

/// A key as people read it: `domain/deny/evil.example`.
pub fn describe(key: &Key) -> String {
    let kinds = [Subject::Domain, Subject::Address].into_iter().flat_map(|subject| {
        [Semantics::Deny, Semantics::Allow, Semantics::Label, Semantics::Fuzzy].map(|semantics| (subject, semantics))
    });
    let Some((subject, semantics)) = kinds.into_iter().find(|pair| kind(pair.0, pair.1) == key.kind()) else {
        return format!("source/{}", const_hex::encode(key.name()));
    };
    let name = match subject {
        Subject::Domain => key.name().escape_ascii().to_string(),
        Subject::Address => const_hex::encode_prefixed(key.name()),
    };
    format!("{subject:?}/{semantics:?}/").to_lowercase() + &name
}

/// Why a list, a merge or a dataset file was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The list or dataset file is larger than is read.
    #[error("{0} bytes are more than is read")]
    TooLarge(usize),
    /// The bytes are not UTF-8.
    #[error("the list is not UTF-8 text")]
    NotText,
    /// A name, version, licence or label of a source that is empty or too long.
    #[error("'{0}' of a source is empty, too long or has characters outside printable ASCII")]
    SourceText(&'static str),
    /// The format and the subject do not fit.
    #[error("this format has no {0:?} entries")]
    WrongSubject(Subject),
    /// The configuration of a phishing detector was refused.
    #[error(transparent)]
    Config(#[from] crate::phishing::compat::Error),
    /// More than 64 sources, or none.
    #[error("a dataset has 1 to 64 sources, not {0}")]
    SourceCount(usize),
    /// Two sources have this name.
    #[error("two sources are called {0}")]
    SourceTwice(String),
    /// The labels of one entry are too long together, or another bound of the tree is broken.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// Not a date of the form 2026-02-03.
    #[error("'{0}' is no date of the form 2026-02-03")]
    Date(String),
    /// Not a dataset file, or of another version.
    #[error("not a dataset file of this version")]
    NotADataset,
    /// The file is damaged.
    #[error("the dataset file is damaged: {0}")]
    Damaged(String),
    /// The file states another root or count than its entries have.
    #[error("the dataset file's entries do not have the root that it states")]
    WrongRoot,
}

impl Error {
    /// The stable code of this error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "list-too-large",
            Self::NotText => "list-not-text",
            Self::SourceText(_) => "list-source-text",
            Self::WrongSubject(_) => "list-wrong-subject",
            Self::Config(error) => error.code(),
            Self::SourceCount(_) => "list-source-count",
            Self::SourceTwice(_) => "list-source-twice",
            Self::Tree(error) => error.code(),
            Self::Date(_) => "list-date",
            Self::NotADataset => "list-not-a-dataset",
            Self::Damaged(_) => "list-damaged",
            Self::WrongRoot => "list-wrong-root",
        }
    }
}

#[cfg(test)]
mod tests;
