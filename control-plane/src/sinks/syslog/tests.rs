//! Against rsyslog and syslog-ng as Debian ships them, over TLS on this machine.

mod receiver;

use std::sync::Arc;

use bytes::Bytes;
use chrono::DateTime;
use domain::{Clock, DestinationId, RecordId, TenantId};
use egress::Rules;
use uuid::Uuid;

use super::*;
use receiver::{Certificates, Kind, Receiver, folder};

fn outside() -> Outside {
    let clock = Clock::new(|| DateTime::UNIX_EPOCH, || [0; 10]);
    Outside { rules: Arc::new(Rules::development()), clock, answer_within: Outside::ANSWER }
}

fn item(seq: u64, text: &str) -> Item {
    Item {
        seq,
        id: RecordId::from_uuid(Uuid::from_u128(u128::from(seq))),
        time: DateTime::from_timestamp(1_795_187_045, 123_456_000).unwrap(),
        kind: "call",
        bytes: Bytes::from(text.to_owned()),
    }
}

fn batch(items: Vec<Item>) -> Batch {
    Batch {
        tenant: TenantId::from_uuid(Uuid::from_u128(1)),
        destination: DestinationId::from_uuid(Uuid::from_u128(2)),
        epoch: 1,
        first: items.first().unwrap().seq,
        last: items.last().unwrap().seq,
        edition: Edition::Live(1),
        items,
    }
}

fn numbered(first: u64, count: u64) -> Batch {
    batch((first..first + count).map(|seq| item(seq, &format!(r#"{{"seq":{seq}}}"#))).collect())
}

/// As of a receiver on `port` whose certificates `certificates` made.
fn at(port: u16, certificates: &Certificates) -> SyslogSettings {
    let pem = Some(certificates.authority.clone());
    SyslogSettings { host: "127.0.0.1".to_owned(), port, certificates: pem, fingerprint: None }
}

/// One that waits for less time.
fn sender(settings: &SyslogSettings, secret: &str) -> Syslog {
    let mut syslog = Syslog::open(settings, &Secret::new(secret.to_owned()), &outside()).unwrap();
    syslog.settled = Duration::from_millis(300);
    syslog
}

/// Sends, and it is taken at once.
async fn sent(syslog: &mut Syslog, batch: &Batch) {
    let answer = syslog.send(batch).await;
    assert!(matches!(answer, Answer::Accepted(_)), "{answer:?}");
}

fn seq_of(line: &str) -> u64 {
    let (_, rest) = line.split_once(" seq=\"").unwrap();
    rest.split_once('"').unwrap().0.parse().unwrap()
}

/// Every number once in order, when copies are left out; a copy is the same to the letter.
fn check(lines: &[String], count: u64) {
    let mut first = Vec::new();
    let mut seen = std::collections::HashMap::new();
    for line in lines {
        let before = seen.insert(seq_of(line), line);
        assert!(before.is_none_or(|before| before == line), "{line}");
        if before.is_none() {
            first.push(seq_of(line));
        }
    }
    assert_eq!(first, (0..count).collect::<Vec<_>>(), "{} lines", lines.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_gets_every_message_as_it_is() {
    let Some(folder) = folder() else { return };
    for kind in [Kind::Rsyslog, Kind::SyslogNg] {
        let certificates = Certificates::make();
        let mut receiver = Receiver::prepare(&folder, kind, &certificates, false);
        receiver.start().await;
        let mut syslog = sender(&at(receiver.port, &certificates), "");
        let long = format!(r#"{{"tool":"x={}"}}"#, "y".repeat(60_000));
        let texts = [r#"{"tool":"naïve ⟨x⟩ %s <1>1 \n \\"}"#, r"CEF:0|Sluice|a\|b|1|x|y|1|cs1=a\=b\\", &long];
        let items = texts.iter().zip(0..).map(|(text, seq)| item(seq, text)).collect();
        sent(&mut syslog, &batch(items)).await;
        let lines = receiver.lines(3).await;
        check(&lines, 3);
        for (line, text) in lines.iter().zip(texts) {
            assert!(line.ends_with(text), "{kind:?}: {line}");
        }
        let head = concat!(
            "<110>1 2026-11-20T15:04:05.123456Z sluice sluice ten_00000000000000000000000001 call [sluice@32473 ",
            "id=\"00000000-0000-0000-0000-000000000000\" tenant=\"ten_00000000000000000000000001\" ",
            "epoch=\"1\" seq=\"0\"] {"
        );
        assert!(lines[0].starts_with(head), "{kind:?}: {}", lines[0]);
    }
}

/// The receiver stands still, so that what is written stays in its machine, and is then killed: all of that is gone. Each
/// time the sender is a new one, as after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_killed_and_started_again_misses_nothing() {
    let Some(folder) = folder() else { return };
    for kind in [Kind::Rsyslog, Kind::SyslogNg] {
        let certificates = Certificates::make();
        let mut receiver = Receiver::prepare(&folder, kind, &certificates, false);
        receiver.start().await;
        let settings = at(receiver.port, &certificates);
        let mut syslog = sender(&settings, "");
        let mut lost = 0;
        for round in 0..12 {
            let batch = numbered(round * 100, 100);
            if round % 4 == 2 {
                receiver.stop();
                let (answer, ()) = tokio::join!(syslog.send(&batch), async { receiver.kill() });
                assert!(matches!(answer, Answer::Retry { .. }), "{kind:?}: {answer:?}");
                lost += 100;
                syslog = sender(&settings, "");
                let away = syslog.send(&batch).await;
                assert!(matches!(&away, Answer::Retry { why, .. } if why.code == "unreachable"), "{away:?}");
                receiver.start().await;
            }
            sent(&mut syslog, &batch).await;
        }
        let lines = receiver.lines(1200).await;
        check(&lines, 1200);
        println!("{kind:?}: {lost} records written to a receiver that then died, {} copies", lines.len() - 1200);
    }
}

/// What it has read and then lost is written again within the same batch: it has both.
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_dies_soon_after_it_read_gets_copies() {
    let Some(folder) = folder() else { return };
    let certificates = Certificates::make();
    let mut receiver = Receiver::prepare(&folder, Kind::SyslogNg, &certificates, false);
    receiver.start().await;
    let mut syslog = sender(&at(receiver.port, &certificates), "");
    syslog.settled = Duration::from_mins(1);
    let answer = {
        let written = numbered(0, 50);
        let sending = syslog.send(&written);
        tokio::pin!(sending);
        tokio::select! {
            answer = &mut sending => panic!("{answer:?}"),
            lines = receiver.lines(50) => check(&lines, 50),
        }
        receiver.kill();
        sending.await
    };
    assert!(matches!(answer, Answer::Retry { .. }), "{answer:?}");
    receiver.start().await;
    syslog.settled = Duration::from_millis(300);
    sent(&mut syslog, &numbered(0, 51)).await;
    let lines = receiver.lines(51).await;
    check(&lines, 51);
    assert_eq!(lines.len(), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_is_believed_by_its_authority_or_its_fingerprint_and_by_nothing_else() {
    let Some(folder) = folder() else { return };
    let (certificates, others) = (Certificates::make(), Certificates::make());
    let mut receiver = Receiver::prepare(&folder, Kind::Rsyslog, &certificates, false);
    receiver.start().await;
    let settings = at(receiver.port, &certificates);
    let pinned =
        |fingerprint: String| SyslogSettings { certificates: None, fingerprint: Some(fingerprint), ..settings.clone() };
    sent(&mut sender(&pinned(certificates.fingerprint()), ""), &numbered(0, 1)).await;
    let strangers =
        [at(receiver.port, &others), pinned(others.fingerprint()), SyslogSettings { certificates: None, ..settings }];
    for stranger in strangers {
        match sender(&stranger, "").send(&numbered(1, 1)).await {
            Answer::Retry { why, .. } => assert_eq!(why.code, "tls", "{why:?}"),
            other => panic!("{other:?}"),
        }
    }
    check(&receiver.lines(1).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_a_certificate_gets_ours() {
    let Some(folder) = folder() else { return };
    for kind in [Kind::Rsyslog, Kind::SyslogNg] {
        let certificates = Certificates::make();
        let mut receiver = Receiver::prepare(&folder, kind, &certificates, true);
        receiver.start().await;
        let settings = at(receiver.port, &certificates);
        sent(&mut sender(&settings, &certificates.client), &numbered(0, 1)).await;
        for secret in [String::new(), Certificates::make().client] {
            match sender(&settings, &secret).send(&numbered(1, 1)).await {
                Answer::Retry { why, .. } => assert!(why.code == "tls" || why.code == "cut_off", "{why:?}"),
                other => panic!("{kind:?}: {other:?}"),
            }
        }
        check(&receiver.lines(1).await, 1);
    }
}

#[tokio::test]
async fn an_address_that_may_not_be_dialled_is_not() {
    let settings = SyslogSettings { host: "127.0.0.1".to_owned(), port: 6514, certificates: None, fingerprint: None };
    let outside = Outside { rules: Arc::new(Rules::default()), ..outside() };
    let mut syslog = Syslog::open(&settings, &Secret::new(String::new()), &outside).unwrap();
    match syslog.send(&numbered(0, 1)).await {
        Answer::Retry { why, .. } => assert_eq!(why.code, "address_refused"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_can_never_work_is_said_when_it_is_entered() {
    let rules = Rules::default();
    let settings = |host: &str, fingerprint: Option<&str>| SyslogSettings {
        host: host.to_owned(),
        port: 6514,
        certificates: None,
        fingerprint: fingerprint.map(str::to_owned),
    };
    let sha256 = vec!["ab"; 32].join(":");
    assert!(settings("logs.acme.example", Some(&sha256)).check(&rules).is_ok());
    assert!(settings("[2606:4700::1111]", None).check(&rules).is_ok());
    for host in ["", "a b", "a/b", "a\n", "a@b", "127.0.0.1", "::1", "[fe80::1]", "169.254.169.254", "2130706433"] {
        assert_eq!(settings(host, None).check(&rules).unwrap_err().0, "host", "{host}");
    }
    for fingerprint in ["abc", "ä", ""] {
        assert_eq!(settings("a", Some(fingerprint)).check(&rules).unwrap_err().0, "fingerprint");
    }
    assert!(identity("").is_ok() && identity(&Certificates::make().client).is_ok());
    assert!(identity("canary").is_err() && identity(r#"{"certificate":"x","key":"y"}"#).is_err());
    let (one, other) = (Certificates::make(), Certificates::make());
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let mixed =
        serde_json::json!({ "certificate": value(&one.client)["certificate"], "key": value(&other.client)["key"] });
    assert!(identity(&mixed.to_string()).is_err(), "a certificate and another's key");
}

#[test]
fn a_test_is_marked_and_has_no_place() {
    let mut marked = numbered(7, 1);
    marked.edition = Edition::Test(marked.items[0].id);
    let text = String::from_utf8(message(&marked, &marked.items[0])).unwrap();
    assert!(text.contains(" test=\"true\"] {") && !text.contains(" seq="), "{text}");
    let (length, rest) = text.split_once(' ').unwrap();
    assert_eq!(length.parse::<usize>().unwrap(), rest.len());
}

/// rsyslog says when a connection ended without TLS's own words.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_closed_in_order_is_not_taken_for_a_broken_one() {
    let Some(folder) = folder() else { return };
    let certificates = Certificates::make();
    let mut receiver = Receiver::prepare(&folder, Kind::Rsyslog, &certificates, false);
    receiver.start().await;
    let settings = at(receiver.port, &certificates);
    let mut closed = sender(&settings, "");
    sent(&mut closed, &numbered(0, 1)).await;
    closed.close().await;
    let mut dropped = sender(&settings, "");
    sent(&mut dropped, &numbered(1, 1)).await;
    check(&receiver.lines(2).await, 2);
    // It looks at connections in the order in which something came of them: the first was over before the second came.
    let complaint = "unexpected GnuTLS error -110";
    assert_eq!(receiver.count(complaint), 0, "of the one that was closed");
    drop(dropped);
    assert_eq!(receiver.said(complaint).await, 1);
}
