//! Records of a tenant's log in its own order, for a destination they are sent to.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::checkpoint::Signed;
use crate::destinations::Wanted;
use crate::{Error, TenantTx};

/// A record as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The record.
    pub id: Uuid,
    /// Its place in the log.
    pub seq: i64,
    /// Its kind.
    pub kind: String,
    /// When it began.
    pub time: DateTime<Utc>,
    /// When it reached the log.
    pub received_at: DateTime<Utc>,
    /// SHA-256 of the leaf (RFC 9162, 2.1.1).
    pub leaf_hash: Vec<u8>,
    /// Its exact bytes.
    pub body: Vec<u8>,
    /// What the key of its personal part is chosen by.
    pub part_time: DateTime<Utc>,
    /// Its personal part, sealed, where it was asked for.
    pub pii: Option<Vec<u8>>,
}

impl Sent {
    /// What it takes of a page: its exact bytes, and its personal part where it was asked for.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.body.len() + self.pii.as_ref().map_or(0, Vec::len)
    }
}

/// Which partitions are looked into: those of a time, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span(Option<(DateTime<Utc>, DateTime<Utc>)>);

impl Span {
    /// All of them.
    pub const ALL: Self = Self(None);

    /// Those of records that reached the log about then. A record's partition is of at most two days before it came, or of
    /// five minutes after; how long the next ones took, and what clocks did, is a guess: see [`whole`].
    #[must_use]
    pub fn near(time: DateTime<Utc>) -> Self {
        Self(Some((time - TimeDelta::days(3), time + TimeDelta::days(3))))
    }

    fn from(self) -> Option<DateTime<Utc>> {
        self.0.map(|span| span.0)
    }

    fn until(self) -> Option<DateTime<Utc>> {
        self.0.map(|span| span.1)
    }
}

/// Which records are asked for, and what of them.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Which.
    pub wanted: &'a Wanted,
    /// Where they are. It must be where all of the part are ([`whole`]): others are not found.
    pub span: Span,
    /// Whether what is personal in them is.
    pub personal: bool,
}

/// A part of a log: an epoch, and places from the first to before the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The log's epoch.
    pub epoch: u64,
    /// The first place.
    pub first: u64,
    /// The place after the last.
    pub end: u64,
}

/// Records that are wanted of a part of the log, in its order: at most so many, and one more than so many bytes hold, what
/// is personal in them counted in where it is asked for ([`Sent::bytes`]).
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn page(
    tx: &mut TenantTx,
    part: Part,
    asked: Asked<'_>,
    (records, bytes): (usize, usize),
) -> Result<Vec<Sent>, Error> {
    let Asked { wanted, span, personal } = asked;
    let servers: Vec<Uuid> = wanted.servers.iter().map(|server| server.uuid()).collect();
    Ok(sqlx::query_as!(
        Sent,
        r#"select id as "id!", seq as "seq!", kind as "kind!", time as "time!", received_at as "received_at!",
               leaf_hash as "leaf_hash!", body as "body!", part_time as "part_time!", pii
           from (select p.*, sum(bytes) over (order by seq) - bytes as before
               from (select id, seq, kind, time, received_at, leaf_hash, body, part_time, case when $11 then pii end as pii,
                       octet_length(body) + case when $11 then coalesce(octet_length(pii), 0) else 0 end as bytes
                   from audit_record
                   where epoch = $1 and seq >= $2 and seq < $3
                       and part_time >= coalesce($9, timestamptz '-infinity') and part_time < coalesce($10, timestamptz 'infinity')
                       and (cardinality($4::text[]) = 0 or kind = any($4))
                       and (cardinality($5::text[]) = 0 or effect is null or effect = any($5))
                       and (cardinality($6::uuid[]) = 0 or server_id is null or server_id = any($6))
                   order by seq limit $7) p) q
           where before < $8 order by seq"#,
        part.epoch.cast_signed(),
        part.first.cast_signed(),
        part.end.cast_signed(),
        &wanted.kinds,
        &wanted.effects,
        &servers,
        i64::try_from(records).unwrap_or(i64::MAX),
        i64::try_from(bytes).unwrap_or(i64::MAX),
        span.from(),
        span.until(),
        personal,
    )
    .fetch_all(tx.connection())
    .await?)
}

/// Whether a part of the log is all there within a span, no place of it missing: then when the last of it reached the log.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn whole(tx: &mut TenantTx, part: Part, span: Span) -> Result<Option<DateTime<Utc>>, Error> {
    let row = sqlx::query!(
        r#"select count(*) as "count!", max(received_at) as latest from audit_record
           where epoch = $1 and seq >= $2 and seq < $3
               and part_time >= coalesce($4, timestamptz '-infinity') and part_time < coalesce($5, timestamptz 'infinity')"#,
        part.epoch.cast_signed(),
        part.first.cast_signed(),
        part.end.cast_signed(),
        span.from(),
        span.until(),
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(row.latest.filter(|_| row.count.cast_unsigned() == part.end - part.first))
}

/// What waits in a part of the log: records, their bytes, and for how long the first of them has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Waiting {
    /// How many.
    pub records: u64,
    /// Their size.
    pub bytes: u64,
    /// Since the first reached the log.
    pub since: Duration,
}

/// What of a part of the log is wanted and waits.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn waiting(tx: &mut TenantTx, part: Part, asked: Asked<'_>) -> Result<Waiting, Error> {
    let Asked { wanted, span, personal } = asked;
    let servers: Vec<Uuid> = wanted.servers.iter().map(|server| server.uuid()).collect();
    let row = sqlx::query!(
        r#"select count(*) as "records!",
               coalesce(sum(octet_length(body) + case when $9 then coalesce(octet_length(pii), 0) else 0 end), 0) as "bytes!",
               coalesce(extract(epoch from clock_timestamp() - min(received_at)), 0)::float8 as "since!"
           from audit_record
           where epoch = $1 and seq >= $2 and seq < $3
               and (cardinality($4::text[]) = 0 or kind = any($4))
               and (cardinality($5::text[]) = 0 or effect is null or effect = any($5))
               and (cardinality($6::uuid[]) = 0 or server_id is null or server_id = any($6))
               and part_time >= coalesce($7, timestamptz '-infinity') and part_time < coalesce($8, timestamptz 'infinity')"#,
        part.epoch.cast_signed(),
        part.first.cast_signed(),
        part.end.cast_signed(),
        &wanted.kinds,
        &wanted.effects,
        &servers,
        span.from(),
        span.until(),
        personal,
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(Waiting {
        records: row.records.cast_unsigned(),
        bytes: row.bytes.cast_unsigned(),
        since: Duration::try_from_secs_f64(row.since).unwrap_or_default(),
    })
}

/// Records at these places of an epoch, in the log's order: one more than so many bytes hold; with what is personal in them
/// where that is asked for, which counts among the bytes.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn at(
    tx: &mut TenantTx,
    (epoch, places): (u64, &[u64]),
    bytes: usize,
    personal: bool,
) -> Result<Vec<Sent>, Error> {
    let places: Vec<i64> = places.iter().map(|seq| seq.cast_signed()).collect();
    Ok(sqlx::query_as!(
        Sent,
        r#"select id as "id!", seq as "seq!", kind as "kind!", time as "time!", received_at as "received_at!",
               leaf_hash as "leaf_hash!", body as "body!", part_time as "part_time!", pii
           from (select p.*, sum(bytes) over (order by seq) - bytes as before
               from (select id, seq, kind, time, received_at, leaf_hash, body, part_time, case when $4 then pii end as pii,
                       octet_length(body) + case when $4 then coalesce(octet_length(pii), 0) else 0 end as bytes
                   from audit_record where epoch = $1 and seq = any($2)) p) q
           where before < $3 order by seq"#,
        epoch.cast_signed(),
        &places,
        i64::try_from(bytes).unwrap_or(i64::MAX),
        personal,
    )
    .fetch_all(tx.connection())
    .await?)
}

/// The first place of an epoch, from this one on, where the log still has a record.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn first_from(tx: &mut TenantTx, epoch: u64, from: u64) -> Result<Option<u64>, Error> {
    let first = sqlx::query_scalar!(
        "select seq from audit_record where epoch = $1 and seq >= $2 order by seq limit 1",
        epoch.cast_signed(),
        from.cast_signed(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(first.map(i64::cast_unsigned))
}

/// The first place of a part of the log that has no record.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn hole(tx: &mut TenantTx, part: Part) -> Result<Option<u64>, Error> {
    let row = sqlx::query!(
        r#"select count(*) as "count!", min(place) filter (where place <> seq) as first
           from (select seq, $2 + row_number() over (order by seq) - 1 as place from audit_record
               where epoch = $1 and seq >= $2 and seq < $3) q"#,
        part.epoch.cast_signed(),
        part.first.cast_signed(),
        part.end.cast_signed(),
    )
    .fetch_one(tx.connection())
    .await?;
    let hole = row.first.map_or(part.first + row.count.cast_unsigned(), i64::cast_unsigned);
    Ok((hole < part.end).then_some(hole))
}

/// How many records an epoch had that is over.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn size_of(tx: &mut TenantTx, epoch: u64) -> Result<Option<u64>, Error> {
    let size = sqlx::query_scalar!("select size from audit_epoch where epoch = $1", epoch.cast_signed())
        .fetch_optional(tx.connection())
        .await?;
    Ok(size.map(i64::cast_unsigned))
}

/// The log as far as it reaches: its epoch and how many records. An empty log has none of the first epoch.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn end(tx: &mut TenantTx) -> Result<(u64, u64), Error> {
    let row = sqlx::query!("select epoch, size from audit_head").fetch_optional(tx.connection()).await?;
    Ok(row.map_or((1, 0), |row| (row.epoch.cast_unsigned(), row.size.cast_unsigned())))
}

/// The largest checkpoint of an epoch over more than `above` leaves and at most `up_to`.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn checkpoint(tx: &mut TenantTx, epoch: u64, above: u64, up_to: u64) -> Result<Option<Signed>, Error> {
    let tenant = tx.tenant();
    let row = sqlx::query!(
        "select size, note, signed_at from audit_checkpoint
         where tenant_id = $1 and epoch = $2 and size > $3 and size <= $4 order by size desc limit 1",
        tenant.uuid(),
        epoch.cast_signed(),
        above.cast_signed(),
        up_to.cast_signed(),
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| Signed {
        tenant,
        epoch,
        size: row.size.cast_unsigned(),
        note: row.note,
        signed_at: row.signed_at,
    }))
}
