//! The way to the API behind: a pool of kept connections, and what of a request and a reply passes.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use hyper::http::request::Parts;
use hyper::{HeaderMap, Request, Response, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use surety_primitives::access::ProblemKind;

use crate::state::Route;

/// Connections that are kept open to each API.
const IDLE_CONNECTIONS: usize = 1_024;
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// What begins so belongs to this protocol and ends here, in both directions.
const OURS: &str = "surety-";

/// The client of the APIs behind.
pub(crate) struct Upstream(Client<HttpConnector, Full<Bytes>>);

impl Upstream {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(3)));
        let mut builder = Client::builder(TokioExecutor::new());
        builder.pool_timer(TokioTimer::new()).pool_idle_timeout(Duration::from_secs(30));
        builder.pool_max_idle_per_host(IDLE_CONNECTIONS);
        Self(builder.build(connector))
    }

    /// Sends a request on. A status of 5xx comes back like any other.
    pub(crate) async fn send(
        &self,
        route: &Route,
        parts: Parts,
        body: Bytes,
    ) -> Result<Response<Incoming>, ProblemKind> {
        let request = outgoing(route, parts, body).ok_or(ProblemKind::Upstream)?;
        self.0.request(request).await.map_err(|error| {
            tracing::warn!(service = %route.config.id, %error, "the API behind did not answer");
            ProblemKind::Upstream
        })
    }
}

fn outgoing(route: &Route, parts: Parts, body: Bytes) -> Option<Request<Full<Bytes>>> {
    let mut uri = hyper::http::uri::Parts::default();
    uri.scheme = Some(route.scheme.clone());
    uri.authority = Some(route.authority.clone());
    uri.path_and_query = parts.uri.path_and_query().cloned();
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = parts.method;
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    let mut headers = parts.headers;
    strip(&mut headers);
    headers.insert(HOST, route.host.clone());
    *request.headers_mut() = headers;
    Some(request)
}

/// Takes out what belongs to one connection or to this protocol, and the length, which is written anew.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [
        CONNECTION,
        KEEP_ALIVE,
        TE,
        TRAILER,
        TRANSFER_ENCODING,
        UPGRADE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        CONTENT_LENGTH,
    ] {
        headers.remove(name);
    }
    let ours: Vec<HeaderName> = headers.keys().filter(|name| name.as_str().starts_with(OURS)).cloned().collect();
    for name in ours {
        headers.remove(name);
    }
}

/// Whether the caller takes trailers.
pub(crate) fn takes_trailers(headers: &HeaderMap) -> bool {
    let has = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| value.split(',').any(|coding| coding.trim().eq_ignore_ascii_case("trailers")))
    };
    headers.get_all(TE).iter().any(has)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_a_connection_or_to_the_protocol_does_not_pass() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("surety-call", "x"),
            ("surety-basis", "x"),
            ("accept", "*/*"),
        ] {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        strip(&mut headers);
        assert_eq!(headers.len(), 1);
        assert!(headers.contains_key("accept"));
    }

    #[test]
    fn trailers_are_found_among_other_codings() {
        let mut headers = HeaderMap::new();
        assert!(!takes_trailers(&headers));
        headers.insert(TE, HeaderValue::from_static("gzip, Trailers"));
        assert!(takes_trailers(&headers));
    }
}
