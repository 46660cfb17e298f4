//! Looking at an upstream server for the control plane, which may not reach it itself. Requests are signed, expire and
//! count once; the answer is a stream of steps.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::record::{Actor, Outcome, Server};
use audit::words::{ActorKind, Kind, Status};
use audit::{Record, Text};
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use domain::projection::{EnvelopeKind, keys, open};
use domain::relay::{DISCOVER_PATH, DISCOVER_TTL_S, Discover, Failed, Found, StepName};
use domain::{CallId, Clock, RecordId};
use http::StatusCode;
use mcp::sse;
use redis::aio::ConnectionManager;
use secrets::{NodeKeys, Scope};
use serde::Serialize;
use service::Drain;
use tokio::sync::mpsc;

use crate::audit::{AuditUnavailable, Recorder};
use crate::credentials::Credentials;
use crate::reply::{empty, received};
use crate::upstream::Upstreams;
use crate::upstream::discover::{Depth, Probe};

/// Longest probe.
const WITHIN: Duration = Duration::from_secs(30);
/// How long Redis may take to say whether a request is new.
const PATIENCE: Duration = Duration::from_secs(2);

/// What looking needs.
#[derive(Clone)]
pub struct Relay(Arc<Parts>);

/// The parts of the relay.
pub struct Parts {
    /// The time.
    pub clock: Clock,
    /// Whose requests are believed, and what opens tenants' keys.
    pub keys: Arc<NodeKeys>,
    /// The way to upstreams: the same guard as for calls.
    pub upstreams: Upstreams,
    /// What is presented to them.
    pub credentials: Credentials,
    /// The audit log.
    pub recorder: Recorder,
    /// Remembers which requests were used, for all nodes.
    pub redis: ConnectionManager,
    /// Owns the probes.
    pub drain: Drain,
}

impl Relay {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// `POST /relay/v1/discover`. It belongs on the internal listener.
    pub fn routes(self) -> Router {
        Router::new().route(DISCOVER_PATH, post(discover)).with_state(self)
    }

    /// The request in an envelope that the control plane signed for this.
    fn believe(&self, envelope: &[u8]) -> Option<Discover> {
        let keys = &self.0.keys;
        let opened = open(envelope, &keys.deployment, EnvelopeKind::Relay, DISCOVER_PATH, &keys.verifying).ok()?;
        let asked: Discover = serde_json::from_slice(opened.body).ok()?;
        (opened.header.tenant == Some(asked.tenant)).then_some(asked)
    }

    /// Whether the request still counts, and was not used before at any node.
    async fn admit(&self, asked: &Discover) -> Result<(), Failed> {
        let refuse = |code: &str, detail: &str| Failed {
            step: StepName::Address,
            code: code.to_owned(),
            detail: detail.to_owned(),
        };
        let left = (asked.expires_at - self.0.clock.now()).num_seconds();
        if !(0..=DISCOVER_TTL_S).contains(&left) {
            return Err(refuse("expired", "The request is too old; try again."));
        }
        let mut redis = self.0.redis.clone();
        let mut set = redis::cmd("SET");
        set.arg(keys::relay_used(&asked.jti)).arg(1).arg("NX").arg("EX").arg(2 * DISCOVER_TTL_S);
        match tokio::time::timeout(PATIENCE, set.query_async::<Option<String>>(&mut redis)).await {
            Ok(Ok(Some(_))) => Ok(()),
            Ok(Ok(None)) => Err(refuse("replayed", "The request was used before; try again.")),
            _ => Err(refuse("node_unready", "The node can't reach Redis now; try again.")),
        }
    }

    async fn run(&self, asked: Discover, events: mpsc::Sender<Bytes>) {
        let began = Instant::now();
        let looked = tokio::select! {
            looked = self.look(&asked, &events) => looked,
            // Whoever asked has gone; what was presented until then is on record all the same.
            () = events.closed() => Err(Failed {
                step: StepName::Tools,
                code: "cancelled".to_owned(),
                detail: "Whoever asked did not wait for the end.".to_owned(),
            }),
        };
        let recorded = self.record(&asked, looked.as_ref().err(), began);
        let last = match (&looked, recorded) {
            (_, Err(AuditUnavailable)) => event("failed", &unrecorded()),
            (Ok(found), Ok(())) => event("found", found),
            (Err(failed), Ok(())) => event("failed", failed),
        };
        let _ = events.send(last).await;
    }

    async fn look(&self, asked: &Discover, events: &mpsc::Sender<Bytes>) -> Result<Found, Failed> {
        self.admit(asked).await?;
        let data_key = self.0.keys.master.unwrap(asked.tenant, &asked.data_key);
        let data_key = data_key.map_err(|_| no_credential())?;
        let scope = Scope { tenant: asked.tenant, data_key: &data_key };
        let credential = self.0.credentials.fetch(scope, &asked.credential).await.map_err(|error| {
            tracing::warn!(tenant.id = %asked.tenant, error = service::causes(&error), "a server can't be looked at without its credential");
            no_credential()
        })?;
        let (sender, mut steps) = mpsc::channel(8);
        let mut probe = Probe::new(&self.0.upstreams, &asked.endpoint, &credential, (WITHIN, sender));
        let depth = if asked.items { Depth::Everything } else { Depth::Tools };
        let looking = probe.look(asked.era, depth);
        tokio::pin!(looking);
        loop {
            tokio::select! {
                biased;
                Some(step) = steps.recv() => drop(events.send(event("step", &step)).await),
                looked = &mut looking => {
                    while let Ok(step) = steps.try_recv() {
                        let _ = events.send(event("step", &step)).await;
                    }
                    return looked;
                }
            }
        }
    }

    fn record(&self, asked: &Discover, failed: Option<&Failed>, began: Instant) -> Result<(), AuditUnavailable> {
        let id = RecordId::new(&self.0.clock);
        let mut record = Record::new(id, Kind::Server, asked.tenant, self.0.clock.now());
        record.call_id = Some(CallId::new(&self.0.clock));
        record.actor = Actor { kind: Some(ActorKind::System), ..Actor::default() };
        record.server = Server {
            id: asked.server,
            host: asked.endpoint.host_str().map(|host| Text::from(host.to_owned())),
            ..Server::default()
        };
        record.mcp.method = Some(Text::Fixed("server/discover"));
        record.dur.total = Some(crate::reply::micros(began));
        record.outcome = Outcome {
            status: Some(if failed.is_some() { Status::UpstreamUnavailable } else { Status::Success }),
            reason: failed.map(|failed| Text::from(failed.code.clone())),
            ..Outcome::default()
        };
        self.0.recorder.add(record)
    }
}

async fn discover(State(relay): State<Relay>, body: Bytes) -> Response {
    let Some(asked) = relay.believe(&body) else { return empty(StatusCode::FORBIDDEN) };
    let (sender, receiver) = mpsc::channel(16);
    let looking = relay.clone();
    relay.0.drain.spawn(async move { Box::pin(looking.run(asked, sender)).await });
    received(receiver)
}

/// It says nothing of the server, and why is the operator's to know.
fn no_credential() -> Failed {
    Failed {
        step: StepName::Auth,
        code: "credential_unavailable".to_owned(),
        detail: "The credential could not be had now; try again.".to_owned(),
    }
}

fn unrecorded() -> Failed {
    Failed {
        step: StepName::Tools,
        code: "audit_unavailable".to_owned(),
        detail: "What was found could not be recorded; try again.".to_owned(),
    }
}

fn event(kind: &str, value: &impl Serialize) -> Bytes {
    let mut text = format!("event: {kind}\n").into_bytes();
    sse::write(&mut text, &serde_json::to_string(value).unwrap_or_default());
    text.into()
}
