//! Account keys at rest: one file a key, in the format that Ethereum wallets share (Web3 Secret Storage, version 3).
//!
//! Always true: files are readable by their owner alone, appear whole or not at all, and are never overwritten; no secret
//! and no password is printed. What a foreign file may make this machine compute is bounded.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use surety_primitives::Address;
use surety_primitives::keys::SecretKey;
use surety_primitives::wallet::AccountKey;
use zeroize::Zeroizing;

mod v3;

pub use v3::{Cost, decrypt, encrypt};

/// Most bytes of a keystore file.
const MAX_FILE: u64 = 16 * 1_024;

/// Why a key cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is no keystore of version 3, or one that this side does not read.
    #[error("not a keystore file: {0}")]
    Malformed(String),
    /// Opening it would take more memory or time than allowed.
    #[error("the keystore asks for more work than is allowed: {0}")]
    TooCostly(&'static str),
    /// The password does not open it.
    #[error("the password is wrong")]
    WrongPassword,
    /// There is no key of this account.
    #[error("there is no key of {0} in this keystore")]
    Unknown(Address),
    /// There is a key of this account already.
    #[error("there is a key of {0} in this keystore already")]
    Exists(Address),
    /// The file holds the key of another account than it says.
    #[error("the file of {named} holds the key of {held}")]
    OtherAccount {
        /// The account in its name.
        named: Address,
        /// The account of its key.
        held: Address,
    },
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    NoRandomness(String),
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "wallet-malformed",
            Self::TooCostly(_) => "wallet-too-costly",
            Self::WrongPassword => "wallet-wrong-password",
            Self::Unknown(_) => "wallet-unknown",
            Self::Exists(_) => "wallet-exists",
            Self::OtherAccount { .. } => "wallet-other-account",
            Self::NoRandomness(_) => "wallet-no-randomness",
            Self::File { .. } => "wallet-file",
        }
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::File { path: path.to_owned(), source }
}

/// A folder of encrypted account keys.
#[derive(Clone, Debug)]
pub struct Keystore {
    folder: PathBuf,
    cost: Cost,
}

impl Keystore {
    /// The keystore in this folder, which is made if it is not there. `cost` is for keys written from now on.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn open(folder: impl Into<PathBuf>, cost: Cost) -> Result<Self, Error> {
        let folder = folder.into();
        make_folder(&folder)?;
        Ok(Self { folder, cost })
    }

    /// Makes a key and writes it down.
    ///
    /// # Errors
    /// [`Error::NoRandomness`], [`Error::File`].
    pub fn create(&self, password: &str) -> Result<AccountKey, Error> {
        // Nearly every 32 bytes are a key; the others are drawn again.
        let key = loop {
            if let Ok(key) = AccountKey::from_bytes(*random::<32>()?) {
                break key;
            }
        };
        self.import(&key, password)?;
        Ok(key)
    }

    /// Writes a key down.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NoRandomness`], [`Error::File`].
    pub fn import(&self, key: &AccountKey, password: &str) -> Result<(), Error> {
        let path = self.path(&key.address());
        if path.exists() {
            return Err(Error::Exists(key.address()));
        }
        let text = encrypt(key, password, self.cost)?;
        write_new(&path, text.as_bytes()).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(key.address()),
            _ => Error::File { path, source: error },
        })
    }

    /// Takes over a keystore file of another wallet; it keeps its password.
    ///
    /// # Errors
    /// As [`decrypt`] and [`Self::import`].
    pub fn import_file(&self, file: &Path, password: &str) -> Result<Address, Error> {
        let key = decrypt(&read_bounded(file)?, password)?;
        self.import(&key, password)?;
        Ok(key.address())
    }

    /// The key of an account.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::WrongPassword`], [`Error::OtherAccount`], and as [`decrypt`].
    pub fn unlock(&self, account: &Address, password: &str) -> Result<AccountKey, Error> {
        let path = self.path(account);
        if !path.exists() {
            return Err(Error::Unknown(*account));
        }
        let key = decrypt(&read_bounded(&path)?, password)?;
        let held = key.address();
        if held == *account { Ok(key) } else { Err(Error::OtherAccount { named: *account, held }) }
    }

    /// The accounts whose keys lie here, in order.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn list(&self) -> Result<Vec<Address>, Error> {
        let entries = fs::read_dir(&self.folder).map_err(at(&self.folder))?;
        let mut accounts = Vec::new();
        for entry in entries {
            let name = entry.map_err(at(&self.folder))?.file_name();
            let account = name.to_str().and_then(|name| name.strip_suffix(".json"));
            accounts.extend(account.and_then(|hex| hex.parse::<Address>().ok()));
        }
        accounts.sort_unstable();
        Ok(accounts)
    }

    fn path(&self, account: &Address) -> PathBuf {
        self.folder.join(format!("{account:#x}.json"))
    }
}

/// The ed25519 key in this file, which is made with a new one if it is not there: hot keys (calls of a purchase, Answers
/// of a provider) must be at hand without a password.
///
/// # Errors
/// [`Error::Malformed`], [`Error::NoRandomness`], [`Error::File`].
pub fn load_or_create_key(path: &Path) -> Result<SecretKey, Error> {
    if !path.exists() {
        path.parent().map_or(Ok(()), make_folder)?;
        let seed = random::<32>()?;
        let text = Zeroizing::new(const_hex::encode_prefixed(seed.as_slice()));
        match write_new(path, text.as_bytes()) {
            Ok(()) => return Ok(SecretKey::from_seed(&seed)),
            // Somebody else was first: theirs counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(at(path)(error)),
        }
    }
    let text = Zeroizing::new(read_bounded(path)?);
    let seed = const_hex::decode_to_array::<_, 32>(text.trim().as_bytes());
    let seed = Zeroizing::new(seed.map_err(|_| Error::Malformed("expected 32 bytes in hex".to_owned()))?);
    Ok(SecretKey::from_seed(&seed))
}

/// Bytes from the system's randomness; wiped when dropped.
///
/// # Errors
/// [`Error::NoRandomness`].
pub fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|error| Error::NoRandomness(error.to_string()))?;
    Ok(bytes)
}

pub(crate) fn make_folder(folder: &Path) -> Result<(), Error> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(at(folder))
}

fn read_bounded(path: &Path) -> Result<String, Error> {
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text)).map_err(at(path))?;
    if text.len() as u64 > MAX_FILE {
        return Err(Error::Malformed(format!("longer than {MAX_FILE} bytes")));
    }
    Ok(text)
}

/// Writes a file that is not there yet, whole or not at all, readable by its owner alone, and durable on return.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where there is one; and what the disk says.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft_of(path)?;
    let written = write_draft(&draft, bytes).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    written?;
    removed?;
    sync_folder(path)
}

/// Writes a file over the one that may be there: a death in between leaves the old one or the new one. Readable by its owner
/// alone, and durable on return.
///
/// # Errors
/// What the disk says.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = draft_of(path)?;
    if let Err(error) = write_draft(&draft, bytes).and_then(|()| fs::rename(&draft, path)) {
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    sync_folder(path)
}

/// A name beside a file that nobody else writes to.
fn draft_of(path: &Path) -> io::Result<PathBuf> {
    let suffix = random::<8>().map_err(|error| io::Error::other(error.to_string()))?;
    Ok(path.with_extension(format!("{}.draft", const_hex::encode(suffix.as_slice()))))
}

/// A new name is on disk only when its folder is.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn write_draft(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn keystore() -> (tempfile::TempDir, Keystore) {
        let folder = tempfile::tempdir().unwrap();
        let keystore = Keystore::open(folder.path().join("keys"), Cost::LIGHT).unwrap();
        (folder, keystore)
    }

    #[test]
    fn a_key_comes_back_with_its_password_and_with_no_other() {
        let (_folder, keystore) = keystore();
        let key = keystore.create("correct horse").unwrap();
        let back = keystore.unlock(&key.address(), "correct horse").unwrap();
        assert_eq!(back.to_secret_bytes(), key.to_secret_bytes());
        assert!(matches!(keystore.unlock(&key.address(), "correct house"), Err(Error::WrongPassword)));
        let nobody = AccountKey::from_label("nobody").address();
        assert!(matches!(keystore.unlock(&nobody, "x"), Err(Error::Unknown(_))));
        assert_eq!(keystore.list().unwrap(), [key.address()]);
    }

    #[test]
    fn files_are_for_their_owner_alone_and_are_not_overwritten() {
        let (folder, keystore) = keystore();
        let key = AccountKey::from_label("ana");
        keystore.import(&key, "one").unwrap();
        assert!(matches!(keystore.import(&key, "two"), Err(Error::Exists(_))));
        keystore.unlock(&key.address(), "one").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder.path().join("keys")), 0o700);
        let files: Vec<PathBuf> =
            fs::read_dir(folder.path().join("keys")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "no draft is left: {files:?}");
        assert_eq!(mode(&files[0]), 0o600);
        assert!(!fs::read_to_string(&files[0]).unwrap().contains(&const_hex::encode(key.to_secret_bytes())));
    }

    #[test]
    fn a_file_under_another_accounts_name_is_refused() {
        let (folder, keystore) = keystore();
        let (ana, ben) = (AccountKey::from_label("ana"), AccountKey::from_label("ben"));
        keystore.import(&ana, "p").unwrap();
        let keys = folder.path().join("keys");
        let name = |key: &AccountKey| keys.join(format!("{:#x}.json", key.address()));
        fs::copy(name(&ana), name(&ben)).unwrap();
        assert!(matches!(keystore.unlock(&ben.address(), "p"), Err(Error::OtherAccount { .. })));
    }

    #[test]
    fn a_hot_key_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("call.key");
        let key = load_or_create_key(&path).unwrap();
        assert_eq!(load_or_create_key(&path).unwrap().public(), key.public());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "0x12").unwrap();
        assert!(matches!(load_or_create_key(&path), Err(Error::Malformed(_))));
    }
}
