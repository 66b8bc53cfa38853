//! The accept loop: bounded connections, headers within a time and a size, a graceful end.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt as _;

use super::guard::Peer;
use super::{Api, stopped};

/// How long requests under way may take after the stop.
const GRACE: Duration = Duration::from_secs(10);
/// After this many milliseconds a failed accept (no file handle left, mostly) is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// What the HTTP parser needs at least.
const LEAST_BUFFER: usize = 8_192;

/// Serves until the API's stop becomes true; then ends every connection after the request that it is in.
pub async fn serve(listener: TcpListener, api: Arc<Api>) {
    let router = api.router();
    let room = Arc::new(Semaphore::new(api.limits.connections));
    let mut stop = api.stop.clone();
    let mut connections = JoinSet::new();
    let following = tokio::spawn(Arc::clone(&api).follow());
    loop {
        // Taken before accepting: a client above the limit waits in the kernel's queue and costs nothing here.
        let next = async {
            let permit = Arc::clone(&room).acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, accepted) = tokio::select! {
            next = next => next,
            () = stopped(&mut stop) => break,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let (api, router) = (Arc::clone(&api), router.clone());
                connections.spawn(async move {
                    connection(stream, peer.ip(), &api, router).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept");
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, drained).await.is_err() {
        connections.shutdown().await;
    }
    following.abort();
}

async fn connection(stream: TcpStream, peer: IpAddr, api: &Api, router: Router) {
    let _held = api.meters.connections.hold();
    let _ = stream.set_nodelay(true);
    let service = router.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        request
    });
    let mut settings = http1::Builder::new();
    settings
        .timer(TokioTimer::new())
        .header_read_timeout(api.limits.request_time())
        .max_buf_size(api.limits.header_bytes.max(LEAST_BUFFER))
        .max_headers(MAX_HEADERS);
    let serving = settings.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    let mut stop: watch::Receiver<bool> = api.stop.clone();
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stopped(&mut stop) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}
