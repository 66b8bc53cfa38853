//! HTTP: what a request must look like, and what goes back.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use super::batch::{Processed, process};
use super::core::{Client, Core};
use super::inflate::{InflateError, inflate};
use super::jsonrpc::{Answer, RpcError, code, write_reply};
use super::request::Advice;
use super::websocket;
use crate::body::Collected;
use crate::connections::Place;
use crate::serve::Detached;

/// Where a verdict stands that did not stop anything.
pub const VERDICT_HEADER: HeaderName = HeaderName::from_static("surety-verdict");
/// Longest name that a proxy before the gateway may give its client.
const MAX_CLIENT: usize = 128;

/// Answers any request.
pub(crate) async fn handle(core: Arc<Core>, place: Arc<Place>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    match (request.method(), request.uri().path()) {
        (&Method::POST, "/") => {}
        (&Method::GET, "/") if websocket::is_upgrade(request.headers()) => {
            let client = client_of(&core, place.address, request.headers());
            return websocket::upgrade(core, place, client, request);
        }
        (&Method::GET, "/health") => return health(&core),
        (_, "/" | "/health") => {
            let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, code::REQUEST, "JSON-RPC is sent by POST to /");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        _ => return refusal(StatusCode::NOT_FOUND, code::REQUEST, "JSON-RPC is sent by POST to /"),
    }
    let client = client_of(&core, place.address, request.headers());
    let body = match read_body(&core, request).await {
        Ok(body) => body,
        Err(refused) => return refused,
    };
    // A caller that goes away takes nothing back: what was admitted is forwarded and recorded.
    let processed = Detached::new(async move { process(&core, &client, &body).await }).await;
    reply(processed)
}

fn reply(processed: Processed) -> Response<Full<Bytes>> {
    let mut response = json(processed.body);
    let value = processed.advice.as_ref().and_then(|advice| HeaderValue::from_str(&advice_text(advice)).ok());
    if let Some(value) = value {
        response.headers_mut().insert(VERDICT_HEADER, value);
    }
    response
}

fn advice_text(advice: &Advice) -> String {
    if advice.rule.is_empty() {
        advice.verdict.to_string()
    } else {
        format!("{}; rule={}", advice.verdict, advice.rule)
    }
}

/// Who asks: the address, or what a trusted proxy says.
fn client_of(core: &Core, address: IpAddr, headers: &HeaderMap) -> Client {
    let named = core.config.client_header.as_deref().and_then(|name| headers.get(name)?.to_str().ok());
    match named.filter(|name| !name.is_empty() && name.len() <= MAX_CLIENT) {
        Some(name) => Client(name.into()),
        None => Client(address.to_canonical().to_string().into()),
    }
}

/// The whole body, as it was before it was compressed.
async fn read_body(core: &Core, request: Request<Incoming>) -> Result<Bytes, Response<Full<Bytes>>> {
    let limits = &core.config.limits;
    let (parts, body) = request.into_parts();
    if parts.headers.contains_key(CONTENT_LENGTH) && parts.headers.contains_key(TRANSFER_ENCODING) {
        return Err(refusal(StatusCode::BAD_REQUEST, code::REQUEST, "content-length and transfer-encoding differ"));
    }
    if !is_utf8(&parts.headers) {
        return Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, code::PARSE, "the charset is UTF-8"));
    }
    let too_long = || {
        let message = format!("the body has more than {} bytes", limits.body_bytes);
        refusal(StatusCode::PAYLOAD_TOO_LARGE, code::LIMIT, &message)
    };
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(too_long());
    }
    let collected = tokio::time::timeout(limits.read_timeout(), Collected::read(body, limits.body_bytes)).await;
    let body = match collected {
        Ok(Ok(Collected { bytes, rest: None })) => bytes,
        Ok(Ok(_)) => return Err(too_long()),
        Ok(Err(_)) => return Err(refusal(StatusCode::BAD_REQUEST, code::REQUEST, "the body broke off")),
        Err(_) => return Err(refusal(StatusCode::REQUEST_TIMEOUT, code::LIMIT, "the body did not come in time")),
    };
    inflate(&parts.headers, body, limits.body_bytes).await.map_err(|error| {
        let (status, code) = match error {
            InflateError::Unknown => (StatusCode::UNSUPPORTED_MEDIA_TYPE, code::PARSE),
            InflateError::Long(_) => (StatusCode::PAYLOAD_TOO_LARGE, code::LIMIT),
            InflateError::Malformed => (StatusCode::BAD_REQUEST, code::PARSE),
        };
        refusal(status, code, &error.to_string())
    })
}

/// Whether the body claims no other charset. Its type does not matter: it is read as JSON or not at all.
fn is_utf8(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_TYPE).iter().all(|value| {
        let Ok(value) = value.to_str() else { return false };
        let mut parameters = value.split(';').skip(1).filter_map(|part| part.split_once('='));
        parameters.all(|(name, value)| {
            !name.trim().eq_ignore_ascii_case("charset")
                || matches!(value.trim().trim_matches('"').to_ascii_lowercase().as_str(), "utf-8" | "utf8")
        })
    })
}

fn health(core: &Core) -> Response<Full<Bytes>> {
    let is_well = core.forwarder.upstreams.any_well();
    let mut response = json(format!("{{\"ok\":{is_well}}}").into_bytes());
    if !is_well {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// A refusal of the transport, with a JSON-RPC error for clients that read nothing else.
pub(crate) fn refusal(status: StatusCode, code: i32, message: &str) -> Response<Full<Bytes>> {
    let mut body = Vec::new();
    write_reply("null", &Answer::Error(RpcError::new(code, message)), &mut body);
    let mut response = json(body);
    *response.status_mut() = status;
    response
}

fn json(body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
