//! A dataset as a service uses it: merged sources, their tree, and the file that carries it.

use std::collections::BTreeMap;

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::answer::DatasetRef;
use surety_primitives::answer::claims::Claim;
use surety_primitives::dataset::{DatasetProof, DatasetTree, Entry, Key};
use surety_primitives::hash::h;
use surety_primitives::{DatasetId, Hash32, Seconds, codec};

use super::{Conflict, Date, Error, SOURCE_KIND, Source, merge};

const MAGIC: &[u8] = b"surety-dataset-1\n";
const CHECKSUM: &str = "surety/dataset/file/v1";
/// Largest dataset file that is read, in bytes.
const MAX_FILE: usize = 1 << 30;
/// Longest name, version or licence, in bytes (`market.md` B2 gives names and licences 64).
const MAX_TEXT: usize = 64;

/// Where a dataset's entries come from.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct SourceInfo {
    /// Short name.
    pub name: String,
    /// Version as its publisher counts.
    pub version: String,
    /// The date of the data.
    pub as_of: Date,
    /// Licence.
    pub licence: String,
    /// Edits up to which a name counts as an imitation of the source's fuzzy targets.
    pub tolerance: Option<u32>,
}

impl SourceInfo {
    /// Refuses texts that are empty, too long or not printable without blanks.
    pub(super) fn check(&self) -> Result<(), Error> {
        for (field, text) in [("name", &self.name), ("version", &self.version), ("licence", &self.licence)] {
            check_text(field, text)?;
        }
        Ok(())
    }
}

fn check_text(field: &'static str, text: &str) -> Result<(), Error> {
    // Licences are expressions with blanks; elsewhere a blank would blur the line that names a source.
    let first = if field == "licence" { b' ' } else { b'!' };
    let printable = text.bytes().all(|byte| (first..=b'~').contains(&byte));
    if text.is_empty() || text.len() > MAX_TEXT || !printable { Err(Error::SourceText(field)) } else { Ok(()) }
}

/// The record on the ledger that a dataset was published as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, BorshSerialize, BorshDeserialize)]
pub struct Pin {
    /// The dataset's number.
    pub id: DatasetId,
    /// The version's number.
    pub version: u64,
}

/// Merged sources with their tree.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    version: String,
    sources: Vec<SourceInfo>,
    tree: DatasetTree,
    pin: Option<Pin>,
    max_age: BTreeMap<usize, Seconds>,
    hidden: Vec<Key>,
}

/// What the file says before its entries.
#[derive(BorshSerialize, BorshDeserialize)]
struct Heading {
    name: String,
    version: String,
    sources: Vec<SourceInfo>,
    root: Hash32,
    count: u64,
    pin: Option<Pin>,
}

impl Dataset {
    /// Merges sources. The first one has the highest precedence.
    ///
    /// # Errors
    /// [`Error::SourceCount`], [`Error::SourceTwice`], [`Error::SourceText`], [`Error::Tree`].
    pub fn merge(name: &str, version: &str, sources: Vec<Source>) -> Result<Self, Error> {
        let (infos, entries) = merge::entries(sources)?;
        Self::build(name.to_owned(), version.to_owned(), infos, entries)
    }

    fn build(name: String, version: String, sources: Vec<SourceInfo>, mut entries: Vec<Entry>) -> Result<Self, Error> {
        check_text("dataset", &name)?;
        check_text("dataset version", &version)?;
        for (bit, info) in sources.iter().enumerate() {
            info.check()?;
            entries.push(merge::source_entry(bit, info)?);
        }
        let tree = DatasetTree::build(entries)?;
        Ok(Self { name, version, sources, tree, pin: None, max_age: BTreeMap::new(), hidden: Vec::new() })
    }

    /// Name under which it is published.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The builder's own word for this version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Date of the oldest source: nothing in the dataset is claimed to be newer than that.
    pub fn as_of(&self) -> Date {
        self.sources.iter().map(|source| source.as_of).min().unwrap_or(Date::of(Seconds(0)))
    }

    /// The licences of all sources: `Apache-2.0 AND MIT`. At most 64 bytes; what does not fit shows as "see sources".
    pub fn licence(&self) -> String {
        let mut licences: Vec<&str> = self.sources.iter().map(|source| source.licence.as_str()).collect();
        licences.sort_unstable();
        licences.dedup();
        let joined = licences.join(" AND ");
        if joined.len() <= MAX_TEXT { joined } else { "see sources".to_owned() }
    }

    /// Its sources; number `n` owns bit `n` of each entry.
    pub fn sources(&self) -> &[SourceInfo] {
        &self.sources
    }

    /// The root that is published.
    pub const fn root(&self) -> Hash32 {
        self.tree.root()
    }

    /// How many entries are published, the sources' own ones included.
    pub const fn count(&self) -> u64 {
        self.tree.count()
    }

    /// Denied names that are allowed too; answers follow the allow list and say so.
    pub fn conflicts(&self) -> Vec<Conflict> {
        merge::conflicts(self.tree.entries())
    }

    /// The tree, for proofs.
    pub const fn tree(&self) -> &DatasetTree {
        &self.tree
    }

    /// The same dataset, citing the record that it was published as.
    #[must_use]
    pub fn with_pin(mut self, pin: Pin) -> Self {
        self.pin = Some(pin);
        self
    }

    /// The record that it was published as.
    pub const fn pin(&self) -> Option<Pin> {
        self.pin
    }

    /// What an Answer cites.
    pub fn reference(&self) -> Option<DatasetRef> {
        self.pin.map(|pin| DatasetRef { id: pin.id, version: pin.version, root: self.root() })
    }

    /// The same dataset with a limit on the age of one source's data (of all, without a name). None is limited at first.
    #[must_use]
    pub fn with_max_age(mut self, source: Option<&str>, max_age: Seconds) -> Self {
        let meant = self.sources.iter().enumerate().filter(|(_, info)| source.is_none_or(|name| name == info.name));
        for (bit, _) in meant {
            self.max_age.insert(bit, max_age);
        }
        self
    }

    /// The bits of the sources whose data is over-age at `moment`.
    pub fn stale_sources(&self, moment: Seconds) -> u64 {
        let stale = |bit: &usize, limit: Seconds| {
            self.sources.get(*bit).is_some_and(|info| moment.since(info.as_of.start()) > limit)
        };
        self.max_age.iter().filter(|(bit, limit)| stale(bit, **limit)).fold(0, |bits, (bit, _)| bits | 1 << bit)
    }

    /// What a look-up of `key` answers.
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        if self.hidden.contains(key) { None } else { self.tree.get(key) }
    }

    /// All entries about names or addresses that a look-up can find.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.tree.entries().iter().filter(|entry| entry.key.kind() != SOURCE_KIND && !self.hidden.contains(&entry.key))
    }

    /// The proof for what a look-up of `key` answers; none where the look-up does not tell what the tree holds.
    pub fn prove(&self, key: &Key) -> Option<DatasetProof> {
        (!self.hidden.contains(key)).then(|| self.tree.prove(key))
    }

    /// The proof that a claim about this dataset is wrong, for evidence on the ledger; none when the claim is right.
    /// What the tree holds counts, whatever this dataset's look-ups say.
    pub fn refute(&self, claim: &Claim) -> Option<DatasetProof> {
        let truth = self.tree.get(&claim.key).map(Entry::leaf);
        (truth != claim.found).then(|| self.tree.prove(&claim.key))
    }

    /// See [`crate::faulty`], the only caller.
    pub(crate) fn hide(&mut self, key: Key) {
        self.hidden.push(key);
    }

    /// The file: heading, entries, checksum.
    pub fn to_bytes(&self) -> Vec<u8> {
        let heading = Heading {
            name: self.name.clone(),
            version: self.version.clone(),
            sources: self.sources.clone(),
            root: self.root(),
            count: self.count(),
            pin: self.pin,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(codec::encode(&heading));
        for entry in self.tree.entries().iter().filter(|entry| entry.key.kind() != SOURCE_KIND) {
            bytes.extend(codec::encode(entry));
        }
        let checksum = h(CHECKSUM, &[&bytes]);
        bytes.extend(checksum.0);
        bytes
    }

    /// Reads a file that [`Dataset::to_bytes`] made. Age limits are not in it.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::NotADataset`], [`Error::Damaged`], [`Error::WrongRoot`], and as for a merge.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > MAX_FILE {
            return Err(Error::TooLarge(bytes.len()));
        }
        let body = bytes.strip_prefix(MAGIC).ok_or(Error::NotADataset)?;
        let (body, checksum) = body.split_last_chunk::<32>().ok_or(Error::NotADataset)?;
        if h(CHECKSUM, &[MAGIC, body]).0 != *checksum {
            return Err(Error::Damaged("wrong checksum".to_owned()));
        }
        let damaged = |error: std::io::Error| Error::Damaged(error.to_string());
        let mut rest = body;
        let heading = Heading::deserialize(&mut rest).map_err(damaged)?;
        if heading.sources.is_empty() || heading.sources.len() > 64 {
            return Err(Error::SourceCount(heading.sources.len()));
        }
        let mut entries = Vec::new();
        while !rest.is_empty() {
            entries.push(Entry::deserialize(&mut rest).map_err(damaged)?);
        }
        let dataset = Self::build(heading.name, heading.version, heading.sources, entries)?;
        if dataset.root() != heading.root || dataset.count() != heading.count {
            return Err(Error::WrongRoot);
        }
        Ok(Self { pin: heading.pin, ..dataset })
    }
}
