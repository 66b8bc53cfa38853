//! The binary as people use it: real processes, real files, real signals.
#![allow(clippy::unwrap_used, missing_docs)]

mod demo;
mod gateway;
mod hand;
mod harness;
mod kills;
mod market;
mod story;
