//! A refusal on its way to the caller: `application/problem+json` and the headers that go with it.

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde::Serialize;
use surety_primitives::access::{Error as AccessError, Problem, ProblemKind};
use surety_primitives::{Amount, NetworkId, ProviderId, ServiceId};

use crate::body::ReplyBody;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What a package costs and where it is sold: stands in each 402.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Offer {
    pub(crate) network: NetworkId,
    pub(crate) provider: ProviderId,
    pub(crate) service: ServiceId,
    pub(crate) version: u32,
    pub(crate) title: String,
    pub(crate) calls: u64,
    pub(crate) price: Amount,
    /// How to buy, in a sentence.
    pub(crate) buy: &'static str,
}

impl Offer {
    pub(crate) const BUY: &'static str =
        "send the action market::Purchase with this service and version to any node of the network";
}

/// Why a call is not served.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) problem: Box<Problem>,
    pub(crate) offer: Option<Box<Offer>>,
}

#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    problem: &'a Problem,
    #[serde(skip_serializing_if = "Option::is_none")]
    offer: Option<&'a Offer>,
}

impl Refusal {
    pub(crate) fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Problem::new(kind, detail).into()
    }

    pub(crate) fn kind(&self) -> ProblemKind {
        self.problem.kind
    }

    pub(crate) fn needs(mut self, need: &str) -> Self {
        self.problem.need = Some(need.to_owned());
        self
    }

    pub(crate) fn retry_after(mut self, seconds: u64) -> Self {
        self.problem.retry_after = Some(seconds);
        self
    }

    pub(crate) fn into_response(self) -> Response<ReplyBody> {
        let told = Told { problem: &self.problem, offer: self.offer.as_deref() };
        let body = Bytes::from(serde_json::to_vec(&told).unwrap_or_default());
        let mut response = Response::new(ReplyBody::full(body));
        *response.status_mut() = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.problem.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { problem: Box::new(problem), offer: None }
    }
}

impl From<AccessError> for Refusal {
    fn from(error: AccessError) -> Self {
        let need = match &error {
            AccessError::NeedOpen | AccessError::MacNotAllowed => Some("open"),
            AccessError::NeedScope => Some("scope"),
            _ if error.problem() == ProblemKind::NeedChain => Some("chain"),
            _ => None,
        };
        let mut problem = Problem::from(&error);
        problem.need = need.map(str::to_owned);
        problem.into()
    }
}
