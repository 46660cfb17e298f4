//! A database that can't be used is named in one sentence, soon, and its password never.
#![expect(clippy::unwrap_used, reason = "a test may stop here")]

use std::error::Error as _;
use std::time::{Duration, Instant};

/// Everything that is shown of why there is no connection.
async fn refused(url: &str) -> String {
    let began = Instant::now();
    let error = store::connect(url, 1).await.map(drop).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let shown = format!("{error} {cause} {error:?}");
    assert!(!shown.contains("canary"), "{shown}");
    error.to_string()
}

#[tokio::test]
async fn a_database_that_refuses_is_named_with_what_to_do() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    drop(listener);
    let said = refused(&format!("postgres://sluice:canary@{place}/sluice")).await;
    let expected = format!("can't connect to Postgres at {place}: start it there, or set DATABASE_URL to where it is");
    assert_eq!(said, expected);
}

#[tokio::test]
async fn a_database_that_says_nothing_is_named_too() {
    // It takes connections, as the operating system does for it, and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let said = refused(&format!("postgres://sluice:canary@{place}/sluice")).await;
    assert!(said.starts_with(&format!("Postgres at {place} does not answer")), "{said}");
}

#[tokio::test]
async fn an_address_that_is_none_is_not_repeated() {
    for wrong in ["canary", "mysql://sluice:canary@host/", "postgres://sluice:canary@host:port/"] {
        let said = refused(wrong).await;
        assert!(said.starts_with("DATABASE_URL is no Postgres address"), "{said}");
    }
}
