//! Connecting: refuses a database role that the fence would not hold.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, PgPool};

use crate::{Error, MIGRATOR};

/// Longest wait for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest wait for the first connection.
const FIRST_TIMEOUT: Duration = Duration::from_secs(3);

/// Why the database can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is none. It is not repeated: it may hold a password.
    #[error("DATABASE_URL is no Postgres address: it must look like `postgres://user:password@host:port/database`")]
    Address,
    /// Nobody answers there, or not us.
    #[error("can't connect to Postgres at {place}: start it there, or set DATABASE_URL to where it is")]
    Connect {
        /// The host and the port.
        place: String,
        /// What came instead.
        source: sqlx::Error,
    },
    /// Nobody answers there in time.
    #[error("Postgres at {place} does not answer: is that where it is? Set DATABASE_URL to where it is")]
    Silent {
        /// The host and the port.
        place: String,
    },
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
    connect_waiting(url, max_connections, ACQUIRE_TIMEOUT).await
}

/// As [`connect`], for work in the background of which more is done at once than there are connections: it waits for a free
/// one for as long as `wait`.
///
/// # Errors
/// As of [`connect`].
pub async fn connect_waiting(url: &str, max_connections: u32, wait: Duration) -> Result<PgPool, StartError> {
    // What reads the address takes any scheme.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(StartError::Address);
    }
    let options = PgConnectOptions::from_str(url).map_err(|_| StartError::Address)?.options([
        ("statement_timeout", "30s"),
        ("lock_timeout", "10s"),
        ("idle_in_transaction_session_timeout", "60s"),
    ]);
    try_once(&options).await?;
    let place = place(&options);
    let pool = PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(wait)
        .connect_with(options)
        .await
        .map_err(|source| StartError::Connect { place, source })?;
    check_role(&pool).await?;
    Ok(pool)
}

/// Connects once. A pool tries again and again, and in the end only says that it took too long.
async fn try_once(options: &PgConnectOptions) -> Result<(), StartError> {
    match tokio::time::timeout(FIRST_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => {
            // It was only to be made.
            drop(connection.close().await);
            Ok(())
        }
        Ok(Err(source)) => Err(StartError::Connect { place: place(options), source }),
        Err(_) => Err(StartError::Silent { place: place(options) }),
    }
}

fn place(options: &PgConnectOptions) -> String {
    format!("{}:{}", options.get_host(), options.get_port())
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
    // Migrating may take longer than any statement of ours should, and who comes second waits for it.
    let mut connection = pool.acquire().await.map_err(Error::from)?;
    sqlx::query!("set statement_timeout = 0").execute(&mut *connection).await.map_err(Error::from)?;
    sqlx::query!("set lock_timeout = 0").execute(&mut *connection).await.map_err(Error::from)?;
    let migrated = MIGRATOR.run(&mut *connection).await;
    connection.close().await.map_err(Error::from)?;
    Ok(migrated?)
}
