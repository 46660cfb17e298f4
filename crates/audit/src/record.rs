//! One audit record and its canonical bytes, which are what is stored, hashed and exported. Schema `sluice.audit/1`:
//! a field not known is absent, none is ever renamed. Personal data is not in it: see [`crate::pii`].

mod members;

use chrono::{DateTime, Utc};
use domain::{CallId, RecordId, TenantId};

use crate::json::{Limits, Object as _, Put, Writer};
use crate::pii::Pii;
use crate::text::Text;
use crate::words::{Kind, Level};

pub use members::*;

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
        /// What the log goes on from, in the first records after its database was set back.
        epoch: EpochNote,
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
    use domain::{BootId, NodeId, PolicyId, ServerId, TokenId, ToolId};

    use super::*;
    use crate::pii::{PiiActor, PiiArgs, PiiClient, PiiResult};
    use crate::words::{ActorKind, AuthMethod, Canon, Effect, Status, TraceSource, Transport};

    /// Every list of fields of a record.
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
        EpochNote::KEYS,
        TreeState::KEYS,
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
        assert_eq!(record.pii_commit.as_deref(), Some(crate::pii::commitment(&private.key, &private.pii).as_str()));
        record.commit([6; 32]);
        assert_ne!(
            record.pii_commit.as_deref(),
            Some(crate::pii::commitment(&private.key, &private.pii).as_str()),
            "the key hides it"
        );
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
