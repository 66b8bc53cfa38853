//! Whole stories on the ledger, and chains of random actions.

#![allow(clippy::unwrap_used)]

mod random;
mod refusals;
mod worked_flow;
