//! Calls counted by minute and by hour, and by hour of all tools together, in the transaction that adds their records.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use domain::{ServerId, TenantId};
use uuid::Uuid;

use super::counted;
use crate::{Error, IngestTx, TenantTx};

/// Upper bounds of the duration buckets, milliseconds (OpenTelemetry's for MCP); the last bucket has none.
pub const BOUNDS_MS: [u64; 14] =
    [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 120_000, 300_000];

/// The bucket of calls that have no duration: they are counted, and tell nothing of how long calls take. A refused call is
/// one of them.
pub const UNTIMED: i16 = -1;

/// The bucket of a duration.
#[must_use]
pub fn bucket(duration_us: u64) -> i16 {
    let place = BOUNDS_MS.partition_point(|bound| bound * 1000 < duration_us);
    i16::try_from(place).unwrap_or(i16::MAX)
}

/// Calls of one minute that share everything that is counted by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Whose.
    pub tenant: TenantId,
    /// The minute's beginning.
    pub minute: DateTime<Utc>,
    /// Of which server, where there was one.
    pub server: Option<ServerId>,
    /// Of which tool, where there was one.
    pub tool: String,
    /// What was decided.
    pub effect: String,
    /// How they ended.
    pub status: String,
    /// The duration's bucket; [`UNTIMED`] where they have none.
    pub bucket: i16,
    /// How many.
    pub count: i64,
    /// Their durations together, microseconds.
    pub duration_us: i64,
}

/// Adds counts to the minutes and to the hours they are in.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(tx: &mut IngestTx, counts: &[Count]) -> Result<(), Error> {
    if counts.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = counts.iter().map(|count| count.tenant.uuid()).collect();
    let minutes: Vec<DateTime<Utc>> = counts.iter().map(|count| count.minute).collect();
    let servers: Vec<Uuid> = counts.iter().map(|count| count.server.map_or(Uuid::nil(), ServerId::uuid)).collect();
    let tools: Vec<String> = counts.iter().map(|count| count.tool.clone()).collect();
    let effects: Vec<String> = counts.iter().map(|count| count.effect.clone()).collect();
    let statuses: Vec<String> = counts.iter().map(|count| count.status.clone()).collect();
    let buckets: Vec<i16> = counts.iter().map(|count| count.bucket).collect();
    let numbers: Vec<i64> = counts.iter().map(|count| count.count).collect();
    let durations: Vec<i64> = counts.iter().map(|count| count.duration_us).collect();
    sqlx::query!(
        "with new as materialized (
             select * from unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::text[], $5::text[], $6::text[],
                 $7::int2[], $8::int8[], $9::int8[])
             u(tenant_id, start, server_id, tool_name, effect, status, bucket, count, duration_us)),
         minutes as (
             insert into audit_rollup_minute as r
                 (tenant_id, start, server_id, tool_name, effect, status, bucket, count, duration_us)
             select tenant_id, start, server_id, tool_name, effect, status, bucket, sum(count), sum(duration_us)
             from new group by 1, 2, 3, 4, 5, 6, 7
             on conflict (tenant_id, start, server_id, tool_name, effect, status, bucket) do update
                 set count = r.count + excluded.count, duration_us = r.duration_us + excluded.duration_us),
         servers as (
             insert into audit_rollup_server as r (tenant_id, start, server_id, effect, status, bucket, count, duration_us)
             select tenant_id, date_trunc('hour', start, 'UTC'), server_id, effect, status, bucket, sum(count),
                 sum(duration_us)
             from new group by 1, 2, 3, 4, 5, 6
             on conflict (tenant_id, start, server_id, effect, status, bucket) do update
                 set count = r.count + excluded.count, duration_us = r.duration_us + excluded.duration_us)
         insert into audit_rollup_hour as r
             (tenant_id, start, server_id, tool_name, effect, status, bucket, count, duration_us)
         select tenant_id, date_trunc('hour', start, 'UTC'), server_id, tool_name, effect, status, bucket,
             sum(count), sum(duration_us)
         from new group by 1, 2, 3, 4, 5, 6, 7
         on conflict (tenant_id, start, server_id, tool_name, effect, status, bucket) do update
             set count = r.count + excluded.count, duration_us = r.duration_us + excluded.duration_us",
        &tenants,
        &minutes,
        &servers,
        &tools,
        &effects,
        &statuses,
        &buckets,
        &numbers,
        &durations,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets the oldest counts of what was before, at most `most` of each table; gives how many there were.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget(tx: &mut IngestTx, before: DateTime<Utc>, most: u32) -> Result<u64, Error> {
    let minutes = sqlx::query!(
        "delete from audit_rollup_minute where ctid = any(array(
             select ctid from audit_rollup_minute where start < $1 order by start limit $2))",
        before,
        i64::from(most),
    )
    .execute(tx.connection())
    .await?;
    let hours = sqlx::query!(
        "delete from audit_rollup_hour where ctid = any(array(
             select ctid from audit_rollup_hour where start < $1 order by start limit $2))",
        before,
        i64::from(most),
    )
    .execute(tx.connection())
    .await?;
    let servers = sqlx::query!(
        "delete from audit_rollup_server where ctid = any(array(
             select ctid from audit_rollup_server where start < $1 order by start limit $2))",
        before,
        i64::from(most),
    )
    .execute(tx.connection())
    .await?;
    Ok(minutes.rows_affected() + hours.rows_affected() + servers.rows_affected())
}

/// Calls of one step of a series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The step's beginning.
    pub start: DateTime<Utc>,
    /// What was decided.
    pub effect: String,
    /// How they ended.
    pub status: String,
    /// The duration's bucket.
    pub bucket: i16,
    /// How many.
    pub count: i64,
    /// Their durations together, microseconds.
    pub duration_us: i64,
}

/// What a series is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// From here on.
    pub from: DateTime<Utc>,
    /// Up to here, not included.
    pub until: DateTime<Utc>,
    /// Steps of this many seconds, a multiple of 60 (of 3600 by hours).
    pub step_s: i32,
    /// Only of this server.
    pub server: Option<ServerId>,
    /// Only of this tool.
    pub tool: Option<String>,
}

impl Range {
    /// The whole hours within it where its steps are that long: they are read from the counts by hour, and what is left at
    /// both ends from those by minute. Without any, both are its end.
    fn hours(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        let hour = TimeDelta::hours(1);
        let whole = |time: DateTime<Utc>| time.duration_trunc(hour).unwrap_or(time);
        let (first, last) = (whole(self.from + hour - TimeDelta::microseconds(1)), whole(self.until));
        if self.step_s < 3600 || first >= last { (self.until, self.until) } else { (first, last) }
    }
}

/// Calls over time: in steps of an hour or more from the counts by hour, else from those by minute.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn series(tx: &mut TenantTx, range: &Range) -> Result<Vec<Point>, Error> {
    let hours = range.hours();
    // Calls of all tools together are counted as such, since they are.
    let together = if range.tool.is_some() { hours.1 } else { counted::since(tx, hours).await? };
    Ok(sqlx::query_as!(
        Point,
        r#"select date_bin(make_interval(secs => $3::int4), start, 'epoch') as "start!", effect as "effect!",
               status as "status!", bucket as "bucket!", sum(count)::int8 as "count!",
               sum(duration_us)::int8 as "duration_us!"
           from (
               select start, server_id, tool_name, effect, status, bucket, count, duration_us from audit_rollup_minute
               where start >= $1 and start < $6 or start >= $7 and start < $2
               union all
               select start, server_id, tool_name, effect, status, bucket, count, duration_us from audit_rollup_hour
               where start >= $6 and start < $8
               union all
               select start, server_id, '', effect, status, bucket, count, duration_us from audit_rollup_server
               where start >= $8 and start < $7) counted
           where ($4::uuid is null or server_id = $4) and ($5::text is null or tool_name = $5)
           group by 1, 2, 3, 4 order by 1, 2, 3, 4"#,
        range.from,
        range.until,
        range.step_s,
        range.server.map(ServerId::uuid),
        range.tool,
        hours.0,
        hours.1,
        together,
    )
    .fetch_all(tx.connection())
    .await?)
}

/// Calls of one tool: either those of one step, or those that ended alike in the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolPoint {
    /// Whose tool.
    pub server: Uuid,
    /// The tool, by its exposed name.
    pub tool: String,
    /// The step's beginning; none in the others.
    pub start: Option<DateTime<Utc>>,
    /// How they ended; none in those of a step.
    pub status: Option<String>,
    /// The duration's bucket, likewise.
    pub bucket: Option<i16>,
    /// How many.
    pub count: i64,
}

/// The tools that are called most in a range of time, in steps from `origin` on. Calls of tools nobody knows are not among
/// them.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn top_tools(
    tx: &mut TenantTx,
    range: &Range,
    origin: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<ToolPoint>, Error> {
    let hours = range.hours();
    Ok(sqlx::query_as!(
        ToolPoint,
        // Twice read is less than once kept: 10 ms and not 14 of 17,000 counts.
        r#"with counted as not materialized (
               select server_id, tool_name, start, status, bucket, count from audit_rollup_minute
               where (start >= $1 and start < $5 or start >= $6 and start < $2) and tool_name <> ''
               union all
               select server_id, tool_name, start, status, bucket, count from audit_rollup_hour
               where start >= $5 and start < $6 and tool_name <> ''),
           top as materialized (
               select server_id, tool_name from counted group by 1, 2 order by sum(count) desc, 1, 2 limit $4)
           select server_id as "server!", tool_name as "tool!",
               date_bin(make_interval(secs => $3::int4), start, $7) as "start?", status as "status?",
               bucket as "bucket?", sum(count)::int8 as "count!"
           from counted join top using (server_id, tool_name)
           group by grouping sets ((1, 2, 3), (1, 2, 4, 5)) order by 1, 2, 3, 4, 5"#,
        range.from,
        range.until,
        range.step_s,
        limit,
        hours.0,
        hours.1,
        origin,
    )
    .fetch_all(tx.connection())
    .await?)
}

/// Calls of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCount {
    /// The server.
    pub server: Uuid,
    /// How they ended.
    pub status: String,
    /// The duration's bucket.
    pub bucket: i16,
    /// How many.
    pub count: i64,
}

/// Calls of a range of time by server.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn by_server(tx: &mut TenantTx, range: &Range) -> Result<Vec<ServerCount>, Error> {
    let hours = range.hours();
    let together = counted::since(tx, hours).await?;
    Ok(sqlx::query_as!(
        ServerCount,
        r#"select server_id as "server!", status as "status!", bucket as "bucket!", sum(count)::int8 as "count!" from (
               select server_id, status, bucket, count from audit_rollup_minute
               where start >= $1 and start < $3 or start >= $4 and start < $2
               union all
               select server_id, status, bucket, count from audit_rollup_hour
               where start >= $3 and start < $5
               union all
               select server_id, status, bucket, count from audit_rollup_server
               where start >= $5 and start < $4) counted
           group by 1, 2, 3 order by 1, 2, 3"#,
        range.from,
        range.until,
        hours.0,
        hours.1,
        together,
    )
    .fetch_all(tx.connection())
    .await?)
}

/// Whether there has been any call.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn is_any(tx: &mut TenantTx) -> Result<bool, Error> {
    let any = sqlx::query_scalar!(r#"select exists (select from audit_rollup_hour) as "any!""#);
    Ok(any.fetch_one(tx.connection()).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_hours_are_read_as_hours_and_the_ends_as_minutes() {
        let hours = |from: &str, until: &str, step_s| {
            let time = |text: &str| format!("2026-11-20T{text}Z").parse().unwrap();
            let range = Range { from: time(from), until: time(until), step_s, server: None, tool: None };
            let (first, last) = range.hours();
            format!("{} {}", first.format("%H:%M"), last.format("%H:%M"))
        };
        assert_eq!(hours("01:20:00", "14:35:00", 3600), "02:00 14:00");
        assert_eq!(hours("01:00:00", "14:00:00", 86_400), "01:00 14:00");
        assert_eq!(hours("01:20:00", "01:50:00", 3600), "01:50 01:50", "no whole hour");
        assert_eq!(hours("01:20:00", "14:35:00", 900), "14:35 14:35", "steps shorter than an hour");
    }
}
