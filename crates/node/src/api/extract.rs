//! What handlers take from a request: strict, and refused as problems.

use core::str::FromStr;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::problem::{Kind, Problem, Result};
use super::{MAX_PAGE, Shared};

/// An answer: JSON, never to be cached unless the handler says so.
pub(crate) struct Reply<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Reply<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(bytes) => {
                let mut response = Response::new(Body::from(bytes));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => {
                tracing::error!(%error, "an answer cannot be written");
                Problem::new(Kind::Internal, "the answer cannot be written").into_response()
            }
        }
    }
}

/// One path segment.
pub(crate) struct Segment<T>(pub(crate) T);

impl<T: FromStr<Err: core::fmt::Display>> FromRequestParts<Shared> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::parameter("path", rejection.body_text()))?;
        parse("path", &text).map(Self)
    }
}

/// Two path segments.
pub(crate) struct Segments<A, B>(pub(crate) A, pub(crate) B);

impl<A, B> FromRequestParts<Shared> for Segments<A, B>
where
    A: FromStr<Err: core::fmt::Display>,
    B: FromStr<Err: core::fmt::Display>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self> {
        let Path((a, b)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|rejection| Problem::parameter("path", rejection.body_text()))?;
        Ok(Self(parse("path", &a)?, parse("path", &b)?))
    }
}

/// Reads a value, or says which parameter is wrong.
pub(crate) fn parse<T: FromStr<Err: core::fmt::Display>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|error: T::Err| Problem::parameter(name, error))
}

/// The query. Its type denies unknown fields, so that a misspelt filter does not silently match everything.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|rejection| Problem::parameter("query", rejection.body_text()))
    }
}

/// For routes without parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// Only a proof may be asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WithProof {
    #[serde(default)]
    pub(crate) proof: Flag,
}

/// 0 or 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flag(pub(crate) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> core::result::Result<Self, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "0" | "false" => Ok(Self(false)),
            "1" | "true" => Ok(Self(true)),
            other => Err(serde::de::Error::custom(format!("'{other}' is neither 0 nor 1"))),
        }
    }
}

/// A page's size, checked.
pub(crate) fn page(limit: Option<u32>, default: u32) -> Result<usize> {
    match limit.unwrap_or(default) {
        limit @ 1..=MAX_PAGE => Ok(limit as usize),
        other => Err(Problem::parameter("limit", format!("{other} is not within 1 to {MAX_PAGE}"))),
    }
}

/// A waiting time, checked.
pub(crate) fn wait(seconds: Option<u64>, most: u64) -> Result<std::time::Duration> {
    match seconds.unwrap_or(0) {
        seconds if seconds <= most => Ok(std::time::Duration::from_secs(seconds)),
        other => Err(Problem::parameter("wait", format!("{other} is more than {most} seconds"))),
    }
}

/// A JSON body.
pub(crate) struct Given(pub(crate) serde_json::Value);

impl FromRequest<Shared> for Given {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Shared) -> Result<Self> {
        if !is_json(request.headers()) {
            return Err(Problem::new(Kind::UnsupportedMedia, "send content-type: application/json"));
        }
        let bytes = body(request, state).await?;
        let value = serde_json::from_slice(&bytes);
        value.map(Self).map_err(|error| Problem::new(Kind::MalformedBody, error.to_string()))
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(first), None) = (types.next(), types.next()) else { return false };
    let essence = first.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

async fn body(request: Request, state: &Shared) -> Result<Bytes> {
    let limit = state.limits.body_bytes;
    let too_large = || Problem::new(Kind::BodyTooLarge, format!("at most {limit} bytes are read"));
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let read = axum::body::to_bytes(request.into_body(), limit);
    let read = tokio::time::timeout(state.limits.request_time(), read).await;
    let read = read.map_err(|_| Problem::new(Kind::TooSlow, "the body took too long"))?;
    read.map_err(|error| {
        let source = std::error::Error::source(&error);
        match source.is_some_and(|source| source.is::<http_body_util::LengthLimitError>()) {
            true => too_large(),
            false => Problem::new(Kind::MalformedBody, "the body broke off"),
        }
    })
}
