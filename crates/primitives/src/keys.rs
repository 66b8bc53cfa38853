//! ed25519 keys: call keys of consumers and their delegates, signing keys of providers.
//!
//! Verification follows ZIP-215, so that a single check and a batch always agree; a batch draws its factors from a hash
//! of what it checks, so that it needs no randomness from outside (`market.md`, conventions).
//! Never here: secp256k1 accounts (see `wallet`), BLS keys of operators (see `bls`).

use core::convert::Infallible;
use core::fmt;

use borsh::{BorshDeserialize, BorshSerialize};
use curve25519_dalek::MontgomeryPoint;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use ed25519_zebra::{SigningKey, VerificationKey, VerificationKeyBytes, batch};
use sha2::{Digest, Sha512};
use zeroize::{Zeroize, Zeroizing};

use crate::hash::Hash32;
use crate::typed_data::{Bytes32, TypedField};

/// Domain of the hash that a batch draws its factors from.
const BATCH: &str = "surety/keys/batch/v1";

/// Why a key or a signature was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are not a point of the curve.
    #[error("not an ed25519 public key")]
    BadKey,
    /// A key of small order, under which anyone can sign, or a second spelling of another key.
    #[error("the key has small order or is not in its one canonical form")]
    WeakKey,
    /// The signature does not hold under this key.
    #[error("the signature does not hold under this key")]
    BadSignature,
}

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::BadKey => "bad-key",
            Self::WeakKey => "weak-key",
            Self::BadSignature => "bad-signature",
        }
    }
}

/// An ed25519 signature over a 32-byte digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Signature(pub [u8; 64]);

hex_bytes!(Signature, 64);

/// The bytes of an ed25519 public key, not yet known to be one.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct PublicKey(pub [u8; 32]);

hex_bytes!(PublicKey, 32);

impl PublicKey {
    /// Decompresses the point, so that later checks need not.
    ///
    /// # Errors
    /// [`Error::BadKey`] when the bytes are not a point (ZIP-215: second spellings of a point are points).
    pub fn prepare(&self) -> Result<PreparedKey, Error> {
        VerificationKey::try_from(self.0).map(PreparedKey).map_err(|_| Error::BadKey)
    }

    /// Checks one signature. Whoever checks several under one key prepares it first.
    ///
    /// # Errors
    /// [`Error::BadKey`], [`Error::BadSignature`].
    pub fn verify(&self, digest: &Hash32, signature: &Signature) -> Result<(), Error> {
        self.prepare()?.verify(digest, signature)
    }

    /// Whether this key may be registered by its owner: a point, in its one canonical form, not of small order.
    ///
    /// Signatures alone do not need this (ZIP-215); registries do, where a key must be unique and must bind someone.
    ///
    /// # Errors
    /// [`Error::BadKey`], [`Error::WeakKey`].
    pub fn check_registrable(&self) -> Result<(), Error> {
        self.registrable_point().map(drop)
    }

    fn registrable_point(&self) -> Result<EdwardsPoint, Error> {
        let point = CompressedEdwardsY(self.0).decompress().ok_or(Error::BadKey)?;
        if point.is_small_order() || !self.is_canonical() {
            return Err(Error::WeakKey);
        }
        Ok(point)
    }

    /// Whether y is below 2^255 - 19. The other second spelling, a sign on x = 0, is of small order anyway.
    fn is_canonical(&self) -> bool {
        let [first, middle @ .., last] = &self.0;
        *first < 0xed || middle.iter().any(|byte| *byte != 0xff) || last & 0x7f != 0x7f
    }

    /// The X25519 key of the same holder: the Montgomery form of the point.
    ///
    /// # Errors
    /// [`Error::BadKey`], and [`Error::WeakKey`] as for [`Self::check_registrable`].
    pub fn to_x25519(&self) -> Result<[u8; 32], Error> {
        Ok(self.registrable_point()?.to_montgomery().to_bytes())
    }
}

impl TypedField for PublicKey {
    fn type_name() -> String {
        Bytes32::type_name()
    }

    fn word(&self) -> [u8; 32] {
        self.0
    }

    fn message(&self) -> serde_json::Value {
        self.to_string().into()
    }
}

/// A public key whose point is decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PreparedKey(VerificationKey);

impl PreparedKey {
    /// The key's bytes, as they were given.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.into())
    }

    /// Checks one signature over a digest (ZIP-215).
    ///
    /// # Errors
    /// [`Error::BadSignature`].
    pub fn verify(&self, digest: &Hash32, signature: &Signature) -> Result<(), Error> {
        self.0.verify(&signature.0.into(), &digest.0).map_err(|_| Error::BadSignature)
    }
}

/// One signature of a batch: key, digest, signature.
pub type BatchItem = (PublicKey, Hash32, Signature);

/// Checks many signatures at once: holds exactly when each holds by itself (up to a chance of 2^-128).
///
/// # Errors
/// [`Error::BadSignature`] when any of them does not hold; which one is found by checking them singly.
pub fn verify_batch(items: &[BatchItem]) -> Result<(), Error> {
    let mut verifier = batch::Verifier::new();
    let mut transcript = blake3::Hasher::new_derive_key(BATCH);
    for (key, digest, signature) in items {
        for part in [&key.0[..], &digest.0, &signature.0] {
            transcript.update(part);
        }
        verifier.queue((VerificationKeyBytes::from(key.0), signature.0.into(), &digest.0));
    }
    verifier.verify(Factors(transcript.finalize_xof())).map_err(|_| Error::BadSignature)
}

/// The factors of a batch, drawn from a hash over all of it: nobody can choose a signature after seeing its factor.
struct Factors(blake3::OutputReader);

impl rand_core::TryRng for Factors {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Factors {}

/// An ed25519 secret key. Wiped when dropped; neither printed nor compared.
#[derive(Clone)]
pub struct SecretKey(Box<SigningKey>);

impl SecretKey {
    /// The key of a 32-byte seed (RFC 8032), which the caller draws from the system's randomness.
    #[must_use]
    pub fn from_seed(seed: &Zeroizing<[u8; 32]>) -> Self {
        Self(Box::new(SigningKey::from_bytes(seed)))
    }

    /// The seed, for a keystore.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(*self.0.as_bytes())
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verification_key().into())
    }

    /// Signs a digest.
    #[must_use]
    pub fn sign(&self, digest: &Hash32) -> Signature {
        Signature(self.0.sign(&digest.0).to_bytes())
    }

    /// The X25519 secret of the same holder: its public key is [`PublicKey::to_x25519`] of [`Self::public`].
    #[must_use]
    pub fn to_x25519(&self) -> DhSecret {
        let expanded = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(self.0.as_bytes())));
        let mut scalar = Zeroizing::new([0; 32]);
        scalar.copy_from_slice(&expanded[..32]);
        DhSecret(scalar)
    }
}

impl Drop for SecretKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey(of {})", self.public())
    }
}

/// An X25519 secret. Wiped when dropped; not printed.
#[derive(Clone)]
pub struct DhSecret(Zeroizing<[u8; 32]>);

impl DhSecret {
    /// A secret of 32 bytes, which the caller draws from the system's randomness; clamped when used.
    #[must_use]
    pub const fn from_bytes(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The X25519 public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        MontgomeryPoint::mul_base_clamped(*self.0).to_bytes()
    }

    /// X25519 with the other side's public key.
    ///
    /// # Errors
    /// [`Error::WeakKey`] when the other key has small order: the result would be known to everyone.
    pub fn agree(&self, other: &[u8; 32]) -> Result<SharedSecret, Error> {
        let shared = Zeroizing::new(MontgomeryPoint(*other).mul_clamped(*self.0).to_bytes());
        if bool::from(subtle::ConstantTimeEq::ct_eq(&shared[..], &[0; 32][..])) {
            return Err(Error::WeakKey);
        }
        Ok(SharedSecret(shared))
    }
}

impl fmt::Debug for DhSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DhSecret")
    }
}

/// What both sides of an X25519 exchange know. Wiped when dropped; not printed.
pub struct SharedSecret(Zeroizing<[u8; 32]>);

impl SharedSecret {
    /// The bytes, to derive keys from.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(n: u8) -> SecretKey {
        SecretKey::from_seed(&Zeroizing::new([n; 32]))
    }

    fn signed(n: u8) -> BatchItem {
        let digest = Hash32([n; 32]);
        (key(n).public(), digest, key(n).sign(&digest))
    }

    #[test]
    fn a_signature_is_the_one_of_rfc_8032() {
        // RFC 8032, 7.1, test 1 gives the public key; its message is empty, so only the key is compared here.
        let seed =
            const_hex::decode_to_array("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let secret = SecretKey::from_seed(&Zeroizing::new(seed));
        assert_eq!(secret.public().to_string(), "0xd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(*secret.seed(), seed);
    }

    #[test]
    fn a_signature_holds_only_for_its_key_and_digest() {
        let (public, digest, signature) = signed(1);
        assert_eq!(public.verify(&digest, &signature), Ok(()));
        assert_eq!(key(2).public().verify(&digest, &signature), Err(Error::BadSignature));
        assert_eq!(public.verify(&Hash32([9; 32]), &signature), Err(Error::BadSignature));
        for bit in 0..512 {
            let mut forged = signature;
            forged.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(public.verify(&digest, &forged), Err(Error::BadSignature), "bit {bit}");
        }
    }

    #[test]
    fn a_batch_fails_when_one_signature_does() {
        let mut items: Vec<BatchItem> = (1..=20).map(signed).collect();
        assert_eq!(verify_batch(&items), Ok(()));
        assert_eq!(verify_batch(&[]), Ok(()));
        items[7].1 = Hash32::default();
        assert_eq!(verify_batch(&items), Err(Error::BadSignature));
    }

    #[test]
    fn a_small_order_key_signs_anything_and_can_therefore_not_be_registered() {
        let mut neutral = PublicKey([0; 32]);
        neutral.0[0] = 1;
        // R = neutral, S = 0 holds for every message under a key of small order.
        let mut anything = Signature([0; 64]);
        anything.0[0] = 1;
        assert_eq!(neutral.verify(&Hash32([5; 32]), &anything), Ok(()));
        assert_eq!(verify_batch(&[(neutral, Hash32([5; 32]), anything)]), Ok(()));
        assert_eq!(neutral.check_registrable(), Err(Error::WeakKey));
        assert_eq!(neutral.to_x25519(), Err(Error::WeakKey));
        assert_eq!(key(1).public().check_registrable(), Ok(()));
        assert_eq!(PublicKey([2; 32]).check_registrable().unwrap_err().code(), "bad-key");
    }

    #[test]
    fn a_second_spelling_of_a_point_cannot_be_registered() {
        let mut second = 0;
        for (low, sign) in (0..=0xff).flat_map(|low| [(low, 0x7f), (low, 0xff)]) {
            let mut spelling = PublicKey([0xff; 32]);
            (spelling.0[0], spelling.0[31]) = (low, sign);
            let Some(point) = CompressedEdwardsY(spelling.0).decompress() else { continue };
            let canonical = point.compress().0 == spelling.0;
            assert_eq!(spelling.check_registrable().is_ok(), canonical && !point.is_small_order(), "{spelling}");
            second += usize::from(!canonical);
        }
        assert!(second > 10, "{second}");
    }

    #[test]
    fn both_sides_agree_on_the_secret_of_the_montgomery_form() {
        let provider = key(3);
        let ephemeral = DhSecret::from_bytes(Zeroizing::new([7; 32]));
        let theirs = ephemeral.agree(&provider.public().to_x25519().unwrap()).unwrap();
        let ours = provider.to_x25519().agree(&ephemeral.public()).unwrap();
        assert_eq!(theirs.as_bytes(), ours.as_bytes());
        assert_eq!(provider.to_x25519().public(), provider.public().to_x25519().unwrap());
        assert_eq!(ephemeral.agree(&[0; 32]).unwrap_err(), Error::WeakKey);
    }

    #[test]
    fn secrets_do_not_print() {
        let secret = key(0x5a);
        let text = format!("{secret:?} {:?}", secret.to_x25519());
        assert!(!text.contains("5a5a5a"), "{text}");
    }
}
