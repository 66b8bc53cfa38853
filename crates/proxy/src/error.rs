//! Why a sidecar does not start or cannot go on, and whether to try again. What a caller is told is a
//! [`Problem`](surety_primitives::access::Problem) instead.

use crate::store::StoreError;

/// Why something failed on this side.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration does not hold together.
    #[error("configuration: {0}")]
    Config(String),
    /// The key is not the one that the ledger names for the provider.
    #[error("the key given is not the one that the ledger names for provider {0}")]
    OtherKey(surety_primitives::ProviderId),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "proxy-config",
            Self::OtherKey(_) => "proxy-other-key",
            Self::Listen { .. } => "proxy-listen",
            Self::Store(error) => error.code(),
            Self::Ledger(error) => error.code(),
        }
    }

    /// Whether the same may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Ledger(LedgerError::Unreachable(_)))
    }
}

/// Why the ledger did not answer, or not as hoped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerError {
    /// No node answers; later one may.
    #[error("no node answers: {0}")]
    Unreachable(String),
    /// What a node said does not hold against its proof.
    #[error("a node's word is not proven: {0}")]
    Unproven(String),
    /// The ledger refused the action.
    #[error("the ledger refused: {0}")]
    Refused(String),
}

impl LedgerError {
    /// The stable code of this error.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "ledger-unreachable",
            Self::Unproven(_) => "ledger-unproven",
            Self::Refused(_) => "ledger-refused",
        }
    }
}
