//! What tests of the pipeline stand on: a tenant whose tools are those of an upstream in this process, and the records.
#![expect(clippy::needless_pass_by_value, reason = "JSON that is made where it is given away")]

pub(crate) mod upstream;

use std::sync::Arc;
use std::time::Duration;

use audit::entry::Entry;
use audit::frame::{self, FIELD, Frame};
use axum::body::Body;
use axum::response::Response;
use domain::projection::keys as redis_keys;
use domain::snapshot::{Prefix, SNAPSHOT_FORMAT};
use domain::{
    Annotations, BootId, Clock, Credential, EraPin, NodeId, PolicyId, PolicyText, Principal, RiskClass, Role, Secret,
    Server, ServerId, ServerVersionId, SessionMode, TenantId, TenantSnapshot, TokenId, TokenScope, Tool, ToolId,
    UserId,
};
use egress::{Dialer, Rules};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use prometheus_client::metrics::gauge::Gauge;
use redis::AsyncCommands as _;
use redis::streams::StreamRangeReply;
use secrets::{MasterKey, NodeKeys, Purpose, SigningKey, Store, VerifyingKeys};
use serde_json::{Value, json};
use service::Drain;
use url::Url;
use uuid::Uuid;

use crate::audit::tests::{Redis, eventually};
use crate::audit::{Keys, Recorder, Settings};
use crate::call::asking::Asks;
use crate::call::inflight::InFlight;
use crate::call::rounds::Rounds;
use crate::call::session::Sessions;
use crate::call::withdrawal::Withdrawals;
use crate::caller::Caller;
use crate::credentials::Credentials;
use crate::gateway::{Gateway, Parts};
use crate::listen::Room;
use crate::metrics::Metrics;
use crate::permit::SeenLabels;
use crate::tenants::{CompileParts, Tenant};
use crate::upstream::{Shelf, Upstreams};

pub(crate) const DEPLOYMENT: &str = "dep_0123456789abcdef";
/// The tools of the tenant's one server; `hidden` and `denied` are not allowed.
const TOOLS: &[&str] = &[
    "echo",
    "fail",
    "rpc_error",
    "lacks",
    "invalid",
    "progress",
    "logs",
    "stray",
    "asks",
    "ask",
    "input",
    "slow",
    "hang",
    "cut",
    "poll",
    "garbage",
    "garbage_event",
    "html",
    "wrong_id",
    "huge",
    "huge_event",
    "redirect",
    "unavailable",
    "unauthorized",
    "headers",
    "odd",
    "forge",
    "hidden",
    "denied",
];
const POLICY: &str = r#"
@id("all") permit (principal, action in Sluice::Action::"tools/call", resource) unless { resource.name == "hidden" };
@id("not-denied") @name("Not this one") @visible @reason("It is not for you.") @instead("Use echo.")
forbid (principal, action == Sluice::Action::"call:crm/denied", resource);
"#;

/// A node's pipeline with one tenant, one caller and one upstream.
pub(crate) struct Stage {
    pub(crate) gateway: Gateway,
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) caller: Arc<Caller>,
    pub(crate) room: Room,
    redis: Option<Redis>,
    keys: Arc<NodeKeys>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Told {
    pub(crate) async fn read(response: Response) -> Self {
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Self { status: head.status, headers: head.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// The message, or the last one of a stream.
    pub(crate) fn json(&self) -> Value {
        let text = self.text.rsplit_once("data: ").map_or(self.text.as_str(), |(_, last)| last);
        serde_json::from_str(text.trim()).unwrap()
    }

    /// Every message of a stream.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.text.split("data: ").skip(1).map(|event| serde_json::from_str(event.trim()).unwrap()).collect()
    }
}

impl Stage {
    pub(crate) async fn new(upstream: &Url) -> Self {
        Self::with(upstream, |_, _| {}).await
    }

    /// A stage whose snapshot was changed; the second parameter is the tenant's data key.
    pub(crate) async fn with(upstream: &Url, change: impl FnOnce(&mut TenantSnapshot, &Secret<[u8; 32]>)) -> Self {
        let (redis, clock, drain) = (Redis::start().await, service::clock(), Drain::new());
        let keys = Arc::new(keys());
        let upstreams = upstreams(&keys, &redis, &drain).await;
        let parts = CompileParts { keys: Arc::clone(&keys), upstreams };
        let tenant = TenantId::new(&clock);
        let data_key = secrets::new_data_key();
        let mut snapshot = snapshot(tenant, upstream, &keys.master, &data_key);
        change(&mut snapshot, &data_key);
        let tenant = Arc::new(Tenant::compile(snapshot, &parts).unwrap());
        let gateway = gateway(&keys, &redis, recorder(&keys, &redis, &clock), &drain).await;
        let caller = Arc::new(Caller::new(principal(tenant.snapshot.tenant)));
        Self { gateway, tenant, caller, room: room(&[]), redis: Some(redis), keys }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        let seat = self.room.enter().unwrap();
        self.gateway.answer(Arc::clone(&self.tenant), Arc::clone(&self.caller), request, &seat).await
    }

    pub(crate) async fn ask(&self, request: Request<Body>) -> Told {
        Told::read(self.send(request).await).await
    }

    /// A modern call of a tool.
    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Told {
        self.ask(modern_call(tool, arguments)).await
    }

    /// Begins a legacy session and gives its id.
    pub(crate) async fn session(&self, version: &str) -> String {
        let told = self.ask(legacy(None, &initialize(version))).await;
        assert_eq!(told.status, StatusCode::OK, "{}", told.text);
        told.headers["mcp-session-id"].to_str().unwrap().to_owned()
    }

    /// The final records in the log so far, oldest first, without what else than calls went well.
    pub(crate) async fn records(&self) -> Vec<Value> {
        let matters = |record: &Value| record["outcome"]["status"] != "success" || record["kind"] == "call";
        self.all_records().await.into_iter().filter(matters).collect()
    }

    /// The final records in the log so far, oldest first.
    pub(crate) async fn all_records(&self) -> Vec<Value> {
        let mut connection = self.redis().await;
        let stream: StreamRangeReply = connection.xrange_all(redis_keys::audit(0)).await.unwrap();
        let sealer = self.keys.master.sealer(Purpose::AuditFrame, DEPLOYMENT);
        let entries = stream.ids.into_iter().flat_map(|entry| {
            let wire: Vec<u8> = entry.get(FIELD).unwrap();
            let (origin, s, body) = frame::from_wire(&wire).unwrap();
            let plain = sealer.open(&frame::aad(DEPLOYMENT, &origin, s).parts(), body).unwrap();
            Frame::parse(&plain.into()).unwrap().entries
        });
        let last = |entry| match entry {
            Entry::Final { body, .. } => Some(serde_json::from_slice::<Value>(&body.record).unwrap()),
            _ => None,
        };
        entries.filter_map(last).collect()
    }

    /// The same tenant as another node of the deployment has it.
    pub(crate) async fn move_to_another_node(&mut self) {
        self.publish(|_| {}).await;
    }

    /// Another tenant of the deployment, which has the same server, and the caller as one of its own.
    pub(crate) async fn move_to_another_tenant(&mut self) {
        let tenant = TenantId::new(&service::clock());
        let endpoint = self.tenant.snapshot.servers[0].endpoint.clone();
        let other = snapshot(tenant, &endpoint, &self.keys.master, &secrets::new_data_key());
        self.caller = Arc::new(Caller::new(Principal { tenant, ..self.caller.principal.clone() }));
        self.publish(|snapshot| *snapshot = other).await;
    }

    /// The tenant with something changed, as another node of the deployment has it.
    pub(crate) async fn publish(&mut self, change: impl FnOnce(&mut TenantSnapshot)) {
        let (redis, drain) = (self.redis.as_ref().unwrap(), Drain::new());
        let upstreams = upstreams(&self.keys, redis, &drain).await;
        let parts = CompileParts { keys: Arc::clone(&self.keys), upstreams };
        let mut snapshot = self.tenant.snapshot.clone();
        change(&mut snapshot);
        self.tenant = Arc::new(Tenant::compile(snapshot, &parts).unwrap());
        let recorder = recorder(&self.keys, redis, &service::clock());
        self.gateway = gateway(&self.keys, redis, recorder, &drain).await;
    }

    /// Gives the node so little memory that nothing is recorded after the next record.
    pub(crate) async fn fill_up(&mut self) {
        let redis = self.redis.as_ref().unwrap();
        let recorder = recorder_within(&self.keys, redis, &service::clock(), 0);
        self.gateway = gateway(&self.keys, redis, recorder, &Drain::new()).await;
    }

    /// A connection to the stage's Redis.
    pub(crate) async fn redis(&self) -> redis::aio::MultiplexedConnection {
        self.redis.as_ref().unwrap().connection().await
    }

    /// Takes Redis away, and with it the way to record.
    pub(crate) fn end_redis(&mut self) {
        self.redis.take();
    }

    /// The one record there is, once it is there.
    pub(crate) async fn record(&self) -> Value {
        eventually(async || !self.records().await.is_empty()).await;
        let records = self.records().await;
        assert_eq!(records.len(), 1, "{records:#?}");
        records.into_iter().next().unwrap()
    }
}

/// The places of a node that is configured so.
pub(crate) fn room(changes: &[(&str, &str)]) -> Room {
    Room::new(&crate::app::tests::config(changes), Gauge::default())
}

/// A deployment's keys, fresh.
pub(crate) fn keys() -> NodeKeys {
    NodeKeys {
        deployment: DEPLOYMENT.to_owned(),
        master: MasterKey::generate(),
        verifying: VerifyingKeys::from_text(&SigningKey::generate().verifying_text()).unwrap(),
    }
}

async fn upstreams(keys: &NodeKeys, redis: &Redis, drain: &Drain) -> Upstreams {
    let shelf = Shelf {
        redis: service::redis::connect(&redis.url()).await.unwrap(),
        sealer: keys.master.sealer(Purpose::Session, DEPLOYMENT),
    };
    Upstreams::new(Dialer::new(Rules::development()), drain.clone(), Some(shelf))
}

async fn gateway(keys: &NodeKeys, redis: &Redis, recorder: Recorder, drain: &Drain) -> Gateway {
    let clock = service::clock();
    let sealer = |purpose| keys.master.sealer(purpose, DEPLOYMENT);
    let connection = service::redis::connect(&redis.url()).await.unwrap();
    let long_ago = Clock::new(|| service::clock().now() - chrono::TimeDelta::days(2), || [7; 10]);
    SeenLabels::start(connection.clone(), sealer(Purpose::Seen), long_ago).await;
    let in_flight = InFlight::default();
    let client = service::redis::client(&redis.url()).unwrap();
    let sessions = Sessions::new(sealer(Purpose::Session), Some(connection.clone()), clock.clone());
    drain.spawn(Withdrawals::listen(sealer(Purpose::Session), client, in_flight.clone(), sessions.clone()));
    Gateway::new(Parts {
        recorder,
        credentials: Credentials::new(Store::Sealed),
        sessions,
        withdrawals: Some(Withdrawals { redis: connection.clone(), sealer: sealer(Purpose::Session) }),
        in_flight,
        seen: SeenLabels::new(connection.clone(), sealer(Purpose::Seen), clock.clone()),
        cursors: sealer(Purpose::Cursor),
        rounds: Rounds::new(sealer(Purpose::RequestState), clock.clone()),
        asks: Asks::new(sealer(Purpose::Request), clock.clone()),
        metrics: Metrics::register(&mut prometheus_client::registry::Registry::default()),
        drain: drain.clone(),
        clock,
    })
}

/// Records into a Redis of the test's own.
pub(crate) fn recorder(keys: &NodeKeys, redis: &Redis, clock: &Clock) -> Recorder {
    recorder_within(keys, redis, clock, 64 << 20)
}

fn recorder_within(keys: &NodeKeys, redis: &Redis, clock: &Clock, uncommitted_max: u64) -> Recorder {
    let sealer = |purpose| keys.master.sealer(purpose, DEPLOYMENT);
    let settings = Settings {
        shards: 1,
        uncommitted_max,
        durable_within: Duration::from_secs(5),
        ..Settings::new(DEPLOYMENT.to_owned(), NodeId::new(clock), BootId::new(clock), redis.url())
    };
    let audit_keys = Keys { frames: sealer(Purpose::AuditFrame), acks: sealer(Purpose::AuditAck) };
    Recorder::start(settings, audit_keys, clock.clone()).unwrap()
}

pub(crate) fn principal(tenant: TenantId) -> Principal {
    Principal {
        tenant,
        user: UserId::from_uuid(Uuid::from_u128(1)),
        token: TokenId::from_uuid(Uuid::from_u128(2)),
        role: Role::Member,
        groups: std::collections::BTreeSet::new(),
        scope: TokenScope::default(),
        issued_at: chrono::DateTime::UNIX_EPOCH,
        expires_at: chrono::DateTime::from_timestamp(32_503_680_000, 0).unwrap(),
    }
}

fn snapshot(tenant: TenantId, upstream: &Url, master: &MasterKey, data_key: &Secret<[u8; 32]>) -> TenantSnapshot {
    TenantSnapshot {
        format: SNAPSHOT_FORMAT,
        tenant,
        slug: "acme".parse().unwrap(),
        title: "Acme".to_owned(),
        epoch: 0,
        revision: 7,
        blind_max_s: 60,
        prefix: Prefix::Always,
        servers: vec![server(upstream)],
        policies: vec![PolicyText {
            id: PolicyId::from_uuid(Uuid::from_u128(5)),
            version: 3,
            name: "Ours".to_owned(),
            text: POLICY.to_owned(),
            sha256: "00".repeat(32),
        }],
        arguments_key: master.wrap(tenant, "arg1", &secrets::new_data_key()),
        data_key: master.wrap(tenant, "dat1", data_key),
    }
}

fn server(endpoint: &Url) -> Server {
    let tools = (100..).zip(TOOLS).map(|(number, name)| tool(number, name));
    Server {
        id: ServerId::from_uuid(Uuid::from_u128(3)),
        key: "crm".parse().unwrap(),
        alias: "crm".parse().unwrap(),
        title: "CRM".to_owned(),
        version: ServerVersionId::from_uuid(Uuid::from_u128(4)),
        endpoint: endpoint.clone(),
        era: EraPin::Auto,
        probed_version: None,
        sessions: SessionMode::PerPrincipal,
        credential: Credential::None,
        labels: std::collections::BTreeSet::new(),
        instructions: Some("Be kind.".to_owned()),
        paused: false,
        timeout_ms: 10_000,
        answer_max_bytes: 100_000,
        tools: tools.collect(),
        items: Vec::new(),
        speaks: Vec::new(),
        carries: domain::Carries::default(),
    }
}

fn tool(number: u128, name: &str) -> Tool {
    let definition = json!({"name": name, "description": "Does it.", "inputSchema": {"type": "object"}});
    Tool {
        id: ToolId::from_uuid(Uuid::from_u128(number)),
        name: name.to_owned(),
        definition: serde_json::value::RawValue::from_string(definition.to_string()).unwrap(),
        digest: "11".repeat(32),
        risk: RiskClass::Read,
        labels: std::collections::BTreeSet::new(),
        annotations: Annotations::default(),
    }
}

/// A modern request.
pub(crate) fn modern(method: &str, name: Option<&str>, mut params: Value) -> Request<Body> {
    let meta = &mut params["_meta"];
    meta["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
    if meta.get("io.modelcontextprotocol/clientCapabilities").is_none() {
        meta["io.modelcontextprotocol/clientCapabilities"] = json!({});
    }
    meta["io.modelcontextprotocol/clientInfo"] = json!({"name": "tester", "version": "1"});
    let body = json!({"jsonrpc": "2.0", "id": 41, "method": method, "params": params});
    let mut request = Request::post("/acme/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("authorization", "Bearer slc_of_the_client")
        .header("mcp-protocol-version", "2026-07-28")
        .header("mcp-method", method);
    if let Some(name) = name {
        request = request.header("mcp-name", name);
    }
    request.body(Body::from(body.to_string())).unwrap()
}

/// A modern call of one of the tools.
pub(crate) fn modern_call(tool: &str, arguments: Value) -> Request<Body> {
    let name = format!("crm__{tool}");
    let params = json!({"name": name, "arguments": arguments, "_meta": {"progressToken": "mine"}});
    modern("tools/call", Some(&name), params)
}

/// A legacy request.
pub(crate) fn legacy(session: Option<&str>, body: &Value) -> Request<Body> {
    let mut request = Request::post("/acme/mcp")
        .header("content-type", "application/json")
        .header("accept", "application/json, text/event-stream")
        .header("authorization", "Bearer slc_of_the_client");
    if let Some(session) = session {
        request = request.header("mcp-session-id", session);
    }
    request.body(Body::from(body.to_string())).unwrap()
}

/// The handshake's first message.
pub(crate) fn initialize(version: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": version,
        "capabilities": {}, "clientInfo": {"name": "tester", "version": "1"}}})
}

/// A legacy call of one of the tools.
pub(crate) fn legacy_call(id: u64, tool: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": format!("crm__{tool}"), "arguments": {"a": 1}, "_meta": {"progressToken": "mine"}}})
}
