//! What we present to upstream servers: where the value rests, never the value.

use chrono::{DateTime, Utc};
use domain::snapshot::CredentialStore;
use domain::{Credential, CredentialId, CredentialPlace, ServerId, UserId};

use crate::error::read;
use crate::{Error, TenantTx};

/// What is presented to one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// To which server.
    pub server: ServerId,
    /// The header it goes into; none: `Authorization: Bearer …`.
    pub header: Option<String>,
    /// Where the value rests.
    pub place: CredentialPlace,
    /// When it was set.
    pub changed_at: DateTime<Utc>,
    /// Who set it.
    pub changed_by: UserId,
}

impl From<Stored> for Credential {
    fn from(stored: Stored) -> Self {
        match stored.header {
            None => Self::Bearer { place: stored.place },
            Some(name) => Self::Header { name, place: stored.place },
        }
    }
}

/// Sets or replaces a server's credential.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn set(tx: &mut TenantTx, credential: &Stored) -> Result<(), Error> {
    let (store, place) = match &credential.place.store {
        CredentialStore::Sealed { envelope } => ("sealed", envelope),
        CredentialStore::Vault { path } => ("vault", path),
    };
    sqlx::query!(
        "insert into credentials (credential_id, server_id, kind, header_name, version, store, place, changed_at, changed_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
         on conflict on constraint credentials_server_id_key do update
         set credential_id = $1, kind = $3, header_name = $4, version = $5, store = $6, place = $7, changed_at = $8, changed_by = $9",
        credential.place.id.uuid(),
        credential.server.uuid(),
        if credential.header.is_some() { "header" } else { "bearer" },
        credential.header,
        credential.place.version.cast_signed(),
        store,
        place,
        credential.changed_at,
        credential.changed_by.uuid(),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A server's credential.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut TenantTx, server: ServerId) -> Result<Option<Stored>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select credential_id as "id: CredentialId", server_id as "server: ServerId", header_name, version, store, place,
               changed_at, changed_by as "changed_by: UserId"
           from credentials where server_id = $1"#,
        server.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::read).transpose()
}

/// The credentials of all servers, in no order.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut TenantTx) -> Result<Vec<Stored>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select credential_id as "id: CredentialId", server_id as "server: ServerId", header_name, version, store, place,
               changed_at, changed_by as "changed_by: UserId"
           from credentials"#
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// Removes a server's credential; whether there was one.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn remove(tx: &mut TenantTx, server: ServerId) -> Result<bool, Error> {
    let removed =
        sqlx::query!("delete from credentials where server_id = $1", server.uuid()).execute(tx.connection()).await?;
    Ok(removed.rows_affected() > 0)
}

struct Row {
    id: CredentialId,
    server: ServerId,
    header_name: Option<String>,
    version: i64,
    store: String,
    place: String,
    changed_at: DateTime<Utc>,
    changed_by: UserId,
}

impl Row {
    fn read(self) -> Result<Stored, Error> {
        let store = match self.store.as_str() {
            "sealed" => Some(CredentialStore::Sealed { envelope: self.place }),
            "vault" => Some(CredentialStore::Vault { path: self.place }),
            _ => None,
        };
        let store = read("credentials.store", store)?;
        Ok(Stored {
            server: self.server,
            header: self.header_name,
            place: CredentialPlace { id: self.id, version: self.version.cast_unsigned(), store },
            changed_at: self.changed_at,
            changed_by: self.changed_by,
        })
    }
}
