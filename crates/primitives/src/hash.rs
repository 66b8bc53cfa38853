//! Which hash serves which purpose: the only place that decides.
//!
//! | purpose | hash |
//! |---|---|
//! | ids, rows' keys, digests of Surety's own objects | BLAKE3 in derive-key mode: [`h`] |
//! | blocks and the authenticated store | SHA-256: [`sha256`] |
//! | what wallets and EVM chains look at: EIP-712, addresses, dataset trees | keccak-256: [`keccak`] |

use blake3::hazmat::{self, ContextKey, HasherExt as _};
use borsh::{BorshDeserialize, BorshSerialize};
use sha2::Digest;

use crate::typed_data::TypedField;

/// 32 bytes that come out of one of the hashes here, or stand for a root.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Hash32(pub [u8; 32]);

hex_bytes!(Hash32, 32);

impl Hash32 {
    /// The first 16 bytes (`x16` of `market.md`).
    #[must_use]
    pub fn first16(&self) -> [u8; 16] {
        let mut short = [0; 16];
        short.copy_from_slice(&self.0[..16]);
        short
    }

    /// Whether every byte is zero.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 32]
    }
}

impl AsRef<[u8]> for Hash32 {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl TypedField for Hash32 {
    fn type_name() -> String {
        "bytes32".to_owned()
    }

    fn word(&self) -> [u8; 32] {
        self.0
    }

    fn message(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

/// BLAKE3 in derive-key mode over the joined `parts`: `H(context, a | b | …)` of `market.md`.
#[must_use]
pub fn h(context: &str, parts: &[&[u8]]) -> Hash32 {
    Domain::new(context).h(parts)
}

/// A context of [`h`] whose key is derived once: for what is hashed often.
#[derive(Clone)]
pub struct Domain(ContextKey);

impl Domain {
    /// The domain of one context.
    #[must_use]
    pub fn new(context: &str) -> Self {
        Self(hazmat::hash_derive_key_context(context))
    }

    /// [`h`] under this context.
    #[must_use]
    pub fn h(&self, parts: &[&[u8]]) -> Hash32 {
        let mut hasher = blake3::Hasher::new_from_context_key(&self.0);
        for part in parts {
            hasher.update(part);
        }
        Hash32(*hasher.finalize().as_bytes())
    }
}

/// SHA-256 over the joined `parts`.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Hash32 {
    let mut hasher = sha2::Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash32(hasher.finalize().into())
}

/// keccak-256 over the joined `parts`.
#[must_use]
pub fn keccak(parts: &[&[u8]]) -> Hash32 {
    let mut hasher = alloy_primitives::Keccak256::new();
    for part in parts {
        hasher.update(part);
    }
    Hash32(hasher.finalize().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_hashes_of_nothing_are_the_published_ones() {
        assert_eq!(sha256(&[]).to_string(), "0xe3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(keccak(&[]).to_string(), "0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
        assert_ne!(h("a", &[]), h("b", &[]));
        assert_eq!(h("a", &[b"xy"]), h("a", &[b"x", b"y"]));
        assert_eq!(h("a", &[b"xy"]).0, blake3::derive_key("a", b"xy"));
    }
}
