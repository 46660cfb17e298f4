//! What legacy upstreams ask while a legacy client's call runs: the client is asked under a sealed id, and its answer, which
//! may come to any node, finds the way back by it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::record::{Outcome, Server, Tool};
use audit::words::{Kind, ResultType, Status};
use audit::{Record, Text};
use domain::{CallId, Clock, Principal, ServerId};
use mcp::input::{Inquiry, Strange};
use mcp::{Code, Id, Json, Limits, Object, Raw, Request, RpcError};
use moka::sync::Cache;
use secrets::Sealer;
use serde::{Deserialize, Serialize};

use super::inflight::{InFlight, Running};
use super::record::{self, Subject};
use super::rounds::ANSWER_WITHIN;
use super::session::LegacySession;
use super::trace::Trace;
use super::{Arrival, Client};
use crate::audit::{AuditUnavailable, Recorder};
use crate::caller::Caller;
use crate::tenants::Tenant;
use crate::upstream::{Fault, InSession, place};

/// Most answered questions that a node remembers.
const TAKEN_MOST: u64 = 100_000;
/// What ids of ours begin with.
const PREFIX: &str = "q.";

/// Makes and opens the ids under which clients are asked. Cloning is cheap.
#[derive(Clone)]
pub struct Asks {
    sealer: Sealer,
    clock: Clock,
    /// The digests of ids whose answers came to this node, for as long as such an id opens.
    taken: Cache<[u8; 32], ()>,
}

/// Where an answer goes. Sealed, with short names: it travels through the client and back.
#[derive(Serialize, Deserialize)]
pub struct Return {
    /// The server that asked.
    #[serde(rename = "s")]
    server: ServerId,
    /// Where it was, and as whom it was reached ([`place`]).
    #[serde(rename = "a")]
    place: String,
    /// Our session there.
    #[serde(flatten)]
    pub session: InSession,
    /// The JSON text of the upstream's id for its question.
    #[serde(rename = "r")]
    request: String,
    /// What was asked.
    #[serde(rename = "m")]
    pub method: String,
    /// The call in which it was asked.
    #[serde(rename = "c")]
    pub call: CallId,
    /// Unix seconds.
    #[serde(rename = "e")]
    expires_at: i64,
}

/// Asks the client of one call.
#[derive(Clone)]
pub struct Asker(pub Arc<Asking>);

/// What is needed to ask a call's client.
pub struct Asking {
    /// Makes the ids.
    pub asks: Asks,
    /// Questions are listed while they are open.
    pub in_flight: InFlight,
    /// Each question is recorded.
    pub recorder: Recorder,
    /// Whose tool is called.
    pub tenant: Arc<Tenant>,
    /// Who called it.
    pub caller: Arc<Caller>,
    /// In which session.
    pub session: Arc<LegacySession>,
    /// How the call came.
    pub arrival: Arrival,
    /// The call's trace.
    pub trace: Trace,
    /// The call.
    pub call: CallId,
    /// Its server.
    pub server_id: ServerId,
    /// Where that is, and as whom it is reached ([`place`]).
    pub place: String,
    /// Its server's alias.
    pub alias: String,
    /// What records say of the tool.
    pub tool: Tool,
    /// What records say of its server.
    pub server: Server,
}

impl Asks {
    /// Seals with `sealer` (`Purpose::Request`).
    #[must_use]
    pub fn new(sealer: Sealer, clock: Clock) -> Self {
        let within = Duration::from_secs(ANSWER_WITHIN.unsigned_abs());
        let taken = Cache::builder().max_capacity(TAKEN_MOST).time_to_live(within).build();
        Self { sealer, clock, taken }
    }

    /// Takes the answer to the question of that id; `false` when this node took one before.
    #[must_use]
    pub fn take(&self, id: &Id<'_>) -> bool {
        self.taken.entry(secrets::sha256(id.as_json().as_bytes())).or_insert(()).is_fresh()
    }

    /// Finds where an answer goes that the caller gives in its session of that nonce; `None` when nothing of ours was asked
    /// there under this id, or too long ago.
    #[must_use]
    pub fn find(&self, principal: &Principal, nonce: [u8; 16], id: &Id<'_>) -> Option<Return> {
        let sealed = id.as_json().strip_prefix('"')?.strip_suffix('"')?.strip_prefix(PREFIX)?;
        let plain = self.sealer.open_text(&[b"ask", &bound(principal, nonce)], sealed).ok()?;
        let found: Return = serde_json::from_slice(&plain).ok()?;
        (self.clock.now().timestamp() < found.expires_at).then_some(found)
    }

    fn seal(&self, principal: &Principal, nonce: [u8; 16], to: &Return) -> Option<Id<'static>> {
        let plain = serde_json::to_vec(to).ok()?;
        let id = Id::text(&format!("{PREFIX}{}", self.sealer.seal_text(&[b"ask", &bound(principal, nonce)], &plain)));
        (id.as_json().len() <= Id::LONGEST).then_some(id)
    }
}

/// For whom an id is sealed. All parts have one length each, so nothing can stand for something else.
fn bound(principal: &Principal, nonce: [u8; 16]) -> Vec<u8> {
    let ids = [principal.tenant.uuid(), principal.user.uuid(), principal.token.uuid()].map(uuid::Uuid::into_bytes);
    [ids.as_flattened(), &nonce].concat()
}

/// A question in the list of what runs here, while it is open.
pub struct Open {
    delivered: Running,
    lost: Running,
}

/// What became of a client's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// The upstream has it.
    Delivered,
    /// The upstream will never have it.
    Lost,
}

impl Came {
    /// Under which name the question of this id, a JSON text, is told so.
    #[must_use]
    pub fn name(self, id: &str) -> String {
        match self {
            Self::Delivered => id.to_owned(),
            // No JSON text, so no request of a client's is called that.
            Self::Lost => format!("lost {id}"),
        }
    }
}

impl Open {
    fn begin(in_flight: &InFlight, session: [u8; 16], id: &Id<'_>) -> Self {
        let begin = |came: Came| in_flight.begin(session, &came.name(id.as_json()));
        Self { delivered: begin(Came::Delivered), lost: begin(Came::Lost) }
    }

    /// Waits until the client has answered, at whichever node, and says what became of that.
    pub async fn came(&self) -> Came {
        tokio::select! {
            biased;
            () = self.delivered.cancelled.cancelled() => Came::Delivered,
            () = self.lost.cancelled.cancelled() => Came::Lost,
        }
    }
}

impl Return {
    /// Whether that is the server which asked: it may have been reviewed anew since, but is where it was, as whom it was.
    #[must_use]
    pub fn leads_to(&self, server: &domain::Server) -> bool {
        self.server == server.id && self.place == place(server)
    }

    /// The upstream's own id for its question.
    #[must_use]
    pub fn request(&self) -> Option<Id<'_>> {
        Raw::check(&self.request, &Limits::upstream()).ok().and_then(Id::read)
    }
}

impl Asker {
    /// The question as the client gets it, its id there, and its place among what runs here; it is recorded.
    ///
    /// # Errors
    /// What the upstream is told instead, when its client can't be asked that. That is recorded too.
    pub fn ask(&self, asked: &Request<'_>, session: InSession) -> Result<(Id<'static>, Json, Open), RpcError> {
        let Asking { asks, caller, session: client, alias, .. } = &*self.0;
        let read = Inquiry::read(asked).and_then(|inquiry| {
            inquiry.check(client.state.capabilities)?;
            Ok(inquiry)
        });
        let inquiry = match read {
            Ok(inquiry) => inquiry,
            Err(strange) => {
                let error = refused(strange);
                // It is refused whether or not there is room for the record of it.
                let _ = self.record(None, Some((strange, &error)));
                return Err(error);
            }
        };
        let to = Return {
            server: self.0.server_id,
            place: self.0.place.clone(),
            session,
            request: asked.id.as_json().to_owned(),
            method: inquiry.method().to_owned(),
            call: self.0.call,
            expires_at: asks.clock.now().timestamp() + ANSWER_WITHIN,
        };
        let id = asks.seal(&caller.principal, client.nonce, &to);
        let id =
            id.ok_or_else(|| RpcError::new(Code::InvalidRequest, "The session's or the request's id is too long"))?;
        self.record(Some(inquiry.method()), None)
            .map_err(|AuditUnavailable| RpcError::new(Code::InternalError, "The question could not be recorded"))?;
        let question = inquiry.to_client(&id, alias);
        let open = Open::begin(&self.0.in_flight, client.nonce, &id);
        Ok((id, question, open))
    }

    fn record(
        &self,
        method: Option<&'static str>,
        refused: Option<(Strange, &RpcError)>,
    ) -> Result<(), AuditUnavailable> {
        let Asking { asks, recorder, tenant, caller, session, arrival, trace, call, tool, server, .. } = &*self.0;
        let now = asks.clock.now();
        let arrival = Arrival { time: now, at: Instant::now(), bytes_in: 0, ..arrival.clone() };
        let mut record = begin(&arrival, (tenant, caller, session), (trace, *call, method), &asks.clock);
        (record.tool, record.server) = (tool.clone(), server.clone());
        record.outcome = match refused {
            None => Outcome { status: Some(Status::Success), ..Outcome::default() },
            Some((strange, error)) => {
                let word = Text::Fixed(Fault::from(strange).code());
                Outcome {
                    status: Some(Status::ProtocolError),
                    jsonrpc_code: Some(error.code.number()),
                    reason: Some(word.clone()),
                    error_type: Some(word),
                    ..Outcome::default()
                }
            }
        };
        record.mcp.result_type = Some(ResultType::InputRequired);
        recorder.add(record)
    }
}

/// The record of a question within a call, or of its answer.
pub(crate) fn begin(
    arrival: &Arrival,
    (tenant, caller, session): (&Tenant, &Caller, &LegacySession),
    (trace, call, method): (&Trace, CallId, Option<&str>),
    clock: &Clock,
) -> Box<Record> {
    let info = session.state.client.as_ref().map(mcp::session::ClientInfo::to_json);
    let client = Client::legacy(session, info.as_ref().map(Json::raw), Object::empty().raw());
    let subject = Subject {
        kind: Kind::McpRequest,
        arrival,
        method,
        request: None,
        client: Some(&client),
        session: Some(session),
        trace,
    };
    let mut record = record::begin(&subject, tenant, caller, clock);
    record.correlation_id = Some(Text::of(call.uuid()));
    record
}

/// What an upstream is told that may not ask that.
fn refused(strange: Strange) -> RpcError {
    match strange {
        Strange::Undeclared => RpcError::new(Code::MethodNotFound, "Not offered by this client"),
        strange => RpcError::new(Code::InvalidParams, format!("Not passed on: {strange}")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, Ordering};

    use domain::{TenantId, TokenId, UserId};
    use secrets::Purpose;
    use uuid::Uuid;

    use super::*;
    use crate::testing::{keys, principal};

    const NONCE: [u8; 16] = [1; 16];

    fn to(request: &str) -> Return {
        let session = serde_json::from_str(r#"{"u":"their-session","p":"2025-11-25"}"#).unwrap();
        let server = ServerId::from_uuid(Uuid::from_u128(4));
        let call = CallId::from_uuid(Uuid::from_u128(5));
        let (request, method, place) = (request.to_owned(), "roots/list".into(), String::new());
        Return { server, place, session, request, method, call, expires_at: 1_600 }
    }

    /// Ids of a deployment whose clock is set by hand, and one of them.
    fn asks() -> (Asks, Arc<AtomicI64>, Principal, Id<'static>) {
        let now = Arc::new(AtomicI64::new(1_000));
        let told = Arc::clone(&now);
        let clock =
            Clock::new(move || chrono::DateTime::from_timestamp(told.load(Ordering::SeqCst), 0).unwrap(), || [7; 10]);
        let asks = Asks::new(keys().master.sealer(Purpose::Request, crate::testing::DEPLOYMENT), clock);
        let us = principal(TenantId::from_uuid(Uuid::from_u128(9)));
        let id = asks.seal(&us, NONCE, &to(r#""srv \"7\"""#)).unwrap();
        (asks, now, us, id)
    }

    #[test]
    fn an_answer_finds_its_way_back_for_ten_minutes() {
        let (asks, now, us, id) = asks();
        assert!(id.as_json().starts_with("\"q."), "{id}");
        now.store(1_599, Ordering::SeqCst);
        let found = asks.find(&us, NONCE, &id).unwrap();
        assert_eq!(found.request().unwrap().as_json(), r#""srv \"7\"""#);
        now.store(1_600, Ordering::SeqCst);
        assert!(asks.find(&us, NONCE, &id).is_none());
    }

    #[test]
    fn an_id_is_worth_nothing_to_anybody_else() {
        let (asks, _, us, id) = asks();
        let other = Uuid::from_u128(77);
        for principal in [
            Principal { tenant: TenantId::from_uuid(other), ..us.clone() },
            Principal { user: UserId::from_uuid(other), ..us.clone() },
            Principal { token: TokenId::from_uuid(other), ..us.clone() },
        ] {
            assert!(asks.find(&principal, NONCE, &id).is_none(), "{principal:?}");
        }
        assert!(asks.find(&us, [2; 16], &id).is_none(), "another session");
        assert!(asks.find(&us, NONCE, &id).is_some());
    }

    #[test]
    fn a_changed_or_foreign_id_leads_nowhere() {
        let (asks, _, us, id) = asks();
        let text = id.as_json().trim_matches('"').to_owned();
        for place in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[place] ^= 1;
            let changed = Id::text(&String::from_utf8(changed).unwrap());
            assert!(asks.find(&us, NONCE, &changed).is_none(), "at {place}");
        }
        let foreign = self::asks().3;
        for id in [foreign, Id::number(7), Id::text(""), Id::text("q."), Id::text(&text[2..])] {
            assert!(asks.find(&us, NONCE, &id).is_none(), "{id}");
        }
    }

    #[test]
    fn an_id_that_no_client_would_give_back_is_not_made() {
        let (asks, _, us, _) = asks();
        let long = format!("\"{}\"", "x".repeat(Id::LONGEST));
        assert!(asks.seal(&us, NONCE, &to(&long)).is_none());
    }
}
