//! Where a tenant's records are sent: what people set. How far each is, is in [`lanes`](crate::lanes).

use chrono::{DateTime, Utc};
use domain::snapshot::CredentialStore;
use domain::{CredentialId, CredentialPlace, DestinationId, ServerId, UserId};
use uuid::Uuid;

use crate::error::{broke, read};
use crate::{Error, TenantTx};

/// Whether records are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// A person has it wait, with its place kept.
    Paused,
    /// They are sent.
    Running,
    /// Sluice has stopped it: a person must look.
    Stopped,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Paused, Self::Running, Self::Stopped];

    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Paused => "paused",
            Self::Running => "running",
            Self::Stopped => "stopped",
        }
    }

    fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// Which records are sent: each list takes all when it is empty. A record without an effect or a server passes the list of
/// them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Kinds of records.
    pub kinds: Vec<String>,
    /// What was decided on a call.
    pub effects: Vec<String>,
    /// Which server a call was for.
    pub servers: Vec<ServerId>,
}

/// A destination as people set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Its id.
    pub id: DestinationId,
    /// What people call it.
    pub name: String,
    /// Which kind: a word of the table's check.
    pub kind: String,
    /// In which format: a word of the table's check.
    pub format: String,
    /// How it is reached, as JSON.
    pub settings: String,
    /// What is sent.
    pub wanted: Wanted,
    /// Whether what is personal in it goes along.
    pub personal: bool,
    /// Whether it is.
    pub state: State,
    /// Counts changes: who changes says which revision was seen.
    pub revision: u64,
    /// Raised when the same places would be sent as something else.
    pub shape: u64,
    /// Where its secret rests.
    pub secret: CredentialPlace,
    /// Since when.
    pub created_at: DateTime<Utc>,
    /// By whom.
    pub created_by: UserId,
    /// When it was last changed.
    pub changed_at: DateTime<Utc>,
    /// By whom.
    pub changed_by: UserId,
}

/// Why a destination was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The tenant has one of that name.
    #[error("the name is taken")]
    NameTaken,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        if broke(&error, "destinations_name_key") { Self::NameTaken } else { Self::Database(error.into()) }
    }
}

/// Adds a destination.
///
/// # Errors
/// [`WriteError`].
pub async fn add(tx: &mut TenantTx, new: &Destination) -> Result<(), WriteError> {
    let (store, place) = written(&new.secret.store);
    sqlx::query!(
        "insert into destinations (destination_id, name, kind, format, settings, kinds, effects, servers, state, secret_id,
             secret_version, secret_store, secret_place, created_at, created_by, changed_at, changed_by, personal)
         values ($1, $2, $3, $4, $5::text::jsonb, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $14, $15, $16)",
        new.id.uuid(),
        new.name,
        new.kind,
        new.format,
        new.settings,
        &new.wanted.kinds,
        &new.wanted.effects,
        &new.wanted.servers.iter().map(|server| server.uuid()).collect::<Vec<_>>(),
        new.state.as_str(),
        new.secret.id.uuid(),
        new.secret.version.cast_signed(),
        store,
        place,
        new.created_at,
        new.created_by.uuid(),
        new.personal,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Writes what may change of a destination: all but its id, its kind and who added it.
///
/// # Errors
/// [`WriteError`].
pub async fn change(tx: &mut TenantTx, new: &Destination) -> Result<(), WriteError> {
    let (store, place) = written(&new.secret.store);
    sqlx::query!(
        "update destinations set name = $2, format = $3, settings = $4::text::jsonb, kinds = $5, effects = $6, servers = $7,
             state = $8, revision = $9, shape = $10, secret_id = $11, secret_version = $12, secret_store = $13,
             secret_place = $14, changed_at = $15, changed_by = $16, personal = $17
         where destination_id = $1",
        new.id.uuid(),
        new.name,
        new.format,
        new.settings,
        &new.wanted.kinds,
        &new.wanted.effects,
        &new.wanted.servers.iter().map(|server| server.uuid()).collect::<Vec<_>>(),
        new.state.as_str(),
        new.revision.cast_signed(),
        new.shape.cast_signed(),
        new.secret.id.uuid(),
        new.secret.version.cast_signed(),
        store,
        place,
        new.changed_at,
        new.changed_by.uuid(),
        new.personal,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// A destination.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut TenantTx, id: DestinationId) -> Result<Option<Destination>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"select destination_id as "id: DestinationId", name, kind, format, settings::text as "settings!", kinds, effects,
               servers, state, revision, shape, secret_id as "secret_id: CredentialId",
               secret_version, secret_store, secret_place, created_at, created_by as "created_by: UserId", changed_at,
               changed_by as "changed_by: UserId", personal
           from destinations where destination_id = $1"#,
        id.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::read).transpose()
}

/// A destination, locked for the rest of the transaction, but for rows that only refer to it. What changes its lanes too
/// locks it first.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find_locked(tx: &mut TenantTx, id: DestinationId) -> Result<Option<Destination>, Error> {
    sqlx::query!("select from destinations where destination_id = $1 for no key update", id.uuid())
        .fetch_optional(tx.connection())
        .await?;
    find(tx, id).await
}

/// Lets nobody else add a destination of the tenant before this transaction ends.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn lock_all(tx: &mut TenantTx) -> Result<(), Error> {
    let name = format!("destinations {}", tx.tenant());
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, 0))", name).execute(tx.connection()).await?;
    Ok(())
}

/// All destinations by name.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut TenantTx) -> Result<Vec<Destination>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select destination_id as "id: DestinationId", name, kind, format, settings::text as "settings!", kinds, effects,
               servers, state, revision, shape, secret_id as "secret_id: CredentialId",
               secret_version, secret_store, secret_place, created_at, created_by as "created_by: UserId", changed_at,
               changed_by as "changed_by: UserId", personal
           from destinations order by name, destination_id"#
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// Removes a destination with all that is kept of it.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn remove(tx: &mut TenantTx, id: DestinationId) -> Result<(), Error> {
    // Lanes first: who sends holds its lane and then writes what refers to the destination.
    sqlx::query!("delete from destination_lanes where destination_id = $1", id.uuid()).execute(tx.connection()).await?;
    sqlx::query!("delete from destinations where destination_id = $1", id.uuid()).execute(tx.connection()).await?;
    Ok(())
}

fn written(store: &CredentialStore) -> (&'static str, &str) {
    match store {
        CredentialStore::Sealed { envelope } => ("sealed", envelope),
        CredentialStore::Vault { path } => ("vault", path),
    }
}

struct Row {
    id: DestinationId,
    name: String,
    kind: String,
    format: String,
    settings: String,
    kinds: Vec<String>,
    effects: Vec<String>,
    servers: Vec<Uuid>,
    state: String,
    revision: i64,
    shape: i64,
    secret_id: CredentialId,
    secret_version: i64,
    secret_store: String,
    secret_place: String,
    created_at: DateTime<Utc>,
    created_by: UserId,
    changed_at: DateTime<Utc>,
    changed_by: UserId,
    personal: bool,
}

impl Row {
    fn read(self) -> Result<Destination, Error> {
        let store = match self.secret_store.as_str() {
            "sealed" => Some(CredentialStore::Sealed { envelope: self.secret_place }),
            "vault" => Some(CredentialStore::Vault { path: self.secret_place }),
            _ => None,
        };
        let store = read("destinations.secret_store", store)?;
        Ok(Destination {
            id: self.id,
            name: self.name,
            kind: self.kind,
            format: self.format,
            settings: self.settings,
            wanted: Wanted {
                kinds: self.kinds,
                effects: self.effects,
                servers: self.servers.into_iter().map(ServerId::from_uuid).collect(),
            },
            personal: self.personal,
            state: read("destinations.state", State::find(&self.state))?,
            revision: self.revision.cast_unsigned(),
            shape: self.shape.cast_unsigned(),
            secret: CredentialPlace { id: self.secret_id, version: self.secret_version.cast_unsigned(), store },
            created_at: self.created_at,
            created_by: self.created_by,
            changed_at: self.changed_at,
            changed_by: self.changed_by,
        })
    }
}
