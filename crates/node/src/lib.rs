//! Run one operator's node: consensus, mempool, storage, HTTP API and metrics.
//!
//! Always true: what the ledger decides depends on the block and the state alone; a node that finds its own result or
//! its disk at odds with the network stops; nothing a peer sends is believed before it is checked.
//! Only this crate names the concrete types of the consensus engine.

pub mod api;
pub mod block;
pub mod chain;
pub mod config;
pub mod engine;
pub mod faults;
pub mod handle;
pub mod keys;
pub mod mempool;
pub mod receipts;
// The only place that names the concrete runtime: it takes minutes to compile, and unit tests do without it.
#[cfg(not(test))]
pub mod run;
pub mod scheme;
#[cfg(not(test))]
pub mod serve;
pub mod storage;

mod application;
mod core;
mod execution;
mod gossip;
pub mod index;
mod metrics;
mod preflight;
mod sync;
mod timing;

pub use block::Block;
pub use config::NodeConfig;
pub use core::FinalizedBlock;
pub use handle::{NodeHandle, QueryError, RowAnswer};
pub use mempool::MempoolError;
#[cfg(not(test))]
pub use run::{NodeError, RunningNode, run};
pub use storage::RowProof;
