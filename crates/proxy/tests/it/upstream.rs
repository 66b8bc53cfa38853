//! The API behind: it counts what reaches it, and fails on request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use surety_primitives::access::{BASIS_HEADER, CALL_HEADER, CLAIMS_HEADER, encode_b64};
use surety_primitives::answer::claims::{Claim, Claims};
use surety_primitives::answer::{Basis, DatasetRef};
use surety_primitives::dataset::Key;
use surety_primitives::{DatasetId, Hash32, codec};
use tokio::net::TcpListener;

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    pub(crate) reached: Arc<AtomicU64>,
}

pub(crate) fn basis() -> Basis {
    Basis::new(vec![DatasetRef { id: DatasetId(1), version: 2, root: Hash32([3; 32]) }], None, Hash32([4; 32])).unwrap()
}

pub(crate) fn claims() -> Claims {
    let key = Key::new(1, b"example.com").unwrap();
    Claims::new(vec![Claim { dataset: DatasetId(1), version: 2, key, found: None }]).unwrap()
}

pub(crate) async fn start() -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let reached = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&reached);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let service = service_fn(move |request| answer(request, Arc::clone(&counter)));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    Upstream { address, reached }
}

async fn answer(request: Request<Incoming>, reached: Arc<AtomicU64>) -> Result<Response<Full<Bytes>>, Infallible> {
    reached.fetch_add(1, Ordering::SeqCst);
    assert!(!request.headers().contains_key(CALL_HEADER), "the call's header ends at the sidecar");
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let number = || query.parse::<u64>().unwrap_or(0);
    let mut headers = HeaderMap::new();
    let (status, body) = match path.trim_start_matches("/api") {
        "/status" => (StatusCode::from_u16(number() as u16).unwrap(), Bytes::from_static(b"as you wish")),
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(number())).await;
            (StatusCode::OK, Bytes::from_static(b"at last"))
        }
        "/long" => (StatusCode::OK, Bytes::from(vec![b'x'; number() as usize])),
        "/listed" => {
            headers.insert(BASIS_HEADER, HeaderValue::from_str(&encode_b64(&codec::encode(&basis()))).unwrap());
            headers.insert(CLAIMS_HEADER, HeaderValue::from_str(&claims().to_header()).unwrap());
            (StatusCode::OK, Bytes::from_static(b"not listed"))
        }
        "/nonsense" => {
            headers.insert(BASIS_HEADER, HeaderValue::from_static("%%%"));
            (StatusCode::OK, Bytes::from_static(b"x"))
        }
        _ => (StatusCode::OK, if body.is_empty() { Bytes::from_static(b"hello") } else { body }),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}
