//! What can go wrong at an upstream server, and what of it the client is told.

use http::StatusCode;
use mcp::input::Strange;

/// Why an upstream server gave no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its address may not be dialled from here.
    #[error("its address is not allowed")]
    AddressRefused,
    /// Its name has no address.
    #[error("its name does not resolve")]
    Unresolved,
    /// Nobody took the connection.
    #[error("it cannot be reached")]
    Unreachable,
    /// No TLS session could be agreed on, or its certificate does not hold.
    #[error("its TLS certificate or handshake is wrong")]
    Tls,
    /// It took longer than the server's time-out.
    #[error("it did not answer in time")]
    Late,
    /// It wanted us to go elsewhere.
    #[error("it redirects, which is not followed")]
    Redirected,
    /// It does not take the credential we present.
    #[error("it refuses our credential")]
    Unauthorized,
    /// It limits how often we may call.
    #[error("it limits our calls")]
    Limited,
    /// It answered with an HTTP status that carries no MCP message.
    #[error("it answered with HTTP status {0}")]
    Status(StatusCode),
    /// It answered neither JSON nor an event stream.
    #[error("it does not answer as an MCP server does")]
    NotMcp,
    /// Its answer is not a message, or not one for our request.
    #[error("its answer is malformed")]
    Malformed,
    /// Its answer is larger than the server's limit.
    #[error("its answer is too large")]
    TooLarge,
    /// It ended the connection before the answer was complete.
    #[error("it ended the connection before its answer was complete")]
    CutOff,
    /// It knows no session that we know of, twice in a row.
    #[error("it lost our session")]
    SessionLost,
    /// It speaks no version of the protocol that we speak.
    #[error("it speaks no protocol version we know")]
    NoCommonVersion,
    /// It says that our idea of the tool is out of date.
    #[error("its tool has changed since it was reviewed")]
    Changed,
    /// It asks for input that the client did not say it can give, or in an era in which its questions are not carried.
    #[error("it asks for input that can not be had from this client")]
    AsksForInput,
    /// It has asked for input as often as one call may.
    #[error("it asks for input again and again")]
    AsksAgain,
    /// It is of the era in which nothing is asked in the middle of a call, so what the client answers it never asked. The
    /// client is told so: it is not the server's fault.
    #[error("it can not have asked for what the client answers")]
    Unasked,
    /// What the client answered to its question could not be brought to it, so it would wait in vain.
    #[error("it could not be told what the client answered")]
    AnswerLost,
    /// It gave a result of a kind we did not offer to take.
    #[error("it answered with a result of an unknown kind")]
    UnknownResult,
}

impl From<Strange> for Fault {
    fn from(strange: Strange) -> Self {
        match strange {
            Strange::Malformed | Strange::NotHttps => Self::Malformed,
            Strange::Undeclared | Strange::Context => Self::AsksForInput,
            Strange::TooLarge => Self::TooLarge,
        }
    }
}

/// How a faulty call ended, in the words of audit records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultStatus {
    /// Nobody was there, or nobody who could answer.
    Unavailable,
    /// Too late.
    Timeout,
    /// Somebody answered, but not as the protocol says.
    Protocol,
}

impl Fault {
    /// A stable word for records, metrics and clients.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::AddressRefused => "address_refused",
            Self::Unresolved => "unresolved",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::Late => "timeout",
            Self::Redirected => "redirected",
            Self::Unauthorized => "unauthorized",
            Self::Limited => "limited",
            Self::Status(_) => "http_status",
            Self::NotMcp => "not_mcp",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::CutOff => "cut_off",
            Self::SessionLost => "session_lost",
            Self::NoCommonVersion => "no_common_version",
            Self::Changed => "changed",
            Self::AsksForInput => "asks_for_input",
            Self::AsksAgain => "asks_again",
            Self::Unasked => "answer_unasked",
            Self::AnswerLost => "answer_lost",
            Self::UnknownResult => "unknown_result",
        }
    }

    /// Whether the same call may be sent again: nothing was done, and the cause may pass.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        match self {
            Self::Unresolved | Self::Unreachable | Self::Limited | Self::SessionLost => true,
            Self::Status(status) => status.as_u16() == 503,
            _ => false,
        }
    }

    /// How the call ended, for its record.
    #[must_use]
    pub const fn status(self) -> FaultStatus {
        match self {
            Self::Late => FaultStatus::Timeout,
            Self::Malformed
            | Self::NotMcp
            | Self::TooLarge
            | Self::NoCommonVersion
            | Self::Changed
            | Self::AsksForInput
            | Self::AsksAgain
            | Self::Unasked
            | Self::UnknownResult => FaultStatus::Protocol,
            _ => FaultStatus::Unavailable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_done_is_not_called_retryable() {
        assert!(Fault::Status(StatusCode::SERVICE_UNAVAILABLE).is_retryable());
        assert!(Fault::Unreachable.is_retryable());
        for fault in [Fault::Late, Fault::CutOff, Fault::AddressRefused, Fault::Status(StatusCode::BAD_GATEWAY)] {
            assert!(!fault.is_retryable(), "{fault}");
        }
    }
}
