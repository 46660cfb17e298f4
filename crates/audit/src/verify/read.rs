//! What the checks need to know of a record, read from its bytes.

use std::borrow::Cow;

use domain::{BootId, NodeId, TenantId};
use serde::Deserialize;

/// A record as far as the checks read it.
#[derive(Debug, Deserialize)]
pub(super) struct Read<'a> {
    #[serde(borrow)]
    pub(super) kind: Cow<'a, str>,
    #[serde(rename = "final")]
    pub(super) is_final: bool,
    #[serde(borrow)]
    pub(super) time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) time_forwarded: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) time_end: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) pii_commit: Option<Cow<'a, str>>,
    #[serde(default)]
    tenant: Tenant,
    #[serde(default)]
    pub(super) gw: Gateway,
    #[serde(default)]
    pub(super) source: Source,
    #[serde(default)]
    pub(super) amends: Amends,
    #[serde(default, borrow)]
    pub(super) outcome: Outcome<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Tenant {
    id: Option<TenantId>,
}

/// The run of a node that formed the record, and the number it gave it.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Gateway {
    node: Option<NodeId>,
    boot: Option<BootId>,
    n: Option<u64>,
}

/// The run that a note speaks of.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Source {
    node: Option<NodeId>,
    boot: Option<BootId>,
    pub(super) clean: Option<bool>,
    pub(super) last_n: Option<u64>,
    pub(super) complete_n: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Amends {
    pub(super) seq: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Outcome<'a> {
    #[serde(borrow)]
    pub(super) status: Option<Cow<'a, str>>,
}

/// One run of one node.
pub(super) type Run = (NodeId, BootId);

impl<'a> Read<'a> {
    /// Reads a record; `None` when it is none.
    pub(super) fn of(bytes: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Whose log it is in.
    pub(super) const fn tenant(&self) -> Option<TenantId> {
        self.tenant.id
    }

    /// The run that formed it, with its number.
    pub(super) fn numbered(&self) -> Option<(Run, u64)> {
        Some(((self.gw.node?, self.gw.boot?), self.gw.n?))
    }

    /// The run that it speaks of.
    pub(super) fn told_of(&self) -> Option<Run> {
        Some((self.source.node?, self.source.boot?))
    }
}
