//! Why a connection was not made.

use std::error::Error;
use std::fmt;
use std::io;

use crate::{AddressClass, UrlFault};

/// Why a connection was not made. No message holds any part of the URL.
#[derive(Debug, thiserror::Error)]
pub enum EgressError {
    /// The URL itself is not taken.
    #[error(transparent)]
    Url(#[from] UrlFault),
    /// Every address it leads to may not be dialled; the class is the first one's.
    #[error("the host is {0}, which may not be dialled")]
    Refused(AddressClass),
    /// The name has no address.
    #[error("the host's name does not resolve")]
    Unresolved(#[source] Option<io::Error>),
    /// No address answers.
    #[error("the host can't be reached")]
    Unreachable(#[source] io::Error),
    /// TLS is not agreed on, or the certificate does not hold.
    #[error("no secure connection could be made")]
    Tls(#[source] io::Error),
    /// It took too long.
    #[error("the host did not answer in time: {0}")]
    Timeout(Stage),
}

/// What was being waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The name's addresses.
    Resolve,
    /// The connection.
    Connect,
    /// The TLS handshake.
    Tls,
}

impl EgressError {
    /// A stable word, one of those of `domain::relay::Failed`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Url(_) | Self::Refused(_) => "address_refused",
            Self::Unresolved(_) => "unresolved",
            Self::Unreachable(_) => "unreachable",
            Self::Tls(_) => "tls",
            Self::Timeout(_) => "timeout",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Resolve => "its name was being resolved",
            Self::Connect => "the connection was being made",
            Self::Tls => "the connection was being secured",
        })
    }
}

/// The [`EgressError`] among an error's causes, when a client could not connect.
#[must_use]
pub fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a EgressError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
