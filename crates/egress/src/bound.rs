//! Keeps an answer's body in size and time.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep, sleep_until};

/// How much of a body is taken, and how long it may take.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most bytes.
    pub bytes: u64,
    /// Longest wait for the next piece.
    pub idle: Duration,
    /// When all of it must have come.
    pub until: Instant,
}

/// Why a body was not taken to its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than was asked for.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(u64),
    /// Nothing came for too long.
    #[error("the answer stopped coming")]
    Idle,
    /// It was not complete in time.
    #[error("the answer did not end in time")]
    Late,
    /// The connection broke.
    #[error("the answer broke off")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

/// A body that ends with an error when it leaves its bounds.
#[derive(Debug)]
pub struct Bounded<B> {
    body: B,
    bounds: Bounds,
    taken: u64,
    wait: Pin<Box<Sleep>>,
}

/// Puts bounds on a body. The time until the first piece is bounded by `idle`, too.
pub fn bound<B>(body: B, bounds: Bounds) -> Bounded<B> {
    let wait = Box::pin(sleep_until(bounds.until.min(Instant::now() + bounds.idle)));
    Bounded { body, bounds, taken: 0, wait }
}

/// Takes a whole body within its bounds. One that says beforehand that it is too large is not begun.
///
/// # Errors
/// [`BodyError`].
pub async fn collect<B>(body: B, bounds: Bounds) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    if body.size_hint().lower() > bounds.bytes {
        return Err(BodyError::TooLarge(bounds.bytes));
    }
    let mut body = bound(body, bounds);
    let mut whole: Option<Bytes> = None;
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame?.into_data() else { continue };
        match whole.take() {
            None if joined.is_empty() => whole = Some(piece),
            first => {
                joined.extend_from_slice(&first.unwrap_or_default());
                joined.extend_from_slice(&piece);
            }
        }
    }
    Ok(whole.unwrap_or_else(|| joined.freeze()))
}

impl<B> Body for Bounded<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            ready!(this.wait.as_mut().poll(cx));
            let late = Instant::now() >= this.bounds.until;
            return Poll::Ready(Some(Err(if late { BodyError::Late } else { BodyError::Idle })));
        };
        let Some(frame) = frame else { return Poll::Ready(None) };
        let frame = frame.map_err(|error| BodyError::Broken(error.into()))?;
        this.taken += frame.data_ref().map_or(0, |piece| piece.remaining() as u64);
        if this.taken > this.bounds.bytes {
            return Poll::Ready(Some(Err(BodyError::TooLarge(this.bounds.bytes))));
        }
        let now = Instant::now();
        if now >= this.bounds.until {
            return Poll::Ready(Some(Err(BodyError::Late)));
        }
        this.wait.as_mut().reset(this.bounds.until.min(now + this.bounds.idle));
        Poll::Ready(Some(Ok(frame)))
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
    use std::convert::Infallible;

    use http_body_util::{Full, StreamBody};
    use tokio::sync::mpsc;
    use tokio_stream::StreamExt as _;
    use tokio_stream::wrappers::ReceiverStream;

    use super::*;

    fn bounds() -> Bounds {
        Bounds { bytes: 10, idle: Duration::from_secs(5), until: Instant::now() + Duration::from_secs(12) }
    }

    /// A body that sends what is put in, for as long as the sender lives.
    fn body() -> (mpsc::Sender<&'static str>, impl Body<Data = Bytes, Error = Infallible> + Unpin) {
        let (sender, receiver) = mpsc::channel(8);
        (sender, StreamBody::new(ReceiverStream::new(receiver).map(|piece| Ok(Frame::data(Bytes::from(piece))))))
    }

    #[tokio::test]
    async fn a_body_within_its_bounds_comes_whole() {
        for pieces in [&[][..], &["hello"], &["he", "l", "lo"]] {
            let (sender, body) = body();
            for piece in pieces {
                sender.send(piece).await.unwrap();
            }
            drop(sender);
            assert_eq!(collect(body, bounds()).await.unwrap(), pieces.concat());
        }
    }

    #[tokio::test]
    async fn a_body_that_grows_too_large_is_cut() {
        let (sender, body) = body();
        sender.send("0123456789").await.unwrap();
        sender.send("!").await.unwrap();
        assert!(matches!(collect(body, bounds()).await, Err(BodyError::TooLarge(10))));
        let whole = Full::new(Bytes::from_static(b"0123456789!"));
        assert!(matches!(collect(whole, bounds()).await, Err(BodyError::TooLarge(10))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stops_coming_is_given_up() {
        let (sender, body) = body();
        sender.send("begun").await.unwrap();
        let began = Instant::now();
        assert!(matches!(collect(body, bounds()).await, Err(BodyError::Idle)));
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_is_given_up_at_the_end_of_its_time() {
        let (sender, body) = body();
        let drip = async {
            while sender.send("").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        };
        let began = Instant::now();
        let (taken, ()) = tokio::join!(async { collect(body, bounds()).await }, drip);
        assert!(matches!(taken, Err(BodyError::Late)));
        assert!((12..=15).contains(&began.elapsed().as_secs()));
    }
}
