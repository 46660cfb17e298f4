//! Which tenant a slug names: remembered for a while, unknown ones for a moment.

use std::time::Duration;

use domain::{Slug, TenantId};
use moka::sync::Cache;

use super::source::Source;
use super::{Touch, Unavailable};

/// Slugs remembered.
const KNOWN: u64 = 100_000;
/// Unknown slugs remembered, so that asking for them again and again costs nothing.
const UNKNOWN: u64 = 10_000;
const UNKNOWN_FOR: Duration = Duration::from_secs(1);

/// The slugs a node has heard of. A slug once given is never another tenant's, so what is known stays true; the snapshot
/// has the last word on whether it still is the tenant's.
#[derive(Debug)]
pub(super) struct Slugs {
    known: Cache<Slug, TenantId>,
    unknown: Cache<Slug, ()>,
    source: Source,
}

impl Slugs {
    pub(super) fn new(source: Source) -> Self {
        let unknown = Cache::builder().max_capacity(UNKNOWN).time_to_live(UNKNOWN_FOR).build();
        Self { known: Cache::new(KNOWN), unknown, source }
    }

    pub(super) async fn resolve(&self, slug: &Slug, touch: &Touch) -> Result<Option<TenantId>, Unavailable> {
        if let Some(tenant) = self.known.get(slug) {
            return Ok(Some(tenant));
        }
        if self.unknown.contains_key(slug) {
            return Ok(None);
        }
        if touch.is_blind() {
            return Err(Unavailable);
        }
        let found = self.source.slug(slug).await.map_err(|error| {
            tracing::warn!(error = service::causes(&error), "could not look a slug up");
            Unavailable
        })?;
        let tenant = found.and_then(|record| record.value.tenant);
        match tenant {
            Some(tenant) => self.known.insert(slug.clone(), tenant),
            None => self.unknown.insert(slug.clone(), ()),
        }
        Ok(tenant)
    }
}
