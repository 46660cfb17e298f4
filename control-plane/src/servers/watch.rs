//! Looks at every accepted server now and then, through a node: how it is, and whether it offers what was reviewed.

use std::time::Duration;

use chrono::TimeDelta;
use domain::relay::{Failed, Found};
use domain::{Clock, ServerId, TenantId};
use futures_util::StreamExt as _;
use futures_util::stream;
use service::Drain;
use store::health::{self, Backoff, State};
use store::{PgPool, PlatformTx, TenantTx};
use tokio::sync::mpsc::Receiver;

use super::actions::{self, Looker, Rejected, ServerError};
use super::relay::{Event, Relay};
use crate::ingest::change;
use crate::metrics::Metrics;
use crate::problem::causes;

/// Servers taken at once.
const BATCH: u16 = 32;
/// Most of them of one tenant: one whose servers don't answer must not keep those of others from being looked at.
const SHARE: u16 = 4;
/// How rarely a server that fails again and again is looked at, at most; or as often as any, where that is rarer.
const RAREST: Duration = Duration::from_hours(1);
/// Servers looked at at a time.
const AT_A_TIME: usize = 8;
/// Longest pause between two looks at what is due.
const PAUSE: Duration = Duration::from_secs(5);

/// Looks at servers that are due. Any number of control planes may: what one takes no other gets.
#[derive(Debug, Clone)]
pub struct Watch {
    /// The database.
    pub pool: PgPool,
    /// Tells what is due.
    pub clock: Clock,
    /// How servers are looked at.
    pub relay: Relay,
    /// How often each is.
    pub every: Duration,
    /// Where it counts.
    pub metrics: Metrics,
}

impl Watch {
    /// Looks until the drain begins.
    pub async fn run(self, drain: Drain) {
        let watching = async {
            loop {
                match self.round().await {
                    Ok(1..) => {}
                    Ok(0) => tokio::time::sleep(PAUSE.min(self.every)).await,
                    Err(error) => {
                        tracing::warn!(error = causes(&error), "can't tell which servers are to be looked at");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = watching => {}
            () = drain.begun().cancelled() => {}
        }
    }

    /// Takes what is due and looks at it; gives how many were taken.
    ///
    /// # Errors
    /// [`store::Error`] when the database did not say what is due.
    pub async fn round(&self) -> Result<usize, store::Error> {
        let mut tx = PlatformTx::begin(&self.pool).await?;
        let due = health::take_due(&mut tx, self.clock.now(), self.every, (BATCH, SHARE)).await?;
        tx.commit().await?;
        let taken = due.len();
        stream::iter(due)
            .for_each_concurrent(AT_A_TIME, async |(tenant, server)| match self.look(tenant, server).await {
                // It was removed or changed while it was looked at: the next look tells.
                Ok(()) | Err(ServerError::NotFound | ServerError::ChangedMeanwhile(_)) => {}
                Err(error) => {
                    let error = causes(&error);
                    tracing::warn!(tenant.id = %tenant, server.id = %server, error, "a look at a server was lost");
                }
            })
            .await;
        Ok(taken)
    }

    fn every_delta(&self) -> TimeDelta {
        TimeDelta::from_std(self.every).unwrap_or(TimeDelta::MAX)
    }

    async fn look(&self, tenant: TenantId, id: ServerId) -> Result<(), ServerError> {
        let mut tx = TenantTx::begin(&self.pool, tenant).await?;
        let (target, server) = actions::target(&mut tx, id).await?;
        let last = health::find(&mut tx, id).await?;
        drop(tx);
        // An import has just looked: that will do.
        let recently = last.is_some_and(|last| (self.clock.now() - last.checked_at).abs() < self.every_delta() / 2);
        if server.paused || server.version.is_none() || recently {
            return Ok(());
        }
        let Some(outcome) = outcome(self.relay.watch(&self.clock, &target)).await else {
            self.metrics.checked("no_node");
            return Ok(());
        };
        let mut tx = TenantTx::begin(&self.pool, tenant).await?;
        let looker = Looker { person: None, actor: change::Actor::System, clock: self.clock.clone() };
        let seen = match &outcome {
            Ok(found) => {
                let named = (id, server.revision);
                let imported = actions::import(&mut tx, &looker, named, found, Rejected::StayOut).await;
                seen(imported.map(|_| ()))?
            }
            Err(failed) => failure(failed),
        };
        let backoff = Backoff { every: self.every, most: RAREST.max(self.every) };
        actions::note(&mut tx, (id, server.revision), &seen, self.clock.now(), Some(backoff)).await?;
        tx.commit().await?;
        self.metrics.checked(seen.state.as_str());
        Ok(())
    }
}

/// The end of a probe; none where it says nothing of the server.
async fn outcome(mut events: Receiver<Event>) -> Option<Result<Box<Found>, Failed>> {
    while let Some(event) = events.recv().await {
        match event {
            Event::Step(_) => {}
            Event::Found(found) => return Some(Ok(found)),
            Event::Failed(failed) if is_the_nodes(&failed) => return None,
            Event::Failed(failed) => return Some(Err(failed)),
            Event::NoNode => return None,
        }
    }
    None
}

/// Whether a probe failed for a reason that is the node's own.
fn is_the_nodes(failed: &Failed) -> bool {
    matches!(
        failed.code.as_str(),
        "audit_unavailable" | "cancelled" | "credential_unavailable" | "expired" | "node_unready" | "replayed"
    )
}

/// How a server is found to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) state: State,
    /// For people.
    pub(crate) error: Option<String>,
}

/// What the import of what was found says of the server; what is wrong with the import itself stays an error.
pub(super) fn seen(imported: Result<(), ServerError>) -> Result<Seen, ServerError> {
    match imported {
        Ok(()) => Ok(Seen { state: State::Healthy, error: None }),
        Err(ServerError::Found(error)) => Ok(Seen { state: State::Unusable, error: Some(error.to_string()) }),
        Err(error) => Err(error),
    }
}

/// What a failed probe says of the server.
pub(super) fn failure(failed: &Failed) -> Seen {
    let state = match failed.code.as_str() {
        "unauthorized" => State::NeedsSignIn,
        "address_refused" | "unresolved" | "unreachable" | "tls" | "timeout" => State::Unreachable,
        _ => State::Unusable,
    };
    // A node bounds what it says; U+0000 can't be stored.
    let error = failed.detail.chars().filter(|letter| !letter.is_control()).take(500).collect();
    Seen { state, error: Some(error) }
}
