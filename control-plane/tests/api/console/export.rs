//! The log as a file leaves as it is read: what is asked for may be long.

use std::time::Duration;

use axum::http::header;
use futures_util::{FutureExt as _, StreamExt as _};
use sqlx::PgPool;
use tower::ServiceExt as _;

use super::activity::seed;
use super::browser::Browser;
use crate::app::App;

const PATIENCE: Duration = Duration::from_secs(20);

fn lines(frame: &[u8]) -> usize {
    std::str::from_utf8(frame).unwrap().lines().count()
}

#[sqlx::test(migrator = "store::MIGRATOR")]
async fn a_file_leaves_page_by_page_as_it_is_read(pool: PgPool) {
    let app = App::new(&pool).await;
    let (owner, person) = Browser::of_owner(&app).await;
    seed(&app, &person, 1200, 3600).await;
    owner.get("/w/acme/activity").await.expect(200);
    let cookies: Vec<String> = owner.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
    for format in ["csv", "ndjson"] {
        // Whoever reads records waits until this is over.
        let mut other = pool.begin().await.unwrap();
        sqlx::raw_sql("lock table audit_record").execute(&mut *other).await.unwrap();
        let request = Browser::form("/w/acme/activity/export").header(header::COOKIE, cookies.join("; "));
        let request = request.body(owner.fields(&[("format", format), ("range", "24h")])).unwrap();
        let answer = tokio::time::timeout(PATIENCE, app.router.clone().oneshot(request)).await;
        let answer = answer.unwrap_or_else(|_| panic!("{format}: the answer waits for records")).unwrap();
        assert_eq!(answer.status(), 200);
        let mut frames = answer.into_body().into_data_stream();
        let head = tokio::time::timeout(PATIENCE, frames.next()).await;
        let head = head.unwrap_or_else(|_| panic!("{format}: the first line waits for records")).unwrap().unwrap();
        assert_eq!(lines(&head), 1, "{format}");
        assert!(frames.next().now_or_never().is_none(), "{format}: records that nobody could read");
        other.commit().await.unwrap();
        let mut counts = Vec::new();
        while let Some(frame) = frames.next().await {
            counts.push(lines(&frame.unwrap()));
        }
        assert_eq!(counts, [1000, 200], "{format}");
    }
}
