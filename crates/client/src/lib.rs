//! Talk to a node and believe only what its proofs show.
//!
//! [`Client`] speaks the API and believes the node; [`LightClient`] believes nothing but signatures and proofs from a
//! stated trust root; [`Caller`] buys nothing but uses what was bought, and keeps the evidence. Keys lie in a
//! [`Keystore`], and a [`Sender`] turns actions into transactions.
//!
//! Never here: consensus, the node's store, checks of names or addresses.

pub mod caller;
mod client;
mod error;
mod events;
pub mod light;
mod sender;
pub mod types;
pub mod wallet;

pub use caller::Caller;
pub use client::{Client, Options};
pub use error::Error;
pub use events::{Event, EventStream};
pub use light::{LightClient, LightReader, Proven};
pub use sender::Sender;
pub use wallet::Keystore;
