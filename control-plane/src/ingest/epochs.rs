//! Epochs of logs: when Postgres was set back, a log goes on in a new one, whose first records say what is left of the old
//! (O6). Nothing of the old one is ever signed again.

use audit::entry::Body;
use audit::merkle::{Frontier, Hash};
use audit::notes::{self, TreeAt};
use audit::protocol::{Append, What};
use chrono::{DateTime, Utc};
use domain::{RecordId, TenantId};
use store::IngestTx;
use store::audit::epoch::{self, EndedEpoch};
use store::audit::head::Head;
use tracing::error;

use super::Means;
use super::placing::{self, Caches, PlaceError};

/// The last checkpoint of a log that is kept outside of the database.
#[derive(Debug, Clone)]
pub(super) struct Anchor {
    pub(super) epoch: u64,
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) note: String,
}

/// An epoch that was begun; to be told once it is committed.
pub(super) struct Begun {
    tenant: TenantId,
    appends: Vec<Append>,
    /// The epoch before, with how many records it has left, and how many were signed for.
    ended: (u64, u64, u64),
    epoch: u64,
}

impl Begun {
    /// Counts it and says it in the log.
    pub(super) fn tell(&self, means: &Means) {
        placing::tally(means, &self.appends);
        means.metrics.epochs.add(1);
        means.metrics.refused_checkpoints.add(1);
        let (tenant, epoch, (ended, is, was)) = (self.tenant, self.epoch, self.ended);
        error!(
            "the database was set back: {is} records are left of epoch {ended} of the log of {tenant}, of which {was} were signed for; it goes on in epoch {epoch}"
        );
    }
}

/// Ends a log's epoch as it is, and begins the next with the records that say so.
pub(super) async fn begin(
    tx: &mut IngestTx,
    means: &Means,
    caches: &mut Caches,
    (head, anchor): (&Head, Option<&Anchor>),
    now: DateTime<Utc>,
) -> Result<Begun, PlaceError> {
    let (tenant, root) = (head.tenant, Frontier::parse(&head.frontier)?.root());
    // Never one that was used before.
    let last = anchor.map_or(0, |anchor| anchor.epoch).max(head.epoch);
    let epoch = last.saturating_add(1).max(head.begin_epoch.unwrap_or(0));
    let next =
        Head { tenant, epoch, size: 0, frontier: Frontier::default().to_bytes(), signed_size: 0, begin_epoch: None };
    let signed = anchor.map(|anchor| anchor.note.clone());
    let ended = EndedEpoch { tenant, epoch: head.epoch, size: head.size, root, signed, ended_at: now };
    epoch::begin(tx, &ended, &next).await?;
    let recovered = TreeAt { epoch: head.epoch, size: head.size, root };
    let signed = anchor.map(|anchor| TreeAt { epoch: anchor.epoch, size: anchor.size, root: anchor.root });
    let ids = [RecordId::new(&means.needs.clock), RecordId::new(&means.needs.clock)];
    let notes = notes::set_back(tenant, (recovered, signed), ids, now);
    let append = |(seq, record)| Append { tenant, seq, what: What::Note(Body { record, private: None }) };
    let appends: Vec<Append> = (0..).zip(notes).map(append).collect();
    placing::place(tx, means, caches, (&appends, vec![next]), now).await?;
    let ended = (head.epoch, head.size, signed.map_or(0, |signed| signed.size));
    Ok(Begun { tenant, appends, ended, epoch })
}
