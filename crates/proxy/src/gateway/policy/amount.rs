//! How a policy writes amounts: `"5"`, `"1.5 ether"`, `"20 gwei"`, `"1000 e6"`.

use alloy_primitives::U256;

/// Longest text of an amount.
const MOST: usize = 100;

/// Reads an amount in the smallest unit of its asset. The unit is `wei` (or nothing), `gwei`, `ether`, or `eN` for an asset of
/// N decimals.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn parse(text: &str) -> Result<U256, String> {
    let wrong =
        || format!("\"{}\" is no amount; write \"5\", \"1.5 ether\", \"20 gwei\" or \"1000 e6\"", text.escape_debug());
    if text.len() > MOST {
        return Err("an amount has at most 100 characters".to_owned());
    }
    let (number, unit) = text.split_once(' ').unwrap_or((text, "wei"));
    let decimals = decimals(unit.trim()).ok_or_else(wrong)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |digits: &str| digits.bytes().all(|digit| digit.is_ascii_digit() || digit == b'_');
    if whole.is_empty() || !is_number(whole) || !is_number(fraction) || number.ends_with('.') {
        return Err(wrong());
    }
    let (whole, fraction) = (whole.replace('_', ""), fraction.replace('_', ""));
    if fraction.len() > decimals {
        return Err(format!("\"{text}\" has more places than its unit has"));
    }
    let digits = format!("{whole}{fraction}{}", "0".repeat(decimals - fraction.len()));
    U256::from_str_radix(&digits, 10).map_err(|_| format!("\"{text}\" is above 2^256 - 1"))
}

fn decimals(unit: &str) -> Option<usize> {
    match unit {
        "wei" => Some(0),
        "gwei" => Some(9),
        "ether" => Some(18),
        _ => unit.strip_prefix('e')?.parse().ok().filter(|decimals| *decimals <= 77),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        assert_eq!(parse("5").unwrap(), U256::from(5));
        assert_eq!(parse("1.5 ether").unwrap(), U256::from(1_500_000_000_000_000_000_u64));
        assert_eq!(parse("1_000 e6").unwrap(), U256::from(1_000_000_000_u64));
        assert_eq!(parse("20 gwei").unwrap(), U256::from(20_000_000_000_u64));
        let most = U256::MAX.to_string();
        assert_eq!(parse(&most).unwrap(), U256::MAX);
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "-1", "1.5", "1e18", "1 eth", "1 e78", ".5 ether", "1. ether", "0x10", "1 ether now", "۵"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&format!("{}0", U256::MAX)).is_err());
        assert!(parse(&"9".repeat(1_000)).is_err());
    }
}
