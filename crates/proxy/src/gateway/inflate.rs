//! Decompresses request bodies within bounds.

use std::future::poll_fn;
use std::pin::Pin;

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;
use tokio::io::{AsyncRead, ReadBuf};

/// Largest window of zstd, as a power of two: what a frame may make a reader allocate.
const ZSTD_WINDOW: u32 = 23;
/// Bytes that are decompressed at once.
const STEP: usize = 16 << 10;

/// Why a body is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InflateError {
    /// Not an encoding that is read, or more than one.
    #[error("content-encoding is one of gzip, deflate, br, zstd")]
    Unknown,
    /// Longer than a body may be.
    #[error("the decompressed body has more than {0} bytes")]
    Long(usize),
    /// Not in this encoding, or with something behind it.
    #[error("the body is not in its content-encoding")]
    Malformed,
}

/// The body as it was before it was compressed.
///
/// # Errors
/// [`InflateError`].
pub(crate) async fn inflate(headers: &HeaderMap, body: Bytes, most: usize) -> Result<Bytes, InflateError> {
    let mut named = headers.get_all(CONTENT_ENCODING).iter();
    let encoding = match (named.next(), named.next()) {
        (None, _) => return Ok(body),
        (Some(one), None) => one.to_str().map_err(|_| InflateError::Unknown)?.trim().to_ascii_lowercase(),
        (Some(_), Some(_)) => return Err(InflateError::Unknown),
    };
    let mut rest: &[u8] = &body;
    let inflated = match encoding.as_str() {
        "identity" => return Ok(body),
        "gzip" | "x-gzip" => read(GzipDecoder::new(&mut rest), most).await,
        "deflate" => read(ZlibDecoder::new(&mut rest), most).await,
        "br" => read(BrotliDecoder::new(&mut rest), most).await,
        "zstd" => read(ZstdDecoder::with_params(&mut rest, &[DParameter::window_log_max(ZSTD_WINDOW)]), most).await,
        _ => return Err(InflateError::Unknown),
    }?;
    // What follows the compressed text could be another request to another reader.
    if rest.is_empty() { Ok(inflated) } else { Err(InflateError::Malformed) }
}

async fn read(mut decoder: impl AsyncRead + Unpin, most: usize) -> Result<Bytes, InflateError> {
    let mut inflated = Vec::new();
    let mut step = vec![0; STEP];
    loop {
        let mut buffer = ReadBuf::new(&mut step);
        let read = poll_fn(|cx| Pin::new(&mut decoder).poll_read(cx, &mut buffer)).await;
        read.map_err(|_| InflateError::Malformed)?;
        if buffer.filled().is_empty() {
            return Ok(inflated.into());
        }
        if inflated.len() + buffer.filled().len() > most {
            return Err(InflateError::Long(most));
        }
        inflated.extend_from_slice(buffer.filled());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    async fn through(mut encoder: impl AsyncRead + Unpin) -> Vec<u8> {
        read(&mut encoder, usize::MAX).await.unwrap().to_vec()
    }

    async fn deflated(encoding: &str, text: &[u8]) -> Vec<u8> {
        match encoding {
            "gzip" => through(GzipEncoder::new(text)).await,
            "deflate" => through(ZlibEncoder::new(text)).await,
            "br" => through(BrotliEncoder::new(text)).await,
            _ => through(ZstdEncoder::new(text)).await,
        }
    }

    async fn inflated(encoding: &str, body: Vec<u8>, most: usize) -> Result<Bytes, InflateError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_str(encoding).unwrap());
        inflate(&headers, body.into(), most).await
    }

    #[tokio::test]
    async fn every_encoding_is_read_within_bounds_and_to_its_end() {
        for encoding in ["gzip", "deflate", "br", "zstd"] {
            let body = deflated(encoding, &[b'x'; 100_000]).await;
            assert!(body.len() < 1_000, "{encoding}");
            assert_eq!(inflated(encoding, body.clone(), 100_000).await.unwrap().len(), 100_000, "{encoding}");
            assert_eq!(inflated(encoding, body.clone(), 99_999).await, Err(InflateError::Long(99_999)), "{encoding}");
            let cut = body[..body.len() - 2].to_vec();
            assert_eq!(inflated(encoding, cut, 100_000).await, Err(InflateError::Malformed), "{encoding}");
            let twice = [body.clone(), body].concat();
            assert!(inflated(encoding, twice, 1 << 20).await.is_err(), "{encoding}");
        }
        for encoding in ["compress", "gzip, gzip", "", "gzip,br"] {
            assert_eq!(inflated(encoding, vec![1], 10).await, Err(InflateError::Unknown), "{encoding}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_end_in_an_answer(body in prop::collection::vec(any::<u8>(), 0..256), which in 0..4_usize) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let encoding = ["gzip", "deflate", "br", "zstd"][which];
            if let Ok(bytes) = runtime.block_on(inflated(encoding, body, 4_096)) {
                prop_assert!(bytes.len() <= 4_096);
            }
        }
    }
}
