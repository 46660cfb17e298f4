//! Policies over HTTP.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::{Clock, Permission, PolicyId, UserId};
use policy::Finding;
use serde::{Deserialize, Serialize};
use store::policies;
use utoipa::{IntoParams, ToSchema};

use super::actions::{self, PolicyError, TEXT_MAX_BYTES};
use super::check_api::{Remark, remarks};
use super::worlds;
use crate::access::{Can, may};
use crate::input::{At, Body, check_title};
use crate::problem::{Fault, Problem};
use crate::tenants::TenantPath;

/// The policy a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct PolicyPath {
    policy: PolicyId,
}

/// The version a path names.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct VersionPath {
    policy: PolicyId,
    version: u32,
}

/// A policy over all its versions.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Policy {
    id: PolicyId,
    name: String,
    /// The version in force; absent: a draft, or switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    active_version: Option<u32>,
    latest_version: u32,
    /// To be sent along with a change.
    revision: u64,
    created_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Policies {
    policies: Vec<Policy>,
}

/// One version of a policy's text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PolicyVersion {
    /// From 1.
    version: u32,
    /// Cedar.
    text: String,
    /// SHA-256 of the text, hexadecimal: records of decisions name it.
    sha256: String,
    written_at: DateTime<Utc>,
    written_by: UserId,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PolicyVersions {
    versions: Vec<PolicyVersion>,
}

/// A policy with a text that was just written.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WrittenPolicy {
    policy: Policy,
    version: PolicyVersion,
    /// What may not be meant so.
    warnings: Vec<Remark>,
}

/// Lists the policies.
#[utoipa::path(get, path = "/tenants/{tenant}/policies", tag = "policies", params(TenantPath),
    responses((status = 200, body = Policies), (status = "4XX", body = Problem)))]
pub(super) async fn list(can: Can<may::ViewPolicies>) -> Result<Json<Policies>, Problem> {
    let found = policies::list(&mut can.begin().await?).await?;
    Ok(Json(Policies { policies: found.into_iter().map(Policy::from).collect() }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddPolicy {
    name: String,
    /// One or more Cedar policies, at most 256 KiB.
    text: String,
}

/// Adds a policy; it is in force once it is activated.
///
/// The text is checked against the tenant's own tools; what is wrong is said by line and column.
#[utoipa::path(post, path = "/tenants/{tenant}/policies", tag = "policies", params(TenantPath), request_body = AddPolicy,
    responses((status = 201, body = WrittenPolicy), (status = "4XX", body = Problem)))]
pub(super) async fn add(
    State(clock): State<Clock>,
    can: Can<may::WritePolicies>,
    Body(new): Body<AddPolicy>,
) -> Result<(StatusCode, Json<WrittenPolicy>), Problem> {
    check_title("name", &new.name, 100)?;
    let warnings = checked(&can, &new.text).await?;
    let mut tx = can.begin().await?;
    let written = actions::add(&mut tx, &can.author(&clock), new.name, new.text).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(WrittenPolicy::new(written, warnings))))
}

/// Checks a text against the tenant's tools of now, holding no transaction while it is checked.
pub(super) async fn checked<P: crate::access::Permitted>(can: &Can<P>, text: &str) -> Result<Vec<Finding>, Problem> {
    if text.len() > TEXT_MAX_BYTES {
        return Err(Problem::invalid("text", format!("at most {TEXT_MAX_BYTES} bytes")));
    }
    let present = worlds::present(&mut can.begin().await?).await?;
    Ok(actions::check(text.to_owned(), present).await?)
}

/// Shows a policy.
#[utoipa::path(get, path = "/tenants/{tenant}/policies/{policy}", tag = "policies", params(TenantPath, PolicyPath),
    responses((status = 200, body = Policy), (status = "4XX", body = Problem)))]
pub(super) async fn get(can: Can<may::ViewPolicies>, At(path): At<PolicyPath>) -> Result<Json<Policy>, Problem> {
    let found = policies::find(&mut can.begin().await?, path.policy).await?;
    Ok(Json(found.ok_or_else(Problem::not_found)?.into()))
}

/// Removes a policy; one that is in force needs the right to publish.
#[utoipa::path(delete, path = "/tenants/{tenant}/policies/{policy}", tag = "policies", params(TenantPath, PolicyPath),
    responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn remove(
    State(clock): State<Clock>,
    can: Can<may::WritePolicies>,
    At(path): At<PolicyPath>,
) -> Result<StatusCode, Problem> {
    let mut tx = can.begin().await?;
    let policy = policies::find_locked(&mut tx, path.policy).await?.ok_or_else(Problem::not_found)?;
    if policy.active_version.is_some() {
        can.also(Permission::Publish)?;
    }
    actions::remove(&mut tx, &can.author(&clock), &policy).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists a policy's versions, newest first.
#[utoipa::path(get, path = "/tenants/{tenant}/policies/{policy}/versions", tag = "policies", params(TenantPath, PolicyPath),
    responses((status = 200, body = PolicyVersions), (status = "4XX", body = Problem)))]
pub(super) async fn list_versions(
    can: Can<may::ViewPolicies>,
    At(path): At<PolicyPath>,
) -> Result<Json<PolicyVersions>, Problem> {
    let mut tx = can.begin().await?;
    policies::find(&mut tx, path.policy).await?.ok_or_else(Problem::not_found)?;
    let versions = policies::list_versions(&mut tx, path.policy).await?;
    Ok(Json(PolicyVersions { versions: versions.into_iter().map(PolicyVersion::from).collect() }))
}

/// Shows one version.
#[utoipa::path(get, path = "/tenants/{tenant}/policies/{policy}/versions/{version}", tag = "policies",
    params(TenantPath, VersionPath), responses((status = 200, body = PolicyVersion), (status = "4XX", body = Problem)))]
pub(super) async fn get_version(
    can: Can<may::ViewPolicies>,
    At(path): At<VersionPath>,
) -> Result<Json<PolicyVersion>, Problem> {
    let mut tx = can.begin().await?;
    policies::find(&mut tx, path.policy).await?.ok_or_else(Problem::not_found)?;
    let found = policies::find_version(&mut tx, path.policy, path.version).await?;
    Ok(Json(found.ok_or_else(Problem::not_found)?.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WritePolicy {
    /// The revision you saw; when it is another one by now, nothing is written.
    revision: u64,
    /// One or more Cedar policies, at most 256 KiB.
    text: String,
}

/// Writes a new version of a policy's text. What is in force stays in force.
#[utoipa::path(post, path = "/tenants/{tenant}/policies/{policy}/versions", tag = "policies", params(TenantPath, PolicyPath),
    request_body = WritePolicy, responses((status = 201, body = WrittenPolicy), (status = "4XX", body = Problem)))]
pub(super) async fn write(
    State(clock): State<Clock>,
    can: Can<may::WritePolicies>,
    At(path): At<PolicyPath>,
    Body(new): Body<WritePolicy>,
) -> Result<(StatusCode, Json<WrittenPolicy>), Problem> {
    policies::find(&mut can.begin().await?, path.policy).await?.ok_or_else(Problem::not_found)?;
    let warnings = checked(&can, &new.text).await?;
    let mut tx = can.begin().await?;
    let written = actions::write(&mut tx, &can.author(&clock), (path.policy, new.revision), new.text).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(WrittenPolicy::new(written, warnings))))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ActivatePolicy {
    /// The revision you saw; when it is another one by now, nothing is changed.
    revision: u64,
    /// The version to put in force; an earlier one rolls back.
    version: u32,
}

/// Puts a version in force; an earlier one rolls back.
#[utoipa::path(post, path = "/tenants/{tenant}/policies/{policy}/activate", tag = "policies", params(TenantPath, PolicyPath),
    request_body = ActivatePolicy, responses((status = 200, body = Policy), (status = "4XX", body = Problem)))]
pub(super) async fn activate(
    State(clock): State<Clock>,
    can: Can<may::Publish>,
    At(path): At<PolicyPath>,
    Body(wanted): Body<ActivatePolicy>,
) -> Result<Json<Policy>, Problem> {
    let found = policies::find_version(&mut can.begin().await?, path.policy, wanted.version).await?;
    // Tools may have changed since it was written.
    checked(&can, &found.ok_or_else(Problem::not_found)?.text).await?;
    let mut tx = can.begin().await?;
    let named = (path.policy, wanted.revision);
    let policy = actions::activate(&mut tx, &can.author(&clock), named, Some(wanted.version)).await?;
    tx.commit().await?;
    Ok(Json(policy.into()))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeactivatePolicy {
    /// The revision you saw; when it is another one by now, nothing is changed.
    revision: u64,
}

/// Takes a policy out of force.
#[utoipa::path(post, path = "/tenants/{tenant}/policies/{policy}/deactivate", tag = "policies", params(TenantPath, PolicyPath),
    request_body = DeactivatePolicy, responses((status = 200, body = Policy), (status = "4XX", body = Problem)))]
pub(super) async fn deactivate(
    State(clock): State<Clock>,
    can: Can<may::Publish>,
    At(path): At<PolicyPath>,
    Body(wanted): Body<DeactivatePolicy>,
) -> Result<Json<Policy>, Problem> {
    let mut tx = can.begin().await?;
    let policy = actions::activate(&mut tx, &can.author(&clock), (path.policy, wanted.revision), None).await?;
    tx.commit().await?;
    Ok(Json(policy.into()))
}

impl From<PolicyError> for Problem {
    fn from(error: PolicyError) -> Self {
        match error {
            PolicyError::NotFound => Self::not_found(),
            PolicyError::ChangedMeanwhile(revision) => Self::changed_meanwhile(revision),
            PolicyError::NameTaken => Self::new(StatusCode::CONFLICT, "name-taken", "A policy of that name exists")
                .detail("choose another name"),
            PolicyError::TooMany => Self::new(StatusCode::CONFLICT, "too-many-policies", "There are too many policies")
                .detail(error.to_string()),
            PolicyError::NotChecked => {
                tracing::error!("the check of a policy's text panicked");
                Self::internal()
            }
            PolicyError::NotCompiled(why) => {
                Self::new(StatusCode::CONFLICT, "policies-do-not-fit", "The policies do not fit the tools there are")
                    .detail(why)
            }
            PolicyError::Wrong(findings) => {
                let fault = |finding: Finding| Fault {
                    field: Some("text".to_owned()),
                    line: Some(finding.line),
                    column: Some(finding.column),
                    message: finding.message,
                };
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "policy-wrong", "The policy has errors")
                    .errors(findings.into_iter().map(fault).collect())
            }
            PolicyError::Database(error) => error.into(),
        }
    }
}

impl WrittenPolicy {
    fn new((policy, version): (policies::Policy, policies::Version), warnings: Vec<Finding>) -> Self {
        Self { policy: policy.into(), version: version.into(), warnings: remarks(warnings) }
    }
}

impl From<policies::Policy> for Policy {
    fn from(policy: policies::Policy) -> Self {
        let policies::Policy { id, name, active_version, latest_version, revision, created_at } = policy;
        Self { id, name, active_version, latest_version, revision, created_at }
    }
}

impl From<policies::Version> for PolicyVersion {
    fn from(version: policies::Version) -> Self {
        let policies::Version { version, text, sha256, written_at, written_by, .. } = version;
        Self { version, text, sha256, written_at, written_by }
    }
}
