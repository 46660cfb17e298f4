//! One audit record and its canonical bytes, which are what is stored, hashed and exported. Schema `sluice.audit/1`:
//! a field not known is absent, none is ever renamed. Personal data is not in it: see [`crate::pii`].

use chrono::{DateTime, Utc};
use domain::{BootId, CallId, NodeId, PolicyId, RecordId, ServerId, TenantId, TokenId, ToolId};

use crate::json::{Limits, Object as _, Put, Writer};
use crate::pii::Pii;
use crate::text::Text;
use crate::words::{
    ActorKind, AuthMethod, Canon, Durability, Effect, Kind, Level, Mode, ResultType, SessionOrigin, Stage, Status,
    TraceSource, Transport,
};

/// The name of this schema. Only fields are added to it.
pub const SCHEMA: &str = "sluice.audit/1";
/// The most bytes a record has.
pub const RECORD_MAX: usize = 32 * 1024;

/// How texts and lists are cut until the record fits: the last row fits whatever is in it.
const LIMITS: [Limits; 4] = [
    Limits { text: 4096, list: 64 },
    Limits { text: 512, list: 32 },
    Limits { text: 96, list: 12 },
    Limits { text: 32, list: 2 },
];

fields! {
    /// A record, complete in form; see the fields' own pages for what is in them. Durations are microseconds.
    pub struct Record {
        /// Who acted.
        actor: Actor,
        /// The agent they acted through, where it is known.
        agent: Agent,
        /// Which earlier record this one corrects.
        amends: Amends,
        /// The person's consent, where one was needed.
        approval: Approval,
        /// The call's arguments, hashed.
        args: Args,
        /// The call; all its records share it.
        call_id: Option<CallId>,
        /// What was changed, in records of kind `admin`.
        change: Change,
        /// The client program.
        client: Client,
        /// How far the node's clock may be off, microseconds.
        clock_error_us: Option<u64>,
        /// The client's own id of the request, or that of the call this one goes on with.
        correlation_id: Option<Text>,
        /// How many events a summary stands for.
        count: Option<u64>,
        /// What was decided, and why.
        decision: Decision,
        /// How long each part took.
        dur: Durations,
        /// Whether this is the call's one and only last word.
        is_final as "final": bool,
        /// The node that formed the record.
        gw: Gateway,
        /// The record; the key by which copies are told.
        id: Option<RecordId>,
        /// Keyed hash of the client's idempotency key.
        idempotency_key_hmac: Option<Text>,
        /// What the record is about.
        kind: Option<Kind>,
        /// How much of arguments and results is kept.
        level: Option<Level>,
        /// The MCP message.
        mcp: Mcp,
        /// How it ended.
        outcome: Outcome,
        /// The call that made this one.
        parent_call_id: Option<CallId>,
        /// The personal part: kept beside the record, never in it.
        pii: Pii,
        /// Commitment to the personal part; set by [`Record::commit`].
        pii_commit: Option<Text>,
        /// The answer.
        result: Answer,
        /// [`SCHEMA`].
        schema: Schema,
        /// The upstream server.
        server: Server,
        /// The session.
        session: Session,
        /// The run of a node that a `gap`, `gap_filled` or `boot_end` speaks of.
        source: SourceNote,
        /// Whose log this is.
        tenant: Tenant,
        /// When it began.
        time: Option<DateTime<Utc>>,
        /// When it was over.
        time_end: Option<DateTime<Utc>>,
        /// When it was sent upstream.
        time_forwarded: Option<DateTime<Utc>>,
        /// The tool.
        tool: Tool,
        /// The trace.
        trace: Trace,
    }
}

object! {
    /// Who acted.
    pub struct Actor {
        /// How they were known.
        auth_method: Option<AuthMethod>,
        /// Groups as evaluated.
        groups: Vec<Text>,
        /// SHA-256 of the groups, where there are more than 32.
        groups_hash: Option<Text>,
        /// Stable and opaque: our own id of the person or account.
        id: Option<Text>,
        /// The OIDC issuer.
        issuer: Option<Text>,
        /// What kind of being.
        kind: Option<ActorKind>,
        /// Whether the chain below was cut.
        obo_truncated: Option<bool>,
        /// For whom they acted, the most recent first (RFC 8693 `act`), at most ten.
        on_behalf_of: Vec<Text>,
        /// Roles as evaluated.
        roles: Vec<Text>,
        /// Scopes of the token.
        scopes: Vec<Text>,
        /// The service account.
        service_account_id: Option<Text>,
        /// Until when the token is good.
        token_exp: Option<DateTime<Utc>>,
        /// The token, never its text.
        token_id: Option<TokenId>,
    }
}

object! {
    /// A workload identity.
    pub struct Agent {
        /// Its id.
        id: Option<Text>,
        /// One of several that run.
        instance_id: Option<Text>,
        /// The model it runs on.
        model: Option<Text>,
        /// Its name.
        name: Option<Text>,
        /// Whether somebody vouches for all this.
        verified: Option<bool>,
        /// Its version.
        version: Option<Text>,
    }
}

object! {
    /// Which record is corrected.
    pub struct Amends {
        /// Its place in the tenant's log.
        seq: Option<u64>,
    }
}

object! {
    /// A person's consent.
    pub struct Approval {
        /// Who decided.
        approver_id: Option<Text>,
        /// How they were asked.
        channel: Option<Text>,
        /// Keyed hash of what they wrote.
        comment_hash: Option<Text>,
        /// When.
        decided_at: Option<DateTime<Utc>>,
        /// Until when they may.
        expires_at: Option<DateTime<Utc>>,
        /// The request for consent.
        id: Option<Text>,
        /// How far it is.
        state: Option<Text>,
    }
}

object! {
    /// The arguments, hashed; types, lengths and values are in [`Pii::args`].
    pub struct Args {
        /// Bytes as sent.
        bytes: Option<u64>,
        /// Over what the hash is.
        canon: Option<Canon>,
        /// `hs256:<key id>:<base64url>`.
        hmac: Option<Text>,
        /// Names of the outermost members, in order.
        keys: Vec<Text>,
        /// Where the values are kept.
        payload_ref: Option<Text>,
        /// The rules that decided what is kept, `id@version`.
        redaction_policy: Option<Text>,
    }
}

object! {
    /// A change of configuration.
    pub struct Change {
        /// What was done: `server.add`, `policy.publish`, `token.revoke` …
        action: Option<Text>,
        /// SHA-256 of the thing's canonical form after it.
        after: Option<Text>,
        /// SHA-256 of the thing's canonical form before it.
        before: Option<Text>,
        /// The tenant's revision the change made.
        revision: Option<u64>,
        /// The thing.
        target: Target,
    }
}

object! {
    /// The thing a change is about.
    pub struct Target {
        /// Its id.
        id: Option<Text>,
        /// What it is: `server`, `policy`, `token` …
        kind: Option<Text>,
        /// Its name for people; never a person's.
        name: Option<Text>,
    }
}

object! {
    /// The client program, as it calls itself.
    pub struct Client {
        /// Its name.
        name: Option<Text>,
        /// Its id at the authorization server.
        oauth_client_id: Option<Text>,
        /// The port it came from.
        port: Option<u16>,
        /// Its side of TLS.
        tls: ClientTls,
        /// Whether somebody vouches for the name.
        verified: Option<bool>,
        /// Its version.
        version: Option<Text>,
    }
}

object! {
    /// The client's side of TLS.
    pub struct ClientTls {
        /// SHA-256 of its certificate, hexadecimal.
        cert_sha256: Option<Text>,
        /// The protocol's version.
        version: Option<Text>,
    }
}

object! {
    /// What was decided, and why.
    pub struct Decision {
        /// Stable word for the reason.
        code: Option<Text>,
        /// Allow, deny …
        effect: Option<Effect>,
        /// What evaluated the policies.
        engine: NamedVersion,
        /// The edition of people, groups and servers they were evaluated over.
        entities_version: Option<Text>,
        /// Keyed hash of the authorization request.
        inputs_hmac: Option<Text>,
        /// Where the authorization request is kept.
        inputs_ref: Option<Text>,
        /// What an allowed call must also have done.
        obligations: Vec<Obligation>,
        /// The policies that determined it, not all that were asked.
        policies: Vec<PolicyUse>,
        /// All the policies together.
        policy_set: PolicySet,
        /// Why, for people.
        reasons: Vec<Reason>,
        /// What policies on trial would have said.
        shadow: Shadow,
        /// Where it was decided.
        stage: Option<Stage>,
    }
}

object! {
    /// A thing with a name and a version.
    pub struct NamedVersion {
        /// Its name.
        name: Option<Text>,
        /// Its version.
        version: Option<Text>,
    }
}

object! {
    /// An obligation of a decision.
    pub struct Obligation {
        /// Whether it was met.
        applied: Option<bool>,
        /// More.
        detail: Option<Text>,
        /// Its id.
        id: Option<Text>,
        /// What kind.
        kind as "type": Option<Text>,
    }
}

object! {
    /// A policy that determined the decision.
    pub struct PolicyUse {
        /// What it said.
        effect: Option<Effect>,
        /// The policy.
        id: Option<PolicyId>,
        /// Whether it counted.
        mode: Option<Mode>,
        /// Its name for people.
        name: Option<Text>,
        /// SHA-256 of its text, hexadecimal.
        sha256: Option<Text>,
        /// Its version.
        version: Option<u32>,
    }
}

object! {
    /// All active policies together.
    pub struct PolicySet {
        /// Its id.
        id: Option<Text>,
        /// SHA-256 over it, hexadecimal.
        sha256: Option<Text>,
        /// The tenant's revision.
        version: Option<u64>,
    }
}

object! {
    /// Why.
    pub struct Reason {
        /// Stable word.
        code: Option<Text>,
        /// What fills the gaps of the text.
        params: Vec<Text>,
        /// Names the text.
        text_id: Option<Text>,
    }
}

object! {
    /// What policies on trial would have said.
    pub struct Shadow {
        /// Allow, deny …
        effect: Option<Effect>,
        /// Those that determined it.
        policies: Vec<PolicyUse>,
        /// All of them.
        policy_set: PolicySet,
    }
}

object! {
    /// How long each part took by a monotonic clock, microseconds.
    pub struct Durations {
        /// Waiting for a person.
        approval: Option<u64>,
        /// Waiting for the record to be durable.
        audit_wait: Option<u64>,
        /// Finding out who it is.
        auth: Option<u64>,
        /// Fetching the credential.
        credential: Option<u64>,
        /// Data-loss rules.
        dlp: Option<u64>,
        /// Limits.
        limit: Option<u64>,
        /// Deciding.
        policy: Option<u64>,
        /// Waiting for a place.
        queue: Option<u64>,
        /// From the first byte to the last.
        total: Option<u64>,
        /// Waiting for the upstream.
        upstream: Option<u64>,
        /// Of that, until its first byte.
        upstream_ttfb: Option<u64>,
    }
}

object! {
    /// The node that formed the record.
    pub struct Gateway {
        /// Which run of it.
        boot: Option<BootId>,
        /// The snapshot it worked by: `epoch.revision`.
        config_version: Option<Text>,
        /// What the record survived before the call went on.
        durability: Option<Durability>,
        /// Counts the tenant's records of this boot, without holes.
        n: Option<Counter>,
        /// The node.
        node: Option<NodeId>,
        /// Where it is.
        region: Option<Text>,
        /// The edition of the registry.
        registry_version: Option<Text>,
        /// The program's version.
        version: Option<Text>,
        /// Where in the region.
        zone: Option<Text>,
    }
}

object! {
    /// The MCP message.
    pub struct Mcp {
        /// Its method.
        method: Option<Text>,
        /// Which round of a call with several.
        mrtr_round: Option<u32>,
        /// The protocol's version between client and gateway.
        protocol_version: Option<Text>,
        /// The JSON-RPC id, written down.
        request_id: Option<Text>,
        /// What the JSON-RPC id was: `number` or `string`.
        request_id_type: Option<Text>,
        /// Whether the answer is the last.
        result_type: Option<ResultType>,
        /// The task.
        task_id: Option<Text>,
        /// How the message came.
        transport: Option<Transport>,
    }
}

object! {
    /// How it ended.
    pub struct Outcome {
        /// What was tried, in order.
        attempts: Vec<Text>,
        /// The circuit breaker's state.
        breaker: Option<Text>,
        /// Bytes the client sent.
        bytes_in: Option<u64>,
        /// Bytes the client got.
        bytes_out: Option<u64>,
        /// What it cost.
        cost_units: Option<u64>,
        /// OpenTelemetry's `error.type`.
        error_type: Option<Text>,
        /// The HTTP status the client got.
        http_status: Option<u16>,
        /// The JSON-RPC error code the client got.
        jsonrpc_code: Option<i64>,
        /// Stable word for more.
        reason: Option<Text>,
        /// How it ended.
        status: Option<Status>,
    }
}

object! {
    /// The answer; values are in [`Pii::result`].
    pub struct Answer {
        /// Bytes of it.
        bytes: Option<u64>,
        /// Types of its content blocks.
        content_types: Vec<Text>,
        /// `hs256:<key id>:<base64url>`.
        hmac: Option<Text>,
        /// Whether it says that it failed.
        is_error: Option<bool>,
        /// Where it is kept.
        payload_ref: Option<Text>,
        /// Data-loss rules that changed it.
        redactions: Vec<Redaction>,
        /// Whether it has structured content.
        structured: Option<bool>,
    }
}

object! {
    /// A data-loss rule that changed an answer.
    pub struct Redaction {
        /// How often.
        count: Option<u64>,
        /// The rule.
        rule: Option<Text>,
    }
}

object! {
    /// The upstream server.
    pub struct Server {
        /// Its host.
        host: Option<Text>,
        /// The server.
        id: Option<ServerId>,
        /// Its name in policies.
        name: Option<Text>,
        /// The protocol's version between gateway and server.
        protocol_version: Option<Text>,
        /// The reviewed edition.
        revision: Option<Text>,
        /// The version it gives itself.
        version: Option<Text>,
    }
}

object! {
    /// The session.
    pub struct Session {
        /// Ours.
        id: Option<Text>,
        /// Keyed hash of `Mcp-Session-Id`.
        mcp_id_hmac: Option<Text>,
        /// How it was found.
        origin: Option<SessionOrigin>,
    }
}

object! {
    /// A run of a node, and frames of it.
    pub struct SourceNote {
        /// The run.
        boot: Option<BootId>,
        /// Whether it said good-bye with nothing missing.
        clean: Option<bool>,
        /// The tenant's last `gw.n` that came.
        last_n: Option<u64>,
        /// The last frame that came.
        last_s: Option<u64>,
        /// Frames that did not.
        missing: Vec<Span>,
        /// The node.
        node: Option<NodeId>,
        /// Stable word for why.
        reason: Option<Text>,
        /// Its shard.
        shard: Option<u16>,
    }
}

object! {
    /// A range of frames, both ends included.
    pub struct Span {
        /// The first.
        first: Option<u64>,
        /// The last.
        last: Option<u64>,
    }
}

object! {
    /// Whose log it is.
    pub struct Tenant {
        /// The tenant.
        id: Option<TenantId>,
        /// A part of it.
        project: Option<Text>,
        /// Where its data live.
        region: Option<Text>,
    }
}

object! {
    /// The tool.
    pub struct Tool {
        /// The server's claims about it.
        annotations: ToolAnnotations,
        /// SHA-256 of the definition the client saw, hexadecimal.
        definition_hash: Option<Text>,
        /// The tool.
        id: Option<ToolId>,
        /// The name the client used.
        name: Option<Text>,
        /// Our own judgement.
        risk: Option<Text>,
        /// The name the upstream knows.
        upstream_name: Option<Text>,
    }
}

object! {
    /// The server's claims about a tool.
    pub struct ToolAnnotations {
        /// It may destroy.
        destructive: Option<bool>,
        /// Twice is as good as once.
        idempotent: Option<bool>,
        /// It reaches out.
        open_world as "openWorld": Option<bool>,
        /// It changes nothing.
        read_only as "readOnly": Option<bool>,
    }
}

object! {
    /// The W3C trace context.
    pub struct Trace {
        /// The trace.
        id: Option<Text>,
        /// The span it hangs under.
        parent_id: Option<Text>,
        /// Whether it is sampled.
        sampled: Option<bool>,
        /// Where it came from.
        source: Option<TraceSource>,
        /// Our span.
        span_id: Option<Text>,
        /// As received.
        traceparent: Option<Text>,
    }
}

/// Always written, always [`SCHEMA`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Schema;

impl Put for Schema {
    fn put(&self, writer: &mut Writer) {
        writer.text(SCHEMA);
    }
}

/// A number that is given only when the record is put in line ([`Leaf::complete`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Given.
    Given(u64),
    /// Yet to be given.
    Later,
}

impl Put for Counter {
    fn put(&self, writer: &mut Writer) {
        match self {
            Self::Given(n) => writer.integer(*n),
            Self::Later => writer.hole = Some(writer.out.len()),
        }
    }
}

/// A record's bytes, perhaps still without its counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    bytes: Vec<u8>,
    hole: Option<usize>,
}

impl Leaf {
    /// Appends the whole record to `out`, with `n` where [`Counter::Later`] stood.
    pub fn complete(&self, n: u64, out: &mut Vec<u8>) {
        let (head, tail) = self.bytes.split_at(self.hole.unwrap_or(self.bytes.len()));
        out.extend_from_slice(head);
        if self.hole.is_some() {
            let mut digits = itoa::Buffer::new();
            out.extend_from_slice(digits.format(n.min(crate::json::INTEGER_MAX)).as_bytes());
        }
        out.extend_from_slice(tail);
    }
}

impl Record {
    /// A record with what every record has.
    #[must_use]
    pub fn new(id: RecordId, kind: Kind, tenant: TenantId, time: DateTime<Utc>) -> Self {
        Self {
            id: Some(id),
            kind: Some(kind),
            tenant: Tenant { id: Some(tenant), ..Tenant::default() },
            time: Some(time),
            ..Self::default()
        }
    }

    /// The canonical bytes (RFC 8785), at most [`RECORD_MAX`].
    ///
    /// Texts and lists that are too long for that are cut, and the record says `truncated`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_leaf().bytes
    }

    /// As [`Self::to_bytes`], where the counter may be given later.
    #[must_use]
    pub fn to_leaf(&self) -> Leaf {
        // The counter's digits and `truncated` may still come.
        const MOST: usize = RECORD_MAX - 40;
        let mut writer = Writer::new(3072, LIMITS[0]);
        self.put_object(&mut writer);
        for limits in &LIMITS[1..] {
            if writer.out.len() <= MOST {
                break;
            }
            writer = Writer::new(RECORD_MAX, *limits);
            self.put_object(&mut writer);
        }
        if writer.cut {
            // Comes after every other member in canonical order.
            writer.out.pop();
            writer.out.extend_from_slice(b",\"truncated\":true}");
        }
        Leaf { bytes: writer.out, hole: writer.hole }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pii::{PiiActor, PiiArgs, PiiClient, PiiResult};

    /// Every list of fields in this file.
    const LISTS: &[&[&str]] = &[
        Record::KEYS,
        Actor::KEYS,
        Agent::KEYS,
        Amends::KEYS,
        Approval::KEYS,
        Args::KEYS,
        Change::KEYS,
        Target::KEYS,
        Client::KEYS,
        ClientTls::KEYS,
        Decision::KEYS,
        NamedVersion::KEYS,
        Obligation::KEYS,
        PolicyUse::KEYS,
        PolicySet::KEYS,
        Reason::KEYS,
        Shadow::KEYS,
        Durations::KEYS,
        Gateway::KEYS,
        Mcp::KEYS,
        Outcome::KEYS,
        Answer::KEYS,
        Redaction::KEYS,
        Server::KEYS,
        Session::KEYS,
        SourceNote::KEYS,
        Span::KEYS,
        Tenant::KEYS,
        Tool::KEYS,
        ToolAnnotations::KEYS,
        Trace::KEYS,
        Pii::KEYS,
        PiiActor::KEYS,
        PiiArgs::KEYS,
        PiiClient::KEYS,
        PiiResult::KEYS,
    ];

    #[test]
    fn every_structure_lists_its_fields_in_canonical_order() {
        for keys in LISTS {
            assert!(keys.is_sorted(), "{keys:?}");
            assert!(keys.iter().all(|key| key.is_ascii()));
        }
        assert!(Record::KEYS.last() < Some(&"truncated"));
    }

    use proptest::prelude::*;

    fn full(text: &str, number: u64) -> Record {
        let word = || Some(Text::from(text.to_owned()));
        let many = |count: usize| vec![Text::from(text.to_owned()); count];
        let clock = domain::Clock::new(|| DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap(), || [9; 10]);
        let mut record = Record::new(RecordId::new(&clock), Kind::Call, TenantId::new(&clock), clock.now());
        record.actor = Actor {
            auth_method: Some(AuthMethod::ApiKey),
            groups: many(70),
            id: word(),
            kind: Some(ActorKind::User),
            obo_truncated: Some(false),
            roles: many(3),
            token_exp: Some(clock.now()),
            token_id: Some(TokenId::new(&clock)),
            ..Actor::default()
        };
        record.agent = Agent { name: word(), verified: Some(false), version: word(), ..Agent::default() };
        record.args =
            Args { bytes: Some(number), canon: Some(Canon::Jcs), hmac: word(), keys: many(70), ..Args::default() };
        record.call_id = Some(CallId::new(&clock));
        record.client = Client { name: word(), port: Some(7), version: word(), ..Client::default() };
        let policies =
            vec![
                PolicyUse { id: Some(PolicyId::new(&clock)), name: word(), version: Some(2), ..PolicyUse::default() };
                70
            ];
        record.decision = Decision {
            code: word(),
            effect: Some(Effect::Allow),
            obligations: vec![Obligation { kind: word(), ..Obligation::default() }; 70],
            policies: policies.clone(),
            reasons: vec![Reason { code: word(), params: many(9), text_id: word() }; 70],
            shadow: Shadow { policies, ..Shadow::default() },
            ..Decision::default()
        };
        record.dur =
            Durations { policy: Some(number), total: Some(number), upstream: Some(number), ..Durations::default() };
        record.gw = Gateway {
            boot: Some(BootId::new(&clock)),
            n: Some(Counter::Later),
            node: Some(NodeId::new(&clock)),
            ..Gateway::default()
        };
        record.mcp =
            Mcp { method: word(), request_id: word(), transport: Some(Transport::StreamableHttp), ..Mcp::default() };
        record.outcome = Outcome { jsonrpc_code: Some(-32602), status: Some(Status::ToolError), ..Outcome::default() };
        record.server = Server { id: Some(ServerId::new(&clock)), name: word(), ..Server::default() };
        let annotations =
            ToolAnnotations { open_world: Some(true), read_only: Some(false), ..ToolAnnotations::default() };
        record.tool = Tool {
            annotations,
            definition_hash: word(),
            id: Some(ToolId::new(&clock)),
            name: word(),
            ..Tool::default()
        };
        record.trace = Trace { id: word(), source: Some(TraceSource::Meta), ..Trace::default() };
        record.pii.client.ip = word();
        record
    }

    fn completed(record: &Record, n: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.to_leaf().complete(n, &mut bytes);
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_bytes_are_canonical_and_fit(text: String, long in 0_usize..100, number: u64, n: u64) {
            let record = full(&text.repeat(long), number);
            let bytes = completed(&record, n);
            prop_assert!(bytes.len() <= RECORD_MAX, "{}", bytes.len());
            let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&serde_json_canonicalizer::to_vec(&value).unwrap(), &bytes);
            prop_assert_eq!(&value["truncated"], &serde_json::Value::Bool(true));
            prop_assert_eq!(value["gw"]["n"].as_u64(), Some(n.min((1 << 53) - 1)));
            let columns = crate::Columns::of(&bytes).unwrap();
            prop_assert_eq!((columns.tenant, columns.server_id), (record.tenant.id, record.server.id));
            prop_assert!(!columns.tool_name.unwrap().contains('\0'));
        }
    }

    #[test]
    fn whatever_is_in_it_a_record_fits() {
        let bytes = completed(&full(&"\u{1}".repeat(100_000), u64::MAX), u64::MAX);
        assert!(bytes.len() <= RECORD_MAX && bytes.ends_with(b",\"truncated\":true}"), "{}", bytes.len());
    }

    #[test]
    fn what_is_not_known_is_absent_and_nothing_personal_is_inside() {
        let clock = domain::Clock::new(|| DateTime::UNIX_EPOCH, || [0; 10]);
        let mut record = Record::new(RecordId::new(&clock), Kind::Call, TenantId::new(&clock), clock.now());
        record.pii.actor.email = Some("ann@example.com".into());
        let private = record.commit([5; 32]).unwrap();
        insta::assert_snapshot!(String::from_utf8(record.to_bytes()).unwrap(), @r#"{"final":false,"id":"00000000-0000-7000-8000-000000000000","kind":"call","pii_commit":"hs256:NNowDw-xV5ABJlfYyIE2plUpW1j-IfGCamAidI-N6Ro","schema":"sluice.audit/1","tenant":{"id":"ten_0000000000e008000000000000"},"time":"1970-01-01T00:00:00.000000Z"}"#);
        insta::assert_snapshot!(String::from_utf8(private.pii.to_vec()).unwrap(), @r#"{"actor":{"email":"ann@example.com"}}"#);
        assert_eq!(record.pii_commit.as_deref(), Some(crate::pii::commitment(&private).as_str()));
        record.commit([6; 32]);
        assert_ne!(record.pii_commit.as_deref(), Some(crate::pii::commitment(&private).as_str()), "the key hides it");
        record.pii = Pii::default();
        assert_eq!((record.commit([5; 32]), record.pii_commit), (None, None));
    }

    #[test]
    fn too_much_that_was_redacted_is_left_out_and_the_rest_kept() {
        let mut pii = Pii::default();
        pii.actor.name = Some("Ann".into());
        let long =
            serde_json::value::RawValue::from_string(format!("[\"{}\"]", "x".repeat(crate::pii::PII_MAX))).unwrap();
        pii.result.redacted = crate::pii::Canonical::of(&long);
        assert_eq!(pii.to_bytes(), br#"{"actor":{"name":"Ann"},"truncated":true}"#);
    }
}
