//! A control plane's worker as a process of its own: it can end in the middle of anything, and nothing of it is left.

use std::time::Duration;

use control_plane::app::{Parts, sink_needs};
use control_plane::sinks::{Means, Metrics, Worker};
use service::Drain;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::runtime::{Builder, Runtime};

use super::MEMORY;
use crate::app::App;

/// How long its threads may take to stop.
const STOPPING: Duration = Duration::from_secs(30);

/// Threads, connections and sockets that nobody else uses.
pub(super) struct Process(Option<Runtime>);

impl Process {
    /// Starts one that waits so long for an answer.
    pub(super) fn start(app: &App, answer_within: Duration) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (parts, options) = (app.parts.clone(), (*app.parts.pool.connect_options()).clone());
        runtime.spawn(async move {
            let pool = PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
            let mut needs = sink_needs(&Parts { pool: pool.clone(), ..parts });
            needs.outside.answer_within = answer_within;
            let drain = Drain::new();
            Box::pin(Worker::new(needs, Means { pool, memory: MEMORY }, Metrics::default()).run(drain)).await;
        });
        Self(Some(runtime))
    }

    /// Ends it without a word: what it was about to do it does not do. What it held counts as held until its lease ends,
    /// and that is now: so many lanes.
    pub(super) async fn kill(mut self, pool: &PgPool) -> u64 {
        let runtime = self.0.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(STOPPING)).await.unwrap();
        let mut tx = pool.begin_with("begin; set local role sluice_platform").await.unwrap();
        let sql = "update destination_lanes set lease_until = clock_timestamp() where lease_until > clock_timestamp()";
        let held = sqlx::query(sql).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        held.rows_affected()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
