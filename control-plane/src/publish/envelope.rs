//! Signs what nodes believe.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::projection::{self, EnvelopeKind, Head, Revocation, SlugRecord, Statement, TokenRecord, keys};
use domain::{Clock, Slug, TenantId, TokenDigest};
use secrets::SigningKey;
use serde::Serialize;

/// Signs for one deployment.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    pub(super) deployment: Arc<str>,
    pub(super) key: Arc<SigningKey>,
    pub(super) clock: Clock,
}

/// A place in the order of things of a kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order {
    pub(super) epoch: u64,
    pub(super) revision: u64,
}

impl Signer {
    pub(super) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    pub(super) fn snapshot(&self, tenant: TenantId, order: Order, body: &[u8]) -> Vec<u8> {
        self.seal((EnvelopeKind::Snapshot, Some(tenant)), &keys::snapshot(tenant), order, body)
    }

    pub(super) fn slug(&self, slug: &Slug, tenant: TenantId, order: Order) -> Vec<u8> {
        let record = SlugRecord { tenant: Some(tenant) };
        self.seal((EnvelopeKind::Slug, Some(tenant)), &keys::slug(slug.as_str()), order, &json(&record))
    }

    pub(super) fn token(&self, tenant: TenantId, digest: TokenDigest, order: Order, record: &TokenRecord) -> Vec<u8> {
        self.seal((EnvelopeKind::Token, Some(tenant)), &keys::token(tenant, digest), order, &json(record))
    }

    pub(super) fn revocation(&self, epoch: u64, revocation: &Revocation) -> Vec<u8> {
        let order = Order { epoch, revision: revocation.number };
        self.seal((EnvelopeKind::Revocation, Some(revocation.tenant)), keys::REVOKE, order, &json(revocation))
    }

    pub(super) fn bucket(&self, bucket: usize, order: Order, body: &[u8]) -> Vec<u8> {
        self.seal((EnvelopeKind::IndexBucket, None), &keys::index_bucket(bucket), order, body)
    }

    pub(super) fn index(&self, order: Order, body: &[u8]) -> Vec<u8> {
        self.seal((EnvelopeKind::Index, None), keys::INDEX, order, body)
    }

    pub(super) fn head(&self, head: &Head) -> Vec<u8> {
        let order = Order { epoch: head.epoch, revision: head.change };
        self.seal((EnvelopeKind::Head, None), keys::HEAD, order, &json(head))
    }

    fn seal(&self, (kind, tenant): (EnvelopeKind, Option<TenantId>), key: &str, order: Order, body: &[u8]) -> Vec<u8> {
        let statement = Statement {
            deployment: &self.deployment,
            kind,
            tenant,
            key,
            epoch: order.epoch,
            revision: order.revision,
            signed_at: self.now(),
        };
        projection::seal(&statement, body, &*self.key)
    }
}

/// Our own types always become JSON.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
