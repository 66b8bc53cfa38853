//! What a reviewer would otherwise have to look for in every change.
#![allow(clippy::unwrap_used)]

mod tidy;
