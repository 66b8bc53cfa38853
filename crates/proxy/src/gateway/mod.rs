//! The node gateway: a firewall for JSON-RPC before an Ethereum node (section 7 of the services' sheet).
//!
//! A request's life is one function, `request::answer`: admit, assess, forward, record.
//!
//! Invariants: what is forwarded was written anew from what was screened, never copied from a client; a submission that
//! was not judged to pass does not reach a node; a submission reaches a node twice only as the same signed transaction.
//! Never here: what a check looks for (see the crate of the services) and what a policy says of it (see `policy`).

mod admin;
mod assess;
pub mod audit;
mod batch;
mod cache;
pub mod carry;
pub mod check;
pub mod config;
mod core;
mod feed;
mod forward;
pub mod hex;
pub mod hold;
mod http2;
mod inflate;
pub mod json;
pub mod jsonrpc;
mod judge;
pub mod methods;
mod metrics;
pub mod override_token;
mod own;
mod plugs;
pub mod policy;
mod quarantine;
pub mod remote;
mod request;
mod run;
mod screens;
mod server;
pub mod subject;
mod tls;
mod upstream;
pub mod verdict;
mod websocket;

pub use check::Check;
pub use config::{CacheConfig, GatewayConfig, GatewayLimits, ServiceConfig, UpstreamConfig};
pub use jsonrpc::code;
pub use plugs::{Basis, List, Plugs};
pub use run::{Gateway, run};
pub use server::VERDICT_HEADER;
pub use subject::{ChainRule, Screened, Subject, SubjectError, Unsigned, UserOperation};
