//! The node's secrets, and the marker that keeps a wiped seat from voting twice.
//!
//! A seat that lost its folder lost the journal of its votes; were it to vote again in the same epoch, it could contradict
//! itself and be slashed. So every start counts up in two places, the store with the journal and the keys' folder: when the
//! two disagree, the store is not the one that this key last voted with, and the node only follows (`engine.md` 6).

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use commonware_codec::{Copying, DecodeExt as _, Encode as _};
use commonware_cryptography::bls12381::primitives::group::Private;
use commonware_cryptography::{Signer as _, ed25519};
use serde::{Deserialize, Serialize};
use surety_primitives::Hash32;
use surety_primitives::bls::{BlsKey, BlsSecret};
use surety_primitives::ids::Epoch;
use surety_primitives::typed_data::Bytes32;
use zeroize::Zeroizing;

use crate::block::key_bytes;

const PEER_FILE: &str = "peer.key";
const SEAT_FILE: &str = "seat.key";
const MARKER_FILE: &str = "starts.json";

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The count of starts cannot be read: without it the seat might vote twice.
    #[error("{0} is damaged: restore it. Without it the seat only follows, for good")]
    Marker(PathBuf),
    /// Not 64 hex digits, or no key.
    #[error("{0}: not a key")]
    Malformed(PathBuf),
    /// Others can read a secret.
    #[error("{0}: others may read this secret; allow only the owner (chmod 600)")]
    TooOpen(PathBuf),
}

/// The secrets of a node. The seat's is absent for a node that only follows.
pub struct NodeKeys {
    peer: ed25519::PrivateKey,
    seat: Option<Zeroizing<[u8; 32]>>,
}

impl core::fmt::Debug for NodeKeys {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "NodeKeys({:?})", self.peer_id())
    }
}

impl NodeKeys {
    /// Keys from 32 bytes each, for tests and tools.
    #[must_use]
    pub fn from_seeds(peer: &[u8; 32], seat: Option<&[u8; 32]>) -> Option<Self> {
        let peer = ed25519::PrivateKey::decode(Copying(peer.as_slice())).ok()?;
        Some(Self { peer, seat: seat.map(|seat| Zeroizing::new(*seat)) })
    }

    /// Reads the keys of a folder: `peer.key` must be there, `seat.key` may.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn load(folder: &Path) -> Result<Self, Error> {
        let peer = read_secret(&folder.join(PEER_FILE))?;
        let seat_file = folder.join(SEAT_FILE);
        let seat = if seat_file.exists() { Some(read_secret(&seat_file)?) } else { None };
        let keys = Self::from_seeds(&peer, seat.as_deref()).ok_or_else(|| Error::Malformed(folder.join(PEER_FILE)))?;
        if keys.seat.is_some() && keys.seat_secret().is_none() {
            return Err(Error::Malformed(seat_file));
        }
        Ok(keys)
    }

    /// Writes the keys into a folder, readable to the owner only. Never overwrites.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn save(&self, folder: &Path) -> Result<(), Error> {
        fs::create_dir_all(folder).map_err(|source| Error::File { path: folder.to_owned(), source })?;
        let peer = Zeroizing::new(self.peer.encode().to_vec());
        write_secret(&folder.join(PEER_FILE), &peer)?;
        self.seat.as_ref().map_or(Ok(()), |seat| write_secret(&folder.join(SEAT_FILE), seat.as_slice()))
    }

    /// The network identity.
    #[must_use]
    pub fn peer_id(&self) -> Bytes32 {
        Bytes32(key_bytes(&self.peer.public_key()))
    }

    /// The seat's public key.
    #[must_use]
    pub fn seat_key(&self) -> Option<BlsKey> {
        BlsSecret::from_bytes(self.seat.as_deref()?).ok().map(|secret| secret.key())
    }

    #[cfg(not(test))]
    pub(crate) const fn peer(&self) -> &ed25519::PrivateKey {
        &self.peer
    }

    pub(crate) fn seat_secret(&self) -> Option<Private> {
        Private::decode(Copying(self.seat.as_ref()?.as_slice())).ok()
    }
}

fn read_secret(path: &Path) -> Result<Zeroizing<[u8; 32]>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    check_mode(path)?;
    let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
    let mut secret = Zeroizing::new([0; 32]);
    let digits = text.trim().trim_start_matches("0x");
    const_hex::decode_to_slice(digits, secret.as_mut_slice()).map_err(|_| Error::Malformed(path.to_owned()))?;
    Ok(secret)
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let data = fs::metadata(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    if data.permissions().mode() & 0o077 != 0 {
        return Err(Error::TooOpen(path.to_owned()));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_mode(_path: &Path) -> Result<(), Error> {
    Ok(())
}

fn write_secret(path: &Path, secret: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(failed)?;
    let text = Zeroizing::new(const_hex::encode(secret));
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// How often a folder was started, for which chain and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    genesis: Hash32,
    epoch: Epoch,
    starts: u64,
    /// Whether the seat has voted, and so must have a journal.
    #[serde(default)]
    voted: bool,
}

/// Whether this start may vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The folder is the one that this key last voted with, or it never voted in this epoch.
    MayVote,
    /// The folder is another one, or its journal is gone: follow.
    FollowOnly,
}

/// Counts this start up in both folders and says whether the node may vote. `journal` is the folder of its votes.
///
/// # Errors
/// [`Error::File`]; a node that cannot write its marker must not vote.
pub fn mark_start(keys: &Path, store: &Path, journal: &Path, genesis: Hash32, epoch: Epoch) -> Result<Standing, Error> {
    let (by_key, by_folder) = (read_marker(keys)?, read_marker(store)?);
    let same_epoch = |marker: &Marker| marker.genesis == genesis && marker.epoch == epoch;
    let (by_key, held) = (by_key.filter(same_epoch), by_folder.filter(same_epoch).map(|marker| marker.starts));
    let voted = by_key.is_some_and(|marker| marker.voted);
    if voted && !has_votes(journal) {
        return Ok(Standing::FollowOnly);
    }
    let starts = match (by_key.map(|marker| marker.starts), held) {
        (None, held) => held.unwrap_or(0),
        // The folder is written first: one ahead means a crash between the two, before any vote of that start.
        (Some(voted), Some(held)) if held == voted || held == voted.saturating_add(1) => held,
        (Some(_), _) => return Ok(Standing::FollowOnly),
    };
    let next = Marker { genesis, epoch, starts: starts.saturating_add(1), voted };
    write_marker(store, &next)?;
    write_marker(keys, &next)?;
    Ok(Standing::MayVote)
}

/// Whether a journal of votes holds anything.
pub(crate) fn has_votes(journal: &Path) -> bool {
    fs::read_dir(journal).is_ok_and(|mut files| files.next().is_some())
}

/// Notes that the seat has voted.
///
/// # Errors
/// [`Error::File`].
pub fn mark_voting(keys: &Path) -> Result<(), Error> {
    match read_marker(keys)? {
        Some(marker) if !marker.voted => write_marker(keys, &Marker { voted: true, ..marker }),
        _ => Ok(()),
    }
}

fn read_marker(folder: &Path) -> Result<Option<Marker>, Error> {
    let path = folder.join(MARKER_FILE);
    match fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|_| Error::Marker(path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(Error::File { path, source }),
    }
}

fn write_marker(folder: &Path, marker: &Marker) -> Result<(), Error> {
    let path = folder.join(MARKER_FILE);
    let failed = |source| Error::File { path: path.clone(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let fresh = folder.join("starts.json.new");
    let bytes = serde_json::to_vec(marker).map_err(|error| failed(error.into()))?;
    let mut file = fs::File::create(&fresh).map_err(failed)?;
    file.write_all(&bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&fresh, &path).map_err(failed)?;
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let (keys, state) = (root.path().join("keys"), root.path().join("state"));
        (root, keys, state)
    }

    fn start(keys: &Path, state: &Path, epoch: u64) -> Standing {
        mark_start(keys, state, &state.join("votes"), Hash32([1; 32]), Epoch(epoch)).unwrap()
    }

    #[test]
    fn a_seat_that_lost_its_journal_alone_only_follows() {
        let (_root, keys, state) = folders();
        let vote = || {
            fs::create_dir_all(state.join("votes")).unwrap();
            fs::write(state.join("votes/1"), "a vote").unwrap();
        };
        // Killed before its first vote: there is nothing to contradict.
        assert_eq!(start(&keys, &state, 0), Standing::MayVote);
        assert_eq!(start(&keys, &state, 0), Standing::MayVote);
        mark_voting(&keys).unwrap();
        vote();
        assert_eq!(start(&keys, &state, 0), Standing::MayVote);
        fs::remove_file(state.join("votes/1")).unwrap();
        assert_eq!(start(&keys, &state, 0), Standing::FollowOnly);
        assert_eq!(start(&keys, &state, 1), Standing::MayVote);
    }

    #[test]
    fn a_seat_whose_folder_was_wiped_only_follows_until_the_next_epoch() {
        let (_root, keys, state) = folders();
        assert_eq!(start(&keys, &state, 0), Standing::MayVote);
        assert_eq!(start(&keys, &state, 0), Standing::MayVote);
        fs::remove_dir_all(&state).unwrap();
        assert_eq!(start(&keys, &state, 0), Standing::FollowOnly);
        assert_eq!(start(&keys, &state, 0), Standing::FollowOnly);
        assert_eq!(start(&keys, &state, 1), Standing::MayVote);
    }

    #[test]
    fn an_old_copy_of_the_folder_only_follows() {
        let (root, keys, state) = folders();
        start(&keys, &state, 0);
        let copy = root.path().join("copy");
        fs::create_dir(&copy).unwrap();
        fs::copy(state.join(MARKER_FILE), copy.join(MARKER_FILE)).unwrap();
        start(&keys, &state, 0);
        assert_eq!(start(&keys, &copy, 0), Standing::FollowOnly);
        assert_eq!(start(&keys, &state, 0), Standing::MayVote);
    }

    #[test]
    fn a_crash_between_the_two_markers_costs_nothing() {
        let (_root, keys, state) = folders();
        start(&keys, &state, 0);
        write_marker(&state, &Marker { genesis: Hash32([1; 32]), epoch: Epoch(0), starts: 2, voted: false }).unwrap();
        assert_eq!(start(&keys, &state, 0), Standing::MayVote);
        assert_eq!(start(&keys, &state, 0), Standing::MayVote);
    }

    #[test]
    fn keys_come_back_as_they_were_saved_and_open_files_are_refused() {
        let (_root, folder, _) = folders();
        let keys = NodeKeys::from_seeds(&[7; 32], Some(&[9; 32])).unwrap();
        keys.save(&folder).unwrap();
        let loaded = NodeKeys::load(&folder).unwrap();
        assert_eq!((loaded.peer_id(), loaded.seat_key()), (keys.peer_id(), keys.seat_key()));
        assert!(keys.save(&folder).is_err(), "a key file must never be overwritten");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(folder.join(PEER_FILE), fs::Permissions::from_mode(0o644)).unwrap();
            assert!(matches!(NodeKeys::load(&folder), Err(Error::TooOpen(_))));
        }
    }

    #[test]
    fn both_libraries_read_the_seat_key_alike() {
        let keys = NodeKeys::from_seeds(&[7; 32], Some(&[9; 32])).unwrap();
        let theirs = commonware_cryptography::bls12381::primitives::ops::compute_public::<
            commonware_cryptography::bls12381::primitives::variant::MinSig,
        >(&keys.seat_secret().unwrap());
        assert_eq!(theirs.encode().as_ref(), keys.seat_key().unwrap().0);
    }
}
