//! A large log is searched by its indexes: not how long it takes is looked at, but how many rows Postgres touches. Apart from
//! the other tests, which would wait for its million rows.
#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use sluice_tests::behind::Postgres;
use sluice_tests::large_log;
use sluice_tests::patience::until;

/// Records of the log. `make bench-search` looks at ten times as many, with a clock.
const RECORDS: usize = 1_000_000;
/// Most rows of records that are touched for a page of 50.
const TOUCHED_MAX: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn a_million_records_are_searched_by_touching_a_page_of_them() {
    let (_stack, api, postgres, _) = large_log::deployment().await;
    large_log::fill(&postgres, RECORDS).await;
    for (what, query) in large_log::searches(&postgres).await {
        let before = touched(&postgres).await;
        let found = api.activity(&query).await;
        assert!(!found.is_empty(), "{what}");
        // A session tells what it touched some moments after it did, all at once.
        let touched = until("Postgres has counted the search", async || {
            let touched = touched(&postgres).await - before;
            (touched >= found.len()).then_some(touched)
        })
        .await;
        println!("{what}: {} found, {touched} rows touched", found.len());
        assert!(touched <= TOUCHED_MAX, "{what}: {touched} rows of {RECORDS}");
    }
}

/// How many rows of records were read since Postgres began to count.
async fn touched(postgres: &Postgres) -> usize {
    let counted = "select sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) from pg_stat_user_tables where relname like 'audit_record%'";
    postgres.query(counted).await.parse().unwrap()
}
