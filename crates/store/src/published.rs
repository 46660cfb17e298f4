//! What is published, as it was signed: configurations and token records. Redis is refilled from here by copying.

use chrono::{DateTime, Utc};
use domain::projection::{IndexEntry, TokenRecord};
use domain::{GroupName, Principal, Role, Slug, TenantId, TokenDigest, TokenId, TokenScope, UserId};
use sqlx::types::Json;

use crate::error::read;
use crate::{Error, PlatformTx, TenantTx};

/// A tenant's configuration, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name in URLs.
    pub slug: Slug,
    /// Orders first.
    pub epoch: u64,
    /// Orders second.
    pub revision: u64,
    /// The number of the publication.
    pub change: u64,
    /// Of the envelope's body, hexadecimal.
    pub sha256: String,
    /// Header, signature and body.
    pub envelope: Vec<u8>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Keeps what is published of a tenant from now on; a refusal of an earlier configuration is forgotten. An older one
/// never replaces a newer.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn put(tx: &mut PlatformTx, published: &Published) -> Result<(), Error> {
    sqlx::query!(
        "insert into published (tenant_id, slug, epoch, revision, change, sha256, envelope, published_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)
         on conflict (tenant_id) do update set slug = excluded.slug, epoch = excluded.epoch, revision = excluded.revision,
             change = excluded.change, sha256 = excluded.sha256, envelope = excluded.envelope,
             published_at = excluded.published_at
         where (published.epoch, published.revision) <= (excluded.epoch, excluded.revision)",
        published.tenant.uuid(),
        published.slug.as_str(),
        published.epoch.cast_signed(),
        published.revision.cast_signed(),
        published.change.cast_signed(),
        published.sha256,
        published.envelope,
        published.at,
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!("delete from publish_refusals where tenant_id = $1", published.tenant.uuid())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Notes why a tenant's present configuration is not published.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn refuse(tx: &mut PlatformTx, tenant: TenantId, refusal: &Refusal) -> Result<(), Error> {
    sqlx::query!(
        "insert into publish_refusals (tenant_id, revision, reason, at) values ($1, $2, $3, $4)
         on conflict (tenant_id) do update set revision = excluded.revision, reason = excluded.reason, at = excluded.at",
        tenant.uuid(),
        refusal.revision.cast_signed(),
        refusal.reason,
        refusal.at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The tenants that go on with what was published of them earlier, because their present configuration is refused.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn refused(tx: &mut PlatformTx) -> Result<Vec<TenantId>, Error> {
    let rows = sqlx::query_scalar!(
        r#"select tenant_id as "tenant: TenantId" from publish_refusals join published using (tenant_id) order by tenant_id"#
    );
    Ok(rows.fetch_all(tx.connection()).await?)
}

/// What is published of all tenants, in their order.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn index(tx: &mut PlatformTx) -> Result<Vec<IndexEntry>, Error> {
    let rows = sqlx::query!(
        r#"select tenant_id as "tenant_id: TenantId", revision, sha256 from published order by tenant_id"#
    )
    .fetch_all(tx.connection())
    .await?;
    let entries = rows.into_iter().map(|row| IndexEntry {
        tenant: row.tenant_id,
        revision: row.revision.cast_unsigned(),
        sha256: row.sha256,
    });
    Ok(entries.collect())
}

/// A tenant's configuration as it was signed.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut PlatformTx, tenant: TenantId) -> Result<Option<Published>, Error> {
    let row = sqlx::query!(
        "select slug, epoch, revision, change, sha256, envelope, published_at from published where tenant_id = $1",
        tenant.uuid()
    )
    .fetch_optional(tx.connection())
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Published {
        tenant,
        slug: read("published.slug", row.slug.parse().ok())?,
        epoch: row.epoch.cast_unsigned(),
        revision: row.revision.cast_unsigned(),
        change: row.change.cast_unsigned(),
        sha256: row.sha256,
        envelope: row.envelope,
        at: row.published_at,
    }))
}

/// How far a tenant's configuration has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The number of the present configuration.
    pub revision: u64,
    /// What is published, if anything is.
    pub published: Option<Publication>,
    /// Why the present one is not.
    pub refusal: Option<Refusal>,
}

/// A publication's place in the order of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Orders first.
    pub epoch: u64,
    /// The published configuration's number.
    pub revision: u64,
    /// The publication's number over all tenants.
    pub change: u64,
    /// When.
    pub at: DateTime<Utc>,
}

/// Why a configuration is not published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Which configuration.
    pub revision: u64,
    /// What is wrong, for people.
    pub reason: String,
    /// When it was found.
    pub at: DateTime<Utc>,
}

/// How far the transaction's tenant's configuration has come.
///
/// # Errors
/// [`Error`] when the database failed, or the tenant has no settings.
pub async fn status(tx: &mut TenantTx) -> Result<Status, Error> {
    let revision =
        sqlx::query_scalar!("select revision from tenant_settings").fetch_one(tx.connection()).await?.cast_unsigned();
    let published = sqlx::query!("select epoch, revision, change, published_at from published")
        .fetch_optional(tx.connection())
        .await?
        .map(|row| Publication {
            epoch: row.epoch.cast_unsigned(),
            revision: row.revision.cast_unsigned(),
            change: row.change.cast_unsigned(),
            at: row.published_at,
        });
    let refusal = sqlx::query!("select revision, reason, at from publish_refusals")
        .fetch_optional(tx.connection())
        .await?
        .map(|row| Refusal { revision: row.revision.cast_unsigned(), reason: row.reason, at: row.at });
    Ok(Status { revision, published, refusal })
}

/// What a gateway token is worth at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenState {
    /// Its digest.
    pub digest: TokenDigest,
    /// What nodes are to know of it.
    pub record: TokenRecord,
    /// From when on it is worth nothing anyway.
    pub expires_at: DateTime<Utc>,
}

/// What a gateway token of the transaction's tenant is worth; nothing when it was revoked or its person is no member.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_token(tx: &mut TenantTx, token: TokenId) -> Result<Option<TokenState>, Error> {
    let row = sqlx::query!(
        r#"select t.digest, t.user_id as "user: UserId", t.scope as "scope: Json<TokenScope>", t.issued_at, t.expires_at,
               t.revoked_at, m.role as "role?", m.groups as "groups?"
           from gateway_tokens t
           left join memberships m on m.tenant_id = t.tenant_id and m.user_id = t.user_id
           where t.token_id = $1"#,
        token.uuid()
    )
    .fetch_optional(tx.connection())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let digest = TokenDigest(read("gateway_tokens.digest", row.digest.try_into().ok())?);
    let expires_at = row.expires_at;
    let (Some(role), None) = (row.role, row.revoked_at) else {
        return Ok(Some(TokenState { digest, record: TokenRecord::Revoked, expires_at }));
    };
    let groups = row.groups.unwrap_or_default();
    let groups: Option<_> = groups.iter().map(|group| group.parse::<GroupName>().ok()).collect();
    let principal = Principal {
        tenant: tx.tenant(),
        user: row.user,
        token,
        role: read("memberships.role", Role::find(&role))?,
        groups: read("memberships.groups", groups)?,
        scope: row.scope.0,
        issued_at: row.issued_at,
        expires_at,
    };
    Ok(Some(TokenState { digest, record: TokenRecord::Live(principal), expires_at }))
}

/// A token record, signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedToken {
    /// Whose it is.
    pub tenant: TenantId,
    /// The token.
    pub token: TokenId,
    /// Its digest.
    pub digest: TokenDigest,
    /// Header, signature and body.
    pub envelope: Vec<u8>,
    /// When it can be forgotten.
    pub expires_at: DateTime<Utc>,
}

/// Keeps a token's record.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn put_token(tx: &mut PlatformTx, token: &PublishedToken) -> Result<(), Error> {
    sqlx::query!(
        "insert into published_tokens (tenant_id, token_id, digest, envelope, expires_at) values ($1, $2, $3, $4, $5)
         on conflict (tenant_id, token_id) do update set envelope = excluded.envelope, expires_at = excluded.expires_at",
        token.tenant.uuid(),
        token.token.uuid(),
        &token.digest.0,
        token.envelope,
        token.expires_at,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Whether nodes may know a token already.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn has_token(tx: &mut PlatformTx, tenant: TenantId, token: TokenId) -> Result<bool, Error> {
    let found = sqlx::query_scalar!(
        r#"select exists (select 1 from published_tokens where tenant_id = $1 and token_id = $2) as "found!""#,
        tenant.uuid(),
        token.uuid(),
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(found)
}

/// The `limit` token records that follow one, in the order of tenants and tokens.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list_tokens(
    tx: &mut PlatformTx,
    after: Option<(TenantId, TokenId)>,
    limit: i64,
) -> Result<Vec<PublishedToken>, Error> {
    let nil = uuid::Uuid::nil();
    let (tenant, token) = after.map_or((nil, nil), |(tenant, token)| (tenant.uuid(), token.uuid()));
    let rows = sqlx::query!(
        r#"select tenant_id as "tenant: TenantId", token_id as "token: TokenId", digest, envelope, expires_at
           from published_tokens where (tenant_id, token_id) > ($1, $2) order by tenant_id, token_id limit $3"#,
        tenant,
        token,
        limit,
    )
    .fetch_all(tx.connection())
    .await?;
    let tokens = rows.into_iter().map(|row| {
        let digest = TokenDigest(read("published_tokens.digest", row.digest.try_into().ok())?);
        let (tenant, token, envelope) = (row.tenant, row.token, row.envelope);
        Ok(PublishedToken { tenant, token, digest, envelope, expires_at: row.expires_at })
    });
    tokens.collect()
}

/// Forgets the records of tokens that expired before this.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget_tokens(tx: &mut PlatformTx, before: DateTime<Utc>) -> Result<(), Error> {
    sqlx::query!("delete from published_tokens where expires_at < $1", before).execute(tx.connection()).await?;
    Ok(())
}
