//! What contracts say of themselves when they are asked: names, balances, allowances. Nothing of it is kept, and all of it
//! is untrusted.

use alloy_primitives::{Address, Bytes, U256};
use alloy_sol_types::{SolCall, sol};
use surety_evm::{Call, Session, StateError};

/// Gas that a view may use.
const VIEW_GAS: u64 = 1_000_000;
/// Longest text that is shown of a contract, in bytes.
const MAX_TEXT: usize = 128;

sol! {
    function name() external view returns (string);
    function symbol() external view returns (string);
    function decimals() external view returns (uint256);
    function balanceOf(address owner) external view returns (uint256);
    function totalSupply() external view returns (uint256);
    function allowance(address owner, address spender) external view returns (uint256);
    function getApproved(uint256 id) external view returns (address);
    function ownerOf(uint256 id) external view returns (address);
    function isApprovedForAll(address owner, address operator) external view returns (bool);
    function supportsInterface(bytes4 id) external view returns (bool);

    interface Permit2 {
        function allowance(address owner, address token, address spender) external view
            returns (uint160 amount, uint48 expiration, uint48 nonce);
    }
}

/// How a token calls itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// `name()`, cleaned.
    pub name: Option<String>,
    /// `symbol()`, cleaned.
    pub symbol: Option<String>,
    /// `decimals()`.
    pub decimals: Option<u8>,
}

/// Asks a token for its name, symbol and decimals.
///
/// # Errors
/// [`StateError`] when the state could not be read.
pub(crate) fn named(session: &mut Session, token: Address) -> Result<Named, StateError> {
    Ok(Named {
        name: text(session, token, nameCall {}.abi_encode())?,
        symbol: text(session, token, symbolCall {}.abi_encode())?,
        decimals: view(session, token, &decimalsCall {})?.and_then(|decimals| u8::try_from(decimals).ok()),
    })
}

/// The result of a view, or nothing when it reverts, returns something else or takes more gas than a view may.
///
/// # Errors
/// [`StateError`] when the state could not be read.
pub(crate) fn view<C: SolCall>(
    session: &mut Session,
    contract: Address,
    call: &C,
) -> Result<Option<C::Return>, StateError> {
    Ok(returned(session, contract, call.abi_encode())?.and_then(|output| C::abi_decode_returns(&output).ok()))
}

fn returned(session: &mut Session, contract: Address, data: Vec<u8>) -> Result<Option<Bytes>, StateError> {
    let outcome = session.peek(&Call::new(Address::ZERO, contract, data).gas(VIEW_GAS))?;
    Ok(outcome.is_success().then_some(outcome.output))
}

/// A text, as a string or, in old tokens, as 32 bytes.
fn text(session: &mut Session, contract: Address, data: Vec<u8>) -> Result<Option<String>, StateError> {
    let Some(output) = returned(session, contract, data)? else { return Ok(None) };
    if let Ok(text) = nameCall::abi_decode_returns(&output) {
        return Ok(Some(clean(&text)));
    }
    let word = output.first_chunk::<32>().filter(|_| output.len() == 32);
    Ok(word.map(|word| clean(String::from_utf8_lossy(word).trim_end_matches('\0'))).filter(|text| !text.is_empty()))
}

/// A contract's text as it may be shown: no control characters, none that turn the direction of writing or that nobody
/// sees, and no more than 128 bytes.
pub(crate) fn clean(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
            || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let mut cleaned = String::new();
    for c in text.chars().filter(|c| !is_hidden(*c)) {
        if cleaned.len() + c.len_utf8() > MAX_TEXT {
            break;
        }
        cleaned.push(c);
    }
    cleaned
}

/// Whether an allowance is one that is never used up: half of all numbers and more, or the largest of a smaller type that
/// tokens and Permit2 keep allowances in.
pub(crate) fn is_unlimited(amount: U256) -> bool {
    let largest = |bits: usize| (U256::from(1) << bits) - U256::from(1);
    amount.bit(255) || [96, 112, 128, 160].into_iter().any(|bits| amount == largest(bits))
}

/// An address as answers write it.
pub(crate) fn lower(address: impl AsRef<[u8]>) -> String {
    const_hex::encode_prefixed(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_contract_is_cut_and_cannot_turn_the_line() {
        assert_eq!(clean("USD\u{202e}C\u{0}\n\u{200b}!"), "USDC!");
        assert_eq!(clean(&"ä".repeat(100)), "ä".repeat(64));
    }

    #[test]
    fn unlimited_is_what_is_never_used_up() {
        let one = U256::from(1);
        assert!(is_unlimited(U256::MAX) && is_unlimited(U256::MAX - one) && is_unlimited((one << 160) - one));
        assert!(!is_unlimited(U256::from(u64::MAX)) && !is_unlimited((one << 160) - one - one) && !is_unlimited(one));
    }
}
