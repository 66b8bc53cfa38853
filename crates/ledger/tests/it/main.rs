//! Whole stories on the ledger, and chains of random actions.

#![allow(clippy::unwrap_used)]

mod worked_flow;
