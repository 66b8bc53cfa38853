//! The API over a chain in memory: every answer is held against the OpenAPI document, every refusal against the state.

#![allow(clippy::unwrap_used)]

mod answers;
mod conform;
mod fixture;
mod refusals;
mod search;
mod server;
mod streams;
