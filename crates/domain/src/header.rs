//! Which headers a credential may go into: both planes ask, the one when it is set and the other when it is sent.

/// Headers that belong to the transport, to MCP, or to what proxies say: a credential in one of them would change how a
/// request is read, or be dropped on the way.
const RESERVED: [&str; 33] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "baggage",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "last-event-id",
    "origin",
    "pragma",
    "range",
    "referer",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "vary",
    "www-authenticate",
    "age",
];
const RESERVED_PREFIXES: [&str; 6] = ["mcp-", "proxy-", "sec-", "x-forwarded-", "if-", "access-control-"];

/// Whether a header, named in lower case, is none that a credential may go into.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_the_transport_of_mcp_and_of_proxies_are_reserved() {
        for name in ["host", "content-length", "mcp-session-id", "proxy-connection", "x-forwarded-for", "te"] {
            assert!(is_reserved(name), "{name}");
        }
        for name in ["authorization", "x-api-key", "hostess"] {
            assert!(!is_reserved(name), "{name}");
        }
    }
}
