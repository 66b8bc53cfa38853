//! The file format: scrypt or PBKDF2 from a password, AES-128-CTR over the key, keccak over both.
//!
//! The kept crate for this format writes files that others may read, panics on short keys and takes any cost that a file
//! names; the four primitives underneath are what is used here.

use aes::Aes128;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit as _, StreamCipher as _};
use serde::{Deserialize, Serialize};
use surety_primitives::Address;
use surety_primitives::hash::keccak;
use surety_primitives::wallet::AccountKey;
use zeroize::Zeroizing;

use super::{Error, random};

/// Most memory that opening a file may take: 128 x n x r bytes.
const MAX_MEMORY: u64 = 512 * 1_024 * 1_024;
/// Most passes of scrypt beside each other.
const MAX_PARALLEL: u32 = 16;
/// Most rounds of PBKDF2.
const MAX_ROUNDS: u32 = 10_000_000;

/// How hard a password is to guess: the base-2 logarithm of scrypt's n, with r = 8 and p = 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost(u8);

impl Cost {
    /// 128 MiB and a good part of a second for each guess: as other wallets.
    pub const STANDARD: Self = Self(17);
    /// 4 MiB: for test networks, where a key is worth nothing.
    pub const LIGHT: Self = Self(12);
}

impl Default for Cost {
    fn default() -> Self {
        Self::STANDARD
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(alias = "Crypto")]
    crypto: Crypto,
}

#[derive(Serialize, Deserialize)]
struct Crypto {
    cipher: String,
    cipherparams: CipherParams,
    ciphertext: String,
    #[serde(flatten)]
    kdf: Kdf,
    mac: String,
}

#[derive(Serialize, Deserialize)]
struct CipherParams {
    iv: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kdf", content = "kdfparams", rename_all = "lowercase")]
enum Kdf {
    Scrypt { dklen: u32, n: u64, r: u32, p: u32, salt: String },
    Pbkdf2 { dklen: u32, c: u32, prf: String, salt: String },
}

/// The file's text for a key.
///
/// # Errors
/// [`Error::NoRandomness`].
pub fn encrypt(key: &AccountKey, password: &str, cost: Cost) -> Result<String, Error> {
    let (salt, iv, mut id) = (random::<32>()?, random::<16>()?, random::<16>()?);
    let kdf = Kdf::Scrypt { dklen: 32, n: 1 << cost.0, r: 8, p: 1, salt: const_hex::encode(salt.as_slice()) };
    let derived = derive(&kdf, password)?;
    let mut secret = Zeroizing::new(key.to_secret_bytes());
    cipher(&derived, &iv).apply_keystream(secret.as_mut_slice());
    let document = Document {
        version: 3,
        id: uuid(&mut id),
        address: Some(const_hex::encode(key.address())),
        crypto: Crypto {
            cipher: "aes-128-ctr".to_owned(),
            cipherparams: CipherParams { iv: const_hex::encode(iv.as_slice()) },
            ciphertext: const_hex::encode(secret.as_slice()),
            mac: const_hex::encode(keccak(&[&derived[16..], secret.as_slice()]).0),
            kdf,
        },
    };
    serde_json::to_string(&document).map_err(|error| Error::Malformed(error.to_string()))
}

/// The key in a file's text.
///
/// # Errors
/// [`Error::Malformed`], [`Error::TooCostly`], [`Error::WrongPassword`]; [`Error::OtherAccount`] when the text names
/// another account than its key has.
pub fn decrypt(text: &str, password: &str) -> Result<AccountKey, Error> {
    let malformed = |what: &str| Error::Malformed(what.to_owned());
    let document: Document = serde_json::from_str(text).map_err(|error| Error::Malformed(error.to_string()))?;
    let crypto = &document.crypto;
    if document.version != 3 || crypto.cipher != "aes-128-ctr" {
        return Err(malformed("only version 3 with aes-128-ctr is read"));
    }
    let iv = const_hex::decode_to_array::<_, 16>(&crypto.cipherparams.iv).map_err(|_| malformed("iv"))?;
    let secret = const_hex::decode_to_array::<_, 32>(&crypto.ciphertext).map_err(|_| malformed("ciphertext"))?;
    let mut secret = Zeroizing::new(secret);
    let mac = const_hex::decode_to_array::<_, 32>(&crypto.mac).map_err(|_| malformed("mac"))?;

    let derived = derive(&crypto.kdf, password)?;
    if keccak(&[&derived[16..], secret.as_slice()]).0 != mac {
        return Err(Error::WrongPassword);
    }
    cipher(&derived, &iv).apply_keystream(secret.as_mut_slice());
    let key = AccountKey::from_bytes(*secret).map_err(|_| malformed("the key is out of range"))?;
    match document.address.as_deref().map(str::parse::<Address>) {
        Some(Ok(named)) if named != key.address() => Err(Error::OtherAccount { named, held: key.address() }),
        Some(Err(_)) => Err(malformed("address")),
        _ => Ok(key),
    }
}

/// The 32 bytes that password and salt come to: 16 for the cipher, 16 for the check.
fn derive(kdf: &Kdf, password: &str) -> Result<Zeroizing<[u8; 32]>, Error> {
    let mut derived = Zeroizing::new([0; 32]);
    let salt = |text: &str| const_hex::decode(text).map_err(|_| Error::Malformed("salt".to_owned()));
    match kdf {
        Kdf::Scrypt { dklen: 32, n, r, p, salt: text } => {
            let params = scrypt_params(*n, *r, *p)?;
            scrypt::scrypt(password.as_bytes(), &salt(text)?, &params, derived.as_mut_slice())
                .map_err(|error| Error::Malformed(error.to_string()))?;
        }
        Kdf::Pbkdf2 { dklen: 32, c, prf, salt: text } if prf == "hmac-sha256" => {
            if *c == 0 || *c > MAX_ROUNDS {
                return Err(Error::TooCostly("PBKDF2 rounds"));
            }
            pbkdf2::pbkdf2_hmac::<sha2::Sha256>(password.as_bytes(), &salt(text)?, *c, derived.as_mut_slice());
        }
        _ => return Err(Error::Malformed("only derived keys of 32 bytes and hmac-sha256 are read".to_owned())),
    }
    Ok(derived)
}

fn scrypt_params(n: u64, r: u32, p: u32) -> Result<scrypt::Params, Error> {
    if !n.is_power_of_two() || n < 2 || r == 0 || p == 0 {
        return Err(Error::Malformed("scrypt's parameters".to_owned()));
    }
    if p > MAX_PARALLEL || n.saturating_mul(u64::from(r)).saturating_mul(128) > MAX_MEMORY {
        return Err(Error::TooCostly("scrypt's memory"));
    }
    let log_n = u8::try_from(n.trailing_zeros()).unwrap_or(u8::MAX);
    scrypt::Params::new(log_n, r, p).map_err(|error| Error::Malformed(error.to_string()))
}

fn cipher(derived: &[u8; 32], iv: &[u8; 16]) -> Ctr128BE<Aes128> {
    let mut key = Zeroizing::new([0; 16]);
    key.copy_from_slice(&derived[..16]);
    Ctr128BE::<Aes128>::new((&*key).into(), iv.into())
}

/// A random UUID (version 4).
fn uuid(bytes: &mut [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = const_hex::encode(bytes);
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The test vectors of the format's definition (Web3 Secret Storage Definition, "Test Vectors").
    const SECRET: &str = "0x7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d";
    const PBKDF2: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext":"5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46","kdf":"pbkdf2","kdfparams":
        {"c":262144,"dklen":32,"prf":"hmac-sha256","salt":"ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd"},
        "mac":"517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2"},
        "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;
    const SCRYPT: &str = r#"{"crypto":{"cipher":"aes-128-ctr","cipherparams":{"iv":"83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext":"d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c","kdf":"scrypt","kdfparams":
        {"dklen":32,"n":262144,"p":8,"r":1,"salt":"ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19"},
        "mac":"2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097"},
        "id":"3198bc9c-6672-5ab3-d995-4942343ae5b6","version":3}"#;

    #[test]
    fn the_formats_own_vectors_open() {
        for text in [PBKDF2, SCRYPT] {
            let key = decrypt(text, "testpassword").unwrap();
            assert_eq!(const_hex::encode_prefixed(key.to_secret_bytes()), SECRET);
            assert!(matches!(decrypt(text, "testpassworx"), Err(Error::WrongPassword)));
        }
    }

    #[test]
    fn no_file_makes_this_machine_work_without_end() {
        for (from, to) in [("262144", "2147483648"), ("\"p\":8", "\"p\":4096"), ("\"r\":1", "\"r\":4000000")] {
            assert!(matches!(decrypt(&SCRYPT.replace(from, to), "x"), Err(Error::TooCostly(_))), "{to}");
        }
        assert!(matches!(decrypt(&PBKDF2.replace("262144", "4294967295"), "x"), Err(Error::TooCostly(_))));
    }

    #[test]
    fn malformed_files_are_refused_by_name() {
        let key = AccountKey::from_label("ana");
        let good = encrypt(&key, "p", Cost::LIGHT).unwrap();
        decrypt(&good, "p").unwrap();
        let broken = [
            String::new(),
            "{}".to_owned(),
            good.replace("\"version\":3", "\"version\":1"),
            good.replace("aes-128-ctr", "aes-128-cbc"),
            good.replace("\"dklen\":32", "\"dklen\":8"),
            good.replace("\"n\":4096", "\"n\":4095"),
            good.replace("\"n\":4096", "\"n\":0"),
            good.replace("\"r\":8", "\"r\":0"),
            good.replace("\"iv\":\"", "\"iv\":\"00"),
            good.replace("\"mac\":\"", "\"mac\":\"zz"),
        ];
        for text in broken {
            assert!(matches!(decrypt(&text, "p"), Err(Error::Malformed(_))), "{text}");
        }
        let address = const_hex::encode(key.address());
        let other = const_hex::encode(AccountKey::from_label("ben").address());
        assert!(matches!(decrypt(&good.replace(&address, &other), "p"), Err(Error::OtherAccount { .. })));
    }
}
