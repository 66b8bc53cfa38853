//! Integration tests of the security services.
#![allow(missing_docs, clippy::unwrap_used)]

mod benign;
mod http;
mod js;
mod original;
mod real_lists;
