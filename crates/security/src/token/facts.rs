//! What a token says of itself. All of it is untrusted text and numbers.

use alloy_primitives::{Address, Bytes, U256};
use surety_evm::{Session, StateError};

use super::abi::{self, encode};
use super::lab::{ask, peek};

/// Bytes kept of a text.
const TEXT: usize = 128;

/// What the token says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Its name, cleaned.
    pub(crate) name: Option<String>,
    /// Its symbol, cleaned.
    pub(crate) symbol: Option<String>,
    /// Digits after the point.
    pub(crate) decimals: Option<u8>,
    /// In base units.
    pub(crate) total_supply: Option<U256>,
    /// Whom `owner()` or `getOwner()` names, or the slot scan found; zero when ownership was given up.
    pub(crate) owner: Option<Address>,
    /// The owner's balance, in base units.
    pub(crate) owner_balance: Option<U256>,
}

/// Asks the token.
pub(crate) fn facts(session: &mut Session, token: Address) -> Result<Facts, StateError> {
    let mut text = |call: Bytes| -> Result<Option<String>, StateError> {
        let outcome = peek(session, Address::ZERO, token, call)?;
        Ok(outcome.is_success().then(|| clean(&outcome.output)).flatten())
    };
    let (name, symbol) = (text(encode(&abi::nameCall {}))?, text(encode(&abi::symbolCall {}))?);
    let decimals = ask(session, token, encode(&abi::decimalsCall {}))?.and_then(|word| word.try_into().ok());
    let total_supply = ask(session, token, encode(&abi::totalSupplyCall {}))?;
    let owner = owner(session, token)?;
    let owner_balance = match owner {
        Some(owner) => ask(session, token, encode(&abi::balanceOfCall(owner)))?,
        None => None,
    };
    Ok(Facts { name, symbol, decimals, total_supply, owner, owner_balance })
}

/// Whom the token names as its owner.
pub(crate) fn owner(session: &mut Session, token: Address) -> Result<Option<Address>, StateError> {
    for call in [encode(&abi::ownerCall {}), encode(&abi::getOwnerCall {})] {
        let word = ask(session, token, call)?;
        if word.is_some_and(|word| word.is_zero()) {
            return Ok(Some(Address::ZERO));
        }
        // Some give it up to the address 0xdead.
        if let Some(owner) = word.filter(|word| word.bit_len() <= 160) {
            return Ok(Some(Address::from_word(owner.into())));
        }
    }
    Ok(None)
}

/// A text that a contract answers: an ABI string, or 32 bytes as the oldest tokens have it. Controls and marks that turn
/// the direction of reading are taken out.
fn clean(output: &[u8]) -> Option<String> {
    let raw = match output {
        [first, ..] if output.len() == 32 && *first != 0 => output,
        _ => {
            let offset = usize::try_from(U256::from_be_slice(output.get(..32)?)).ok()?;
            let length = usize::try_from(U256::from_be_slice(output.get(offset..offset.checked_add(32)?)?)).ok()?;
            let rest = output.get(offset.checked_add(32)?..)?;
            &rest[..length.min(rest.len())]
        }
    };
    let mut text = String::new();
    for character in String::from_utf8_lossy(&raw[..raw.len().min(4 * TEXT)]).chars() {
        let turns = matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if character.is_control() || turns || text.len() + character.len_utf8() > TEXT {
            continue;
        }
        text.push(character);
    }
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_short_and_plain() {
        let mut bytes32 = [0; 32];
        bytes32[..3].copy_from_slice(b"MKR");
        assert_eq!(clean(&bytes32).as_deref(), Some("MKR"));
        let word = |n: u64| U256::from(n).to_be_bytes::<32>();
        let nasty = "US\u{202e}D\u{0}C";
        let output = [&word(32)[..], &word(nasty.len() as u64), nasty.as_bytes()].concat();
        assert_eq!(clean(&output).as_deref(), Some("USDC"));
        let long = [&word(32)[..], &word(1 << 60), &[b'x'; 4000]].concat();
        assert_eq!(clean(&long).map(|text| text.len()), Some(TEXT));
        assert_eq!(clean(&[0xff; 64]), None);
        assert_eq!(clean(&[]), None);
    }

    proptest::proptest! {
        #[test]
        fn any_answer_is_read_or_not(bytes: Vec<u8>) {
            let text = clean(&bytes);
            proptest::prop_assert!(text.is_none_or(|text| text.len() <= TEXT));
        }
    }
}
