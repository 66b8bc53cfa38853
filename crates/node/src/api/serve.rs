//! The accept loop: bounded connections, headers within a time and a size, a graceful end.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

use super::guard::{Peer, network_of};
use super::{Api, stopped};

/// How long requests under way may take after the stop.
const GRACE: Duration = Duration::from_secs(10);
/// After this many milliseconds a failed accept (no file handle left, mostly) is tried again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// What the HTTP parser needs at least.
const LEAST_BUFFER: usize = 8_192;

/// Open connections by address.
#[derive(Default)]
struct Held(Mutex<HashMap<IpAddr, usize>>);

/// One connection of an address; given back when dropped.
struct Holding(Arc<Held>, IpAddr);

impl Held {
    /// `None` when the address holds as many as it may.
    fn take(self: &Arc<Self>, peer: IpAddr, most: usize) -> Option<Holding> {
        let key = network_of(peer);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = held.entry(key).or_default();
        // An entry is there only while something is held, so a refusal must not leave one behind.
        if *count >= most.max(1) {
            return None;
        }
        *count += 1;
        Some(Holding(Arc::clone(self), key))
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut held = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = held.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.1);
            }
        }
    }
}

/// Serves until the API's stop becomes true; then ends every connection after the request that it is in.
pub async fn serve(listener: TcpListener, api: Arc<Api>) {
    let router = api.router();
    let room = Arc::new(Semaphore::new(api.limits.connections));
    let mut stop = api.stop.clone();
    let mut connections = JoinSet::new();
    let held = Arc::<Held>::default();
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
                let most = match peer.ip().is_loopback() && api.limits.exempt_loopback {
                    true => usize::MAX,
                    false => api.limits.connections_per_address,
                };
                let Some(holding) = held.take(peer.ip(), most) else { continue };
                let (api, router) = (Arc::clone(&api), router.clone());
                connections.spawn(async move {
                    connection(stream, peer.ip(), &api, router).await;
                    drop((permit, holding));
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
        .max_buf_size(api.limits.header_bytes.saturating_mul(2).max(LEAST_BUFFER))
        .max_headers(MAX_HEADERS);
    // Who does not read what it asked for loses its connection, and with it all that waits to be sent.
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(api.limits.write_time()));
    let serving = settings.serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(service));
    let mut serving = std::pin::pin!(serving);
    let mut stop: watch::Receiver<bool> = api.stop.clone();
    tokio::select! {
        _ = serving.as_mut() => return,
        () = stopped(&mut stop) => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}
