//! Records counted by who made them and how they ended, by hour: in the transaction that adds them, and read with what is
//! not a whole hour from the records themselves.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use domain::{ServerId, TenantId};

use super::counted;
use super::search::Filter;
use crate::{Error, IngestTx, TenantTx};

/// Records of one hour that share everything that is counted by. A text that a record has not is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Count {
    /// Whose.
    pub tenant: TenantId,
    /// The hour's beginning.
    pub hour: DateTime<Utc>,
    /// What they are about.
    pub kind: String,
    /// What kind of being acted.
    pub actor_kind: String,
    /// Who.
    pub actor_id: String,
    /// Through which program.
    pub client_name: String,
    /// What was decided.
    pub effect: String,
    /// How they ended.
    pub status: String,
    /// How many.
    pub count: i64,
    /// When the first of them began.
    pub first: DateTime<Utc>,
    /// When the last of them began.
    pub last: DateTime<Utc>,
}

/// Programs that a caller's records of an hour are counted by; those of all others are counted as [`OTHERS`].
const NAMES: i64 = 20;

/// Programs whose names are not counted by.
pub const OTHERS: &str = "…";

/// Adds counts to the hours they are of, no two of the same. The tenants' heads are locked: nobody else adds to theirs.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn add(tx: &mut IngestTx, counts: &[Count]) -> Result<(), Error> {
    if counts.is_empty() {
        return Ok(());
    }
    let text = |value: fn(&Count) -> &String| counts.iter().map(|count| value(count).clone()).collect::<Vec<_>>();
    let time = |value: fn(&Count) -> DateTime<Utc>| counts.iter().map(value).collect::<Vec<_>>();
    sqlx::query!(
        // One look at an index for each, and at what the caller is counted by for at most so many that are new.
        "insert into audit_rollup_caller as r (tenant_id, start, kind, actor_kind, actor_id, client_name, effect, status,
             count, first_at, last_at)
         select tenant_id, start, kind, actor_kind, actor_id,
             case
                 when is_known then client_name
                 when place > $12 then $13
                 when place + (
                     select count(distinct o.client_name) from audit_rollup_caller o
                     where o.tenant_id = n.tenant_id and o.start = n.start and o.actor_kind = n.actor_kind
                         and o.actor_id = n.actor_id and o.client_name <> '') > $12 then $13
                 else client_name
             end, effect, status, sum(count), min(first_at), max(last_at)
         from (
             select *, dense_rank() over (
                 partition by tenant_id, start, actor_kind, actor_id, is_known order by client_name) as place
             from (
                 select *, client_name = '' or (
                     select true from audit_rollup_caller o
                     where o.tenant_id = u.tenant_id and o.start = u.start and o.actor_kind = u.actor_kind
                         and o.actor_id = u.actor_id and o.client_name = u.client_name limit 1) is not null as is_known
                 from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                     $8::text[], $9::int8[], $10::timestamptz[], $11::timestamptz[])
                 u(tenant_id, start, kind, actor_kind, actor_id, client_name, effect, status, count, first_at, last_at)
             ) u) n
         group by 1, 2, 3, 4, 5, 6, 7, 8
         on conflict (tenant_id, start, actor_kind, actor_id, client_name, kind, effect, status) do update
             set count = r.count + excluded.count, first_at = least(r.first_at, excluded.first_at),
                 last_at = greatest(r.last_at, excluded.last_at)",
        &counts.iter().map(|count| count.tenant.uuid()).collect::<Vec<_>>(),
        &time(|count| count.hour),
        &text(|count| &count.kind),
        &text(|count| &count.actor_kind),
        &text(|count| &count.actor_id),
        &text(|count| &count.client_name),
        &text(|count| &count.effect),
        &text(|count| &count.status),
        &counts.iter().map(|count| count.count).collect::<Vec<_>>(),
        &time(|count| count.first),
        &time(|count| count.last),
        NAMES,
        OTHERS,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets the oldest counts of what was before, at most `most`; gives how many there were.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget(tx: &mut IngestTx, before: DateTime<Utc>, most: u32) -> Result<u64, Error> {
    let gone = sqlx::query!(
        "delete from audit_rollup_caller where ctid = any(array(
             select ctid from audit_rollup_caller where start < $1 order by start limit $2))",
        before,
        i64::from(most),
    )
    .execute(tx.connection())
    .await?;
    Ok(gone.rows_affected())
}

/// Records of one caller, through one program, that ended alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerCount {
    /// What kind of being acted.
    pub actor_kind: Option<String>,
    /// Who.
    pub actor_id: Option<String>,
    /// Through which program.
    pub client_name: Option<String>,
    /// What was decided.
    pub effect: Option<String>,
    /// How they ended.
    pub status: Option<String>,
    /// How many.
    pub count: i64,
    /// When the first of them began.
    pub first: DateTime<Utc>,
    /// When the last of them began.
    pub last: DateTime<Utc>,
}

/// The whole hours of a filter's time where the counts answer for all it asks but its ends; else both are its end.
fn hours(filter: &Filter) -> (DateTime<Utc>, DateTime<Utc>) {
    // Every field by its name: one that is added later is decided upon here.
    let Filter {
        from,
        until,
        kinds: _,
        actor: _,
        statuses: _,
        effect: _,
        token,
        server,
        tool,
        call,
        trace,
        text,
        among,
    } = filter;
    let of_records = token.is_some() || server.is_some() || tool.is_some() || call.is_some() || trace.is_some();
    let hour = TimeDelta::hours(1);
    let whole = |time: DateTime<Utc>| time.duration_trunc(hour).unwrap_or(time);
    let (first, last) = (whole(*from + hour - TimeDelta::microseconds(1)), whole(*until));
    if of_records || text.is_some() || among.is_some() || first >= last { (*until, *until) } else { (first, last) }
}

/// Who made the records that match all but the text, and how those ended: at most `limit` counts, the largest first. Whole
/// hours are read from what was counted where that is by all the filter asks for, and since it is counted.
///
/// # Errors
/// [`Error`] when the database failed, [`Error::is_out_of_time`] when it took longer than was allowed.
pub async fn by_caller(
    tx: &mut TenantTx,
    filter: &Filter,
    partitions: (DateTime<Utc>, DateTime<Utc>),
    limit: i64,
) -> Result<Vec<CallerCount>, Error> {
    let (among, hours) = (filter.among(), hours(filter));
    let counted = counted::since(tx, hours).await?;
    // Displaced records are in no count.
    Ok(sqlx::query_as!(
        CallerCount,
        r#"select nullif(actor_kind, '') as "actor_kind?", nullif(actor_id, '') as "actor_id?",
               nullif(client_name, '') as "client_name?", nullif(effect, '') as "effect?",
               nullif(status, '') as "status?", sum(count)::int8 as "count!", min(first_at) as "first!",
               max(last_at) as "last!"
           from (
               select coalesce(actor_kind, '') as actor_kind, coalesce(actor_id, '') as actor_id,
                   coalesce(client_name, '') as client_name, coalesce(effect, '') as effect,
                   coalesce(status, '') as status, 1::int8 as count, time as first_at, time as last_at
               from audit_record
               where part_time >= $1 and part_time < $2
                   and (time >= $3 and time < $15 or time >= $16 and time < $4
                       or displaced and time >= $15 and time < $16)
                   and (cardinality($5::text[]) = 0 or kind = any($5))
                   and ($6::text is null or actor_id = $6)
                   and ($7::uuid is null or server_id = $7)
                   and ($8::text is null or tool_name = $8)
                   and (cardinality($9::text[]) = 0 or status = any($9))
                   and ($10::text is null or trace_id = $10)
                   and ($11::uuid[] is null or server_id = any($11) or tool_id = any($12))
                   and ($13::text is null or effect = $13)
                   and ($17::uuid is null or token_id = $17)
                   and ($18::uuid is null or call_id = $18)
               union all
               select actor_kind, actor_id, client_name, effect, status, count, first_at, last_at
               from audit_rollup_caller
               where start >= $15 and start < $16
                   and (cardinality($5::text[]) = 0 or kind = any($5))
                   and ($6::text is null or actor_id = $6)
                   and (cardinality($9::text[]) = 0 or status = any($9))
                   and ($13::text is null or effect = $13)) counted
           group by actor_kind, actor_id, client_name, effect, status order by 6 desc, 8 desc limit $14"#,
        partitions.0,
        partitions.1,
        filter.from,
        filter.until,
        &filter.kinds,
        filter.actor,
        filter.server.map(ServerId::uuid),
        filter.tool,
        &filter.statuses,
        filter.trace,
        among.0,
        among.1,
        filter.effect,
        limit,
        counted,
        hours.1,
        filter.token.map(domain::TokenId::uuid),
        filter.call.map(domain::CallId::uuid),
    )
    .fetch_all(tx.connection())
    .await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_answer_for_whole_hours_of_what_they_are_counted_by() {
        let time = |text: &str| format!("2026-11-20T{text}Z").parse().unwrap();
        let filter = Filter::of(time("01:20:00"), time("14:35:00"));
        let shown = |filter: &Filter| {
            let (first, last) = hours(filter);
            format!("{} {}", first.format("%H:%M"), last.format("%H:%M"))
        };
        assert_eq!(shown(&filter), "02:00 14:00");
        let narrowed = Filter { actor: Some("usr_a".into()), statuses: vec!["denied".into()], ..filter.clone() };
        assert_eq!(shown(&narrowed), "02:00 14:00");
        assert_eq!(shown(&Filter::of(time("01:20:00"), time("02:10:00"))), "02:10 02:10", "no whole hour");
        let others = [
            Filter { server: Some(ServerId::from_uuid(uuid::Uuid::nil())), ..filter.clone() },
            Filter { tool: Some("wiki__read".into()), ..filter.clone() },
            Filter { trace: Some("ab".into()), ..filter.clone() },
            Filter { among: Some(super::super::search::Among::default()), ..filter },
        ];
        for other in others {
            assert_eq!(shown(&other), "14:35 14:35", "{other:?} is read from the records");
        }
    }
}
