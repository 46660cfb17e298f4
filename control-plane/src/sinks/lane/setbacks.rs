//! What does not arrive: tried again, put aside, stopped, or no longer there.

use std::time::Duration;

use store::TenantTx;
use store::destinations::{self, State};
use store::lanes::{self, Kind, LastError};
use store::letters::{self, Letter};
use tracing::warn;

use super::{Failed, Held, LOOK, Runner, Turn};
use crate::ingest::change::{self, Change};
use crate::sinks::backoff;
use crate::sinks::batch::{Batch, Fault};

/// So many dead letters, and nothing that was taken between them: it is the settings, not the records.
const LETTERS_IN_A_ROW: u32 = 20;

impl Runner {
    /// Notes a failure of a lane that has failed so often before; the batch comes again after a while.
    pub(super) async fn failed(
        &mut self,
        (kind, failures): (&str, u32),
        after: Option<Duration>,
        why: &Fault,
    ) -> Result<Turn, Failed> {
        self.shared.metrics.failed(kind, "retry");
        let mut tx = self.begin().await?;
        let error = self.last_error(why);
        lanes::failed(&mut tx, self.claim, &error).await?;
        letters::count(&mut tx, self.claim, None, error.at).await?;
        tx.commit().await?;
        let dice = u32::from_be_bytes(secrets::random());
        Ok(Turn::Later(backoff::wait(failures + 1, after, dice)))
    }

    /// Puts the batch's one record aside, and goes on behind it. After too many of them in a row it is stopped instead.
    pub(super) async fn put_aside(&mut self, held: &Held, batch: &Batch, fault: &Fault) -> Result<Turn, Failed> {
        let Some(item) = batch.items.first() else { return Ok(Turn::More) };
        let letter = Letter {
            epoch: batch.epoch,
            seq: item.seq,
            record: item.id,
            time: item.time,
            code: fault.code.clone(),
            said: fault.said.clone(),
            status: fault.status,
            failed_at: self.needs.outside.clock.now(),
            wish: None,
        };
        let mut tx = self.begin().await?;
        if !self.go_on(&mut tx, held, batch, (item.seq + 1, None)).await? {
            return Ok(Turn::Over);
        }
        if lanes::refused(&mut tx, self.claim).await? > LETTERS_IN_A_ROW {
            drop(tx);
            return self.stop(held, &nothing_passes(fault)).await;
        }
        letters::put(&mut tx, self.claim.destination, &letter).await?;
        tx.commit().await?;
        self.shared.metrics.dead_letter(held.settings.kind());
        Ok(Turn::More)
    }

    /// Stops what is wrong until a person has looked; that it was is recorded. The batch stays under way. Only what follows
    /// the log stops the whole destination: a replay and dead letters may be refused where what is new is not.
    pub(super) async fn stop(&mut self, held: &Held, fault: &Fault) -> Result<Turn, Failed> {
        self.shared.metrics.failed(held.settings.kind(), "stopped");
        let mut tx = self.begin().await?;
        let found = destinations::find_locked(&mut tx, self.claim.destination).await?;
        let Some(mut found) = found.filter(|found| found.revision == held.destination.revision) else {
            // It was changed meanwhile: perhaps that was what it wanted.
            return Ok(Turn::Later(LOOK));
        };
        lanes::failed(&mut tx, self.claim, &self.last_error(fault)).await?;
        if !lanes::halt(&mut tx, self.claim).await? {
            return Ok(Turn::Over);
        }
        let action = match self.claim.kind {
            Kind::Live => "destination.stop",
            Kind::Replay => "destination.replay_stop",
            Kind::Letters => "destination.resend_stop",
        };
        if self.claim.kind == Kind::Live {
            found.state = State::Stopped;
            let written = destinations::change(&mut tx, &found).await;
            if let Err(destinations::WriteError::Database(error)) = written {
                return Err(error.into());
            }
            lanes::switch(&mut tx, self.claim.destination, false).await?;
        }
        lanes::release(&mut tx, self.claim, Duration::ZERO, false).await?;
        let change = Change::new(action, "destination", found.id).named(found.name.clone());
        change::record(&mut tx, &self.needs.outside.clock, &change::Actor::System, change).await?;
        tx.commit().await?;
        let kind = self.claim.kind.as_str();
        warn!(destination = %found.id, kind, code = fault.code, "a lane is stopped until a person has looked");
        Ok(Turn::Over)
    }

    /// Records, counts and shows that records left the log before they were sent. From the first place to before the last.
    pub(super) async fn lose(
        &self,
        mut tx: TenantTx,
        held: &Held,
        (epoch, from, to): (u64, u64, u64),
        records: u64,
    ) -> Result<Turn, Failed> {
        let clock = &self.needs.outside.clock;
        lanes::lost(&mut tx, self.claim.destination, records, clock.now()).await?;
        let what = format!("{}: {records} of records {from} to {} of epoch {epoch}", held.destination.name, to - 1);
        let change = Change::new("destination.gap", "destination", held.destination.id).named(what);
        change::record(&mut tx, clock, &change::Actor::System, change.after(&(epoch, from, to, records))).await?;
        tx.commit().await?;
        self.shared.metrics.lost(held.settings.kind(), records);
        warn!(destination = %held.destination.id, epoch, from, to, records, "records left the log before they were sent");
        Ok(Turn::More)
    }

    fn last_error(&self, fault: &Fault) -> LastError {
        let at = self.needs.outside.clock.now();
        LastError { at, code: fault.code.clone(), said: fault.said.clone(), status: fault.status }
    }
}

fn nothing_passes(fault: &Fault) -> Fault {
    let said = format!("The receiver refused {LETTERS_IN_A_ROW} records in a row, the last with: {}", fault.said);
    Fault { said, ..fault.clone() }
}
