//! Put a provider's sidecar before any HTTP API: verify, meter, forward, sign, claim.

mod admin;
mod admit;
mod backoff;
mod body;
pub mod config;
mod connections;
mod duties;
pub mod error;
mod forward;
pub mod gateway;
pub mod ledger;
mod meter;
mod metrics;
mod package;
mod packages;
mod refusal;
mod replies;
mod reply;
mod serve;
mod sidecar;
mod state;
pub mod store;
mod wellknown;

pub use config::SidecarConfig;
pub use error::Error;
pub use ledger::LedgerView;
pub use sidecar::{STORE_FILE, Sidecar, run};
