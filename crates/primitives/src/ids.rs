//! Ids: one newtype a thing, so that no two numbers can be swapped by accident.

use core::fmt;
use core::str::FromStr;

use alloy_primitives::U256;
use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::typed_data::{TypedField, uint_word};

/// A 20-byte EVM address: the account of whoever holds the secp256k1 key behind it.
pub use alloy_primitives::Address;

macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident($inner:ty, $solidity:literal);)*) => {$(
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = core::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl TypedField for $name {
            fn type_name() -> String {
                $solidity.to_owned()
            }

            fn word(&self) -> [u8; 32] {
                uint_word(U256::from(self.0))
            }

            fn message(&self) -> serde_json::Value {
                self.0.to_string().into()
            }
        }
    )*};
}

numbers! {
    /// The network that a signature is for; the `chainId` of the EIP-712 domain.
    NetworkId(u32, "uint32");
    /// A provider of services, numbered from 1 in order of registration.
    ProviderId(u64, "uint64");
    /// One listing of a provider, numbered from 1 over all providers.
    ServiceId(u64, "uint64");
    /// A published list, numbered from 1 over all publishers.
    DatasetId(u64, "uint64");
    /// An independent counter inside a purchase, from 0.
    Lane(u16, "uint16");
    /// A block's height; the genesis block is 1.
    Height(u64, "uint64");
    /// An accounting period of the ledger, from 0.
    Epoch(u64, "uint64");
    /// A moment or a span on the ledger clock, in seconds.
    Seconds(u64, "uint64");
}

impl Seconds {
    /// The moment `span` later, at most the last one that can be written.
    #[must_use]
    pub const fn after(self, span: Self) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The span since `earlier`, 0 if that is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// The ledger day: floor(seconds / 86,400).
    #[must_use]
    pub const fn day(self) -> u64 {
        self.0 / 86_400
    }
}

/// An operator, named by the account that registered it.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    BorshSerialize,
    BorshDeserialize,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct OperatorId(pub Address);

impl fmt::Display for OperatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A bought package: the first 16 bytes of H("surety/purchase/v1", network | consumer | client reference)
/// (`market.md` B1), so that a retry names the same purchase.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, BorshSerialize, BorshDeserialize)]
pub struct PurchaseId(pub [u8; 16]);

impl PurchaseId {
    /// The id of what `consumer` buys under its own `client_ref`.
    #[must_use]
    pub fn derive(network: NetworkId, consumer: Address, client_ref: [u8; 16]) -> Self {
        let hash = crate::hash::h("surety/purchase/v1", &[&network.0.to_be_bytes(), consumer.as_slice(), &client_ref]);
        Self(hash.first16())
    }
}

hex_bytes!(PurchaseId, 16);
