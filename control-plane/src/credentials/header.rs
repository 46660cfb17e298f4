//! Which headers a credential may go into, and what a value may be.

/// Longest value, bytes.
const VALUE_MAX: usize = 8 * 1024;

/// The name in lower case, if a credential may go into this header.
pub(super) fn checked_name(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    let written = axum::http::HeaderName::from_bytes(name.as_bytes()).is_ok() && name.len() <= 64;
    (written && !domain::header::is_reserved(&name)).then_some(name)
}

/// Whether a value can be sent as it is: visible ASCII, with spaces inside only.
pub(super) fn is_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    (1..=VALUE_MAX).contains(&bytes.len())
        && bytes.iter().all(|byte| matches!(byte, b' '..=b'~'))
        && value.trim() == value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_goes_into_a_header_of_its_own() {
        assert_eq!(checked_name("X-API-Key").as_deref(), Some("x-api-key"));
        assert_eq!(checked_name("Authorization").as_deref(), Some("authorization"));
    }

    #[test]
    fn headers_of_the_transport_and_of_mcp_are_refused() {
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "MCP-Session-Id",
            "mcp-protocol-version",
            "TE",
            "Proxy-Authorization",
            "X-Forwarded-For",
            "Connection",
            "Upgrade",
            "",
            "a b",
            "a\r\nb",
            "é",
            ":path",
        ] {
            assert_eq!(checked_name(name), None, "{name:?}");
        }
    }

    #[test]
    fn a_value_that_would_end_the_header_is_refused() {
        assert!(is_value("Basic dXNlcjpwYXNz"));
        for value in ["", " a", "a\r\nx: y", "a\0", "é", &"a".repeat(VALUE_MAX + 1)] {
            assert!(!is_value(value), "{value:?}");
        }
    }
}
