//! Follows the head: what is published and what is revoked, ten times a second, and never backwards.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use domain::Clock;
use domain::projection::{Head, INDEX_BUCKETS, bucket_of, keys};
use futures_util::StreamExt;
use secrets::sha256;
use service::Drain;
use service::health::Check;
use tokio::sync::{Notify, Semaphore};

use super::ack::{Acks, Position};
use super::source::{Digests, ReadError, Source};
use super::touch::Moment;
use super::{Tenants, Touch};
use crate::caller::Callers;
use crate::metrics::Metrics;

/// How often the head is looked at when nothing hints that it changed.
const PERIOD: Duration = Duration::from_millis(100);
/// Revocations read at once.
const PAGE: usize = 1_000;
/// A head that did not grow younger for so long: the control plane is away.
const WRITER_AWAY_AFTER: Duration = Duration::from_secs(5);
/// The oldest head a starting node takes for the present one.
const START_MAX_AGE: Duration = Duration::from_mins(1);
/// Rounds between two times that expired callers are looked for.
const TIDY_EVERY: u64 = 50;
/// Tenants brought up to date at once.
const REFRESHES: usize = 4;

/// Keeps a node in step with what is published.
#[derive(Debug)]
pub struct Feed {
    pub(super) source: Source,
    pub(super) tenants: Arc<Tenants>,
    pub(super) callers: Arc<Callers>,
    pub(super) touch: Arc<Touch>,
    pub(super) acks: Acks,
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) check: Check,
    pub(super) redis_url: String,
    pub(super) max_stale: Duration,
    pub(super) refreshes: Arc<Semaphore>,
    pub(super) followed: Followed,
}

/// How far the node has come.
#[derive(Debug, Default)]
pub(super) struct Followed {
    head: Option<Head>,
    /// When the head was last seen to grow younger.
    younger: Option<Moment>,
    /// Whose root the index in memory has.
    root: String,
    epoch: u64,
    revocation: u64,
    rounds: u64,
}

/// What a feed needs beside the tenants and callers it keeps.
#[derive(Debug)]
pub(crate) struct FeedParts {
    pub(crate) acks: Acks,
    pub(crate) clock: Clock,
    pub(crate) metrics: Metrics,
    pub(crate) check: Check,
    pub(crate) redis_url: String,
    pub(crate) max_stale: Duration,
}

/// Why the node is not in step after a round.
#[derive(Debug, thiserror::Error)]
pub(super) enum RoundError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("there is no head")]
    NoHead,
    #[error("the head is older than the one before")]
    Older,
    #[error("the head has not grown younger for too long")]
    Stale,
    #[error("revocations up to {wanted} are not all there: {applied} applied")]
    Revocations { applied: u64, wanted: u64 },
    #[error("the index is not that of the head")]
    Index,
}

impl Feed {
    pub(crate) fn new(tenants: Arc<Tenants>, callers: Arc<Callers>, parts: FeedParts) -> Self {
        Self {
            source: tenants.source.clone(),
            touch: Arc::clone(&tenants.touch),
            tenants,
            callers,
            acks: parts.acks,
            clock: parts.clock,
            metrics: parts.metrics,
            check: parts.check,
            redis_url: parts.redis_url,
            max_stale: parts.max_stale,
            refreshes: Arc::new(Semaphore::new(REFRESHES)),
            followed: Followed::default(),
        }
    }

    /// Runs until the drain begins; then the node leaves the list of members.
    pub async fn run(mut self, drain: Drain) {
        let hint = Arc::new(Notify::new());
        drain.spawn(hear(self.redis_url.clone(), Arc::clone(&hint), drain.begun().clone()));
        let mut said = String::new();
        loop {
            let outcome = self.round(&drain).await;
            self.report(outcome.as_ref().err(), &mut said);
            self.acks.tell(self.position(), &self.tenants).await;
            let _ = tokio::time::timeout(PERIOD, hint.notified()).await;
            if drain.begun().is_cancelled() {
                break;
            }
        }
        self.acks.leave().await;
    }

    /// Looks at the head once and does what it asks for.
    pub(super) async fn round(&mut self, drain: &Drain) -> Result<(), RoundError> {
        let asked = self.touch.moment();
        let head = self.source.head().await?.ok_or(RoundError::NoHead)?;
        self.judge(&head, asked)?;
        self.revoke(&head).await?;
        self.follow(&head).await?;
        self.catch_up(drain);
        self.touch.matched(asked);
        self.followed.rounds += 1;
        if self.followed.rounds.is_multiple_of(TIDY_EVERY) {
            self.callers.tidy(head.revocation_floor);
        }
        Ok(())
    }

    /// Never backwards: neither in numbers nor, while the numbers stay, in time.
    fn judge(&mut self, head: &Head, asked: Moment) -> Result<(), RoundError> {
        let age = (self.clock.now() - head.at).to_std().unwrap_or_default();
        match &self.followed.head {
            // A running node may have any head that is not older than its own; a starting one only has its age to go by.
            None if age > self.max_stale => return Err(RoundError::Stale),
            None if age > START_MAX_AGE => {}
            None => self.followed.younger = Some(asked),
            Some(last) => {
                let is_older = (head.epoch, head.change) < (last.epoch, last.change)
                    || (head.epoch == last.epoch && (head.revocation < last.revocation || head.at < last.at))
                    || ((head.epoch, head.change) == (last.epoch, last.change) && head.root != last.root);
                if is_older {
                    return Err(RoundError::Older);
                }
                if head.at > last.at {
                    self.followed.younger = Some(asked);
                }
            }
        }
        self.followed.head = Some(head.clone());
        self.metrics.head_age_seconds.set(age.as_secs_f64());
        self.metrics.head_change.set(i64::try_from(head.change).unwrap_or(i64::MAX));
        if age > self.max_stale && self.writer_away(asked) { Err(RoundError::Stale) } else { Ok(()) }
    }

    /// Whether the control plane has not written for a while.
    fn writer_away(&self, now: Moment) -> bool {
        self.followed.younger.is_none_or(|younger| now.since(younger) > WRITER_AWAY_AFTER)
    }

    /// Applies the revocations up to the head's, in order.
    async fn revoke(&mut self, head: &Head) -> Result<(), RoundError> {
        let followed = &mut self.followed;
        if head.epoch > followed.epoch {
            // Postgres went back: numbers begin anew, and so does all that was learnt from them.
            if followed.epoch != 0 {
                self.callers.forget_all();
            }
            (followed.epoch, followed.revocation) = (head.epoch, 0);
        }
        // What lies below the floor concerns tokens that have expired.
        followed.revocation = followed.revocation.max(head.revocation_floor.saturating_sub(1).min(head.revocation));
        while followed.revocation < head.revocation {
            let from = followed.revocation + 1;
            let page = self.source.revocations(head.epoch, from, head.revocation, PAGE).await?;
            if page.is_empty() {
                return Err(RoundError::Revocations { applied: followed.revocation, wanted: head.revocation });
            }
            for revocation in &page {
                self.callers.apply(revocation);
                followed.revocation = revocation.number;
            }
        }
        self.metrics.revocation_applied.set(i64::try_from(followed.revocation).unwrap_or(i64::MAX));
        Ok(())
    }

    /// Takes over the head's index and marks the tenants in memory that are behind it.
    async fn follow(&mut self, head: &Head) -> Result<(), RoundError> {
        if head.root == self.followed.root {
            return Ok(());
        }
        let digests = match self.source.index(&head.root).await? {
            Some(digests) => digests,
            // Nothing was ever published.
            None if head.root == empty_root() => empty_index(),
            None => return Err(RoundError::Index),
        };
        let before = self.tenants.index.load_full();
        let has_changed = |bucket: usize| before.as_ref().is_none_or(|before| before[bucket] != digests[bucket]);
        let changed: Vec<_> =
            self.tenants.loaded().into_iter().filter(|(tenant, ..)| has_changed(bucket_of(*tenant))).collect();
        // The index first, then the marks: see `Tenants::settle`.
        self.tenants.index.store(Some(Arc::from(digests)));
        let now = self.touch.moment();
        for (_, slot, _) in changed {
            slot.mark_behind(now);
        }
        self.followed.root.clone_from(&head.root);
        Ok(())
    }

    /// Brings tenants that are behind up to date, beside the rounds: one tenant's trouble is not another's.
    fn catch_up(&self, drain: &Drain) {
        for (tenant, slot, loaded) in self.tenants.loaded() {
            if slot.behind.load().is_none() || slot.loading.try_lock().is_err() {
                continue;
            }
            let Ok(place) = Arc::clone(&self.refreshes).try_acquire_owned() else { return };
            let tenants = Arc::clone(&self.tenants);
            drain.spawn(async move {
                if let Err(error) = tenants.refresh(tenant, &slot).await {
                    tracing::warn!(error = service::causes(&error), tenant.id = %tenant, live = loaded.revision, "a tenant stays behind");
                }
                drop(place);
            });
        }
    }

    /// How far the node has come, for whoever waits for a change to be live.
    pub(super) fn position(&self) -> Position {
        let is_in_step = self.tenants.loaded().iter().all(|(_, slot, _)| slot.behind.load().is_none());
        let change = self.followed.head.as_ref().map_or(0, |head| head.change);
        Position {
            epoch: self.followed.epoch,
            change: if is_in_step { Some(change) } else { None },
            revocation: self.followed.revocation,
        }
    }

    /// Says how it is: to the health page always, to the log when it changes.
    pub(super) fn report(&self, error: Option<&RoundError>, said: &mut String) {
        let is_blind = self.touch.is_blind();
        self.metrics.blind.set(i64::from(is_blind));
        let problem = error.map(|error| service::causes(error));
        match (&problem, self.touch.has_matched()) {
            (Some(problem), false) => self.check.red(format!("no configuration yet: {problem}")),
            (Some(problem), true) if is_blind => self.check.yellow(format!("out of touch: {problem}")),
            _ if self.writer_away(self.touch.moment()) => {
                self.check.yellow("the control plane writes no configuration");
            }
            _ => self.check.green(),
        }
        // A round in between two writes of the publisher is nothing to tell of.
        let now_said = if is_blind { problem.unwrap_or_default() } else { String::new() };
        if now_said != *said {
            if now_said.is_empty() {
                tracing::info!("in touch with the configuration again");
            } else {
                tracing::warn!(reason = now_said, "out of touch with the configuration");
            }
            *said = now_said;
        }
    }
}

fn empty_index() -> Box<Digests> {
    Box::new([sha256(b"[]"); INDEX_BUCKETS])
}

fn empty_root() -> String {
    hex::encode(sha256(empty_index().as_flattened()))
}

/// Wakes the feed when something is published. Only a hint: a lost one costs at most a period.
async fn hear(redis_url: String, hint: Arc<Notify>, ended: tokio_util::sync::CancellationToken) {
    let listen = async {
        loop {
            if let Ok(client) = service::redis::client(&redis_url)
                && let Ok(mut subscription) = client.get_async_pubsub().await
                && subscription.subscribe(keys::HINT).await.is_ok()
            {
                let mut messages = pin!(subscription.on_message());
                while messages.next().await.is_some() {
                    hint.notify_one();
                }
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    };
    tokio::select! {
        () = listen => {}
        () = ended.cancelled() => {}
    }
}
