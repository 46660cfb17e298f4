//! Credentials over HTTP: values come in and never go out.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use domain::snapshot::CredentialStore;
use domain::{Clock, CredentialId, Permission, Secret, ServerId, UserId};
use secrets::StoreError;
use serde::{Deserialize, Serialize};
use store::credentials::{self, Stored};
use store::servers;
use utoipa::ToSchema;

use super::actions::{self, CredentialError};
use super::{Needs, header};
use crate::access::{Can, Permitted, may};
use crate::input::{At, Body};
use crate::problem::{Problem, causes};
use crate::servers::ServerPath;
use crate::tenants::TenantPath;

/// A server's credential; never its value.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Credential {
    id: CredentialId,
    /// `bearer` or `header`.
    #[schema(value_type = String)]
    kind: &'static str,
    /// The header it goes into, for kind `header`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Counts how often it was replaced.
    version: u64,
    /// Where it rests: `sealed` or `vault`.
    #[schema(value_type = String)]
    store: &'static str,
    changed_at: DateTime<Utc>,
    changed_by: UserId,
}

/// Shows what kind of credential a server has.
#[utoipa::path(get, path = "/tenants/{tenant}/servers/{server}/credential", tag = "credentials",
    params(TenantPath, ServerPath), responses((status = 200, body = Credential), (status = "4XX", body = Problem)))]
pub(super) async fn get(can: Can<may::ViewServers>, At(path): At<ServerPath>) -> Result<Json<Credential>, Problem> {
    let mut tx = can.begin().await?;
    servers::find(&mut tx, path.server).await?.ok_or_else(Problem::not_found)?;
    let stored = credentials::find(&mut tx, path.server).await?.ok_or_else(Problem::not_found)?;
    Ok(Json(stored.into()))
}

/// A credential with its value.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub(crate) enum SetCredential {
    /// Sent as `Authorization: Bearer …`.
    Bearer {
        /// Visible ASCII, at most 8 KiB.
        #[schema(value_type = String, write_only)]
        value: Secret<String>,
    },
    /// Sent in a header of the server's own.
    Header {
        /// Not one of the transport's, of MCP's or of proxies'.
        name: String,
        /// Visible ASCII, at most 8 KiB.
        #[schema(value_type = String, write_only)]
        value: Secret<String>,
    },
}

/// Sets or replaces a server's credential.
#[utoipa::path(put, path = "/tenants/{tenant}/servers/{server}/credential", tag = "credentials",
    params(TenantPath, ServerPath), request_body = SetCredential,
    responses((status = 200, body = Credential), (status = "4XX", body = Problem)))]
pub(super) async fn set(
    State(needs): State<Needs>,
    can: Can<may::ManageCredentials>,
    At(path): At<ServerPath>,
    Body(wanted): Body<SetCredential>,
) -> Result<Json<Credential>, Problem> {
    let checked = checked(wanted)?;
    Ok(Json(give(&needs, &can, path.server, checked).await?.into()))
}

/// A credential that can be sent: its header, where it is not a bearer token, and its value.
pub(crate) type Checked = (Option<String>, Secret<String>);

/// Sets a server's credential to a value that was checked.
pub(crate) async fn give<P: Permitted>(
    needs: &Needs,
    can: &Can<P>,
    server: ServerId,
    (name, value): Checked,
) -> Result<Stored, Problem> {
    can.also(Permission::ManageCredentials)?;
    let author = can.author(&needs.clock);
    let before = actions::look(&mut can.begin().await?, &needs.master, server).await?;
    let place = actions::put(&needs.store, &author, &before, &value).await?;
    let mut tx = can.begin().await?;
    let stored = actions::set(&mut tx, &author, &before, (name, place)).await?;
    tx.commit().await?;
    Ok(stored)
}

/// The header, if it is one of the server's own, and the value: what can be sent as it is.
pub(crate) fn checked(wanted: SetCredential) -> Result<Checked, Problem> {
    let (name, value) = match wanted {
        SetCredential::Bearer { value } => (None, value),
        SetCredential::Header { name, value } => {
            let name = header::checked_name(&name).ok_or_else(|| {
                Problem::invalid("name", "Sluice or MCP sets this header. Name one that only this server reads.")
            })?;
            (Some(name), value)
        }
    };
    if !header::is_value(value.expose()) {
        return Err(Problem::invalid("value", "Use 1 to 8192 visible ASCII characters, without spaces at the ends."));
    }
    Ok((name, value))
}

/// Removes a server's credential.
#[utoipa::path(delete, path = "/tenants/{tenant}/servers/{server}/credential", tag = "credentials",
    params(TenantPath, ServerPath), responses((status = 204), (status = "4XX", body = Problem)))]
pub(super) async fn remove(
    State(store): State<secrets::Store>,
    State(clock): State<Clock>,
    can: Can<may::ManageCredentials>,
    At(path): At<ServerPath>,
) -> Result<StatusCode, Problem> {
    let mut tx = can.begin().await?;
    let place = actions::remove(&mut tx, &can.author(&clock), path.server).await?;
    tx.commit().await?;
    actions::forget(&store, can.actor().tenant(), &place).await;
    Ok(StatusCode::NO_CONTENT)
}

impl From<CredentialError> for Problem {
    fn from(error: CredentialError) -> Self {
        match error {
            CredentialError::NotFound => Self::not_found(),
            CredentialError::ChangedMeanwhile | CredentialError::Store(StoreError::Conflict) => {
                Self::new(StatusCode::CONFLICT, "changed-meanwhile", "Somebody changed it since you read it")
                    .detail("the credential was set at the same time: look at it, then set yours again")
            }
            CredentialError::Store(error) => {
                tracing::error!(%error, "a credential could not be stored");
                Self::unavailable("the store of credentials did not take it").unchanged()
            }
            CredentialError::Key(error) => {
                tracing::error!(error = %causes(&error), "a tenant's key does not open: is this the right master key?");
                Self::internal()
            }
            CredentialError::Database(error) => error.into(),
        }
    }
}

impl From<Stored> for Credential {
    fn from(stored: Stored) -> Self {
        let store = match stored.place.store {
            CredentialStore::Sealed { .. } => "sealed",
            CredentialStore::Vault { .. } => "vault",
        };
        Self {
            id: stored.place.id,
            kind: if stored.header.is_some() { "header" } else { "bearer" },
            name: stored.header,
            version: stored.place.version,
            store,
            changed_at: stored.changed_at,
            changed_by: stored.changed_by,
        }
    }
}
