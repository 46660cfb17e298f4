//! What is counted of destinations, by kind of destination: no tenant is ever a label.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use store::PgPool;

use super::settings::KINDS;

/// The counts. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    sent: Family<KindLabels, Counter>,
    bytes: Family<KindLabels, Counter>,
    errors: Family<ErrorLabels, Counter>,
    letters: Family<KindLabels, Counter>,
    lost: Family<KindLabels, Counter>,
    lag: Family<KindLabels, Gauge<f64, AtomicU64>>,
    waiting: Family<KindLabels, Gauge<i64, AtomicI64>>,
    busy: Gauge<i64, AtomicI64>,
    held: Gauge<i64, AtomicI64>,
    /// Counted where they wait.
    pub(super) held_up: Gauge,
    connections: Gauge<i64, AtomicI64>,
    connections_max: Gauge<i64, AtomicI64>,
}

/// A kind of destination.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: String,
}

/// What a receiver made of a batch that it did not accept.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    kind: String,
    /// `retry`, `too_large`, `refused` or `stopped`.
    outcome: &'static str,
}

impl Metrics {
    /// Makes the counts and enters them into the registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        // An alert that asks what a count grew by sees nothing in one that begins with its first event.
        for kind in KINDS {
            metrics.letters.get_or_create(&KindLabels { kind: (*kind).to_owned() }).inc_by(0);
            metrics.lost.get_or_create(&KindLabels { kind: (*kind).to_owned() }).inc_by(0);
            for outcome in ["retry", "too_large", "refused", "stopped"] {
                metrics.errors.get_or_create(&ErrorLabels { kind: (*kind).to_owned(), outcome }).inc_by(0);
            }
        }
        registry.register("sluice_sink_sent", "Records that destinations accepted", metrics.sent.clone());
        let bytes = metrics.bytes.clone();
        registry.register_with_unit("sluice_sink_sent", "Their size before compression", Unit::Bytes, bytes);
        registry.register("sluice_sink_errors", "Batches that were not accepted", metrics.errors.clone());
        registry.register("sluice_sink_dead_letters", "Records put aside", metrics.letters.clone());
        let help = "Records that the log no longer had when they were to be sent";
        registry.register("sluice_sink_lost_records", help, metrics.lost.clone());
        let help = "For how long records have waited for the destination that is furthest behind";
        registry.register_with_unit("sluice_sink_lag", help, Unit::Seconds, metrics.lag.clone());
        let help = "Records that wait, over all destinations that run";
        registry.register("sluice_sink_waiting_records", help, metrics.waiting.clone());
        let help = "Destinations this process sends to at the moment; it is full at 128";
        registry.register("sluice_sink_busy", help, metrics.busy.clone());
        let help = "Memory that batches take; they wait at SLUICE_SINK_MEMORY_MB";
        registry.register_with_unit("sluice_sink_memory", help, Unit::Bytes, metrics.held.clone());
        let help = "Destinations that wait for memory for their next batch";
        registry.register("sluice_sink_memory_waiting", help, metrics.held_up.clone());
        let help = "Connections to Postgres that sending to destinations uses";
        registry.register("sluice_sink_connections_used", help, metrics.connections.clone());
        let help = "Most of them (SLUICE_SINK_CONNECTIONS)";
        registry.register("sluice_sink_connections_max", help, metrics.connections_max.clone());
        metrics
    }

    pub(super) fn accepted(&self, kind: &str, records: usize, bytes: usize) {
        let labels = KindLabels { kind: kind.to_owned() };
        self.sent.get_or_create(&labels).inc_by(u64::try_from(records).unwrap_or_default());
        self.bytes.get_or_create(&labels).inc_by(u64::try_from(bytes).unwrap_or_default());
    }

    pub(super) fn failed(&self, kind: &str, outcome: &'static str) {
        self.errors.get_or_create(&ErrorLabels { kind: kind.to_owned(), outcome }).inc();
    }

    pub(super) fn dead_letter(&self, kind: &str) {
        self.letters.get_or_create(&KindLabels { kind: kind.to_owned() }).inc();
    }

    pub(super) fn lost(&self, kind: &str, records: u64) {
        self.lost.get_or_create(&KindLabels { kind: kind.to_owned() }).inc_by(records);
    }

    pub(super) fn set_busy(&self, busy: usize) {
        self.busy.set(i64::try_from(busy).unwrap_or(i64::MAX));
    }

    /// Shows what sending takes of what it may use.
    pub(super) fn set_means(&self, pool: &PgPool, held: usize) {
        let used = usize::try_from(pool.size()).unwrap_or(usize::MAX).saturating_sub(pool.num_idle());
        self.held.set(i64::try_from(held).unwrap_or(i64::MAX));
        self.connections.set(i64::try_from(used).unwrap_or(i64::MAX));
        self.connections_max.set(i64::from(pool.options().get_max_connections()));
    }

    /// Shows how far destinations are behind: by kind the longest time, and the records of all.
    pub(super) fn set_behind(&self, kinds: &[&str], behind: &[(String, Duration, u64)]) {
        for kind in kinds {
            let of_kind = || behind.iter().filter(|one| one.0 == *kind);
            let labels = KindLabels { kind: (*kind).to_owned() };
            let longest = of_kind().map(|one| one.1).max().unwrap_or_default();
            self.lag.get_or_create(&labels).set(longest.as_secs_f64());
            let records: u64 = of_kind().map(|one| one.2).sum();
            self.waiting.get_or_create(&labels).set(i64::try_from(records).unwrap_or(i64::MAX));
        }
    }
}
