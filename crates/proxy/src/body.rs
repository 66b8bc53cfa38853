//! Bodies: a request's, read within bounds; a reply's, whole or streamed with its Answer as trailer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use surety_primitives::Hash32;
use surety_primitives::access::ProblemKind;

use crate::refusal::Refusal;

/// Reads a request's body.
pub(crate) async fn read_request(body: Incoming, most: usize, within: Duration) -> Result<Bytes, Refusal> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let too_long = || Refusal::new(ProblemKind::Malformed, format!("the body has more than {most} bytes"));
    if body.size_hint().lower() > most as u64 {
        return Err(too_long());
    }
    match tokio::time::timeout(within, Collected::read(body, most)).await {
        Err(_) => {
            Err(Refusal::new(ProblemKind::Malformed, format!("the body did not come within {} s", within.as_secs())))
        }
        Ok(Err(error)) => Err(Refusal::new(ProblemKind::Malformed, format!("the body broke off: {error}"))),
        Ok(Ok(Collected { rest: Some(_), .. })) => Err(too_long()),
        Ok(Ok(Collected { bytes, .. })) => Ok(bytes),
    }
}

/// The beginning of a body, and the rest if it is longer than was asked for.
pub(crate) struct Collected {
    pub(crate) bytes: Bytes,
    pub(crate) rest: Option<Incoming>,
}

impl Collected {
    pub(crate) async fn read(mut body: Incoming, most: usize) -> Result<Self, hyper::Error> {
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(bytes) = frame?.into_data() else { continue };
            // Most bodies come in one frame: no copy then.
            if first.is_empty() && joined.is_empty() {
                first = bytes;
            } else {
                if joined.is_empty() {
                    joined.extend_from_slice(&first);
                }
                joined.extend_from_slice(&bytes);
            }
            if first.len().max(joined.len()) > most {
                return Ok(Self { bytes: if joined.is_empty() { first } else { joined.freeze() }, rest: Some(body) });
            }
        }
        Ok(Self { bytes: if joined.is_empty() { first } else { joined.freeze() }, rest: None })
    }
}

/// What happens when a streamed reply ends.
pub(crate) trait StreamEnd: Send {
    /// All of it came, with this hash: the trailer.
    fn complete(self: Box<Self>, body: Hash32) -> HeaderMap;
    /// The API behind broke off.
    fn broken(self: Box<Self>);
    /// The caller went away, after a part with this hash.
    fn abandoned(self: Box<Self>, body: Hash32);
}

/// A reply's body.
pub(crate) enum ReplyBody {
    /// In one piece.
    Full(Option<Bytes>),
    /// Streamed.
    Stream(Box<Streamed>),
}

/// A body that is hashed as it passes.
pub(crate) struct Streamed {
    first: Option<Bytes>,
    rest: Incoming,
    hasher: Box<blake3::Hasher>,
    end: Option<Box<dyn StreamEnd>>,
}

impl ReplyBody {
    pub(crate) const fn full(bytes: Bytes) -> Self {
        Self::Full(Some(bytes))
    }

    pub(crate) fn stream(first: Bytes, rest: Incoming, end: Box<dyn StreamEnd>) -> Self {
        let hasher = Box::new(blake3::Hasher::new());
        Self::Stream(Box::new(Streamed { first: Some(first), rest, hasher, end: Some(end) }))
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        if let Some(end) = self.end.take() {
            end.abandoned(Hash32(*self.hasher.finalize().as_bytes()));
        }
    }
}

impl Streamed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let Some(first) = self.first.take() {
            self.hasher.update(&first);
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.end.is_none() {
            return Poll::Ready(None);
        }
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.rest).poll_frame(cx) else { return Poll::Pending };
            match frame {
                Some(Ok(frame)) => {
                    // The API's own trailers end here: only what was hashed is passed on.
                    let Ok(bytes) = frame.into_data() else { continue };
                    self.hasher.update(&bytes);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Err(error)) => {
                    if let Some(end) = self.end.take() {
                        end.broken();
                    }
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let hash = Hash32(*self.hasher.finalize().as_bytes());
                    return Poll::Ready(self.end.take().map(|end| Ok(Frame::trailers(end.complete(hash)))));
                }
            }
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.get_mut() {
            Self::Full(bytes) => {
                Poll::Ready(bytes.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Frame::data(bytes))))
            }
            Self::Stream(streamed) => streamed.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Full(bytes) if bytes.as_ref().is_none_or(Bytes::is_empty))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
        }
    }
}
