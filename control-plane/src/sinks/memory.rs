//! What batches take of the process's memory: together at most so much, whatever is sent to however many, and of one tenant
//! only a part of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use domain::TenantId;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted in.
const UNIT: usize = 1024;
/// A tenant gets one part of so many, as with slots: its batches wait for each other, and nobody else's for them.
const TENANT_PART: u32 = 8;
/// Least that can be set, MiB: a tenant's part has room for any batch, which else would take of the parts of others.
pub const MEMORY_LEAST: usize = 96;

/// Bytes that all batches of a process may hold at once. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    free: Arc<Semaphore>,
    units: u32,
    /// What is left of the parts of tenants that hold some of theirs, or wait.
    tenants: Arc<Mutex<HashMap<TenantId, Weak<Semaphore>>>>,
    /// How many wait.
    waiting: Gauge,
}

/// One that waits.
struct Waiting(Gauge);

/// A part of the memory, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Room {
    of_tenant: Option<OwnedSemaphorePermit>,
    of_all: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// So many bytes, one unit at least, and where it is counted how many wait for some.
    pub(super) fn new(bytes: usize, waiting: Gauge) -> Self {
        let units = units(bytes);
        Self { free: Arc::new(Semaphore::new(units as usize)), units, tenants: Arc::default(), waiting }
    }

    /// Waits until a tenant has room for so many bytes, in turn; who asks for more than there is at all gets all of it, and
    /// who asks for more than a tenant's part waits until that tenant holds nothing else. From [`MEMORY_LEAST`] on nobody
    /// does either.
    pub(super) async fn take(&self, tenant: TenantId, bytes: usize) -> Room {
        let wanted = units(bytes).min(self.units);
        let _waiting = Waiting::begin(&self.waiting);
        // The tenant's part first: who waits for that keeps nothing from others. Neither is ever closed.
        let of_tenant = self.of(tenant).acquire_many_owned(wanted.min(self.part())).await.ok();
        let of_all = Arc::clone(&self.free).acquire_many_owned(wanted).await.ok();
        Room { of_tenant, of_all }
    }

    fn part(&self) -> u32 {
        (self.units / TENANT_PART).max(1)
    }

    /// What is left of a tenant's part.
    fn of(&self, tenant: TenantId) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = tenants.get(&tenant).and_then(Weak::upgrade) {
            return known;
        }
        tenants.retain(|_, part| part.strong_count() > 0);
        let part = Arc::new(Semaphore::new(self.part() as usize));
        tenants.insert(tenant, Arc::downgrade(&part));
        part
    }

    /// Bytes that are held.
    pub(super) fn held(&self) -> usize {
        (self.units as usize - self.free.available_permits()) * UNIT
    }
}

impl Waiting {
    fn begin(count: &Gauge) -> Self {
        count.inc();
        Self(count.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Room {
    /// Gives back what is more than so many bytes.
    pub(super) fn shrink(&mut self, bytes: usize) {
        for held in [&mut self.of_tenant, &mut self.of_all].into_iter().flatten() {
            drop(held.split(held.num_permits().saturating_sub(units(bytes) as usize)));
        }
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 3)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use serde_json::json;

    use super::super::settings::{KINDS, Settings};
    use super::*;

    fn memory_of(bytes: usize) -> Memory {
        Memory::new(bytes, Gauge::default())
    }

    fn tenant(number: u128) -> TenantId {
        TenantId::from_uuid(uuid::Uuid::from_u128(number))
    }

    #[tokio::test]
    async fn who_asks_for_more_than_is_left_waits_until_it_is() {
        let memory = memory_of(10 * UNIT);
        let mut first = memory.take(tenant(1), 8 * UNIT).await;
        assert!(memory.take(tenant(2), 3 * UNIT).now_or_never().is_none());
        first.shrink(7 * UNIT - 1);
        assert_eq!(memory.held(), 7 * UNIT);
        let second = memory.take(tenant(2), 3 * UNIT).now_or_never();
        assert!(second.is_some());
        drop((first, second));
        assert_eq!(memory.held(), 0);
    }

    #[tokio::test]
    async fn a_batch_that_is_larger_than_all_of_it_is_sent_alone() {
        let memory = memory_of(1);
        let mut all = memory.take(tenant(1), usize::MAX).await;
        all.shrink(usize::MAX);
        assert!(memory.take(tenant(2), 0).now_or_never().is_none());
        all.shrink(0);
        assert!(memory.take(tenant(2), 0).now_or_never().is_none(), "what is held is never nothing");
        drop(all);
        assert!(memory.take(tenant(2), 0).now_or_never().is_some());
    }

    #[tokio::test]
    async fn the_least_there_may_be_has_room_for_any_batch_of_as_many_tenants_as_it_has_parts() {
        let settings = [
            json!({"kind": "webhook", "url": "https://siem.example/"}),
            json!({"kind": "splunk_hec", "url": "https://siem.example/"}),
            json!({"kind": "s3", "bucket": "records", "region": "eu-central-1"}),
            json!({"kind": "syslog", "host": "siem.example"}),
        ];
        let settings = settings.map(|settings| serde_json::from_value::<Settings>(settings).unwrap());
        assert_eq!(settings.each_ref().map(Settings::kind).as_slice(), KINDS);
        for settings in settings {
            let memory = memory_of(MEMORY_LEAST * 1024 * UNIT);
            let largest = settings.memory_of(settings.most().bytes);
            let held = (0..TENANT_PART).map(|number| memory.take(tenant(number.into()), largest).now_or_never());
            assert!(held.collect::<Vec<_>>().iter().all(Option::is_some), "{}", settings.kind());
        }
    }

    #[tokio::test]
    async fn a_tenant_whose_part_is_held_waits_for_itself_and_nobody_for_it() {
        let memory = memory_of(80 * UNIT);
        let one = tenant(1);
        let mut held = vec![memory.take(one, 6 * UNIT).await, memory.take(one, 4 * UNIT).await];
        let mut waits = vec![Box::pin(memory.take(one, UNIT))];
        waits.push(Box::pin(memory.take(one, 20 * UNIT)));
        assert!(waits.iter_mut().all(|wait| wait.now_or_never().is_none()));
        assert_eq!((memory.held(), memory.waiting.get()), (10 * UNIT, 2), "who waits holds nothing");
        // A part is one of eight: so many others there are.
        for number in 2..=8 {
            held.push(memory.take(tenant(number), 10 * UNIT).now_or_never().unwrap());
        }
        held[0].shrink(5 * UNIT);
        let next = waits.remove(0).now_or_never();
        assert!(next.is_some());
        drop((held, next));
        assert!(waits.remove(0).now_or_never().is_some(), "more than its part, alone");
        let all = memory.take(one, usize::MAX).now_or_never();
        let mut gives_up = Box::pin(memory.take(one, UNIT));
        assert!((&mut gives_up).now_or_never().is_none());
        assert_eq!(memory.waiting.get(), 1);
        drop((all, gives_up));
        assert_eq!((memory.held(), memory.waiting.get()), (0, 0));
    }
}
