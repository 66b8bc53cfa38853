//! What can go wrong between this side and a node or a provider.

use std::time::Duration;

use surety_primitives::access::Problem;
use surety_primitives::api::ApiProblem;
use surety_primitives::{Hash32, access};

use crate::{light, wallet};

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No node was named.
    #[error("no node was named")]
    NoNode,
    /// Not an http(s) URL.
    #[error("'{0}' is not an http or https URL")]
    BadUrl(String),
    /// The node or provider cannot be reached, or the connection broke.
    #[error("{url} cannot be reached: {reason}")]
    Transport {
        /// Where the request went.
        url: String,
        /// What the connection said.
        reason: String,
        /// Whether the request may have arrived nevertheless.
        sent: bool,
    },
    /// No answer in time.
    #[error("{url} did not answer within {limit:?}")]
    Timeout {
        /// Where the request went.
        url: String,
        /// The limit.
        limit: Duration,
    },
    /// The node refused, and said why.
    #[error("the node refused ({}): {}", .0.status, .0.detail)]
    Refused(Box<ApiProblem>),
    /// The node has no such thing.
    #[error("not found: {0}")]
    NotFound(String),
    /// The answer is not what the API promises.
    #[error("the answer of {url} cannot be read: {reason}")]
    Malformed {
        /// Where the request went.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The answer is longer than what is read.
    #[error("the answer is longer than {limit} bytes")]
    TooLarge {
        /// Most bytes that are read.
        limit: usize,
    },
    /// The transaction was not final in time. It may still become so.
    #[error("transaction {hash} was not final within {limit:?}")]
    NotFinal {
        /// The transaction.
        hash: Hash32,
        /// The limit.
        limit: Duration,
    },
    /// A reply was lost, or the node that took it, and no node can say what became of the transaction. What must not happen
    /// twice must not be signed anew before it expired.
    #[error("it is not known whether {hash} was taken ({reason}); look for it before you act again")]
    Doubtful {
        /// The transaction.
        hash: Hash32,
        /// What was said last.
        reason: String,
    },
    /// The ledger took the transaction and refused its action; the fee is paid.
    #[error("the ledger refused {hash} ({name}): {message}")]
    Rejected {
        /// The transaction.
        hash: Hash32,
        /// The stable number of the rejection.
        code: u16,
        /// Its stable name.
        name: String,
        /// For people.
        message: String,
    },
    /// The action cannot succeed in any state.
    #[error(transparent)]
    Action(#[from] surety_ledger::Error),
    /// The node is not believed.
    #[error(transparent)]
    Light(#[from] light::Error),
    /// A row exists whose absence was to be proven.
    #[error("there is such a row")]
    Exists,
    /// A row that must exist does not.
    #[error("there is no such row")]
    Absent,
    /// The keystore.
    #[error(transparent)]
    Wallet(#[from] wallet::Error),
    /// The call protocol: a reply that is not valid, or a call that cannot be made.
    #[error(transparent)]
    Access(#[from] access::Error),
    /// The provider refused the call, and said why.
    #[error("the provider refused ({}): {}", .0.kind.name(), .0.detail)]
    Problem(Box<Problem>),
    /// A reply that cannot be acknowledged: nothing is owed for it.
    #[error("the reply is not acknowledged: {0}")]
    BadReply(String),
    /// Another caller writes to this log.
    #[error("{path} is in use by another call of the same purchase: wait for it to end, or use lanes of one caller")]
    LogInUse {
        /// The log.
        path: String,
    },
    /// A file of this side.
    #[error("cannot use {path}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// The stable code of this error.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::NoNode => "client-no-node",
            Self::BadUrl(_) => "client-bad-url",
            Self::Transport { .. } => "client-transport",
            Self::Timeout { .. } => "client-timeout",
            Self::Refused(problem) => problem.name(),
            Self::NotFound(_) => "client-not-found",
            Self::Malformed { .. } => "client-malformed",
            Self::TooLarge { .. } => "client-too-large",
            Self::NotFinal { .. } => "client-not-final",
            Self::Doubtful { .. } => "client-doubtful",
            Self::Rejected { name, .. } => name,
            Self::Action(error) => error.name(),
            Self::Light(error) => error.code(),
            Self::Exists => "client-exists",
            Self::Absent => "client-absent",
            Self::Wallet(error) => error.code(),
            Self::Access(error) => error.code(),
            Self::Problem(problem) => problem.kind.name(),
            Self::BadReply(_) => "client-bad-reply",
            Self::LogInUse { .. } => "client-log-in-use",
            Self::File { .. } => "client-file",
        }
    }

    /// Whether the request may have had its effect although this is all that came back.
    pub(crate) fn may_have_acted(&self) -> bool {
        match self {
            Self::Transport { sent, .. } => *sent,
            Self::Timeout { .. } | Self::Malformed { .. } | Self::TooLarge { .. } => true,
            Self::Refused(problem) => problem.status >= 500 && problem.status != 503,
            _ => false,
        }
    }

    /// Whether the same request may succeed at another node or a moment later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Timeout { .. } => true,
            Self::Refused(problem) => problem.status == 429 || problem.status >= 500,
            _ => false,
        }
    }
}
