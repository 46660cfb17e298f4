//! Tokens over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::{Clock, MembershipId, Permission, TokenId, TokenScope, UserId};
use serde::{Deserialize, Serialize};
use store::tokens;
use utoipa::{IntoParams, ToSchema};

use super::actions::{self, LIFE_MAX_DAYS, TokenError, Wanted};
use crate::access::{Can, may};
use crate::input::{At, Body, check_title};
use crate::problem::Problem;
use crate::tenants::TenantPath;

/// The token a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct TokenPath {
    token: TokenId,
}

/// A gateway token; never the token itself.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GatewayToken {
    id: TokenId,
    /// Whose calls are made with it.
    user: UserId,
    title: String,
    scope: TokenScope,
    issued_by: UserId,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<DateTime<Utc>>,
    /// At most a minute late.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GatewayTokens {
    tokens: Vec<GatewayToken>,
}

/// Lists gateway tokens: all where the role may see them, otherwise the caller's own.
#[utoipa::path(get, path = "/tenants/{tenant}/gateway-tokens", tag = "tokens", params(TenantPath),
    responses((status = 200, body = GatewayTokens), (status = "4XX", body = Problem)))]
pub(super) async fn list_gateway(can: Can<may::ViewTenant>) -> Result<Json<GatewayTokens>, Problem> {
    let mut tx = can.begin().await?;
    let found = if can.actor().role().allows(Permission::ViewTokens) {
        tokens::list_gateway(&mut tx).await?
    } else {
        tokens::list_gateway_of(&mut tx, can.actor().user()).await?
    };
    Ok(Json(GatewayTokens { tokens: found.into_iter().map(GatewayToken::from).collect() }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IssueGatewayToken {
    title: String,
    /// For whom; the caller, when left out.
    member: Option<MembershipId>,
    /// What it may reach at most: everything, when left out.
    #[serde(default)]
    scope: TokenScope,
    /// For how long it is good, 1 to 365 days.
    #[schema(minimum = 1, maximum = 365)]
    days: u32,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IssuedGatewayToken {
    /// The token, `slc_…`. It is shown here and never again.
    secret: String,
    token: GatewayToken,
}

/// Issues a gateway token.
#[utoipa::path(post, path = "/tenants/{tenant}/gateway-tokens", tag = "tokens", params(TenantPath),
    request_body = IssueGatewayToken, responses((status = 201, body = IssuedGatewayToken), (status = "4XX", body = Problem)))]
pub(super) async fn issue_gateway(
    State(clock): State<Clock>,
    can: Can<may::OwnTokens>,
    Body(new): Body<IssueGatewayToken>,
) -> Result<(StatusCode, Json<IssuedGatewayToken>), Problem> {
    let wanted = Wanted { member: new.member, title: checked(new.title)?, days: checked_days(new.days)? };
    let mut tx = can.begin().await?;
    let issued = actions::issue_gateway(&mut tx, &can.author(&clock), can.actor().role(), wanted, new.scope).await;
    let (token, text) = issued?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(IssuedGatewayToken { secret: text.expose().to_owned(), token: token.into() })))
}

/// Revokes a gateway token; nodes refuse it within a second.
#[utoipa::path(delete, path = "/tenants/{tenant}/gateway-tokens/{token}", tag = "tokens", params(TenantPath, TokenPath),
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn revoke_gateway(
    State(clock): State<Clock>,
    can: Can<may::ViewTenant>,
    At(path): At<TokenPath>,
) -> Result<StatusCode, Problem> {
    let mut tx = can.begin().await?;
    actions::revoke_gateway(&mut tx, &can.author(&clock), can.actor().role(), path.token).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An API token; never the token itself.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiToken {
    id: TokenId,
    /// As whom its holder acts.
    user: UserId,
    title: String,
    /// Absent: it was issued before this was kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_by: Option<UserId>,
    issued_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<DateTime<Utc>>,
    /// At most a minute late.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_at: Option<DateTime<Utc>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiTokens {
    tokens: Vec<ApiToken>,
}

/// Lists API tokens: all where the role may see them, otherwise the caller's own.
#[utoipa::path(get, path = "/tenants/{tenant}/api-tokens", tag = "tokens", params(TenantPath),
    responses((status = 200, body = ApiTokens), (status = "4XX", body = Problem)))]
pub(super) async fn list_api(can: Can<may::ViewTenant>) -> Result<Json<ApiTokens>, Problem> {
    let mut tx = can.begin().await?;
    let found = if can.actor().role().allows(Permission::ViewTokens) {
        tokens::list_api(&mut tx).await?
    } else {
        tokens::list_api_of(&mut tx, can.actor().user()).await?
    };
    Ok(Json(ApiTokens { tokens: found.into_iter().map(ApiToken::from).collect() }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IssueApiToken {
    title: String,
    /// For whom; the caller, when left out. Whoever holds it acts as this member.
    member: Option<MembershipId>,
    /// For how long it is good, 1 to 365 days.
    #[schema(minimum = 1, maximum = 365)]
    days: u32,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct IssuedApiToken {
    /// The token, `sla_…`. It is shown here and never again.
    secret: String,
    token: ApiToken,
}

/// Issues an API token.
#[utoipa::path(post, path = "/tenants/{tenant}/api-tokens", tag = "tokens", params(TenantPath),
    request_body = IssueApiToken, responses((status = 201, body = IssuedApiToken), (status = "4XX", body = Problem)))]
pub(super) async fn issue_api(
    State(clock): State<Clock>,
    can: Can<may::OwnTokens>,
    Body(new): Body<IssueApiToken>,
) -> Result<(StatusCode, Json<IssuedApiToken>), Problem> {
    let wanted = Wanted { member: new.member, title: checked(new.title)?, days: checked_days(new.days)? };
    let mut tx = can.begin().await?;
    let issued = actions::issue_api_for(&mut tx, &can.author(&clock), can.actor(), wanted).await;
    let (token, text) = issued?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(IssuedApiToken { secret: text.expose().to_owned(), token: token.into() })))
}

/// Revokes an API token: one of the caller's, the present one too, or another's where the role allows it.
#[utoipa::path(delete, path = "/tenants/{tenant}/api-tokens/{token}", tag = "tokens", params(TenantPath, TokenPath),
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn revoke_api(
    State(clock): State<Clock>,
    can: Can<may::ViewTenant>,
    At(path): At<TokenPath>,
) -> Result<StatusCode, Problem> {
    let mut tx = can.begin().await?;
    actions::revoke_api(&mut tx, &can.author(&clock), can.actor().role(), path.token).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<TokenError> for Problem {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::NotPermitted(permission) => Self::not_permitted(permission),
            TokenError::NoSuchMember => Self::invalid("member", "there is no such member"),
            TokenError::CallsNothing => Self::invalid("member", "this member's role calls no tools"),
            TokenError::NoSuchServer(id) => Self::invalid("scope.servers", format!("there is no server `{id}`")),
            TokenError::NoSuchTool(id) => Self::invalid("scope.tools", format!("there is no live tool `{id}`")),
            TokenError::TooMany => Self::new(StatusCode::CONFLICT, "too-many-tokens", "There are too many tokens")
                .detail("revoke some of this person's tokens first"),
            TokenError::NotFound => Self::not_found(),
            TokenError::Database(error) => error.into(),
        }
    }
}

pub(super) fn checked(title: String) -> Result<String, Problem> {
    check_title("title", &title, 100).map(|()| title)
}

pub(super) fn checked_days(days: u32) -> Result<u32, Problem> {
    if (1..=LIFE_MAX_DAYS).contains(&days) { Ok(days) } else { Err(Problem::invalid("days", "1 to 365")) }
}

impl From<tokens::GatewayToken> for GatewayToken {
    fn from(token: tokens::GatewayToken) -> Self {
        let tokens::GatewayToken { id, user, title, scope, issued_by, issued_at, expires_at, revoked_at, last_used_at } =
            token;
        Self { id, user, title, scope, issued_by, issued_at, expires_at, revoked_at, last_used_at }
    }
}

impl From<tokens::ApiToken> for ApiToken {
    fn from(token: tokens::ApiToken) -> Self {
        let tokens::ApiToken { id, user, title, issued_by, issued_at, expires_at, revoked_at, last_used_at } = token;
        Self { id, user, title, issued_by, issued_at, expires_at, revoked_at, last_used_at }
    }
}
