//! The canonical codec: borsh, read to the last byte and under a size limit.

use borsh::{BorshDeserialize, BorshSerialize};

/// Why bytes were not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// More bytes than this object may have.
    #[error("{len} bytes are more than the {limit} that are allowed")]
    TooLarge {
        /// Bytes received.
        len: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Not an encoding of this object, or bytes left over.
    #[error("not a valid encoding: {0}")]
    Malformed(String),
}

/// Most values fit: one allocation instead of one for each doubling.
const USUAL: usize = 256;

/// The one encoding of a value.
#[must_use]
pub fn encode<T: BorshSerialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL);
    encode_into(&mut bytes, value);
    bytes
}

/// Writes the one encoding of a value behind what `bytes` holds.
pub fn encode_into<T: BorshSerialize>(bytes: &mut Vec<u8>, value: &T) {
    // A vector takes every write; only an impossible length could fail here.
    if let Err(error) = value.serialize(bytes) {
        unreachable!("writing to memory failed: {error}");
    }
}

/// Reads a value that fills `bytes` exactly.
///
/// # Errors
/// [`Error::TooLarge`] above `limit` bytes, [`Error::Malformed`] for anything else that `encode` would not have written.
pub fn decode<T: BorshDeserialize>(bytes: &[u8], limit: usize) -> Result<T, Error> {
    if bytes.len() > limit {
        return Err(Error::TooLarge { len: bytes.len(), limit });
    }
    T::try_from_slice(bytes).map_err(|error| Error::Malformed(error.to_string()))
}

/// Writes and reads a byte newtype as 0x-hex: `Display`, `Debug`, `FromStr`, serde.
#[doc(hidden)]
#[macro_export]
macro_rules! hex_bytes {
    ($name:ident, $len:literal) => {
        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(&const_hex::encode_prefixed(self.0))
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl core::str::FromStr for $name {
            type Err = const_hex::FromHexError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                const_hex::decode_to_array::<_, $len>(text).map(Self)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
