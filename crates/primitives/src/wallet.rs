//! Account keys: secp256k1 signatures that carry their signer's address.

use borsh::{BorshDeserialize, BorshSerialize};
use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, SecretKey};

use crate::hash::{Hash32, keccak};
use crate::ids::Address;

/// r, s and v (27 or 28, or 0 or 1), as wallets return them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Signature(pub [u8; 65]);

hex_bytes!(Signature, 65);

/// Why a signature names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not r, s, v of a point on the curve.
    #[error("the signature is malformed")]
    Malformed,
    /// s lies in the upper half: the same signature could be written twice.
    #[error("the signature is not in its low-s form")]
    HighS,
    /// The key is zero or not below the group's order.
    #[error("the secret key is out of range")]
    BadSecret,
}

impl Signature {
    /// The address of whoever signed `digest`.
    ///
    /// # Errors
    /// [`Error::Malformed`], or [`Error::HighS`] so that every signature has one form.
    pub fn recover(&self, digest: &Hash32) -> Result<Address, Error> {
        let v = match self.0[64] {
            v @ (0 | 1) => v,
            v @ (27 | 28) => v - 27,
            _ => return Err(Error::Malformed),
        };
        let id = RecoveryId::try_from(i32::from(v)).map_err(|_| Error::Malformed)?;
        let signature = RecoverableSignature::from_compact(&self.0[..64], id).map_err(|_| Error::Malformed)?;
        let mut normal = signature.to_standard();
        normal.normalize_s();
        if normal != signature.to_standard() {
            return Err(Error::HighS);
        }
        let key = signature.recover_ecdsa(Message::from_digest(digest.0)).map_err(|_| Error::Malformed)?;
        Ok(address_of(&key))
    }
}

fn address_of(key: &secp256k1::PublicKey) -> Address {
    let hash = keccak(&[&key.serialize_uncompressed()[1..]]);
    Address::from_slice(&hash.0[12..])
}

/// An account's secret key. It is never printed.
#[derive(Clone)]
pub struct AccountKey {
    secret: SecretKey,
    address: Address,
}

impl core::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "AccountKey({})", self.address)
    }
}

impl AccountKey {
    /// The key with these 32 secret bytes.
    ///
    /// # Errors
    /// [`Error::BadSecret`] for zero and for numbers not below the group's order.
    pub fn from_bytes(secret: [u8; 32]) -> Result<Self, Error> {
        let secret = SecretKey::from_secret_bytes(secret).map_err(|_| Error::BadSecret)?;
        let address = address_of(&secret.public_key());
        Ok(Self { secret, address })
    }

    /// A key derived from a public label: for tests and the devnet, where anybody may know it.
    #[must_use]
    pub fn from_label(label: &str) -> Self {
        (0_u64..)
            .find_map(|n| {
                let secret = crate::hash::h("surety/test-account/v1", &[label.as_bytes(), &n.to_be_bytes()]);
                Self::from_bytes(secret.0).ok()
            })
            .unwrap_or_else(|| unreachable!("nearly every hash is a valid key"))
    }

    /// The account.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// The 32 secret bytes, for a keystore.
    #[must_use]
    pub fn to_secret_bytes(&self) -> [u8; 32] {
        self.secret.to_secret_bytes()
    }

    /// Signs a digest; deterministic (RFC 6979), low s, v of 27 or 28.
    #[must_use]
    pub fn sign(&self, digest: &Hash32) -> Signature {
        let signature = RecoverableSignature::sign_ecdsa_recoverable(Message::from_digest(digest.0), &self.secret);
        let (id, rs) = signature.serialize_compact();
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&rs);
        bytes[64] = 27 + (u8::from(id) & 1);
        Signature(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_names_its_signer_and_an_altered_one_does_not() {
        let key = AccountKey::from_label("ana");
        let digest = keccak(&[b"pay"]);
        let signature = key.sign(&digest);
        assert_eq!(signature.recover(&digest), Ok(key.address()));
        assert_ne!(signature.recover(&keccak(&[b"pay more"])), Ok(key.address()));
        for i in 0..65 {
            let mut other = signature;
            other.0[i] ^= 0x10;
            assert_ne!(other.recover(&digest), Ok(key.address()), "byte {i}");
        }
    }

    #[test]
    fn the_other_form_of_a_signature_is_refused() {
        const ORDER: [u8; 32] = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba, 0xae,
            0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
        ];
        let digest = keccak(&[b"pay"]);
        let mut signature = AccountKey::from_label("ana").sign(&digest);
        let order = alloy_primitives::U256::from_be_bytes(ORDER);
        let s = alloy_primitives::U256::from_be_slice(&signature.0[32..64]);
        signature.0[32..64].copy_from_slice(&(order - s).to_be_bytes::<32>());
        signature.0[64] = 55 - signature.0[64];
        assert_eq!(signature.recover(&digest), Err(Error::HighS));
    }
}
