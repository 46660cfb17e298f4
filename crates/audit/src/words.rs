//! The closed lists of words in a record. A word is never renamed or given another meaning.

use crate::json::{Put, Writer};

macro_rules! words {
    ($($(#[$doc:meta])* pub enum $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$word_doc])* $word,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$word,)*];

            /// The word as it is written.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$word => $text,)*
                }
            }

            /// Reads the written word.
            #[must_use]
            pub fn find(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
            }
        }

        impl Put for $name {
            fn put(&self, writer: &mut Writer) {
                writer.out.push(b'"');
                writer.out.extend_from_slice(self.as_str().as_bytes());
                writer.out.push(b'"');
            }
        }
    )*};
}

words! {
    /// What a record is about.
    pub enum Kind {
        /// A `tools/call`.
        Call = "call",
        /// A call that is still running.
        Open = "open",
        /// A step of an approval.
        Approval = "approval",
        /// Another request of MCP.
        McpRequest = "mcp_request",
        /// A session began or ended.
        Session = "session",
        /// A sign-in, or requests refused before anybody was known.
        Auth = "auth",
        /// A change of configuration.
        Admin = "admin",
        /// Something happened to an upstream server.
        Server = "server",
        /// An alert fired or was resolved.
        Alert = "alert",
        /// A node started or recovered.
        Node = "node",
        /// Frames or records that never came, or could not be read.
        Gap = "gap",
        /// A frame came that a gap had named.
        GapFilled = "gap_filled",
        /// A run of a node is over, or has fallen silent.
        BootEnd = "boot_end",
        /// The true outcome of a call whose final record says `unknown`.
        Late = "late",
        /// The log was idle and is alive.
        Heartbeat = "heartbeat",
        /// The state of the counters, from which completeness is checked.
        Mark = "mark",
        /// The first of an epoch: the database had been set back, and what of the log is left.
        Epoch = "epoch",
    }

    /// How much of arguments and results a record holds.
    pub enum Level {
        /// Types and lengths only.
        Metadata = "metadata",
        /// Values that a rule lets through.
        Redacted = "redacted",
        /// The values, kept apart.
        Payload = "payload",
    }

    /// What kind of being acted.
    pub enum ActorKind {
        /// A person.
        User = "user",
        /// An account of a program.
        ServiceAccount = "service_account",
        /// An agent with an identity of its own.
        Agent = "agent",
        /// Sluice itself.
        System = "system",
        /// Nobody known.
        Anonymous = "anonymous",
    }

    /// How the actor was known.
    pub enum AuthMethod {
        /// An access token.
        Oauth = "oauth",
        /// A gateway token or an API token.
        ApiKey = "api_key",
        /// A client certificate.
        Mtls = "mtls",
        /// A sign-in in a browser.
        Session = "session",
    }

    /// How the message came.
    pub enum Transport {
        /// Streamable HTTP.
        StreamableHttp = "streamable_http",
        /// Standard input and output.
        Stdio = "stdio",
        /// HTTP+SSE of 2024-11-05.
        Sse = "sse",
    }

    /// Whether the answer is the last.
    pub enum ResultType {
        /// It is.
        Complete = "complete",
        /// The client is asked for input.
        InputRequired = "input_required",
    }

    /// How the arguments were hashed.
    pub enum Canon {
        /// Over their canonical form, RFC 8785.
        Jcs = "jcs",
        /// Over their bytes as sent, because they have no canonical form.
        Raw = "raw",
    }

    /// What was decided.
    pub enum Effect {
        /// It may.
        Allow = "allow",
        /// It may not.
        Deny = "deny",
        /// A person must agree first.
        RequireApproval = "require_approval",
        /// Too many.
        RateLimited = "rate_limited",
    }

    /// Where it was decided.
    pub enum Stage {
        /// Who it is.
        Authn = "authn",
        /// What the token or role reaches.
        Rbac = "rbac",
        /// Whether the arguments fit the tool's schema.
        Schema = "schema",
        /// The policies.
        Policy = "policy",
        /// Data-loss rules over the request.
        DlpRequest = "dlp_request",
        /// Rate limits.
        RateLimit = "rate_limit",
        /// Quotas.
        Quota = "quota",
        /// The circuit breaker.
        Breaker = "breaker",
        /// Data-loss rules over the answer.
        DlpResponse = "dlp_response",
        /// The record could not be made durable.
        Audit = "audit",
        /// The server is paused.
        Paused = "paused",
    }

    /// Whether a policy counts.
    pub enum Mode {
        /// It does.
        Enforce = "enforce",
        /// It is only watched.
        Shadow = "shadow",
    }

    /// Where the trace context came from.
    pub enum TraceSource {
        /// The message's `_meta`.
        Meta = "_meta",
        /// The HTTP header.
        Http = "http",
        /// Nowhere: it begins here.
        New = "new",
    }

    /// How the session was found.
    pub enum SessionOrigin {
        /// `Mcp-Session-Id`.
        McpHeader = "mcp_header",
        /// The client said so.
        ClientDeclared = "client_declared",
        /// The trace.
        Trace = "trace",
        /// Guessed from principal, client and time.
        Inferred = "inferred",
    }

    /// How the call ended.
    pub enum Status {
        /// With a result.
        Success = "success",
        /// With a result that says `isError`.
        ToolError = "tool_error",
        /// With a JSON-RPC error.
        ProtocolError = "protocol_error",
        /// It was not allowed.
        Denied = "denied",
        /// It waits for a person.
        ApprovalPending = "approval_pending",
        /// A person said no.
        ApprovalRejected = "approval_rejected",
        /// Nobody answered.
        ApprovalExpired = "approval_expired",
        /// Too many.
        RateLimited = "rate_limited",
        /// The upstream was too slow.
        Timeout = "timeout",
        /// The client went away or said so.
        Cancelled = "cancelled",
        /// The upstream was not reached.
        UpstreamUnavailable = "upstream_unavailable",
        /// Sluice failed.
        GatewayError = "gateway_error",
        /// Nobody knows.
        Unknown = "unknown",
    }

    /// What a record survived before the call went on.
    pub enum Durability {
        /// A second machine has it.
        Replicated = "replicated",
        /// It is in Redis.
        Carrier = "carrier",
        /// It is on this machine's disk.
        Disk = "disk",
        /// Memory only.
        Async = "async",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_word_reads_back() {
        for kind in Kind::ALL {
            assert_eq!(Kind::find(kind.as_str()), Some(*kind));
        }
        for status in Status::ALL {
            assert_eq!(Status::find(status.as_str()), Some(*status));
        }
        assert_eq!(Status::find("fine"), None);
    }
}
