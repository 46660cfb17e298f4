//! The three ways to the database, each a transaction that sees only what it is for.

use domain::TenantId;
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, Transaction};

use crate::Error;

/// Sees and writes one tenant's rows; row-level security hides all others. Rolled back when dropped.
#[derive(Debug)]
pub struct TenantTx {
    tenant: TenantId,
    inner: Transaction<'static, Postgres>,
}

/// Sees the global tables: users, sign-in, publishing. Rolled back when dropped.
#[derive(Debug)]
pub struct PlatformTx(Transaction<'static, Postgres>);

/// Sees the audit tables of all tenants, as the role `sluice_ingest`. Rolled back when dropped.
#[derive(Debug)]
pub struct IngestTx(Transaction<'static, Postgres>);

impl TenantTx {
    /// Begins in one round trip.
    ///
    /// # Errors
    /// [`Error`] when the database can't be reached.
    pub async fn begin(pool: &PgPool, tenant: TenantId) -> Result<Self, Error> {
        // A UUID is hexadecimal digits and hyphens: nothing a tenant chose comes into the text.
        let begin = format!("begin; set local app.tenant_id = '{}'", tenant.uuid());
        Ok(Self { tenant, inner: pool.begin_with(AssertSqlSafe(begin)).await? })
    }

    /// Begins for reading one consistent state over several statements; writes are refused.
    ///
    /// # Errors
    /// [`Error`] when the database can't be reached.
    pub async fn begin_snapshot(pool: &PgPool, tenant: TenantId) -> Result<Self, Error> {
        let begin =
            format!("begin isolation level repeatable read read only; set local app.tenant_id = '{}'", tenant.uuid());
        Ok(Self { tenant, inner: pool.begin_with(AssertSqlSafe(begin)).await? })
    }

    /// Whose rows it sees.
    #[must_use]
    pub const fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Makes the changes last.
    ///
    /// # Errors
    /// [`Error`] when the database failed; whether the changes last is then unknown.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.inner.commit().await?)
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.inner
    }
}

impl PlatformTx {
    /// Begins in one round trip.
    ///
    /// # Errors
    /// [`Error`] when the database can't be reached.
    pub async fn begin(pool: &PgPool) -> Result<Self, Error> {
        Ok(Self(pool.begin_with("begin; set local role sluice_platform").await?))
    }

    /// Makes the changes last.
    ///
    /// # Errors
    /// [`Error`] when the database failed; whether the changes last is then unknown.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.0.commit().await?)
    }

    /// Goes on inside a tenant's fence, in the same transaction: what makes a tenant is done at once or not at all.
    ///
    /// # Errors
    /// [`Error`] when the database failed.
    pub async fn into_tenant(mut self, tenant: TenantId) -> Result<TenantTx, Error> {
        let fence = format!("set local role none; set local app.tenant_id = '{}'", tenant.uuid());
        sqlx::raw_sql(AssertSqlSafe(fence)).execute(&mut *self.0).await?;
        Ok(TenantTx { tenant, inner: self.0 })
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

impl IngestTx {
    /// Begins in one round trip; the session is named for the shard, so that a successor can end it (O1), and is ended by
    /// the server when it stops for 3 s inside the transaction or one statement takes that long.
    ///
    /// # Errors
    /// [`Error`] when the database can't be reached.
    pub async fn begin(pool: &PgPool, shard: u16) -> Result<Self, Error> {
        let begin = format!(
            "begin isolation level read committed; set local role sluice_ingest; \
             set local application_name = 'audit-owner-{shard}'; \
             set local idle_in_transaction_session_timeout = '3s'; set local statement_timeout = '3s'; \
             set local lock_timeout = '2s'"
        );
        Ok(Self(pool.begin_with(AssertSqlSafe(begin)).await?))
    }

    /// Makes the changes last.
    ///
    /// # Errors
    /// [`Error`] when the database failed; whether the changes last is then unknown.
    pub async fn commit(self) -> Result<(), Error> {
        Ok(self.0.commit().await?)
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}
