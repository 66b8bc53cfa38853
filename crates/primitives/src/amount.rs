//! Amounts of CALL, in base units of 10^-18.

use core::fmt;
use core::str::FromStr;

use alloy_primitives::U256;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::typed_data::{TypedField, uint_word};

/// Base units in one CALL: 10^18.
const UNIT: u128 = 1_000_000_000_000_000_000;

/// An amount of CALL in base units (18 decimals). The supply stays below 2^92, so that products with Q32.32 fit `u128`
/// (`market.md`, conventions).
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct Amount(pub u128);

/// One whole CALL.
pub const CALL: Amount = Amount(UNIT);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The least amount that never exists: 2^92 base units.
    pub const SUPPLY_LIMIT: Self = Self(1 << 92);

    /// `whole` CALL.
    #[must_use]
    pub const fn call(whole: u64) -> Self {
        Self(whole as u128 * UNIT)
    }

    /// `milli` thousandths of a CALL.
    #[must_use]
    pub const fn milli(milli: u64) -> Self {
        Self(milli as u128 * (UNIT / 1_000))
    }

    /// Whether this is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, or nothing where it does not fit.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }

    /// The difference, or nothing where it would be negative.
    #[must_use]
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Some(Self(rest)),
            None => None,
        }
    }

    /// The difference, at least zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// The sum, at most what can be written.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// floor(self x numerator / denominator); nothing where the denominator is 0 or the result does not fit.
    #[must_use]
    pub fn mul_div_down(self, numerator: u128, denominator: u128) -> Option<Self> {
        if let Some(product) = self.0.checked_mul(numerator) {
            return product.checked_div(denominator).map(Self);
        }
        let product = U256::from(self.0).checked_mul(U256::from(numerator))?;
        let quotient = product.checked_div(U256::from(denominator))?;
        u128::try_from(quotient).ok().map(Self)
    }

    /// ceil(self x rate / 2^32) for a rate in Q32.32, at most what can be written: what burdens is rounded up.
    #[must_use]
    pub fn rate_up(self, rate: u64) -> Self {
        let product = U256::from(self.0).saturating_mul(U256::from(rate));
        let quotient = product.div_ceil(U256::from(1_u64 << 32));
        Self(u128::try_from(quotient).unwrap_or(u128::MAX))
    }

    /// floor(self x bps / 10,000): a part in basis points, never more than the whole for `bps` up to 10,000.
    #[must_use]
    pub fn bps_down(self, bps: u16) -> Self {
        self.mul_div_down(u128::from(bps), 10_000).unwrap_or(self)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / UNIT, self.0 % UNIT);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{part:018}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} CALL")
    }
}

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an amount of CALL: expected digits, and at most 18 after the point")]
pub struct ParseAmountError(String);

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| ParseAmountError(text.chars().take(64).collect()))
    }
}

fn parse(text: &str) -> Option<Amount> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || part.len() > 18 || !digits(whole) || !digits(part) {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let part: u128 = format!("{part:0<18}").parse().ok()?;
    whole.checked_mul(UNIT)?.checked_add(part).map(Amount)
}

// JSON carries base units as a decimal string: a number would lose digits above 2^53.
impl serde::Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Amount {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

impl TypedField for Amount {
    fn type_name() -> String {
        "uint128".to_owned()
    }

    fn word(&self) -> [u8; 32] {
        uint_word(U256::from(self.0))
    }

    fn message(&self) -> serde_json::Value {
        self.0.to_string().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_print_and_parse_without_losing_a_unit() {
        for (text, units) in [("0", 0), ("1", UNIT), ("12.5", 12 * UNIT + UNIT / 2), ("0.000000000000000001", 1)] {
            let amount: Amount = text.parse().expect("valid");
            assert_eq!((amount.0, amount.to_string().as_str()), (units, text));
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", ".", ".5", "-1", "+1", "1e3", "1.0000000000000000001", "999999999999999999999999", "1 "] {
            assert!(text.parse::<Amount>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_rounded_up() {
        assert_eq!(Amount(3).rate_up(1 << 31), Amount(2));
        assert_eq!(Amount(4).rate_up(1 << 31), Amount(2));
        assert_eq!(Amount(u128::MAX).rate_up(1 << 32), Amount(u128::MAX));
        assert_eq!(Amount(u128::MAX).rate_up(1 << 33), Amount(u128::MAX));
    }

    #[test]
    fn mul_div_down_is_exact_beyond_128_bits() {
        let big = Amount(u128::MAX / 3);
        assert_eq!(big.mul_div_down(u128::MAX, u128::MAX), Some(big));
        assert_eq!(Amount(7).mul_div_down(1, 2), Some(Amount(3)));
        assert_eq!(Amount(7).mul_div_down(1, 0), None);
        assert_eq!(Amount(u128::MAX).mul_div_down(2, 1), None);
    }
}
