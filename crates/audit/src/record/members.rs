//! The objects that stand in a record, in alphabetical order.

use chrono::{DateTime, Utc};
use domain::{BootId, NodeId, PolicyId, ServerId, TenantId, TokenId, ToolId};

use super::Counter;
use crate::text::Text;
use crate::words::{
    ActorKind, AuthMethod, Canon, Durability, Effect, Mode, ResultType, SessionOrigin, Stage, Status, TraceSource,
    Transport,
};

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
        /// In a mark: each of the tenant's `gw.n` below it is in the log.
        complete_n: Option<u64>,
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
    /// What an epoch of a log goes on from.
    pub struct EpochNote {
        /// What the database still had of the log.
        recovered: TreeState,
        /// What the last checkpoint was over that is kept outside of the database; absent when none is.
        signed: TreeState,
    }
}

object! {
    /// A log as it was at one size.
    pub struct TreeState {
        /// The epoch.
        epoch: Option<u64>,
        /// The root, base64.
        root: Option<Text>,
        /// How many leaves.
        size: Option<u64>,
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
