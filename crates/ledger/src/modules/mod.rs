//! The modules, in order: each calls only those above it and writes only its own tables.

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

pub mod bank;
pub mod epochs;
pub mod fees;
pub mod market;
pub mod operators;
pub mod params;

macro_rules! events {
    ($($(#[$doc:meta])* $variant:ident($module:ident);)*) => {
        /// What happened, as receipts and streams tell it.
        #[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize, Serialize, Deserialize)]
        #[serde(tag = "module", rename_all = "lowercase")]
        pub enum Event {
            $($(#[$doc])* $variant($module::Event),)*
        }

        $(impl From<$module::Event> for Event {
            fn from(event: $module::Event) -> Self {
                Self::$variant(event)
            }
        })*
    };
}

events! {
    /// Accounts.
    Bank(bank);
    /// Operators.
    Operators(operators);
    /// The marketplace.
    Market(market);
}

/// Every table's number and name. Numbers are part of the state's format: append only, never reused.
pub const TABLES: &[(u8, &str)] = &[
    bank::ACCOUNTS.label(),
    bank::TOTALS.label(),
    params::PARAMS.label(),
    fees::FEES.label(),
    epochs::WEIGHTS.label(),
    epochs::COMMITTEE.label(),
    operators::OPERATORS.label(),
    operators::BLS_KEYS.label(),
    operators::PEERS.label(),
    market::state::COUNTERS.label(),
    market::state::PROVIDERS.label(),
    market::state::OWNERS.label(),
    market::state::PROVIDER_KEYS.label(),
    market::state::SERVICES.label(),
    market::state::PURCHASES.label(),
    market::state::SALES.label(),
    market::state::LANES.label(),
    market::state::REVOCATIONS.label(),
    market::state::CALL_KEYS.label(),
    market::state::TRANCHES.label(),
    market::state::SHOWN.label(),
    market::state::DATASETS.label(),
    market::state::DATASET_NAMES.label(),
    market::state::DATASET_VERSIONS.label(),
    market::state::FAULTS.label(),
    market::state::PENALTIES.label(),
];

#[cfg(test)]
mod tests {
    #[test]
    fn tables_have_unique_numbers_and_names() {
        for pick in [|t: &(u8, &str)| t.0.to_string(), |t: &(u8, &str)| t.1.to_owned()] {
            let mut labels: Vec<String> = super::TABLES.iter().map(pick).collect();
            labels.sort_unstable();
            labels.dedup();
            assert_eq!(labels.len(), super::TABLES.len());
        }
    }
}
