//! Every outbound connection to an address a tenant chose: resolve, judge, pin, dial, bound.
//!
//! [`Rules`] say which addresses may be dialled, [`Dialer`] dials only those, [`client`] sends HTTP through it and
//! follows no redirects, [`bound`](mod@bound) keeps answers in size and time.

pub mod address;
pub mod bound;
pub mod dialer;
pub mod error;
pub mod rules;
mod stream;
pub mod target;
pub mod trust;

use std::time::Duration;

use http_body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

pub use address::{AddressClass, judge};
pub use bound::{BodyError, Bounded, Bounds, bound, collect};
pub use dialer::{Dialer, Resolve, SystemResolver};
pub use error::{EgressError, Stage, cause};
pub use rules::Rules;
pub use stream::{Peer, Stream};
pub use target::{Scheme, Target, UrlFault};
pub use trust::{Identity, IdentityError, Protocols, Trust, TrustError};

/// How connections are kept for the next request.
#[derive(Debug, Clone, Copy)]
pub struct Pool {
    /// For how long an idle connection is kept.
    pub idle: Duration,
    /// How many idle connections are kept per host.
    pub per_host: usize,
}

impl Default for Pool {
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), per_host: 128 }
    }
}

/// An HTTP client that connects through `dialer`. It follows no redirects and decodes nothing.
///
/// A request is tried again only when its pooled connection had closed before a byte was sent. [`cause`] finds the
/// [`EgressError`] in an error of its. One client has one pool: whose connections must not be shared has its own client.
#[must_use]
pub fn client<B>(dialer: Dialer, pool: Pool) -> Client<Dialer, B>
where
    B: Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(pool.idle)
        .pool_max_idle_per_host(pool.per_host)
        .build(dialer)
}
