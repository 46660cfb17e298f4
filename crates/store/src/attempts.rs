//! What was tried lately, so that guessing has a limit that holds over all replicas and restarts.

use chrono::{DateTime, Utc};

use crate::{Error, PlatformTx};

/// An attempt that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt(i64);

/// Counts an attempt at `subject`; none when there were `limit` since `since` already.
///
/// Of attempts made at once each is counted: the subject is locked until the transaction ends.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn take(
    tx: &mut PlatformTx,
    subject: [u8; 32],
    (since, at): (DateTime<Utc>, DateTime<Utc>),
    limit: u32,
) -> Result<Option<Attempt>, Error> {
    let lock = i64::from_be_bytes([
        subject[0], subject[1], subject[2], subject[3], subject[4], subject[5], subject[6], subject[7],
    ]);
    sqlx::query!("select pg_advisory_xact_lock($1)", lock).execute(tx.connection()).await?;
    sqlx::query!(
        "delete from attempts where attempt_id in
         (select attempt_id from attempts where at < $1 limit 1000 for update skip locked)",
        since
    )
    .execute(tx.connection())
    .await?;
    let taken = sqlx::query_scalar!(
        "insert into attempts (subject, at)
         select $1, $2 where (select count(*) from attempts where subject = $1 and at > $3) < $4
         returning attempt_id",
        &subject,
        at,
        since,
        i64::from(limit),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(taken.map(Attempt))
}

/// How many attempts at `subject` there were since.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn count(tx: &mut PlatformTx, subject: [u8; 32], since: DateTime<Utc>) -> Result<u32, Error> {
    let count = sqlx::query_scalar!(
        r#"select count(*) as "count!" from attempts where subject = $1 and at > $2"#,
        &subject,
        since
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Takes one attempt back.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget(tx: &mut PlatformTx, attempt: Attempt) -> Result<(), Error> {
    sqlx::query!("delete from attempts where attempt_id = $1", attempt.0).execute(tx.connection()).await?;
    Ok(())
}

/// Forgets all that was tried at `subject`: the right one has come.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forgive(tx: &mut PlatformTx, subject: [u8; 32]) -> Result<(), Error> {
    sqlx::query!("delete from attempts where subject = $1", &subject).execute(tx.connection()).await?;
    Ok(())
}
