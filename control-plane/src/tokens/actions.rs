//! The rules of tokens.

use chrono::Duration;
use domain::principal::Reach;
use domain::{MembershipId, Permission, Role, ServerId, TokenId, TokenKind, TokenScope, TokenText, ToolId, UserId};
use store::people::{self, Membership};
use store::tokens::{self, ApiToken, GatewayToken};
use store::{TenantTx, servers, tools};

use crate::access::Actor;
use crate::ingest::change::Change;
use crate::recorded::Author;

/// Longest life of a token, days.
pub(crate) const LIFE_MAX_DAYS: u32 = 365;

/// Most tokens of one kind a person may hold that are neither revoked nor expired.
const HELD_MAX: usize = 100;

/// Why a token was not issued or revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// The caller may not do this for others, or for owners.
    #[error("`{}` is required", .0.as_str())]
    NotPermitted(Permission),
    /// There is no such member.
    #[error("no such member")]
    NoSuchMember,
    /// The person's role calls no tools.
    #[error("the person's role calls no tools")]
    CallsNothing,
    /// A server of the scope is not the tenant's.
    #[error("no such server")]
    NoSuchServer(ServerId),
    /// A tool of the scope is not the tenant's.
    #[error("no such tool")]
    NoSuchTool(ToolId),
    /// The person has too many.
    #[error("the person holds too many tokens")]
    TooMany,
    /// There is no such token.
    #[error("no such token")]
    NotFound,
    #[error(transparent)]
    Database(#[from] store::Error),
}

/// A token that is wanted.
#[derive(Debug)]
pub(crate) struct Wanted {
    /// For whom; none: for whoever asks.
    pub(crate) member: Option<MembershipId>,
    pub(crate) title: String,
    pub(crate) days: u32,
}

/// Issues a gateway token. `by` is the role of whoever does it.
pub(crate) async fn issue_gateway(
    tx: &mut TenantTx,
    author: &Author,
    by: Role,
    wanted: Wanted,
    scope: TokenScope,
) -> Result<(GatewayToken, TokenText), TokenError> {
    let holder = holder(tx, author, by, wanted.member).await?;
    if !holder.role.allows(Permission::CallTools) {
        return Err(TokenError::CallsNothing);
    }
    check_scope(tx, &scope).await?;
    let held = tokens::list_gateway_of(tx, holder.user).await?;
    let live = |token: &&GatewayToken| token.revoked_at.is_none() && token.expires_at > author.now();
    if held.iter().filter(live).count() >= HELD_MAX {
        return Err(TokenError::TooMany);
    }
    let text = secrets::new_token(TokenKind::Gateway);
    let token = GatewayToken {
        id: TokenId::new(&author.clock),
        user: holder.user,
        title: wanted.title,
        scope,
        issued_by: author.user,
        issued_at: author.now(),
        expires_at: author.now() + Duration::days(i64::from(wanted.days)),
        revoked_at: None,
        last_used_at: None,
    };
    tokens::add_gateway(tx, &token, secrets::token_digest(text.expose())).await?;
    let seen = serde_json::json!([token.user, token.scope, token.expires_at]);
    author.token_changed(tx, token.id, Change::new("token.issue", "gateway_token", token.id).after(&seen)).await?;
    Ok((token, text))
}

/// For whom a token is: oneself, or another where the role allows it. A token acts as its holder, so whoever may not
/// make owners may not issue an owner's.
async fn holder(
    tx: &mut TenantTx,
    author: &Author,
    by: Role,
    member: Option<MembershipId>,
) -> Result<Membership, TokenError> {
    let found = match member {
        Some(member) => people::find(tx, member).await?,
        None => people::find_user(tx, author.user).await?,
    };
    let own = found.as_ref().is_some_and(|member| member.user == author.user);
    let needed = if own { Permission::OwnTokens } else { Permission::ManageTokens };
    if !by.allows(needed) {
        return Err(TokenError::NotPermitted(needed));
    }
    let holder = found.ok_or(TokenError::NoSuchMember)?;
    if !own && holder.role == Role::Owner && !by.allows(Permission::ManageOwners) {
        return Err(TokenError::NotPermitted(Permission::ManageOwners));
    }
    Ok(holder)
}

/// Refuses a scope that names what the tenant has not.
async fn check_scope(tx: &mut TenantTx, scope: &TokenScope) -> Result<(), TokenError> {
    if let Reach::Only(wanted) = &scope.servers {
        let known: Vec<ServerId> = servers::list(tx).await?.iter().map(|server| server.id).collect();
        if let Some(unknown) = wanted.iter().find(|id| !known.contains(id)) {
            return Err(TokenError::NoSuchServer(*unknown));
        }
    }
    if let Reach::Only(wanted) = &scope.tools {
        let known: std::collections::BTreeSet<ToolId> =
            tools::list_offered(tx).await?.iter().map(|tool| tool.id).collect();
        if let Some(unknown) = wanted.difference(&known).next() {
            return Err(TokenError::NoSuchTool(*unknown));
        }
    }
    Ok(())
}

/// Revokes a gateway token: one's own, or another's where the role allows it. Done twice it is done once.
pub(crate) async fn revoke_gateway(
    tx: &mut TenantTx,
    author: &Author,
    by: Role,
    id: TokenId,
) -> Result<(), TokenError> {
    let token = tokens::find_gateway(tx, id).await?.ok_or(TokenError::NotFound)?;
    if token.user != author.user {
        check_may_revoke(by)?;
    }
    if token.revoked_at.is_some() {
        return Ok(());
    }
    tokens::revoke_gateway(tx, id, author.now()).await?;
    author.token_changed(tx, id, Change::new("token.revoke", "gateway_token", id)).await?;
    Ok(())
}

/// Issues an API token under the rules of [`issue_gateway`]. Whoever is behind the token it is asked for with is behind
/// another one of the same person too.
pub(crate) async fn issue_api_for(
    tx: &mut TenantTx,
    author: &Author,
    by: &Actor,
    wanted: Wanted,
) -> Result<(ApiToken, TokenText), TokenError> {
    let holder = holder(tx, author, by.role(), wanted.member).await?;
    let issued_by = if holder.user == author.user { by.issued_by() } else { Some(author.user) };
    let held = tokens::list_api_of(tx, holder.user).await?;
    let live = |token: &&ApiToken| token.revoked_at.is_none() && token.expires_at > author.now();
    if held.iter().filter(live).count() >= HELD_MAX {
        return Err(TokenError::TooMany);
    }
    let lasting = Duration::days(i64::from(wanted.days));
    Ok(issue_api(tx, author, (holder.user, issued_by), &wanted.title, lasting).await?)
}

/// Issues an API token without asking who may.
pub(crate) async fn issue_api(
    tx: &mut TenantTx,
    author: &Author,
    (user, issued_by): (UserId, Option<UserId>),
    title: &str,
    lasting: Duration,
) -> Result<(ApiToken, TokenText), store::Error> {
    let text = secrets::new_token(TokenKind::Api);
    let token = ApiToken {
        id: TokenId::new(&author.clock),
        user,
        title: title.to_owned(),
        issued_by,
        issued_at: author.now(),
        expires_at: author.now() + lasting,
        revoked_at: None,
        last_used_at: None,
    };
    tokens::add_api(tx, &token, secrets::token_digest(text.expose())).await?;
    let seen = serde_json::json!([token.user, token.expires_at]);
    author.noted(tx, Change::new("token.issue", "api_token", token.id).after(&seen)).await?;
    Ok((token, text))
}

/// Revokes an API token: one's own, or another's where the role allows it. Done twice it is done once.
pub(crate) async fn revoke_api(tx: &mut TenantTx, author: &Author, by: Role, id: TokenId) -> Result<(), TokenError> {
    let token = tokens::find_api(tx, id).await?.ok_or(TokenError::NotFound)?;
    if token.user != author.user {
        check_may_revoke(by)?;
        let holder = people::find_user(tx, token.user).await?;
        if holder.is_some_and(|holder| holder.role == Role::Owner) && !by.allows(Permission::ManageOwners) {
            // Whoever could revoke all of an owner's could shut the owner out.
            return Err(TokenError::NotPermitted(Permission::ManageOwners));
        }
    }
    if tokens::revoke_api(tx, id, author.now()).await? {
        author.noted(tx, Change::new("token.revoke", "api_token", id)).await?;
    }
    Ok(())
}

/// Whether a role revokes others' tokens. To whoever may not see them there are none.
fn check_may_revoke(by: Role) -> Result<(), TokenError> {
    if by.allows(Permission::ManageTokens) {
        return Ok(());
    }
    Err(if by.allows(Permission::ViewTokens) {
        TokenError::NotPermitted(Permission::ManageTokens)
    } else {
        TokenError::NotFound
    })
}
