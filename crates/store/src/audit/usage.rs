//! How much servers and their tools are called, from the hourly counts.

use chrono::{DateTime, Utc};
use domain::ServerId;

use crate::{Error, TenantTx};

/// Calls of one server in one hour that ended alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfServer {
    /// The server.
    pub server: ServerId,
    /// The hour's beginning.
    pub hour: DateTime<Utc>,
    /// What was decided.
    pub effect: String,
    /// How they ended.
    pub status: String,
    /// The duration's bucket ([`super::rollup::BOUNDS_MS`]).
    pub bucket: i16,
    /// How many.
    pub count: i64,
}

/// The calls of all servers, or of one, by hour.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn by_server(
    tx: &mut TenantTx,
    from: DateTime<Utc>,
    server: Option<ServerId>,
) -> Result<Vec<OfServer>, Error> {
    Ok(sqlx::query_as!(
        OfServer,
        r#"select server_id as "server!: ServerId", start as "hour!", effect as "effect!", status as "status!",
               bucket as "bucket!", sum(count)::int8 as "count!"
           from (
               select start, server_id, effect, status, bucket, count from audit_rollup_hour
               where start >= $1 and start < (select audit_counted_from())
               union all
               select start, server_id, effect, status, bucket, count from audit_rollup_server
               where start >= greatest($1, (select audit_counted_from()))) counted
           where ($2::uuid is null or server_id = $2)
               and server_id <> '00000000-0000-0000-0000-000000000000'
           group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5"#,
        from,
        server.map(ServerId::uuid),
    )
    .fetch_all(tx.connection())
    .await?)
}

/// Calls of one tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfTool {
    /// What clients called it then.
    pub tool: String,
    /// How many.
    pub count: i64,
    /// How many of them were allowed.
    pub allowed: i64,
}

/// The calls of a server's tools.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn by_tool(tx: &mut TenantTx, server: ServerId, from: DateTime<Utc>) -> Result<Vec<OfTool>, Error> {
    Ok(sqlx::query_as!(
        OfTool,
        r#"select tool_name as tool, sum(count)::int8 as "count!",
               coalesce(sum(count) filter (where effect = 'allow'), 0)::int8 as "allowed!"
           from audit_rollup_hour where start >= $1 and server_id = $2 and tool_name <> ''
           group by tool_name order by 2 desc, 1"#,
        from,
        server.uuid(),
    )
    .fetch_all(tx.connection())
    .await?)
}
