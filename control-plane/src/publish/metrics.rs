//! What the publisher counts.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Publishing in numbers. Cloning shares them.
#[derive(Debug, Clone)]
pub struct PublishMetrics {
    /// From the commit of a change to its being in Redis, or refused.
    latency: Histogram,
    /// Configurations that could not be published.
    pub(super) refused: Counter,
    /// What waits in the outbox.
    waiting: Gauge,
    /// How long the oldest of it has waited.
    oldest: Gauge<f64, AtomicU64>,
}

impl PublishMetrics {
    /// Makes the counts and enters them into the registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            latency: Histogram::new(exponential_buckets(0.005, 2.0, 14)),
            refused: Counter::default(),
            waiting: Gauge::default(),
            oldest: Gauge::default(),
        };
        let latency = metrics.latency.clone();
        registry.register_with_unit("sluice_publish", "From a change to its publication", Unit::Seconds, latency);
        registry.register("sluice_publish_refused", "Configurations not published", metrics.refused.clone());
        registry.register("sluice_outbox_waiting", "Changes that wait to be published", metrics.waiting.clone());
        let oldest = metrics.oldest.clone();
        registry.register_with_unit("sluice_outbox_oldest", "How long the oldest has waited", Unit::Seconds, oldest);
        metrics
    }

    pub(super) fn published(&self, waited: Duration) {
        self.latency.observe(waited.as_secs_f64());
    }

    /// Shows what waits in the outbox.
    pub(crate) fn set_outbox(&self, waiting: u64, oldest: Duration) {
        self.waiting.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.oldest.set(oldest.as_secs_f64());
    }
}
