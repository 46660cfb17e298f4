//! Who is calling: from a gateway token to the principal it stands for, and when that ends.

mod admit;
mod cache;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use audit::record::Actor;
use domain::projection::{Revocation, RevocationKind, TokenRecord};
use domain::{Clock, Permission, Principal, TenantId, TokenDigest, TokenKind, TokenText};
use http::HeaderValue;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use admit::{Admitted, NotAdmitted, admit};
use cache::Cache;

use crate::call::record;
use crate::metrics::{Found, Metrics};
use crate::tenants::source::Source;
use crate::tenants::{Touch, View};

/// Look-ups in Redis that may run at once; an attacker's made-up tokens cost no more.
const LOOKUPS: usize = 256;

/// A principal that calls, as long as it may.
#[derive(Debug)]
pub struct Caller {
    /// Who the calls act as.
    pub principal: Principal,
    /// The same, as records say it.
    pub(crate) actor: Actor,
    /// Fires when the token was revoked, changed or expired: open streams and parked calls end.
    pub ended: CancellationToken,
    /// Looked up since the cache last looked for room.
    used: AtomicBool,
}

impl Caller {
    /// A principal that was just proven.
    #[must_use]
    pub fn new(principal: Principal) -> Self {
        let actor = record::actor(&principal);
        Self { principal, actor, ended: CancellationToken::new(), used: AtomicBool::new(true) }
    }
}

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No token, a bad one, one that is worth nothing any more, or another tenant's: all the same.
    #[error("not authenticated")]
    Unauthorized,
    /// It can't be told: the node is out of touch.
    #[error("out of touch")]
    Unavailable,
}

/// The callers a node knows.
#[derive(Debug)]
pub struct Callers {
    cache: Cache,
    /// What revocations said of tokens that have not expired yet: an older record is not believed again.
    bounds: RwLock<HashMap<TokenDigest, Bound>>,
    source: Source,
    touch: Arc<Touch>,
    clock: Clock,
    metrics: Metrics,
    lookups: Semaphore,
}

/// The last thing that was said of a token.
#[derive(Debug, Clone, Copy)]
struct Bound {
    number: u64,
    what: RevocationKind,
}

impl Callers {
    /// Knows nobody yet; keeps at most `capacity` callers beside those that have open streams.
    #[must_use]
    pub(crate) fn new(source: Source, touch: Arc<Touch>, clock: Clock, metrics: Metrics, capacity: usize) -> Self {
        Self {
            cache: Cache::new(capacity),
            bounds: RwLock::default(),
            source,
            touch,
            clock,
            metrics,
            lookups: Semaphore::new(LOOKUPS),
        }
    }

    /// Who calls `tenant` with this `Authorization` header. Does no I/O for a caller it knows.
    ///
    /// # Errors
    /// [`Refused::Unauthorized`] whatever is wrong with the token; [`Refused::Unavailable`] when the node is out of touch
    /// and does not know the caller, or has been for too long.
    pub async fn authenticate(
        &self,
        tenant: TenantId,
        authorization: Option<&HeaderValue>,
    ) -> Result<Arc<Caller>, Refused> {
        let outcome = self.prove(tenant, authorization).await;
        self.metrics.caller(match &outcome {
            Ok((_, found)) => *found,
            Err(Refused::Unauthorized) => Found::Refused,
            Err(Refused::Unavailable) => Found::Unavailable,
        });
        outcome.map(|(caller, _)| caller)
    }

    async fn prove(
        &self,
        tenant: TenantId,
        authorization: Option<&HeaderValue>,
    ) -> Result<(Arc<Caller>, Found), Refused> {
        let token = bearer(authorization).ok_or(Refused::Unauthorized)?;
        let digest = secrets::token_digest(token.expose());
        if let Some(caller) = self.cache.find(&digest) {
            let caller = self.still_valid(tenant, caller)?;
            return match self.touch.view(tenant) {
                View::Clear | View::Blind { serves_known: true } => Ok((caller, Found::Memory)),
                View::Blind { serves_known: false } => Err(Refused::Unavailable),
            };
        }
        let caller = self.look_up(tenant, digest).await?;
        self.still_valid(tenant, caller).map(|caller| (caller, Found::Redis))
    }

    /// Checked on every request, after the cache: the caller is this tenant's and its token has not expired or ended.
    fn still_valid(&self, tenant: TenantId, caller: Arc<Caller>) -> Result<Arc<Caller>, Refused> {
        let principal = &caller.principal;
        let valid = principal.tenant == tenant
            && principal.expires_at > self.clock.now()
            && principal.role.allows(Permission::CallTools)
            && !caller.ended.is_cancelled();
        if valid { Ok(caller) } else { Err(Refused::Unauthorized) }
    }

    async fn look_up(&self, tenant: TenantId, digest: TokenDigest) -> Result<Arc<Caller>, Refused> {
        if self.touch.view(tenant) != View::Clear {
            return Err(Refused::Unavailable);
        }
        let _place = self.lookups.try_acquire().map_err(|_| Refused::Unavailable)?;
        let found = self.source.token(tenant, digest).await.map_err(|error| {
            tracing::warn!(error = service::causes(&error), tenant.id = %tenant, "could not look a token up");
            Refused::Unavailable
        })?;
        let record = found.ok_or(Refused::Unauthorized)?;
        let TokenRecord::Live(principal) = record.value else { return Err(Refused::Unauthorized) };
        if principal.tenant != tenant || !self.believes(digest, record.revision) {
            return Err(Refused::Unauthorized);
        }
        let caller = self.cache.insert(digest, Arc::new(Caller::new(principal)));
        // A revocation that was applied since the record was read found nothing to end: look again.
        if self.believes(digest, record.revision) {
            return Ok(caller);
        }
        self.end(&digest);
        Err(Refused::Unauthorized)
    }

    /// Whether a record of this revision may speak for the token after all that was said of it.
    fn believes(&self, digest: TokenDigest, revision: u64) -> bool {
        let bounds = self.bounds.read().unwrap_or_else(PoisonError::into_inner);
        match bounds.get(&digest) {
            None => true,
            Some(Bound { what: RevocationKind::Revoked, .. }) => false,
            Some(Bound { number, what: RevocationKind::Changed }) => revision >= *number,
        }
    }

    /// Forgets what a revocation says to forget, and ends what is open.
    pub(crate) fn apply(&self, revocation: &Revocation) {
        let bound = Bound { number: revocation.number, what: revocation.what };
        self.bounds.write().unwrap_or_else(PoisonError::into_inner).insert(revocation.digest, bound);
        self.end(&revocation.digest);
    }

    fn end(&self, digest: &TokenDigest) {
        if let Some(caller) = self.cache.remove(digest) {
            caller.ended.cancel();
        }
    }

    /// Ends callers whose tokens have expired, and forgets what was said of tokens below the floor: they have expired.
    pub(crate) fn tidy(&self, floor: u64) {
        let now = self.clock.now();
        for caller in self.cache.remove_where(|caller| caller.principal.expires_at <= now) {
            caller.ended.cancel();
        }
        self.bounds.write().unwrap_or_else(PoisonError::into_inner).retain(|_, bound| bound.number >= floor);
    }

    /// Ends everybody: Postgres went back, and with it who may do what.
    pub(crate) fn forget_all(&self) {
        self.bounds.write().unwrap_or_else(PoisonError::into_inner).clear();
        for caller in self.cache.remove_where(|_| true) {
            caller.ended.cancel();
        }
    }
}

/// The gateway token of an `Authorization` header (RFC 6750, 2.1; the scheme's case does not matter: RFC 9110, 11.1).
fn bearer(authorization: Option<&HeaderValue>) -> Option<TokenText> {
    let text = authorization?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    TokenText::parse(TokenKind::Gateway, token.trim_matches(' ')).ok()
}

/// Whether the caller was used since this was last asked.
fn take_used(caller: &Caller) -> bool {
    caller.used.swap(false, Ordering::Relaxed)
}

fn mark_used(caller: &Caller) {
    // Written only when it changes: the cache line stays shared among the cores.
    if !caller.used.load(Ordering::Relaxed) {
        caller.used.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bearer_gateway_token_is_one() {
        let token = secrets::new_token(TokenKind::Gateway);
        let api = secrets::new_token(TokenKind::Api);
        let found = |text: &str| bearer(Some(&HeaderValue::from_str(text).unwrap())).is_some();
        assert!(found(&format!("Bearer {}", token.expose())));
        assert!(found(&format!("bEARER   {}", token.expose())));
        assert!(bearer(None).is_none());
        for wrong in [
            String::new(),
            "Bearer".to_owned(),
            token.expose().to_owned(),
            format!("Basic {}", token.expose()),
            format!("Bearer {}", api.expose()),
            format!("Bearer {}x", token.expose()),
            format!("Bearer {},", token.expose()),
        ] {
            assert!(!found(&wrong), "{wrong}");
        }
    }
}
