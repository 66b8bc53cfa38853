//! Answer security questions from lists that anyone can check.
//!
//! A service first gathers (everything it looks at, pinned to dataset versions), then judges (a pure function of what
//! was gathered), so that anyone with the same datasets reaches the same bytes. **A new service is one file and one
//! line in [`service::SERVICES`].**
//!
//! Always true: unknown is never clean (a flag is "0" only when its check ran to the end); no clock, float, random
//! number or hash-map order enters an answer, but for the age of a list where a provider limits it; every look-up that decided is a claim against a published root.
//! Never here: fetching (whoever has the bytes of a list hands them over), signing, metering.

pub mod address;
pub mod envelope;
pub mod faulty;
pub mod lists;
pub mod phishing;
pub mod router;
pub mod service;

mod chains;

pub use lists::{Dataset, Source, SourceSpec};
pub use router::router;
pub use service::{Lists, SERVICES, Service, required_claims};
