//! Integration tests of the security services.
#![allow(missing_docs, clippy::unwrap_used)]

mod js;
mod original;
