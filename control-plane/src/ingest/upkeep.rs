//! Makes the log's partitions ahead, drops those that are old enough, and forgets what no frame can concern any more.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use store::audit::{callers, checkpoint, open, partition, quarantine, rollup, source, subject_key};
use store::{Error, IngestTx};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Needs;
use super::personal::month_of;
use crate::problem::causes;

/// Between two rounds.
const ROUND: Duration = Duration::from_hours(1);
/// Between two rounds when one failed.
const AGAIN: Duration = Duration::from_secs(30);
/// Days made ahead.
const AHEAD: u64 = 7;
/// Most counts forgotten by one statement: it has 3 s.
const COUNTS: u32 = 5000;
/// Most frames that were put aside forgotten by one statement; they are larger.
const FRAMES: u32 = 200;
/// The session's name; no shard has this number.
const NO_SHARD: u16 = u16::MAX;

pub(super) async fn run(needs: &Needs, begun: &CancellationToken) {
    loop {
        let pause = match round(needs).await {
            Ok(()) => ROUND,
            Err(error) => {
                warn!(error = causes(&error), "the audit log's upkeep failed; it is tried again");
                AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = begun.cancelled() => return,
        }
    }
}

pub(super) async fn round(needs: &Needs) -> Result<(), Error> {
    let now = needs.clock.now();
    let mut tx = IngestTx::begin(&needs.pool, NO_SHARD).await?;
    partition::add(&mut tx, &days(now)).await?;
    tx.commit().await?;
    let Ok(horizon) = chrono::Duration::from_std(needs.horizon) else { return Ok(()) };
    let mut tx = IngestTx::begin(&needs.pool, NO_SHARD).await?;
    source::forget(&mut tx, now - horizon).await?;
    open::forget(&mut tx, now - horizon).await?;
    tx.commit().await?;
    thin_out_checkpoints(needs, now).await?;
    drop_old(needs, now).await
}

/// Of the checkpoints older than an hour, one for each hour is enough.
pub(super) async fn thin_out_checkpoints(needs: &Needs, now: DateTime<Utc>) -> Result<(), Error> {
    loop {
        let mut tx = IngestTx::begin(&needs.pool, NO_SHARD).await?;
        let gone = checkpoint::thin_out(&mut tx, now - TimeDelta::hours(1), COUNTS).await?;
        tx.commit().await?;
        if gone == 0 {
            return Ok(());
        }
    }
}

/// Drops the days of the log that are older than it is kept, one at a time, then what was made of them and what was put
/// aside, little by little.
async fn drop_old(needs: &Needs, now: DateTime<Utc>) -> Result<(), Error> {
    let Some(before) = now.date_naive().checked_sub_days(Days::new(needs.retention.days())) else { return Ok(()) };
    loop {
        let mut tx = IngestTx::begin(&needs.pool, NO_SHARD).await?;
        let dropped = partition::drop_oldest(&mut tx, before).await?;
        tx.commit().await?;
        match dropped {
            Some(day) => info!("dropped the audit records of {day}"),
            None => break,
        }
    }
    let before = before.and_time(NaiveTime::MIN).and_utc();
    // First, and by itself: whatever else may fail, what was to be erased is.
    let mut tx = IngestTx::begin(&needs.pool, NO_SHARD).await?;
    subject_key::forget(&mut tx, month_of(before)).await?;
    tx.commit().await?;
    loop {
        let mut tx = IngestTx::begin(&needs.pool, NO_SHARD).await?;
        let counts = rollup::forget(&mut tx, before, COUNTS).await? + callers::forget(&mut tx, before, COUNTS).await?;
        let frames = quarantine::forget(&mut tx, before, FRAMES).await?;
        tx.commit().await?;
        if counts + frames == 0 {
            return Ok(());
        }
    }
}

/// From the day before yesterday on.
fn days(now: DateTime<Utc>) -> Vec<NaiveDate> {
    let today = now.date_naive();
    (0..=AHEAD + 2).filter_map(|day| today.checked_sub_days(Days::new(2))?.checked_add_days(Days::new(day))).collect()
}
