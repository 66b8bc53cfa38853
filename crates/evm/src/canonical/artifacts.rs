//! Compiled contracts as npm packages bring them: read, linked, never kept in this repository.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use alloy_primitives::{Address, Bytes};
use serde::Deserialize;

/// The longest artifact that is read, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Why an artifact could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It is not installed.
    #[error("{0} is not installed")]
    Missing(PathBuf),
    /// It could not be read.
    #[error("{path} cannot be read: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is not what compilers write.
    #[error("{path} is not a compiled contract: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The code needs a library whose address was not given.
    #[error("{path} needs the library {library}")]
    Unlinked {
        /// The file.
        path: PathBuf,
        /// The library's name.
        library: String,
    },
}

/// A compiled contract with places for libraries still open.
#[derive(Clone, Debug)]
pub struct Artifact {
    path: PathBuf,
    /// Init code as hex digits; a library's place holds other characters.
    init_code: String,
    links: BTreeMap<String, Vec<Link>>,
}

/// A place for a library's address, in bytes.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Link {
    start: usize,
    length: usize,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    bytecode: String,
    #[serde(default)]
    link_references: BTreeMap<String, BTreeMap<String, Vec<Link>>>,
}

impl Artifact {
    /// Reads `path` in a folder of installed packages: the JSON of Hardhat, or that of Waffle which Uniswap V2 has.
    ///
    /// # Errors
    /// When it is missing, unreadable, longer than 16 MiB or no artifact.
    pub fn read(node_modules: &Path, path: &str) -> Result<Self, ArtifactError> {
        let path = node_modules.join(path);
        let malformed = |reason: String| ArtifactError::Malformed { path: path.clone(), reason };
        let file = std::fs::File::open(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => ArtifactError::Missing(path.clone()),
            _ => ArtifactError::Io { path: path.clone(), error },
        })?;
        let mut text = String::new();
        let length = file.take(MAX_BYTES + 1).read_to_string(&mut text);
        let length = length.map_err(|error| ArtifactError::Io { path: path.clone(), error })?;
        if length as u64 > MAX_BYTES {
            return Err(malformed("it is too long".into()));
        }
        let file: File = serde_json::from_str(&text).map_err(|error| malformed(error.to_string()))?;
        let digits = file.bytecode.strip_prefix("0x").unwrap_or(&file.bytecode);
        if digits.is_empty() || !digits.is_ascii() {
            return Err(malformed("it has no code".into()));
        }
        Ok(Self { init_code: digits.to_owned(), links: file.link_references.into_values().flatten().collect(), path })
    }

    /// The init code, for an artifact that needs no library.
    ///
    /// # Errors
    /// As [`Self::link`].
    pub fn init_code(&self) -> Result<Bytes, ArtifactError> {
        self.link(&[])
    }

    /// The init code with the addresses of these libraries in it.
    ///
    /// # Errors
    /// When it needs another library, or is not hex.
    pub fn link(&self, libraries: &[(&str, Address)]) -> Result<Bytes, ArtifactError> {
        let malformed = |reason: &str| ArtifactError::Malformed { path: self.path.clone(), reason: reason.into() };
        let mut digits = self.init_code.clone();
        for (library, places) in &self.links {
            let known = libraries.iter().find(|(name, _)| name == library);
            let (_, address) =
                known.ok_or_else(|| ArtifactError::Unlinked { path: self.path.clone(), library: library.clone() })?;
            for place in places {
                let range = place.start.saturating_mul(2)..place.start.saturating_add(place.length).saturating_mul(2);
                if place.length != 20 || digits.get(range.clone()).is_none() {
                    return Err(malformed("a library's place is outside the code"));
                }
                digits.replace_range(range, &const_hex::encode(address));
            }
        }
        const_hex::decode(&digits).map(Bytes::from).map_err(|_| malformed("its code is not hex"))
    }
}
