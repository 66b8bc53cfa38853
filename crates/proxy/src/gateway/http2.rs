//! HTTP/2 without TLS, for clients that know that the gateway speaks it: the same answers, and the same bounds.
//!
//! Always true: a connection has so many requests at a time and no more, and one that asks nothing for a while is closed,
//! however it keeps busy otherwise. Websockets begin in HTTP/1.1 alone.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

use crate::connections::{Bounds, Place, Timed};

/// How a client of HTTP/2 begins. No method of HTTP/1.1 does.
const PREFACE: &[u8; 3] = b"PRI";
/// Between two looks at a beginning of which part is there.
const LOOK: Duration = Duration::from_millis(10);
/// Streams that a client opened and took back, and that wait to be forgotten: with more of them it is cut.
const RESETS: usize = 20;

/// Whether the client begins in HTTP/2; nothing where it does not begin in time, or the listener stops.
pub(crate) async fn begins(stream: &TcpStream, place: &Place, within: Duration) -> Option<bool> {
    let mut stopped = place.stopped.clone();
    tokio::select! {
        begins = tokio::time::timeout(within, look(stream)) => begins.ok()?,
        _ = stopped.wait_for(|stopped| *stopped) => None,
    }
}

async fn look(stream: &TcpStream) -> Option<bool> {
    let mut seen = [0; PREFACE.len()];
    loop {
        let count = stream.peek(&mut seen).await.ok()?;
        if count == 0 || !PREFACE.starts_with(seen.get(..count)?) {
            return Some(false);
        }
        if count == PREFACE.len() {
            return Some(true);
        }
        // What is there already ends any waiting for more.
        tokio::time::sleep(LOOK).await;
    }
}

/// Answers requests, `most` at a time, until the connection ends, is idle, or the listener stops and what is under way is
/// answered.
pub(crate) async fn serve<F>(
    stream: TcpStream,
    place: &Place,
    bounds: Bounds,
    most: usize,
    answer: impl Fn(Request<Incoming>) -> F,
) -> Result<(), hyper::Error>
where
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let requests = Arc::new(Requests::default());
    let counted = Arc::clone(&requests);
    let service = service_fn(move |request| {
        let (turn, answer) = (Requests::begin(&counted), answer(request));
        async move {
            let _turn = turn;
            Ok::<_, Infallible>(answer.await)
        }
    });
    let stream = TokioIo::new(Timed::new(stream, bounds.write));
    let mut served = std::pin::pin!(builder(bounds, most).serve_connection(stream, service));
    let mut stopped = place.stopped.clone();
    tokio::select! {
        ended = served.as_mut() => return ended,
        () = requests.cease(bounds.read) => {}
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    served.as_mut().graceful_shutdown();
    // A client that keeps its windows shut would be waited for without end.
    tokio::time::timeout(bounds.drain.max(bounds.write), served).await.unwrap_or(Ok(()))
}

fn builder(bounds: Bounds, most: usize) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(u32::try_from(most).unwrap_or(u32::MAX))
        .max_header_list_size(u32::try_from(bounds.header_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS)
        .keep_alive_interval(bounds.read)
        .keep_alive_timeout(bounds.write);
    builder
}

/// The requests of one connection.
#[derive(Default)]
struct Requests {
    under_way: AtomicUsize,
    /// Ever begun.
    all: AtomicU64,
}

/// A request that is being answered, until it is dropped.
struct Turn(Arc<Requests>);

impl Requests {
    fn begin(requests: &Arc<Self>) -> Turn {
        requests.under_way.fetch_add(1, Ordering::AcqRel);
        requests.all.fetch_add(1, Ordering::AcqRel);
        Turn(Arc::clone(requests))
    }

    /// Returns once there has been no request for this long, and for at most twice as long.
    async fn cease(&self, within: Duration) {
        let mut before = None;
        loop {
            let all = self.all.load(Ordering::Acquire);
            let is_idle = self.under_way.load(Ordering::Acquire) == 0;
            if is_idle && before == Some(all) {
                return;
            }
            before = is_idle.then_some(all);
            tokio::time::sleep(within).await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::AcqRel);
    }
}
