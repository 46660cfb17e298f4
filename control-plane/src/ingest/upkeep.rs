//! Makes the log's partitions ahead, and forgets what no frame can concern any more.

use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, Utc};
use store::audit::{open, partition, source};
use store::{Error, IngestTx};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Needs;
use crate::problem::causes;

/// Between two rounds.
const ROUND: Duration = Duration::from_hours(1);
/// Between two rounds when one failed.
const AGAIN: Duration = Duration::from_secs(30);
/// Days made ahead.
const AHEAD: u64 = 7;
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

async fn round(needs: &Needs) -> Result<(), Error> {
    let now = needs.clock.now();
    let mut tx = IngestTx::begin(&needs.pool, NO_SHARD).await?;
    partition::add(&mut tx, &days(now)).await?;
    tx.commit().await?;
    let Ok(horizon) = chrono::Duration::from_std(needs.horizon) else { return Ok(()) };
    let mut tx = IngestTx::begin(&needs.pool, NO_SHARD).await?;
    source::forget(&mut tx, now - horizon).await?;
    open::forget(&mut tx, now - horizon).await?;
    tx.commit().await
}

/// From the day before yesterday on.
fn days(now: DateTime<Utc>) -> Vec<NaiveDate> {
    let today = now.date_naive();
    (0..=AHEAD + 2).filter_map(|day| today.checked_sub_days(Days::new(2))?.checked_add_days(Days::new(day))).collect()
}
