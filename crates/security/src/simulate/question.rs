//! What a simulation is asked about: a signed transaction, or the fields of one that nobody signed yet.

use std::fmt;

use alloy_primitives::{Address, B256, Bytes, U256};
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};
use surety_evm::{Call, Transaction};

use crate::envelope::Refusal;
use crate::state::{block_of, chain_of};

/// A number as JSON-RPC, GoPlus and people write it: 0x-hex, a decimal string, or a JSON integer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quantity(pub U256);

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadQuantity).map(Self)
    }
}

struct ReadQuantity;

impl Visitor<'_> for ReadQuantity {
    type Value = U256;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a string of one in decimal or 0x-hex")
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<U256, E> {
        Ok(U256::from(value))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<U256, E> {
        let read = match text.strip_prefix("0x") {
            Some(digits) if (1..=64).contains(&digits.len()) && is_all(digits, u8::is_ascii_hexdigit) => {
                U256::from_str_radix(digits, 16).ok()
            }
            None if (1..=78).contains(&text.len()) && is_all(text, u8::is_ascii_digit) => {
                U256::from_str_radix(text, 10).ok()
            }
            _ => None,
        };
        read.ok_or_else(|| E::custom(format_args!("no number: {}", text.escape_debug().take(80).collect::<String>())))
    }
}

fn is_all(text: &str, is: impl Fn(&u8) -> bool) -> bool {
    text.bytes().all(|byte| is(&byte))
}

/// A transaction that nobody signed yet, in the words of `eth_sendTransaction`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Unsigned {
    /// Who sends.
    pub from: Address,
    /// Who receives; a contract is created when nobody does.
    #[serde(default)]
    pub to: Option<Address>,
    /// Native value, in wei.
    #[serde(default)]
    pub value: Quantity,
    /// Calldata or init code.
    #[serde(default)]
    pub data: Option<Bytes>,
    /// The same under its newer name.
    #[serde(default)]
    pub input: Option<Bytes>,
    /// Gas limit.
    #[serde(default, alias = "gasLimit")]
    pub gas: Option<Quantity>,
    /// Price of gas, in wei.
    #[serde(default)]
    pub gas_price: Option<Quantity>,
    /// Most that is paid for gas, in wei.
    #[serde(default)]
    pub max_fee_per_gas: Option<Quantity>,
    /// Tip, in wei a gas.
    #[serde(default)]
    pub max_priority_fee_per_gas: Option<Quantity>,
    /// Nonce; a simulation does not need it.
    #[serde(default)]
    pub nonce: Option<Quantity>,
    /// Chain id: must be the question's.
    #[serde(default)]
    pub chain_id: Option<Quantity>,
    /// EIP-2718 type; it follows from the other fields.
    #[serde(default, rename = "type")]
    pub kind: Option<Quantity>,
    /// EIP-2930.
    #[serde(default)]
    pub access_list: Option<alloy_eips::eip2930::AccessList>,
    /// EIP-7702.
    #[serde(default)]
    pub authorization_list: Option<Vec<alloy_eips::eip7702::SignedAuthorization>>,
    /// EIP-4844.
    #[serde(default)]
    pub blob_versioned_hashes: Option<Vec<B256>>,
}

impl Unsigned {
    /// The same as a call to try out, with the gas price that it pays at a base fee (in wei).
    ///
    /// # Errors
    /// [`Refusal::Parameter`] for fields that contradict each other or are out of range.
    pub fn call(&self, base_fee: u64) -> Result<Call, Refusal> {
        if self.data.is_some() && self.input.is_some() && self.data != self.input {
            return Err(refused("data and input differ"));
        }
        let gas = self.gas.map(|gas| small(gas, "gas")).transpose()?;
        Ok(Call {
            from: self.from,
            to: self.to,
            value: self.value.0,
            data: self.input.clone().or_else(|| self.data.clone()).unwrap_or_default(),
            gas,
            gas_price: self.gas_price(base_fee)?,
            access_list: self.access_list.clone().unwrap_or_default(),
            authorizations: self.authorization_list.clone().unwrap_or_default(),
            blob_hashes: self.blob_versioned_hashes.clone().unwrap_or_default(),
        })
    }

    fn gas_price(&self, base_fee: u64) -> Result<Option<u128>, Refusal> {
        if let Some(price) = self.gas_price {
            return Ok(Some(wide(price, "gasPrice")?));
        }
        let Some(most) = self.max_fee_per_gas else { return Ok(None) };
        let tip = self.max_priority_fee_per_gas.map(|tip| wide(tip, "maxPriorityFeePerGas")).transpose()?;
        Ok(Some(wide(most, "maxFeePerGas")?.min(u128::from(base_fee).saturating_add(tip.unwrap_or_default()))))
    }
}

fn small(number: Quantity, field: &str) -> Result<u64, Refusal> {
    u64::try_from(number.0).map_err(|_| refused(&format!("{field} is out of range")))
}

fn wide(number: Quantity, field: &str) -> Result<u128, Refusal> {
    u128::try_from(number.0).map_err(|_| refused(&format!("{field} is out of range")))
}

pub(crate) fn refused(reason: &str) -> Refusal {
    Refusal::Parameter(format!("tx: {reason}"))
}

/// What is tried out.
#[derive(Clone, Debug)]
pub enum Tried {
    /// A signed transaction.
    Signed(Box<Transaction>),
    /// The fields of one.
    Unsigned(Box<Unsigned>),
}

impl Tried {
    /// Reads whichever of the two is given.
    ///
    /// # Errors
    /// [`Refusal::Parameter`] for none, both, or one that makes no sense; [`Refusal::Chain`] for one of another chain.
    pub fn read(raw: Option<&Bytes>, tx: Option<Unsigned>, chain_id: u64) -> Result<Self, Refusal> {
        let (tried, of) = match (raw, tx) {
            (Some(raw), None) => {
                let signed =
                    Transaction::decode(raw).map_err(|error| Refusal::Parameter(format!("raw_tx: {error}")))?;
                let of = alloy_consensus::Transaction::chain_id(signed.envelope());
                (Self::Signed(Box::new(signed)), of)
            }
            (None, Some(tx)) => {
                let of = tx.chain_id.map(|id| small(id, "chainId")).transpose()?;
                // Refused here, where a question is read, and not where the price of gas is known.
                tx.call(0)?;
                (Self::Unsigned(Box::new(tx)), of)
            }
            _ => return Err(Refusal::Parameter("one of raw_tx and tx".to_owned())),
        };
        if of.is_some_and(|of| of != chain_id) {
            return Err(Refusal::Chain);
        }
        Ok(tried)
    }

    /// As a call, in a block with this base fee (in wei).
    ///
    /// # Errors
    /// [`Refusal::Parameter`] for fields that contradict each other or are out of range.
    pub fn call(&self, base_fee: u64) -> Result<Call, Refusal> {
        match self {
            Self::Signed(signed) => Ok(signed.call(base_fee)),
            Self::Unsigned(unsigned) => unsigned.call(base_fee),
        }
    }
}

/// A chain id or a block as bodies write it: a string or a number.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Word {
    /// As a number.
    Number(u64),
    /// As text.
    Text(String),
}

impl Word {
    /// As a chain id, in decimal or 0x-hex.
    ///
    /// # Errors
    /// [`Refusal::Chain`].
    pub fn chain(&self) -> Result<u64, Refusal> {
        match self {
            Self::Number(number) => Ok(*number),
            Self::Text(text) => match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16).map_err(|_| Refusal::Chain),
                None => chain_of(text),
            },
        }
    }

    /// As a block.
    ///
    /// # Errors
    /// [`Refusal::Parameter`].
    pub fn block(&self) -> Result<Option<u64>, Refusal> {
        match self {
            Self::Number(number) => Ok(Some(*number)),
            Self::Text(text) => block_of(Some(text)),
        }
    }
}

/// The body of `tx_simulate`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    pub(crate) chain_id: Word,
    pub(crate) block: Option<Word>,
    pub(crate) raw_tx: Option<Bytes>,
    pub(crate) tx: Option<Unsigned>,
}
