//! The sidecar over real HTTP: a consumer, a sidecar, an API behind it, and a ledger in memory; and the gateway before a
//! node that records what reaches it.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod chains;
mod crash;
mod duties;
mod fuzz;
mod gateway;
mod happy;
mod hold;
mod ledger;
mod limits;
mod lost;
mod paths;
mod rates;
mod remote;
mod upstream;
mod world;
