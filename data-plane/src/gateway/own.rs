//! What we answer of ourselves: the handshake of either era, and that we are there.

use audit::words::{Kind, Status};
use axum::response::Response;
use http::{HeaderValue, StatusCode};
use mcp::hello::{CAPABILITIES, Identity, Introduction, LEGACY_CAPABILITIES};
use mcp::notification::Logs;
use mcp::{Body as Parsed, Era, Id, Message, Method, Raw, Request, message};

use super::{Context, Gateway};
use crate::audit::AuditUnavailable;
use crate::call::Client;
use crate::call::record::{self, Subject};
use crate::refusal::Refusal;
use crate::reply::{Ready, Reply};

/// For how long a client may keep what `server/discover` says, milliseconds.
const DISCOVER_TTL_MS: u64 = 60_000;

impl Gateway {
    /// Answers `initialize`: the session is ours, no upstream hears of it.
    pub(super) fn initialize(&self, context: &Context, parsed: &Parsed<'_>) -> Response {
        let Parsed::One(Message::Request(request)) = parsed else {
            return self.refuse(context, Era::Legacy, None, &Refusal::HttpMethod).into_response(context);
        };
        let introduction = match Introduction::read(&request.params) {
            Ok(introduction) => introduction,
            Err(error) => {
                let refusal = Refusal::Protocol(error);
                return self.refuse(context, Era::Legacy, Some(&request.id), &refusal).into_response(context);
            }
        };
        let result = identity(context, LEGACY_CAPABILITIES).initialize_result(introduction.version);
        if self.introduced(context, request, &introduction).is_err() {
            return self.unrecorded(Era::Legacy, Some(&request.id)).into_response(context);
        }
        let id = self.0.sessions.begin(&context.caller.principal, introduction);
        let ready = Ready::new(StatusCode::OK, message::response(&request.id, result.raw()).into_string());
        let mut response = Response::from(ready);
        if let Ok(id) = HeaderValue::try_from(id) {
            response.headers_mut().insert(mcp::header::SESSION_ID, id);
        }
        response
    }

    fn introduced(
        &self,
        context: &Context,
        request: &Request<'_>,
        introduction: &Introduction,
    ) -> Result<(), AuditUnavailable> {
        let said = introduction.client.as_ref();
        let client = Client {
            version: introduction.version,
            info: None,
            name: said.map(|client| client.name.clone()),
            client_version: said.map(|client| client.version.clone()),
            capabilities: mcp::Object::empty(),
            logs: Logs::All,
        };
        let subject = Subject {
            kind: Kind::Session,
            arrival: &context.arrival,
            method: Some(&request.method),
            request: Some(&request.id),
            client: Some(&client),
            session: None,
            trace: &context.trace,
        };
        let mut record = record::begin(&subject, &context.tenant, &context.caller, &self.0.clock);
        record.outcome.status = Some(Status::Success);
        record.outcome.http_status = Some(200);
        self.0.recorder.add(record)
    }

    /// Answers `server/discover`.
    pub(super) fn discover(&self, context: &Context, client: &Client<'_>, id: &Id<'_>) -> Reply {
        let result = identity(context, CAPABILITIES).discover_result(DISCOVER_TTL_MS);
        if self.answered(context, client, Method::Discover, id).is_err() {
            return self.unrecorded(client.version.era(), Some(id));
        }
        Ready::new(StatusCode::OK, message::response(id, result.raw()).into_string()).into()
    }
}

/// Who we are, to this tenant's clients.
fn identity<'a>(context: &'a Context, capabilities: Raw<'a>) -> Identity<'a> {
    Identity {
        server_info: context.tenant.server_info.raw(),
        capabilities,
        instructions: context.tenant.instructions.as_deref(),
    }
}

/// Answers `ping`. Nothing was done, so nothing is recorded.
pub(super) fn pong(id: &Id<'_>) -> Reply {
    Ready::new(StatusCode::OK, message::response(id, Raw::EMPTY).into_string()).into()
}
