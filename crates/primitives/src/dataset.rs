//! Datasets: sorted Merkle trees over lists, with short proofs that a key is in a list or is not.
//!
//! A dataset is published on the ledger as `{name, version, root, count, date, licence}`; its entries travel off the
//! ledger. Whoever looks something up against that root can be held to it: an inclusion proof shows what the entry
//! says, a neighbour proof shows that there is none (`security-services.md` sections 2 and 4.3, `market.md` B8).
//!
//! Always true of a tree that [`DatasetTree::build`] made: keys are unique and in ascending byte order; the root
//! commits to the count, so the shape of every path follows from `(index, count)` and no proof fits two positions.
//! Leaves, inner nodes and the root are hashed in three domains, so that none can be read as another; an odd node at
//! the end of a row moves up unchanged and is never paired with itself.

use std::io;

use borsh::{BorshDeserialize, BorshSerialize};

use crate::hash::{Hash32, keccak};

/// Longest key, in bytes, its kind byte included.
pub const MAX_KEY_LEN: usize = 512;
/// Longest label, in bytes.
pub const MAX_LABEL_LEN: usize = 256;
/// Longest path, in hashes; a tree holds at most `2^MAX_DEPTH` entries.
pub const MAX_DEPTH: usize = 40;
/// Most entries of a dataset.
pub const MAX_COUNT: u64 = 1 << MAX_DEPTH;

const LEAF: u8 = 0;
const INNER: u8 = 1;
const ROOT: u8 = 2;

/// Why a dataset, a key or a proof was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key is empty (no kind byte) or longer than [`MAX_KEY_LEN`].
    #[error("a dataset key has 1 to {MAX_KEY_LEN} bytes, not {0}")]
    KeyLength(usize),
    /// The label is longer than [`MAX_LABEL_LEN`].
    #[error("a dataset label has at most {MAX_LABEL_LEN} bytes, not {0}")]
    LabelLength(usize),
    /// Two entries have this key.
    #[error("two entries have the key {0}")]
    DuplicateKey(Key),
    /// More entries than [`MAX_COUNT`].
    #[error("a dataset has at most {MAX_COUNT} entries, not {0}")]
    TooMany(u64),
    /// The index does not lie below the count, or the count is above [`MAX_COUNT`].
    #[error("index {index} is outside a dataset of {count} entries")]
    OutOfRange {
        /// The index that the proof states.
        index: u64,
        /// The count that the published record states.
        count: u64,
    },
    /// The path is longer or shorter than index and count demand.
    #[error("the path does not have the length that its index and count demand")]
    PathLength,
    /// The path does not lead to the published root.
    #[error("the path does not lead to the published root")]
    WrongRoot,
    /// An inclusion proof for another key.
    #[error("the proof is about another key")]
    WrongKey,
    /// The neighbours do not enclose the key: not adjacent, or not below and above it, or an end is missing.
    #[error("the neighbours do not enclose the key")]
    NotEnclosing,
}

impl Error {
    /// The stable code of this error.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::KeyLength(_) => "dataset-key-length",
            Self::LabelLength(_) => "dataset-label-length",
            Self::DuplicateKey(_) => "dataset-duplicate-key",
            Self::TooMany(_) => "dataset-too-many",
            Self::OutOfRange { .. } => "dataset-out-of-range",
            Self::PathLength => "dataset-path-length",
            Self::WrongRoot => "dataset-wrong-root",
            Self::WrongKey => "dataset-wrong-key",
            Self::NotEnclosing => "dataset-not-enclosing",
        }
    }
}

/// A key as it is sorted: one byte that says of which kind the entry is, then the normalised name or address.
///
/// The kind is part of the key, so that one dataset can hold, say, both a deny and an allow entry for one host.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize)]
pub struct Key(Vec<u8>);

impl Key {
    /// The key of `name` (already normalised) among the entries of `kind`.
    pub fn new(kind: u8, name: &[u8]) -> Result<Self, Error> {
        let mut bytes = Vec::with_capacity(1 + name.len());
        bytes.push(kind);
        bytes.extend_from_slice(name);
        Self::from_bytes(bytes)
    }

    /// The key with these bytes, the first of which is the kind.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Error> {
        if bytes.is_empty() || bytes.len() > MAX_KEY_LEN {
            return Err(Error::KeyLength(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// The kind: the first byte.
    pub fn kind(&self) -> u8 {
        self.0.first().copied().unwrap_or_default()
    }

    /// The normalised name: what follows the kind.
    pub fn name(&self) -> &[u8] {
        self.0.get(1..).unwrap_or_default()
    }

    /// Kind and name, as they are sorted and hashed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind(), self.name().escape_ascii())
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({self})")
    }
}

impl BorshDeserialize for Key {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let bytes = read_bounded(reader, MAX_KEY_LEN)?;
        Self::from_bytes(bytes).map_err(invalid)
    }
}

/// The first bits of a name's hash: asks a list about a name without telling it, because very many names share them.
///
/// Sixteen bits: some thousands of the addresses that were ever used, and of the registered domains, have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix([u8; 2]);

impl Prefix {
    /// Of a normalised name, or of an address's 20 bytes: the first two bytes of its keccak-256.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let [first, second, ..] = keccak(&[name]).0;
        Self([first, second])
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

impl std::str::FromStr for Prefix {
    type Err = const_hex::FromHexError;

    /// Four hex digits.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // The decoder would take "0x" for a prefix of its own.
        if text.starts_with("0x") {
            return Err(const_hex::FromHexError::InvalidStringLength);
        }
        const_hex::decode_to_array(text).map(Self)
    }
}

/// One entry of a dataset: what a leaf is the hash of.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Entry {
    /// Kind and normalised name.
    pub key: Key,
    /// What the sources say of the key; at most [`MAX_LABEL_LEN`] bytes, may be empty.
    pub label: Vec<u8>,
    /// Bit `n` is set when the dataset's source number `n` lists the key.
    pub sources: u64,
}

impl Entry {
    /// An entry; fails when the label is too long.
    pub fn new(key: Key, label: Vec<u8>, sources: u64) -> Result<Self, Error> {
        if label.len() > MAX_LABEL_LEN {
            return Err(Error::LabelLength(label.len()));
        }
        Ok(Self { key, label, sources })
    }

    /// `keccak256(0x00 | key_len4 | key | label_len4 | label | sources8)`, lengths and bitmap big-endian.
    ///
    /// Big-endian and not borsh, so that a contract computes the same with `abi.encodePacked`.
    pub fn leaf(&self) -> Hash32 {
        let (key, label) = (self.key.as_bytes(), self.label.as_slice());
        let lengths = [key.len() as u32, label.len() as u32].map(u32::to_be_bytes);
        keccak(&[&[LEAF], &lengths[0], key, &lengths[1], label, &self.sources.to_be_bytes()])
    }
}

impl BorshDeserialize for Entry {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let key = Key::deserialize_reader(reader)?;
        let label = read_bounded(reader, MAX_LABEL_LEN)?;
        let sources = u64::deserialize_reader(reader)?;
        Ok(Self { key, label, sources })
    }
}

/// An entry, its position and the hashes from its leaf up to the root.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize)]
pub struct Located {
    /// Position among the sorted entries, from 0.
    pub index: u64,
    /// The entry itself; its hash is the leaf.
    pub entry: Entry,
    /// Siblings from the leaf upwards; rows where the node is the odd last one have none.
    pub path: Vec<Hash32>,
}

impl Located {
    /// Recomputes the root from leaf and path and compares; returns the leaf.
    fn check(&self, root: &Hash32, count: u64) -> Result<Hash32, Error> {
        if self.index >= count || count > MAX_COUNT {
            return Err(Error::OutOfRange { index: self.index, count });
        }
        let leaf = self.entry.leaf();
        let mut siblings = self.path.iter();
        let (mut node, mut index, mut width) = (leaf, self.index, count);
        while width > 1 {
            if index ^ 1 < width {
                let sibling = siblings.next().ok_or(Error::PathLength)?;
                node = if index & 1 == 0 { inner(&node, sibling) } else { inner(sibling, &node) };
            }
            index /= 2;
            width = width.div_ceil(2);
        }
        if siblings.next().is_some() {
            return Err(Error::PathLength);
        }
        if &seal(count, &node) != root {
            return Err(Error::WrongRoot);
        }
        Ok(leaf)
    }
}

impl BorshDeserialize for Located {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let index = u64::deserialize_reader(reader)?;
        let entry = Entry::deserialize_reader(reader)?;
        let length = u32::deserialize_reader(reader)? as usize;
        if length > MAX_DEPTH {
            return Err(invalid(Error::PathLength));
        }
        let path = (0..length).map(|_| Hash32::deserialize_reader(reader)).collect::<io::Result<_>>()?;
        Ok(Self { index, entry, path })
    }
}

/// What a look-up found in a dataset, as proven against its root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The key is in the dataset; its entry has this leaf hash.
    Found {
        /// Hash of the entry.
        leaf: Hash32,
    },
    /// The key is not in the dataset.
    Absent,
}

/// Proof that a dataset holds a key, or that it does not.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum DatasetProof {
    /// The key's own entry.
    Inclusion(Located),
    /// The entries next to where the key would be. `below` is missing when the key comes before all entries, `above`
    /// when it comes after all of them, both when the dataset is empty.
    Neighbours {
        /// The last entry below the key.
        below: Option<Located>,
        /// The first entry above the key.
        above: Option<Located>,
    },
}

impl DatasetProof {
    /// What the dataset with this `root` and `count` says of `key`. Both come from the published record.
    pub fn verify(&self, root: &Hash32, count: u64, key: &Key) -> Result<Lookup, Error> {
        match self {
            Self::Inclusion(located) => {
                if &located.entry.key != key {
                    return Err(Error::WrongKey);
                }
                let leaf = located.check(root, count)?;
                Ok(Lookup::Found { leaf })
            }
            Self::Neighbours { below, above } => {
                enclosing(below.as_ref(), above.as_ref(), count, key)?;
                for located in [below, above].into_iter().flatten() {
                    located.check(root, count)?;
                }
                if count == 0 && root != &seal(0, &Hash32::default()) {
                    return Err(Error::WrongRoot);
                }
                Ok(Lookup::Absent)
            }
        }
    }
}

/// Checks positions and order of the neighbours, not their paths.
fn enclosing(below: Option<&Located>, above: Option<&Located>, count: u64, key: &Key) -> Result<(), Error> {
    let first_above = match below {
        Some(below) if below.entry.key < *key => below.index.checked_add(1),
        Some(_) => None,
        None => Some(0),
    };
    let adjacent = match above {
        Some(above) => above.entry.key > *key && first_above == Some(above.index),
        None => first_above == Some(count),
    };
    if adjacent { Ok(()) } else { Err(Error::NotEnclosing) }
}

/// A whole dataset in memory: its sorted entries and every row of the tree, about 64 bytes a leaf besides the entries.
#[derive(Clone, Debug)]
pub struct DatasetTree {
    entries: Vec<Entry>,
    /// Row 0 holds the leaves; the last row holds one node (no rows when there are no entries).
    rows: Vec<Vec<Hash32>>,
    root: Hash32,
}

impl DatasetTree {
    /// Sorts the entries and hashes the tree. Fails when two entries share a key or a bound is broken.
    pub fn build(mut entries: Vec<Entry>) -> Result<Self, Error> {
        let count = entries.len() as u64;
        if count > MAX_COUNT {
            return Err(Error::TooMany(count));
        }
        if let Some(entry) = entries.iter().find(|entry| entry.label.len() > MAX_LABEL_LEN) {
            return Err(Error::LabelLength(entry.label.len()));
        }
        entries.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        if let Some([twin, _]) = entries.array_windows().find(|[a, b]| a.key == b.key) {
            return Err(Error::DuplicateKey(twin.key.clone()));
        }
        let rows = rows(entries.iter().map(Entry::leaf).collect());
        let top = rows.last().and_then(|row| row.first()).copied().unwrap_or_default();
        Ok(Self { entries, rows, root: seal(count, &top) })
    }

    /// The root that is published; it commits to the count.
    pub const fn root(&self) -> Hash32 {
        self.root
    }

    /// How many entries the dataset has.
    pub const fn count(&self) -> u64 {
        self.entries.len() as u64
    }

    /// The entries in the order of their keys.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of `key`, if there is one: a binary search.
    pub fn get(&self, key: &Key) -> Option<&Entry> {
        self.position(key).ok().and_then(|index| self.entries.get(index))
    }

    /// Proof that the dataset holds `key`, or that it does not.
    pub fn prove(&self, key: &Key) -> DatasetProof {
        match self.position(key) {
            Ok(index) => match self.locate(index) {
                Some(located) => DatasetProof::Inclusion(located),
                None => DatasetProof::Neighbours { below: None, above: None },
            },
            Err(index) => DatasetProof::Neighbours {
                below: index.checked_sub(1).and_then(|below| self.locate(below)),
                above: self.locate(index),
            },
        }
    }

    /// The position of the key, or the one where it would be inserted.
    fn position(&self, key: &Key) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| entry.key.cmp(key))
    }

    fn locate(&self, index: usize) -> Option<Located> {
        let entry = self.entries.get(index)?.clone();
        let path =
            self.rows.iter().enumerate().filter_map(|(height, row)| row.get((index >> height) ^ 1).copied()).collect();
        Some(Located { index: index as u64, entry, path })
    }
}

/// Rows from the leaves to the single top node.
fn rows(leaves: Vec<Hash32>) -> Vec<Vec<Hash32>> {
    let mut rows = Vec::new();
    let mut row = leaves;
    while row.len() > 1 {
        let above = row.chunks(2).map(pair_up).collect();
        rows.push(std::mem::replace(&mut row, above));
    }
    if !row.is_empty() {
        rows.push(row);
    }
    rows
}

fn pair_up(pair: &[Hash32]) -> Hash32 {
    match pair {
        [left, right] => inner(left, right),
        // An odd node moves up as it is. Pairing it with itself would give two lists one root.
        _ => pair.first().copied().unwrap_or_default(),
    }
}

fn inner(left: &Hash32, right: &Hash32) -> Hash32 {
    keccak(&[&[INNER], &left.0, &right.0])
}

/// The published root: `keccak256(0x02 | count8 | top)`; top is zero for an empty dataset.
fn seal(count: u64, top: &Hash32) -> Hash32 {
    keccak(&[&[ROOT], &count.to_be_bytes(), &top.0])
}

/// Reads a borsh byte vector whose length is checked before anything is allocated.
fn read_bounded<R: io::Read>(reader: &mut R, limit: usize) -> io::Result<Vec<u8>> {
    let length = u32::deserialize_reader(reader)? as usize;
    if length > limit {
        return Err(invalid(Error::KeyLength(length)));
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
