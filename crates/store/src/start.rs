//! Connecting: refuses a database role that the fence would not hold.

use std::str::FromStr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{Error, MIGRATOR};

/// Longest wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is malformed, or nobody answers there.
    #[error("can't connect to Postgres at the address in DATABASE_URL")]
    Connect(#[source] sqlx::Error),
    /// A superuser or one with BYPASSRLS sees every tenant whatever the policies say.
    #[error(
        "the database role `{role}` passes by row-level security: connect as one made with `create role … nosuperuser nobypassrls`"
    )]
    UnfencedRole {
        /// Who we connected as.
        role: String,
    },
    /// The two roles that are entered by `set local role` are missing or not granted.
    #[error("the database role `{role}` may not enter sluice_ingest and sluice_platform: see migrations/README.md")]
    MissingRoles {
        /// Who we connected as.
        role: String,
    },
    /// A migration failed.
    #[error("the migrations failed")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] Error),
}

/// Connects and checks the role. Every statement ends after 30 s, every wait for a lock after 10 s.
///
/// # Errors
/// [`StartError`] when nobody answers, or when the fence would not hold for this role.
pub async fn connect(url: &str, max_connections: u32) -> Result<PgPool, StartError> {
    let options = PgConnectOptions::from_str(url).map_err(StartError::Connect)?.options([
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "60s"),
    ]);
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_with(options)
        .await
        .map_err(StartError::Connect)?;
    check_role(&pool).await?;
    Ok(pool)
}

/// Refuses a role that row-level security does not hold, or that can't enter the two others.
///
/// # Errors
/// [`StartError::UnfencedRole`], [`StartError::MissingRoles`], or the database's failure.
pub async fn check_role(pool: &PgPool) -> Result<(), StartError> {
    let found = sqlx::query!(
        r#"select current_user::text as "role!", rolsuper or rolbypassrls as "unfenced!",
               (select count(*) = 2 and coalesce(bool_and(pg_has_role(oid, 'member')), false) from pg_roles
                where rolname in ('sluice_ingest', 'sluice_platform')) as "may_enter!"
           from pg_roles where rolname = current_user"#
    )
    .fetch_one(pool)
    .await
    .map_err(Error::from)?;
    if found.unfenced {
        return Err(StartError::UnfencedRole { role: found.role });
    }
    if !found.may_enter {
        return Err(StartError::MissingRoles { role: found.role });
    }
    Ok(())
}

/// Brings the schema up to date.
///
/// # Errors
/// [`StartError::Migrate`] when a migration fails or an applied one was changed.
pub async fn migrate(pool: &PgPool) -> Result<(), StartError> {
    // Migrating may take longer than any statement of ours should.
    let mut connection = pool.acquire().await.map_err(Error::from)?;
    sqlx::query!("set statement_timeout = 0").execute(&mut *connection).await.map_err(Error::from)?;
    let migrated = MIGRATOR.run(&mut *connection).await;
    connection.close().await.map_err(Error::from)?;
    Ok(migrated?)
}
