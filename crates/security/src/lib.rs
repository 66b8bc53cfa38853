//! Answer security questions from lists that anyone can check.
//!
//! A service first gathers (everything it looks at, pinned to dataset versions and to one block), then judges (a pure
//! function of what was gathered), so that anyone with the same datasets and the recorded state reaches the same bytes
//! ([`verify::recompute`]). **A new service is one file and one
//! line in [`service::SERVICES`].**
//!
//! Always true: unknown is never clean (a flag is "0" only when its check ran to the end); no clock, float, random
//! number or hash-map order enters an answer, but for the age of a list where a provider limits it; every look-up that decided is a claim against a published root.
//! Never here: fetching (whoever has the bytes of a list hands them over), signing, metering.

pub mod address;
pub mod approvals;
pub mod decode;
pub mod deploy;
pub mod envelope;
pub mod evidence;
pub mod faulty;
pub mod history;
pub mod input;
pub mod json;
pub mod lists;
pub mod parties;
pub mod phishing;
pub mod prefix;
pub mod router;
pub mod rules;
pub mod screen;
pub mod service;
pub mod simulate;
pub mod state;
pub mod token;
pub mod tokens;
pub mod verify;

mod chains;
mod dapp;
mod views;

pub use lists::{Dataset, Source, SourceSpec};
pub use router::{router, router_on};
pub use service::{Chains, Lists, SERVICES, Service, Sources, required_claims};
