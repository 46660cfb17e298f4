use super::*;
use crate::message::Message;
use crate::{Limits, Raw};

/// What a client that wants `wanted` gets of a notification that is not for everybody.
fn relayed(wanted: &Wanted<'_>, method: &str, params: &str) -> Option<String> {
    match relay(wanted, method, params) {
        Relayed::Passed(passed) => Some(passed.into_string()),
        Relayed::Dropped(why) => {
            assert_eq!(why, Dropped::Unwanted);
            None
        }
    }
}

fn relay(wanted: &Wanted<'_>, method: &str, params: &str) -> Relayed {
    let body = format!(r#"{{"jsonrpc":"2.0","method":"{method}","params":{params}}}"#);
    let Ok(Message::Notification(notification)) = Message::parse(body.as_bytes(), &Limits::upstream()) else {
        panic!()
    };
    wanted.relay(&notification)
}

const TOKENS: Tokens<'static> = Tokens { upstream: Raw::constant("7"), client: Raw::constant("\"p-41\"") };

#[test]
fn progress_gets_the_clients_token_back() {
    let wanted = Wanted { progress: Some(TOKENS), logs: Logs::None };
    assert_eq!(
        relayed(
            &wanted,
            PROGRESS,
            r#"{"progressToken":7,"progress":1,"total":2.50,"message":"searching","vendor":{}}"#
        )
        .unwrap(),
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p-41","progress":1,"total":2.50,"message":"searching","vendor":{}}}"#
    );
}

#[test]
fn progress_of_another_call_or_unasked_is_dropped() {
    let wanted = Wanted { progress: Some(TOKENS), logs: Logs::None };
    for params in [r#"{"progressToken":8}"#, r#"{"progressToken":"7"}"#, r#"{"progressToken":7.0}"#, "{}"] {
        assert_eq!(relayed(&wanted, PROGRESS, params), None, "{params}");
    }
    let unasked = Wanted { progress: None, logs: Logs::All };
    assert_eq!(relayed(&unasked, PROGRESS, r#"{"progressToken":7}"#), None);
}

#[test]
fn log_messages_come_at_the_level_wanted() {
    let info = r#"{"level":"info","data":{"n":1e3}}"#;
    let error = r#"{"level":"error","data":1}"#;
    let got = |logs, params| relayed(&Wanted { progress: None, logs }, MESSAGE, params).is_some();
    assert!(!got(Logs::None, error));
    assert!(got(Logs::All, info));
    assert!(got(Logs::AtLeast(LogLevel::Info), info) && got(Logs::AtLeast(LogLevel::Info), error));
    assert!(!got(Logs::AtLeast(LogLevel::Warning), info));
    assert!(!got(Logs::All, r#"{"level":"loud","data":1}"#));
}

#[test]
fn what_belongs_on_other_streams_or_nowhere_is_dropped_and_told_apart() {
    let wanted = Wanted { progress: Some(TOKENS), logs: Logs::All };
    for (method, why) in [
        ("notifications/tools/list_changed", Dropped::Misplaced),
        (CANCELLED, Dropped::Misplaced),
        ("notifications/elicitation/complete", Dropped::Misplaced),
        ("x", Dropped::Unknown),
        ("Notifications/Message", Dropped::Unknown),
        ("notifications/vendor", Dropped::Unknown),
    ] {
        assert_eq!(relay(&wanted, method, r#"{"level":"info"}"#), Relayed::Dropped(why), "{method}");
    }
}

#[test]
fn a_modern_upstream_is_told_only_a_level_that_was_named() {
    assert_eq!(Logs::from(None), Logs::None);
    assert_eq!(Logs::from(Some(LogLevel::Info)).level(), Some(LogLevel::Info));
    assert_eq!((Logs::None.level(), Logs::All.level()), (None, None));
}

#[test]
fn levels_are_ordered_by_severity() {
    assert!(LogLevel::ALL.is_sorted());
    for level in LogLevel::ALL {
        assert_eq!(LogLevel::find(level.as_str()), Some(level));
    }
}

#[test]
fn a_cancellation_names_its_request() {
    let built = cancelled(&Id::text("a"), "the client hung up");
    assert_eq!(
        built.as_str(),
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"a","reason":"the client hung up"}}"#
    );
    let Ok(Message::Notification(read)) = Message::parse(built.as_str().as_bytes(), &Limits::default()) else {
        panic!()
    };
    assert_eq!(cancelled_request(&read), Some(Id::text("a")));
    let text = initialized();
    let Ok(Message::Notification(read)) = Message::parse(text.as_str().as_bytes(), &Limits::default()) else {
        panic!()
    };
    assert_eq!((read.method.as_ref(), cancelled_request(&read)), (INITIALIZED, None));
}
