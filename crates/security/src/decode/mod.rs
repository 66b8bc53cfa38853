//! What a transaction or a message asks for: calls inside calls, permits, orders, sign-ins.
//!
//! Invariants: nothing here looks at state, lists or the clock, so the same bytes are always read the same way; work and
//! memory are bounded whatever the bytes are; what could not be read is said and never left out in silence.
//! Never here: whether it is dangerous (see [`crate::rules`]), and what it would really do (that is simulated).
//!
//! An ABI is taken from the known contract, else from the built-in table (every method that shares the selector is kept
//! as a candidate), else from the contract's bytecode, and then marked as inferred.

pub mod abi;
pub mod action;
pub mod answer;
pub mod call;
pub mod facts;
pub mod infer;
pub mod json;
pub mod message;
pub mod method;
pub mod role;
pub mod signin;
pub mod table;
pub mod typed;

mod args;
mod nested;
mod order;
mod signatures;

use alloy_primitives::{Address, Bytes, U256};

pub use action::Action;
pub use call::{AbiSource, Call, Known, Note, Reading, Unread};
pub use facts::{DecodedFact, facts};
pub use infer::Inferred;
pub use message::{Message, MessageKind, Odd};
pub use method::{Contract, Method};

/// What is to be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A transaction's call (GoPlus' `common`).
    Call(Unread),
    /// The JSON of `eth_signTypedData_v4`.
    TypedData(String),
    /// The bytes of `personal_sign`.
    Personal(Bytes),
    /// The bytes of `eth_sign`.
    EthSign(Bytes),
    /// An EIP-7702 authorization.
    Delegation {
        /// The account that signs it.
        account: Option<Address>,
        /// The chain that it is for; 0 for all.
        chain_id: U256,
        /// Where the code is.
        code: Address,
        /// The account's nonce.
        nonce: u64,
    },
    /// A user operation, by the entry point that will take it.
    UserOperation {
        /// The entry point.
        entry_point: Address,
        /// The account.
        sender: Address,
        /// Factory and its data; empty for an account that exists.
        init_code: Bytes,
        /// What the account is called with.
        call_data: Bytes,
    },
}

impl Input {
    /// A call of `to` with this data and without coins.
    pub fn call(from: Option<Address>, to: Address, data: impl Into<Bytes>) -> Self {
        Self::Call(Unread { from, to: Some(to), data: data.into(), ..Unread::default() })
    }
}

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A call, with everything inside it.
    Call(Box<Call>),
    /// A message.
    Message(Box<Message>),
}

impl Decoded {
    /// What it asks for, outermost first.
    pub fn actions(&self) -> Vec<Action> {
        match self {
            Self::Call(call) => action::of_call(call),
            Self::Message(message) => message.actions.clone(),
        }
    }

    /// Every call in it, outermost first.
    pub fn calls(&self) -> Vec<&Call> {
        match self {
            Self::Call(call) => call.walk(),
            Self::Message(message) => message.calls.iter().flat_map(Call::walk).collect(),
        }
    }

    /// The message, where it is one.
    pub fn message(&self) -> Option<&Message> {
        match self {
            Self::Call(_) => None,
            Self::Message(message) => Some(message),
        }
    }

    /// Every address that is named in it, for looking them up; in order, none twice.
    pub fn addresses(&self) -> Vec<Address> {
        let mut found = std::collections::BTreeSet::new();
        answer::addresses_of(self, &mut found);
        found.into_iter().collect()
    }
}

/// Reads it.
pub fn decode(known: &Known, input: Input) -> Decoded {
    let message = match input {
        Input::Call(unread) => return Decoded::Call(Box::new(call::decode(known, unread))),
        Input::TypedData(json) => message::typed(known, &json),
        Input::Personal(bytes) => message::personal(&bytes),
        Input::EthSign(bytes) => message::eth_sign(&bytes),
        Input::Delegation { account, chain_id, code, nonce } => message::delegation(account, chain_id, code, nonce),
        Input::UserOperation { entry_point, sender, init_code, call_data } => {
            message::operation(known, entry_point, sender, &init_code, &call_data)
        }
    };
    Decoded::Message(Box::new(message))
}
