//! Market: providers sell packages of calls, consumers buy them, and what is signed is what is paid (`market.md` B).
//!
//! Invariant I1: after every action a provider's exposure (sold and unacknowledged value, promised cover) stays within its
//! backing (stake, unreleased claims). Escrow is the sum of open values, the stake pool the sum of stakes.
//! Never here: timers. A deadline is a comparison made when someone acts, and whoever gains acts.

mod audit;
pub mod coverage;
mod error;
pub mod state;

pub(crate) use audit::audit;
pub use error::Error;
pub use state::Event;
