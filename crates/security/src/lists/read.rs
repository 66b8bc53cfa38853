//! Reading one source: from the bytes that somebody publishes to normalised entries and a report.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};
use surety_primitives::dataset::Key;

use super::normal::{self, MAX_LABELS};
use super::{Date, Error, Semantics, SourceInfo, Subject, kind};
use crate::phishing::compat::{Config, Configs};

/// Largest list that is read, in bytes.
const MAX_BYTES: usize = 256 << 20;
/// How many dropped entries a report shows; all are counted.
const MAX_SHOWN: usize = 100;

/// How the bytes of a list are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `config.json` of eth-phishing-detect, either form; brings its own semantics.
    EthPhishingDetect,
    /// One key a line; `#` starts a comment; a hosts file's address before the name is skipped.
    Lines,
    /// Comma-separated, a key and then its label.
    Csv,
    /// Comma-separated, the key first; what follows is ignored.
    CsvKeys,
}

/// What is to be read and what is known about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceSpec {
    /// Short name, 1 to 48 printable characters without blanks.
    pub name: String,
    /// Version of the list as its publisher counts, 1 to 48 such characters.
    pub version: String,
    /// The date of the data.
    pub as_of: Date,
    /// Licence, an SPDX expression where there is one.
    pub licence: String,
    /// Layout of the bytes.
    pub format: Format,
    /// What it is about.
    pub subject: Subject,
    /// What being listed means; a configuration file of eth-phishing-detect says so itself.
    pub semantics: Semantics,
    /// The label of entries that bring none, such as `sanctioned`.
    #[serde(default)]
    pub label: String,
}

/// One source, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// Name, version, date, licence.
    pub info: SourceInfo,
    /// Normalised keys, each once, with the label that the source gives them.
    pub entries: Vec<(Key, String)>,
    /// What happened on the way.
    pub report: Report,
}

/// What normalising a source changed and dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Entries in the list.
    pub read: u64,
    /// Entries kept.
    pub kept: u64,
    /// Entries that another one had already named.
    pub duplicates: u64,
    /// Kept entries that had blanks around them.
    pub trimmed: u64,
    /// Kept entries that had capitals.
    pub lowered: u64,
    /// Kept entries that ended in dots.
    pub trailing_dots: u64,
    /// Kept entries that were not ASCII.
    pub to_ascii: u64,
    /// Entries dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// The first 100 of them.
    pub dropped_entries: Vec<Dropped>,
}

/// An entry that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// The entry, at most 100 characters of it.
    pub text: String,
    /// Why: not_a_host, too_deep, public_suffix or not_an_address.
    pub reason: &'static str,
}

impl SourceSpec {
    /// `config.json` of eth-phishing-detect 1.2.0.
    pub fn eth_phishing_detect() -> Result<Self, Error> {
        Self::known(
            "eth-phishing-detect",
            "1.2.0",
            "2024-12-09",
            "DBAD",
            Format::EthPhishingDetect,
            Subject::Domain,
            "",
        )
    }

    /// The deny list of polkadot-js/phishing.
    pub fn polkadot_deny() -> Result<Self, Error> {
        Self::known("polkadot-deny", "f35b682c", "2026-02-03", "Apache-2.0", Format::Lines, Subject::Domain, "")
    }

    /// The ETH addresses of the sanctions list, a snapshot.
    pub fn ofac_eth() -> Result<Self, Error> {
        Self::known("ofac-eth", "f2aee226", "2024-09-27", "MIT", Format::Lines, Subject::Address, "sanctioned")
    }

    /// Addresses under other symbols of the sanctions list, a snapshot.
    pub fn ofac_other_evm() -> Result<Self, Error> {
        Self::known("ofac-other-evm", "f2aee226", "2024-09-27", "MIT", Format::CsvKeys, Subject::Address, "sanctioned")
    }

    /// Forta's labelled addresses.
    pub fn forta_eth() -> Result<Self, Error> {
        Self::known("forta-eth", "40a9c2f2", "2023-01-26", "MIT", Format::Csv, Subject::Address, "unlabelled")
    }

    fn known(
        name: &str,
        version: &str,
        as_of: &str,
        licence: &str,
        format: Format,
        subject: Subject,
        label: &str,
    ) -> Result<Self, Error> {
        let semantics = if subject == Subject::Address { Semantics::Label } else { Semantics::Deny };
        let [name, version, licence, label] = [name, version, licence, label].map(str::to_owned);
        Ok(Self { name, version, as_of: as_of.parse()?, licence, format, subject, semantics, label })
    }

    fn info(&self, name: String) -> SourceInfo {
        let (version, licence) = (self.version.clone(), self.licence.clone());
        SourceInfo { name, version, as_of: self.as_of, licence, tolerance: None }
    }
}

impl Source {
    /// Reads a list. A configuration file with several configurations gives one source each.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::NotText`], [`Error::Config`], [`Error::WrongSubject`], [`Error::SourceText`]. An
    /// entry that makes no sense is dropped and reported, it is no error.
    pub fn read(spec: &SourceSpec, bytes: &[u8]) -> Result<Vec<Self>, Error> {
        if bytes.len() > MAX_BYTES {
            return Err(Error::TooLarge(bytes.len()));
        }
        let sources = match spec.format {
            Format::EthPhishingDetect => configurations(spec, bytes)?,
            Format::Lines | Format::Csv | Format::CsvKeys => vec![lines(spec, bytes)?],
        };
        for source in &sources {
            source.info.check()?;
        }
        Ok(sources)
    }
}

/// Entries on their way into a source.
struct Intake {
    seen: HashSet<Key>,
    entries: Vec<(Key, String)>,
    report: Report,
}

impl Intake {
    fn new() -> Self {
        Self { seen: HashSet::new(), entries: Vec::new(), report: Report::default() }
    }

    fn take(&mut self, subject: Subject, semantics: Semantics, text: &str, label: &str) {
        self.report.read += 1;
        let name = match subject {
            Subject::Domain => self.domain(text),
            Subject::Address => normal::address(text).map(|address| address.to_vec()).ok_or("not_an_address"),
        };
        let key = name.and_then(|name| Key::new(kind(subject, semantics), &name).map_err(|_| "not_a_host"));
        match key {
            Ok(key) if self.seen.insert(key.clone()) => self.entries.push((key, normal::label(label))),
            Ok(_) => self.report.duplicates += 1,
            Err(reason) => self.drop(text, reason),
        }
    }

    fn domain(&mut self, text: &str) -> Result<Vec<u8>, &'static str> {
        let (name, changes) = normal::domain_with_changes(text).ok_or("not_a_host")?;
        if name.split('.').count() > MAX_LABELS {
            return Err("too_deep");
        }
        // Blocking or allowing a shared host as a whole would decide about all its tenants.
        if normal::is_public_suffix(&name) {
            return Err("public_suffix");
        }
        self.report.trimmed += u64::from(changes.trimmed);
        self.report.lowered += u64::from(changes.lowered);
        self.report.trailing_dots += u64::from(changes.trailing_dots);
        self.report.to_ascii += u64::from(changes.to_ascii);
        Ok(name.into_bytes())
    }

    fn drop(&mut self, text: &str, reason: &'static str) {
        *self.report.dropped.entry(reason).or_default() += 1;
        if self.report.dropped_entries.len() < MAX_SHOWN {
            self.report.dropped_entries.push(Dropped { text: text.chars().take(100).collect(), reason });
        }
    }

    fn finish(mut self, info: SourceInfo) -> Source {
        self.report.kept = self.entries.len() as u64;
        Source { info, entries: self.entries, report: self.report }
    }
}

fn configurations(spec: &SourceSpec, bytes: &[u8]) -> Result<Vec<Source>, Error> {
    if spec.subject != Subject::Domain {
        return Err(Error::WrongSubject(spec.subject));
    }
    Ok(Configs::from_json(bytes)?.list.into_iter().map(|config| configuration(spec, config)).collect())
}

fn configuration(spec: &SourceSpec, config: Config) -> Source {
    let mut intake = Intake::new();
    for (semantics, names) in [(Semantics::Allow, config.allow), (Semantics::Deny, config.block)] {
        for name in names {
            intake.take(Subject::Domain, semantics, &name, &spec.label);
        }
    }
    // The first target within tolerance wins, so the order of targets is part of the list.
    for (position, name) in config.fuzzy.iter().enumerate() {
        intake.take(Subject::Domain, Semantics::Fuzzy, name, &position.to_string());
    }
    let name = config.name.map_or_else(|| spec.name.clone(), |name| format!("{}/{}", spec.name, normal::label(&name)));
    intake.finish(SourceInfo { tolerance: config.tolerance, ..spec.info(name) })
}

fn lines(spec: &SourceSpec, bytes: &[u8]) -> Result<Source, Error> {
    let text = std::str::from_utf8(bytes).map_err(|_| Error::NotText)?;
    let mut intake = Intake::new();
    for (number, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        if line.trim().is_empty() {
            continue;
        }
        let (key, label) = fields(spec.format, line);
        if number == 0 && is_heading(key) {
            continue;
        }
        let position = number.to_string();
        let label = match (spec.semantics, label) {
            (Semantics::Fuzzy, _) => position.as_str(),
            (_, "") => &spec.label,
            (_, label) => label,
        };
        intake.take(spec.subject, spec.semantics, key, label);
    }
    let tolerance = (spec.semantics == Semantics::Fuzzy).then_some(2);
    Ok(intake.finish(SourceInfo { tolerance, ..spec.info(spec.name.clone()) }))
}

/// Key and label of a line.
fn fields(format: Format, line: &str) -> (&str, &str) {
    match format {
        Format::Csv | Format::CsvKeys => {
            let (key, rest) = line.split_once(',').unwrap_or((line, ""));
            let label = rest.split(',').next().unwrap_or_default();
            let unquoted = |field| str::trim_matches(field, '"');
            (unquoted(key.trim()), if format == Format::Csv { unquoted(label.trim()) } else { "" })
        }
        Format::Lines | Format::EthPhishingDetect => {
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                // A line of a hosts file: the address that the name is sent to, and the name.
                (Some("0.0.0.0" | "127.0.0.1" | "::1"), Some(name)) => (name, ""),
                _ => (line, ""),
            }
        }
    }
}

fn is_heading(key: &str) -> bool {
    ["address", "domain", "host", "name", "url"].iter().any(|word| key.eq_ignore_ascii_case(word))
}
