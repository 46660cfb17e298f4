//! Records of every kind, as their makers form them.

use audit::export::Placed;
use audit::pii::{Canonical, PiiActor, PiiArgs, PiiClient};
use audit::record::{
    Actor, Agent, Amends, Args, Change, Client, Decision, Durations, Gateway, Mcp, Outcome, PolicyUse, Record, Server,
    Session, SourceNote, Span, Target, Tool, Trace, TreeState,
};
use audit::words::{
    ActorKind, AuthMethod, Canon, Durability, Effect, Kind, Level, Mode, Stage, Status, TraceSource, Transport,
};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{BootId, CallId, NodeId, PolicyId, RecordId, ServerId, TenantId, TokenId, ToolId};
use uuid::Uuid;

/// A record's bytes and its personal part.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) record: Vec<u8>,
    pub(crate) pii: Option<Vec<u8>>,
}

impl Sample {
    pub(crate) fn new(name: &str, record: &Record) -> Self {
        let pii = record.pii.to_bytes();
        let pii = (pii != b"{}").then_some(pii);
        Self { name: name.to_owned(), record: record.to_bytes(), pii }
    }

    pub(crate) fn placed(&self) -> Placed<'_> {
        Placed {
            tenant: tenant(),
            place: Some((1, 4711)),
            received_at: at() + TimeDelta::milliseconds(412),
            record: &self.record,
            pii: self.pii.as_deref(),
        }
    }
}

fn id(last: u128) -> Uuid {
    Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0000 + last)
}

pub(crate) fn tenant() -> TenantId {
    TenantId::from_uuid(id(1))
}

fn at() -> DateTime<Utc> {
    "2026-11-20T15:04:05.123456Z".parse().unwrap()
}

fn record(kind: Kind) -> Record {
    Record::new(RecordId::from_uuid(id(2)), kind, tenant(), at())
}

fn by_ann(mut record: Record) -> Record {
    record.actor = Actor {
        auth_method: Some(AuthMethod::ApiKey),
        groups: vec!["payments".into()],
        id: Some("usr_01992b".into()),
        kind: Some(ActorKind::User),
        roles: vec!["developer".into()],
        token_id: Some(TokenId::from_uuid(id(3))),
        ..Actor::default()
    };
    record.pii.actor = PiiActor { email: Some("ann@acme.example".into()), name: Some("Ann".into()), subject: None };
    record.pii.client =
        PiiClient { ip: Some("192.0.2.7".into()), ip_chain: None, user_agent: Some("claude-code/2.1".into()) };
    record.client = Client {
        name: Some("claude-code".into()),
        port: Some(50_112),
        verified: Some(false),
        version: Some("2.1.0".into()),
        ..Client::default()
    };
    record
}

fn on_node(mut record: Record) -> Record {
    record.gw = Gateway {
        boot: Some(BootId::from_uuid(id(5))),
        config_version: Some("1.42".into()),
        durability: Some(Durability::Carrier),
        node: Some(NodeId::from_uuid(id(4))),
        region: Some("eu-west".into()),
        version: Some("0.1.0".into()),
        ..Gateway::default()
    };
    record.trace = Trace {
        id: Some("4bf92f3577b34da6a3ce929d0e0e4736".into()),
        parent_id: Some("00f067aa0ba902b7".into()),
        sampled: Some(true),
        source: Some(TraceSource::Meta),
        span_id: Some("53995c3f42cd8ad8".into()),
        ..Trace::default()
    };
    record
}

fn policy(effect: Effect) -> PolicyUse {
    PolicyUse {
        effect: Some(effect),
        id: Some(PolicyId::from_uuid(id(6))),
        mode: Some(Mode::Enforce),
        name: Some("production-is-read-only".into()),
        sha256: Some("9f86d081884c7d65".into()),
        version: Some(3),
    }
}

/// A call that was let through and answered.
pub(crate) fn call(kind: Kind) -> Record {
    let mut record = on_node(by_ann(record(kind)));
    record.is_final = kind == Kind::Call;
    record.call_id = Some(CallId::from_uuid(id(7)));
    record.agent = Agent { id: Some("agt_triage".into()), model: Some("claude".into()), ..Agent::default() };
    record.args = Args {
        bytes: Some(61),
        canon: Some(Canon::Jcs),
        hmac: Some("hs256:k1:uUQ".into()),
        keys: vec!["title".into()],
        ..Args::default()
    };
    let redacted = serde_json::value::RawValue::from_string(r#"{"title":"string/11"}"#.to_owned()).unwrap();
    record.pii.args = PiiArgs { redacted: Canonical::of(&redacted) };
    record.correlation_id = Some("req-81".into());
    record.decision = Decision {
        effect: Some(Effect::Allow),
        policies: vec![policy(Effect::Allow)],
        stage: Some(Stage::Policy),
        ..Decision::default()
    };
    record.dur = Durations { policy: Some(41), total: Some(183_412), upstream: Some(180_100), ..Durations::default() };
    record.level = Some(Level::Metadata);
    record.mcp = Mcp {
        method: Some("tools/call".into()),
        protocol_version: Some("2025-11-25".into()),
        request_id: Some("17".into()),
        request_id_type: Some("number".into()),
        transport: Some(Transport::StreamableHttp),
        ..Mcp::default()
    };
    record.outcome = Outcome {
        bytes_in: Some(310),
        bytes_out: Some(1024),
        http_status: Some(200),
        status: Some(Status::Success),
        ..Outcome::default()
    };
    record.result.bytes = Some(998);
    record.server = Server {
        host: Some("mcp.github.example".into()),
        id: Some(ServerId::from_uuid(id(8))),
        name: Some("github".into()),
        version: Some("3.2".into()),
        ..Server::default()
    };
    record.session = Session { id: Some("ses_01".into()), ..Session::default() };
    record.time_end = Some(at() + TimeDelta::microseconds(183_412));
    record.tool = Tool {
        definition_hash: Some("60303ae22b998861".into()),
        id: Some(ToolId::from_uuid(id(9))),
        name: Some("github.create_issue".into()),
        ..Tool::default()
    };
    record
}

fn calls() -> Vec<Sample> {
    let mut denied = call(Kind::Call);
    denied.decision = Decision {
        code: Some("policy_forbids".into()),
        effect: Some(Effect::Deny),
        policies: vec![policy(Effect::Deny)],
        stage: Some(Stage::Policy),
        ..Decision::default()
    };
    denied.outcome = Outcome {
        error_type: Some("-32003".into()),
        http_status: Some(200),
        jsonrpc_code: Some(-32003),
        status: Some(Status::Denied),
        ..Outcome::default()
    };
    let mut failed = call(Kind::Call);
    failed.outcome.status = Some(Status::ToolError);
    failed.result.is_error = Some(true);
    failed.pii = audit::pii::Pii::default();
    let mut interrupted = call(Kind::Call);
    interrupted.outcome =
        Outcome { reason: Some("gateway_interrupted".into()), status: Some(Status::Unknown), ..Outcome::default() };
    interrupted.time_end = None;
    let mut open = call(Kind::Open);
    open.outcome = Outcome::default();
    open.time_end = None;
    let mut approval = open.clone();
    approval.kind = Some(Kind::Approval);
    approval.decision.effect = Some(Effect::RequireApproval);
    approval.outcome.status = Some(Status::ApprovalPending);
    approval.approval.state = Some("pending".into());
    let mut late = call(Kind::Late);
    late.amends = Amends { seq: Some(4690) };
    let named = vec![
        ("call", call(Kind::Call)),
        ("call_denied", denied),
        ("call_failed", failed),
        ("call_unknown", interrupted),
        ("open", open),
        ("approval", approval),
        ("late", late),
    ];
    named.into_iter().map(|(name, record)| Sample::new(name, &record)).collect()
}

fn requests() -> Vec<Sample> {
    let mut list = call(Kind::McpRequest);
    list.mcp.method = Some("tools/list".into());
    (list.tool, list.args, list.call_id) = (Tool::default(), Args::default(), None);
    list.pii.args = PiiArgs::default();
    let mut session = list.clone();
    (session.kind, session.mcp.method) = (Some(Kind::Session), Some("initialize".into()));
    (session.server, session.decision) = (Server::default(), Decision::default());
    let mut server = on_node(record(Kind::Server));
    server.actor.kind = Some(ActorKind::System);
    server.call_id = Some(CallId::from_uuid(id(7)));
    server.mcp.method = Some("server/discover".into());
    server.server = Server { host: Some("mcp.github.example".into()), ..Server::default() };
    server.outcome = Outcome {
        reason: Some("connect_refused".into()),
        status: Some(Status::UpstreamUnavailable),
        ..Outcome::default()
    };
    let named = vec![("mcp_request", list), ("session", session), ("server", server)];
    named.into_iter().map(|(name, record)| Sample::new(name, &record)).collect()
}

fn changes() -> Vec<Sample> {
    let changed = |kind, action: &'static str, thing: &'static str| {
        let mut record = by_ann(record(kind));
        record.pii = audit::pii::Pii::default();
        record.actor.auth_method = Some(AuthMethod::Session);
        record.session.id = Some("ses_02".into());
        record.change = Change {
            action: Some(action.into()),
            after: Some("2c26b46b68ffc68f".into()),
            target: Target { id: Some("thing_7".into()), kind: Some(thing.into()), name: Some("github".into()) },
            ..Change::default()
        };
        record
    };
    let mut refused = on_node(record(Kind::Auth));
    refused.actor.kind = Some(ActorKind::Anonymous);
    refused.count = Some(12);
    refused.decision = Decision {
        code: Some("token_unknown".into()),
        effect: Some(Effect::Deny),
        stage: Some(Stage::Authn),
        ..Decision::default()
    };
    refused.outcome.status = Some(Status::Denied);
    let mut alert = record(Kind::Alert);
    alert.outcome.reason = Some("denials_spiked".into());
    let named = vec![
        ("auth_begin", changed(Kind::Auth, "session.begin", "session")),
        ("auth_end", changed(Kind::Auth, "session.end", "session")),
        ("auth_password", changed(Kind::Auth, "account.password", "account")),
        ("auth_refused", refused),
        ("admin_server", changed(Kind::Admin, "server.add", "server")),
        ("admin_policy", changed(Kind::Admin, "policy.write", "policy")),
        ("admin_member", changed(Kind::Admin, "member.remove", "member")),
        ("admin_export", changed(Kind::Admin, "activity.export", "activity")),
        ("admin_stop", changed(Kind::Admin, "destination.stop", "destination")),
        ("alert", alert),
    ];
    named.into_iter().map(|(name, record)| Sample::new(name, &record)).collect()
}

fn begun_anew() -> Record {
    let mut record = record(Kind::Epoch);
    record.epoch.recovered = TreeState { epoch: Some(1), root: Some("Zm9v".into()), size: Some(4700) };
    record
}

fn notes() -> Vec<Sample> {
    let source = SourceNote {
        boot: Some(BootId::from_uuid(id(5))),
        node: Some(NodeId::from_uuid(id(4))),
        shard: Some(3),
        ..SourceNote::default()
    };
    let missing = vec![Span { first: Some(3), last: Some(7) }, Span { first: Some(9), last: Some(9) }];
    let note = |name: &str, kind, source: SourceNote| {
        let mut record = record(kind);
        record.source = source;
        Sample::new(name, &record)
    };
    vec![
        Sample::new("node", &on_node(record(Kind::Node))),
        note("gap", Kind::Gap, SourceNote { missing: missing.clone(), reason: Some("lost".into()), ..source.clone() }),
        note("gap_filled", Kind::GapFilled, SourceNote { missing, ..source.clone() }),
        note(
            "boot_end",
            Kind::BootEnd,
            SourceNote { clean: Some(true), last_n: Some(88), last_s: Some(12), ..source.clone() },
        ),
        note("heartbeat", Kind::Heartbeat, SourceNote::default()),
        Sample::new("epoch", &begun_anew()),
        note("mark", Kind::Mark, SourceNote { complete_n: Some(89), ..source }),
    ]
}

/// Of every kind there is, and one of a kind that does not exist yet.
pub(crate) fn all() -> Vec<Sample> {
    let mut all = calls();
    all.extend(requests());
    all.extend(changes());
    all.extend(notes());
    let mut future: serde_json::Value = serde_json::from_slice(&all[0].record).unwrap();
    future["kind"] = "quota".into();
    future["quota"] = serde_json::json!({ "left": 7 });
    future.sort_all_objects();
    all.push(Sample { name: "unknown".to_owned(), record: serde_json::to_vec(&future).unwrap(), pii: None });
    all
}
