//! The services over HTTP.
//!
//! Each answer carries two headers for whoever signs it (the sidecar takes them off and signs over them):
//! [`BASIS_HEADER`], what the answer rests on, and `surety-claims`, the look-ups that it made.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, RawQuery, State as Shared};
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post};
use surety_primitives::access::{BASIS_HEADER, CLAIMS_HEADER, encode_b64};
use surety_primitives::{Seconds, codec};
use tokio::sync::Semaphore;

use crate::envelope::{Asked, Refusal, Reply, refused, reply};
use crate::json::MAX_BODY;
use crate::service::{Chains, Lists, Method, Request, SERVICES, Service, Sources};

/// Longest query, in bytes.
const MAX_QUERY: usize = 8_192;
/// Most answers that are computed from state at once; the others wait their turn.
const MAX_AT_WORK: usize = 16;

/// What the router answers from.
#[derive(Clone)]
struct Served {
    lists: Arc<Lists>,
    chains: Arc<Chains>,
    at_work: Arc<Semaphore>,
}

/// The services on these lists. Unknown paths are answered too.
pub fn router(lists: Arc<Lists>) -> Router {
    router_on(lists, Chains::new())
}

/// The services on these lists and chains. Unknown paths are answered too.
pub fn router_on(lists: Arc<Lists>, chains: Chains) -> Router {
    let mut router = Router::new();
    for &service in SERVICES {
        let handler = move |Shared(served): Shared<Served>, path: Path, RawQuery(query): RawQuery, body: Body| async move {
            let request = asked(service, &path, query.as_deref(), body).await;
            response(served.respond(service, request).await)
        };
        let route = match service.card().method {
            Method::Get => get(handler),
            Method::Post => post(handler),
        };
        router = router.route(service.card().path, route);
    }
    let at_work = Arc::new(Semaphore::new(MAX_AT_WORK));
    let served = Served { lists, chains: Arc::new(chains), at_work };
    router.fallback(unknown_path).method_not_allowed_fallback(wrong_method).with_state(served)
}

impl Served {
    /// Answers on a thread that may wait and work where that is needed, and here where nothing waits.
    async fn respond(self, service: &'static dyn Service, request: Result<Request, Refusal>) -> Result<Reply, Refusal> {
        if !service.card().reads_state || self.chains.is_empty() {
            return respond(service, Sources::new(&self.lists, &self.chains), request);
        }
        let turn = Arc::clone(&self.at_work).acquire_owned().await;
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            respond(service, Sources::new(&self.lists, &self.chains), request)
        });
        work.await.unwrap_or_else(|_| Err(Refusal::Server("the answer could not be computed".to_owned())))
    }
}

type Path = Result<RawPathParams, RawPathParamsRejection>;

async fn asked(service: &dyn Service, path: &Path, query: Option<&str>, body: Body) -> Result<Request, Refusal> {
    let path = path.as_ref().map_err(|_| Refusal::Parameter("the path is not UTF-8".to_owned()))?;
    let segment = path.iter().next().map_or("", |(_, value)| value);
    let mut request = request(segment, query.unwrap_or_default(), now())?;
    if service.card().method == Method::Post {
        let body = to_bytes(body, MAX_BODY).await;
        request.body = body.map_err(|_| Refusal::Parameter("body: cut off, or longer than 4 MiB".to_owned()))?.to_vec();
    }
    Ok(request)
}

/// The answer of one service to one request.
///
/// # Errors
/// [`Refusal`] when the request makes no sense.
pub fn answer<'a>(service: &dyn Service, sources: impl Into<Sources<'a>>, request: &Request) -> Result<Reply, Refusal> {
    let sources: Sources<'a> = sources.into();
    request.check_engine()?;
    let lists = sources.lists.pinned_by(request)?;
    let gathered = service.gather(Sources { lists: &lists, ..sources }, request)?;
    let verdict = service.judge(&gathered)?;
    let asked = Asked { service: service.name(), request, datasets: &service.datasets(&lists) };
    reply(asked, &gathered.state, &verdict)
}

/// What one service sends back, whether or not the request makes sense.
///
/// # Errors
/// [`Refusal::Server`] when nothing can be said that a signature could stand under.
pub fn respond<'a>(
    service: &dyn Service,
    sources: impl Into<Sources<'a>>,
    request: Result<Request, Refusal>,
) -> Result<Reply, Refusal> {
    let sources: Sources<'a> = sources.into();
    let outcome = request.and_then(|request| answer(service, sources, &request));
    outcome.or_else(|refusal| refused(&refusal, &service.datasets(sources.lists)))
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
    Ok(Request { segment: segment.to_owned(), query: parameters, at, ..Request::default() })
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

async fn wrong_method() -> Response<Body> {
    let refusal = Refusal::Parameter("this service is asked by another method".to_owned());
    json(StatusCode::METHOD_NOT_ALLOWED, refusal.body())
}

fn json(status: StatusCode, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, axum::http::HeaderValue::from_static("application/json"));
    response
}
