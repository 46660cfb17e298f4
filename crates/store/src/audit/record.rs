//! Adding records to the log. Nothing changes or deletes one.

use ::audit::Columns;
use chrono::{DateTime, Utc};
use domain::TenantId;
use uuid::Uuid;

use crate::{Error, IngestTx};

/// Longest text of a column that an index holds, bytes: an index takes no more than a third of a page. The record's own
/// bytes have the whole text.
const TEXT_MAX: usize = 400;

/// A record with its place in its tenant's log.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    /// Whose log.
    pub tenant: TenantId,
    /// Which epoch of it.
    pub epoch: u64,
    /// Its place.
    pub seq: u64,
    /// SHA-256 of the leaf (RFC 9162, 2.1.1).
    pub leaf_hash: [u8; 32],
    /// The exact bytes of the leaf.
    pub body: bytes::Bytes,
    /// The personal part, sealed.
    pub pii: Option<Vec<u8>>,
    /// What is searched by.
    pub columns: Columns,
    /// When it reached the log.
    pub received_at: DateTime<Utc>,
    /// When it began; `received_at` where it does not say.
    pub time: DateTime<Utc>,
    /// What its partition is chosen by.
    pub part_time: DateTime<Utc>,
}

/// Adds records.
///
/// # Errors
/// [`Error`] when the database failed; [`Error::is_refused_value`] when one of the records is not storable.
pub async fn add(tx: &mut IngestTx, records: &[Placed]) -> Result<(), Error> {
    // One statement of all rows would need all columns' copies at once.
    for part in records.chunks(1000) {
        add_part(tx, part).await?;
    }
    Ok(())
}

fn column<'a, T>(records: &'a [Placed], value: impl Fn(&'a Placed) -> T) -> Vec<T> {
    records.iter().map(value).collect()
}

fn text<'a>(records: &'a [Placed], value: impl Fn(&'a Columns) -> Option<&'a String>) -> Vec<Option<&'a str>> {
    column(records, |record| value(&record.columns).map(|text| column_text(text)))
}

/// As much of a text as its column has.
#[must_use]
pub fn column_text(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

#[expect(clippy::too_many_lines, reason = "one line for each column")]
async fn add_part(tx: &mut IngestTx, records: &[Placed]) -> Result<(), Error> {
    let policies = column(records, |record| {
        let ids: Vec<String> = record.columns.policy_ids.iter().map(|id| id.uuid().to_string()).collect();
        (!ids.is_empty()).then(|| format!("{{{}}}", ids.join(",")))
    });
    sqlx::query!(
        "insert into audit_record (tenant_id, time, id, part_time, displaced, received_at, epoch, seq, leaf_hash, kind,
             final, call_id, actor_kind, actor_id, token_id, client_name, method, server_id, tool_id, tool_name,
             definition_hash, arguments_hmac, result_bytes, result_is_error, effect, decision_code, policy_ids, status,
             duration_us, policy_us, credential_us, upstream_us, trace_id, session_id, node, change_action,
             change_target_kind, change_target_id, body, pii)
         select tenant_id, time, id, part_time, part_time <> time, received_at, epoch, seq, leaf_hash, kind,
             final, call_id, actor_kind, actor_id, token_id, client_name, method, server_id, tool_id, tool_name,
             definition_hash, arguments_hmac, result_bytes, result_is_error, effect, decision_code,
             policy_ids::uuid[], status, duration_us, policy_us, credential_us, upstream_us, trace_id, session_id, node,
             change_action, change_target_kind, change_target_id, body, pii
         from unnest($1::uuid[], $2::timestamptz[], $3::uuid[], $4::timestamptz[], $5::timestamptz[], $6::int8[],
             $7::int8[], $8::bytea[], $9::text[], $10::bool[], $11::uuid[], $12::text[], $13::text[], $14::uuid[],
             $15::text[], $16::text[], $17::uuid[], $18::uuid[], $19::text[], $20::text[], $21::text[], $22::int8[],
             $23::bool[], $24::text[], $25::text[], $26::text[], $27::text[], $28::int8[], $29::int8[], $30::int8[],
             $31::int8[], $32::text[], $33::text[], $34::uuid[], $35::text[], $36::text[], $37::text[], $38::bytea[],
             $39::bytea[])
         u(tenant_id, time, id, part_time, received_at, epoch, seq, leaf_hash, kind, final, call_id, actor_kind,
             actor_id, token_id, client_name, method, server_id, tool_id, tool_name, definition_hash, arguments_hmac,
             result_bytes, result_is_error, effect, decision_code, policy_ids, status, duration_us, policy_us,
             credential_us, upstream_us, trace_id, session_id, node, change_action, change_target_kind,
             change_target_id, body, pii)",
        &column(records, |record| record.tenant.uuid()),
        &column(records, |record| record.time),
        &column(records, |record| record.columns.id),
        &column(records, |record| record.part_time),
        &column(records, |record| record.received_at),
        &column(records, |record| record.epoch.cast_signed()),
        &column(records, |record| record.seq.cast_signed()),
        &column(records, |record| record.leaf_hash.as_slice()) as &[&[u8]],
        &text(records, |columns| Some(&columns.kind)) as &[Option<&str>],
        &column(records, |record| record.columns.is_final),
        &column(records, |record| record.columns.call_id) as &[Option<Uuid>],
        &text(records, |columns| columns.actor_kind.as_ref()) as &[Option<&str>],
        &text(records, |columns| columns.actor_id.as_ref()) as &[Option<&str>],
        &column(records, |record| record.columns.token_id.map(domain::Id::uuid)) as &[Option<Uuid>],
        &text(records, |columns| columns.client_name.as_ref()) as &[Option<&str>],
        &text(records, |columns| columns.mcp_method.as_ref()) as &[Option<&str>],
        &column(records, |record| record.columns.server_id.map(domain::Id::uuid)) as &[Option<Uuid>],
        &column(records, |record| record.columns.tool_id.map(domain::Id::uuid)) as &[Option<Uuid>],
        &text(records, |columns| columns.tool_name.as_ref()) as &[Option<&str>],
        &text(records, |columns| columns.definition_hash.as_ref()) as &[Option<&str>],
        &text(records, |columns| columns.args_hmac.as_ref()) as &[Option<&str>],
        &column(records, |record| record.columns.result_bytes) as &[Option<i64>],
        &column(records, |record| record.columns.result_is_error) as &[Option<bool>],
        &text(records, |columns| columns.effect.as_ref()) as &[Option<&str>],
        &text(records, |columns| columns.decision_code.as_ref()) as &[Option<&str>],
        &policies as &[Option<String>],
        &text(records, |columns| columns.status.as_ref()) as &[Option<&str>],
        &column(records, |record| record.columns.dur_total) as &[Option<i64>],
        &column(records, |record| record.columns.dur_policy) as &[Option<i64>],
        &column(records, |record| record.columns.dur_credential) as &[Option<i64>],
        &column(records, |record| record.columns.dur_upstream) as &[Option<i64>],
        &text(records, |columns| columns.trace_id.as_ref()) as &[Option<&str>],
        &text(records, |columns| columns.session_id.as_ref()) as &[Option<&str>],
        &column(records, |record| record.columns.node.map(domain::Id::uuid)) as &[Option<Uuid>],
        &text(records, |columns| columns.change_action.as_ref()) as &[Option<&str>],
        &text(records, |columns| columns.change_target_kind.as_ref()) as &[Option<&str>],
        &text(records, |columns| columns.change_target_id.as_ref()) as &[Option<&str>],
        &column(records, |record| record.body.as_ref()) as &[&[u8]],
        &column(records, |record| record.pii.as_deref()) as &[Option<&[u8]>],
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
