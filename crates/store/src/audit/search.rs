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
    /// Ended so.
    pub status: Option<String>,
    /// Of this call.
    pub call: Option<CallId>,
    /// Of this trace.
    pub trace: Option<String>,
    /// Holding this text anywhere, in either case.
    pub text: Option<String>,
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
    let mut rows = sqlx::query_as!(
        Row,
        r#"select time, id, seq, received_at, kind, final as is_final, call_id, actor_kind, actor_id, token_id,
               client_name, method, server_id, tool_name, effect, status, duration_us, result_bytes, trace_id,
               change_action,
               $14::text is null or position(lower($14) in lower(convert_from(body, 'UTF8'))) > 0 as "holds_text!"
           from audit_record
           where part_time >= $1 and part_time < $2 and time >= $3 and (time, id) < ($4, $5)
               and (cardinality($6::text[]) = 0 or kind = any($6))
               and ($7::text is null or actor_id = $7)
               and ($8::uuid is null or token_id = $8)
               and ($9::uuid is null or server_id = $9)
               and ($10::text is null or tool_name = $10)
               and ($11::text is null or effect = $11)
               and ($12::text is null or status = $12)
               and ($13::uuid is null or call_id = $13)
               and ($16::text is null or trace_id = $16)
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
        filter.status,
        filter.call.map(CallId::uuid),
        filter.text,
        limit,
        filter.trace,
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
