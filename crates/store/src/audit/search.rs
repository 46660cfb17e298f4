//! Searching a tenant's log: newest first, by keyset, through one index at a time.

use chrono::{DateTime, Utc};
use domain::{CallId, RecordId, ServerId, TokenId};
use uuid::Uuid;

use crate::{Error, TenantTx};

/// What is looked for: all that is given must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Begun at this time or later.
    pub from: DateTime<Utc>,
    /// Begun before this time.
    pub until: DateTime<Utc>,
    /// Of these kinds; any when empty.
    pub kinds: Vec<String>,
    /// By this actor.
    pub actor: Option<String>,
    /// With this token.
    pub token: Option<TokenId>,
    /// At this server.
    pub server: Option<ServerId>,
    /// This tool, by its exposed name.
    pub tool: Option<String>,
    /// Decided so.
    pub effect: Option<String>,
    /// Ended in one of these ways; any when empty.
    pub statuses: Vec<String>,
    /// Of this call.
    pub call: Option<CallId>,
    /// Of this trace.
    pub trace: Option<String>,
    /// Holding this text anywhere, in either case.
    pub text: Option<String>,
    /// Of one of these servers, or one of these tools.
    pub among: Option<Among>,
}

/// Servers and tools that something was asked for by, such as a label.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Among {
    /// All calls of these servers.
    pub servers: Vec<Uuid>,
    /// And those of these tools.
    pub tools: Vec<Uuid>,
}

impl Filter {
    /// Everything of a range of time.
    #[must_use]
    pub const fn of(from: DateTime<Utc>, until: DateTime<Utc>) -> Self {
        Self {
            from,
            until,
            kinds: Vec::new(),
            actor: None,
            token: None,
            server: None,
            tool: None,
            effect: None,
            statuses: Vec::new(),
            call: None,
            trace: None,
            text: None,
            among: None,
        }
    }

    pub(super) fn among(&self) -> (Option<&[Uuid]>, &[Uuid]) {
        self.among.as_ref().map_or((None, &[]), |among| (Some(among.servers.as_slice()), among.tools.as_slice()))
    }
}

/// A place in the order of search results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The record's time.
    pub time: DateTime<Utc>,
    /// The record.
    pub id: RecordId,
}

/// A record as lists show it.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// When it began.
    pub time: DateTime<Utc>,
    /// The record.
    pub id: Uuid,
    /// The log's epoch.
    pub epoch: i64,
    /// Its place in the log.
    pub seq: i64,
    /// When it reached the log.
    pub received_at: DateTime<Utc>,
    /// What it is about.
    pub kind: String,
    /// Whether it is a call's last word.
    pub is_final: bool,
    /// The call.
    pub call_id: Option<Uuid>,
    /// What kind of being acted.
    pub actor_kind: Option<String>,
    /// Who.
    pub actor_id: Option<String>,
    /// With which token.
    pub token_id: Option<Uuid>,
    /// Through which program.
    pub client_name: Option<String>,
    /// The MCP method.
    pub method: Option<String>,
    /// The server.
    pub server_id: Option<Uuid>,
    /// The tool, as exposed.
    pub tool_name: Option<String>,
    /// What was decided.
    pub effect: Option<String>,
    /// Why, in a stable word.
    pub decision_code: Option<String>,
    /// The policies that decided.
    pub policies: Option<Vec<Uuid>>,
    /// How it ended.
    pub status: Option<String>,
    /// How long it took, microseconds.
    pub duration_us: Option<i64>,
    /// Bytes of the answer.
    pub result_bytes: Option<i64>,
    /// The trace.
    pub trace_id: Option<String>,
    /// What was done, in records of changes.
    pub change_action: Option<String>,
    /// Whether it holds the text that is looked for; true where none is.
    pub holds_text: bool,
}

/// One step of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What was found, newest first.
    pub rows: Vec<Row>,
    /// The last record that was looked at; none when there was none left to look at.
    pub reached: Option<Place>,
}

/// Prepares the transaction for a search: a statement gets `budget_ms` at most, and is planned for its own filter.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn prepare(tx: &mut TenantTx, budget_ms: u32) -> Result<(), Error> {
    sqlx::query!(
        "select set_config('statement_timeout', $1, true) as timeout,
             set_config('plan_cache_mode', 'force_custom_plan', true) as plans",
        budget_ms.to_string(),
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(())
}

/// Which partitions hold the records of a range of time: it reaches further where a record's time was implausible.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn partitions(
    tx: &mut TenantTx,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
) -> Result<(DateTime<Utc>, DateTime<Utc>), Error> {
    let row = sqlx::query!(
        r#"select least($1, min(part_time)) as "from!",
               greatest($2, max(part_time) + interval '1 microsecond') as "until!"
           from audit_record where displaced and time >= $1 and time < $2"#,
        from,
        until,
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((row.from, row.until))
}

/// Looks for records older than `after`, newest first: at most `limit` of those that match all but the text, of which
/// those holding the text are given back.
///
/// # Errors
/// [`Error`] when the database failed, [`Error::is_out_of_time`] when it took longer than was allowed.
pub async fn step(
    tx: &mut TenantTx,
    filter: &Filter,
    partitions: (DateTime<Utc>, DateTime<Utc>),
    after: Option<Place>,
    limit: i64,
) -> Result<Step, Error> {
    let after = after.unwrap_or(Place { time: filter.until, id: RecordId::from_uuid(Uuid::nil()) });
    let among = filter.among();
    let mut rows = sqlx::query_as!(
        Row,
        r#"select time, id, epoch, seq, received_at, kind, final as is_final, call_id, actor_kind, actor_id, token_id,
               client_name, method, server_id, tool_name, effect, decision_code, policy_ids as policies, status,
               duration_us, result_bytes, trace_id, change_action,
               $14::text is null or position(lower($14) in lower(convert_from(body, 'UTF8'))) > 0 as "holds_text!"
           from audit_record
           where part_time >= $1 and part_time < $2 and time >= $3 and (time, id) < ($4, $5)
               and (cardinality($6::text[]) = 0 or kind = any($6))
               and ($7::text is null or actor_id = $7)
               and ($8::uuid is null or token_id = $8)
               and ($9::uuid is null or server_id = $9)
               and ($10::text is null or tool_name = $10)
               and ($11::text is null or effect = $11)
               and (cardinality($12::text[]) = 0 or status = any($12))
               and ($13::uuid is null or call_id = $13)
               and ($16::text is null or trace_id = $16)
               and ($17::uuid[] is null or server_id = any($17) or tool_id = any($18))
           order by time desc, id desc limit $15"#,
        partitions.0,
        partitions.1,
        filter.from,
        after.time,
        after.id.uuid(),
        &filter.kinds,
        filter.actor,
        filter.token.map(TokenId::uuid),
        filter.server.map(ServerId::uuid),
        filter.tool,
        filter.effect,
        &filter.statuses,
        filter.call.map(CallId::uuid),
        filter.text,
        limit,
        filter.trace,
        among.0,
        among.1,
    )
    .fetch_all(tx.connection())
    .await?;
    let reached = rows.last().map(|row| Place { time: row.time, id: RecordId::from_uuid(row.id) });
    rows.retain(|row| row.holds_text);
    Ok(Step { rows, reached })
}

/// A record with the bytes it is proved by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The record.
    pub id: Uuid,
    /// Who acted.
    pub actor_id: Option<String>,
    /// Its place in the log.
    pub seq: i64,
    /// The log's epoch.
    pub epoch: i64,
    /// SHA-256 of the leaf (RFC 9162, 2.1.1).
    pub leaf_hash: Vec<u8>,
    /// When it reached the log.
    pub received_at: DateTime<Utc>,
    /// When it began.
    pub time: DateTime<Utc>,
    /// What its partition, and the key of its personal part, are chosen by.
    pub part_time: DateTime<Utc>,
    /// Its exact bytes.
    pub body: Vec<u8>,
    /// Its personal part, sealed.
    pub pii: Option<Vec<u8>>,
}

/// One record of the transaction's tenant.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn find(tx: &mut TenantTx, id: RecordId) -> Result<Option<Leaf>, Error> {
    Ok(sqlx::query_as!(
        Leaf,
        "select id, actor_id, seq, epoch, leaf_hash, received_at, time, part_time, body, pii from audit_record where id = $1",
        id.uuid(),
    )
    .fetch_optional(tx.connection())
    .await?)
}

/// Records of the log in its own order, from a place on.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn leaves(tx: &mut TenantTx, epoch: i64, from_seq: i64, limit: i64) -> Result<Vec<Leaf>, Error> {
    Ok(sqlx::query_as!(
        Leaf,
        "select id, actor_id, seq, epoch, leaf_hash, received_at, time, part_time, body, pii from audit_record
         where epoch = $1 and seq >= $2 order by seq limit $3",
        epoch,
        from_seq,
        limit,
    )
    .fetch_all(tx.connection())
    .await?)
}

/// Records that came into the log after a place of it, the latest first, in partitions from the filter's beginning on. Of
/// the filter's end, effect, call, trace and text nothing is asked.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn newer(
    tx: &mut TenantTx,
    (epoch, seq): (i64, i64),
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Row>, Error> {
    let among = filter.among();
    Ok(sqlx::query_as!(
        Row,
        r#"select time, id, epoch, seq, received_at, kind, final as is_final, call_id, actor_kind, actor_id, token_id,
               client_name, method, server_id, tool_name, effect, decision_code, policy_ids as policies, status,
               duration_us, result_bytes, trace_id, change_action, true as "holds_text!"
           from audit_record where (epoch, seq) > ($1, $2) and part_time >= $3
               and (cardinality($4::text[]) = 0 or kind = any($4))
               and ($5::text is null or actor_id = $5)
               and (cardinality($6::text[]) = 0 or status = any($6))
               and ($8::uuid is null or token_id = $8)
               and ($9::uuid is null or server_id = $9)
               and ($10::text is null or tool_name = $10)
               and ($11::uuid[] is null or server_id = any($11) or tool_id = any($12))
           order by epoch desc, seq desc limit $7"#,
        epoch,
        seq,
        filter.from,
        &filter.kinds,
        filter.actor,
        &filter.statuses,
        limit,
        filter.token.map(TokenId::uuid),
        filter.server.map(ServerId::uuid),
        filter.tool,
        among.0,
        among.1,
    )
    .fetch_all(tx.connection())
    .await?)
}

/// The place of the log's last record: epoch and sequence number, -1 in a log without one.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn end(tx: &mut TenantTx) -> Result<(i64, i64), Error> {
    let row = sqlx::query!("select epoch, size from audit_head").fetch_optional(tx.connection()).await?;
    Ok(row.map_or((1, -1), |row| (row.epoch, row.size - 1)))
}

/// The exact bytes of records, in no order; all of them lie in this range of partitions.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn bodies(
    tx: &mut TenantTx,
    ids: &[Uuid],
    partitions: (DateTime<Utc>, DateTime<Utc>),
) -> Result<Vec<(Uuid, Vec<u8>)>, Error> {
    let rows = sqlx::query!(
        "select id, body from audit_record where id = any($1) and part_time >= $2 and part_time < $3",
        ids,
        partitions.0,
        partitions.1,
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.body)).collect())
}

/// What Sluice itself took of the latest calls, microseconds: all of a call but its upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Added {
    /// Of half of them at most.
    pub p50_us: i64,
    /// Of 99 in 100 at most.
    pub p99_us: i64,
    /// How many calls this is of.
    pub calls: i64,
}

/// What Sluice took of the latest `limit` calls that have ended since `from`; none where there are none.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn added(tx: &mut TenantTx, from: DateTime<Utc>, limit: i64) -> Result<Option<Added>, Error> {
    let row = sqlx::query!(
        r#"with latest as (
               select greatest(duration_us - coalesce(upstream_us, 0), 0) as own from audit_record
               where part_time >= $1 and time >= $1 and kind = 'call' and final and duration_us is not null
               order by time desc, id desc limit $2)
           select percentile_disc(0.5) within group (order by own) as p50,
               percentile_disc(0.99) within group (order by own) as p99, count(*) as "calls!" from latest"#,
        from,
        limit,
    )
    .fetch_one(tx.connection())
    .await?;
    let both = row.p50.zip(row.p99);
    Ok(both.map(|(p50_us, p99_us)| Added { p50_us, p99_us, calls: row.calls }))
}
