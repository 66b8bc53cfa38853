//! The client against independent software: an unmodified wallet library, and a provider that follows the sheet.
#![allow(clippy::unwrap_used)]

mod node;
mod provider;
mod samples;
mod wallet;
