//! Records on their way to where a tenant wants them: real receivers, a real log, and the worker that runs in between.

mod api;
mod broken;
mod collector;
mod delivery;
mod faults;
mod hec;
mod lanes;
mod personal;
mod process;
pub(crate) mod receiver;
mod s3;
mod syslog;
mod wire;

use std::time::Duration;

use control_plane::app::sink_needs;
use control_plane::sinks::{Means, Metrics, Worker};
use serde_json::{Value, json};
use service::Drain;
use sqlx::PgPool;

use crate::app::{App, Person};

/// Memory that is never short.
const MEMORY: usize = 256 * 1024 * 1024;

/// Starts a control plane's worker; it ends with the drain.
fn worker(app: &App, answer_within: Duration) -> Drain {
    worker_with(app, answer_within, Means { pool: app.parts.pool.clone(), memory: MEMORY })
}

fn worker_with(app: &App, answer_within: Duration, means: Means) -> Drain {
    worker_counting(app, answer_within, means, Metrics::default())
}

fn worker_counting(app: &App, answer_within: Duration, means: Means, metrics: Metrics) -> Drain {
    let drain = Drain::new();
    let mut needs = sink_needs(&app.parts);
    needs.outside.answer_within = answer_within;
    drain.spawn(Worker::new(needs, means, metrics).run(drain.clone()));
    drain
}

/// Adds so many records of a kind to a tenant's log, as its owner would.
pub(crate) async fn grow(pool: &PgPool, of: &Person, kind: &str, count: i64) {
    grow_aged(pool, of, (kind, count), (0, 0.0)).await;
}

/// As [`grow`], in the partition of so many days ago, and as if they had reached the log so many seconds ago.
async fn grow_aged(pool: &PgPool, of: &Person, (kind, count): (&str, i64), (days, seconds): (i32, f64)) {
    let mut tx = pool.begin().await.unwrap();
    sqlx::raw_sql("set local role sluice_ingest").execute(&mut *tx).await.unwrap();
    let sql = "insert into audit_head (tenant_id, epoch, size) values ($1, 1, $2)
        on conflict (tenant_id) do update set size = audit_head.size + $2 returning size - $2";
    let first: i64 = sqlx::query_scalar(sql).bind(of.tenant.uuid()).bind(count).fetch_one(&mut *tx).await.unwrap();
    let sql = "select audit_add_partition((now() at time zone 'UTC')::date - $1)";
    sqlx::query(sql).bind(days).execute(&mut *tx).await.unwrap();
    let sql = "insert into audit_record (tenant_id, time, id, part_time, displaced, received_at, epoch, seq, leaf_hash,
            kind, final, effect, body)
        select $1, now(), gen_random_uuid(), now() - make_interval(days => $5), $5 > 0,
            now() - make_interval(secs => $6), 1, n, sha256(n::text::bytea), $4, true,
            case when n % 2 = 0 then 'allow' else 'deny' end,
            convert_to(format('{\"kind\":\"%s\",\"n\":%s}', $4, n), 'UTF8')
        from generate_series($2::int8, $3::int8) n";
    let insert = sqlx::query(sql).bind(of.tenant.uuid()).bind(first).bind(first + count - 1).bind(kind);
    let insert = insert.bind(days).bind(seconds);
    insert.execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
}

/// Adds a destination and starts it; its path.
async fn start(app: &App, of: &Person, new: Value) -> String {
    let path = format!("{}/audit/destinations", of.path());
    let id = app.post(of, &path, new).await.expect(201).text_at("/id");
    let path = format!("{path}/{id}");
    app.post(of, &format!("{path}/start"), json!({})).await.expect(200);
    path
}

/// Adds a webhook of that name and starts it; its path.
pub(crate) async fn webhook(app: &App, of: &Person, name: &str, url: &str) -> String {
    start(app, of, json!({"name": name, "settings": {"kind": "webhook", "url": url}})).await
}

/// Asks for a destination until it is as it should be.
async fn until(app: &App, of: &Person, path: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut turns = tokio::time::interval(Duration::from_millis(50));
    let mut last = Value::Null;
    let asked = async {
        loop {
            last = app.get(of, path).await.expect(200).json();
            if is_so(&last) {
                return;
            }
            turns.tick().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_mins(1), asked).await;
    assert!(in_time.is_ok(), "{last:#}");
    last
}
