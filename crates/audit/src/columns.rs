//! The members of a record that are searched by, read from its bytes.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use domain::{BootId, NodeId, PolicyId, ServerId, TenantId, TokenId, ToolId};
use serde::Deserialize;
use uuid::Uuid;

/// What of a record gets a column of its own.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Columns {
    /// The record.
    pub id: Uuid,
    /// Whose log.
    pub tenant: Option<TenantId>,
    /// `call`, `admin` …
    pub kind: String,
    /// Whether it is its call's last word.
    pub is_final: bool,
    /// The call.
    pub call_id: Option<Uuid>,
    /// When it began.
    pub time: Option<DateTime<Utc>>,
    /// `user`, `system` …
    pub actor_kind: Option<String>,
    /// Who acted.
    pub actor_id: Option<String>,
    /// With which token.
    pub token_id: Option<TokenId>,
    /// The client program's name for itself.
    pub client_name: Option<String>,
    /// `tools/call` …
    pub mcp_method: Option<String>,
    /// The upstream server.
    pub server_id: Option<ServerId>,
    /// The tool.
    pub tool_id: Option<ToolId>,
    /// The tool's name as the client used it.
    pub tool_name: Option<String>,
    /// The definition the client saw.
    pub definition_hash: Option<String>,
    /// Keyed hash of the arguments.
    pub args_hmac: Option<String>,
    /// Bytes of the answer.
    pub result_bytes: Option<i64>,
    /// Whether the answer says that it failed.
    pub result_is_error: Option<bool>,
    /// `allow`, `deny` …
    pub effect: Option<String>,
    /// Stable word for the reason.
    pub decision_code: Option<String>,
    /// The policies that determined it.
    pub policy_ids: Vec<PolicyId>,
    /// Microseconds, first byte to last.
    pub dur_total: Option<i64>,
    /// Microseconds, deciding.
    pub dur_policy: Option<i64>,
    /// Microseconds, fetching the credential.
    pub dur_credential: Option<i64>,
    /// Microseconds, the upstream.
    pub dur_upstream: Option<i64>,
    /// The trace.
    pub trace_id: Option<String>,
    /// The session.
    pub session_id: Option<String>,
    /// `success`, `denied` …
    pub status: Option<String>,
    /// The node.
    pub node: Option<NodeId>,
    /// Which run of it.
    pub boot: Option<BootId>,
    /// `gw.n`.
    pub n: Option<i64>,
    /// What was done, in records of kind `admin`.
    pub change_action: Option<String>,
    /// What kind of thing it was done to.
    pub change_target_kind: Option<String>,
    /// Which thing it was done to.
    pub change_target_id: Option<String>,
}

/// Why bytes are not a record.
#[derive(Debug, thiserror::Error)]
#[error("not an audit record")]
pub struct NotARecord(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Wire<'a> {
    id: Uuid,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(rename = "final")]
    is_final: bool,
    call_id: Option<Uuid>,
    time: Option<DateTime<Utc>>,
    #[serde(default)]
    tenant: WireTenant,
    #[serde(default, borrow)]
    actor: WireActor<'a>,
    #[serde(default, borrow)]
    client: WireName<'a>,
    #[serde(default, borrow)]
    mcp: WireMcp<'a>,
    #[serde(default)]
    server: WireServer,
    #[serde(default, borrow)]
    tool: WireTool<'a>,
    #[serde(default, borrow)]
    args: WireArgs<'a>,
    #[serde(default)]
    result: WireAnswer,
    #[serde(default, borrow)]
    decision: WireDecision<'a>,
    #[serde(default)]
    dur: WireDurations,
    #[serde(default, borrow)]
    trace: WireText<'a>,
    #[serde(default, borrow)]
    session: WireText<'a>,
    #[serde(default, borrow)]
    outcome: WireOutcome<'a>,
    #[serde(default)]
    gw: WireGateway,
    #[serde(default, borrow)]
    change: WireChange<'a>,
}

#[derive(Deserialize, Default)]
struct WireTenant {
    id: Option<TenantId>,
}

#[derive(Deserialize, Default)]
struct WireActor<'a> {
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    token_id: Option<TokenId>,
}

#[derive(Deserialize, Default)]
struct WireName<'a> {
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct WireMcp<'a> {
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct WireServer {
    id: Option<ServerId>,
}

#[derive(Deserialize, Default)]
struct WireTool<'a> {
    id: Option<ToolId>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    definition_hash: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct WireArgs<'a> {
    #[serde(borrow)]
    hmac: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct WireAnswer {
    bytes: Option<i64>,
    is_error: Option<bool>,
}

#[derive(Deserialize, Default)]
struct WireDecision<'a> {
    #[serde(borrow)]
    effect: Option<Cow<'a, str>>,
    #[serde(borrow)]
    code: Option<Cow<'a, str>>,
    #[serde(default)]
    policies: Vec<WirePolicy>,
}

#[derive(Deserialize)]
struct WirePolicy {
    id: Option<PolicyId>,
}

#[derive(Deserialize, Default)]
struct WireDurations {
    total: Option<i64>,
    policy: Option<i64>,
    credential: Option<i64>,
    upstream: Option<i64>,
}

#[derive(Deserialize, Default)]
struct WireText<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct WireOutcome<'a> {
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct WireGateway {
    node: Option<NodeId>,
    boot: Option<BootId>,
    n: Option<i64>,
}

#[derive(Deserialize, Default)]
struct WireChange<'a> {
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    target: WireTarget<'a>,
}

#[derive(Deserialize, Default)]
struct WireTarget<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    kind: Option<Cow<'a, str>>,
}

/// A text as Postgres takes it: U+0000 becomes U+FFFD.
fn column(text: Option<Cow<'_, str>>) -> Option<String> {
    text.map(|text| if text.contains('\0') { text.replace('\0', "\u{fffd}") } else { text.into_owned() })
}

impl Columns {
    /// Reads the columns of a record; what it does not know, it leaves alone.
    ///
    /// # Errors
    /// [`NotARecord`] when the bytes are not JSON, or a member is of another type than it ever was.
    pub fn of(bytes: &[u8]) -> Result<Self, NotARecord> {
        let wire: Wire<'_> = serde_json::from_slice(bytes)?;
        Ok(Self {
            id: wire.id,
            tenant: wire.tenant.id,
            kind: column(Some(wire.kind)).unwrap_or_default(),
            is_final: wire.is_final,
            call_id: wire.call_id,
            time: wire.time,
            actor_kind: column(wire.actor.kind),
            actor_id: column(wire.actor.id),
            token_id: wire.actor.token_id,
            client_name: column(wire.client.name),
            mcp_method: column(wire.mcp.method),
            server_id: wire.server.id,
            tool_id: wire.tool.id,
            tool_name: column(wire.tool.name),
            definition_hash: column(wire.tool.definition_hash),
            args_hmac: column(wire.args.hmac),
            result_bytes: wire.result.bytes,
            result_is_error: wire.result.is_error,
            effect: column(wire.decision.effect),
            decision_code: column(wire.decision.code),
            policy_ids: wire.decision.policies.into_iter().filter_map(|policy| policy.id).collect(),
            dur_total: wire.dur.total,
            dur_policy: wire.dur.policy,
            dur_credential: wire.dur.credential,
            dur_upstream: wire.dur.upstream,
            trace_id: column(wire.trace.id),
            session_id: column(wire.session.id),
            status: column(wire.outcome.status),
            node: wire.gw.node,
            boot: wire.gw.boot,
            n: wire.gw.n,
            change_action: column(wire.change.action),
            change_target_kind: column(wire.change.target.kind),
            change_target_id: column(wire.change.target.id),
        })
    }
}
