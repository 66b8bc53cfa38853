//! BLS12-381 signatures of operators: 48-byte signatures in G1, 96-byte keys in G2 (`engine.md` 10).
//!
//! The bytes that are hashed are varint(length of the namespace) | namespace | message, the form that the consensus engine
//! uses, so that its votes can be judged here without it.

use blst::BLST_ERROR;
use blst::min_sig::{AggregatePublicKey, PublicKey, SecretKey, Signature};
use borsh::{BorshDeserialize, BorshSerialize};

use crate::typed_data::{Blob, TypedField};

const DST: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";
const DST_POSSESSION: &[u8] = b"BLS_POP_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

/// A public key, compressed. It may be any 96 bytes until it is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct BlsKey(pub [u8; 96]);
hex_bytes!(BlsKey, 96);

/// A signature, compressed. It may be any 48 bytes until it is checked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct BlsSignature(pub [u8; 48]);
hex_bytes!(BlsSignature, 48);

macro_rules! as_bytes_field {
    ($($name:ident),*) => {$(
        impl TypedField for $name {
            fn type_name() -> String {
                Blob::type_name()
            }

            fn word(&self) -> [u8; 32] {
                crate::hash::keccak(&[&self.0]).0
            }

            fn message(&self) -> serde_json::Value {
                self.to_string().into()
            }
        }
    )*};
}
as_bytes_field!(BlsKey, BlsSignature);

/// Why a BLS signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a point of the group, or the point at infinity.
    #[error("the BLS key is not a valid point")]
    BadKey,
    /// Not a point of the group.
    #[error("the BLS signature is not a valid point")]
    BadSignature,
    /// Well formed, but not over this message by these keys.
    #[error("the BLS signature does not match")]
    Mismatch,
    /// No signer at all.
    #[error("nobody signed")]
    NoSigner,
}

/// varint(length of the namespace) | namespace | message: what is hashed to the curve.
#[must_use]
pub fn payload(namespace: &[u8], message: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(namespace.len() + message.len() + 5);
    varint(namespace.len() as u64, &mut bytes);
    bytes.extend_from_slice(namespace);
    bytes.extend_from_slice(message);
    bytes
}

/// LEB128, least significant group first.
pub(crate) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key_of(key: &BlsKey) -> Result<PublicKey, Error> {
    PublicKey::key_validate(&key.0).map_err(|_| Error::BadKey)
}

fn signature_of(signature: &BlsSignature) -> Result<Signature, Error> {
    Signature::sig_validate(&signature.0, true).map_err(|_| Error::BadSignature)
}

fn judge(outcome: BLST_ERROR) -> Result<(), Error> {
    if outcome == BLST_ERROR::BLST_SUCCESS { Ok(()) } else { Err(Error::Mismatch) }
}

/// Checks one signature.
///
/// # Errors
/// [`Error::BadKey`], [`Error::BadSignature`], [`Error::Mismatch`].
pub fn verify(key: &BlsKey, namespace: &[u8], message: &[u8], signature: &BlsSignature) -> Result<(), Error> {
    let (key, signature) = (key_of(key)?, signature_of(signature)?);
    judge(signature.verify(false, &payload(namespace, message), DST, &[], &key, false))
}

/// Checks that the holder of `key` has its secret; without this, keys could be chosen to cancel others in an aggregate.
///
/// # Errors
/// [`Error::BadKey`], [`Error::BadSignature`], [`Error::Mismatch`].
pub fn verify_possession(key: &BlsKey, namespace: &[u8], proof: &BlsSignature) -> Result<(), Error> {
    let (point, proof) = (key_of(key)?, signature_of(proof)?);
    judge(proof.verify(false, &payload(namespace, &key.0), DST_POSSESSION, &[], &point, false))
}

/// Checks one aggregate signature by all of `keys` over one message. Every key must have proven its possession.
///
/// # Errors
/// [`Error::NoSigner`], [`Error::BadKey`], [`Error::BadSignature`], [`Error::Mismatch`].
pub fn verify_aggregate(
    keys: &[BlsKey],
    namespace: &[u8],
    message: &[u8],
    signature: &BlsSignature,
) -> Result<(), Error> {
    let points = keys.iter().map(key_of).collect::<Result<Vec<_>, _>>()?;
    let references: Vec<&PublicKey> = points.iter().collect();
    if references.is_empty() {
        return Err(Error::NoSigner);
    }
    let sum = AggregatePublicKey::aggregate(&references, false).map_err(|_| Error::BadKey)?.to_public_key();
    judge(signature_of(signature)?.verify(false, &payload(namespace, message), DST, &[], &sum, false))
}

/// An operator's BLS secret. It is never printed.
#[derive(Clone)]
pub struct BlsSecret(SecretKey);

impl core::fmt::Debug for BlsSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("BlsSecret")
    }
}

impl BlsSecret {
    /// The secret with these 32 big-endian bytes.
    ///
    /// # Errors
    /// [`Error::BadKey`] for zero and for numbers not below the group's order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, Error> {
        SecretKey::from_bytes(bytes).map(Self).map_err(|_| Error::BadKey)
    }

    /// A secret from at least 32 bytes of entropy (RFC draft `KeyGen`).
    ///
    /// # Errors
    /// [`Error::BadKey`] for less entropy.
    pub fn generate(entropy: &[u8]) -> Result<Self, Error> {
        SecretKey::key_gen(entropy, &[]).map(Self).map_err(|_| Error::BadKey)
    }

    /// The 32 secret bytes, for a key file.
    #[must_use]
    pub fn to_secret_bytes(&self) -> [u8; 32] {
        self.0.to_bytes()
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> BlsKey {
        BlsKey(self.0.sk_to_pk().to_bytes())
    }

    /// Signs a message under a namespace.
    #[must_use]
    pub fn sign(&self, namespace: &[u8], message: &[u8]) -> BlsSignature {
        BlsSignature(self.0.sign(&payload(namespace, message), DST, &[]).to_bytes())
    }

    /// Proves possession of this secret.
    #[must_use]
    pub fn prove_possession(&self, namespace: &[u8]) -> BlsSignature {
        BlsSignature(self.0.sign(&payload(namespace, &self.key().0), DST_POSSESSION, &[]).to_bytes())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn secret(n: u8) -> BlsSecret {
        BlsSecret::generate(&[n; 32]).unwrap()
    }

    #[test]
    fn a_proof_of_possession_is_no_signature_and_the_other_way_round() {
        let ana = secret(1);
        let proof = ana.prove_possession(b"net");
        assert_eq!(verify_possession(&ana.key(), b"net", &proof), Ok(()));
        assert_eq!(verify_possession(&secret(2).key(), b"net", &proof), Err(Error::Mismatch));
        assert_eq!(verify_possession(&ana.key(), b"other", &proof), Err(Error::Mismatch));
        let signed = ana.sign(b"net", &ana.key().0);
        assert_eq!(verify_possession(&ana.key(), b"net", &signed), Err(Error::Mismatch));
    }

    #[test]
    fn identity_points_and_noise_do_not_verify() {
        let (ana, message) = (secret(1), b"m");
        let good = ana.sign(b"n", message);
        assert_eq!(verify(&ana.key(), b"n", message, &good), Ok(()));
        let mut infinity_key = [0; 96];
        infinity_key[0] = 0xc0;
        let mut infinity = [0; 48];
        infinity[0] = 0xc0;
        assert_eq!(verify(&BlsKey(infinity_key), b"n", message, &good), Err(Error::BadKey));
        assert_eq!(verify(&ana.key(), b"n", message, &BlsSignature(infinity)), Err(Error::BadSignature));
        assert_eq!(verify(&BlsKey([7; 96]), b"n", message, &good), Err(Error::BadKey));
        assert_eq!(verify(&ana.key(), b"n", message, &BlsSignature([7; 48])), Err(Error::BadSignature));
    }
}
