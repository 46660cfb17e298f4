//! Sends one lane of a destination while it is held: what comes next, to whom, what they made of it, and the cursor.

use std::time::Duration;

use ::audit::export::Format;
use chrono::{DateTime, Utc};
use domain::Secret;
use secrets::Scope;
use store::destinations::{self, Destination};
use store::lanes::{self, Claim, Kind, Lane};
use store::letters;
use store::tenants::{self, KeyPurpose};
use store::{TenantTx, audit};
use tokio::sync::Semaphore;
use tokio::time::{Instant, error::Elapsed, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Needs;
use super::batch::{Answer, Batch, Fault};
use super::memory::Room;
use super::page::{self, By, Next};
use super::sender::Sender;
use super::settings::{Most, Settings};
use super::worker::{LEASE, SLOTS, Shared};
use crate::ingest::OpeningError;
use crate::problem::causes;

mod setbacks;

/// Batches after which others get their turn …
const TURNS: u32 = 200;
/// … and for how long: what is slow gives its slot back, too.
const RUN: Duration = Duration::from_secs(30);
/// For how long a lane that has sent everything is held for what comes next, while slots are free.
const LINGER: Duration = Duration::from_secs(10);
/// Before a lane that was let go without cause is looked at again.
const LOOK: Duration = Duration::from_millis(250);
/// After a failure of our own.
const AGAIN: Duration = Duration::from_secs(5);
/// How long a batch that is under way may still take once the drain has begun.
const GRACE: Duration = Duration::from_secs(5);
/// Longest statement.
const STATEMENT_MS: u32 = 15_000;
/// So many tries in a row that were not answered in time: the batch is halved.
const TIMEOUTS: u32 = 3;
/// How long a lane waits for memory before it is given back: with what it sent before, no longer than it is held.
const MEMORY_WAIT: Duration = Duration::from_secs(LEASE.as_secs() / 4);
/// For how many days hours are counted.
const HOURS_KEPT_DAYS: i64 = 14;

/// Holds a lane, and sends what is in it.
#[derive(Debug)]
pub(super) struct Runner {
    needs: Needs,
    shared: Shared,
    claim: Claim,
    /// Memory for the largest batch of its kind, once that is known.
    largest: Option<usize>,
    /// The way out, and the revision of the settings it was opened by.
    sender: Option<(u64, Sender)>,
    /// Most items of a batch: fewer while looking for the one that is refused.
    narrow: Option<usize>,
    /// Most items of a batch, since the receiver said that one was too large.
    cap: usize,
}

/// What a turn came to.
enum Turn {
    /// There may be more.
    More,
    /// All is sent, up to this end of the log.
    Idle((u64, u64)),
    /// To be looked at again after a while.
    Later(Duration),
    /// It is not ours to send any more.
    Over,
}

/// Why a turn failed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the tenant's key does not open")]
    Key(#[from] secrets::UnwrapError),
    #[error("the destination's secret can't be had")]
    Secret(#[from] secrets::StoreError),
    #[error(transparent)]
    Database(#[from] store::Error),
}

/// A lane that is held, and what it belongs to.
struct Held {
    lane: Lane,
    destination: Destination,
    settings: Settings,
}

impl Held {
    /// The kind of destination, and how many tries have failed.
    fn tries(&self) -> (&str, u32) {
        (&self.destination.kind, self.lane.failures)
    }

    /// How often a batch is halved for a receiver that is too slow for it.
    fn halvings(&self) -> u32 {
        let is_late = self.lane.error.as_ref().is_some_and(|error| error.code == "timeout");
        if is_late && self.settings.halves_when_late() { (self.lane.failures / TIMEOUTS).min(10) } else { 0 }
    }
}

impl Runner {
    pub(super) fn new(needs: Needs, shared: Shared, claim: Claim) -> Self {
        Self { needs, shared, claim, largest: None, sender: None, narrow: None, cap: usize::MAX }
    }

    /// Sends until all is sent, it can't, or others are to have their turn.
    pub(super) async fn run(mut self, begun: &CancellationToken, slots: &Semaphore) {
        let (after, is_behind) = self.send_all(begun, slots).await;
        self.release(after, is_behind).await;
        if let Some((_, sender)) = self.sender {
            sender.close().await;
        }
    }

    /// Sends until there is a reason to let the lane go: for how long, and whether records wait.
    async fn send_all(&mut self, begun: &CancellationToken, slots: &Semaphore) -> (Duration, bool) {
        let since = Instant::now();
        for _ in 0..TURNS {
            if since.elapsed() >= RUN {
                break;
            }
            // Whether what is cut off arrived is unknown: it is sent again within the same bounds.
            let Some(turn) = within_grace(begun, Box::pin(self.turn())).await else { break };
            let turn = turn.unwrap_or_else(|error| {
                let (tenant, destination) = (self.claim.tenant, self.claim.destination);
                warn!(%tenant, %destination, error = causes(&error), "sending to a destination was interrupted");
                Turn::Later(AGAIN)
            });
            match turn {
                Turn::More if begun.is_cancelled() => break,
                Turn::More => {}
                Turn::Idle(end) if self.something_came(end, begun, slots).await => {}
                Turn::Idle(_) => return (LOOK, false),
                Turn::Later(after) => return (after, true),
                // Where it was only paused, whoever starts it again need not wait for the lease to end.
                Turn::Over => break,
            }
        }
        (Duration::ZERO, true)
    }

    /// Waits a while for the log to grow, connection in hand.
    async fn something_came(&self, end: (u64, u64), begun: &CancellationToken, slots: &Semaphore) -> bool {
        let grown = self.shared.idle.grown(self.claim.tenant, end, || slots.available_permits() > SLOTS / 2);
        tokio::select! {
            grown = tokio::time::timeout(LINGER, grown) => grown.unwrap_or(false),
            () = begun.cancelled() => false,
        }
    }

    /// Memory for the next batch, once it is known how large one is.
    async fn room(&self) -> Result<Option<Room>, Elapsed> {
        let Some(largest) = self.largest else { return Ok(None) };
        timeout(MEMORY_WAIT, self.shared.memory.take(self.claim.tenant, largest)).await.map(Some)
    }

    async fn release(&self, after: Duration, is_behind: bool) {
        let released = async {
            let mut tx = TenantTx::begin(&self.needs.access.pool, self.claim.tenant).await?;
            lanes::release(&mut tx, self.claim, after, is_behind).await?;
            tx.commit().await
        };
        if let Err(error) = released.await {
            warn!(error = causes(&error), "a lane is given back only when its lease ends");
        }
    }

    /// Sends the next batch.
    async fn turn(&mut self) -> Result<Turn, Failed> {
        // Before a connection is taken: who waits for memory holds none.
        let Ok(mut room) = self.room().await else { return Ok(Turn::Later(LOOK)) };
        let mut tx = self.begin().await?;
        let Some(lane) = lanes::hold(&mut tx, self.claim, LEASE).await? else { return Ok(Turn::Over) };
        let Some(destination) = destinations::find(&mut tx, self.claim.destination).await? else {
            return Ok(Turn::Over);
        };
        let Ok(settings) = serde_json::from_str(&destination.settings) else {
            tx.commit().await?;
            let why = Fault::new("settings", "Its settings do not read back here: save them again");
            return self.failed((destination.kind.as_str(), lane.failures), None, &why).await;
        };
        let held = Held { lane, destination, settings };
        if self.sender.is_none()
            && let Some(wait) = page::rest(&mut tx, &held.lane, self.by(&held)).await?
        {
            tx.commit().await?;
            return Ok(Turn::Later(wait));
        }
        let old = self.sender.take_if(|sender| sender.0 != held.destination.revision);
        if self.sender.is_none() {
            let data_key = tenants::get_key(&mut tx, KeyPurpose::Data).await?;
            tx.commit().await?;
            if let Some((_, old)) = old {
                old.close().await;
            }
            if let Some(turn) = self.prepare(&held, &data_key).await? {
                return Ok(turn);
            }
            if self.largest.replace(held.settings.memory_of(held.settings.most().bytes)).is_none() {
                let Ok(had) = self.room().await else { return Ok(Turn::Later(LOOK)) };
                room = had;
            }
            tx = self.begin().await?;
        }
        let next = page::next(&mut tx, &held.lane, self.by(&held)).await;
        let next = match next {
            Ok(next) => next,
            Err(OpeningError::Database(error)) => return Err(error.into()),
            Err(OpeningError::Key(error)) => {
                drop(tx);
                return self.no_key(&held, "The key of personal parts", &error).await;
            }
        };
        // A checkpoint, too, may stay for long with a receiver that is dead.
        let bytes = if let Next::Send(batch, ..) | Next::Checkpoint(batch) = &next { batch.bytes() } else { 0 };
        if let Some(room) = &mut room {
            room.shrink(held.settings.memory_of(bytes));
        }
        self.take_on(tx, &held, next).await
    }

    /// Does what comes next.
    async fn take_on(&mut self, mut tx: TenantTx, held: &Held, next: Next) -> Result<Turn, Failed> {
        match next {
            Next::Send(batch, go_on, received_at) => {
                let shape = held.destination.shape;
                if !lanes::pend(&mut tx, self.claim, (batch.last, shape), LEASE).await? {
                    return Ok(Turn::Over);
                }
                tx.commit().await?;
                let answer = self.send(&batch).await;
                self.note(held, &batch, answer, (go_on, received_at)).await
            }
            Next::Checkpoint(batch) => {
                if lanes::hold(&mut tx, self.claim, LEASE).await?.is_none() {
                    return Ok(Turn::Over);
                }
                tx.commit().await?;
                let answer = self.send(&batch).await;
                self.note_checkpoint(held, &batch, answer).await
            }
            Next::Wait(wait) => Ok(Turn::Later(wait)),
            Next::Skip(epoch, place, near) => {
                let is_ours = lanes::advance(&mut tx, self.claim, (epoch, place), near).await?;
                tx.commit().await?;
                Ok(if is_ours { Turn::More } else { Turn::Over })
            }
            Next::Lost(epoch, from, to) => {
                if !lanes::advance(&mut tx, self.claim, (epoch, to), None).await? {
                    return Ok(Turn::Over);
                }
                self.lose(tx, held, (epoch, from, to), to - from).await
            }
            Next::Forget(epoch, gone) => {
                letters::forget(&mut tx, self.claim.destination, epoch, &gone).await?;
                let (first, last) = (gone.iter().min().copied(), gone.iter().max().copied());
                let places = (epoch, first.unwrap_or_default(), last.unwrap_or_default() + 1);
                self.lose(tx, held, places, u64::try_from(gone.len()).unwrap_or_default()).await
            }
            Next::End => {
                if lanes::finish(&mut tx, self.claim).await? {
                    tx.commit().await?;
                    info!(destination = %self.claim.destination, "a {} is at its end", self.claim.kind.as_str());
                }
                Ok(Turn::Over)
            }
            Next::Nothing(end) => {
                tx.commit().await?;
                Ok(Turn::Idle(end))
            }
        }
    }

    async fn begin(&self) -> Result<TenantTx, store::Error> {
        let mut tx = TenantTx::begin(&self.needs.access.pool, self.claim.tenant).await?;
        audit::search::prepare(&mut tx, STATEMENT_MS).await?;
        Ok(tx)
    }

    fn by<'a>(&'a self, held: &'a Held) -> By<'a> {
        let (most, halvings) = (held.settings.most(), held.halvings());
        let items = (most.items >> halvings).min(self.cap).min(self.narrow.unwrap_or(usize::MAX)).max(1);
        // A replay's batch is what it may send in a second.
        let items = held.lane.rate.map_or(items, |rate| items.min(usize::try_from(rate.max(1)).unwrap_or(items)));
        By {
            destination: &held.destination,
            format: Format::find(&held.destination.format).unwrap_or(Format::Native),
            most: Most { items, ..most },
            is_narrowed: self.narrow.is_some() || halvings > 0,
            linger: held.settings.linger(),
            master: &self.needs.master,
            now: self.needs.outside.clock.now(),
        }
    }

    /// Opens the way out; a turn that is over where it can't be.
    async fn prepare(&mut self, held: &Held, data_key: &domain::WrappedKey) -> Result<Option<Turn>, Failed> {
        match self.open(held, data_key).await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(fault)) => Ok(Some(self.stop(held, &fault).await?)),
            Err(Failed::Secret(error)) => {
                let why = Fault::new("secret", format!("Its secret can't be read here: {error}"));
                Ok(Some(self.failed(held.tries(), None, &why).await?))
            }
            Err(Failed::Key(error)) => {
                Ok(Some(self.no_key(held, "The key that its secret rests under", &error).await?))
            }
            Err(error) => Err(error),
        }
    }

    /// Tries again later, what stands in the log untouched: a key that does not open here may elsewhere, or soon.
    async fn no_key(&mut self, held: &Held, what: &str, error: &secrets::UnwrapError) -> Result<Turn, Failed> {
        warn!(destination = %self.claim.destination, error = causes(error), "{what} does not open");
        let why = Fault::new("secret", format!("{what} does not open: ask who runs Sluice"));
        self.failed(held.tries(), None, &why).await
    }

    async fn open(&mut self, held: &Held, data_key: &domain::WrappedKey) -> Result<Result<(), Fault>, Failed> {
        let secret = secret(&self.needs, self.claim.tenant, data_key, &held.destination).await?;
        Ok(match Sender::open(&held.settings, &secret, &self.needs.outside) {
            Ok(sender) => {
                self.sender = Some((held.destination.revision, sender));
                Ok(())
            }
            Err(fault) => Err(fault),
        })
    }

    async fn send(&mut self, batch: &Batch) -> Answer {
        match &mut self.sender {
            Some((_, sender)) => sender.send(batch).await,
            None => Answer::Retry { after: None, why: Fault::new("settings", "The way out is not open") },
        }
    }

    async fn note(
        &mut self,
        held: &Held,
        batch: &Batch,
        answer: Answer,
        (go_on, received_at): (u64, DateTime<Utc>),
    ) -> Result<Turn, Failed> {
        let count = batch.items.len();
        match answer {
            Answer::Accepted(_) => {
                if held.halvings() > 0 {
                    self.cap = self.cap.min(held.settings.most().items >> held.halvings()).max(1);
                }
                self.narrow =
                    self.narrow.map(|narrow| narrow * 2).filter(|narrow| *narrow < held.settings.most().items);
                self.accepted(held, batch, (go_on, received_at)).await
            }
            Answer::Retry { after, why } => self.failed(held.tries(), after, &why).await,
            Answer::Stopped(fault) => self.stop(held, &fault).await,
            Answer::TooLarge(_) if count > 1 => {
                self.shared.metrics.failed(held.settings.kind(), "too_large");
                (self.cap, self.narrow) = (count / 2, Some(count / 2));
                Ok(Turn::More)
            }
            Answer::Refused(_) if count > 1 => {
                self.shared.metrics.failed(held.settings.kind(), "refused");
                self.narrow = Some(count / 2);
                Ok(Turn::More)
            }
            Answer::TooLarge(fault) | Answer::Refused(fault) => {
                self.shared.metrics.failed(held.settings.kind(), "refused");
                self.put_aside(held, batch, &fault).await
            }
        }
    }

    async fn accepted(
        &mut self,
        held: &Held,
        batch: &Batch,
        (go_on, received_at): (u64, DateTime<Utc>),
    ) -> Result<Turn, Failed> {
        let now = self.needs.outside.clock.now();
        let (count, bytes) = (batch.items.len(), batch.bytes());
        let mut tx = self.begin().await?;
        if !self.go_on(&mut tx, held, batch, (go_on, Some(received_at))).await? {
            return Ok(Turn::Over);
        }
        let records = u64::try_from(count).unwrap_or_default();
        lanes::sent(&mut tx, self.claim, records, now).await?;
        let taken = (records, u64::try_from(bytes).unwrap_or_default());
        letters::count(&mut tx, self.claim, Some(taken), now).await?;
        if self.claim.kind == Kind::Letters {
            let places: Vec<u64> = batch.items.iter().map(|item| item.seq).collect();
            letters::forget(&mut tx, self.claim.destination, batch.epoch, &places).await?;
        }
        tx.commit().await?;
        self.shared.metrics.accepted(held.settings.kind(), count, bytes);
        Ok(match held.lane.rate {
            Some(rate) => Turn::Later(Duration::from_secs(records) / rate.max(1)),
            None => Turn::More,
        })
    }

    /// Moves the cursor behind a batch: that of letters stays where it is.
    async fn go_on(
        &self,
        tx: &mut TenantTx,
        held: &Held,
        batch: &Batch,
        (place, near): (u64, Option<DateTime<Utc>>),
    ) -> Result<bool, store::Error> {
        let (at, near) = match self.claim.kind {
            Kind::Letters => ((held.lane.epoch, held.lane.next), None),
            Kind::Live | Kind::Replay => ((batch.epoch, place), near),
        };
        lanes::advance(tx, self.claim, at, near).await
    }

    async fn note_checkpoint(&mut self, held: &Held, batch: &Batch, answer: Answer) -> Result<Turn, Failed> {
        match answer {
            Answer::Retry { after, why } => self.failed(held.tries(), after, &why).await,
            Answer::Stopped(fault) => self.stop(held, &fault).await,
            // Who never takes one is sent the next all the same: it may be smaller by then, or its receiver wiser.
            Answer::Accepted(_) | Answer::TooLarge(_) | Answer::Refused(_) => {
                let mut tx = self.begin().await?;
                let is_ours = lanes::sent_checkpoint(&mut tx, self.claim, batch.last).await?;
                let before = self.needs.outside.clock.now() - chrono::TimeDelta::days(HOURS_KEPT_DAYS);
                letters::forget_hours(&mut tx, self.claim.destination, before).await?;
                tx.commit().await?;
                Ok(if is_ours { Turn::More } else { Turn::Over })
            }
        }
    }
}

/// What comes of it, unless the drain has begun and it takes longer than a while.
async fn within_grace<T>(begun: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    tokio::select! {
        done = &mut work => Some(done),
        () = begun.cancelled() => tokio::time::timeout(GRACE, work).await.ok(),
    }
}

/// The secret of a destination.
///
/// # Errors
/// When the tenant's key does not open, or the place of secrets fails.
async fn secret(
    needs: &Needs,
    tenant: domain::TenantId,
    data_key: &domain::WrappedKey,
    destination: &Destination,
) -> Result<Secret<String>, Failed> {
    let data_key = needs.master.unwrap(tenant, data_key)?;
    Ok(needs.store.get(Scope { tenant, data_key: &data_key }, &destination.secret).await?)
}
