//! The whole protocol on one screen: every action with its number.

use std::sync::OnceLock;

use borsh::io;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::typed_data::{self, Member, TypedField, TypedStruct, Types};
use surety_primitives::{Address, Amount, Hash32};

use crate::context::Context;
use crate::error::Result;
use crate::modules::params::Params;
use crate::modules::{bank, market, operators};
use crate::state::Key;
use crate::transaction;

/// Something an account asks of the ledger.
pub trait Action: TypedStruct {
    /// What can be said without any state; also run by wallets and the mempool.
    ///
    /// # Errors
    /// The module's rejection.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Does it, or fails and leaves no trace.
    ///
    /// # Errors
    /// The module's rejection.
    fn execute(&self, ctx: &mut Context<'_>) -> Result<()>;

    /// The least transaction fee.
    fn fee(&self, params: &Params) -> Amount {
        params.fee_other
    }

    /// Rows that it will surely read, to be fetched ahead. A hint: what is not named is fetched when needed.
    fn reads(&self, _signer: Address, _keys: &mut Vec<Key>) {}
}

macro_rules! actions {
    ($($tag:literal => $module:ident::$name:ident,)*) => {
        /// Any action of the table.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(tag = "action", content = "fields")]
        pub enum AnyAction {
            $(#[doc = concat!("See [`", stringify!($module), "::", stringify!($name), "`].")] $name($module::$name),)*
        }

        /// Every action's number and name.
        pub const ACTIONS: &[(u8, &str)] = &[$(($tag, stringify!($name))),*];

        $(impl From<$module::$name> for AnyAction {
            fn from(action: $module::$name) -> Self {
                Self::$name(action)
            }
        })*

        impl AnyAction {
            /// The number on the wire.
            #[must_use]
            pub const fn tag(&self) -> u8 {
                match self { $(Self::$name(_) => $tag,)* }
            }

            /// The name that wallets show.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }

            fn action(&self) -> &dyn DynAction {
                match self { $(Self::$name(action) => action,)* }
            }

            fn type_hash(&self) -> &'static Hash32 {
                match self { $(Self::$name(_) => {
                    static TYPE_HASH: OnceLock<Hash32> = OnceLock::new();
                    TYPE_HASH.get_or_init(|| {
                        let (members, types) = self.action().types();
                        typed_data_hash(stringify!($name), members, &types)
                    })
                })* }
            }

            fn decode(tag: u8, reader: &mut dyn io::Read) -> io::Result<Self> {
                // borsh wants a sized reader; one level of reference is sized.
                let mut reader = reader;
                match tag {
                    $($tag => $module::$name::deserialize_reader(&mut reader).map(Self::$name),)*
                    _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("unknown action tag {tag}"))),
                }
            }

            fn encode(&self, writer: &mut dyn io::Write) -> io::Result<()> {
                let mut writer = writer;
                match self { $(Self::$name(action) => BorshSerialize::serialize(action, &mut writer),)* }
            }
        }
    };
}

// Numbers are the wire tag. Append only; a retired number is never used again.
actions! {
    10 => bank::Transfer,
    11 => bank::Burn,
    20 => operators::RegisterOperator,
    21 => operators::UpdateOperator,
    60 => market::RegisterProvider,
    61 => market::UpdateProvider,
    62 => market::StakeProvider,
    63 => market::UnstakeProvider,
    64 => market::WithdrawStake,
    65 => market::RegisterService,
    66 => market::UpdateService,
    67 => market::PauseService,
    68 => market::PauseProvider,
    69 => market::PublishDataset,
    70 => market::RetireDataset,
    71 => market::Purchase,
    72 => market::RotateCallKey,
    73 => market::RevokeKey,
    74 => market::Claim,
    75 => market::Release,
    76 => market::ShowAnswers,
    77 => market::ContestShown,
    78 => market::Settle,
    79 => market::ReportFault,
    80 => market::Collect,
    81 => market::Sweep,
}

/// What the table needs of an action, without its concrete type.
trait DynAction {
    fn check(&self) -> Result<()>;
    fn execute(&self, ctx: &mut Context<'_>) -> Result<()>;
    fn fee(&self, params: &Params) -> Amount;
    fn reads(&self, signer: Address, keys: &mut Vec<Key>);
    fn data(&self, out: &mut Vec<u8>);
    fn types(&self) -> (Vec<Member>, Types);
    fn message(&self) -> serde_json::Value;
}

impl<A: Action> DynAction for A {
    fn check(&self) -> Result<()> {
        Action::check(self)
    }

    fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        Action::execute(self, ctx)
    }

    fn fee(&self, params: &Params) -> Amount {
        Action::fee(self, params)
    }

    fn reads(&self, signer: Address, keys: &mut Vec<Key>) {
        Action::reads(self, signer, keys);
    }

    fn data(&self, out: &mut Vec<u8>) {
        self.encode_data(out);
    }

    fn types(&self) -> (Vec<Member>, Types) {
        let mut types = Types::new();
        A::collect(&mut types);
        types.remove(A::NAME);
        let mut members = A::members();
        members.extend(transaction::members());
        (members, types)
    }

    fn message(&self) -> serde_json::Value {
        TypedField::message(self)
    }
}

fn typed_data_hash(name: &str, members: Vec<Member>, types: &Types) -> Hash32 {
    surety_primitives::hash::keccak(&[typed_data::encode_type(name, &members, types).as_bytes()])
}

impl AnyAction {
    /// See [`Action::check`].
    ///
    /// # Errors
    /// The module's rejection.
    pub fn check(&self) -> Result<()> {
        self.action().check()
    }

    /// See [`Action::execute`].
    ///
    /// # Errors
    /// The module's rejection.
    pub fn execute(&self, ctx: &mut Context<'_>) -> Result<()> {
        self.action().execute(ctx)
    }

    /// See [`Action::fee`].
    #[must_use]
    pub fn fee(&self, params: &Params) -> Amount {
        self.action().fee(params)
    }

    /// See [`Action::reads`].
    pub fn reads(&self, signer: Address, keys: &mut Vec<Key>) {
        self.action().reads(signer, keys);
    }

    /// EIP-712 struct hash of this action with the transaction's own `fields` (already encoded) behind it.
    #[must_use]
    pub fn struct_hash(&self, fields: &[u8]) -> Hash32 {
        let mut data = Vec::with_capacity(512);
        self.action().data(&mut data);
        data.extend_from_slice(fields);
        typed_data::hash_struct(self.type_hash(), &data)
    }

    /// EIP-712 members, referenced types and message, for the JSON document.
    #[must_use]
    pub fn typed_parts(&self) -> (Vec<Member>, Types, serde_json::Value) {
        let (members, types) = self.action().types();
        (members, types, self.action().message())
    }
}

impl BorshSerialize for AnyAction {
    fn serialize<W: io::Write>(&self, writer: &mut W) -> io::Result<()> {
        BorshSerialize::serialize(&self.tag(), writer)?;
        self.encode(writer)
    }
}

impl BorshDeserialize for AnyAction {
    fn deserialize_reader<R: io::Read>(reader: &mut R) -> io::Result<Self> {
        let tag = u8::deserialize_reader(reader)?;
        Self::decode(tag, reader)
    }
}
