//! From a path and a header to a caller and its tenant, or to the one answer that says nothing.

use std::sync::Arc;

use axum::response::Response;
use domain::{Slug, TenantId};
use http::{HeaderMap, header};

use super::{Caller, Refused};
use crate::app::Node;
use crate::listen::{self, PublicUrl};
use crate::tenants::{Tenant, Unavailable};

/// Who calls, and whom.
#[derive(Debug)]
pub struct Admitted {
    /// Who it is, as proven.
    pub caller: Arc<Caller>,
    /// The tenant, which is the caller's.
    pub tenant: Arc<Tenant>,
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAdmitted {
    /// What the client is told.
    pub refused: Refused,
    /// The tenant of the slug, where there is one: for counting refusals, never for the answer.
    pub tenant: Option<TenantId>,
}

impl NotAdmitted {
    /// The answer. It depends on the slug as it was written and on nothing else.
    #[must_use]
    pub fn response(self, public: &PublicUrl, slug: &Slug) -> Response {
        match self.refused {
            Refused::Unauthorized => listen::unauthorized(public, slug),
            Refused::Unavailable => listen::out_of_touch(),
        }
    }
}

/// Finds out who calls the tenant of this slug. An unknown slug costs the same look-ups as a known one.
///
/// # Errors
/// [`NotAdmitted`] when it is nobody, or can't be told.
pub async fn admit(node: &Node, slug: &Slug, headers: &HeaderMap) -> Result<Admitted, NotAdmitted> {
    // Several headers are no token: which one would count?
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let authorization = given.next().filter(|_| given.next().is_none());
    let refused = |refused, tenant| NotAdmitted { refused, tenant };
    let found = match node.tenants.resolve(slug).await {
        Ok(found) => found,
        Err(Unavailable) if super::bearer(authorization).is_none() => return Err(refused(Refused::Unauthorized, None)),
        Err(Unavailable) => return Err(refused(Refused::Unavailable, None)),
    };
    let caller = node
        .callers
        .authenticate(found.unwrap_or(NOBODY), authorization)
        .await
        .map_err(|error| refused(error, found))?;
    match node.tenants.get(caller.principal.tenant).await {
        // The snapshot has the last word on its slug: an old slug record leads nowhere.
        Ok(Some(tenant)) if tenant.snapshot.slug == *slug => Ok(Admitted { caller, tenant }),
        Ok(_) => Err(refused(Refused::Unauthorized, found)),
        Err(Unavailable) => Err(refused(Refused::Unavailable, found)),
    }
}

/// The tenant of unknown slugs; it has no tokens.
const NOBODY: TenantId = TenantId::from_uuid(uuid::Uuid::nil());
