//! Gateway tokens and API tokens: their digests, never themselves.

use chrono::{DateTime, Utc};
use domain::{MembershipId, Role, Slug, TenantId, TokenDigest, TokenId, TokenScope, UserId};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::error::read;
use crate::{Error, PlatformTx, TenantTx};

/// Who an API token speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// The token.
    pub token: TokenId,
    /// The tenant it is of.
    pub tenant: TenantId,
    /// That tenant's name in URLs.
    pub slug: Slug,
    /// The person.
    pub user: UserId,
    /// Their place in the tenant.
    pub membership: MembershipId,
    /// What they may do there.
    pub role: Role,
    /// Who is behind the token.
    pub issued_by: Option<UserId>,
    /// When it last made a request before this one, at most a minute late.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Whom an API token speaks for at this time; nobody once it is revoked or expired, or the person is no member.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_bearer(tx: &mut PlatformTx, digest: TokenDigest, at: DateTime<Utc>) -> Result<Option<Bearer>, Error> {
    let found = sqlx::query!(
        r#"select t.token_id as "token: TokenId", t.tenant_id as "tenant: TenantId", n.slug, t.user_id as "user: UserId",
               m.membership_id as "membership: MembershipId", m.role, t.issued_by as "issued_by: UserId",
               t.last_used_at
           from api_tokens t
           join memberships m on m.tenant_id = t.tenant_id and m.user_id = t.user_id
           join tenants n on n.tenant_id = t.tenant_id
           where t.digest = $1 and t.revoked_at is null and t.expires_at > $2"#,
        &digest.0,
        at,
    )
    .fetch_optional(tx.connection())
    .await?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(Bearer {
        token: row.token,
        tenant: row.tenant,
        slug: read("tenants.slug", row.slug.parse().ok())?,
        user: row.user,
        membership: row.membership,
        role: read("memberships.role", Role::find(&row.role))?,
        issued_by: row.issued_by,
        last_used_at: row.last_used_at,
    }))
}

/// Says that an API token made a request.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn used_api(
    tx: &mut PlatformTx,
    (tenant, token): (TenantId, TokenId),
    at: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query!(
        "update api_tokens set last_used_at = $3 where tenant_id = $1 and token_id = $2
         and (last_used_at is null or last_used_at < $3)",
        tenant.uuid(),
        token.uuid(),
        at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// What an API token of the transaction's tenant allows at this time: its holder's present role. None once it is revoked
/// or expired, or its holder is no member.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_role(tx: &mut TenantTx, token: TokenId, at: DateTime<Utc>) -> Result<Option<Role>, Error> {
    let tenant = tx.tenant();
    role_of(tx.connection(), (tenant, token), at).await
}

/// As [`find_role`], of a tenant's token, outside its fence.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_role_of(
    tx: &mut PlatformTx,
    token: (TenantId, TokenId),
    at: DateTime<Utc>,
) -> Result<Option<Role>, Error> {
    role_of(tx.connection(), token, at).await
}

async fn role_of(
    connection: &mut PgConnection,
    (tenant, token): (TenantId, TokenId),
    at: DateTime<Utc>,
) -> Result<Option<Role>, Error> {
    let role = sqlx::query_scalar!(
        "select m.role from api_tokens t join memberships m on m.tenant_id = t.tenant_id and m.user_id = t.user_id
         where t.tenant_id = $1 and t.token_id = $2 and t.revoked_at is null and t.expires_at > $3",
        tenant.uuid(),
        token.uuid(),
        at,
    )
    .fetch_optional(connection)
    .await?;
    role.map(|role| read("memberships.role", Role::find(&role))).transpose()
}

/// A token for the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id.
    pub id: TokenId,
    /// Whose it is.
    pub user: UserId,
    /// What it is called.
    pub title: String,
    /// Who issued it; none: before this was kept.
    pub issued_by: Option<UserId>,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// From when on it is worth nothing.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it last made a request, at most a minute late.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Adds an API token.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_api(tx: &mut TenantTx, token: &ApiToken, digest: TokenDigest) -> Result<(), Error> {
    sqlx::query!(
        "insert into api_tokens (token_id, user_id, digest, title, issued_by, issued_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        token.id.uuid(),
        token.user.uuid(),
        &digest.0,
        token.title,
        token.issued_by.map(UserId::uuid),
        token.issued_at,
        token.expires_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// All API tokens, newest first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_api(tx: &mut TenantTx) -> Result<Vec<ApiToken>, Error> {
    let tokens = sqlx::query_as!(
        ApiToken,
        r#"select token_id as "id: TokenId", user_id as "user: UserId", title, issued_by as "issued_by: UserId", issued_at,
               expires_at, revoked_at, last_used_at
           from api_tokens order by issued_at desc, token_id desc"#
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(tokens)
}

/// A person's API tokens, newest first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_api_of(tx: &mut TenantTx, user: UserId) -> Result<Vec<ApiToken>, Error> {
    let tokens = sqlx::query_as!(
        ApiToken,
        r#"select token_id as "id: TokenId", user_id as "user: UserId", title, issued_by as "issued_by: UserId", issued_at,
               expires_at, revoked_at, last_used_at
           from api_tokens where user_id = $1 order by issued_at desc, token_id desc"#,
        user.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(tokens)
}

/// One API token.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_api(tx: &mut TenantTx, token: TokenId) -> Result<Option<ApiToken>, Error> {
    let found = sqlx::query_as!(
        ApiToken,
        r#"select token_id as "id: TokenId", user_id as "user: UserId", title, issued_by as "issued_by: UserId", issued_at,
               expires_at, revoked_at, last_used_at
           from api_tokens where token_id = $1"#,
        token.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(found)
}

/// Revokes an API token. False when it was revoked before, or there is none.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn revoke_api(tx: &mut TenantTx, token: TokenId, at: DateTime<Utc>) -> Result<bool, Error> {
    let revoked = sqlx::query!(
        "update api_tokens set revoked_at = $2 where token_id = $1 and revoked_at is null",
        token.uuid(),
        at
    )
    .execute(tx.connection())
    .await?;
    Ok(revoked.rows_affected() > 0)
}

/// Revokes all a person's API tokens.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn revoke_all_api(tx: &mut TenantTx, user: UserId, at: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!("update api_tokens set revoked_at = $2 where user_id = $1 and revoked_at is null", user.uuid(), at)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// A token for the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayToken {
    /// Its id.
    pub id: TokenId,
    /// Whose it is: calls are theirs.
    pub user: UserId,
    /// What it is called.
    pub title: String,
    /// What it may reach at most.
    pub scope: TokenScope,
    /// Who issued it.
    pub issued_by: UserId,
    /// When it was issued.
    pub issued_at: DateTime<Utc>,
    /// From when on it is worth nothing.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it last made a call, at most a minute late.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Adds a gateway token.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add_gateway(tx: &mut TenantTx, token: &GatewayToken, digest: TokenDigest) -> Result<(), Error> {
    sqlx::query!(
        "insert into gateway_tokens (token_id, user_id, digest, title, scope, issued_by, issued_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        token.id.uuid(),
        token.user.uuid(),
        &digest.0,
        token.title,
        Json(&token.scope) as _,
        token.issued_by.uuid(),
        token.issued_at,
        token.expires_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// All gateway tokens, newest first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_gateway(tx: &mut TenantTx) -> Result<Vec<GatewayToken>, Error> {
    let rows = sqlx::query_as!(
        GatewayRow,
        r#"select t.token_id as "id: TokenId", t.user_id as "user: UserId", t.title, t.scope as "scope: Json<TokenScope>",
               t.issued_by as "issued_by: UserId", t.issued_at, t.expires_at, t.revoked_at, u.used_at as "last_used_at?"
           from gateway_tokens t left join token_last_used u on u.tenant_id = t.tenant_id and u.token_id = t.token_id
           order by t.issued_at desc, t.token_id desc"#
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(GatewayToken::from).collect())
}

/// A person's gateway tokens, newest first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_gateway_of(tx: &mut TenantTx, user: UserId) -> Result<Vec<GatewayToken>, Error> {
    let rows = sqlx::query_as!(
        GatewayRow,
        r#"select t.token_id as "id: TokenId", t.user_id as "user: UserId", t.title, t.scope as "scope: Json<TokenScope>",
               t.issued_by as "issued_by: UserId", t.issued_at, t.expires_at, t.revoked_at, u.used_at as "last_used_at?"
           from gateway_tokens t left join token_last_used u on u.tenant_id = t.tenant_id and u.token_id = t.token_id
           where t.user_id = $1 order by t.issued_at desc, t.token_id desc"#,
        user.uuid(),
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(GatewayToken::from).collect())
}

/// One gateway token, locked until the transaction ends.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_gateway(tx: &mut TenantTx, token: TokenId) -> Result<Option<GatewayToken>, Error> {
    let row = sqlx::query_as!(
        GatewayRow,
        r#"select t.token_id as "id: TokenId", t.user_id as "user: UserId", t.title, t.scope as "scope: Json<TokenScope>",
               t.issued_by as "issued_by: UserId", t.issued_at, t.expires_at, t.revoked_at, u.used_at as "last_used_at?"
           from gateway_tokens t left join token_last_used u on u.tenant_id = t.tenant_id and u.token_id = t.token_id
           where t.token_id = $1 for update of t"#,
        token.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(GatewayToken::from))
}

/// Revokes a gateway token; when it was revoked before, that stays.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn revoke_gateway(tx: &mut TenantTx, token: TokenId, at: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!(
        "update gateway_tokens set revoked_at = coalesce(revoked_at, $2) where token_id = $1",
        token.uuid(),
        at
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

struct GatewayRow {
    id: TokenId,
    user: UserId,
    title: String,
    scope: Json<TokenScope>,
    issued_by: UserId,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl From<GatewayRow> for GatewayToken {
    fn from(row: GatewayRow) -> Self {
        Self {
            id: row.id,
            user: row.user,
            title: row.title,
            scope: row.scope.0,
            issued_by: row.issued_by,
            issued_at: row.issued_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        }
    }
}
