use proptest::prelude::*;

use super::*;
use crate::json::tests::{any_json, any_object};
use crate::{Era, Limits, Object, Raw};

fn object(text: &str) -> Object<'_> {
    Raw::check(text, &Limits::upstream()).unwrap().object().unwrap()
}

const MODERN: Side<'static> = Side { era: Era::Modern, server_info: Raw::constant(r#"{"name":"gw","version":"1"}"#) };
const LEGACY: Side<'static> = Side { era: Era::Legacy, ..MODERN };

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
    any_object(member)
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
}
