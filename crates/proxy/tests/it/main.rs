//! The sidecar over real HTTP: a consumer, a sidecar, an API behind it, and a ledger in memory.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod chains;
mod crash;
mod duties;
mod happy;
mod ledger;
mod limits;
mod lost;
mod paths;
mod rates;
mod upstream;
mod world;
