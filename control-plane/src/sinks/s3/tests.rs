//! Against moto, which answers as S3 does; and by the book where it is more lenient.

mod moto;

use std::io::Read as _;
use std::sync::Arc;

use chrono::DateTime;
use domain::{Clock, DestinationId, RecordId, TenantId};
use egress::Rules;
use http::{HeaderMap, StatusCode};
use uuid::Uuid;

use super::super::batch::Item;
use super::*;
use moto::Moto;

const SECRET: &str = r#"{"access_key_id":"AKIATEST","secret_access_key":"canary-of-the-secret-key"}"#;

fn outside(rules: Rules) -> Outside {
    let clock = Clock::new(|| DateTime::UNIX_EPOCH, || [0; 10]);
    Outside { rules: Arc::new(rules), clock, answer_within: Outside::ANSWER }
}

fn batch(first: u64, last: u64, edition: Edition) -> Batch {
    let item = |seq: u64| Item {
        seq,
        id: RecordId::from_uuid(Uuid::from_u128(u128::from(seq))),
        time: DateTime::from_timestamp(1_795_187_045, 0).unwrap(),
        kind: "call",
        bytes: format!(r#"{{"seq":{seq}}}"#).into(),
    };
    Batch {
        tenant: TenantId::from_uuid(Uuid::from_u128(1)),
        destination: DestinationId::from_uuid(Uuid::from_u128(2)),
        epoch: 1,
        first,
        last,
        edition,
        items: (first..=last).map(item).collect(),
    }
}

fn at(endpoint: &str) -> S3Settings {
    S3Settings {
        bucket: "audit-logs".to_owned(),
        region: "us-east-1".to_owned(),
        prefix: Some("/sluice/".to_owned()),
        endpoint: Some(endpoint.parse().unwrap()),
        linger_s: None,
        certificates: None,
    }
}

fn sender(settings: &S3Settings) -> S3 {
    S3::open(settings, &Secret::new(SECRET.to_owned()), &outside(Rules::development())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_one_object_and_stays_as_it_was_first_written() {
    let Some(moto) = Moto::start().await else { return };
    moto.put("audit-logs").await;
    let mut s3 = sender(&at(&moto.endpoint));
    assert_eq!(s3.send(&batch(5, 7, Edition::Live(1))).await, Answer::Accepted("HTTP 200".to_owned()));
    let mut again = batch(5, 7, Edition::Live(1));
    again.items.truncate(1);
    assert_eq!(s3.send(&again).await, Answer::Accepted("HTTP 412: written before".to_owned()));
    let key = "sluice/tenant=ten_00000000000000000000000001/destination=dst_00000000000000000000000002/dt=2026-11-20/hr=15/1-5-7.ndjson.gz";
    let object = moto.get(&format!("audit-logs/{key}")).await;
    let mut text = String::new();
    flate2::read::GzDecoder::new(&object[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "{\"seq\":5}\n{\"seq\":6}\n{\"seq\":7}\n");
    // Another destination with the same places writes its own.
    let mut other = batch(5, 7, Edition::Live(1));
    other.destination = DestinationId::from_uuid(Uuid::from_u128(3));
    assert_eq!(s3.send(&other).await, Answer::Accepted("HTTP 200".to_owned()));
    for (edition, place) in [
        (Edition::Replay(3), "replay=3/dt=2026-11-20/hr=15/1-5-7"),
        (Edition::Checkpoint, "checkpoints/1-7"),
        (Edition::Live(4), "dt=2026-11-20/hr=15/1-5-7-4"),
    ] {
        assert!(matches!(s3.send(&batch(5, 7, edition)).await, Answer::Accepted(_)));
        let under = "sluice/tenant=ten_00000000000000000000000001/destination=dst_00000000000000000000000002";
        let key = format!("audit-logs/{under}/{place}.ndjson.gz");
        assert!(!moto.get(&key).await.is_empty(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_not_there_stops_and_says_so() {
    let Some(moto) = Moto::start().await else { return };
    match sender(&at(&moto.endpoint)).send(&batch(0, 0, Edition::Live(1))).await {
        Answer::Stopped(fault) => {
            assert_eq!((fault.code.as_str(), fault.status), ("s3_NoSuchBucket", Some(404)));
            assert!(fault.said.ends_with("Check the bucket's name"), "{}", fault.said);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_store_that_is_away_or_may_not_be_dialled_is_tried_again() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings = at(&format!("http://127.0.0.1:{port}"));
    // Judged when it is dialled, as its name is resolved only then.
    let named = S3Settings { endpoint: Some(format!("https://localhost:{port}").parse().unwrap()), ..settings.clone() };
    let forbidden = S3::open(&named, &Secret::new(SECRET.to_owned()), &outside(Rules::default())).unwrap();
    for (mut s3, code) in [(sender(&settings), "unreachable"), (forbidden, "address_refused")] {
        match s3.send(&batch(0, 0, Edition::Live(1))).await {
            Answer::Retry { why, .. } => assert_eq!(why.code, code),
            other => panic!("{other:?}"),
        }
        assert!(!format!("{s3:?}").contains("canary"), "{s3:?}");
    }
}

#[test]
fn an_answer_means_what_s3_says_it_does() {
    let judged = |status: u16, code: &str| {
        let body = if code.is_empty() { String::new() } else { format!("<Error><Code>{code}</Code></Error>") };
        let status = StatusCode::from_u16(status).unwrap();
        let reply =
            Reply { status, retry_after: None, headers: HeaderMap::new(), shown: String::new(), body: body.into() };
        match judge(&reply) {
            Answer::Accepted(_) => "accepted".to_owned(),
            Answer::Retry { why, .. } => format!("retry {}", why.code),
            Answer::TooLarge(_) => "too large".to_owned(),
            Answer::Refused(_) => "refused".to_owned(),
            Answer::Stopped(why) => format!("stopped {}", why.code),
        }
    };
    for (status, code, expected) in [
        (412, "PreconditionFailed", "accepted"),
        (409, "ConditionalRequestConflict", "retry s3_ConditionalRequestConflict"),
        (503, "SlowDown", "retry s3_SlowDown"),
        (500, "", "retry status"),
        (429, "", "retry status"),
        (400, "RequestTimeout", "retry s3_RequestTimeout"),
        (400, "EntityTooLarge", "too large"),
        (400, "AuthorizationHeaderMalformed", "stopped s3_AuthorizationHeaderMalformed"),
        (403, "AccessDenied", "stopped s3_AccessDenied"),
        (403, "RequestTimeTooSkewed", "retry s3_RequestTimeTooSkewed"),
        (404, "NoSuchBucket", "stopped s3_NoSuchBucket"),
        (501, "NotImplemented", "stopped s3_NotImplemented"),
        (418, "<script>", "retry status"),
    ] {
        assert_eq!(judged(status, code), expected, "{status} {code}");
    }
}

#[test]
fn what_can_never_work_is_said_when_it_is_entered() {
    let good = at("https://s3.acme.example");
    let rules = Rules::default();
    assert!(good.check(&rules).is_ok());
    assert_eq!(S3Settings { endpoint: None, ..good.clone() }.address(), "https://s3.us-east-1.amazonaws.com");
    let endpoint = |url: &str| S3Settings { endpoint: Some(url.parse().unwrap()), ..good.clone() };
    let wrong = [
        (S3Settings { bucket: "a/b".to_owned(), ..good.clone() }, "bucket"),
        (S3Settings { bucket: String::new(), ..good.clone() }, "bucket"),
        (S3Settings { region: "eu.evil.example/".to_owned(), ..good.clone() }, "region"),
        (S3Settings { prefix: Some("a/../b".to_owned()), ..good.clone() }, "prefix"),
        (S3Settings { prefix: Some("a b".to_owned()), ..good.clone() }, "prefix"),
        (endpoint("https://name:canary@s3.acme.example"), "endpoint"),
        (endpoint("https://169.254.169.254"), "endpoint"),
        (endpoint("http://s3.acme.example"), "endpoint"),
        (endpoint("https://s3.acme.example/?x"), "endpoint"),
    ];
    for (settings, field) in wrong {
        assert_eq!(settings.check(&rules).unwrap_err().0, field, "{settings:?}");
    }
    assert!(access_key(SECRET).is_ok());
    for secret in ["", "{}", r#"{"access_key_id":"a b","secret_access_key":"x"}"#] {
        assert!(access_key(secret).is_err(), "{secret}");
    }
}
