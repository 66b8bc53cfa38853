//! What stands before every route: the rate, CORS, counting, and answers for what is no route.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use tower_http::cors::{Any, CorsLayer};

use super::problem::{Kind, Problem};
use super::{Api, Shared};

/// The address at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

pub(crate) fn around(router: Router<Shared>, api: &Arc<Api>) -> Router<Shared> {
    router
        .fallback(async || Problem::new(Kind::NoRoute, "see /openapi.json for what there is"))
        .method_not_allowed_fallback(async || Problem::new(Kind::MethodNotAllowed, "see the Allow header"))
        .layer(from_fn_with_state(Arc::clone(api), admit))
        .layer(cors())
}

/// Any page may read and submit: nothing here depends on who asks, and no cookie is looked at.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE, HeaderName::from_static("last-event-id")])
        .expose_headers([header::RETRY_AFTER])
        .max_age(std::time::Duration::from_secs(3_600))
}

async fn admit(State(api): State<Shared>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let peer = request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| peer.0);
    let exempt = api.limits.exempt_loopback && peer.is_loopback();
    let mut response = if header_bytes(&request) > api.limits.header_bytes {
        let most = api.limits.header_bytes;
        Problem::new(Kind::HeadersTooLarge, format!("at most {most} bytes of line and headers")).into_response()
    } else if exempt || api.buckets.take(peer, started) {
        next.run(request).await
    } else {
        let rate = api.limits.rate;
        Problem::new(Kind::RateLimited, format!("{rate} requests a second are served to one address")).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    api.meters.answered(route.as_deref().unwrap_or("none"), response.status().as_u16(), started.elapsed());
    response
}

/// What a request's line and headers take on the wire, or a little less.
fn header_bytes(request: &Request) -> usize {
    let line = request.method().as_str().len() + request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    fields.sum::<usize>() + line + 12
}

/// Token buckets by address.
pub(crate) struct Buckets {
    rate: f64,
    burst: f64,
    buckets: Mutex<HashMap<IpAddr, Bucket>>,
}

struct Bucket {
    tokens: f64,
    at: Instant,
}

/// Addresses that are remembered; above it those whose bucket is full again are forgotten.
const MAX_BUCKETS: usize = 65_536;

impl Buckets {
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        Self { rate: f64::from(rate), burst: f64::from(burst.max(1)), buckets: Mutex::default() }
    }

    /// Takes a token of this address; false where none is left.
    pub(crate) fn take(&self, peer: IpAddr, now: Instant) -> bool {
        if self.rate == 0.0 {
            return true;
        }
        let refilled = |bucket: &Bucket| {
            let elapsed = now.saturating_duration_since(bucket.at).as_secs_f64();
            (bucket.tokens + elapsed * self.rate).min(self.burst)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = network_of(peer);
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| refilled(bucket) < self.burst);
            // So many busy addresses at once are one attack: who is new waits.
            if buckets.len() >= MAX_BUCKETS {
                return false;
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: self.burst, at: now });
        let tokens = refilled(bucket);
        bucket.at = now;
        bucket.tokens = if tokens >= 1.0 { tokens - 1.0 } else { tokens };
        tokens >= 1.0
    }
}

/// One client often holds a whole /64 of IPv6.
pub(crate) fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate_and_others_are_not_touched() {
        let buckets = Buckets::new(10, 3);
        let (ana, ben): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let now = Instant::now();
        assert_eq!([(); 5].map(|()| buckets.take(ana, now)), [true, true, true, false, false]);
        assert!(buckets.take(ben, now));
        assert!(!buckets.take(ana, now + Duration::from_millis(50)));
        assert!(buckets.take(ana, now + Duration::from_millis(160)));
        assert!(!buckets.take(ana, now + Duration::from_millis(160)));
    }

    #[test]
    fn a_slash_64_is_one_client() {
        let buckets = Buckets::new(1, 1);
        let now = Instant::now();
        assert!(buckets.take("2001:db8::1".parse().unwrap(), now));
        assert!(!buckets.take("2001:db8::ffff:1".parse().unwrap(), now));
        assert!(buckets.take("2001:db8:0:1::1".parse().unwrap(), now));
    }
}
