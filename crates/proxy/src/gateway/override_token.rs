//! The token by which a sender takes responsibility for a held transaction.
//!
//! It says which transaction of which client may leave, by which policy it was held and what it overrides, until when; a key
//! that only this gateway has makes it unforgeable. It overrides what it names: what a check finds on leaving that it did not
//! find before counts in full.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use alloy_primitives::B256;
use borsh::{BorshDeserialize, BorshSerialize};
use surety_primitives::access::{decode_b64, encode_b64};
use surety_primitives::{Hash32, codec};
use zeroize::Zeroizing;

use super::hold::Held;
use super::policy::PolicyHash;

/// Name of the key's file within the gateway's folder.
pub const OVERRIDE_KEY_FILE: &str = "override.key";
/// Most bytes of a token's content.
const MOST_BYTES: usize = 4_096;
const CONTEXT: &str = "surety gateway override token v1";

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Override {
    /// The transaction.
    pub transaction: [u8; 32],
    /// Who sent it.
    pub client: String,
    /// The policy that held it.
    pub policy: [u8; 32],
    /// What held it: see `Decision::holders`.
    pub checks: Vec<String>,
    /// Until when it is good, Unix seconds.
    pub expires_at_s: u64,
}

impl Override {
    /// The override of everything that holds this transaction.
    #[must_use]
    pub fn of(held: &Held, expires_at_s: u64) -> Self {
        Self {
            transaction: held.hash.0,
            client: held.client.clone(),
            policy: held.policy.0.0,
            checks: held.decision.holders(),
            expires_at_s: expires_at_s.min(held.expires_at_s),
        }
    }
}

/// Why a token releases nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is not one of this gateway's, or was changed.
    #[error("this is no override token of this gateway")]
    Forged,
    /// Its time is over.
    #[error("the override token has expired")]
    Expired,
    /// It is for another transaction.
    #[error("the override token is for another transaction")]
    OtherTransaction,
    /// It is another client's.
    #[error("the override token is another client's")]
    OtherClient,
    /// Another policy holds the transaction by now.
    #[error("the transaction is held by another policy than the one that the override token names")]
    OtherPolicy,
    /// Something holds the transaction that the token does not name.
    #[error("something holds the transaction that the override token does not name")]
    OtherChecks,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The file holds no key.
    #[error("{0} does not hold 32 bytes in hex")]
    Malformed(PathBuf),
    /// Others may read the file.
    #[error("{0} may be read by others: make it 0600, or delete it and let a new one be made")]
    TooOpen(PathBuf),
    /// The system gives no random numbers.
    #[error("there is no randomness for a key: {0}")]
    NoRandomness(String),
}

/// The key of one gateway.
pub struct OverrideKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for OverrideKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OverrideKey(..)")
    }
}

impl OverrideKey {
    /// Reads the key of a folder, or makes it.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(folder: &Path) -> Result<Self, KeyError> {
        let path = folder.join(OVERRIDE_KEY_FILE);
        let failed = |source| KeyError::File { path: path.clone(), source };
        match std::fs::File::open(&path) {
            Ok(file) => read(&path, file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let secret =
                    surety_client::wallet::random::<32>().map_err(|error| KeyError::NoRandomness(error.to_string()))?;
                write(&path, secret.as_slice()).map_err(failed)?;
                Ok(Self(secret))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// A token that says this.
    #[must_use]
    pub fn issue(&self, said: &Override) -> String {
        let content = codec::encode(said);
        let mac = self.mac(&content);
        format!("{}.{}", encode_b64(&content), encode_b64(mac.as_bytes()))
    }

    /// What a token says, if it releases this transaction for this client at this time (Unix seconds).
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, held: &Held, client: &str, now_s: u64) -> Result<Override, TokenError> {
        let said = self.read(token)?;
        if now_s >= said.expires_at_s {
            return Err(TokenError::Expired);
        }
        if B256::new(said.transaction) != held.hash {
            return Err(TokenError::OtherTransaction);
        }
        if said.client != held.client || client != held.client {
            return Err(TokenError::OtherClient);
        }
        if PolicyHash(Hash32(said.policy)) != held.policy {
            return Err(TokenError::OtherPolicy);
        }
        if held.decision.holders().iter().any(|holder| !said.checks.contains(holder)) {
            return Err(TokenError::OtherChecks);
        }
        Ok(said)
    }

    fn read(&self, token: &str) -> Result<Override, TokenError> {
        let (content, mac) = token.split_once('.').ok_or(TokenError::Forged)?;
        let content = decode_b64(content, MOST_BYTES, "an override token").map_err(|_| TokenError::Forged)?;
        let mac = decode_b64(mac, 32, "an override token").map_err(|_| TokenError::Forged)?;
        let mac: [u8; 32] = mac.try_into().map_err(|_| TokenError::Forged)?;
        // This comparison takes the same time wherever they differ.
        if self.mac(&content) != blake3::Hash::from_bytes(mac) {
            return Err(TokenError::Forged);
        }
        codec::decode(&content, MOST_BYTES).map_err(|_| TokenError::Forged)
    }

    fn mac(&self, content: &[u8]) -> blake3::Hash {
        let key = Zeroizing::new(blake3::derive_key(CONTEXT, self.0.as_slice()));
        blake3::keyed_hash(&key, content)
    }
}

fn read(path: &Path, mut file: std::fs::File) -> Result<OverrideKey, KeyError> {
    let failed = |source| KeyError::File { path: path.to_owned(), source };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(KeyError::TooOpen(path.to_owned()));
        }
    }
    let mut text = Zeroizing::new([0; 64]);
    file.read_exact(text.as_mut_slice()).map_err(|_| KeyError::Malformed(path.to_owned()))?;
    let mut secret = Zeroizing::new([0; 32]);
    alloy_primitives::hex::decode_to_slice(text.as_slice(), secret.as_mut_slice())
        .map_err(|_| KeyError::Malformed(path.to_owned()))?;
    Ok(OverrideKey(secret))
}

/// Under another name first: a death in between must leave no half of a key.
fn write(path: &Path, secret: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("key.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    let text = Zeroizing::new(alloy_primitives::hex::encode(secret));
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use alloy_primitives::Bytes;
    use proptest::prelude::*;

    use super::super::hold::{HoldId, Stage};
    use super::super::policy::{Cause, Decision};
    use super::super::verdict::Verdict;
    use super::*;

    fn held() -> Held {
        let cause = |check: &str, rule: &str| Cause {
            check: check.to_owned(),
            rule: rule.to_owned(),
            verdict: Verdict::Quarantine,
        };
        Held {
            id: HoldId(1),
            client: "ana".to_owned(),
            method: "eth_sendRawTransaction".to_owned(),
            hash: B256::repeat_byte(1),
            raw: Bytes::new(),
            decision: Decision {
                verdict: Verdict::Quarantine,
                rule: "approve.unlimited".to_owned(),
                causes: vec![cause("decode", "approve.unlimited"), cause("simulation", "")],
                ..Decision::default()
            },
            policy: PolicyHash(Hash32([5; 32])),
            held_at_s: 0,
            release_at_s: None,
            expires_at_s: 1_000,
            stage: Stage::Held,
        }
    }

    fn key(n: u8) -> OverrideKey {
        OverrideKey(Zeroizing::new([n; 32]))
    }

    #[test]
    fn override_is_bound_to_transaction() {
        let (key, held) = (key(1), held());
        let token = key.issue(&Override::of(&held, 500));
        let said = key.verify(&token, &held, "ana", 499).unwrap();
        assert_eq!(said.checks, ["approve.unlimited", "check:simulation"]);
        let other = Held { hash: B256::repeat_byte(2), ..held };
        assert_eq!(key.verify(&token, &other, "ana", 499), Err(TokenError::OtherTransaction));
    }

    #[test]
    fn override_is_bound_to_client_policy_checks_and_time() {
        let (key, held) = (key(1), held());
        let token = key.issue(&Override::of(&held, 500));
        assert_eq!(key.verify(&token, &held, "bo", 499), Err(TokenError::OtherClient));
        assert_eq!(key.verify(&token, &held, "ana", 500), Err(TokenError::Expired));
        let policy = Held { policy: PolicyHash(Hash32([6; 32])), ..held.clone() };
        assert_eq!(key.verify(&token, &policy, "ana", 499), Err(TokenError::OtherPolicy));
        let mut more = held.clone();
        more.decision.causes.push(Cause {
            check: "lists".to_owned(),
            rule: "lists.drainer".to_owned(),
            verdict: Verdict::Block,
        });
        assert_eq!(key.verify(&token, &more, "ana", 499), Err(TokenError::OtherChecks));
        let late = key.issue(&Override::of(&held, u64::MAX));
        assert_eq!(key.verify(&late, &held, "ana", 1_000), Err(TokenError::Expired), "it outlives no hold");
    }

    #[test]
    fn a_token_of_another_gateway_or_a_changed_one_is_forged() {
        let held = held();
        let token = key(1).issue(&Override::of(&held, 500));
        assert_eq!(key(2).verify(&token, &held, "ana", 1), Err(TokenError::Forged));
        for place in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert_eq!(key(1).verify(&changed, &held, "ana", 1), Err(TokenError::Forged), "{place}");
        }
        assert_eq!(key(1).verify(&format!("{token}A"), &held, "ana", 1), Err(TokenError::Forged));
    }

    #[test]
    fn the_key_is_made_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let held = held();
        let token = OverrideKey::open(folder.path()).unwrap().issue(&Override::of(&held, 500));
        assert!(OverrideKey::open(folder.path()).unwrap().verify(&token, &held, "ana", 1).is_ok());
        let path = folder.path().join(OVERRIDE_KEY_FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(OverrideKey::open(folder.path()), Err(KeyError::TooOpen(_))));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(OverrideKey::open(folder.path()), Err(KeyError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn no_text_is_a_token_and_none_makes_the_reader_panic(text in "[A-Za-z0-9_.-]{0,300}") {
            prop_assert_eq!(key(1).verify(&text, &held(), "ana", 1), Err(TokenError::Forged));
        }
    }
}
