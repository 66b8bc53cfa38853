//! Merging sources into one dataset, and the conflicts between them.

use std::collections::BTreeSet;

use serde::Serialize;
use surety_primitives::dataset::{Entry, Key};

use super::{Error, SOURCE_KIND, Semantics, Source, SourceInfo, Subject, kind};
use crate::phishing::compat::suffixes;

/// A name that one list denies and another, or the same, allows: itself or something above it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Conflict {
    /// The denied host.
    pub denied: String,
    /// What is allowed: the host itself or what it lies under.
    pub allowed: String,
}

/// Most sources of a dataset: one bit of the entries' bitmap each.
const MAX_SOURCES: usize = 64;

/// The entries of all sources, one a key, in no particular order. Number `n` of `sources` gets bit `n`.
pub(super) fn entries(sources: Vec<Source>) -> Result<(Vec<SourceInfo>, Vec<Entry>), Error> {
    if sources.is_empty() || sources.len() > MAX_SOURCES {
        return Err(Error::SourceCount(sources.len()));
    }
    let mut infos: Vec<SourceInfo> = Vec::with_capacity(sources.len());
    let mut rows: Vec<(Key, u32, String)> = Vec::new();
    for (bit, source) in (0..).zip(sources) {
        if infos.iter().any(|info| info.name == source.info.name) {
            return Err(Error::SourceTwice(source.info.name));
        }
        infos.push(source.info);
        rows.extend(source.entries.into_iter().map(|(key, label)| (key, bit, label)));
    }
    rows.sort_unstable();
    let merged = rows.chunk_by(|a, b| a.0 == b.0).map(merged).collect::<Result<_, _>>()?;
    Ok((infos, merged))
}

/// One entry of the rows that all sources have about one key. Labels are kept apart: `0=phish-hack;3=exploit`.
fn merged(rows: &[(Key, u32, String)]) -> Result<Entry, Error> {
    let [(key, ..), ..] = rows else { return Err(Error::SourceCount(0)) };
    let said = rows.iter().filter(|(_, _, label)| !label.is_empty());
    let labels: Vec<String> = said.map(|(_, bit, label)| format!("{bit}={label}")).collect();
    let sources = rows.iter().fold(0, |bits, (_, bit, _)| bits | 1u64 << bit);
    Ok(Entry::new(key.clone(), labels.join(";").into_bytes(), sources)?)
}

/// What each source says, read back from a label.
pub(crate) fn labels(entry: &Entry) -> impl Iterator<Item = (u32, &str)> {
    let text = std::str::from_utf8(&entry.label).unwrap_or_default();
    text.split(';').filter_map(|part| part.split_once('=')).filter_map(|(bit, label)| Some((bit.parse().ok()?, label)))
}

/// The entry that names source number `bit`, so that the root commits to who the bits stand for.
pub(super) fn source_entry(bit: usize, info: &SourceInfo) -> Result<Entry, Error> {
    let key = Key::new(SOURCE_KIND, &[bit as u8])?;
    let tolerance = info.tolerance.map_or_else(String::new, |tolerance| format!(" tolerance={tolerance}"));
    let text = format!("{}@{} as_of={} licence={}{tolerance}", info.name, info.version, info.as_of, info.licence);
    Ok(Entry::new(key, text.into_bytes(), 1 << bit)?)
}

/// Denied names that are allowed, or lie under an allowed one, in order.
pub(super) fn conflicts(entries: &[Entry]) -> Vec<Conflict> {
    let names = |semantics| {
        let wanted = kind(Subject::Domain, semantics);
        entries
            .iter()
            .filter(move |entry| entry.key.kind() == wanted)
            .filter_map(|entry| std::str::from_utf8(entry.key.name()).ok())
    };
    let allowed: BTreeSet<&str> = names(Semantics::Allow).collect();
    let conflict = |denied: &str| {
        let allowed = suffixes(denied).find(|name| allowed.contains(name))?;
        Some(Conflict { denied: denied.to_owned(), allowed: allowed.to_owned() })
    };
    names(Semantics::Deny).filter_map(conflict).collect()
}
