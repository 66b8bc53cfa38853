//! The services over HTTP.
//!
//! Each answer carries two headers for whoever signs it (the sidecar takes them off and signs over them):
//! [`BASIS_HEADER`], what the answer rests on, and `surety-claims`, the look-ups that it made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, RawQuery, State};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use surety_primitives::access::{BASIS_HEADER, CLAIMS_HEADER, encode_b64};
use surety_primitives::{Seconds, codec};

use crate::envelope::{Refusal, Reply, refused, reply};
use crate::service::{Lists, Request, SERVICES, Service};

/// Longest query, in bytes.
const MAX_QUERY: usize = 8_192;

/// The services on these lists. Unknown paths are answered too.
pub fn router(lists: Arc<Lists>) -> Router {
    let mut router = Router::new();
    for &service in SERVICES {
        let handler = move |State(lists): State<Arc<Lists>>, path: Path, RawQuery(query): RawQuery| async move {
            response(respond(service, &lists, asked(&path, query.as_deref())))
        };
        router = router.route(service.path(), get(handler));
    }
    router.fallback(unknown_path).with_state(lists)
}

type Path = Result<RawPathParams, RawPathParamsRejection>;

fn asked(path: &Path, query: Option<&str>) -> Result<Request, Refusal> {
    let path = path.as_ref().map_err(|_| Refusal::Parameter("the path is not UTF-8".to_owned()))?;
    let segment = path.iter().next().map_or("", |(_, value)| value);
    request(segment, query.unwrap_or_default(), now())
}

/// The answer of one service to one request.
///
/// # Errors
/// [`Refusal`] when the request makes no sense.
pub fn answer(service: &dyn Service, lists: &Lists, request: &Request) -> Result<Reply, Refusal> {
    let gathered = service.gather(lists, request)?;
    reply(service.name(), request, &service.datasets(lists), &service.judge(&gathered))
}

/// What one service sends back, whether or not the request makes sense.
///
/// # Errors
/// [`Refusal::Server`] when nothing can be said that a signature could stand under.
pub fn respond(service: &dyn Service, lists: &Lists, request: Result<Request, Refusal>) -> Result<Reply, Refusal> {
    let outcome = request.and_then(|request| answer(service, lists, &request));
    outcome.or_else(|refusal| refused(&refusal, &service.datasets(lists)))
}

/// Reads path and query.
///
/// # Errors
/// [`Refusal::Parameter`] for a query that is too long or names a parameter twice.
pub fn request(segment: &str, query: &str, at: Seconds) -> Result<Request, Refusal> {
    if query.len() > MAX_QUERY {
        return Err(Refusal::Parameter(format!("the query is longer than {MAX_QUERY} bytes")));
    }
    let mut parameters = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        // Two readers could take different ones.
        if parameters.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(Refusal::Parameter(format!("{name} is given twice")));
        }
    }
    Ok(Request { segment: segment.to_owned(), query: parameters, at })
}

/// The clock is read here, at the edge, and nowhere else.
fn now() -> Seconds {
    Seconds(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

fn response(answer: Result<Reply, Refusal>) -> Response<Body> {
    match answer {
        Ok(reply) => {
            let mut response = json(StatusCode::OK, reply.body);
            let basis = encode_b64(&codec::encode(&reply.basis));
            for (name, value) in [(BASIS_HEADER, basis), (CLAIMS_HEADER, reply.claims.to_header())] {
                if let Ok(value) = value.parse() {
                    response.headers_mut().insert(HeaderName::from_static(name), value);
                }
            }
            response
        }
        // The service answered, so HTTP says 200; the code is in the envelope.
        Err(refusal) => json(StatusCode::OK, refusal.body()),
    }
}

async fn unknown_path() -> Response<Body> {
    json(StatusCode::NOT_FOUND, Refusal::Parameter("unknown path".to_owned()).body())
}

fn json(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"));
    response
}
