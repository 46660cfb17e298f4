//! What a legacy client answers to what a legacy upstream asked it within a call: brought to the upstream from any node.

use audit::Text;
use audit::record::Outcome;
use audit::words::Status;
use mcp::Json;
use mcp::message::{self, Response};

use super::{Context, Gateway};
use crate::call::asking::{self, Came, Return};
use crate::call::session::LegacySession;
use crate::metrics::Lost;
use crate::reply::fault_status;
use crate::upstream::Fault;

impl Gateway {
    /// Takes an answer. Whatever becomes of it, the client is told that it came: what nobody waits for is dropped.
    pub(super) fn take_answer(&self, context: &Context, session: &LegacySession, response: &Response<'_>) {
        let principal = &context.caller.principal;
        let asks = &self.0.asks;
        let of = |id| asks.find(principal, session.nonce, id).filter(|_| asks.take(id));
        let to = response.id.as_ref().and_then(of);
        let Some(to) = to else { return self.0.metrics.lost(Lost::Unknown) };
        let Some(answer) = to.request().map(|id| message::outcome(&id, &response.outcome)) else {
            return self.0.metrics.lost(Lost::Unknown);
        };
        let Some(asked) = response.id.as_ref().map(|id| id.as_json().to_owned()) else { return };
        let (gateway, context) = (self.clone(), context.clone());
        self.0.drain.spawn(async move {
            let Some(session) = context.session.as_deref() else { return };
            let came = match gateway.bring(&context, session, &to, answer).await {
                Ok(()) => Came::Delivered,
                Err(lost) => {
                    gateway.0.metrics.lost(lost);
                    Came::Lost
                }
            };
            // Its call waits for the client no more.
            gateway.withdraw(session, &came.name(&asked)).await;
        });
    }

    /// Brings an answer to the upstream that asked, when its record is stored.
    async fn bring(&self, context: &Context, session: &LegacySession, to: &Return, answer: Json) -> Result<(), Lost> {
        let tenant = &context.tenant;
        let servers = &tenant.snapshot.servers;
        let place = servers.iter().position(|server| to.leads_to(server) && !server.paused);
        let (server, upstream) = place.and_then(|place| tenant.server(place)).ok_or(Lost::ServerGone)?;
        let about = (&context.trace, to.call, Some(to.method.as_str()));
        let mut record = asking::begin(&context.arrival, (tenant, &context.caller, session), about, &self.0.clock);
        record.server = tenant
            .catalog
            .tools()
            .iter()
            .find(|tool| tool.server_id == server.id)
            .map_or_else(audit::record::Server::default, |tool| tool.recorded_server.clone());
        let record = self.0.recorder.open(record).await.map_err(|_| Lost::NotRecorded)?;
        let delivered = match self.credential(context, server).await {
            Ok(credential) => upstream.answer(&credential, &to.session, answer).await.map_err(failed),
            Err(refusal) => Err((Status::GatewayError, refusal.label())),
        };
        let (status, reason) = delivered.map_or_else(|(status, why)| (status, Some(why)), |()| (Status::Success, None));
        let word = reason.map(Text::Fixed);
        record.finish(Outcome {
            status: Some(status),
            http_status: Some(202),
            reason: word.clone(),
            error_type: word,
            ..Outcome::default()
        });
        if reason.is_none() { Ok(()) } else { Err(Lost::NotTaken) }
    }
}

/// How an answer ended that its upstream did not take.
const fn failed(fault: Fault) -> (Status, &'static str) {
    (fault_status(fault), fault.code())
}
