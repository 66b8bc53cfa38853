//! What each fuzz target does with bytes: one function a decoder, which the ordinary tests of its crate run too, on random
//! bytes and on sound ones with something changed.

pub mod evm;
pub mod gateway;
pub mod security;
