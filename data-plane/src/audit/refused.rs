//! Requests refused before anybody was known, counted per tenant and reason.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use audit::Record;
use audit::protocol::DEPLOYMENT;
use audit::record::{Actor, Decision, Outcome};
use audit::words::{ActorKind, Effect, Kind, Stage, Status};
use domain::{Clock, RecordId, TenantId};

/// Most different pairs in one minute; what is beyond counts for the deployment.
const PAIRS_MAX: usize = 10_000;

/// The counts of the minute under way.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<HashMap<(TenantId, &'static str), u64>>);

impl Refused {
    /// Counts one.
    pub(super) fn count(&self, tenant: TenantId, reason: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = counts.len() < PAIRS_MAX || counts.contains_key(&(tenant, reason));
        *counts.entry((if known { tenant } else { DEPLOYMENT }, reason)).or_default() += 1;
    }

    /// Begins a new minute, and gives the records of the old one; those of tenants that `admits` refuses count on.
    pub(super) fn take(&self, clock: &Clock, admits: impl Fn(TenantId) -> bool) -> Vec<Record> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended: Vec<_> = counts.extract_if(|(tenant, _), _| admits(*tenant)).collect();
        drop(counts);
        ended.into_iter().map(|((tenant, reason), count)| summary(clock, tenant, reason, count)).collect()
    }
}

fn summary(clock: &Clock, tenant: TenantId, reason: &'static str, count: u64) -> Record {
    let mut record = Record::new(RecordId::new(clock), Kind::Auth, tenant, clock.now());
    record.actor = Actor { kind: Some(ActorKind::Anonymous), ..Actor::default() };
    record.count = Some(count);
    record.decision = Decision {
        code: Some(reason.into()),
        effect: Some(Effect::Deny),
        stage: Some(Stage::Authn),
        ..Decision::default()
    };
    record.outcome = Outcome { status: Some(Status::Denied), ..Outcome::default() };
    record
}
