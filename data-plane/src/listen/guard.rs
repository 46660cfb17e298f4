//! Host and Origin: a page that a browser was tricked into (DNS rebinding, foreign sites) does not get in.

use std::collections::HashSet;

use domain::Slug;
use http::{HeaderMap, HeaderValue, Uri, header};
use url::{Host, Url};

use crate::config::Config;

/// What clients call us.
#[derive(Debug, Clone)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Takes the configured URL; a path of it is not used.
    #[must_use]
    pub fn new(url: &Url) -> Self {
        Self(url.origin().ascii_serialization())
    }

    /// A tenant's endpoint.
    #[must_use]
    pub fn endpoint(&self, slug: &Slug) -> String {
        format!("{}/{slug}/mcp", self.0)
    }

    /// Where a tenant's metadata is (RFC 9728, 3.1).
    #[must_use]
    pub fn metadata(&self, slug: &Slug) -> String {
        format!("{}/.well-known/oauth-protected-resource/{slug}/mcp", self.0)
    }
}

/// Which hosts and origins are let in.
#[derive(Debug)]
pub struct Guard {
    /// Names without ports: behind a balancer a node can't know which one was used.
    hosts: HashSet<String>,
    origins: HashSet<String>,
    /// On a developer's machine, whatever is there may come in.
    loopback: bool,
}

impl Guard {
    /// Makes the guard of a node.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let public = &config.public_url;
        let hosts = config.allowed_hosts.iter().map(|host| host.to_ascii_lowercase());
        let origins = config.allowed_origins.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase());
        Self {
            hosts: public.host_str().map(str::to_ascii_lowercase).into_iter().chain(hosts).collect(),
            origins: std::iter::once(public.origin().ascii_serialization()).chain(origins).collect(),
            loopback: public.host().is_some_and(|host| is_loopback(&host)),
        }
    }

    /// Whether a request may come in: its host is one of ours, and its origin, where it has one, is let in.
    #[must_use]
    pub fn admits(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        self.admits_host(headers, uri) && self.admits_origin(headers)
    }

    fn admits_host(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        // HTTP/2 says it in the URI (RFC 9113, 8.3.1).
        let given = uri.authority().map(http::uri::Authority::as_str).or_else(|| single(headers, &header::HOST));
        let Some(host) = given.and_then(without_port) else { return false };
        if self.hosts.contains(host) {
            return true;
        }
        let host = host.to_ascii_lowercase();
        self.hosts.contains(&host) || (self.loopback && Host::parse(&host).is_ok_and(|host| is_loopback_name(&host)))
    }

    fn admits_origin(&self, headers: &HeaderMap) -> bool {
        if !headers.contains_key(header::ORIGIN) {
            return true;
        }
        let Some(origin) = single(headers, &header::ORIGIN) else { return false };
        if self.origins.contains(origin) {
            return true;
        }
        let Ok(url) = Url::parse(origin) else { return false };
        // `Url` forgets default ports and case, as origins do (RFC 6454, 4).
        self.origins.contains(&url.origin().ascii_serialization())
            || (self.loopback && url.host().is_some_and(|host| is_loopback(&host)))
    }
}

/// The header's value, when there is exactly one and it is text.
fn single<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { HeaderValue::to_str(first).ok() }
}

fn without_port(authority: &str) -> Option<&str> {
    if authority.contains('@') {
        return None;
    }
    if authority.starts_with('[') {
        return authority.find(']').map(|end| &authority[..=end]);
    }
    authority.split(':').next().filter(|host| !host.is_empty())
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

fn is_loopback_name(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(public: &str) -> Guard {
        let config = crate::app::tests::config(&[("SLUICE_GATEWAY_URL", public), ("SLUICE_ALLOWED_HOSTS", "inner")]);
        Guard::new(&config)
    }

    fn admits(guard: &Guard, host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        guard.admits(&headers, &Uri::from_static("/acme/mcp"))
    }

    #[test]
    fn only_our_names_are_hosts() {
        let guard = guard("https://gw.example.net");
        for ours in ["gw.example.net", "GW.example.net:443", "inner:7300"] {
            assert!(admits(&guard, ours, None), "{ours}");
        }
        for foreign in
            ["evil.example", "127.0.0.1:7300", "localhost", "gw.example.net.evil.example", "x@gw.example.net", ""]
        {
            assert!(!admits(&guard, foreign, None), "{foreign}");
        }
    }

    #[test]
    fn a_request_without_host_or_with_two_is_refused() {
        let guard = guard("https://gw.example.net");
        let mut headers = HeaderMap::new();
        assert!(!guard.admits(&headers, &Uri::from_static("/acme/mcp")));
        headers.append(header::HOST, HeaderValue::from_static("gw.example.net"));
        headers.append(header::HOST, HeaderValue::from_static("gw.example.net"));
        assert!(!guard.admits(&headers, &Uri::from_static("/acme/mcp")));
        assert!(guard.admits(&HeaderMap::new(), &Uri::from_static("http://gw.example.net/acme/mcp")));
    }

    #[test]
    fn only_our_origin_may_call_from_a_browser() {
        let guard = guard("https://gw.example.net");
        assert!(admits(&guard, "gw.example.net", Some("https://gw.example.net:443")));
        for foreign in ["https://evil.example", "http://gw.example.net", "null", "http://localhost:3000", ""] {
            assert!(!admits(&guard, "gw.example.net", Some(foreign)), "{foreign}");
        }
    }

    #[test]
    fn on_a_developers_machine_loopback_may_come_in_and_nothing_else() {
        let guard = guard("http://127.0.0.1:7300");
        for ours in ["localhost:7301", "127.0.0.1", "[::1]:80"] {
            assert!(admits(&guard, ours, Some("http://localhost:6274")), "{ours}");
        }
        assert!(!admits(&guard, "evil.example:7300", None));
        assert!(!admits(&guard, "127.0.0.1.evil.example", None));
        assert!(!admits(&guard, "localhost", Some("http://evil.example")));
    }
}
