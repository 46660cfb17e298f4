//! JSON-RPC messages: read once from a body, rebuilt for the other side.

use std::borrow::Cow;
use std::fmt;

use crate::json::{JsonError, Kind, Limits, Object, Raw, Scanner};
use crate::{Code, Json, RpcError};

mod write;

pub use write::{error, notification, outcome, request, response};

/// The id of a request: a string or an integer, kept as it was written so that it can be echoed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id<'a>(Cow<'a, str>);

impl<'a> Id<'a> {
    /// The longest id taken, in bytes of JSON.
    pub const LONGEST: usize = 1024;

    /// An id that is a number.
    #[must_use]
    pub fn number(number: u64) -> Id<'static> {
        Id(Cow::Owned(number.to_string()))
    }

    /// An id that is a string.
    #[must_use]
    pub fn text(text: &str) -> Id<'static> {
        Id(Cow::Owned(Json::text(text).into_string()))
    }

    /// Takes a value as an id; `None` for anything but a string or an integer, or when it is too long.
    #[must_use]
    pub fn read(raw: Raw<'a>) -> Option<Self> {
        if raw.get().len() > Self::LONGEST {
            return None;
        }
        match raw.kind() {
            Kind::Number if raw.is_integer() => Some(Id(Cow::Borrowed(raw.get()))),
            // Two spellings of one string are one id, so that a response finds its request.
            Kind::Text if raw.get().contains('\\') => raw.text().map(|text| Id::text(&text)),
            Kind::Text => Some(Id(Cow::Borrowed(raw.get()))),
            _ => None,
        }
    }

    /// The JSON text: digits, or a quoted string.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The same id, standing by itself.
    #[must_use]
    pub fn into_owned(self) -> Id<'static> {
        Id(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message that wants an answer.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// Echoed in the answer.
    pub id: Id<'a>,
    /// What is asked.
    pub method: Cow<'a, str>,
    /// The parameters; empty when there were none.
    pub params: Object<'a>,
}

/// A message that wants none.
#[derive(Debug, Clone)]
pub struct Notification<'a> {
    /// What is told.
    pub method: Cow<'a, str>,
    /// The parameters; empty when there were none.
    pub params: Object<'a>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response<'a> {
    /// Which request it answers; `None` in an error about a message whose id could not be read.
    pub id: Option<Id<'a>>,
    /// How it went.
    pub outcome: Outcome<'a>,
}

/// How a request went.
#[derive(Debug, Clone)]
pub enum Outcome<'a> {
    /// The result, always an object in MCP.
    Result(Object<'a>),
    /// The error.
    Error(ErrorObject<'a>),
}

/// An error as the other side wrote it, unknown members included.
#[derive(Debug, Clone)]
pub struct ErrorObject<'a> {
    /// The number.
    pub code: i64,
    /// The sentence.
    pub message: Cow<'a, str>,
    /// All members.
    pub members: Object<'a>,
}

impl<'a> ErrorObject<'a> {
    /// What came along.
    #[must_use]
    pub fn data(&self) -> Option<Raw<'a>> {
        self.members.get("data")
    }

    fn read(members: Object<'a>) -> Option<Self> {
        let code = members.get("code")?.integer()?;
        let message = members.text("message")?;
        Some(Self { code, message, members })
    }
}

/// One message.
#[derive(Debug, Clone)]
pub enum Message<'a> {
    /// Wants an answer.
    Request(Request<'a>),
    /// Wants none.
    Notification(Notification<'a>),
    /// Is one.
    Response(Response<'a>),
}

/// What a body holds.
#[derive(Debug, Clone)]
pub enum Body<'a> {
    /// One message.
    One(Message<'a>),
    /// The messages of a batch (2025-03-26 only), each good or bad by itself; at least one.
    Batch(Vec<Result<Message<'a>, ParseError>>),
}

/// Why a body is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct ParseError {
    /// What is wrong.
    pub fault: Fault,
    /// The id of the request, where it was read before the fault was met.
    pub id: Option<Id<'static>>,
}

/// What is wrong with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not JSON, or JSON that we refuse.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Neither an object nor an array of objects.
    #[error("a message is a JSON object")]
    NotAnObject,
    /// `jsonrpc` is not `"2.0"`.
    #[error("`jsonrpc` must be \"2.0\"")]
    NotVersion2,
    /// `id` is null, a fraction, a boolean, an object, an array or too long.
    #[error("`id` must be a string or an integer")]
    BadId,
    /// `method` is no string.
    #[error("`method` must be a string")]
    BadMethod,
    /// `params` is no object.
    #[error("`params` must be an object")]
    BadParams,
    /// A response without exactly one of a `result` object and a well-formed `error`.
    #[error("a response has either a `result` object or an `error` with code and message")]
    BadOutcome,
    /// Neither a request nor a notification nor a response, or more than one of them.
    #[error("a message has either a `method` or an outcome")]
    NoKind,
    /// An array without messages.
    #[error("a batch holds at least one message")]
    EmptyBatch,
    /// An array with more messages than the limit.
    #[error("a batch holds too many messages")]
    LongBatch,
}

impl ParseError {
    /// The JSON-RPC error that answers it.
    #[must_use]
    pub fn to_error(&self) -> RpcError {
        match self.fault {
            Fault::Json(JsonError::NotUtf8 { .. } | JsonError::Syntax { .. }) => {
                RpcError::new(Code::ParseError, self.fault.to_string())
            }
            fault => RpcError::new(Code::InvalidRequest, fault.to_string()),
        }
    }
}

impl<'a> Body<'a> {
    /// Reads a body in one pass.
    ///
    /// # Errors
    /// [`ParseError`] when it is not JSON, is JSON we refuse anywhere in it ([`JsonError`]), or is no JSON-RPC message.
    pub fn parse(body: &'a [u8], limits: &Limits) -> Result<Self, ParseError> {
        let anonymous = |fault| ParseError { fault, id: None };
        let text = std::str::from_utf8(body)
            .map_err(|error| anonymous(Fault::Json(JsonError::NotUtf8 { at: error.valid_up_to() })))?;
        let mut scanner = Scanner::new(text, limits);
        match scanner.peek() {
            Some(b'{') => {
                let message = Envelope::scan(&mut scanner)?.into_message()?;
                scanner.end().map_err(|error| anonymous(error.into()))?;
                Ok(Self::One(message))
            }
            Some(b'[') => batch(&mut scanner, limits).map(Self::Batch),
            _ => {
                scanner.value().and_then(|_| scanner.end()).map_err(|error| anonymous(error.into()))?;
                Err(anonymous(Fault::NotAnObject))
            }
        }
    }
}

impl<'a> Message<'a> {
    /// Reads one message; an array is refused.
    ///
    /// # Errors
    /// As [`Body::parse`].
    pub fn parse(body: &'a [u8], limits: &Limits) -> Result<Self, ParseError> {
        match Body::parse(body, limits)? {
            Body::One(message) => Ok(message),
            Body::Batch(_) => Err(ParseError { fault: Fault::NotAnObject, id: None }),
        }
    }
}

fn batch<'a>(scanner: &mut Scanner<'a>, limits: &Limits) -> Result<Vec<Result<Message<'a>, ParseError>>, ParseError> {
    let mut messages = Vec::new();
    let mut too_many = false;
    let read = scanner.items(|scanner| {
        too_many |= messages.len() == limits.batch;
        if too_many || scanner.peek() != Some(b'{') {
            messages.push(Err(ParseError { fault: Fault::NotAnObject, id: None }));
            messages.truncate(limits.batch);
            return scanner.value().map(drop);
        }
        match Envelope::scan(scanner) {
            Ok(envelope) => messages.push(envelope.into_message()),
            Err(ParseError { fault: Fault::Json(error), .. }) => return Err(error),
            Err(error) => messages.push(Err(error)),
        }
        Ok(())
    });
    let anonymous = |fault| ParseError { fault, id: None };
    read.and_then(|()| scanner.end()).map_err(|error| anonymous(error.into()))?;
    match messages.len() {
        0 => Err(anonymous(Fault::EmptyBatch)),
        _ if too_many => Err(anonymous(Fault::LongBatch)),
        _ => Ok(messages),
    }
}

/// The members of a message as they stand; what they come to is decided when all are read.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<Raw<'a>>,
    id: Option<Raw<'a>>,
    method: Option<Raw<'a>>,
    params: Option<Member<'a>>,
    result: Option<Member<'a>>,
    error: Option<Member<'a>>,
}

/// A member that should be an object.
enum Member<'a> {
    Object(Object<'a>),
    Other,
}

impl<'a> Member<'a> {
    fn scan(scanner: &mut Scanner<'a>) -> Result<Self, JsonError> {
        if scanner.peek() == Some(b'{') {
            scanner.object().map(Self::Object)
        } else {
            scanner.value().map(|_| Self::Other)
        }
    }
}

impl<'a> Envelope<'a> {
    fn scan(scanner: &mut Scanner<'a>) -> Result<Self, ParseError> {
        let mut envelope = Self::default();
        let read = scanner.members(|scanner, key| {
            match key.as_ref() {
                "jsonrpc" => envelope.jsonrpc = Some(scanner.value()?),
                "id" => envelope.id = Some(scanner.value()?),
                "method" => envelope.method = Some(scanner.value()?),
                "params" => envelope.params = Some(Member::scan(scanner)?),
                "result" => envelope.result = Some(Member::scan(scanner)?),
                "error" => envelope.error = Some(Member::scan(scanner)?),
                _ => drop(scanner.value()?),
            }
            Ok(())
        });
        match read {
            Ok(()) => Ok(envelope),
            Err(error) => Err(envelope.fault(error.into())),
        }
    }

    fn fault(&self, fault: Fault) -> ParseError {
        ParseError { fault, id: self.id.and_then(Id::read).map(Id::into_owned) }
    }

    fn into_message(self) -> Result<Message<'a>, ParseError> {
        if self.jsonrpc.and_then(Raw::text).as_deref() != Some("2.0") {
            return Err(self.fault(Fault::NotVersion2));
        }
        match (&self.method, self.result.is_some() || self.error.is_some()) {
            (Some(_), false) => self.into_asked(),
            (None, true) => self.into_response(),
            _ => Err(self.fault(Fault::NoKind)),
        }
    }

    fn into_asked(self) -> Result<Message<'a>, ParseError> {
        let Some(method) = self.method.and_then(Raw::text) else { return Err(self.fault(Fault::BadMethod)) };
        let params = match self.params {
            None => Object::empty(),
            Some(Member::Object(params)) => params,
            Some(Member::Other) => return Err(self.fault(Fault::BadParams)),
        };
        match self.id.map(Id::read) {
            None => Ok(Message::Notification(Notification { method, params })),
            Some(Some(id)) => Ok(Message::Request(Request { id, method, params })),
            Some(None) => Err(ParseError { fault: Fault::BadId, id: None }),
        }
    }

    fn into_response(self) -> Result<Message<'a>, ParseError> {
        let id = match self.id {
            None => None,
            // Only an error may say that it does not know which request it answers.
            Some(Raw::NULL) if self.error.is_some() => None,
            Some(raw) => match Id::read(raw) {
                Some(id) => Some(id),
                None => return Err(ParseError { fault: Fault::BadId, id: None }),
            },
        };
        let fault = |fault| ParseError { fault, id: id.clone().map(Id::into_owned) };
        let outcome = match (self.result, self.error) {
            (Some(_), None) if id.is_none() => return Err(fault(Fault::BadId)),
            (Some(Member::Object(result)), None) => Outcome::Result(result),
            (None, Some(Member::Object(error))) => {
                Outcome::Error(ErrorObject::read(error).ok_or_else(|| fault(Fault::BadOutcome))?)
            }
            _ => return Err(fault(Fault::BadOutcome)),
        };
        Ok(Message::Response(Response { id, outcome }))
    }
}

#[cfg(test)]
pub(crate) mod tests;
