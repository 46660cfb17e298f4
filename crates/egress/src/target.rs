//! Where a URL leads, as far as it is known before a name is resolved.

use std::net::{IpAddr, SocketAddr};

use http::Uri;
use http::uri;
use url::Url;

use crate::{AddressClass, EgressError, Rules, judge};

/// Whether a connection is secured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In clear text.
    Http,
    /// Over TLS.
    Https,
}

/// What is wrong with a URL, whatever it resolves to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlFault {
    /// Neither `https` nor `http`.
    #[error("the URL must begin with `https://`")]
    Scheme,
    /// `http` to where only `https` may go.
    #[error("the URL must begin with `https://`: `http://` is for allowed networks and, in development, this machine")]
    Insecure,
    /// A name or password before the host.
    #[error("the URL must not hold a user name or password")]
    UserInfo,
    /// No host.
    #[error("the URL must name a host")]
    NoHost,
}

/// A scheme, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Whether TLS is spoken.
    pub scheme: Scheme,
    /// A name, or an address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Target {
    /// Takes apart the URI of a request.
    ///
    /// # Errors
    /// [`UrlFault`] when it has another scheme, user information or no host.
    pub fn of(uri: &Uri) -> Result<Self, UrlFault> {
        let scheme = match uri.scheme() {
            Some(scheme) if *scheme == uri::Scheme::HTTPS => Scheme::Https,
            Some(scheme) if *scheme == uri::Scheme::HTTP => Scheme::Http,
            _ => return Err(UrlFault::Scheme),
        };
        let authority = uri.authority().ok_or(UrlFault::NoHost)?;
        if authority.as_str().contains('@') {
            return Err(UrlFault::UserInfo);
        }
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(UrlFault::NoHost);
        }
        let port = authority.port_u16().unwrap_or(match scheme {
            Scheme::Http => 80,
            Scheme::Https => 443,
        });
        Ok(Self { scheme, host: host.to_owned(), port })
    }

    /// Judges a URL somebody enters, as far as can be told without resolving its host: dialling judges again.
    ///
    /// # Errors
    /// [`EgressError::Url`], or [`EgressError::Refused`] when the host is an address that may not be dialled.
    pub fn check(url: &Url, rules: &Rules) -> Result<Self, EgressError> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlFault::UserInfo.into());
        }
        let uri = url.as_str().parse::<Uri>().map_err(|_| UrlFault::NoHost)?;
        let target = Self::of(&uri)?;
        if let Ok(address) = target.host.parse::<IpAddr>() {
            target.judge(address, rules)?;
        } else if target.scheme == Scheme::Http
            && !rules.allow_loopback
            && (rules.https_only || rules.allowed.is_empty())
        {
            return Err(UrlFault::Insecure.into());
        }
        Ok(target)
    }

    /// The addresses among those the host resolved to that may be dialled.
    ///
    /// # Errors
    /// Why the first may not, when none may; [`EgressError::Unresolved`] when there is none.
    pub fn admitted(&self, found: &[SocketAddr], rules: &Rules) -> Result<Vec<SocketAddr>, EgressError> {
        let mut refused = None;
        let mut admitted = Vec::with_capacity(found.len());
        for address in found {
            match self.judge(address.ip(), rules) {
                Ok(()) => admitted.push(SocketAddr::new(address.ip(), self.port)),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        match refused {
            Some(error) if admitted.is_empty() => Err(error),
            None if admitted.is_empty() => Err(EgressError::Unresolved(None)),
            _ => Ok(admitted),
        }
    }

    fn judge(&self, address: IpAddr, rules: &Rules) -> Result<(), EgressError> {
        judge(address, rules).map_err(EgressError::Refused)?;
        if self.scheme == Scheme::Https {
            return Ok(());
        }
        // Clear text goes where the operator said so, and nowhere on the internet.
        match judge(address, &Rules::default()) {
            Err(AddressClass::Loopback) => Ok(()),
            Err(_) if !rules.https_only => Ok(()),
            _ => Err(UrlFault::Insecure.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Result<(Scheme, String, u16), UrlFault> {
        Target::of(&uri.parse().unwrap()).map(|target| (target.scheme, target.host, target.port))
    }

    fn check(url: &str, rules: &Rules) -> Result<Target, String> {
        Target::check(&url.parse().unwrap(), rules).map_err(|error| error.to_string())
    }

    #[test]
    fn a_target_is_scheme_host_and_port() {
        assert_eq!(of("https://example.com/mcp?x"), Ok((Scheme::Https, "example.com".to_owned(), 443)));
        assert_eq!(of("http://[::1]:8080/"), Ok((Scheme::Http, "::1".to_owned(), 8080)));
        assert_eq!(of("ftp://example.com/"), Err(UrlFault::Scheme));
        assert_eq!(of("/mcp"), Err(UrlFault::Scheme));
        assert_eq!(of("https://user:canary@example.com/"), Err(UrlFault::UserInfo));
    }

    #[test]
    fn a_url_that_can_never_be_dialled_is_refused_when_it_is_entered() {
        let (strict, development) = (Rules::default(), Rules::development());
        assert!(check("https://example.com/mcp", &strict).is_ok());
        assert!(check("http://example.com/mcp", &strict).is_err());
        assert!(check("http://8.8.8.8/", &development).is_err(), "clear text does not go to the internet");
        assert!(check("http://127.0.0.1:3000/mcp", &development).is_ok());
        assert!(check("http://localhost:3000/mcp", &development).is_ok(), "judged when it is resolved");
        for special in ["https://127.0.0.1/", "https://[::ffff:10.0.0.1]/", "https://2130706433/", "https://0x7f.1/"] {
            assert!(check(special, &strict).is_err(), "{special}");
        }
        let error = check("https://name:canary@example.com/", &strict).unwrap_err();
        assert!(!error.contains("canary"), "{error}");
    }

    #[test]
    fn clear_text_to_an_allowed_network_is_a_choice() {
        let strict = Rules { allowed: vec!["10.0.0.0/8".parse().unwrap()], ..Rules::default() };
        assert!(check("https://10.1.1.1/", &strict).is_ok());
        assert!(check("http://10.1.1.1/", &strict).is_err());
        let lenient = Rules { https_only: false, ..strict };
        assert!(check("http://10.1.1.1/", &lenient).is_ok());
        assert!(check("http://8.8.8.8/", &lenient).is_err());
    }

    #[test]
    fn only_the_addresses_that_may_be_dialled_are_left() {
        let target = Target::of(&Uri::from_static("https://example.com/")).unwrap();
        let found: Vec<SocketAddr> = ["10.0.0.1:1", "8.8.8.8:1"].map(|address| address.parse().unwrap()).to_vec();
        let admitted = target.admitted(&found, &Rules::default()).unwrap();
        assert_eq!(admitted, ["8.8.8.8:443".parse().unwrap()]);
        let refused = target.admitted(&found[..1], &Rules::default());
        assert!(matches!(refused, Err(EgressError::Refused(AddressClass::Private))));
        assert!(matches!(target.admitted(&[], &Rules::default()), Err(EgressError::Unresolved(None))));
    }
}
