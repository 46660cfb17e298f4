//! Paths: a tenant's endpoint, its metadata, and nothing else.

use domain::Slug;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// `/{slug}/mcp`.
    Endpoint(Slug),
    /// `/.well-known/oauth-protected-resource/{slug}/mcp` (RFC 9728, 3.1).
    Metadata(Slug),
}

impl Place {
    /// Reads a path. `None` for everything that is not ours.
    #[must_use]
    pub fn read(path: &str) -> Option<Self> {
        let path = path.strip_prefix('/')?;
        if let Some(rest) = path.strip_prefix(".well-known/oauth-protected-resource/") {
            return endpoint(rest).map(Self::Metadata);
        }
        endpoint(path).map(Self::Endpoint)
    }
}

fn endpoint(path: &str) -> Option<Slug> {
    path.strip_suffix("/mcp")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_and_its_metadata_are_found_by_slug() {
        let slug: Slug = "acme".parse().unwrap();
        assert_eq!(Place::read("/acme/mcp"), Some(Place::Endpoint(slug.clone())));
        assert_eq!(Place::read("/.well-known/oauth-protected-resource/acme/mcp"), Some(Place::Metadata(slug)));
    }

    #[test]
    fn everything_else_is_nowhere() {
        for path in [
            "",
            "/",
            "/mcp",
            "/acme",
            "/acme/mcp/",
            "//mcp",
            "/acme//mcp",
            "/Acme/mcp",
            "/acme%2fmcp",
            "/acme/mcp/mcp",
            "/acme/../mcp",
            "/relay/mcp",
            "/.well-known/oauth-protected-resource",
            "/.well-known/oauth-protected-resource/acme",
            "/metrics",
            "/healthz",
        ] {
            assert_eq!(Place::read(path), None, "{path}");
        }
    }
}
