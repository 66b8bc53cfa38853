//! The state machine: a pure function from a state and a block to receipts.
//!
//! Invariants: value is conserved (accounts and pools sum to what was minted less what was burned), and every provider's
//! exposure stays within its backing.
//! Never here: clocks, sockets, files, `async`, floats, logging, hash-map order, consensus, an EVM.

#![warn(clippy::float_arithmetic)]
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

#[macro_use]
pub mod error;
pub mod action;
pub mod audit;
pub mod block;
pub mod context;
pub mod genesis;
pub mod modules;
pub mod state;
#[cfg(any(test, feature = "testing"))]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a test may panic")]
pub mod testing;
pub mod transaction;

pub use action::{Action, AnyAction};
pub use block::{ApplyError, BlockMeta, BlockRun, Outcome, Receipt, prefetch};
pub use context::Context;
pub use error::{Error, Result};
pub use genesis::Genesis;
pub use modules::{Event, bank, epochs, fees, market, operators, params};
pub use state::{Item, Key, Map, MemoryRows, Row, Rows};
pub use transaction::{SignedTransaction, Transaction, VerifiedTransaction};
