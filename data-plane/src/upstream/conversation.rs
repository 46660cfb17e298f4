//! A stream of messages about one call: progress as it comes, at its end the answer.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::select_all;
use mcp::notification::{Dropped, Logs, Relayed, Tokens, Wanted};
use mcp::sse::{Event, Reader};
use mcp::{Code, Id, Json, Limits, Message, Notification, Raw, Request, RpcError, message, notification};
use tokio::time::{Instant, sleep_until, timeout};

use super::http::chunk;
use super::legacy::Guard;
use super::wires::Answering;
use super::{Bounds, Fault, Whole};
use crate::call::asking::{Asker, Came, Open};
use crate::call::rounds;
use crate::call::session::SetLevel;

/// Most messages of one stream.
const MESSAGES: usize = 10_000;
/// Most pings of a server's that are answered in one call.
const PINGS: usize = 64;
/// How long an answer to a request of a server's may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(rounds::ANSWER_WITHIN.unsigned_abs());
/// Most times we come back for the rest of a stream.
const RESUMPTIONS: usize = 100;
/// How long a stream may say nothing before the client is told that we are still here.
const QUIET: Duration = Duration::from_secs(15);
/// How long we wait before we come back, when the server does not say.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait that a server may ask for.
const LONGEST_RETRY: Duration = Duration::from_secs(30);

/// A stream of messages about one call. Dropping it cancels the call.
pub struct Conversation {
    body: Answering,
    reader: Reader,
    events: VecDeque<Event>,
    id: u64,
    heard: Heard,
    bounds: Bounds,
    bytes: u64,
    messages: usize,
    pings: usize,
    /// How often it asked anything else.
    asked: u32,
    /// What the client was asked and has not answered yet.
    questions: Vec<Question>,
    resumptions: usize,
    way: Way,
}

/// A question that is open.
struct Question {
    /// The upstream's id for it.
    theirs: Id<'static>,
    /// Ours, under which the client is asked.
    ours: Id<'static>,
    /// Hears what becomes of the answer, whichever node it came to.
    open: Open,
}

/// What a client wants to hear of a call while it runs.
#[derive(Debug, Clone, Default)]
pub struct Wants {
    /// Its progress token; `None` when it wants no progress.
    pub progress: Option<Json>,
    /// Which log messages it wants.
    pub logs: Logs,
    /// The level that it set for its legacy session, if it did: the upstream's own session can be told.
    pub set: Option<SetLevel>,
}

/// The same, with what the upstream was given as token.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    progress: Option<(Json, Json)>,
    logs: Logs,
}

impl Wants {
    /// The upstream's token is our request's id: unique, where the client's own may not be.
    pub(super) fn heard(&self, id: u64) -> Heard {
        Heard { progress: self.progress.clone().map(|client| (Json::integer(id), client)), logs: self.logs }
    }
}

/// How the other side of the stream is spoken to.
pub(super) enum Way {
    /// It only tells.
    Modern,
    /// It may ask, and end the stream before its time; the guard tells it when nobody listens any more. The other asks the
    /// client, where that is possible.
    Legacy(Guard, Option<Asker>),
}

/// What comes on a stream.
#[derive(Debug)]
pub enum Item {
    /// A notification for the client.
    Notification(Json),
    /// A request of the upstream's for the client.
    Question(Json),
    /// A notification that the client does not get.
    Dropped(Dropped),
    /// Nothing for a while; whoever stands between the client and us may want to hear that we are still here.
    Quiet,
    /// The answer; nothing follows.
    Answer(Whole),
}

/// Which message it was.
enum Judged {
    Notification(Relayed),
    Question(Json),
    Answer,
    Aside,
}

impl Conversation {
    pub(super) fn new(body: Answering, id: u64, heard: Heard, bounds: Bounds, way: Way) -> Self {
        let largest = usize::try_from(bounds.max_bytes).unwrap_or(usize::MAX);
        Self {
            body,
            reader: Reader::new(largest),
            events: VecDeque::new(),
            id,
            heard,
            bounds,
            bytes: 0,
            messages: 0,
            pings: 0,
            asked: 0,
            questions: Vec::new(),
            resumptions: 0,
            way,
        }
    }

    /// The next thing that concerns the client, or that it would have.
    ///
    /// # Errors
    /// A [`Fault`] when the stream ends early, is too large or late, or holds what is no message.
    pub async fn next(&mut self) -> Result<Item, Fault> {
        loop {
            while let Some(event) = self.events.pop_front() {
                // An event may carry an id alone.
                if event.data.is_empty() {
                    continue;
                }
                self.messages += 1;
                if self.messages > MESSAGES {
                    return Err(Fault::TooLarge);
                }
                let data = Bytes::from(event.data);
                match self.judge(&data)? {
                    Judged::Notification(Relayed::Passed(told)) => return Ok(Item::Notification(told)),
                    Judged::Notification(Relayed::Dropped(why)) => return Ok(Item::Dropped(why)),
                    Judged::Question(asked) => return Ok(Item::Question(asked)),
                    Judged::Answer => {
                        self.answered();
                        return Ok(Item::Answer(Whole { bytes: data, id: self.id }));
                    }
                    Judged::Aside => {}
                }
            }
            // Waiting for bytes may be given up at any time; coming back for a stream may not.
            let piece = tokio::select! {
                biased;
                answered = any_answered(&self.questions) => Err(answered),
                piece = timeout(QUIET, chunk(&mut self.body, self.bounds.until)) => Ok(piece),
            };
            match piece {
                Err((_, Came::Lost)) => return Err(Fault::AnswerLost),
                Err((place, Came::Delivered)) => {
                    self.questions.swap_remove(place);
                    self.go_on();
                }
                Ok(Err(_)) => return Ok(Item::Quiet),
                Ok(Ok(piece)) => self.take(piece).await?,
            }
        }
    }

    /// The client is gone: what it was asked is answered with an error, and it is asked nothing any more. The call goes on.
    pub fn unheard(&mut self) {
        let Way::Legacy(guard, client) = &mut self.way else { return };
        *client = None;
        if self.questions.is_empty() {
            return;
        }
        let gone = RpcError::new(Code::InternalError, "The client is gone");
        for question in self.questions.drain(..) {
            guard.aside.say(gone.body(Some(&question.theirs)));
        }
        self.go_on();
    }

    /// When nobody is asked any more, the server's time begins anew, as it does with each round in the modern era.
    fn go_on(&mut self) {
        if let (true, Way::Legacy(guard, _)) = (self.questions.is_empty(), &self.way) {
            self.bounds.until = Instant::now() + guard.aside.within();
        }
    }

    /// The answer, whatever comes before it.
    pub(super) async fn last(mut self) -> Result<Bytes, Fault> {
        loop {
            if let Item::Answer(whole) = self.next().await? {
                return Ok(whole.bytes);
            }
        }
    }

    /// Takes in the next piece off the wire.
    async fn take(&mut self, piece: Result<Option<Bytes>, Fault>) -> Result<(), Fault> {
        match piece {
            Ok(Some(piece)) => {
                self.bytes += piece.len() as u64;
                if self.bytes > self.bounds.max_bytes {
                    return Err(Fault::TooLarge);
                }
                let mut events = Vec::new();
                let read = self.reader.read(&piece, &mut events);
                self.events.extend(events);
                // What came whole before the event that is too large is still dealt with: the next read fails again.
                if read.is_err() && self.events.is_empty() { Err(Fault::TooLarge) } else { Ok(()) }
            }
            Ok(None) | Err(Fault::CutOff) => self.resume().await,
            Err(fault) => Err(fault),
        }
    }

    /// A stream that named its events may be taken up again where it ended.
    async fn resume(&mut self) -> Result<(), Fault> {
        let Way::Legacy(guard, _) = &self.way else { return Err(Fault::CutOff) };
        let Some(last_event) = self.reader.last_id().map(str::to_owned) else { return Err(Fault::CutOff) };
        self.resumptions += 1;
        if self.resumptions > RESUMPTIONS {
            return Err(Fault::CutOff);
        }
        let wait = self.reader.retry().map_or(RETRY, Duration::from_millis).min(LONGEST_RETRY);
        let at = Instant::now() + wait;
        if at > self.bounds.until {
            return Err(Fault::Late);
        }
        sleep_until(at).await;
        self.body = guard.aside.resume(&last_event, self.bounds.until).await?.ok_or(Fault::CutOff)?;
        Ok(())
    }

    fn judge(&mut self, data: &[u8]) -> Result<Judged, Fault> {
        match Message::parse(data, &Limits::upstream()).map_err(|_| Fault::Malformed)? {
            Message::Response(response) if response.id == Some(Id::number(self.id)) => Ok(Judged::Answer),
            Message::Response(_) => Err(Fault::Malformed),
            Message::Notification(told) => Ok(Judged::Notification(match self.taken_back(&told) {
                Some(ours) => Relayed::Passed(notification::cancelled(&ours, "the server does not ask any more")),
                None => self.heard.wanted().relay(&told),
            })),
            Message::Request(asked) => Ok(self.asked(&asked)?.map_or(Judged::Aside, Judged::Question)),
        }
    }

    /// A legacy server may ask. `ping` is answered; what needs the client is a question for it, or refused.
    fn asked(&mut self, asked: &Request<'_>) -> Result<Option<Json>, Fault> {
        let Way::Legacy(guard, client) = &self.way else { return Ok(None) };
        if asked.method == "ping" {
            self.pings += 1;
            if self.pings <= PINGS {
                guard.aside.say(message::response(&asked.id, Raw::EMPTY));
            }
            return Ok(None);
        }
        self.asked += 1;
        if self.asked > rounds::ROUNDS_MAX {
            return Err(Fault::AsksAgain);
        }
        let not_offered = || RpcError::new(Code::MethodNotFound, "Not offered by this client");
        let ways = client.as_ref().zip(guard.aside.in_session());
        match ways.map_or_else(|| Err(not_offered()), |(client, session)| client.ask(asked, session)) {
            Ok((ours, question, open)) => {
                self.questions.push(Question { theirs: asked.id.clone().into_owned(), ours, open });
                // Whoever is asked has as long to answer as with modern upstreams, and the call waits until then.
                self.bounds.until = self.bounds.until.max(Instant::now() + ANSWER_WITHIN);
                Ok(Some(question))
            }
            Err(error) => {
                guard.aside.say(error.body(Some(&asked.id)));
                Ok(None)
            }
        }
    }

    /// The question of ours that the server does not ask any more.
    fn taken_back(&mut self, told: &Notification<'_>) -> Option<Id<'static>> {
        let id = notification::cancelled_request(told)?;
        let place = self.questions.iter().position(|question| question.theirs == id)?;
        let taken = self.questions.swap_remove(place);
        self.go_on();
        Some(taken.ours)
    }

    /// The call is over there.
    fn answered(&mut self) {
        if let Way::Legacy(guard, _) = &mut self.way {
            guard.cancels = false;
        }
    }
}

/// Waits until one of the questions is answered: which, and what became of it.
async fn any_answered(questions: &[Question]) -> (usize, Came) {
    if questions.is_empty() {
        return std::future::pending().await;
    }
    let (came, place, _) = select_all(questions.iter().map(|question| Box::pin(question.open.came()))).await;
    (place, came)
}

impl Heard {
    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            progress: self
                .progress
                .as_ref()
                .map(|(upstream, client)| Tokens { upstream: upstream.raw(), client: client.raw() }),
            logs: self.logs,
        }
    }
}

/// A value that was cut out of a message which was read.
pub(super) fn checked(bytes: &Bytes) -> Option<Raw<'_>> {
    let text = std::str::from_utf8(bytes).ok()?;
    Raw::check(text, &Limits::upstream()).ok()
}
