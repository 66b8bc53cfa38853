//! Integration tests of the security services.
#![allow(missing_docs, clippy::unwrap_used)]

mod approvals;
mod benign;
mod decode;
mod decode_benign;
mod decode_hostile;
mod decode_messages;
mod fuzz;
mod http;
mod js;
mod original;
mod prefix;
mod real_lists;
mod screen;
mod simulate;
mod token;
mod town;
mod verify;
