//! Hexadecimal as nodes speak it, read strictly: what one reader takes and another does not is refused.

use alloy_primitives::{Address, B256, Bytes, U256, hex};

/// Why a text is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HexError {
    /// Without a lower-case `0x` before it.
    #[error("hex begins with 0x")]
    Prefix,
    /// An odd number of digits, or something else than digits.
    #[error("hex has an even number of digits and nothing else")]
    Digits,
    /// Not as long as it must be.
    #[error("{expected} bytes of hex are expected")]
    Length {
        /// Bytes.
        expected: usize,
    },
    /// A quantity with leading zeros or above 256 bits.
    #[error("a quantity is 0x and 1 to 64 digits without leading zeros")]
    Quantity,
}

/// Bytes: `0x` and pairs of digits.
///
/// # Errors
/// [`HexError`].
pub fn bytes(text: &str) -> Result<Bytes, HexError> {
    bare(text.strip_prefix("0x").ok_or(HexError::Prefix)?)
}

/// Pairs of digits without a prefix.
///
/// # Errors
/// [`HexError::Digits`].
pub fn bare(text: &str) -> Result<Bytes, HexError> {
    // The decoder itself would pass over another prefix.
    if text.bytes().any(|byte| !byte.is_ascii_hexdigit()) {
        return Err(HexError::Digits);
    }
    hex::decode(text).map(Bytes::from).map_err(|_| HexError::Digits)
}

/// An address in any case.
///
/// # Errors
/// [`HexError`].
pub fn address(text: &str) -> Result<Address, HexError> {
    fixed::<20>(text).map(Address::from)
}

/// Thirty-two bytes.
///
/// # Errors
/// [`HexError`].
pub fn word(text: &str) -> Result<B256, HexError> {
    fixed::<32>(text).map(B256::from)
}

/// A quantity.
///
/// # Errors
/// [`HexError`].
pub fn quantity(text: &str) -> Result<U256, HexError> {
    let digits = text.strip_prefix("0x").ok_or(HexError::Prefix)?;
    let is_plain = (1..=64).contains(&digits.len()) && (digits == "0" || !digits.starts_with('0'));
    if !is_plain || digits.bytes().any(|byte| !byte.is_ascii_hexdigit()) {
        return Err(HexError::Quantity);
    }
    U256::from_str_radix(digits, 16).map_err(|_| HexError::Quantity)
}

fn fixed<const N: usize>(text: &str) -> Result<[u8; N], HexError> {
    let wrong = HexError::Length { expected: N };
    if text.len() != 2 + 2 * N {
        return Err(wrong);
    }
    <[u8; N]>::try_from(bytes(text)?.as_ref()).map_err(|_| wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_one_spelling_is_taken() {
        assert_eq!(bytes("0x00fF").unwrap().as_ref(), [0, 255]);
        assert!(bytes("0x").unwrap().is_empty());
        for text in ["0X00", "00", "", "0x0", "0x 00", "0x00 ", " 0x00", "0x0g", "0x0x00", "0x00\n", "0x００"] {
            assert!(bytes(text).is_err(), "{text:?}");
        }
        assert!(bare("0x00").is_err() && bare("00").is_ok());
    }

    #[test]
    fn quantities_have_no_leading_zeros() {
        assert_eq!(quantity("0x0").unwrap(), U256::ZERO);
        assert_eq!(quantity("0xfF").unwrap(), U256::from(255));
        assert!(quantity(&format!("0x{}", "f".repeat(64))).is_ok());
        let long = format!("0x1{}", "0".repeat(64));
        for text in ["0x", "0x00", "0x01", "1", "0x_1", "0x-1", "0x+1", long.as_str()] {
            assert!(quantity(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn addresses_and_words_have_their_length() {
        assert!(address(&format!("0x{}", "Ab".repeat(20))).is_ok());
        assert!(address(&format!("0x{}", "ab".repeat(21))).is_err());
        assert!(word(&format!("0x{}", "ab".repeat(32))).is_ok());
        assert!(word(&format!("0X{}", "ab".repeat(32))).is_err());
    }
}
