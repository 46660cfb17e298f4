//! What a node counts. Labels are bounded: no tenant, tool or person is ever one.

use std::sync::atomic::AtomicU64;

use mcp::notification::Dropped;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::audit::Recorder;
use crate::refusal::Refusal;

/// The counts of the parts that every request meets. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Answers on the tenant port.
    pub answers: Family<AnswerLabels, Counter>,
    /// From a request's head to its answer's head.
    pub answer_seconds: Histogram,
    /// Places taken by requests and calls under way.
    pub in_flight: Gauge,
    /// Calls of tools by how they ended.
    pub calls: Family<CallLabels, Counter>,
    /// Requests of known callers that were refused, by reason.
    pub refusals: Family<RefusalLabels, Counter>,
    /// Notifications on calls' streams that their clients did not get.
    pub dropped_notifications: Family<DroppedLabels, Counter>,
    /// Clients' answers to upstreams' questions that reached no upstream.
    pub lost_answers: Family<LostLabels, Counter>,
    /// Look-ups of callers.
    pub callers: Family<CallerLabels, Counter>,
    /// Tenants in memory.
    pub tenants_loaded: Gauge,
    /// Bytes of configuration in memory.
    pub tenants_bytes: Gauge,
    /// How old the newest head is.
    pub head_age_seconds: Gauge<f64, AtomicU64>,
    /// The number of the last publication seen.
    pub head_change: Gauge,
    /// The number of the last revocation applied.
    pub revocation_applied: Gauge,
    /// Whether the node is out of touch with the configuration: 1 or 0.
    pub blind: Gauge,
    /// What was read from Redis and not believed.
    pub refused_projections: Family<ProjectionLabels, Counter>,
}

/// An answer's HTTP status.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AnswerLabels {
    /// The status code.
    pub status: u16,
}

/// How a call ended, one of the words of `audit::words::Status`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallLabels {
    /// The word.
    pub outcome: &'static str,
}

/// Why a request was refused, one of the words of `Refusal::label`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusalLabels {
    /// The word.
    pub reason: &'static str,
}

/// Why a notification was dropped, one of the words of [`Dropped`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DroppedLabels {
    /// The word.
    pub reason: &'static str,
}

/// Why an answer reached no upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LostLabels {
    /// The reason.
    pub reason: Lost,
}

/// Why a client's answer to an upstream's question reached no upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Lost {
    /// Nothing was asked that it could answer, or too long ago, or it was answered before.
    Unknown,
    /// The server is gone, paused, or was reviewed anew.
    ServerGone,
    /// It could not be recorded.
    NotRecorded,
    /// The upstream did not take it.
    NotTaken,
}

/// Where a caller was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CallerLabels {
    /// The outcome.
    pub found: Found,
}

/// How a look-up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Found {
    /// In memory.
    Memory,
    /// In Redis.
    Redis,
    /// Nowhere, or worth nothing.
    Refused,
    /// It could not be told.
    Unavailable,
}

/// What kind of envelope was not believed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ProjectionLabels {
    /// `head`, `index`, `snapshot`, `token`, `revocation`, `slug`.
    pub kind: &'static str,
}

/// What the audit part of a node counts, shown with the rest.
#[derive(Debug)]
pub struct AuditCounts(pub Recorder);

impl Collector for AuditCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counters = self.0.counters();
        let counts = [
            ("sluice_audit_frames", "Frames of records formed", &counters.frames),
            ("sluice_audit_final_records", "Final records formed", &counters.final_records),
            ("sluice_audit_frames_resent", "Frames sent to Redis again", &counters.frames_resent),
            ("sluice_audit_frames_spooled", "Frames written to the spool", &counters.frames_spooled),
            ("sluice_audit_carrier_failures", "Times that Redis failed or was late", &counters.carrier_failures),
            ("sluice_audit_spool_failures", "Times that the spool failed", &counters.spool_failures),
            ("sluice_audit_acks_refused", "Acks that nobody vouches for", &counters.acks_refused),
            ("sluice_audit_refused_calls", "Calls and requests refused for want of a record", &counters.refused_calls),
        ];
        for (name, help, count) in counts {
            let counter = ConstCounter::new(count.get());
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let levels = [
            (
                "sluice_audit_uncommitted_bytes",
                "Records in memory that took no effect yet",
                counters.uncommitted_bytes.get(),
            ),
            ("sluice_audit_waiting_bytes", "Records in memory that are in no frame yet", counters.waiting_bytes.get()),
            ("sluice_audit_spool_bytes", "Bytes of the spool's files", self.0.spool_bytes()),
        ];
        for (name, help, level) in levels {
            let gauge = ConstGauge::new(i64::try_from(level).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

impl Metrics {
    /// Makes the counts and enters them into the registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            answers: Family::default(),
            answer_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 20)),
            in_flight: Gauge::default(),
            calls: Family::default(),
            refusals: Family::default(),
            dropped_notifications: Family::default(),
            lost_answers: Family::default(),
            callers: Family::default(),
            tenants_loaded: Gauge::default(),
            tenants_bytes: Gauge::default(),
            head_age_seconds: Gauge::default(),
            head_change: Gauge::default(),
            revocation_applied: Gauge::default(),
            blind: Gauge::default(),
            refused_projections: Family::default(),
        };
        metrics.enter_requests(registry);
        metrics.enter_configuration(registry);
        metrics
    }

    fn enter_requests(&self, registry: &mut Registry) {
        registry.register("sluice_answers", "Answers on the tenant port", self.answers.clone());
        let seconds = self.answer_seconds.clone();
        registry.register_with_unit("sluice_answer", "From a request's head to its answer's", Unit::Seconds, seconds);
        registry.register("sluice_in_flight", "Places taken by requests and calls", self.in_flight.clone());
        registry.register("sluice_calls", "Calls of tools by how they ended", self.calls.clone());
        registry.register("sluice_refusals", "Refused requests of known callers by reason", self.refusals.clone());
        let dropped = self.dropped_notifications.clone();
        registry.register("sluice_dropped_notifications", "Notifications on calls' streams not passed on", dropped);
        let lost = self.lost_answers.clone();
        registry.register("sluice_lost_answers", "Answers to questions that reached no upstream", lost);
        registry.register("sluice_callers", "Look-ups of callers by outcome", self.callers.clone());
    }

    fn enter_configuration(&self, registry: &mut Registry) {
        registry.register("sluice_tenants_loaded", "Tenants in memory", self.tenants_loaded.clone());
        let bytes = self.tenants_bytes.clone();
        registry.register_with_unit("sluice_tenants", "Configuration in memory", Unit::Bytes, bytes);
        let age = self.head_age_seconds.clone();
        registry.register_with_unit("sluice_head_age", "Age of the newest head", Unit::Seconds, age);
        registry.register("sluice_head_change", "Number of the last publication seen", self.head_change.clone());
        let applied = self.revocation_applied.clone();
        registry.register("sluice_revocation_applied", "Number of the last revocation applied", applied);
        registry.register("sluice_blind", "Whether the node is out of touch with configuration", self.blind.clone());
        let refused = self.refused_projections.clone();
        registry.register("sluice_refused_projections", "What was read from Redis and not believed", refused);
    }

    /// Counts a call that ended.
    pub fn call(&self, status: audit::words::Status) {
        self.calls.get_or_create(&CallLabels { outcome: status.as_str() }).inc();
    }

    /// Counts a request that was refused.
    pub fn refused(&self, refusal: &Refusal) {
        self.refusals.get_or_create(&RefusalLabels { reason: refusal.label() }).inc();
    }

    /// Counts a notification that a call's client did not get.
    pub fn dropped(&self, why: Dropped) {
        self.dropped_notifications.get_or_create(&DroppedLabels { reason: why.as_str() }).inc();
    }

    /// Counts an answer that reached no upstream.
    pub fn lost(&self, reason: Lost) {
        self.lost_answers.get_or_create(&LostLabels { reason }).inc();
    }

    /// Counts a look-up of a caller.
    pub fn caller(&self, found: Found) {
        self.callers.get_or_create(&CallerLabels { found }).inc();
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[tokio::test]
    async fn what_the_audit_part_counts_is_shown() {
        let redis = crate::audit::tests::Redis::start().await;
        let keys = crate::testing::keys();
        let recorder = crate::testing::recorder(&keys, &redis, &service::clock());
        let mut registry = Registry::default();
        let _metrics = Metrics::register(&mut registry);
        registry.register_collector(Box::new(AuditCounts(recorder)));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        assert!(text.contains("sluice_audit_final_records_total 0\n"), "{text}");
    }
}
