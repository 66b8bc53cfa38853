//! Operators and the keys that are taken.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};
use surety_primitives::OperatorId;
use surety_primitives::bls::BlsKey;
use surety_primitives::typed_data::Bytes32;
use surety_primitives::typed_struct;

use crate::state::Map;

/// operator → its keys and profile.
pub const OPERATORS: Map<OperatorId, Operator> = Map::new(10, "operators/operator");
/// BLS key → the operator that proved its possession.
pub const BLS_KEYS: Map<BlsKey, OperatorId> = Map::new(11, "operators/bls-key");
/// network identity → the operator that uses it.
pub const PEERS: Map<Bytes32, OperatorId> = Map::new(12, "operators/peer");

/// One operator.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
pub struct Operator {
    /// The account that registered it.
    pub id: OperatorId,
    /// Network identity (ed25519).
    pub peer: Bytes32,
    /// Key for votes and certificates.
    pub bls_key: BlsKey,
    /// What it says of itself.
    pub profile: Profile,
}

typed_struct! {
    /// What an operator says of itself; shown, never trusted.
    pub struct Profile {
        /// Name, at most 64 bytes.
        pub name: String,
        /// Where to read about it, at most 256 bytes.
        pub url: String,
        /// Where its gateway answers direct calls, at most 256 bytes.
        pub gateway: String,
    }
}

/// What happened to operators.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum Event {
    /// A new one.
    OperatorRegistered {
        /// Which.
        operator: OperatorId,
    },
    /// A new profile.
    OperatorUpdated {
        /// Whose.
        operator: OperatorId,
    },
}
