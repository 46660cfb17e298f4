//! Marks and heartbeats: once an hour each log says how far the numbers of its sources are in it, so that a record lost
//! between a node and the log shows, and that it is alive when nothing else is to be said.

use std::collections::HashSet;
use std::time::Duration;

use audit::record::{Record, SourceNote};
use audit::words::Kind;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{RecordId, TenantId};
use store::IngestTx;
use store::audit::inbox::InboxRecord;
use store::audit::mark::{self, Complete};
use store::audit::shard;

use super::Means;

/// Between two looks for logs that are due.
pub(super) const LOOK: Duration = Duration::from_secs(30);
/// Between two marks of a log.
const EVERY: TimeDelta = TimeDelta::hours(1);
/// Most logs marked in one transaction; those that are left come with the next.
const LOGS: u32 = 500;

/// Notes in each log of the shard that is due how far its sources are. False when another owns the shard.
pub(super) async fn note(means: &Means, (shard, fence): (u16, i64)) -> Result<bool, store::Error> {
    let now = means.needs.clock.now();
    let mut tx = IngestTx::begin(&means.needs.pool, shard).await?;
    if shard::lock(&mut tx, shard, fence).await?.is_none() {
        return Ok(false);
    }
    let tenants = mark::due(&mut tx, (shard, means.needs.shards), (now - EVERY, now), LOGS).await?;
    if !tenants.is_empty() {
        let complete = mark::complete(&mut tx, shard, &tenants).await?;
        let marked: HashSet<TenantId> = complete.iter().map(|complete| complete.tenant).collect();
        let beats = tenants.into_iter().filter(|tenant| !marked.contains(tenant));
        let beats = beats.map(|tenant| own(means, Kind::Heartbeat, tenant, now, SourceNote::default()));
        let marks = complete.iter().map(|complete| marked_by(means, complete, now));
        let notes: Vec<(TenantId, InboxRecord)> = beats.chain(marks).collect();
        mark::note(&mut tx, &notes).await?;
    }
    tx.commit().await?;
    Ok(true)
}

fn marked_by(means: &Means, complete: &Complete, now: DateTime<Utc>) -> (TenantId, InboxRecord) {
    let source = SourceNote {
        boot: Some(complete.source.boot),
        complete_n: Some(complete.complete_n),
        node: Some(complete.source.node),
        shard: Some(complete.source.shard),
        ..SourceNote::default()
    };
    own(means, Kind::Mark, complete.tenant, now, source)
}

fn own(means: &Means, kind: Kind, tenant: TenantId, now: DateTime<Utc>, source: SourceNote) -> (TenantId, InboxRecord) {
    let id = RecordId::new(&means.needs.clock);
    let mut record = Record::new(id, kind, tenant, now);
    record.source = source;
    (tenant, InboxRecord { id, body: record.to_bytes(), pii: None })
}
