//! Bodies: read within a limit, and held together with what must last as long.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;

/// Largest body a client may send, bytes.
pub const BODY_MAX_BYTES: usize = 4 * 1024 * 1024;

/// Longest wait for the end of a client's body: a body under way holds a place in the node.
pub const BODY_WITHIN: Duration = Duration::from_secs(20);

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is over [`BODY_MAX_BYTES`].
    #[error("the body is over {BODY_MAX_BYTES} bytes")]
    TooLarge,
    /// The connection ended before it did, or it took longer than [`BODY_WITHIN`].
    #[error("the body did not arrive whole")]
    CutOff,
}

/// Reads a body of at most [`BODY_MAX_BYTES`] within [`BODY_WITHIN`]. A body that arrived in one piece is not copied.
///
/// # Errors
/// [`BodyError`] when it is too large or did not arrive.
pub async fn read(body: Body) -> Result<Bytes, BodyError> {
    tokio::time::timeout(BODY_WITHIN, collect(body)).await.unwrap_or(Err(BodyError::CutOff))
}

async fn collect(mut body: Body) -> Result<Bytes, BodyError> {
    let announced = body.size_hint().lower();
    if announced > BODY_MAX_BYTES as u64 {
        return Err(BodyError::TooLarge);
    }
    let mut first = Bytes::new();
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BodyError::CutOff)?.into_data() else { continue };
        if first.len() + whole.len() + data.len() > BODY_MAX_BYTES {
            return Err(BodyError::TooLarge);
        }
        if first.is_empty() && whole.is_empty() {
            first = data;
            continue;
        }
        if whole.is_empty() {
            whole.reserve(usize::try_from(announced).unwrap_or(0).max(first.len() + data.len()));
            whole.extend_from_slice(&std::mem::take(&mut first));
        }
        whole.extend_from_slice(&data);
    }
    Ok(if whole.is_empty() { first } else { whole.freeze() })
}

/// A body that holds something until it is dropped.
#[derive(Debug)]
pub struct Holding<T> {
    body: Body,
    _held: T,
}

impl<T> Holding<T> {
    /// Joins the two.
    pub const fn new(body: Body, held: T) -> Self {
        Self { body, _held: held }
    }
}

impl<T: Unpin> HttpBody for Holding<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn chunks(sizes: &[usize]) -> Body {
        let chunks: Vec<Result<Bytes, std::io::Error>> =
            sizes.iter().map(|size| Ok(Bytes::from(vec![b'x'; *size]))).collect();
        Body::from_stream(stream::iter(chunks))
    }

    #[tokio::test]
    async fn a_body_is_read_whole_up_to_the_limit() {
        assert_eq!(read(Body::empty()).await.unwrap().len(), 0);
        assert_eq!(read(chunks(&[3, 0, 4])).await.unwrap().len(), 7);
        assert_eq!(read(chunks(&[BODY_MAX_BYTES - 1, 1])).await.unwrap().len(), BODY_MAX_BYTES);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_announced_or_not() {
        assert_eq!(read(Body::from(vec![0; BODY_MAX_BYTES + 1])).await, Err(BodyError::TooLarge));
        assert_eq!(read(chunks(&[BODY_MAX_BYTES, 1])).await, Err(BodyError::TooLarge));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_refused() {
        let broken = [Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("gone"))];
        assert_eq!(read(Body::from_stream(stream::iter(broken))).await, Err(BodyError::CutOff));
    }
}
