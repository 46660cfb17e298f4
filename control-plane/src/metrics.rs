//! What the control plane counts. Labels are bounded: a request is counted under its route's template, and no tenant,
//! server or person is ever a label.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::Response;
use domain::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use store::PgPool;

use crate::ingest;
use crate::publish::PublishMetrics;

/// The counts of the control plane. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Publishing.
    pub publish: PublishMetrics,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Histogram,
    checks: Family<CheckLabels, Counter>,
    overdue: Gauge<f64, AtomicU64>,
    /// Looks at servers that people asked for and were refused, for there were too many.
    pub probes_refused: Counter,
}

/// A look at an upstream server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    /// A word of `store::health::State`, or `no_node`.
    outcome: &'static str,
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    /// The template of its path; `none` where no route fits.
    route: String,
    /// Its method; `other` where it is none of HTTP's own.
    method: &'static str,
    /// The status of the answer.
    status: u16,
}

impl Metrics {
    /// Makes the counts and enters them into the registry.
    #[must_use]
    pub fn register(registry: &mut Registry, pool: PgPool) -> Self {
        let metrics = Self {
            publish: PublishMetrics::register(registry),
            requests: Family::default(),
            request_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            checks: Family::default(),
            overdue: Gauge::default(),
            probes_refused: Counter::default(),
        };
        registry.register("sluice_api_requests", "Requests answered", metrics.requests.clone());
        let seconds = metrics.request_seconds.clone();
        registry.register_with_unit(
            "sluice_api_request",
            "From a request's head to its answer's",
            Unit::Seconds,
            seconds,
        );
        registry.register("sluice_server_checks", "Looks at upstream servers by outcome", metrics.checks.clone());
        // An alert that asks what a count grew by sees nothing in one that begins with its first event.
        metrics.checks.get_or_create(&CheckLabels { outcome: "no_node" }).inc_by(0);
        let help = "For how long the server that is due for a look longest has been";
        registry.register_with_unit("sluice_server_checks_overdue", help, Unit::Seconds, metrics.overdue.clone());
        let help = "Looks at servers that people asked for too often (SLUICE_PROBES_PER_MINUTE)";
        registry.register("sluice_probes_refused", help, metrics.probes_refused.clone());
        registry.register_collector(Box::new(PoolLevels(pool)));
        metrics
    }

    /// Counts a look at an upstream server.
    pub(crate) fn checked(&self, outcome: &'static str) {
        self.checks.get_or_create(&CheckLabels { outcome }).inc();
    }

    /// Shows how far looks at upstream servers are behind.
    pub fn set_overdue(&self, overdue: Duration) {
        self.overdue.set(overdue.as_secs_f64());
    }

    /// Counts what a router answers.
    pub fn counting(&self, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(self.clone(), count))
    }
}

async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let (method, began) = (word(request.method()), Instant::now());
    let response = next.run(request).await;
    let labels = RequestLabels { route, method, status: response.status().as_u16() };
    metrics.requests.get_or_create(&labels).inc();
    metrics.request_seconds.observe(began.elapsed().as_secs_f64());
    response
}

fn word(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// The connections to Postgres.
#[derive(Debug)]
struct PoolLevels(PgPool);

impl Collector for PoolLevels {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (open, idle) = (i64::from(self.0.size()), i64::try_from(self.0.num_idle()).unwrap_or(i64::MAX));
        let levels = [
            (
                "sluice_database_connections_max",
                "Most connections to Postgres",
                i64::from(self.0.options().get_max_connections()),
            ),
            ("sluice_database_connections_open", "Connections to Postgres", open),
            ("sluice_database_connections_used", "Connections to Postgres in use", (open - idle).max(0)),
        ];
        for (name, help, level) in levels {
            let gauge = ConstGauge::new(level);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

/// What the owners of the audit shards count, shown with the rest.
#[derive(Debug)]
pub struct IngestCounts {
    /// The counts.
    pub metrics: Arc<ingest::Metrics>,
    /// Tells how long ago something was.
    pub clock: Clock,
    /// How many shards there are; each must have an owner.
    pub shards: u16,
}

impl Collector for IngestCounts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let ingest = &self.metrics;
        let counts = [
            ("sluice_ingest_commits", "Transactions that took records in", &ingest.commits),
            ("sluice_ingest_failures", "Transactions that failed and are repeated", &ingest.failures),
            ("sluice_ingest_frames", "Frames read", &ingest.frames),
            ("sluice_ingest_duplicates", "Frames that had taken effect before", &ingest.duplicates),
            ("sluice_ingest_quarantined", "Frames put aside unread", &ingest.quarantined),
            ("sluice_ingest_records", "Records added to logs", &ingest.records),
            ("sluice_ingest_unknown", "Calls whose node is gone", &ingest.unknown),
            ("sluice_ingest_gaps", "Gaps named in logs", &ingest.gaps),
            ("sluice_ingest_late", "True outcomes that came after unknown", &ingest.late),
            ("sluice_checkpoints", "Checkpoints of logs signed", &ingest.checkpoints),
            ("sluice_checkpoints_refused", "Checkpoints not signed: the log was set back", &ingest.refused_checkpoints),
            ("sluice_log_epochs", "Epochs of logs begun: the database was set back", &ingest.epochs),
            ("sluice_ingest_lost_streams", "Times that a stream was found lost", &ingest.lost_streams),
        ];
        for (name, help, count) in counts {
            let counter = ConstCounter::new(count.get());
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let shards = ConstGauge::new(i64::from(self.shards));
        let help = "Audit shards, each of which some control plane must own";
        shards.encode(encoder.encode_descriptor("sluice_ingest_shards", help, None, shards.metric_type())?)?;
        self.encode_lags(encoder)
    }
}

impl IngestCounts {
    /// A shard that is owned elsewhere has no line here.
    fn encode_lags(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (shards, now) = (self.metrics.taken_in(), self.clock.now().timestamp_millis());
        if shards.is_empty() {
            return Ok(());
        }
        let help = "How far the records of a shard owned here are behind";
        let kind = ConstGauge::new(0_i64).metric_type();
        let mut family = encoder.encode_descriptor("sluice_ingest_lag", help, Some(&Unit::Seconds), kind)?;
        for (shard, up_to) in shards {
            let lag = ConstGauge::new(lag_s(now, up_to));
            lag.encode(family.encode_family(&[("shard", u32::from(shard))])?)?;
        }
        Ok(())
    }
}

/// Whole milliseconds as seconds; never negative, whoever's clock is ahead.
fn lag_s(now_ms: i64, up_to_ms: u64) -> f64 {
    let behind = now_ms.saturating_sub(i64::try_from(up_to_ms).unwrap_or(i64::MAX)).max(0);
    std::time::Duration::from_millis(behind.unsigned_abs()).as_secs_f64()
}
