//! What enters tenants' logs, each in its place.

use std::collections::BTreeMap;

use domain::TenantId;

use crate::entry::Body;
use crate::frame::Source;
use crate::ranges::Ranges;

/// What a place in a tenant's log is given to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum What {
    /// A call's final record, as the node formed it.
    Final(Body),
    /// A note, as its maker formed it.
    Note(Body),
    /// The final record of a call whose node is gone; the body is the intent.
    Unknown(Body),
    /// The true outcome of a call that had been closed.
    Late {
        /// The record as the node formed it.
        body: Body,
        /// The place of the final record it corrects.
        amends: u64,
    },
    /// Frames that did not come or can't be read.
    Gap {
        /// Whose.
        source: Source,
        /// Which.
        missing: Ranges,
        /// Why.
        reason: GapReason,
    },
    /// Frames came that a gap had named.
    GapFilled {
        /// Whose.
        source: Source,
        /// Which.
        filled: Ranges,
    },
    /// A source is over.
    BootEnd {
        /// Which.
        source: Source,
        /// Its last frame that came.
        last_s: u64,
        /// The tenant's last record that came.
        last_n: Option<u64>,
        /// Whether it said good-bye with no frame missing.
        clean: bool,
        /// The frames that never came.
        missing: Ranges,
    },
}

/// Why there is a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GapReason {
    /// The frames did not come before their source fell silent.
    Lost,
    /// Too many frames waited for them.
    Overdue,
    /// The frame came and can't be read.
    Unreadable,
    /// The database was set back and nothing has them any more.
    SetBack,
}

impl GapReason {
    /// The stable word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Overdue => "overdue",
            Self::Unreadable => "unreadable",
            Self::SetBack => "set_back",
        }
    }
}

/// A record that enters a tenant's log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Append {
    /// Whose log.
    pub tenant: TenantId,
    /// Its place.
    pub seq: u64,
    /// The record, or what it is to be made from ([`crate::notes::render`]).
    pub what: What,
}

/// Tenants' logs, as far as they are touched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Log {
    /// The next free place of each log; a log without records is absent or 0.
    pub next: BTreeMap<TenantId, u64>,
    /// What is to be appended, in order.
    pub appends: Vec<Append>,
}

impl Log {
    /// Gives something the next place in a tenant's log.
    pub fn push(&mut self, tenant: TenantId, what: What) -> u64 {
        let next = self.next.entry(tenant).or_default();
        let seq = *next;
        *next += 1;
        self.appends.push(Append { tenant, seq, what });
        seq
    }
}
