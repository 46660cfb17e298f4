//! A call whose answer is a stream: what the upstream says is passed on as it comes, and the record is closed with the
//! answer, before its last byte leaves.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use mcp::sse;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Closing, Concluded, Ready, events};
use crate::audit::OpenRecord;
use crate::call::inflight::Running;
use crate::metrics::Metrics;
use crate::refusal::Refusal;
use crate::upstream::{Conversation, Fault, Item};

/// A call whose answer is a stream. Dropping it cancels the call and closes its record.
pub struct Talk {
    pub(crate) conversation: Box<Conversation>,
    pub(crate) record: Option<OpenRecord>,
    pub(crate) closing: Closing,
    /// Fires when the caller's token is worth nothing any more.
    pub(crate) ended: CancellationToken,
    /// The call in the list of those that can be cancelled.
    pub(crate) running: Option<Running>,
    pub(crate) metrics: Metrics,
}

/// What comes next on a stream to the client.
enum Next {
    Message(String),
    /// Nothing, for what came was not for the client.
    Dropped,
    Quiet,
    Answer(Ready),
    /// The stream ends without an answer.
    Silence,
}

impl Talk {
    /// The next event for the client; `None` when the stream is over.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.record.as_ref()?;
        let message = loop {
            match self.step().await {
                Next::Message(text) => break text,
                Next::Answer(ready) => break String::from_utf8_lossy(&ready.body.joined()).into_owned(),
                Next::Quiet => return Some(Bytes::from_static(sse::KEEP_ALIVE)),
                Next::Silence => return None,
                Next::Dropped => {}
            }
        };
        Some(sse::event(&message).into())
    }

    /// The answer alone, for a client that takes no stream; `None` when the call was cancelled.
    pub async fn last(mut self) -> Option<Ready> {
        loop {
            match self.step().await {
                Next::Message(_) | Next::Dropped | Next::Quiet => {}
                Next::Answer(ready) => return Some(ready),
                Next::Silence => return None,
            }
        }
    }

    async fn step(&mut self) -> Next {
        match self.item().await {
            Ok(Ok(Item::Dropped(why))) => {
                self.metrics.dropped(why);
                Next::Dropped
            }
            Ok(Ok(Item::Notification(message) | Item::Question(message))) => Next::Message(message.into_string()),
            Ok(Ok(Item::Quiet)) => Next::Quiet,
            Ok(Ok(Item::Answer(whole))) => self.close(self.closing.conclude(&whole)),
            Ok(Err(fault)) => self.close(self.closing.fault(fault)),
            Err(refusal) => {
                // Whoever took the question back, or may not ask, gets no answer.
                self.close(self.closing.refused(&refusal));
                Next::Silence
            }
        }
    }

    /// What the upstream says next, unless the call ends before.
    async fn item(&mut self) -> Result<Result<Item, Fault>, Refusal> {
        let cancelled = self.running.as_ref().map(|running| &running.cancelled);
        tokio::select! {
            biased;
            () = self.ended.cancelled() => Err(Refusal::Revoked),
            () = until(cancelled) => Err(Refusal::Cancelled),
            item = self.conversation.next() => Ok(item),
        }
    }

    fn close(&mut self, mut concluded: Concluded) -> Next {
        if let Some(record) = self.record.take() {
            self.metrics.call(concluded.status());
            self.closing.close(record, &mut concluded);
        }
        Next::Answer(concluded.ready)
    }

    /// The stream as an answer whose end, when the client goes away, is the end of the call.
    #[must_use]
    pub fn into_response(self) -> Response {
        let stream = futures_util::stream::unfold(self, |mut talk| async move {
            talk.next().await.map(|event| (Ok::<_, std::convert::Infallible>(event), talk))
        });
        events(Body::from_stream(stream))
    }

    /// Goes on to the end whether or not anybody listens: for legacy clients, whose leaving cancels nothing.
    pub async fn pump(mut self, to: mpsc::Sender<Bytes>) {
        let mut listens = true;
        loop {
            let event = tokio::select! {
                biased;
                () = to.closed(), if listens => {
                    // Whoever is gone answers nothing, so the call must not wait for that.
                    listens = false;
                    self.conversation.unheard();
                    continue;
                }
                event = self.next() => event,
            };
            let Some(event) = event else { return };
            // Nobody listens any more: the call goes on for the sake of what it does.
            let _ = to.send(event).await;
        }
    }
}

/// Waits for a token that may not be there.
pub(crate) async fn until(token: Option<&CancellationToken>) {
    match token {
        Some(token) => token.cancelled().await,
        None => std::future::pending().await,
    }
}

/// An event stream out of what is sent.
#[must_use]
pub fn received(receiver: mpsc::Receiver<Bytes>) -> Response {
    let stream = futures_util::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|event| (Ok::<_, std::convert::Infallible>(event), receiver))
    });
    events(Body::from_stream(stream))
}
