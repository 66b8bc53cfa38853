//! What is screened: a transaction, signed or not, or a message that somebody is asked to sign.

use alloy_consensus::Transaction as _;
use alloy_eips::eip7702::SignedAuthorization;
use alloy_primitives::{Address, Bytes};
use serde::Deserialize;
use serde_json::value::RawValue;
use surety_evm::{Call, Session};

use crate::decode::{self, Decoded, Input, Known, Unread};
use crate::envelope::Refusal;
use crate::rules::context;
use crate::simulate::{Tried, Unsigned, Word};

/// Most delegations of one transaction that are judged.
const MAX_DELEGATIONS: usize = 16;

/// What is screened.
#[derive(Clone, Debug)]
pub enum What {
    /// A transaction.
    Call(Box<Sent>),
    /// A message.
    Message(Box<Input>),
}

/// A transaction as a call, with what only rules look at.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What is run.
    pub call: Call,
    /// The fields around it; nothing for one that nobody signed yet.
    pub transaction: Option<context::Transaction>,
}

/// The question.
#[derive(Clone, Debug)]
pub struct Question {
    /// The chain that is guarded.
    pub chain_id: u64,
    /// Who is asked to sign, where that is not the transaction's sender.
    pub signer: Option<Address>,
    /// The host of the site that asks.
    pub site: Option<String>,
    /// What is screened.
    pub what: What,
}

impl Question {
    /// A transaction, in a block with this base fee (in wei).
    ///
    /// # Errors
    /// [`Refusal::Parameter`] for fields that contradict each other, and for more delegations than are judged.
    pub fn of_transaction(tried: &Tried, chain_id: u64, base_fee: u64) -> Result<Self, Refusal> {
        let call = tried.call(base_fee)?;
        if call.authorizations.len() > MAX_DELEGATIONS {
            return Err(Refusal::Parameter(format!("at most {MAX_DELEGATIONS} delegations are judged")));
        }
        let transaction = match tried {
            Tried::Signed(signed) => {
                let envelope = signed.envelope();
                Some(context::Transaction {
                    chain_id: envelope.chain_id(),
                    nonce: envelope.nonce(),
                    account_nonce: None,
                    replaces_held: false,
                    gas_limit: envelope.gas_limit(),
                    max_fee: envelope.max_fee_per_gas(),
                    max_priority_fee: envelope.max_priority_fee_per_gas().unwrap_or_default(),
                    base_fee: (base_fee > 0).then_some(u128::from(base_fee)),
                })
            }
            Tried::Unsigned(_) => None,
        };
        let what = What::Call(Box::new(Sent { call, transaction }));
        Ok(Self { chain_id, signer: None, site: None, what })
    }

    /// Who sends or signs, where that is known.
    pub fn signer(&self) -> Option<Address> {
        match &self.what {
            What::Call(sent) => Some(sent.call.from),
            What::Message(_) => self.signer,
        }
    }

    pub(crate) const fn is_transaction(&self) -> bool {
        matches!(self.what, What::Call(_))
    }

    /// What is decoded.
    pub(crate) fn input(&self) -> Input {
        match &self.what {
            What::Call(sent) => Input::Call(Unread {
                from: Some(sent.call.from),
                to: sent.call.to,
                value: sent.call.value,
                data: sent.call.data.clone(),
                ..Unread::default()
            }),
            What::Message(input) => (**input).clone(),
        }
    }

    /// The delegations that a transaction brings (EIP-7702).
    pub(crate) fn delegations(&self) -> Vec<Decoded> {
        let What::Call(sent) = &self.what else { return Vec::new() };
        let read = |authorization: &SignedAuthorization| {
            let authority = authorization.recover_authority().ok();
            let inner = authorization.inner();
            let input = Input::Delegation {
                account: authority,
                chain_id: inner.chain_id,
                code: inner.address,
                nonce: inner.nonce,
            };
            decode::decode(&Known::default(), input)
        };
        sent.call.authorizations.iter().map(read).collect()
    }

    /// The transaction's own fields, with the account's nonce where state tells it.
    pub(crate) fn transaction(&self, session: Option<&Session>) -> Option<context::Transaction> {
        let What::Call(sent) = &self.what else { return None };
        let account_nonce = session.and_then(|session| session.nonce(sent.call.from).ok());
        sent.transaction.map(|transaction| context::Transaction { account_nonce, ..transaction })
    }
}

/// How a message is signed.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum Signing {
    #[default]
    #[serde(rename = "personal_sign")]
    Personal,
    #[serde(rename = "eth_sign")]
    Eth,
}

/// The body of `screen`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    pub(super) chain_id: Word,
    block: Option<Word>,
    raw_tx: Option<Bytes>,
    tx: Option<Unsigned>,
    typed_data: Option<Box<RawValue>>,
    message: Option<String>,
    #[serde(default)]
    method: Signing,
    signer: Option<Address>,
    site: Option<String>,
    /// How long the caller waits: kept by whoever serves, and without influence on what is said.
    #[serde(rename = "deadline_ms")]
    _deadline_ms: Option<u64>,
}

impl Body {
    pub(super) fn block(&self) -> Result<Option<u64>, Refusal> {
        Ok(self.block.as_ref().map(Word::block).transpose()?.flatten())
    }

    pub(super) fn question(self, chain_id: u64, base_fee: u64) -> Result<Question, Refusal> {
        let (signer, site) = (self.signer, self.site);
        let message = match (self.typed_data, self.message, self.method) {
            (None, None, _) => None,
            (Some(typed), None, _) => Some(Input::TypedData(text_of(&typed)?)),
            (None, Some(text), Signing::Personal) => Some(Input::Personal(decode::message::bytes_of(&text))),
            (None, Some(text), Signing::Eth) => Some(Input::EthSign(decode::message::bytes_of(&text))),
            _ => return Err(Refusal::Parameter("one of typed_data and message".to_owned())),
        };
        match message {
            Some(input) if self.raw_tx.is_none() && self.tx.is_none() => {
                Ok(Question { chain_id, signer, site, what: What::Message(Box::new(input)) })
            }
            Some(_) => Err(Refusal::Parameter("a transaction or a message, not both".to_owned())),
            None => {
                let tried = Tried::read(self.raw_tx.as_ref(), self.tx, chain_id)?;
                Ok(Question { site, ..Question::of_transaction(&tried, chain_id, base_fee)? })
            }
        }
    }
}

/// Typed data comes as an object or, as wallets send it, as a string of one.
fn text_of(typed: &RawValue) -> Result<String, Refusal> {
    let text = typed.get();
    if !text.starts_with('"') {
        return Ok(text.to_owned());
    }
    serde_json::from_str(text).map_err(|error| Refusal::Parameter(format!("typed_data: {error}")))
}
