//! Where the console is: the address people type, and what follows from it for cookies, links and headers.

use std::net::IpAddr;
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header;
use url::{Host, Url};

/// The console's own address. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Site {
    inner: Arc<Inner>,
    proxies: u8,
}

#[derive(Debug)]
struct Inner {
    url: Url,
    origin: String,
    session_cookie: String,
    flash_cookie: String,
}

/// Why an address can't be the console's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SiteError {
    /// Neither https nor http, or with a path.
    #[error("the console's address must be https://host[:port], without a path")]
    NoOrigin,
    /// Cookies would cross a network in the clear.
    #[error("the console's address must be https: plain http is taken on 127.0.0.1, [::1] and localhost only")]
    InTheClear,
}

impl Site {
    /// Takes an address; `deployment` keeps two deployments on one machine from sharing cookies.
    ///
    /// # Errors
    /// [`SiteError`] when pages can't be served there safely.
    pub fn new(url: Url, deployment: &str) -> Result<Self, SiteError> {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        if !matches!(url.scheme(), "https" | "http") || !bare || url.password().is_some() {
            return Err(SiteError::NoOrigin);
        }
        let secure = url.scheme() == "https";
        if !secure && !is_loopback(&url) {
            return Err(SiteError::InTheClear);
        }
        let cookie = |name: &str| {
            if secure { format!("__Host-sluice_{name}") } else { format!("sluice_dev_{name}_{deployment}") }
        };
        let origin = url.origin().ascii_serialization();
        let inner = Inner { url, origin, session_cookie: cookie("session"), flash_cookie: cookie("flash") };
        Ok(Self { inner: Arc::new(inner), proxies: 0 })
    }

    /// Behind so many proxies of ours, each of which adds the address it was reached from to `X-Forwarded-For`.
    #[must_use]
    pub fn behind(mut self, proxies: u8) -> Self {
        self.proxies = proxies;
        self
    }

    /// Where a request came from: what our outermost proxy saw. What stands further left anybody may have written.
    pub(super) fn address(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let Some(steps) = usize::from(self.proxies).checked_sub(1) else { return peer };
        let sent = headers.get_all("x-forwarded-for").iter().rev().filter_map(|value| value.to_str().ok());
        let mut addresses = sent.flat_map(|value| value.rsplit(',')).map(str::trim);
        addresses.nth(steps).and_then(|address| address.parse().ok()).unwrap_or(peer)
    }

    /// Whether a request was meant for this console. One that only this machine reaches shows mails on its pages, so nothing
    /// from outside may come to it: neither by a name that somebody else pointed here, nor through a proxy.
    pub(super) fn is_meant(&self, authority: Option<&str>, headers: &HeaderMap) -> bool {
        if !self.is_loopback() {
            return true;
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).or(authority);
        let asked = host.and_then(|host| Url::parse(&format!("http://{host}/")).ok());
        let by_proxy =
            ["forwarded", "x-forwarded-for", "x-forwarded-host"].iter().any(|name| headers.contains_key(*name));
        asked.is_some_and(|asked| is_loopback(&asked)) && !by_proxy
    }

    /// Whether it is reached over TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.inner.url.scheme() == "https"
    }

    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.inner.url)
    }

    /// The whole address of a path, for mails.
    #[must_use]
    pub fn link(&self, path: &str) -> String {
        format!("{}{path}", self.inner.origin)
    }

    /// The host as people read it.
    #[must_use]
    pub fn host(&self) -> &str {
        self.inner.origin.split_once("://").map_or("", |(_, host)| host)
    }

    pub(super) fn session_cookie(&self) -> &str {
        &self.inner.session_cookie
    }

    pub(super) fn flash_cookie(&self) -> &str {
        &self.inner.flash_cookie
    }

    /// Whether a request was made by one of our own pages, as far as the browser tells. One that tells nothing was not:
    /// every browser sends one of the two headers with a form.
    pub(super) fn is_own_request(&self, headers: &HeaderMap) -> bool {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
        match text("sec-fetch-site") {
            Some(site) => site == "same-origin",
            None => text(header::ORIGIN.as_str()).is_some_and(|origin| origin == self.inner.origin),
        }
    }

    /// The path of a page of our own, of its whole address.
    pub(super) fn own_page(&self, address: &str) -> Option<String> {
        self.own_path(address.strip_prefix(self.inner.origin.as_str())?)
    }

    /// A path of our own to go on to after signing in; anything else, another site above all, is none.
    #[must_use]
    pub fn own_path(&self, wanted: &str) -> Option<String> {
        if !wanted.starts_with('/')
            || wanted.len() > NEXT_MAX
            || wanted.chars().any(|char| char.is_control() || char == '\\')
        {
            return None;
        }
        let joined = self.inner.url.join(wanted).ok()?;
        if joined.origin() != self.inner.url.origin() {
            return None;
        }
        let mut path = joined.path().to_owned();
        if path.starts_with("//") {
            return None;
        }
        if let Some(query) = joined.query() {
            path.push('?');
            path.push_str(query);
        }
        Some(path)
    }
}

/// Longest path that is gone on to, bytes.
const NEXT_MAX: usize = 2000;

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(url: &str) -> Result<Site, SiteError> {
        Site::new(url.parse().unwrap(), "dep_1")
    }

    #[test]
    fn plain_http_is_taken_on_loopback_only() {
        assert!(site("http://127.0.0.1:7301").is_ok() && site("http://localhost:7301").is_ok());
        assert!(site("http://[::1]:7301").is_ok());
        assert_eq!(site("http://console.example").unwrap_err(), SiteError::InTheClear);
        assert_eq!(site("http://10.0.0.1").unwrap_err(), SiteError::InTheClear);
        assert_eq!(site("https://console.example/path").unwrap_err(), SiteError::NoOrigin);
        assert_eq!(site("https://a:b@console.example").unwrap_err(), SiteError::NoOrigin);
    }

    #[test]
    fn cookies_are_locked_to_the_host_where_there_is_tls() {
        assert_eq!(site("https://console.example").unwrap().session_cookie(), "__Host-sluice_session");
        assert_eq!(site("http://127.0.0.1:7301").unwrap().session_cookie(), "sluice_dev_session_dep_1");
    }

    #[test]
    fn an_address_is_what_our_own_proxies_saw() {
        let site = site("https://console.example").unwrap();
        let peer = IpAddr::from([10, 0, 0, 1]);
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "203.0.113.66, 198.51.100.7".parse().unwrap());
        headers.append("x-forwarded-for", "10.0.0.2".parse().unwrap());
        assert_eq!(site.address(peer, &headers), peer);
        let behind = |proxies| site.clone().behind(proxies).address(peer, &headers).to_string();
        assert_eq!([behind(1), behind(2), behind(4)], ["10.0.0.2", "198.51.100.7", "10.0.0.1"]);
    }

    #[test]
    fn nothing_from_outside_is_meant_for_a_console_of_this_machine_alone() {
        let own = site("http://127.0.0.1:7301").unwrap();
        let asked = |host: &str, other: &[&'static str]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            for name in other {
                headers.insert(*name, "198.51.100.7".parse().unwrap());
            }
            own.is_meant(None, &headers)
        };
        assert!(asked("127.0.0.1:7301", &[]) && asked("localhost:7301", &[]) && asked("[::1]:7301", &[]));
        assert!(!asked("rebound.evil.example:7301", &[]) && !asked("127.0.0.1.evil.example", &[]) && !asked("", &[]));
        assert!(!asked("127.0.0.1:7301", &["x-forwarded-for"]) && !asked("localhost", &["forwarded"]));
        assert!(!own.is_meant(None, &HeaderMap::new()) && own.is_meant(Some("localhost:7301"), &HeaderMap::new()));
    }

    #[test]
    fn nothing_leads_away_from_the_site() {
        let site = site("https://console.example").unwrap();
        for away in [
            "https://evil.example/",
            "//evil.example",
            "///evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "javascript:alert(1)",
            "w/acme",
            "",
            "/..//evil.example",
            "/./%2e%2e//evil.example",
            "https:evil.example",
        ] {
            assert_eq!(site.own_path(away), None, "{away:?}");
        }
        assert_eq!(site.own_path("/w/acme/activity?q=a%20b&range=6h").unwrap(), "/w/acme/activity?q=a%20b&range=6h");
        assert_eq!(site.own_path("/w/acme#top").unwrap(), "/w/acme");
        assert_eq!(site.own_page("https://console.example/w/acme?q=a").unwrap(), "/w/acme?q=a");
        for away in
            ["https://evil.example/w", "https://console.example.evil.example/", "https://console.example@evil/", "/w"]
        {
            assert_eq!(site.own_page(away), None, "{away}");
        }
    }
}
