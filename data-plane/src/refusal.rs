//! Every way to say no: what the client is told, with which HTTP status, and the word it is counted under.

use http::{HeaderValue, StatusCode, header};
use mcp::error::Retryable;
use mcp::message::ParseError;
use mcp::{Code, Era, Id, RpcError};

use axum::body::Body;
use axum::response::Response;

use crate::listen::Full;
use crate::upstream::Fault;

/// A request or call that is refused. A visible denial by policy is not one: it is a tool result (`permit`).
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The endpoint takes POST, and DELETE for sessions.
    #[error("the HTTP method is not taken")]
    HttpMethod,
    /// The body is not declared to be JSON.
    #[error("the body is not declared as JSON")]
    NotJson,
    /// The body is over the limit.
    #[error("the body is too large")]
    BodyTooLarge,
    /// The body did not arrive whole.
    #[error("the body did not arrive")]
    BodyCutOff,
    /// The body is no message.
    #[error(transparent)]
    NoMessage(#[from] ParseError),
    /// The message breaks a rule of its protocol version.
    #[error("the message breaks the protocol: {}", .0.message)]
    Protocol(RpcError),
    /// The legacy session is unknown, over, or another principal's.
    #[error("the session is unknown")]
    SessionUnknown,
    /// The method is unknown, or not offered here.
    #[error("the method is unknown")]
    UnknownMethod(String),
    /// There is no such tool for this caller: it does not exist or is hidden.
    #[error("the tool is unknown")]
    UnknownTool,
    /// The cursor is not one we gave to this caller, or its list is gone.
    #[error("the cursor is unknown")]
    BadCursor,
    /// The `requestState` is not one we gave to this caller for this call, or it is too old.
    #[error("the request state is unknown")]
    BadState,
    /// The client answers what it was not asked, in an era without such questions: its own, or its server's.
    #[error("nothing was asked that is answered")]
    Unasked,
    /// There is no place for one more.
    #[error("there is no place for one more")]
    Overloaded(Full),
    /// The record of what was about to be done could not be stored.
    #[error("no audit record could be stored")]
    AuditUnavailable,
    /// What the caller is about to read could not be kept for later decisions.
    #[error("what is about to be read could not be kept")]
    NotKept,
    /// What a legacy client set for its session could not be kept for all nodes.
    #[error("the session's state could not be kept")]
    StateNotKept,
    /// What we present to the upstream could not be had.
    #[error("the credential for `{alias}` could not be had")]
    Credential {
        /// The server's alias.
        alias: String,
    },
    /// The upstream failed.
    #[error("the upstream `{alias}` failed: {fault}")]
    Upstream {
        /// The server's alias.
        alias: String,
        /// How.
        fault: Fault,
    },
    /// The client cancelled the call.
    #[error("the client cancelled the call")]
    Cancelled,
    /// The caller's token was revoked while the call ran.
    #[error("the token was revoked")]
    Revoked,
}

impl Refusal {
    /// The word it is counted under; there is one for each way, never one for each request.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::HttpMethod => "http_method",
            Self::NotJson => "not_json",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyCutOff => "body_cut_off",
            Self::NoMessage(_) => "no_message",
            Self::Protocol(_) => "protocol",
            Self::SessionUnknown => "session_unknown",
            Self::UnknownMethod(_) => "unknown_method",
            Self::UnknownTool => "unknown_tool",
            Self::BadCursor => "bad_cursor",
            Self::BadState => "bad_request_state",
            Self::Unasked => "answer_unasked",
            Self::Overloaded(Full::Node) => "overloaded",
            Self::Overloaded(Full::Tenant) => "overloaded_tenant",
            Self::Overloaded(Full::Caller) => "overloaded_caller",
            Self::AuditUnavailable => "audit_unavailable",
            Self::NotKept => "policy_unavailable",
            Self::StateNotKept => "session_state_unavailable",
            Self::Credential { .. } => "credential_unavailable",
            Self::Upstream { fault, .. } => fault.code(),
            Self::Cancelled => "cancelled",
            Self::Revoked => "revoked",
        }
    }

    /// The JSON-RPC error.
    #[must_use]
    pub fn error(&self) -> RpcError {
        match self {
            Self::HttpMethod => RpcError::new(Code::InvalidRequest, "Only POST, and DELETE to end a session"),
            Self::NotJson => RpcError::new(Code::InvalidRequest, "Content-Type must be application/json"),
            Self::BodyTooLarge => RpcError::new(Code::InvalidRequest, "The message is too large"),
            Self::BodyCutOff => RpcError::new(Code::ParseError, "The message did not arrive whole"),
            Self::NoMessage(error) => error.to_error(),
            Self::Protocol(error) => error.clone(),
            Self::SessionUnknown => RpcError::new(Code::SessionNotFound, "Session not found"),
            Self::UnknownMethod(method) => RpcError::method_not_found(method),
            Self::UnknownTool => RpcError::unknown_tool(),
            Self::BadCursor => RpcError::new(Code::InvalidParams, "Unknown cursor"),
            Self::BadState => RpcError::new(Code::InvalidParams, "Invalid requestState"),
            Self::Unasked => RpcError::new(Code::InvalidParams, "No call of yours waits for input"),
            Self::Overloaded(full) => RpcError::new(Code::Overloaded, overloaded(*full)),
            Self::AuditUnavailable => {
                RpcError::new(Code::AuditUnavailable, "The call could not be recorded, so it was not made; try again")
            }
            Self::NotKept => RpcError::new(
                Code::PolicyUnavailable,
                "A policy asks for what you have read, which could not be kept, so the call was not made; try again",
            ),
            Self::StateNotKept => {
                RpcError::new(Code::InternalError, "What you set could not be kept for your session; try again")
            }
            Self::Credential { alias } => {
                RpcError::upstream_failed("The upstream's credential could not be had", alias, Retryable::Yes)
            }
            Self::Upstream { alias, fault } => {
                let retryable = if fault.is_retryable() { Retryable::Yes } else { Retryable::No };
                RpcError::upstream_failed(format!("The upstream `{alias}` failed: {fault}"), alias, retryable)
            }
            Self::Cancelled => RpcError::new(Code::InternalError, "The call was cancelled"),
            Self::Revoked => RpcError::new(Code::InternalError, "The token was revoked"),
        }
    }

    /// The HTTP status of a whole answer.
    #[must_use]
    pub fn status(&self, era: Era) -> StatusCode {
        match self {
            Self::HttpMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            refused => StatusCode::from_u16(refused.error().status(era)).unwrap_or(StatusCode::OK),
        }
    }

    /// The whole answer.
    #[must_use]
    pub fn response(&self, era: Era, id: Option<&Id<'_>>) -> Response {
        let mut response = Response::new(Body::from(self.error().body(id).into_string()));
        *response.status_mut() = self.status(era);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if *self == Self::HttpMethod {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST, DELETE"));
        }
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

const fn overloaded(full: Full) -> &'static str {
    match full {
        Full::Node => "The gateway is overloaded; try again",
        Full::Tenant => "Your workspace has as many requests under way as one may have; try again",
        Full::Caller => "You have as many requests under way as one person may have; try again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstreams_fault_is_told_in_200_and_an_audit_fault_is_not() {
        let fault = Refusal::Upstream { alias: "crm".to_owned(), fault: Fault::Late };
        assert_eq!(fault.status(Era::Modern), StatusCode::OK);
        assert_eq!(
            fault.error().to_json().as_str(),
            r#"{"code":-32603,"message":"The upstream `crm` failed: it did not answer in time","data":{"upstream":"crm","retryable":false}}"#
        );
        assert_eq!(Refusal::AuditUnavailable.status(Era::Legacy), StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn an_unknown_method_is_404_only_in_the_modern_era() {
        let refusal = Refusal::UnknownMethod("a/b".to_owned());
        assert_eq!(refusal.status(Era::Modern), StatusCode::NOT_FOUND);
        assert_eq!(refusal.status(Era::Legacy), StatusCode::OK);
    }
}
