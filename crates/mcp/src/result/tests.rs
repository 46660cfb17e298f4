use proptest::prelude::*;

use super::*;
use crate::Limits;
use crate::json::tests::{any_json, any_object};
use crate::uri::{Kind as Of, Offered, Uris};

fn object(text: &str) -> Object<'_> {
    Raw::check(text, &Limits::upstream()).unwrap().object().unwrap()
}

const TARGETS: [Method; 4] = [Method::ToolsCall, Method::PromptsGet, Method::ResourcesRead, Method::Complete];

fn to(era: Era, method: Method) -> Translation<'static> {
    let side = Side { era, server_info: Raw::constant(r#"{"name":"gw"}"#) };
    Translation { method, side, widest: CacheScope::Public, renaming: None }
}

fn translated(translation: &Translation<'_>, result: &str) -> String {
    translation.upstream(&object(result)).unwrap().into_owned()
}

/// Each method's result from this one, for a client of the era.
fn table(era: Era, result: &str) -> String {
    let line = |method: Method| format!("{}: {}", method.as_str(), translated(&to(era, method), result));
    TARGETS.map(line).join("\n")
}

#[test]
fn a_legacy_result_becomes_what_modern_clients_want_of_each_method() {
    insta::assert_snapshot!(table(Era::Modern, r#"{"a":1e3,"structuredContent":5}"#), @r#"
    tools/call: {"a":1e3,"structuredContent":5,"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw"}}}
    prompts/get: {"a":1e3,"structuredContent":5,"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw"}}}
    resources/read: {"a":1e3,"structuredContent":5,"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw"}}}
    completion/complete: {"a":1e3,"structuredContent":5,"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw"}}}
    "#);
}

const FROM_MODERN: &str = r#"{"resultType":"complete","ttlMs":50,"a":1,"cacheScope":"public","requestState":"s","inputRequests":{},"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"them"},"dev.sluice/denial":1,"b":2}}"#;

#[test]
fn a_modern_result_says_only_what_its_method_may_and_nothing_in_our_name() {
    insta::assert_snapshot!(table(Era::Modern, FROM_MODERN), @r#"
    tools/call: {"resultType":"complete","ttlMs":50,"a":1,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw"},"b":2}}
    prompts/get: {"resultType":"complete","a":1,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw"},"b":2}}
    resources/read: {"resultType":"complete","ttlMs":50,"a":1,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw"},"b":2}}
    completion/complete: {"resultType":"complete","a":1,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw"},"b":2}}
    "#);
    for method in TARGETS {
        assert_eq!(translated(&to(Era::Legacy, method), FROM_MODERN), r#"{"a":1,"_meta":{"b":2}}"#);
    }
}

#[test]
fn structured_content_is_of_tools_alone() {
    let result = r#"{"structuredContent":[1]}"#;
    for method in [Method::PromptsGet, Method::ResourcesRead, Method::Complete] {
        assert_eq!(translated(&to(Era::Legacy, method), result), result);
    }
    let of_a_tool = translated(&to(Era::Legacy, Method::ToolsCall), result);
    assert_eq!(of_a_tool, r#"{"content":[{"type":"text","text":"[1]"}]}"#);
}

#[test]
fn what_was_read_is_fresh_for_as_long_as_makes_sense_and_never_shared_wider_than_it_may() {
    let read = |widest, result: &str| {
        let text = translated(&Translation { widest, ..to(Era::Modern, Method::ResourcesRead) }, result);
        let read = object(&text);
        (read.get("ttlMs").unwrap().get().to_owned(), read.text("cacheScope").unwrap().into_owned())
    };
    for (given, ttl, scope) in [
        (r#"{"ttlMs":7,"cacheScope":"public"}"#, "7", "public"),
        (r#"{"ttlMs":-7,"cacheScope":"PUBLIC"}"#, "0", "private"),
        (r#"{"ttlMs":"7","cacheScope":5}"#, "0", "private"),
        (r#"{"ttlMs":1.5}"#, "0", "private"),
        (r#"{"ttlMs":99999999999999999999}"#, "0", "private"),
    ] {
        assert_eq!(read(CacheScope::Public, given), (ttl.to_owned(), scope.to_owned()), "{given}");
        assert_eq!(read(CacheScope::Private, given), (ttl.to_owned(), "private".to_owned()), "{given}");
    }
}

#[test]
fn a_question_is_told_apart_whatever_was_asked() {
    for method in TARGETS {
        for era in [Era::Modern, Era::Legacy] {
            let asked = to(era, method).upstream(&object(r#"{"resultType":"input_required","requestState":"a"}"#));
            assert_eq!(asked.unwrap_err().result_type, "input_required");
        }
    }
}

#[test]
fn no_completion_is_a_result_of_either_era() {
    let nothing = NO_COMPLETION.object().unwrap();
    let legacy = to(Era::Legacy, Method::Complete).own(&nothing).unwrap().into_owned();
    assert_eq!(legacy, r#"{"completion":{"values":[],"hasMore":false}}"#);
    assert!(to(Era::Modern, Method::Complete).own(&nothing).is_ok());
}

#[test]
fn uris_are_those_that_clients_know_whatever_else_is_changed() {
    let offered = ["crm", "web"].map(|alias| Offered { alias, kind: Of::Resource, uri: "a:b" });
    let uris = Uris::new(&offered);
    let result = r#"{"contents":[{"uri":"a:b","text":"a:b"}],"_meta":{"dev.sluice/x":1,"y":2}}"#;
    let legacy = Translation { renaming: uris.renaming("web"), ..to(Era::Legacy, Method::ResourcesRead) };
    assert_eq!(translated(&legacy, result), r#"{"contents":[{"uri":"web+a:b","text":"a:b"}],"_meta":{"y":2}}"#);
    let untouched = r#"{ "contents":[ {"uri":"a:c"}]}"#;
    let result = object(untouched);
    assert!(matches!(legacy.upstream(&result), Ok(Cow::Borrowed(text)) if text == untouched));
}

/// Results as legacy servers may give them: known and unknown members in any order, all kinds of values.
fn legacy_result() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        Just(r#""contents":[{"uri":"a:b", "text":"","vendor":12345678901234567890123}]"#.to_owned()),
        Just(r#""messages":[{"role":"user","content":{"type":"text","text":"a","n":-0.0}}]"#.to_owned()),
        Just(r#""completion":{"values":["b","a"],"total":1e3,"hasMore":false}"#.to_owned()),
        Just(r#""_meta":{"com.example/k":[1]}"#.to_owned()),
        ("[u-z]{1,3}", any_json()).prop_map(|(key, value)| format!("\"{key}\":{value}")),
    ];
    any_object(member)
}

proptest! {
    #[test]
    fn a_legacy_result_of_any_method_comes_back_from_the_modern_form_as_it_was(
        result in legacy_result(),
        method in prop::sample::select(&TARGETS[..]),
    ) {
        let modern = translated(&to(Era::Modern, method), &result);
        let back = translated(&to(Era::Legacy, method), &modern);
        let (before, after) = (object(&result), object(&back));
        prop_assert_eq!(before.iter().collect::<Vec<_>>(), after.iter().collect::<Vec<_>>());
        prop_assert_eq!(&translated(&to(Era::Legacy, method), &back), &back, "and needs no second translation");
        prop_assert_eq!(&translated(&to(Era::Modern, method), &modern), &modern, "nor does the modern form");
    }
}
