//! Listeners and their connections: what one connection may hold, how many one address, and how they end.

use std::collections::HashMap;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Sleep;

use crate::error::Error;

/// Most header fields of a request.
const MAX_HEADERS: usize = 100;

/// Bounds on the connections of one listener.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// At a time.
    pub(crate) connections: usize,
    /// At a time of one address; 0 for no limit.
    pub(crate) per_address: usize,
    /// Bytes of a request's headers.
    pub(crate) header_bytes: usize,
    /// In which a request's headers arrive.
    pub(crate) read: Duration,
    /// In which a caller reads something of what waits for it.
    pub(crate) write: Duration,
    /// For requests under way when the listener stops.
    pub(crate) drain: Duration,
}

/// A connection's place, kept until it and whatever it became are closed.
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    /// Whether the listener stops.
    pub(crate) stopped: watch::Receiver<bool>,
    _peer: Peer,
    _permit: OwnedSemaphorePermit,
}

/// A listener, and where it listens.
///
/// # Errors
/// [`Error::Listen`].
pub(crate) async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let failed = |source| Error::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Accepts connections until told to stop, each within the bounds; then waits for those that are open.
pub(crate) async fn accept<F>(
    listener: TcpListener,
    bounds: Bounds,
    mut stopped: watch::Receiver<bool>,
    serve: impl Fn(TcpStream, Arc<Place>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(bounds.connections));
    let peers = Arc::new(Peers::default());
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { break };
        let accepted = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                // Out of file descriptors: others must end first.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // One caller takes no place from the others.
        let Some(peer) = peers.admit(address.ip(), bounds.per_address) else { continue };
        // Replies are small and wait for nothing else.
        let _ = stream.set_nodelay(true);
        let place = Place { address: address.ip(), stopped: stopped.clone(), _peer: peer, _permit: permit };
        tokio::spawn(serve(stream, Arc::new(place)));
    }
    drop(listener);
    let everyone = u32::try_from(bounds.connections).unwrap_or(u32::MAX);
    if tokio::time::timeout(bounds.drain, room.acquire_many(everyone)).await.is_err() {
        tracing::warn!("connections were cut at the end of the drain time");
    }
}

/// Answers requests in HTTP/1.1 until the connection ends, or until the listener stops and what is under way is answered.
pub(crate) async fn serve_http1<F, B>(
    stream: TcpStream,
    place: &Place,
    bounds: Bounds,
    answer: impl Fn(Request<Incoming>) -> F,
) -> Result<(), hyper::Error>
where
    F: Future<Output = Response<B>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
    B::Data: Send,
{
    let stream = TokioIo::new(Timed::new(stream, bounds.write));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.read)
        .max_buf_size(bounds.header_bytes)
        .max_headers(MAX_HEADERS);
    let service = service_fn(|request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let mut served = std::pin::pin!(builder.serve_connection(stream, service).with_upgrades());
    let mut stopped = place.stopped.clone();
    tokio::select! {
        ended = served.as_mut() => return ended,
        _ = stopped.wait_for(|stopped| *stopped) => {}
    }
    served.as_mut().graceful_shutdown();
    served.await
}

/// Answers an administrator's requests, on a listener of their own, until told to stop.
pub(crate) async fn serve_private<A, F, B>(listener: TcpListener, mut stopped: watch::Receiver<bool>, answer: A)
where
    A: Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    F: Future<Output = Response<B>> + Send,
    B: Body + Send + 'static,
    B::Error: Into<Box<dyn StdError + Send + Sync>>,
    B::Data: Send,
{
    loop {
        let stream = tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = stream else { continue };
        let answer = answer.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(request);
                async move { Ok::<_, Infallible>(answer.await) }
            });
            let served = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            let _ = served.await;
        });
    }
}

/// A stream whose reader must take something within a time: one that never reads would hold its place for ever.
pub(crate) struct Timed<S> {
    stream: S,
    within: Duration,
    /// Runs while nothing can be written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    pub(crate) const fn new(stream: S, within: Duration) -> Self {
        Self { stream, within, stalled: None }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let within = self.within;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        stalled.as_mut().poll(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the caller reads nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Timed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Timed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch(cx, poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.watch(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    // A socket flushes at once: that it does says nothing of the reader.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

/// Open connections by address.
#[derive(Debug, Default)]
pub(crate) struct Peers(Mutex<HashMap<IpAddr, usize>>);

/// A place among the connections of an address, until it is dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    peers: Arc<Peers>,
    address: IpAddr,
}

impl Peers {
    /// A place, if the address has fewer than `most`; 0 is no limit.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr, most: usize) -> Option<Peer> {
        let address = network(address);
        let mut open = self.open();
        let count = open.entry(address).or_default();
        if most > 0 && *count >= most {
            return None;
        }
        *count += 1;
        Some(Peer { peers: Arc::clone(self), address })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut open = self.peers.open();
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}

/// What one caller is given: an IPv4 address, or the first 64 bits of an IPv6 one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
        address => address,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_an_ipv6_network_counts_as_one() {
        let peers = Arc::new(Peers::default());
        let admit = |address: &str| peers.admit(address.parse().unwrap(), 2);
        let (first, second) = (admit("192.0.2.1").unwrap(), admit("::ffff:192.0.2.1").unwrap());
        assert!(admit("192.0.2.1").is_none());
        assert!(admit("192.0.2.2").is_some());
        drop(first);
        assert!(admit("192.0.2.1").is_some());
        drop(second);
        let held = [admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap()];
        assert!(admit("2001:db8::3").is_none() && admit("2001:db8:0:1::1").is_some());
        drop(held);
        assert!(peers.open().is_empty());
    }
}
