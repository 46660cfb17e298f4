use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::json::tests::any_json;

fn parse(body: &str) -> Result<Message<'_>, ParseError> {
    Message::parse(body.as_bytes(), &Limits::default())
}

fn fault(body: &str) -> Fault {
    parse(body).unwrap_err().fault
}

/// The call of the specification's worked exchange.
pub(crate) const CALL: &str = r#"{"jsonrpc":"2.0","id":41,"method":"tools/call","params":{"name":"crm__lookup","arguments":{"email":"ann@x.test"},
 "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
          "io.modelcontextprotocol/clientInfo":{"name":"codex","version":"0.99.0"},
          "io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}}},
          "progressToken":"p-41"}}}"#;

#[test]
fn a_request_is_read_with_its_params_in_order() {
    let Ok(Message::Request(request)) = parse(CALL) else { panic!("no request") };
    assert_eq!(request.id, Id::number(41));
    assert_eq!(request.method, "tools/call");
    let keys: Vec<&str> = request.params.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["name", "arguments", "_meta"]);
    assert_eq!(request.params.get("arguments").unwrap().get(), r#"{"email":"ann@x.test"}"#);
}

#[test]
fn the_kinds_of_messages_are_told_apart() {
    assert!(matches!(parse(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#), Ok(Message::Notification(_))));
    assert!(matches!(parse(r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#), Ok(Message::Request(_))));
    assert!(matches!(parse(r#"{"jsonrpc":"2.0","id":"a","result":{}}"#), Ok(Message::Response(_))));
    let old_sdk =
        r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}"#;
    let Ok(Message::Response(Response { id: None, outcome: Outcome::Error(error) })) = parse(old_sdk) else {
        panic!("no error without id")
    };
    assert_eq!((error.code, error.message.as_ref()), (-32000, "Bad Request: Server not initialized"));
}

#[test]
fn what_is_no_message_is_refused() {
    for (body, expected) in [
        ("5", Fault::NotAnObject),
        ("\"a\"", Fault::NotAnObject),
        ("null", Fault::NotAnObject),
        ("{}", Fault::NotVersion2),
        (r#"{"id":1,"method":"ping"}"#, Fault::NotVersion2),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Fault::NotVersion2),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, Fault::NotVersion2),
        (r#"{"jsonrpc":"2.0","id":1}"#, Fault::NoKind),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, Fault::NoKind),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Fault::BadMethod),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, Fault::BadParams),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#, Fault::BadParams),
        (r#"{"jsonrpc":"2.0","id":1,"result":[]}"#, Fault::BadOutcome),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, Fault::BadOutcome),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":"1","message":""}}"#, Fault::BadOutcome),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, Fault::BadOutcome),
        (r#"{"jsonrpc":"2.0","result":{}}"#, Fault::BadId),
        ("[]", Fault::NotAnObject),
    ] {
        let found = match Body::parse(body.as_bytes(), &Limits::default()) {
            Ok(Body::Batch(_)) => Fault::NotAnObject,
            Ok(Body::One(message)) => panic!("{body} was read as {message:?}"),
            Err(error) if error.fault == Fault::EmptyBatch => Fault::NotAnObject,
            Err(error) => error.fault,
        };
        assert_eq!(found, expected, "{body}");
    }
}

#[test]
fn an_id_is_a_string_or_an_integer() {
    for id in ["null", "1.0", "1e3", "true", "{}", "[]"] {
        assert_eq!(fault(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#)), Fault::BadId, "{id}");
    }
    let long = "9".repeat(Id::LONGEST + 1);
    assert_eq!(fault(&format!(r#"{{"jsonrpc":"2.0","id":{long},"method":"ping"}}"#)), Fault::BadId);
    for id in ["0", "-1", "12345678901234567890123", "\"\"", "\"a b\"", "\"7\""] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
        let Ok(Message::Request(request)) = parse(&body) else { panic!("{id}") };
        assert_eq!(request.id.as_json(), id);
    }
    assert_ne!(Id::number(7), Id::text("7"));
}

#[test]
fn two_spellings_of_one_string_are_one_id() {
    let raw = Raw::check(r#""\u0061""#, &Limits::default()).unwrap();
    assert_eq!(Id::read(raw).unwrap(), Id::text("a"));
}

#[test]
fn a_refusal_names_the_request_when_its_id_was_read() {
    let error = parse(r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"a":1,"a":2}}"#).unwrap_err();
    assert!(matches!(error.fault, Fault::Json(JsonError::DuplicateKey { .. })));
    assert_eq!(error.id, Some(Id::number(7)));
    assert_eq!(error.to_error().code, Code::InvalidRequest);

    let error = parse(r#"{"jsonrpc":"2.0","id":7,"method":"#).unwrap_err();
    assert_eq!(error.to_error().code, Code::ParseError);
    assert_eq!(Message::parse(b"{\"a\":\"\xff\"}", &Limits::default()).unwrap_err().to_error().code, Code::ParseError);
}

#[test]
fn duplicate_keys_are_refused_in_the_envelope_and_deep_in_arguments() {
    for body in [
        r#"{"jsonrpc":"2.0","id":1,"method":"a","method":"b"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a","m\u0065thod":"b"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"name":"x","name":"y"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"a","params":{"arguments":{"l":[{"p":1,"\u0070":2}]}}}"#,
    ] {
        assert!(matches!(fault(body), Fault::Json(JsonError::DuplicateKey { .. })), "{body}");
    }
}

#[test]
fn text_after_the_message_is_refused() {
    assert!(matches!(
        fault(r#"{"jsonrpc":"2.0","id":1,"method":"ping"} x"#),
        Fault::Json(JsonError::Syntax { at: 41 })
    ));
    assert!(parse("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} \r\n").is_ok());
}

#[test]
fn the_messages_of_a_batch_stand_for_themselves() {
    let body =
        r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}, 5, {"jsonrpc":"2.0","id":2}, {"jsonrpc":"2.0","method":"n"}]"#;
    let Ok(Body::Batch(messages)) = Body::parse(body.as_bytes(), &Limits::default()) else { panic!("no batch") };
    assert!(matches!(messages[0], Ok(Message::Request(_))));
    assert_eq!(messages[1].as_ref().unwrap_err().fault, Fault::NotAnObject);
    assert_eq!(messages[2].as_ref().unwrap_err().id, Some(Id::number(2)));
    assert!(matches!(messages[3], Ok(Message::Notification(_))));
    assert!(parse(body).is_err(), "who wants one message refuses a batch");
}

#[test]
fn a_batch_is_neither_empty_nor_endless_nor_half() {
    let fault = |body: &str| Body::parse(body.as_bytes(), &Limits { batch: 2, ..Limits::default() }).unwrap_err().fault;
    let one = r#"{"jsonrpc":"2.0","method":"n"}"#;
    assert_eq!(fault("[]"), Fault::EmptyBatch);
    assert_eq!(fault(&format!("[{one},{one},{one}]")), Fault::LongBatch);
    assert!(matches!(fault(&format!("[{one},")), Fault::Json(JsonError::Syntax { .. })));
    assert!(matches!(fault(&format!("[{one},{{\"a\":1,\"a\":2}}]")), Fault::Json(JsonError::DuplicateKey { .. })));
}

#[test]
fn envelopes_are_built_and_never_copied() {
    let body = r#"{"vendor":1,"params":{"x": 1e3},"method":"tools/call","id":"q","jsonrpc":"2.0"}"#;
    let Ok(Message::Request(read)) = parse(body) else { panic!("no request") };
    insta::assert_snapshot!(
        request(&Id::number(9), &read.method, read.params.raw()),
        @r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"x": 1e3}}"#
    );
    insta::assert_snapshot!(response(&read.id, Raw::EMPTY), @r#"{"jsonrpc":"2.0","id":"q","result":{}}"#);
    insta::assert_snapshot!(
        error(None, &RpcError::new(Code::ParseError, "no")),
        @r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"no"}}"#
    );
}

proptest! {
    #[test]
    fn what_is_built_reads_back(id in any::<u64>(), method: String, params in any_json()) {
        let method = method.replace('\0', "");
        let text = format!("{{\"p\":{params}}}");
        let params = Raw::check(&text, &Limits::default()).unwrap();
        let built = request(&Id::number(id), &method, params);
        let Ok(Message::Request(read)) = parse(built.as_str()) else { panic!("no request") };
        prop_assert_eq!(read.id, Id::number(id));
        prop_assert_eq!(read.method, method);
        prop_assert_eq!(read.params.raw(), params);
    }

    #[test]
    fn no_bytes_make_the_parser_panic(body: Vec<u8>) {
        let _ = Body::parse(&body, &Limits::default());
    }

    #[test]
    fn a_message_with_any_member_changed_is_read_or_refused_like_serde_json_would(
        key in prop::sample::select(vec!["jsonrpc", "id", "method", "params", "other"]), value in any_json(),
    ) {
        let whole = r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{}}"#;
        let object = Raw::check(whole, &Limits::default()).unwrap().object().unwrap();
        let body = object.with(&[(key, crate::json::Change::Set(Raw::check(&value, &Limits::default()).unwrap()))]);
        let value: Value = serde_json::from_str(&value).unwrap();
        let fine = match key {
            "jsonrpc" => value == "2.0",
            "id" => value.is_string() || value.is_i64() || value.is_u64() || !body.as_str().contains(['.', 'e', 'E']),
            "method" => value.is_string(),
            "params" => value.is_object(),
            _ => true,
        };
        if key != "id" {
            prop_assert_eq!(parse(body.as_str()).is_ok(), fine, "{}", body);
        } else if value.is_null() || value.is_boolean() || value.is_array() || value.is_object() {
            prop_assert!(parse(body.as_str()).is_err());
        }
    }
}
