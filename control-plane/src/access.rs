//! Who may: [`Can`] is the proof of a permission, and the only way to a tenant's rows.

use std::collections::HashMap;
use std::marker::PhantomData;

use axum::extract::{FromRef, FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use chrono::{DateTime, Utc};
use domain::{Clock, Permission, Role, Slug, TenantId, TokenKind, TokenText, UserId};
use store::tokens::Bearer;
use store::{PgPool, PlatformTx, TenantTx};

use crate::console::SignedIn;
use crate::ingest::change::{self, By};
use crate::login;
use crate::problem::Problem;
use crate::recorded::Author;

/// What signing in needs.
#[derive(Debug, Clone)]
pub struct Access {
    /// The database.
    pub pool: PgPool,
    /// Tells whether a token has expired.
    pub clock: Clock,
}

/// Who makes this request: a member of a tenant, as an API token or a signed-in browser proves.
///
/// As an extractor it takes an API token only. A browser acts through [`Can`], below the console's paths.
#[derive(Debug, Clone)]
pub struct Actor {
    user: UserId,
    tenant: TenantId,
    slug: Slug,
    role: Role,
    by: By,
    issued_by: Option<UserId>,
}

impl Actor {
    /// The person.
    #[must_use]
    pub const fn user(&self) -> UserId {
        self.user
    }

    /// Who is behind the token or session: the person, or whoever issued the token to them and may have kept it.
    #[must_use]
    pub const fn issued_by(&self) -> Option<UserId> {
        self.issued_by
    }

    /// What they may do in the tenant.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The tenant they act in.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// That tenant's name in URLs.
    #[must_use]
    pub const fn slug(&self) -> &Slug {
        &self.slug
    }

    /// Begins a transaction over the global tables in which the token or the session is still good and the role still the
    /// same.
    ///
    /// # Errors
    /// A [`Problem`] when either has changed since the request came, or the database does not answer.
    pub async fn begin_platform(&self, access: &Access) -> Result<PlatformTx, Problem> {
        let mut tx = PlatformTx::begin(&access.pool).await?;
        let now = access.clock.now();
        let role = match self.by {
            By::Token(token) => store::tokens::find_role_of(&mut tx, (self.tenant, token), now).await?,
            By::Session(session) => {
                store::sessions::find_role_of(&mut tx, (self.tenant, session), now, now - login::IDLE).await?
            }
        };
        self.still(role)?;
        Ok(tx)
    }

    /// As [`Actor::begin_platform`], inside the tenant's fence.
    async fn begin(&self, access: &Access) -> Result<TenantTx, Problem> {
        let By::Token(token) = self.by else {
            return Ok(self.begin_platform(access).await?.into_tenant(self.tenant).await?);
        };
        let mut tx = TenantTx::begin(&access.pool, self.tenant).await?;
        self.still(store::tokens::find_role(&mut tx, token, access.clock.now()).await?)?;
        Ok(tx)
    }

    /// Refuses what was begun under a token, a session or a role that is no more: the body may have taken its time.
    fn still(&self, role: Option<Role>) -> Result<(), Problem> {
        match role {
            None => Err(unauthenticated()),
            Some(role) if role == self.role() => Ok(()),
            Some(_) => Err(Problem::new(StatusCode::FORBIDDEN, "not-permitted", "Your role has changed")
                .detail("it changed while your request came in; nothing was done: send it again")),
        }
    }

    /// The actor as records of changes name it.
    #[must_use]
    pub const fn recorded(&self) -> change::Actor {
        change::Actor::User { user: self.user, by: self.by }
    }

    /// Whoever is signed in, as a member of the workspace of this slug; none where they are no member.
    fn of_session(signed: &SignedIn, slug: &str) -> Option<Self> {
        let workspace = signed.workspace(slug)?;
        Some(Self {
            user: signed.user(),
            tenant: workspace.tenant,
            slug: workspace.slug.clone(),
            role: workspace.role,
            by: By::Session(signed.session()),
            issued_by: Some(signed.user()),
        })
    }
}

impl<S> FromRequestParts<S> for Actor
where
    Access: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let access = Access::from_ref(state);
        let token = presented(&parts.headers).ok_or_else(unauthenticated)?;
        let digest = secrets::token_digest(token.expose());
        let mut tx = PlatformTx::begin(&access.pool).await?;
        let now = access.clock.now();
        let found = store::tokens::find_bearer(&mut tx, digest, now).await?;
        let Bearer { token, tenant, slug, user, role, issued_by, last_used_at, .. } =
            found.ok_or_else(unauthenticated)?;
        if last_used_at.is_none_or(|last| now - last >= login::SEEN_EVERY) {
            store::tokens::used_api(&mut tx, (tenant, token), now).await?;
            tx.commit().await?;
        }
        Ok(Self { user, tenant, slug, role, by: By::Token(token), issued_by })
    }
}

/// The API token in the request; anything else, a gateway token too, is none.
fn presented(headers: &HeaderMap) -> Option<TokenText> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    TokenText::parse(TokenKind::Api, token.trim()).ok()
}

fn unauthenticated() -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "An API token is needed")
        .detail("send `Authorization: Bearer sla_…` with a token that has neither expired nor been revoked")
}

/// A permission as a type, so that a handler's signature says what it asks for.
pub trait Permitted: Send + Sync + 'static {
    /// The permission.
    const PERMISSION: Permission;
}

macro_rules! permitted {
    ($($name:ident)*) => {
        /// A type for each permission.
        pub mod may {
            use super::{Permission, Permitted};
            $(
                #[doc = concat!("[`Permission::", stringify!($name), "`].")]
                #[derive(Debug, Clone, Copy)]
                pub enum $name {}
                impl Permitted for $name {
                    const PERMISSION: Permission = Permission::$name;
                }
            )*
        }
    };
}

permitted! {
    ViewTenant ManageTenant ViewMembers ManageMembers ViewServers ManageServers ManageCredentials ViewPolicies
    WritePolicies Publish OwnTokens ViewTokens ManageTokens OwnActivity ViewActivity ExportActivity ExportPersonal
    ViewDestinations ManageDestinations CallTools
}

/// Proof that the request's actor has a permission in the tenant its path names.
#[derive(Debug)]
pub struct Can<P> {
    actor: Actor,
    access: Access,
    permission: PhantomData<fn() -> P>,
}

impl<P: Permitted> Can<P> {
    /// Who.
    #[must_use]
    pub const fn actor(&self) -> &Actor {
        &self.actor
    }

    /// Who changes something, as its record names them.
    #[must_use]
    pub fn author(&self, clock: &Clock) -> Author {
        Author { user: self.actor.user(), actor: self.actor.recorded(), clock: clock.clone() }
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.access.clock.now()
    }

    /// Asks for one more permission than the path's own.
    ///
    /// # Errors
    /// The refusal, which names the permission.
    pub fn also(&self, permission: Permission) -> Result<(), Problem> {
        if self.actor.role().allows(permission) { Ok(()) } else { Err(Problem::not_permitted(permission)) }
    }

    /// Begins a transaction in the tenant, and looks again whether the actor may. To be called once the body is read.
    ///
    /// # Errors
    /// A [`Problem`] when the token or the role is no more, or the database does not answer.
    pub async fn begin(&self) -> Result<TenantTx, Problem> {
        self.actor.begin(&self.access).await
    }

    /// As [`Can::begin`], over the global tables, for what concerns the people of the tenant.
    ///
    /// # Errors
    /// A [`Problem`] when the token or the role is no more, or the database does not answer.
    pub async fn begin_platform(&self) -> Result<PlatformTx, Problem> {
        self.actor.begin_platform(&self.access).await
    }

    /// The e-mail addresses of people this tenant may see, to show them with what was done. Who asks is not judged again:
    /// a person who has just changed their own role is told what became of it.
    ///
    /// # Errors
    /// A [`Problem`] when the database does not answer.
    pub async fn emails(&self, users: &[UserId]) -> Result<HashMap<UserId, String>, Problem> {
        let mut tx = PlatformTx::begin(&self.access.pool).await?;
        Ok(store::people::list_emails(&mut tx, users).await?.into_iter().collect())
    }
}

impl<S, P> FromRequestParts<S> for Can<P>
where
    Access: FromRef<S>,
    S: Send + Sync,
    P: Permitted,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| Problem::not_found())?;
        let named = params.iter().find(|(name, _)| *name == "tenant").map(|(_, value)| value.to_owned());
        // Only the console's gate puts this there, and it lets nobody through without it: below the console's paths a
        // token is worth nothing, elsewhere a cookie.
        let actor = if let Some(signed) = parts.extensions.get::<SignedIn>() {
            named.and_then(|named| Actor::of_session(signed, &named))
        } else {
            let actor = Actor::from_request_parts(parts, state).await?;
            named.filter(|named| names(named, &actor)).map(|_| actor)
        };
        // A tenant that is another's and one that is nobody's look the same.
        let actor = actor.ok_or_else(Problem::not_found)?;
        if !actor.role().allows(P::PERMISSION) {
            return Err(Problem::not_permitted(P::PERMISSION));
        }
        Ok(Self { actor, access: Access::from_ref(state), permission: PhantomData })
    }
}

/// Whether a path names the actor's tenant, by id or by slug.
fn names(named: &str, actor: &Actor) -> bool {
    named == actor.slug().as_str() || named.parse() == Ok(actor.tenant())
}
