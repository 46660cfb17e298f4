//! What a scrape of the internal listener finds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::body::Body;
use axum::http::Request;
use control_plane::ingest;
use control_plane::metrics::{IngestCounts, Metrics};
use http_body_util::BodyExt as _;
use prometheus_client::registry::Registry;
use serde_json::json;
use sqlx::PgPool;
use tower::ServiceExt as _;

use crate::app::App;

/// Every sample of an OpenMetrics text: its name with labels, and its value. Panics where the text is none.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let (body, end) = text.split_at(text.len() - "# EOF\n".len());
    assert_eq!(end, "# EOF\n");
    let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
    for line in body.lines() {
        if let Some(described) = line.strip_prefix("# TYPE ") {
            let (family, kind) = described.split_once(' ').unwrap();
            assert!(types.insert(family.to_owned(), kind.to_owned()).is_none(), "{family} is described twice");
        } else if !line.starts_with("# ") {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let family = name.split('{').next().unwrap();
            let suffixes = ["", "_total", "_sum", "_count", "_bucket"];
            let known =
                suffixes.iter().any(|end| family.strip_suffix(end).is_some_and(|stem| types.contains_key(stem)));
            assert!(known, "{line} belongs to no family");
            assert!(samples.insert(name.to_owned(), value.parse().unwrap()).is_none(), "{name} stands twice");
        }
    }
    samples
}

struct Scraped {
    app: App,
    internal: axum::Router,
    ingest: Arc<ingest::Metrics>,
}

impl Scraped {
    async fn new(pool: &PgPool) -> Self {
        let mut app = App::new(pool).await;
        let (mut registry, ingest) = (Registry::default(), Arc::new(ingest::Metrics::default()));
        app.router = Metrics::register(&mut registry, pool.clone()).counting(app.router.clone());
        let counts = IngestCounts { metrics: ingest.clone(), clock: app.parts.clock.clone(), shards: 1 };
        registry.register_collector(Box::new(counts));
        let _ = control_plane::sinks::Metrics::register(&mut registry);
        Self { app, internal: service::metrics::routes(registry), ingest }
    }

    async fn scrape(&self) -> BTreeMap<String, f64> {
        let request = Request::get("/metrics").body(Body::empty()).unwrap();
        let response = self.internal.clone().oneshot(request).await.unwrap();
        let text = response.into_body().collect().await.unwrap().to_bytes();
        samples(std::str::from_utf8(&text).unwrap())
    }
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn requests_are_counted_under_the_template_of_their_route(pool: PgPool) {
    let scraped = Scraped::new(&pool).await;
    let app = &scraped.app;
    let owner = app.owner().await;
    for number in 0..20 {
        app.get(&owner, &format!("/tenants/made-up-{number}/servers")).await.expect(404);
        app.get(&owner, &format!("/no/such/route/{number}")).await.expect(404);
        app.send(&format!("VERB{number}"), "/tenants", Some(&owner.token), None).await.expect(405);
    }
    app.get(&owner, &format!("{}/servers", owner.path())).await.expect(200);
    app.post(&owner, "/tenants", json!({"slug": "canary-tenant", "title": "x", "owner_name": "x"})).await.expect(201);
    let found = scraped.scrape().await;
    let requests: BTreeMap<&str, f64> = found
        .iter()
        .filter_map(|(name, count)| Some((name.strip_prefix("sluice_api_requests_total")?, *count)))
        .collect();
    let expected = [
        (r#"{route="/api/v1/tenants",method="POST",status="201"}"#, 1.0),
        (r#"{route="/api/v1/tenants",method="other",status="405"}"#, 20.0),
        (r#"{route="/api/v1/tenants/{tenant}/servers",method="GET",status="200"}"#, 1.0),
        (r#"{route="/api/v1/tenants/{tenant}/servers",method="GET",status="404"}"#, 20.0),
        (r#"{route="none",method="GET",status="404"}"#, 20.0),
    ];
    assert_eq!(requests, BTreeMap::from(expected));
    assert!(!found.keys().any(|name| name.contains("canary") || name.contains("made-up")), "{found:?}");
    assert!((found["sluice_api_request_seconds_count"] - 62.0).abs() < 0.5, "{found:?}");
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn what_an_operator_watches_is_there(pool: PgPool) {
    let scraped = Scraped::new(&pool).await;
    scraped.ingest.records.add(7);
    let found = scraped.scrape().await;
    let families: BTreeSet<&str> =
        found.keys().map(|name| name.split('{').next().unwrap()).filter(|name| !name.ends_with("_bucket")).collect();
    insta::assert_snapshot!(families.into_iter().collect::<Vec<_>>().join("\n"), @r"
    sluice_api_request_seconds_count
    sluice_api_request_seconds_sum
    sluice_checkpoints_refused_total
    sluice_checkpoints_total
    sluice_database_connections_max
    sluice_database_connections_open
    sluice_database_connections_used
    sluice_ingest_commits_total
    sluice_ingest_duplicates_total
    sluice_ingest_failures_total
    sluice_ingest_frames_total
    sluice_ingest_gaps_total
    sluice_ingest_late_total
    sluice_ingest_lost_streams_total
    sluice_ingest_quarantined_total
    sluice_ingest_records_total
    sluice_ingest_shards
    sluice_ingest_unknown_total
    sluice_log_epochs_total
    sluice_outbox_oldest_seconds
    sluice_outbox_waiting
    sluice_probes_refused_total
    sluice_publish_refused_total
    sluice_publish_seconds_count
    sluice_publish_seconds_sum
    sluice_server_checks_overdue_seconds
    sluice_server_checks_total
    sluice_sink_busy
    sluice_sink_connections_max
    sluice_sink_connections_used
    sluice_sink_dead_letters_total
    sluice_sink_errors_total
    sluice_sink_lost_records_total
    sluice_sink_memory_bytes
    sluice_sink_memory_waiting
    ");
    assert!((found["sluice_ingest_records_total"] - 7.0).abs() < 0.5);
    assert!(found["sluice_database_connections_open"] >= 1.0, "{found:?}");
    assert!(found["sluice_database_connections_max"] >= found["sluice_database_connections_open"]);
}
