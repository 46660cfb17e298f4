//! How far destinations are: cursors into the log, each held by one sender at a time.
//!
//! Whoever takes a lane gives it a fence that no lane ever had, and a cursor is moved only under the fence it was taken with:
//! of two senders that each believe to hold a lane only the later one gets on, also where a lane was ended and another begun
//! in its place.

use std::time::Duration;

use chrono::{DateTime, Utc};
use domain::{DestinationId, TenantId};

use crate::{Error, TenantTx};

mod claims;
mod outcomes;

pub use claims::{End, Room, behind, claim, ends, note_waiting};
pub use outcomes::{failed, lost, refused, sent, sent_checkpoint};

/// Which cursor of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Follows the log.
    Live,
    /// Goes over a part of it once more.
    Replay,
    /// Sends dead letters again.
    Letters,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Live, Self::Replay, Self::Letters];

    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Replay => "replay",
            Self::Letters => "letters",
        }
    }

    fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A lane that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Whose.
    pub tenant: TenantId,
    /// Of which destination.
    pub destination: DestinationId,
    /// Which.
    pub kind: Kind,
    /// What it was taken with.
    pub fence: i64,
}

/// What last went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// When.
    pub at: DateTime<Utc>,
    /// A stable word.
    pub code: String,
    /// What was said, for people.
    pub said: String,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
}

/// A lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// Of which destination.
    pub destination: DestinationId,
    /// Which.
    pub kind: Kind,
    /// Which replay, or which wish for letters, of the destination's.
    pub number: u64,
    /// Whether it moves.
    pub is_on: bool,
    /// The epoch it is in.
    pub epoch: u64,
    /// The place of the first record that is not dealt with.
    pub next: u64,
    /// Of a replay: where it began, and the place it ends before.
    pub range: Option<(u64, u64)>,
    /// Of a replay: most records in a second.
    pub rate: Option<u32>,
    /// The last place of the batch that is under way, and the shape it was made in.
    pub pending: Option<(u64, u64)>,
    /// When it is tried next.
    pub due_at: Option<DateTime<Utc>>,
    /// Tries in a row that failed.
    pub failures: u32,
    /// Since when records wait.
    pub behind_since: Option<DateTime<Utc>>,
    /// How many were sent.
    pub sent: u64,
    /// When the last were.
    pub sent_at: Option<DateTime<Utc>>,
    /// What last went wrong.
    pub error: Option<LastError>,
    /// How many were no longer in the log when they were to be sent, and when that was last found.
    pub lost: Option<(u64, DateTime<Utc>)>,
    /// The size of the last checkpoint that was sent along, and when.
    pub checkpoint: (u64, DateTime<Utc>),
    /// When the last record before the next one reached the log, where that is known.
    pub near: Option<DateTime<Utc>>,
}

/// A lane that begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct New {
    /// Of which destination.
    pub destination: DestinationId,
    /// Which.
    pub kind: Kind,
    /// Which replay or wish.
    pub number: u64,
    /// Whether it moves at once.
    pub is_on: bool,
    /// The place it begins at: epoch and number.
    pub at: (u64, u64),
    /// Of a replay: the place it ends before, and most records in a second.
    pub replay: Option<(u64, u32)>,
    /// About when the first record reached or reaches the log, where that is known.
    pub near: Option<DateTime<Utc>>,
}

/// Between two checkpoints that are sent along.
pub const CHECKPOINT_EVERY: Duration = Duration::from_mins(1);

/// Adds a lane.
///
/// # Errors
/// [`Error`] when the database failed, or there is one of that kind already.
pub async fn add(tx: &mut TenantTx, new: New) -> Result<(), Error> {
    sqlx::query!(
        "insert into destination_lanes (destination_id, lane, number, is_on, epoch, next, first, until, rate,
             near)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        new.destination.uuid(),
        new.kind.as_str(),
        new.number.cast_signed(),
        new.is_on,
        new.at.0.cast_signed(),
        new.at.1.cast_signed(),
        new.replay.map(|_| new.at.1.cast_signed()),
        new.replay.map(|replay| replay.0.cast_signed()),
        new.replay.map(|replay| replay.1.cast_signed()),
        new.near,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The lanes of the tenant's destinations, or of one.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn list(tx: &mut TenantTx, of: Option<DestinationId>) -> Result<Vec<Lane>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select destination_id as "destination_id: DestinationId", lane, number, is_on, epoch, next, first, until, rate,
               pending, pending_shape, nullif(due_at, '-infinity') as due_at, failures, behind_since, sent, sent_at,
               error_at, error_code, error_said, error_status, lost, lost_at, checkpoint_size,
               greatest(checkpoint_at, 'epoch') as "checkpoint_at!", near
           from destination_lanes where $1::uuid is null or destination_id = $1 order by destination_id, lane"#,
        of.map(DestinationId::uuid),
    )
    .fetch_all(tx.connection())
    .await?;
    rows.into_iter().map(Row::read).collect()
}

/// The lane as it is now, its lease prolonged; `None` when it is another's, or is to move no longer.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn hold(tx: &mut TenantTx, claim: Claim, lease: Duration) -> Result<Option<Lane>, Error> {
    let row = sqlx::query_as!(
        Row,
        r#"update destination_lanes set lease_until = clock_timestamp() + make_interval(secs => $4)
           where destination_id = $1 and lane = $2 and fence = $3 and is_on
           returning destination_id as "destination_id: DestinationId", lane, number, is_on, epoch, next, first, until, rate,
               pending, pending_shape, nullif(due_at, '-infinity') as due_at, failures, behind_since, sent, sent_at,
               error_at, error_code, error_said, error_status, lost, lost_at, checkpoint_size,
               greatest(checkpoint_at, 'epoch') as "checkpoint_at!", near"#,
        claim.destination.uuid(),
        claim.kind.as_str(),
        claim.fence,
        lease.as_secs_f64(),
    )
    .fetch_optional(tx.connection())
    .await?;
    row.map(Row::read).transpose()
}

/// Notes which batch is under way, before it is, its lease prolonged: what came before may have taken a good part of it.
/// False when the lane is another's by now: then it is not to be sent.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn pend(tx: &mut TenantTx, claim: Claim, (last, shape): (u64, u64), lease: Duration) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update destination_lanes set pending = $4, pending_shape = $5,
             lease_until = clock_timestamp() + make_interval(secs => $6)
         where destination_id = $1 and lane = $2 and fence = $3",
        claim.destination.uuid(),
        claim.kind.as_str(),
        claim.fence,
        last.cast_signed(),
        shape.cast_signed(),
        lease.as_secs_f64(),
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Moves a cursor to a place: nothing before it is sent again. False when the lane is another's by now. `near` is when the
/// last record before that place reached the log, where that is known: what still waits has waited no longer, sent or not.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn advance(
    tx: &mut TenantTx,
    claim: Claim,
    (epoch, next): (u64, u64),
    near: Option<DateTime<Utc>>,
) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update destination_lanes set epoch = $4, next = $5, pending = null, pending_shape = null, near = coalesce($6, near),
             behind_since = coalesce($6, behind_since),
             checkpoint_size = case when epoch = $4 then checkpoint_size else 0 end
         where destination_id = $1 and lane = $2 and fence = $3",
        claim.destination.uuid(),
        claim.kind.as_str(),
        claim.fence,
        epoch.cast_signed(),
        next.cast_signed(),
        near,
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Has a held lane move no longer, and only this one; false when it is another's by now.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn halt(tx: &mut TenantTx, claim: Claim) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update destination_lanes set is_on = false, behind_since = null
         where destination_id = $1 and lane = $2 and fence = $3",
        claim.destination.uuid(),
        claim.kind.as_str(),
        claim.fence,
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Gives a lane back, to be looked at again after a while. Whether it is all sent.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn release(tx: &mut TenantTx, claim: Claim, after: Duration, is_behind: bool) -> Result<(), Error> {
    sqlx::query!(
        "update destination_lanes set lease_until = '-infinity', owner = null,
             due_at = clock_timestamp() + make_interval(secs => $4),
             behind_since = case when $5 then behind_since end
         where destination_id = $1 and lane = $2 and fence = $3",
        claim.destination.uuid(),
        claim.kind.as_str(),
        claim.fence,
        after.as_secs_f64(),
        is_behind,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Has all lanes of a destination move, at once, or no longer. One that is under way is not taken from its sender: the
/// sender sees it before the next batch.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn switch(tx: &mut TenantTx, destination: DestinationId, is_on: bool) -> Result<(), Error> {
    sqlx::query!(
        "update destination_lanes set is_on = $2, due_at = '-infinity', failures = 0, refused = 0,
             behind_since = case when $2 then behind_since end
         where destination_id = $1",
        destination.uuid(),
        is_on,
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Has the lanes of a destination that wait for their next try make it now. How often they failed stays as it is.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn retry(tx: &mut TenantTx, destination: DestinationId) -> Result<(), Error> {
    sqlx::query!(
        "update destination_lanes set due_at = '-infinity' where destination_id = $1 and is_on",
        destination.uuid(),
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Ends a lane: of a replay or of letters, whatever is under way.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn end(tx: &mut TenantTx, destination: DestinationId, kind: Kind) -> Result<bool, Error> {
    let done = sqlx::query!(
        "delete from destination_lanes where destination_id = $1 and lane = $2",
        destination.uuid(),
        kind.as_str(),
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Ends a held lane that has reached its end; false when it is another's by now.
///
/// # Errors
/// [`Error`] when the database failed.
pub async fn finish(tx: &mut TenantTx, claim: Claim) -> Result<bool, Error> {
    let done = sqlx::query!(
        "delete from destination_lanes where destination_id = $1 and lane = $2 and fence = $3",
        claim.destination.uuid(),
        claim.kind.as_str(),
        claim.fence,
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() > 0)
}

struct Row {
    destination_id: DestinationId,
    lane: String,
    number: i64,
    is_on: bool,
    epoch: i64,
    next: i64,
    first: Option<i64>,
    until: Option<i64>,
    rate: Option<i32>,
    pending: Option<i64>,
    pending_shape: Option<i64>,
    due_at: Option<DateTime<Utc>>,
    failures: i32,
    behind_since: Option<DateTime<Utc>>,
    sent: i64,
    sent_at: Option<DateTime<Utc>>,
    error_at: Option<DateTime<Utc>>,
    error_code: Option<String>,
    error_said: Option<String>,
    error_status: Option<i32>,
    lost: i64,
    lost_at: Option<DateTime<Utc>>,
    checkpoint_size: i64,
    checkpoint_at: DateTime<Utc>,
    near: Option<DateTime<Utc>>,
}

impl Row {
    fn read(self) -> Result<Lane, Error> {
        let pair = |one: Option<i64>, other: Option<i64>| {
            one.zip(other).map(|(one, other)| (one.cast_unsigned(), other.cast_unsigned()))
        };
        let error = self.error_at.zip(self.error_code).zip(self.error_said).map(|((at, code), said)| LastError {
            at,
            code,
            said,
            status: self.error_status.and_then(|status| u16::try_from(status).ok()),
        });
        Ok(Lane {
            destination: self.destination_id,
            kind: crate::error::read("destination_lanes.lane", Kind::find(&self.lane))?,
            number: self.number.cast_unsigned(),
            is_on: self.is_on,
            epoch: self.epoch.cast_unsigned(),
            next: self.next.cast_unsigned(),
            range: pair(self.first, self.until),
            rate: self.rate.map(i32::cast_unsigned),
            pending: pair(self.pending, self.pending_shape),
            due_at: self.due_at,
            failures: self.failures.cast_unsigned(),
            behind_since: self.behind_since,
            sent: self.sent.cast_unsigned(),
            sent_at: self.sent_at,
            error,
            lost: self.lost_at.map(|at| (self.lost.cast_unsigned(), at)),
            checkpoint: (self.checkpoint_size.cast_unsigned(), self.checkpoint_at),
            near: self.near,
        })
    }
}
