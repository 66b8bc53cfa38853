//! What a token can do to those who hold it, from its bytecode and state alone.
//!
//! A token is tried ([`probe`]), the code behind it found ([`proxy`]), and everything that its keepers may do is done and
//! its effect measured ([`privilege`]). Always true: names decide nothing, effects do; a flag is "0" only when its check
//! ran to the end, else it is absent and named as unknown in the report; the same snapshot gives the same bytes.
//! Never here: lists, history beyond what [`History`] is told, the dressing of answers.

mod abi;
mod cache;
mod code;
mod endure;
mod facts;
mod history;
mod lab;
mod ledger;
mod makers;
pub mod market;
pub mod privilege;
pub mod probe;
pub mod proxy;
mod report;
pub mod rugpull;
mod seeds;
pub mod standard;
pub(crate) mod trial;
mod vital;
pub mod waste;

use alloy_primitives::Address;
use serde::Serialize;
use surety_evm::StateError;

pub use cache::{Cache, Key};
pub use history::{Held, History, Holder, Siblings};
pub(crate) use makers::shares_of;
pub use market::Pool;
pub use privilege::Powers;
pub use probe::Probe;
pub use proxy::Proxy;
pub(crate) use report::{Doom, doom_at};
pub use report::{PoolSeen, Refused, Report, Unknown, Why, assess};

/// An exchange of the kind of Uniswap V2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Dex {
    /// What people call it.
    pub name: &'static str,
    /// Its factory.
    pub factory: Address,
    /// Its router.
    pub router: Address,
}

/// An exchange of the kind of Uniswap V3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Tiered {
    /// What people call it.
    pub name: &'static str,
    /// Its factory.
    pub factory: Address,
    /// The fees of its pools, in parts in a million.
    pub fees: &'static [u32],
}

/// What an assessment may cost and where it looks. A part of the engine: other parameters give other answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Params {
    /// Exchanges asked for pools, the preferred first.
    pub dexes: Vec<Dex>,
    /// Exchanges of the other kind that are asked for pools.
    pub tiered: Vec<Tiered>,
    /// What tokens are traded against, the preferred first.
    pub quotes: Vec<Address>,
    /// Instructions that the whole assessment may execute; what is not known by then is unknown.
    pub steps: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            dexes: market::DEXES.to_vec(),
            tiered: market::TIERED.to_vec(),
            quotes: market::QUOTES.to_vec(),
            steps: 100_000_000,
        }
    }
}

/// Why an assessment could not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// State could not be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The token's code used up what it may cost.
    #[error("the token's code costs more than an answer may cost")]
    Budget,
    /// There is no way to have the token, or no market for it that works.
    #[error("there is no market in which this token could be tried")]
    Market,
}
