//! In which era an upstream is spoken to: that of the client where the upstream speaks both, unless it is pinned.

use domain::EraPin;
use http::StatusCode;
use serde_json::{Value, json};

use super::stage;
use crate::testing::upstream::{Speaks, Upstream};
use crate::testing::{Stage, legacy, legacy_call};

/// Who calls.
#[derive(Debug, Clone, Copy)]
enum Caller {
    Modern,
    Legacy,
}

use Caller::{Legacy, Modern};

/// What a call of `echo` comes to.
async fn echo(stage: &Stage, caller: Caller) -> Value {
    call(stage, caller, "echo").await
}

async fn call(stage: &Stage, caller: Caller, tool: &str) -> Value {
    match caller {
        Caller::Modern => stage.call(tool, json!({"a": 1})).await.json(),
        Caller::Legacy => {
            let session = stage.session("2025-11-25").await;
            stage.ask(legacy(Some(&session), &legacy_call(7, tool))).await.json()
        }
    }
}

/// The methods that the upstream was sent, oldest first.
fn wire(upstream: &Upstream) -> Vec<String> {
    upstream.seen().iter().map(|seen| seen.method().to_owned()).collect()
}

/// In which era it was called: the one that has sessions, or the other.
fn eras(upstream: &Upstream) -> Vec<&'static str> {
    let of = |session: bool| if session { "legacy" } else { "modern" };
    upstream.calls().iter().map(|call| of(call.headers.contains_key("mcp-session-id"))).collect()
}

const OPENED: [&str; 3] = ["initialize", "notifications/initialized", "tools/call"];

#[tokio::test]
async fn each_client_meets_each_upstream_in_the_era_that_suits_both() {
    use EraPin::Auto;
    let probed = |then: &[&'static str]| [&["server/discover"], then].concat();
    let refused = |then: &[&'static str]| [&["initialize"], then].concat();
    for (caller, speaks, pin, sent) in [
        (Modern, Speaks::Modern, Auto, probed(&["tools/call"])),
        (Modern, Speaks::Both, Auto, probed(&["tools/call"])),
        (Modern, Speaks::Legacy, Auto, probed(&OPENED)),
        (Legacy, Speaks::Legacy, Auto, OPENED.to_vec()),
        (Legacy, Speaks::Both, Auto, OPENED.to_vec()),
        (Legacy, Speaks::Modern, Auto, refused(&probed(&["tools/call"]))),
        (Modern, Speaks::Modern, EraPin::Modern, vec!["tools/call"]),
        (Modern, Speaks::Both, EraPin::Modern, vec!["tools/call"]),
        (Legacy, Speaks::Modern, EraPin::Modern, vec!["tools/call"]),
        (Legacy, Speaks::Both, EraPin::Modern, vec!["tools/call"]),
        (Modern, Speaks::Both, EraPin::Legacy, OPENED.to_vec()),
        (Modern, Speaks::Legacy, EraPin::Legacy, OPENED.to_vec()),
        (Legacy, Speaks::Both, EraPin::Legacy, OPENED.to_vec()),
        (Legacy, Speaks::Legacy, EraPin::Legacy, OPENED.to_vec()),
    ] {
        let upstream = Upstream::start(speaks).await;
        let stage = Stage::with(&upstream.url(), |snapshot, _| snapshot.servers[0].era = pin).await;
        let answer = echo(&stage, caller).await;
        assert_eq!(answer["result"]["content"][0]["text"], r#"{"a":1}"#, "{caller:?} {speaks:?} {pin:?} {answer}");
        assert_eq!(wire(&upstream), sent, "{caller:?} {speaks:?} {pin:?}");
        let version = if eras(&upstream) == ["legacy"] { "2025-11-25" } else { "2026-07-28" };
        assert_eq!(stage.record().await["server"]["protocol_version"], version, "{caller:?} {speaks:?} {pin:?}");
    }
}

#[tokio::test]
async fn a_pin_that_is_wrong_is_not_got_round() {
    for caller in [Modern, Legacy] {
        for (speaks, pin) in [(Speaks::Legacy, EraPin::Modern), (Speaks::Modern, EraPin::Legacy)] {
            let upstream = Upstream::start(speaks).await;
            let stage = Stage::with(&upstream.url(), |snapshot, _| snapshot.servers[0].era = pin).await;
            assert_eq!(echo(&stage, caller).await["error"]["code"], -32603, "{caller:?} {speaks:?}");
            assert_eq!(stage.record().await["outcome"]["reason"], "no_common_version", "{caller:?} {speaks:?}");
            assert_eq!(upstream.seen().len(), 1, "{caller:?} {speaks:?}: {:?}", wire(&upstream));
        }
    }
}

#[tokio::test]
async fn clients_of_both_eras_share_an_upstream_of_both() {
    let (stage, upstream) = stage(Speaks::Both).await;
    for caller in [Modern, Legacy, Modern, Legacy] {
        assert!(echo(&stage, caller).await.get("result").is_some());
    }
    assert_eq!(eras(&upstream), ["modern", "legacy", "modern", "legacy"]);
    assert_eq!(upstream.count("server/discover"), 1, "what was found out is remembered");
}

#[tokio::test]
async fn what_an_upstream_does_not_speak_is_found_out_once() {
    let (stage, upstream) = stage(Speaks::Modern).await;
    for caller in [Legacy, Modern, Legacy, Modern] {
        assert!(echo(&stage, caller).await.get("result").is_some());
    }
    assert_eq!((upstream.count("initialize"), upstream.count("server/discover")), (1, 1));
    let (stage, upstream) = super::stage(Speaks::Legacy).await;
    for caller in [Legacy, Modern, Legacy, Modern] {
        assert!(echo(&stage, caller).await.get("result").is_some());
    }
    assert_eq!(upstream.count("server/discover"), 1);
}

#[tokio::test]
async fn what_the_control_plane_found_is_not_asked_for_again() {
    for (speaks, version) in [(Speaks::Modern, "2026-07-28"), (Speaks::Legacy, "2025-11-25")] {
        let upstream = Upstream::start(speaks).await;
        let stage = Stage::with(&upstream.url(), |snapshot, _| {
            snapshot.servers[0].probed_version = Some(version.to_owned());
        })
        .await;
        assert!(echo(&stage, Modern).await.get("result").is_some());
        assert_eq!(upstream.count("server/discover"), 0, "{version}");
    }
}

#[tokio::test]
async fn an_upstream_that_changes_its_era_is_followed_whoever_calls() {
    for caller in [Modern, Legacy] {
        for speaks in [[Speaks::Modern, Speaks::Legacy], [Speaks::Legacy, Speaks::Modern]] {
            let (stage, upstream) = stage(speaks[0]).await;
            assert!(echo(&stage, caller).await.get("result").is_some());
            for speaks in [speaks[1], speaks[0], speaks[1]] {
                upstream.becomes(speaks);
                let answer = echo(&stage, caller).await;
                assert!(answer.get("result").is_some(), "{caller:?} {speaks:?} {answer}");
            }
        }
    }
}

#[tokio::test]
async fn a_capability_that_is_missing_says_nothing_of_the_era() {
    let (stage, upstream) = stage(Speaks::Both).await;
    for tool in ["lacks", "echo"] {
        for caller in [Modern, Legacy] {
            let answer = call(&stage, caller, tool).await;
            assert_eq!(answer.get("error").is_some(), tool == "lacks", "{caller:?} {answer}");
        }
    }
    assert_eq!(eras(&upstream), ["modern", "legacy", "modern", "legacy"]);
}

#[tokio::test]
async fn a_handshake_that_fails_costs_no_call_where_the_newer_era_is_spoken() {
    for status in [401, 403, 404, 405, 406, 429, 500, 503].map(|status| StatusCode::from_u16(status).unwrap()) {
        let (stage, upstream) = stage(Speaks::Both).await;
        assert!(echo(&stage, Modern).await.get("result").is_some());
        upstream.refuses_handshakes(Some(status));
        let answer = echo(&stage, Legacy).await;
        assert!(answer.get("result").is_some(), "{status} {answer}");
        assert_eq!(eras(&upstream), ["modern", "modern"], "{status}");
        upstream.refuses_handshakes(None);
        assert!(echo(&stage, Legacy).await.get("result").is_some(), "{status}");
        // What may pass is tried anew with the next call; what says that the era is absent is believed for minutes.
        let then = if matches!(status.as_u16(), 404 | 405) { "modern" } else { "legacy" };
        assert_eq!(eras(&upstream), ["modern", "modern", then], "{status}");
    }
}

#[tokio::test]
async fn a_handshake_that_fails_is_not_got_round_where_no_other_era_is_known() {
    let (stage, upstream) = stage(Speaks::Both).await;
    upstream.refuses_handshakes(Some(StatusCode::UNAUTHORIZED));
    assert_eq!(echo(&stage, Legacy).await["error"]["code"], -32603);
    assert_eq!(stage.record().await["outcome"]["reason"], "unauthorized");
    assert_eq!(wire(&upstream), ["initialize"]);
}
