//! Every failure is an answer: `application/problem+json` with a stable type and code. This is the only place that maps.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use surety_primitives::api::ApiProblem;

use super::backend::{ReadFailure, Refusal};

/// What every problem's `type` begins with.
pub const URN: &str = "urn:surety:problem:";
/// The content type of a problem.
pub const MEDIA: &str = "application/problem+json";

macro_rules! kinds {
    ($($(#[$doc:meta])* $code:literal => $variant:ident, $name:literal, $status:literal, $title:literal;)*) => {
        /// Why the API itself refuses. The ledger's rejections keep their own codes, which are all below 9000.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $variant,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable number.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self { $(Self::$variant => $code,)* }
            }

            /// The stable name, as it ends the `type`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// A short sentence that never changes.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

// Append only; a retired number is never used again.
kinds! {
    /// A path segment, query parameter or header is not in its form.
    9001 => BadParameter, "bad-parameter", 400, "A parameter is not in its form";
    /// The body is not JSON of the expected form.
    9002 => MalformedBody, "malformed-body", 400, "The body is not what is expected";
    /// No such route.
    9003 => NoRoute, "no-route", 404, "There is nothing at this address";
    /// The route exists, the thing does not.
    9004 => NotFound, "not-found", 404, "There is no such thing on the ledger";
    /// The route takes other methods.
    9005 => MethodNotAllowed, "method-not-allowed", 405, "The method is not allowed here";
    /// The client took too long to send its body.
    9006 => TooSlow, "too-slow", 408, "The request did not arrive in time";
    /// A waiting transaction has this nonce.
    9007 => Underpriced, "underpriced", 409, "A waiting transaction has this nonce";
    /// The body is larger than allowed.
    9008 => BodyTooLarge, "body-too-large", 413, "The body is too large";
    /// The body is not JSON by its content type.
    9009 => UnsupportedMedia, "unsupported-media", 415, "The body must be application/json";
    /// The transaction is not valid on its face.
    9010 => InvalidTransaction, "invalid-transaction", 422, "The transaction is not valid";
    /// The action is in no table.
    9011 => UnknownAction, "unknown-action", 422, "There is no such action";
    /// Too many requests from this address.
    9012 => RateLimited, "rate-limited", 429, "Too many requests";
    /// The pool has no room for it.
    9013 => PoolFull, "pool-full", 429, "The pool has no room";
    /// Too many streams or long polls are open.
    9014 => TooManyStreams, "too-many-streams", 429, "Too many streams are open";
    /// The node starts, syncs or stops.
    9015 => NotReady, "not-ready", 503, "The node is not ready";
    /// The node's store failed: its operator is called for.
    9016 => Internal, "internal", 500, "The node failed";
    /// The block is older than what this node keeps.
    9017 => Pruned, "pruned", 404, "This node no longer keeps it";
    /// The operator has not switched it on.
    9018 => NotOffered, "not-offered", 404, "This node does not offer it";
    /// One at a time.
    9019 => Busy, "busy", 429, "Another such request is under way";
    /// Line and headers are larger than allowed.
    9020 => HeadersTooLarge, "headers-too-large", 431, "The headers are too large";
    /// Altered on the way, or signed with another key: it recovers to an account that its sender did not name.
    9021 => WrongSigner, "wrong-signer", 422, "The signature is not the named signer's";
}

/// One failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    status: u16,
    code: u16,
    name: String,
    title: String,
    detail: String,
    retry_after: Option<u64>,
}

/// What an endpoint comes to.
pub type Result<T> = std::result::Result<T, Problem>;

impl Problem {
    /// One of the API's own.
    #[must_use]
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            status: kind.status(),
            code: kind.code(),
            name: kind.name().to_owned(),
            title: kind.title().to_owned(),
            detail: detail.into(),
            retry_after: matches!(
                kind,
                Kind::RateLimited | Kind::PoolFull | Kind::TooManyStreams | Kind::Busy | Kind::NotReady
            )
            .then_some(1),
        }
    }

    /// A parameter that is not in its form.
    #[must_use]
    pub fn parameter(name: &str, rule: impl core::fmt::Display) -> Self {
        Self::new(Kind::BadParameter, format!("{name}: {rule}"))
    }

    /// The ledger's rejection.
    #[must_use]
    pub fn ledger(error: &surety_ledger::Error) -> Self {
        Self::rejected(error.code(), error.name(), &error.to_string())
    }

    fn rejected(code: u16, name: &str, message: &str) -> Self {
        Self {
            status: 422,
            code,
            name: kebab(name),
            title: "The ledger refuses the transaction".to_owned(),
            detail: message.to_owned(),
            retry_after: None,
        }
    }

    /// The status as a number.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The stable number.
    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }
}

/// `BadNonce` → `bad-nonce`: the ledger's names as they end a `type`.
#[must_use]
pub fn kebab(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for (i, letter) in name.chars().enumerate() {
        if letter.is_uppercase() && i > 0 {
            text.push('-');
        }
        text.extend(letter.to_lowercase().map(|c| if c == '_' { '-' } else { c }));
    }
    text
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let document = ApiProblem {
            kind: format!("{URN}{}", self.name),
            title: self.title,
            status: self.status,
            detail: self.detail,
            code: Some(self.code),
            retry_after: self.retry_after,
        };
        let mut response = Response::new(Body::from(serde_json::to_vec(&document).unwrap_or_default()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<ReadFailure> for Problem {
    fn from(failure: ReadFailure) -> Self {
        match failure {
            ReadFailure::NotReady | ReadFailure::NoCertificate => Self::new(Kind::NotReady, failure.to_string()),
            ReadFailure::Store(reason) => {
                tracing::error!(%reason, "the store failed");
                Self::new(Kind::Internal, "the node's store cannot be read")
            }
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Ledger { name, message } => {
                let known = surety_ledger::Error::codes().into_iter().find(|(_, other)| *other == name);
                match known {
                    Some((code, name)) => Self::rejected(code, name, &message),
                    None => Self::new(Kind::InvalidTransaction, message),
                }
            }
            Refusal::Underpriced(message) => Self::new(Kind::Underpriced, message),
            Refusal::Full(message) => Self::new(Kind::PoolFull, message),
            Refusal::Unavailable => Self::new(Kind::NotReady, refusal.to_string()),
            Refusal::Invalid { message, .. } => Self::new(Kind::InvalidTransaction, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_names_are_unique_over_ledger_and_api() {
        let ledger = surety_ledger::Error::codes();
        let mut codes: Vec<u16> = ledger.iter().map(|(code, _)| *code).collect();
        assert!(codes.iter().all(|code| *code < 9_000));
        codes.extend(Kind::ALL.iter().map(|kind| kind.code()));
        let all = codes.len();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), all);
        let own: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        assert!(ledger.iter().all(|(_, name)| !own.contains(&kebab(name).as_str())));
    }

    #[test]
    fn names_become_types() {
        assert_eq!(kebab("BadNonce"), "bad-nonce");
        assert_eq!(kebab("transaction_invalid"), "transaction-invalid");
    }
}
