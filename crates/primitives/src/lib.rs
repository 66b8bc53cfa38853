//! Ids, amounts, fixed point, codec, keys, answers, Merkle proofs and the call protocol.
//!
//! Everything here is pure: bytes and numbers in, bytes and numbers out.
//! Never here: sockets, files, clocks, and what needs the ledger's state to be decided.

#[macro_use]
pub mod codec;
pub mod access;
pub mod amount;
pub mod answer;
pub mod api;
pub mod bls;
pub mod dataset;
pub mod fixed;
pub mod hash;
pub mod header;
pub mod ids;
pub mod keys;
pub mod typed_data;
pub mod wallet;

pub use amount::{Amount, CALL};
pub use hash::Hash32;
pub use ids::{
    Address, DatasetId, Epoch, Height, Lane, NetworkId, OperatorId, ProviderId, PurchaseId, Seconds, ServiceId,
};
