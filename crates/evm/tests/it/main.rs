//! Integration tests of the embedded EVM.
#![allow(missing_docs, clippy::unwrap_used)]

mod anvil;
mod canonical;
mod chain;
mod changes;
mod differential;
mod fuzz;
mod hostile;
mod index;
mod npm;
mod peer;
mod record;
mod remote;
mod rpc;
mod sessions;
mod transactions;
mod worlds;
