//! What a legacy client sets for its session: answered of ourselves, at every node.

use http::StatusCode;
use mcp::meta::LogLevel;
use mcp::{Code, Era, Method, Raw, Request, RpcError, message};

use audit::words::Kind;

use super::{Context, Gateway};
use crate::call::Client;
use crate::call::session::{LegacySession, StateNotKept};
use crate::refusal::Refusal;
use crate::reply::{Ready, Reply};

impl Gateway {
    /// Sets the least level of the log lines that the session's client gets. Upstreams are told with its next calls.
    pub(super) async fn set_level(
        &self,
        context: &Context,
        client: &Client<'_>,
        session: &LegacySession,
        request: &Request<'_>,
    ) -> Reply {
        let refuse = |refusal: &Refusal| {
            let record = self.begin(Kind::McpRequest, context, client, request);
            self.refuse_recorded(record, Era::Legacy, Some(&request.id), refusal)
        };
        let Some(level) = request.params.text("level").and_then(|level| LogLevel::find(&level)) else {
            let error = RpcError::new(Code::InvalidParams, "`params.level` must be one of the eight log levels");
            return refuse(&Refusal::Protocol(error));
        };
        if let Err(StateNotKept) = self.0.sessions.set_level(&context.caller.principal, session, level).await {
            return refuse(&Refusal::StateNotKept);
        }
        if self.answered(context, client, Method::SetLevel, &request.id).is_err() {
            return self.unrecorded(Era::Legacy, Some(&request.id));
        }
        Ready::new(StatusCode::OK, message::response(&request.id, Raw::EMPTY).into_string()).into()
    }
}
