//! Tenants over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::snapshot::Prefix;
use domain::{Clock, Role, Slug, TenantId};
use serde::{Deserialize, Serialize};
use store::tenants::{AddError, Settings};
use url::Url;
use utoipa::{IntoParams, ToSchema};

use super::Needs;
use super::actions::{self, CreateError, NewTenant, QuotaError};
use crate::access::{Actor, Can, may};
use crate::endpoint;
use crate::input::{Body, check_title};
use crate::problem::Problem;
use crate::recorded::Author;

/// The tenant a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "read by `Can`; here for the API's description")]
pub(crate) struct TenantPath {
    /// Its id, or its slug. Only the token's own tenant is found.
    tenant: String,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Tenant {
    id: TenantId,
    slug: Slug,
    /// Its name for people.
    title: String,
    /// For how long, in seconds, a node that has lost touch serves people it knows.
    blind_max_s: u32,
    /// When a server's alias stands before a tool's name.
    prefix: Prefix,
    /// The number of its present configuration.
    revision: u64,
    /// What MCP clients connect to.
    mcp_url: Url,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTenant {
    /// Its name in URLs, chosen once.
    slug: Slug,
    /// Its name for people.
    title: String,
    /// What it calls you.
    owner_name: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CreatedTenant {
    tenant: Tenant,
    /// Your API token in it. It is shown here and never again.
    api_token: String,
}

/// Makes a tenant.
///
/// The caller, who must be an owner already and hold a token that nobody else issued, becomes its owner, and gets an API token in it: a token is good in one tenant only.
#[utoipa::path(post, path = "/tenants", tag = "tenants", request_body = CreateTenant,
    responses((status = 201, body = CreatedTenant), (status = "4XX", body = Problem)))]
pub(super) async fn create(
    State(needs): State<Needs>,
    actor: Actor,
    Body(new): Body<CreateTenant>,
) -> Result<(StatusCode, Json<CreatedTenant>), Problem> {
    if actor.role() != Role::Owner {
        // An admin may issue tokens of others, and must not make tenants in their name.
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-permitted", "Your role does not allow this")
            .detail("only an owner of a tenant makes another one"));
    }
    check_title("title", &new.title, 100)?;
    check_title("owner_name", &new.owner_name, 100)?;
    let author = Author { user: actor.user(), actor: actor.recorded(), clock: needs.clock.clone() };
    let mut platform = actor.begin_platform(&needs.access).await?;
    if actor.issued_by() != Some(actor.user()) {
        // Whoever adds people and issues their tokens would have as many tenants as people, and use up theirs.
        return Err(Problem::new(StatusCode::FORBIDDEN, "not-permitted", "This token does not allow this")
            .detail("somebody else issued this API token: only with one of their own does a person make a tenant"));
    }
    actions::check_quota(&mut platform, actor.user(), needs.tenants_per_person).await?;
    let new = NewTenant { slug: new.slug, title: new.title, owner_name: new.owner_name };
    let (created, api_token) = actions::create(platform, &needs.master, &author, new).await?;
    let tenant = shown(&needs.gateway_url, (created.tenant, created.slug), created.settings, 1);
    Ok((StatusCode::CREATED, Json(CreatedTenant { tenant, api_token: api_token.expose().to_owned() })))
}

impl From<QuotaError> for Problem {
    fn from(error: QuotaError) -> Self {
        match error {
            QuotaError::Reached(_) => {
                Self::new(StatusCode::CONFLICT, "limit-reached", "You have made as many tenants as you may")
                    .detail(format!("{error}: ask whoever runs this deployment"))
            }
            QuotaError::Database(error) => error.into(),
        }
    }
}

impl From<CreateError> for Problem {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Add(AddError::SlugTaken) => {
                Self::new(StatusCode::CONFLICT, "slug-taken", "This slug is taken").detail("choose another one")
            }
            CreateError::Add(AddError::Database(error)) | CreateError::Database(error) => error.into(),
        }
    }
}

/// Shows the tenant.
#[utoipa::path(get, path = "/tenants/{tenant}", tag = "tenants", params(TenantPath),
    responses((status = 200, body = Tenant), (status = "4XX", body = Problem)))]
pub(super) async fn get(State(needs): State<Needs>, can: Can<may::ViewTenant>) -> Result<Json<Tenant>, Problem> {
    let mut tx = can.begin().await?;
    let (settings, revision) = store::tenants::get_settings(&mut tx).await?;
    let named = (can.actor().tenant(), can.actor().slug().clone());
    Ok(Json(shown(&needs.gateway_url, named, settings, revision)))
}

/// What to change; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeTenant {
    title: Option<String>,
    /// 0 to 60.
    #[schema(minimum = 0, maximum = 60)]
    blind_max_s: Option<u32>,
    prefix: Option<Prefix>,
}

/// Changes what the tenant says about itself.
#[utoipa::path(patch, path = "/tenants/{tenant}", tag = "tenants", params(TenantPath), request_body = ChangeTenant,
    responses((status = 200, body = Tenant), (status = "4XX", body = Problem)))]
pub(super) async fn change(
    State(needs): State<Needs>,
    State(clock): State<Clock>,
    can: Can<may::ManageTenant>,
    Body(wanted): Body<ChangeTenant>,
) -> Result<Json<Tenant>, Problem> {
    let mut tx = can.begin().await?;
    let (mut settings, _) = store::tenants::lock_settings(&mut tx).await?;
    if let Some(title) = wanted.title {
        check_title("title", &title, 100)?;
        settings.title = title;
    }
    if let Some(seconds) = wanted.blind_max_s {
        if seconds > 60 {
            return Err(Problem::invalid("blind_max_s", "0 to 60"));
        }
        settings.blind_max_s = seconds;
    }
    settings.prefix = wanted.prefix.unwrap_or(settings.prefix);
    actions::change(&mut tx, &can.author(&clock), &settings).await?;
    let (settings, revision) = store::tenants::get_settings(&mut tx).await?;
    tx.commit().await?;
    let named = (can.actor().tenant(), can.actor().slug().clone());
    Ok(Json(shown(&needs.gateway_url, named, settings, revision)))
}

fn shown(gateway: &Url, (id, slug): (TenantId, Slug), settings: Settings, revision: u64) -> Tenant {
    let mcp_url = endpoint::of(gateway, &slug);
    let Settings { title, blind_max_s, prefix } = settings;
    Tenant { id, slug, title, blind_max_s, prefix, revision, mcp_url }
}
