//! What a legacy client answers to what a legacy upstream asked it within a call: brought to the upstream from any node.

use audit::words::Status;
use mcp::Json;
use mcp::message::{self, Response};

use super::{Context, Gateway};
use crate::call::asking::{self, Return};
use crate::call::session::LegacySession;
use crate::metrics::Lost;

impl Gateway {
    /// Takes an answer. Whatever becomes of it, the client is told that it came: what nobody waits for is dropped.
    pub(super) fn take_answer(&self, context: &Context, session: &LegacySession, response: &Response<'_>) {
        let principal = &context.caller.principal;
        let to = response.id.as_ref().and_then(|id| self.0.asks.find(principal, session.nonce, id));
        let Some(to) = to else { return self.0.metrics.lost(Lost::Unknown) };
        let Some(answer) = to.request().map(|id| message::outcome(&id, &response.outcome)) else {
            return self.0.metrics.lost(Lost::Unknown);
        };
        let Some(asked) = response.id.as_ref().map(|id| id.as_json().to_owned()) else { return };
        let (gateway, context) = (self.clone(), context.clone());
        self.0.drain.spawn(async move {
            let Some(session) = context.session.as_deref() else { return };
            match gateway.bring(&context, session, &to, answer).await {
                // Its call waits for the client no more.
                Ok(()) => gateway.withdraw(session, &asked).await,
                Err(lost) => gateway.0.metrics.lost(lost),
            }
        });
    }

    /// Brings an answer to the upstream that asked, when its record is stored.
    async fn bring(&self, context: &Context, session: &LegacySession, to: &Return, answer: Json) -> Result<(), Lost> {
        let tenant = &context.tenant;
        let servers = &tenant.snapshot.servers;
        // An edition that was reviewed anew is another server.
        let place = servers.iter().position(|server| server.version == to.version && !server.paused);
        let (server, upstream) = place.and_then(|place| tenant.server(place)).ok_or(Lost::ServerGone)?;
        let about = (&context.trace, to.call, Some(to.method.as_str()));
        let mut record = asking::begin(&context.arrival, (tenant, &context.caller, session), about, &self.0.clock);
        record.server = tenant
            .catalog
            .tools()
            .iter()
            .find(|tool| tool.server_id == server.id)
            .map_or_else(audit::record::Server::default, |tool| tool.recorded_server.clone());
        record.outcome.status = Some(Status::Success);
        record.outcome.http_status = Some(202);
        self.0.recorder.note(record).await.map_err(|_| Lost::NotRecorded)?;
        let credential = self.credential(context, server).await.map_err(|_| Lost::NotTaken)?;
        upstream.answer(&credential, &to.session, answer).await.map_err(|_| Lost::NotTaken)
    }
}
