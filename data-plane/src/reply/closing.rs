//! The end of a call: what the client is told, and what the record says of it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;

use audit::Text;
use audit::record::{Answer, Outcome};
use audit::words::{ResultType, Status};
use http::StatusCode;
use mcp::error::translate::{Next, Recipient};
use mcp::input::Asked;
use mcp::message::{self, ErrorObject};
use mcp::tools::{Incomplete, Side, translate_own_result, translate_upstream_result};
use mcp::{Id, Json, Limits, Message, Object, Raw, Version};
use serde::Deserialize;

use super::Ready;
use crate::audit::OpenRecord;
use crate::call::rounds::{Asking, AsksAgain};
use crate::refusal::Refusal;
use crate::tenants::Tenant;
use crate::upstream::{Fault, FaultStatus, Whole};

/// What is needed to end a call.
pub struct Closing {
    /// Whose tool it is.
    pub tenant: Arc<Tenant>,
    /// The server's alias, which clients know.
    pub alias: String,
    /// The client's id of the request.
    pub id: Id<'static>,
    /// The version the client speaks.
    pub version: Version,
    /// What the client can do.
    pub capabilities: Json,
    /// What a question to the client is made from; `None` where nothing can be asked of it.
    pub asking: Option<Asking>,
    /// When the call was sent.
    pub sent: Instant,
    /// Bytes that came in with it.
    pub bytes_in: u64,
}

/// What the client is told, and what the record says of it.
#[derive(Debug)]
pub struct Concluded {
    /// The answer.
    pub ready: Ready,
    outcome: Outcome,
    answer: Answer,
    result_type: Option<ResultType>,
}

/// What of a result concerns the record.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

impl Closing {
    /// Judges an upstream's message and translates it.
    #[must_use]
    pub fn conclude(&self, whole: &Whole) -> Concluded {
        let Ok(Message::Response(response)) = Message::parse(&whole.bytes, &Limits::upstream()) else {
            return self.fault(Fault::Malformed);
        };
        if response.id != Some(Id::number(whole.id)) {
            return self.fault(Fault::Malformed);
        }
        match response.outcome {
            message::Outcome::Result(result) => self.result(&result, translate_upstream_result(&result, &self.side())),
            message::Outcome::Error(error) => self.error(&error),
        }
    }

    /// The upstream failed, or was not asked to do what it can't.
    #[must_use]
    pub fn fault(&self, fault: Fault) -> Concluded {
        match fault {
            Fault::Unasked => self.refused(&Refusal::Unasked),
            _ => self.refused(&Refusal::Upstream { alias: self.alias.clone(), fault }),
        }
    }

    /// The call ends with a refusal.
    #[must_use]
    pub fn refused(&self, refusal: &Refusal) -> Concluded {
        let error = refusal.error();
        let status = match refusal {
            Refusal::Upstream { fault, .. } => fault_status(*fault),
            Refusal::Cancelled | Refusal::Revoked => Status::Cancelled,
            Refusal::Unasked => Status::ProtocolError,
            _ => Status::GatewayError,
        };
        let mut concluded = self.ended(refusal.status(self.version.era()), error.body(Some(&self.id)).into_string());
        concluded.outcome.status = Some(status);
        concluded.outcome.reason = Some(Text::Fixed(refusal.label()));
        concluded.outcome.error_type = Some(Text::Fixed(refusal.label()));
        concluded.outcome.jsonrpc_code = Some(error.code.number());
        concluded
    }

    /// A result in modern form that we wrote ourselves.
    #[must_use]
    pub fn own_result(&self, result: &Json) -> Concluded {
        let Some(result) = result.raw().object() else { return self.fault(Fault::Malformed) };
        self.result(&result, translate_own_result(&result, &self.side()))
    }

    fn side(&self) -> Side<'_> {
        Side { era: self.version.era(), server_info: self.tenant.server_info.raw() }
    }

    fn result(&self, result: &Object<'_>, translated: Result<Cow<'_, str>, Incomplete>) -> Concluded {
        let text = match translated {
            Ok(text) => text,
            Err(incomplete) if incomplete.result_type == "input_required" => return self.asked(result),
            Err(_) => return self.fault(Fault::UnknownResult),
        };
        let mut concluded = self.ended(StatusCode::OK, response(&self.id, "result", &text));
        concluded.answer = self.observe(result);
        concluded.result_type = Some(ResultType::Complete);
        let failed = concluded.answer.is_error == Some(true);
        concluded.outcome.status = Some(if failed { Status::ToolError } else { Status::Success });
        if failed {
            concluded.outcome.error_type = Some(Text::Fixed("tool_error"));
        }
        concluded
    }

    /// The result is a question: the client is asked, if it can be.
    fn asked(&self, result: &Object<'_>) -> Concluded {
        let question = match self.question(result) {
            Ok(question) => question,
            Err(fault) => return self.fault(fault),
        };
        let mut concluded = self.ended(StatusCode::OK, response(&self.id, "result", question.as_str()));
        let raw = result.raw().get();
        concluded.answer = Answer {
            bytes: Some(raw.len() as u64),
            hmac: Some(self.tenant.arguments_key.tag(raw.as_bytes())),
            ..Answer::default()
        };
        concluded.result_type = Some(ResultType::InputRequired);
        concluded.outcome.status = Some(Status::Success);
        concluded
    }

    fn question(&self, result: &Object<'_>) -> Result<Json, Fault> {
        let asking = self.asking.as_ref().ok_or(Fault::AsksForInput)?;
        let asked = Asked::read(result)?;
        asked.check(&self.capabilities.raw().object().unwrap_or(Object::empty()))?;
        let state = asking.state(asked.state()).map_err(|AsksAgain| Fault::AsksAgain)?;
        Ok(asked.to_client(&state, &self.alias, self.tenant.server_info.raw()))
    }

    fn observe(&self, result: &Object<'_>) -> Answer {
        let blocks: Vec<Block<'_>> = result.get("content").and_then(|raw| raw.read().ok()).unwrap_or_default();
        let mut content_types: Vec<Text> = Vec::new();
        for kind in blocks.iter().filter_map(|block| block.kind.as_deref()) {
            if content_types.len() < 16 && !content_types.iter().any(|seen| **seen == *kind) {
                content_types.push(content_type(kind));
            }
        }
        let raw = result.raw().get();
        Answer {
            bytes: Some(raw.len() as u64),
            content_types,
            hmac: Some(self.tenant.arguments_key.tag(raw.as_bytes())),
            is_error: Some(result.get("isError").and_then(Raw::boolean).unwrap_or(false)),
            structured: result.has("structuredContent").then_some(true),
            ..Answer::default()
        }
    }

    fn error(&self, error: &ErrorObject<'_>) -> Concluded {
        let capabilities = self.capabilities.raw().object().unwrap_or(Object::empty());
        match (Recipient { version: self.version, capabilities: &capabilities }).translate(error) {
            Next::Error { status, error } => self.passed_on(status, &error),
            Next::ToolFailed(result) => self.own_result(&result),
            Next::RefreshTools => self.fault(Fault::Changed),
            Next::Renegotiate => self.fault(Fault::NoCommonVersion),
        }
    }

    fn passed_on(&self, status: u16, error: &Json) -> Concluded {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        let mut concluded = self.ended(status, response(&self.id, "error", error.as_str()));
        concluded.outcome.status = Some(Status::ProtocolError);
        concluded.outcome.error_type = Some(Text::Fixed("upstream_error"));
        concluded.outcome.jsonrpc_code =
            error.raw().object().and_then(|error| error.get("code")).and_then(Raw::integer);
        concluded
    }

    fn ended(&self, status: StatusCode, body: String) -> Concluded {
        let outcome = Outcome {
            http_status: Some(status.as_u16()),
            bytes_in: Some(self.bytes_in),
            bytes_out: Some(body.len() as u64),
            ..Outcome::default()
        };
        Concluded { ready: Ready::new(status, body), outcome, answer: Answer::default(), result_type: None }
    }

    /// Puts the end into the record and closes it. Never waits.
    pub fn close(&self, mut record: OpenRecord, concluded: &mut Concluded) {
        record.result = std::mem::take(&mut concluded.answer);
        record.mcp.result_type = concluded.result_type;
        if concluded.result_type == Some(ResultType::InputRequired)
            && let Some(asking) = &self.asking
        {
            asking.note(&mut record);
        }
        record.dur.upstream = Some(micros(self.sent));
        let mut timing = String::with_capacity(80);
        let parts =
            [("policy", record.dur.policy), (", audit", record.dur.audit_wait), (", upstream", record.dur.upstream)];
        for (name, taken) in parts {
            put_timing(&mut timing, name, taken.unwrap_or(0));
        }
        concluded.ready.timing = Some(timing);
        record.finish(std::mem::take(&mut concluded.outcome));
    }
}

impl Concluded {
    /// How the call ended.
    #[must_use]
    pub fn status(&self) -> Status {
        self.outcome.status.unwrap_or(Status::Unknown)
    }

    /// The whole outcome.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome {
        &self.outcome
    }
}

/// Microseconds since then.
#[must_use]
pub fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

/// Writes a metric of `Server-Timing`, in milliseconds.
pub fn put_timing(timing: &mut String, name: &str, micros: u64) {
    // Writing to a string does not fail.
    let _ = write!(timing, "{name};dur={}.{:03}", micros / 1000, micros % 1000);
}

/// A response around JSON that is known to be well-formed.
fn response(id: &Id<'_>, member: &str, value: &str) -> String {
    let mut text = String::with_capacity(value.len() + id.as_json().len() + member.len() + 32);
    for part in [r#"{"jsonrpc":"2.0","id":"#, id.as_json(), ",\"", member, "\":", value, "}"] {
        text.push_str(part);
    }
    text
}

fn content_type(kind: &str) -> Text {
    match kind {
        "text" => Text::Fixed("text"),
        "image" => Text::Fixed("image"),
        "audio" => Text::Fixed("audio"),
        "resource" => Text::Fixed("resource"),
        "resource_link" => Text::Fixed("resource_link"),
        other => Text::from(other.chars().take(32).collect::<String>()),
    }
}

/// How a call ended with a fault.
pub(crate) const fn fault_status(fault: Fault) -> Status {
    match fault.status() {
        FaultStatus::Unavailable => Status::UpstreamUnavailable,
        FaultStatus::Timeout => Status::Timeout,
        FaultStatus::Protocol => Status::ProtocolError,
    }
}
