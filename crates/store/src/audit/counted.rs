//! From when on the counts by caller and by server are whole: an upgrade begins them, and what it found is not in them.

use chrono::{DateTime, Utc};

use crate::{Error, TenantTx};

/// Where the hours begin that are whole in those counts, of the whole hours between two times; the latter where none are.
///
/// # Errors
/// [`Error`] when the database failed.
pub(super) async fn since(
    tx: &mut TenantTx,
    (first, last): (DateTime<Utc>, DateTime<Utc>),
) -> Result<DateTime<Utc>, Error> {
    if first >= last {
        return Ok(last);
    }
    let since = sqlx::query_scalar!(r#"select least(greatest(audit_counted_from(), $1), $2) as "since!""#, first, last);
    Ok(since.fetch_one(tx.connection()).await?)
}
