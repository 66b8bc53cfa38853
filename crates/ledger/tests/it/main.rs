//! Whole stories on the ledger, and chains of random actions.

#![allow(clippy::unwrap_used)]

mod golden;
mod random;
mod refusals;
mod worked_flow;
