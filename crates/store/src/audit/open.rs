//! Calls whose outcome has not come, and tombstones of those whose intent may still come.

use ::audit::Source;
use chrono::{DateTime, Utc};
use domain::{CallId, TenantId};
use uuid::Uuid;

use crate::audit::source::{columns, from_row};
use crate::error::read;
use crate::{Error, IngestTx};

/// The row of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRow {
    /// Whose.
    pub tenant: TenantId,
    /// The call.
    pub call: CallId,
    /// How far it is.
    pub state: OpenState,
}

/// How far a call is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenState {
    /// Its outcome has not come.
    Open {
        /// Who sent the intent.
        source: Source,
        /// `gw.n`.
        n: u64,
        /// The record so far.
        intent: Vec<u8>,
        /// Its personal part, sealed.
        pii: Option<Vec<u8>>,
    },
    /// It was given a final record that says `unknown`.
    Closed {
        /// The place of that record.
        final_seq: u64,
    },
    /// It has its final record.
    Done,
}

struct Stored {
    tenant_id: Uuid,
    call_id: Uuid,
    state: String,
    node: Option<Uuid>,
    boot: Option<Uuid>,
    shard: Option<i16>,
    n: Option<i64>,
    intent: Option<Vec<u8>>,
    pii: Option<Vec<u8>>,
    final_seq: Option<i64>,
}

impl Stored {
    fn into_row(self) -> Result<OpenRow, Error> {
        let state = match self.state.as_str() {
            "open" => {
                let source =
                    self.node.zip(self.boot).zip(self.shard).map(|((node, boot), shard)| from_row(node, boot, shard));
                OpenState::Open {
                    source: read("audit_open.node", source)?,
                    n: read("audit_open.n", self.n)?.cast_unsigned(),
                    intent: read("audit_open.intent", self.intent)?,
                    pii: self.pii,
                }
            }
            "closed" => OpenState::Closed { final_seq: read("audit_open.final_seq", self.final_seq)?.cast_unsigned() },
            _ => OpenState::Done,
        };
        Ok(OpenRow { tenant: TenantId::from_uuid(self.tenant_id), call: CallId::from_uuid(self.call_id), state })
    }
}

/// The rows of these calls, where there are any.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn of_calls(tx: &mut IngestTx, calls: &[(TenantId, CallId)]) -> Result<Vec<OpenRow>, Error> {
    let tenants: Vec<Uuid> = calls.iter().map(|call| call.0.uuid()).collect();
    let ids: Vec<Uuid> = calls.iter().map(|call| call.1.uuid()).collect();
    let rows = sqlx::query_as!(
        Stored,
        "select o.tenant_id, o.call_id, o.state, o.node, o.boot, o.shard, o.n, o.intent, o.pii, o.final_seq
         from unnest($1::uuid[], $2::uuid[]) w(tenant_id, call_id) join audit_open o using (tenant_id, call_id)",
        &tenants,
        &ids,
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Stored::into_row).collect()
}

/// The open calls of these sources.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn of_sources(tx: &mut IngestTx, sources: &[Source]) -> Result<Vec<OpenRow>, Error> {
    let (nodes, boots, shards) = columns(sources.iter().copied());
    let rows = sqlx::query_as!(
        Stored,
        "select o.tenant_id, o.call_id, o.state, o.node, o.boot, o.shard, o.n, o.intent, o.pii, o.final_seq
         from unnest($1::uuid[], $2::uuid[], $3::int2[]) w(node, boot, shard)
             join audit_open o using (node, boot, shard) where o.state = 'open'",
        &nodes,
        &boots,
        &shards,
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Stored::into_row).collect()
}

/// Writes rows, in place of those there are.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn put(tx: &mut IngestTx, rows: &[OpenRow]) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = rows.iter().map(|row| row.tenant.uuid()).collect();
    let calls: Vec<Uuid> = rows.iter().map(|row| row.call.uuid()).collect();
    let open = |row: &OpenRow| match &row.state {
        OpenState::Open { source, n, .. } => Some((*source, n.cast_signed())),
        _ => None,
    };
    let states: Vec<&str> = rows.iter().map(state).collect();
    let nodes: Vec<Option<Uuid>> = rows.iter().map(|row| open(row).map(|open| open.0.node.uuid())).collect();
    let boots: Vec<Option<Uuid>> = rows.iter().map(|row| open(row).map(|open| open.0.boot.uuid())).collect();
    let shards: Vec<Option<i16>> = rows.iter().map(|row| open(row).map(|open| open.0.shard.cast_signed())).collect();
    let numbers: Vec<Option<i64>> = rows.iter().map(|row| open(row).map(|open| open.1)).collect();
    let intents: Vec<Option<&[u8]>> = rows.iter().map(|row| bytes(row).0).collect();
    let pii: Vec<Option<&[u8]>> = rows.iter().map(|row| bytes(row).1).collect();
    let finals: Vec<Option<i64>> = rows.iter().map(final_seq).collect();
    sqlx::query!(
        "insert into audit_open (tenant_id, call_id, state, node, boot, shard, n, intent, pii, final_seq)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::int2[], $7::int8[],
             $8::bytea[], $9::bytea[], $10::int8[])
         on conflict (tenant_id, call_id) do update set state = excluded.state, node = excluded.node,
             boot = excluded.boot, shard = excluded.shard, n = excluded.n, intent = excluded.intent, pii = excluded.pii,
             final_seq = excluded.final_seq, changed_at = clock_timestamp()",
        &tenants,
        &calls,
        &states as &[&str],
        &nodes as &[Option<Uuid>],
        &boots as &[Option<Uuid>],
        &shards as &[Option<i16>],
        &numbers as &[Option<i64>],
        &intents as &[Option<&[u8]>],
        &pii as &[Option<&[u8]>],
        &finals as &[Option<i64>],
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

fn state(row: &OpenRow) -> &'static str {
    match row.state {
        OpenState::Open { .. } => "open",
        OpenState::Closed { .. } => "closed",
        OpenState::Done => "done",
    }
}

fn bytes(row: &OpenRow) -> (Option<&[u8]>, Option<&[u8]>) {
    match &row.state {
        OpenState::Open { intent, pii, .. } => (Some(intent), pii.as_deref()),
        _ => (None, None),
    }
}

fn final_seq(row: &OpenRow) -> Option<i64> {
    match row.state {
        OpenState::Closed { final_seq } => Some(final_seq.cast_signed()),
        _ => None,
    }
}

/// Deletes the rows of calls that have their final record.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn delete(tx: &mut IngestTx, calls: &[(TenantId, CallId)]) -> Result<(), Error> {
    if calls.is_empty() {
        return Ok(());
    }
    let tenants: Vec<Uuid> = calls.iter().map(|call| call.0.uuid()).collect();
    let ids: Vec<Uuid> = calls.iter().map(|call| call.1.uuid()).collect();
    sqlx::query!(
        "delete from audit_open o using unnest($1::uuid[], $2::uuid[]) w(tenant_id, call_id)
         where o.tenant_id = w.tenant_id and o.call_id = w.call_id",
        &tenants,
        &ids,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Forgets closed calls and tombstones of before the horizon: no frame of theirs is applied any more.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn forget(tx: &mut IngestTx, before: DateTime<Utc>) -> Result<u64, Error> {
    let gone = sqlx::query!("delete from audit_open where state <> 'open' and changed_at < $1", before)
        .execute(tx.connection())
        .await?;
    Ok(gone.rows_affected())
}
