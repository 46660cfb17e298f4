use proptest::prelude::*;

use super::*;
use crate::json::tests::any_json;
use crate::message::tests::CALL;
use crate::meta::LogLevel;
use crate::{Code, Era, Limits, Message, Object, Raw, Version};

fn object(text: &str) -> Object<'_> {
    Raw::check(text, &Limits::upstream()).unwrap().object().unwrap()
}

fn call(params: &str) -> Call<'_> {
    Call::read(object(params)).unwrap()
}

const MODERN: Side<'static> = Side { era: Era::Modern, server_info: Raw::constant(r#"{"name":"gw","version":"1"}"#) };
const LEGACY: Side<'static> = Side { era: Era::Legacy, ..MODERN };

fn modern_hop() -> Hop<'static> {
    Hop::Modern {
        version: Version::V2026_07_28,
        capabilities: Raw::EMPTY,
        client_info: Some(Raw::constant(r#"{"name":"codex","version":"0.99.0"}"#)),
        log_level: Some(LogLevel::Info),
    }
}

fn outbound(hop: Hop<'static>) -> Outbound<'static> {
    let (traceparent, tracestate) = (Some("00-ab-cd-01"), Some("a=b"));
    Outbound { name: "lookup", state: None, progress_token: Some(Raw::constant("7")), traceparent, tracestate, hop }
}

#[test]
fn a_modern_call_gets_the_names_and_the_meta_of_the_next_hop() {
    let Ok(Message::Request(request)) = Message::parse(CALL.as_bytes(), &Limits::default()) else { panic!() };
    let call = Call::read(request.params).unwrap();
    assert_eq!(call.progress_token().unwrap().get(), "\"p-41\"");
    insta::assert_snapshot!(
        call.params_for(&outbound(modern_hop())),
        @r#"{"name":"lookup","arguments":{"email":"ann@x.test"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"codex","version":"0.99.0"},"io.modelcontextprotocol/logLevel":"info","progressToken":7,"traceparent":"00-ab-cd-01","tracestate":"a=b"}}"#
    );
    let bare = Outbound { progress_token: None, traceparent: None, tracestate: None, ..outbound(Hop::Legacy) };
    insta::assert_snapshot!(call.params_for(&bare), @r#"{"name":"lookup","arguments":{"email":"ann@x.test"}}"#);
}

#[test]
fn what_we_do_not_know_is_passed_on_as_it_was_written() {
    let params = r#"{"vendor":[1e3 , 12345678901234567890123],"name":"x","arguments":{"z":1.0,"a":"\u00e9"},"task":{"ttl":1},"_meta":{"com.example/k":{"b": 1},"baggage":"secret=1","tracestate":"x"}}"#;
    insta::assert_snapshot!(
        call(params).params_for(&outbound(Hop::Legacy)),
        @r#"{"vendor":[1e3 , 12345678901234567890123],"name":"lookup","arguments":{"z":1.0,"a":"\u00e9"},"_meta":{"com.example/k":{"b": 1},"progressToken":7,"traceparent":"00-ab-cd-01","tracestate":"a=b"}}"#
    );
}

#[test]
fn a_call_of_the_wrong_shape_is_refused() {
    for params in [
        "{}",
        r#"{"name":5}"#,
        r#"{"name":"x","arguments":[]}"#,
        r#"{"name":"x","arguments":"{}"}"#,
        r#"{"name":"x","_meta":[]}"#,
        r#"{"name":"x","requestState":5}"#,
        r#"{"name":"x","requestState":null}"#,
        r#"{"name":"x","inputResponses":null}"#,
        r#"{"name":"x","inputResponses":[]}"#,
    ] {
        assert_eq!(Call::read(object(params)).unwrap_err().code, Code::InvalidParams, "{params}");
    }
    assert_eq!(call(r#"{"name":"x","arguments":null}"#).arguments, None);
}

#[test]
fn answers_go_on_as_they_were_written_with_the_state_that_the_upstream_gave() {
    let call =
        call(r#"{"inputResponses":{"b": {"n":12345678901234567890123},"a":1e3},"requestState":"ours","name":"x"}"#);
    assert_eq!(call.input.state.unwrap().get(), "\"ours\"");
    let theirs = |hop| Outbound {
        state: Some(Raw::constant("\"the\\u0069rs\"")),
        progress_token: None,
        traceparent: None,
        tracestate: None,
        ..outbound(hop)
    };
    insta::assert_snapshot!(
        call.params_for(&theirs(Hop::Modern { version: Version::V2026_07_28, capabilities: Raw::EMPTY, client_info: None, log_level: None })),
        @r#"{"inputResponses":{"b": {"n":12345678901234567890123},"a":1e3},"requestState":"the\u0069rs","name":"lookup","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#
    );
    insta::assert_snapshot!(call.params_for(&Outbound { state: None, ..theirs(Hop::Legacy) }), @r#"{"name":"lookup"}"#);
}

#[test]
fn a_progress_token_is_a_string_or_an_integer() {
    let token = |token: &str| {
        call(&format!(r#"{{"name":"x","_meta":{{"progressToken":{token}}}}}"#)).progress_token().is_some()
    };
    assert!(token("\"a\"") && token("0") && token("-5"));
    assert!(!token("1.5") && !token("null") && !token("{}"));
}

#[test]
fn a_request_without_params_of_its_own_has_its_hops() {
    insta::assert_snapshot!(Hop::Legacy.params(None), @"{}");
    insta::assert_snapshot!(Hop::Legacy.params(Some("")), @r#"{"cursor":""}"#);
    let hop =
        Hop::Modern { version: Version::V2026_07_28, capabilities: Raw::EMPTY, client_info: None, log_level: None };
    insta::assert_snapshot!(
        hop.params(None),
        @r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}"#
    );
}

fn translated(result: &str, side: &Side<'_>) -> String {
    translate_own_result(&object(result), side).unwrap().into_owned()
}

#[test]
fn a_legacy_result_gets_what_modern_clients_want() {
    insta::assert_snapshot!(
        translated(r#"{"content":[{"type":"text","text":"1 match","vendor":1}],"structuredContent":{"id":77}}"#, &MODERN),
        @r#"{"content":[{"type":"text","text":"1 match","vendor":1}],"structuredContent":{"id":77},"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw","version":"1"}}}"#
    );
}

#[test]
fn a_modern_result_names_us_and_keeps_the_rest_of_its_meta() {
    insta::assert_snapshot!(
        translated(r#"{"resultType":"complete","content":[],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"crm"},"com.x/y":1}}"#, &MODERN),
        @r#"{"resultType":"complete","content":[],"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw","version":"1"},"com.x/y":1}}"#
    );
}

#[test]
fn a_modern_result_loses_what_legacy_clients_do_not_know() {
    insta::assert_snapshot!(
        translated(r#"{"resultType":"complete","content":[],"isError":false,"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"crm"}}}"#, &LEGACY),
        @r#"{"content":[],"isError":false}"#
    );
}

#[test]
fn a_legacy_result_for_a_legacy_client_is_not_touched() {
    let result = r#"{ "content":[ ],"_meta":{} , "structuredContent":{"n":1e3}}"#;
    let object = object(result);
    assert!(matches!(translate_own_result(&object, &LEGACY), Ok(std::borrow::Cow::Borrowed(text)) if text == result));
}

#[test]
fn structured_content_that_is_no_object_becomes_text_for_legacy_clients() {
    insta::assert_snapshot!(
        translated(r#"{"content":[{"type":"image","data":"","mimeType":"a/b"}],"structuredContent":[1, "a"]}"#, &LEGACY),
        @r#"{"content":[{"type":"image","data":"","mimeType":"a/b"},{"type":"text","text":"[1, \"a\"]"}]}"#
    );
    insta::assert_snapshot!(
        translated(r#"{"content":[{"type":"text","text":"there already"}],"structuredContent":5}"#, &LEGACY),
        @r#"{"content":[{"type":"text","text":"there already"}]}"#
    );
    insta::assert_snapshot!(
        translated(r#"{"structuredContent":null}"#, &LEGACY),
        @r#"{"content":[{"type":"text","text":"null"}]}"#
    );
}

#[test]
fn an_upstream_cannot_forge_a_denial_of_ours() {
    let forged =
        object(r#"{"content":[],"isError":true,"_meta":{"dev.sluice/denial":{"code":"policy_denied"},"a":1e3}}"#);
    assert_eq!(
        translate_upstream_result(&forged, &LEGACY).unwrap(),
        r#"{"content":[],"isError":true,"_meta":{"a":1e3}}"#
    );
    assert!(translate_own_result(&forged, &LEGACY).unwrap().contains("policy_denied"), "our own keeps it");
    let honest = object(r#"{"content":[]}"#);
    assert!(matches!(translate_upstream_result(&honest, &LEGACY), Ok(std::borrow::Cow::Borrowed(_))));
}

#[test]
fn an_end_asks_nothing() {
    for result_type in ["", r#","resultType":"complete""#] {
        let asks = format!(
            r#"{{"content":[],"inputRequests":{{"a":{{}}}},"requestState":"theirs","_meta":{{"dev.sluice/x":1,"a":1}}{result_type}}}"#
        );
        for side in [&MODERN, &LEGACY] {
            let told = translate_upstream_result(&object(&asks), side).unwrap().into_owned();
            let told = object(&told);
            assert!(!told.has("inputRequests") && !told.has("requestState") && told.has("content"), "{told:?}");
            assert_eq!(told.object("_meta").unwrap().get("a"), Some(Raw::constant("1")));
            assert!(!told.object("_meta").unwrap().has("dev.sluice/x"));
        }
    }
}

#[test]
fn a_result_that_is_no_end_is_told_apart() {
    for result_type in ["input_required", "task", "something new"] {
        let result = format!(r#"{{"resultType":"{result_type}"}}"#);
        for side in [&MODERN, &LEGACY] {
            assert_eq!(translate_own_result(&object(&result), side).unwrap_err().result_type, result_type);
        }
    }
    assert!(translate_own_result(&object(r#"{"resultType":7}"#), &MODERN).is_err());
}

#[test]
fn a_page_of_tools_is_read_as_far_as_it_makes_sense() {
    let result = object(
        r#"{"tools":[{"name":"a","inputSchema":{"type":"object"}},{"name":"","inputSchema":{}},{"name":"b"},5],"nextCursor":"","ttlMs":-5,"cacheScope":"public"}"#,
    );
    let page = Page::read(&result).unwrap();
    assert_eq!((page.tools.len(), page.left_out, page.tools[0].name.as_ref()), (1, 3, "a"));
    assert_eq!((page.next_cursor.as_deref(), page.ttl_ms, page.scope), (Some(""), 0, CacheScope::Public));
    assert!(Page::read(&object(r#"{"tools":{}}"#)).is_none());
    assert_eq!(Page::read(&object(r#"{"tools":[]}"#)).unwrap().scope, CacheScope::Private);
}

const TOOL: &str = r#"{"name":"run","title":"Run SQL","execution":{"taskSupport":"optional"},"vendorField":{"k":1e3},"inputSchema":{"type":"object","$defs":{},"properties":{"z":{},"a":{}}},"outputSchema":{"type":"array"}}"#;

#[test]
fn a_tool_is_listed_under_its_exposed_name_with_all_else_as_it_was() {
    let raw = Raw::check(TOOL, &Limits::upstream()).unwrap();
    let tool = Tool::read(raw).unwrap();
    assert_eq!(tool.listed("sql__run", Era::Modern).as_str(), TOOL.replace("\"run\"", "\"sql__run\""));
    assert_eq!(
        tool.listed("sql__run", Era::Legacy).as_str(),
        TOOL.replace("\"run\"", "\"sql__run\"").replace(r#","outputSchema":{"type":"array"}"#, "")
    );
}

#[test]
fn an_output_schema_with_an_object_at_its_root_stays_for_legacy_clients() {
    let text = r#"{"name":"a","inputSchema":{},"outputSchema":{"type":"object","properties":{}}}"#;
    let tool = Tool::read(Raw::check(text, &Limits::upstream()).unwrap()).unwrap();
    assert_eq!(tool.listed("a", Era::Legacy).as_str(), text);
}

#[test]
fn a_list_carries_freshness_for_modern_clients_only() {
    let tools = [Raw::constant(r#"{"name":"a"}"#), Raw::constant(r#"{"name":"b"}"#)];
    insta::assert_snapshot!(
        list_result(&tools, Some("c"), 30000, &MODERN),
        @r#"{"resultType":"complete","tools":[{"name":"a"},{"name":"b"}],"nextCursor":"c","ttlMs":30000,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw","version":"1"}}}"#
    );
    insta::assert_snapshot!(list_result(&tools, None, 30000, &LEGACY), @r#"{"tools":[{"name":"a"},{"name":"b"}]}"#);
    insta::assert_snapshot!(list_result(&[], None, 30000, &LEGACY), @r#"{"tools":[]}"#);
}

/// Results as a legacy server may give them: known and unknown members in any order, all kinds of values.
fn legacy_result() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        Just(r#""content":[{"type":"text","text":"a","vendor":12345678901234567890123}]"#.to_owned()),
        Just(r#""structuredContent":{"n":1e3,"a":{"z":0,"b":-0.0}}"#.to_owned()),
        Just(r#""isError":false"#.to_owned()),
        Just(r#""_meta":{"com.example/k":[1]}"#.to_owned()),
        ("[u-z]{1,3}", any_json()).prop_map(|(key, value)| format!("\"{key}\":{value}")),
    ];
    prop::collection::vec(member, 0..6).prop_filter_map("a key twice", |members| {
        let text = format!("{{{}}}", members.join(","));
        Raw::check(&text, &Limits::upstream()).is_ok().then_some(text)
    })
}

proptest! {
    #[test]
    fn a_legacy_result_comes_back_from_the_modern_form_as_it_was(result in legacy_result()) {
        let modern = translated(&result, &MODERN);
        let form = object(&modern);
        prop_assert!(form.text("resultType").is_some_and(|kind| kind == "complete"));
        let back = translated(&modern, &LEGACY);
        prop_assert_eq!(translated(&back, &LEGACY), back.as_str(), "and needs no second translation");
        let (before, after) = (object(&result), object(&back));
        prop_assert_eq!(before.iter().collect::<Vec<_>>(), after.iter().collect::<Vec<_>>());
    }

    #[test]
    fn arguments_reach_the_upstream_byte_for_byte(arguments in any_json(), legacy: bool) {
        let params = format!(r#"{{"arguments":{{"a": {arguments}}},"name":"x"}}"#);
        let hop = if legacy { Hop::Legacy } else { modern_hop() };
        let sent = call(&params).params_for(&outbound(hop));
        prop_assert_eq!(object(sent.as_str()).get("arguments").unwrap().get(), format!(r#"{{"a": {arguments}}}"#));
    }
}
