//! Resolves a name once, judges every address, and dials only those judged right: what is dialled is what was judged.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tower::Service;

use crate::stream::Inner;
use crate::{EgressError, Protocols, Rules, Scheme, Stage, Stream, Target, Trust};

/// A future of somebody's.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Finds the addresses of a name.
pub trait Resolve: Send + Sync + 'static {
    /// Every address of the name. Ports are ignored.
    fn resolve(&self, host: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>>;
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: &str) -> BoxFuture<io::Result<Vec<SocketAddr>>> {
        let host = host.to_owned();
        Box::pin(async move { Ok(tokio::net::lookup_host((host, 0)).await?.collect()) })
    }
}

/// Makes connections. Cloning is cheap.
#[derive(Clone)]
pub struct Dialer {
    rules: Arc<Rules>,
    resolver: Arc<dyn Resolve>,
    tls: Arc<ClientConfig>,
    within: Duration,
}

impl Dialer {
    /// A dialer under these rules: the system's resolver, the public roots, HTTP/1.1, 10 s for a connection.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self::trusting(rules, Trust::default(), Protocols::default())
    }

    /// A dialer that believes `trust` and offers `protocols`.
    #[must_use]
    pub fn trusting(rules: Rules, trust: Trust, protocols: Protocols) -> Self {
        Self {
            rules: Arc::new(rules),
            resolver: Arc::new(SystemResolver),
            tls: trust.config(protocols),
            within: Duration::from_secs(10),
        }
    }

    /// The same, with another resolver.
    #[must_use]
    pub fn resolving(mut self, resolver: impl Resolve) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    /// The same, with another bound on the time from a name to a secured connection.
    #[must_use]
    pub fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }

    /// The rules it dials under.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Makes a connection: the three steps below under one deadline. Dropping the future ends it.
    ///
    /// # Errors
    /// [`EgressError`] says which step failed.
    pub async fn dial(&self, target: &Target) -> Result<Stream, EgressError> {
        let deadline = Instant::now() + self.within;
        let addresses = self.resolve(target, deadline).await?;
        let (stream, peer) = self.connect(&addresses, deadline).await?;
        self.secure(target, stream, peer, deadline).await
    }

    /// First step: the addresses of the target that may be dialled. An address is not resolved.
    ///
    /// # Errors
    /// [`EgressError::Unresolved`], [`EgressError::Refused`], [`EgressError::Url`] or [`EgressError::Timeout`].
    pub async fn resolve(&self, target: &Target, deadline: Instant) -> Result<Vec<SocketAddr>, EgressError> {
        if let Ok(address) = target.host.parse::<IpAddr>() {
            return target.admitted(&[SocketAddr::new(address, target.port)], &self.rules);
        }
        let found = timeout_at(deadline, self.resolver.resolve(&target.host)).await;
        let found = found.map_err(|_| EgressError::Timeout(Stage::Resolve))?;
        let found = found.map_err(|error| EgressError::Unresolved(Some(error)))?;
        target.admitted(&found, &self.rules)
    }

    /// Second step: a connection to the first address that answers. Each gets its share of the time that is left.
    ///
    /// # Errors
    /// [`EgressError::Unreachable`] or [`EgressError::Timeout`], of the last address.
    pub async fn connect(
        &self,
        addresses: &[SocketAddr],
        deadline: Instant,
    ) -> Result<(TcpStream, SocketAddr), EgressError> {
        let mut last = EgressError::Unresolved(None);
        for (index, address) in addresses.iter().enumerate() {
            let others = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
            let share = deadline.saturating_duration_since(Instant::now()) / others;
            last = match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true).map_err(EgressError::Unreachable)?;
                    return Ok((stream, *address));
                }
                Ok(Err(error)) => EgressError::Unreachable(error),
                Err(_) => EgressError::Timeout(Stage::Connect),
            };
        }
        Err(last)
    }

    /// Third step: TLS where the target wants it, with a certificate for the target's host.
    ///
    /// # Errors
    /// [`EgressError::Tls`] or [`EgressError::Timeout`].
    pub async fn secure(
        &self,
        target: &Target,
        stream: TcpStream,
        peer: SocketAddr,
        deadline: Instant,
    ) -> Result<Stream, EgressError> {
        if target.scheme == Scheme::Http {
            return Ok(Stream { peer, inner: Inner::Plain(stream) });
        }
        let name = ServerName::try_from(target.host.clone())
            .map_err(|error| EgressError::Tls(io::Error::new(io::ErrorKind::InvalidInput, error)))?;
        let secured = timeout_at(deadline, TlsConnector::from(self.tls.clone()).connect(name, stream)).await;
        let secured = secured.map_err(|_| EgressError::Timeout(Stage::Tls))?.map_err(EgressError::Tls)?;
        Ok(Stream { peer, inner: Inner::Tls(Box::new(secured)) })
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<Stream>;
    type Error = EgressError;
    type Future = BoxFuture<Result<Self::Response, EgressError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), EgressError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move { Ok(TokioIo::new(dialer.dial(&Target::of(&uri)?).await?)) })
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("rules", &self.rules).field("within", &self.within).finish_non_exhaustive()
    }
}
