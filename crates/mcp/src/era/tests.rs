use super::*;
use crate::Limits;
use crate::message::tests::CALL;

const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;

fn headers<'h>(headers: &[(&'h str, &'h str)]) -> Headers<'h> {
    Headers::gather(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
}

/// One word for what a POST is.
fn post(given: &[(&str, &str)], body: &str) -> &'static str {
    let body = Body::parse(body.as_bytes(), &Limits::default()).unwrap();
    word(&classify(Verb::Post, &headers(given), Some(&body)))
}

fn word(inbound: &Inbound<'_, '_>) -> &'static str {
    match inbound {
        Inbound::Modern(Some(_)) => "modern",
        Inbound::Modern(None) => "modern without meta",
        Inbound::Initialize => "initialize",
        Inbound::Session("s1") => "session",
        Inbound::Stream("s1") => "stream",
        Inbound::Terminate("s1") => "terminate",
        Inbound::Misfit(Misfit::SessionRequired) => "session required",
        Inbound::Misfit(Misfit::Batch) => "no batch",
        Inbound::Misfit(Misfit::Header(_)) => "bad header",
        Inbound::Misfit(Misfit::MethodNotAllowed) => "405",
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_row_of_the_table_is_as_it_says() {
    const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    const INITIALIZE: &str =
        r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2026-07-28"}}"#;
    const BATCH: &str = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
    const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let modern_initialize = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{{META}}}}}"#);
    let session = ("Mcp-Session-Id", "s1");
    let version = |version| ("MCP-Protocol-Version", version);
    for (given, body, expected) in [
        (&[][..], CALL, "modern"),
        (&[version("2025-11-25"), session], CALL, "modern"),
        (&[], modern_initialize.as_str(), "modern"),
        (&[version("2026-07-28")], PING, "modern without meta"),
        (&[version("2026-07-28"), session], PING, "modern without meta"),
        (&[version("2027-01-01")], PING, "modern without meta"),
        (&[], INITIALIZE, "initialize"),
        (&[version("2025-06-18")], INITIALIZE, "initialize"),
        (&[version("2026-07-28"), session], INITIALIZE, "initialize"),
        (&[session], PING, "session"),
        (&[session, version("2025-06-18")], PING, "session"),
        (&[session], ANSWER, "session"),
        (&[version("2025-03-26")], PING, "session required"),
        (&[version("2025-06-18")], PING, "session required"),
        (&[version("2025-11-25")], PING, "session required"),
        (&[version("2024-11-05")], PING, "session required"),
        (&[], PING, "session required"),
        (&[("Mcp-Session-Id", "")], PING, "session required"),
        (&[], ANSWER, "session required"),
        (&[session], BATCH, "session"),
        (&[session, version("2025-03-26")], BATCH, "session"),
        (&[session, version("2026-07-28")], BATCH, "no batch"),
        (&[], BATCH, "no batch"),
        (&[session, session], PING, "bad header"),
        (&[session, version("2025-03-26"), version("2025-03-26")], PING, "bad header"),
    ] {
        assert_eq!(post(given, body), expected, "{given:?} {body}");
    }
}

#[test]
fn get_and_delete_want_a_session() {
    let session = headers(&[("Mcp-Session-Id", "s1")]);
    assert_eq!(word(&classify(Verb::Get, &session, None)), "stream");
    assert_eq!(word(&classify(Verb::Delete, &session, None)), "terminate");
    for verb in [Verb::Get, Verb::Delete] {
        assert_eq!(word(&classify(verb, &headers(&[]), None)), "405");
    }
    assert_eq!((Misfit::MethodNotAllowed.status(), Misfit::MethodNotAllowed.to_error()), (405, None));
}

#[test]
fn a_missing_session_is_answered_as_the_sdks_know_it() {
    let error = Misfit::SessionRequired.to_error().unwrap();
    insta::assert_snapshot!(
        error.body(Some(&crate::Id::number(3))),
        @r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32000,"message":"Bad Request: Mcp-Session-Id required"}}"#
    );
    assert_eq!(error.status(Era::Legacy), 400);
}

#[test]
fn a_sessions_requests_may_name_legacy_versions_only() {
    assert!(check_session(&headers(&[])).is_ok());
    assert!(check_session(&headers(&[("mcp-protocol-version", "2025-06-18")])).is_ok());
    for wrong in ["2026-07-28", "2024-11-05", "1.0", ""] {
        let error = check_session(&headers(&[("mcp-protocol-version", wrong)])).unwrap_err();
        assert_eq!(error.status(Era::Legacy), 400, "{wrong}");
    }
}

/// Checks a modern request and gives `status code` of the error.
fn modern(given: &[(&str, &str)], body: &str) -> String {
    let body = Body::parse(body.as_bytes(), &Limits::default()).unwrap();
    let headers = headers(given);
    let (Body::One(Message::Request(request)), Inbound::Modern(meta)) =
        (&body, classify(Verb::Post, &headers, Some(&body)))
    else {
        panic!("not modern")
    };
    match check_modern(&headers, request, meta) {
        Ok(modern) => modern.method.as_str().to_owned(),
        Err(error) => format!("{} {}", error.status(Era::Modern), error.code.number()),
    }
}

const VERSION: (&str, &str) = ("MCP-Protocol-Version", "2026-07-28");
const METHOD: (&str, &str) = ("Mcp-Method", "tools/call");
const NAME: (&str, &str) = ("Mcp-Name", " crm__lookup ");

#[test]
fn the_specifications_call_passes() {
    assert_eq!(modern(&[VERSION, METHOD, NAME], CALL), "tools/call");
    let encoded = ("Mcp-Name", "=?base64?Y3JtX19sb29rdXA=?=");
    assert_eq!(modern(&[VERSION, METHOD, encoded], CALL), "tools/call");
}

#[test]
fn the_checks_fail_in_their_order() {
    let list =
        |meta: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{"_meta":{{{meta}}}}}}}"#);
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
    let newer =
        r#""io.modelcontextprotocol/protocolVersion":"2027-01-01","io.modelcontextprotocol/clientCapabilities":{}"#;
    let listing = ("Mcp-Method", "tools/list");
    let newer_header = ("MCP-Protocol-Version", "2027-01-01");
    let plain = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    for (given, body, expected) in [
        // 6: no version header, before anything else.
        (&[][..], list(version), "400 -32020"),
        (&[VERSION, VERSION], list(version), "400 -32020"),
        // 7: required members of `_meta`, before the versions are compared.
        (&[VERSION], plain.to_owned(), "400 -32602"),
        (&[newer_header], list(version), "400 -32602"),
        (&[VERSION], list(&format!(r#"{version},"io.modelcontextprotocol/clientCapabilities":[]"#)), "400 -32602"),
        (&[newer_header], plain.to_owned(), "400 -32022"),
        // 8: the versions differ.
        (&[VERSION], list(newer), "400 -32020"),
        // 9: both name one we do not speak.
        (&[newer_header], list(newer), "400 -32022"),
        // 10: method and name.
        (&[VERSION], CALL.to_owned(), "400 -32020"),
        (&[VERSION, listing, NAME], CALL.to_owned(), "400 -32020"),
        (&[VERSION, ("Mcp-Method", "Tools/Call"), NAME], CALL.to_owned(), "400 -32020"),
        (&[VERSION, METHOD], CALL.to_owned(), "400 -32020"),
        (&[VERSION, METHOD, ("Mcp-Name", "crm__Lookup")], CALL.to_owned(), "400 -32020"),
        (&[VERSION, METHOD, ("Mcp-Name", "=?base64?!?=")], CALL.to_owned(), "400 -32020"),
        (&[VERSION, METHOD, NAME, NAME], CALL.to_owned(), "400 -32020"),
    ] {
        assert_eq!(modern(given, &body), expected, "{given:?} {body}");
    }
}

#[test]
fn removed_unknown_and_later_methods_are_not_found() {
    for method in
        ["initialize", "ping", "logging/setLevel", "tasks/list", "no/such", "subscriptions/listen", "resources/list"]
    {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{META}}}}}"#);
        assert_eq!(modern(&[VERSION, ("Mcp-Method", method)], &body), "404 -32601", "{method}");
    }
    let read = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{{"uri":"a:b",{META}}}}}"#);
    assert_eq!(modern(&[VERSION, ("Mcp-Method", "resources/read"), ("Mcp-Name", "a:b")], &read), "404 -32601");
}

#[test]
fn client_info_is_optional_and_a_log_level_is_one_of_eight() {
    let call = |level: &str| {
        let meta = META.trim_end_matches('}');
        format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{meta}}},"io.modelcontextprotocol/logLevel":{level}}}}}}}"#
        )
    };
    let given = [VERSION, ("Mcp-Method", "tools/list")];
    assert_eq!(modern(&given, &call("\"warning\"")), "tools/list");
    assert_eq!(modern(&given, &call("\"loud\"")), "200 -32602");
    assert_eq!(modern(&given, &call("3")), "200 -32602");
}

#[test]
fn an_unsupported_version_is_told_which_are_supported() {
    insta::assert_snapshot!(
        RpcError::unsupported_version("2027-01-01").body(Some(&crate::Id::number(41))),
        @r#"{"jsonrpc":"2.0","id":41,"error":{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2026-07-28"],"requested":"2027-01-01"}}}"#
    );
}

#[test]
fn a_session_has_tools_and_ping_but_no_modern_methods() {
    let method = |method: &str| {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}"}}"#);
        let Ok(Message::Request(request)) = Message::parse(body.as_bytes(), &Limits::default()) else { panic!() };
        check_legacy(&request).map_err(|error| (error.code, error.status(Era::Legacy)))
    };
    assert_eq!(method("ping"), Ok(Method::Ping));
    assert_eq!(method("tools/call"), Ok(Method::ToolsCall));
    for absent in ["server/discover", "subscriptions/listen", "prompts/list", "x"] {
        assert_eq!(method(absent), Err((Code::MethodNotFound, 200)), "{absent}");
    }
}

fn error(code: i64, data: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"error":{{"code":{code},"message":"m","data":{data}}}}}"#)
}

#[test]
fn a_probes_answer_tells_the_upstreams_era() {
    let json = Some("application/json");
    let modern = Verdict::Modern(Version::V2026_07_28);
    let discovered = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","supportedVersions":["2026-07-28","2025-11-25"],"capabilities":{}}}"#;
    let newer = discovered.replace("2026-07-28", "2027-01-01").replace("2025-11-25", "2028-01-01");
    let stream = format!("event: message\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"n\"}}\n\ndata: {discovered}\n\n");
    // What the TypeScript SDK of the legacy era answers, measured.
    let stateful =
        r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}"#;
    for (status, kind, body, verdict) in [
        (200, json, discovered.to_owned(), modern),
        (200, Some("text/event-stream; charset=utf-8"), stream, modern),
        (200, json, newer, Verdict::NoCommonVersion),
        (400, json, error(-32022, r#"{"supported":["2026-07-28"]}"#), modern),
        (400, json, error(-32022, r#"{"supported":["2027-01-01"]}"#), Verdict::NoCommonVersion),
        (400, json, error(-32022, r#"{"supported":["2027-01-01","2025-06-18"]}"#), Verdict::Legacy),
        (400, json, error(-32022, "{}"), Verdict::NoCommonVersion),
        (400, json, error(-32020, "{}"), modern),
        (400, json, error(-32021, "{}"), modern),
        (400, json, error(-32602, "{}"), modern),
        (200, json, error(-32602, "{}"), Verdict::Legacy),
        // A draft's codes count only with the draft's data.
        (400, json, error(-32004, r#"{"supported":["2026-07-28"]}"#), modern),
        (400, json, error(-32004, "{}"), Verdict::Legacy),
        (400, json, error(-32003, r#"{"requiredCapabilities":{}}"#), modern),
        (400, json, error(-32003, "{}"), Verdict::Legacy),
        (404, json, error(-32001, "{}"), Verdict::Legacy),
        // A modern server has `server/discover`.
        (404, json, error(-32601, "{}"), Verdict::Legacy),
        (200, json, error(-32601, "{}"), Verdict::Legacy),
        (400, json, stateful.to_owned(), Verdict::Legacy),
        (404, Some("text/html"), "<!DOCTYPE html>".to_owned(), Verdict::Legacy),
        (405, None, String::new(), Verdict::Legacy),
        (200, json, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned(), Verdict::Legacy),
        (500, json, discovered.to_owned(), Verdict::Unavailable),
        (429, None, String::new(), Verdict::Unavailable),
        (401, json, error(-32001, "{}"), Verdict::Unauthorized),
        (403, None, String::new(), Verdict::Unauthorized),
    ] {
        assert_eq!(detect(status, kind, body.as_bytes()), verdict, "{status} {body}");
    }
}
