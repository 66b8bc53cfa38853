//! Run EVM code on any state: simulate, replay, index, and serve a small chain.
//!
//! A [`Source`] gives state, a [`Snapshot`] pins it to a block, a [`Session`] runs calls on an overlay of it and says in an
//! [`Outcome`] what they did. Nothing a session does reaches its snapshot. The same snapshot and calls give the same bytes
//! everywhere: no clock, no random number, no order of a hash map.

pub mod canonical;
pub mod chain;
mod changes;
mod code;
mod head;
pub mod index;
mod inspect;
mod outcome;
mod overlay;
mod record;
mod remote;
pub mod rpc;
mod session;
mod source;
mod transaction;
mod world;

pub use changes::{
    AllowanceChange, AssetChanges, MultiTokenChange, NativeChange, NftChange, OperatorChange, OwnershipChange, PERMIT2,
    Role, Simulation, SupplyChange, TokenChange,
};
pub use head::{Head, SPEC, Snapshot};
pub use outcome::{EnvReads, Frame, FrameKind, NativeTransfer, Opcodes, Outcome, SelfDestruct, Status, Trace, Write};
pub use overlay::{AccountChange, Changes};
pub use record::{End, Recorder, Witness};
pub use remote::{Remote, RemoteConfig};
pub use session::{Call, Checkpoint, Limits, Session};
pub use source::{Account, Chain, Source, StateError};
pub use transaction::{
    ExecuteError, MAX_BLOB_TRANSACTION_BYTES, MAX_BLOBS, MAX_TRANSACTION_BYTES, Transaction, TransactionError,
};
pub use world::{AccountProof, SlotProof, World, WorldAccount};
