use proptest::prelude::*;

use super::super::{Offered, Uris};
use super::*;
use crate::Limits;
use crate::json::tests::any_json;

fn object(text: &str) -> Object<'_> {
    Raw::check(text, &Limits::upstream()).unwrap().object().unwrap()
}

/// Two servers that have `a:b`, `a:t/{x}` and `ui://p`; `crm` has `c:d` besides.
fn uris() -> Uris {
    let twins = [(Kind::Resource, "a:b"), (Kind::Template, "a:t/{x}"), (Kind::Resource, "ui://p")];
    let both = ["crm", "web"].into_iter().flat_map(|alias| twins.map(|(kind, uri)| Offered { alias, kind, uri }));
    Uris::new(&both.chain([Offered { alias: "crm", kind: Kind::Resource, uri: "c:d" }]).collect::<Vec<_>>())
}

fn renamed(method: Method, result: &str) -> String {
    let uris = uris();
    uris.renaming("crm").unwrap().result(method, &object(result)).map_or("nothing".to_owned(), Json::into_string)
}

#[test]
fn a_uri_of_the_servers_is_called_what_clients_call_it() {
    let uris = uris();
    let uri = |raw: &str| uris.renaming("crm").unwrap().uri(raw);
    assert_eq!(uri("a:b").as_deref(), Some("crm+a:b"));
    assert_eq!(uri("a:t/1").as_deref(), Some("crm+a:t/1"));
    assert_eq!(uri("ui://p").as_deref(), Some("ui://crm/p"));
    for other in ["c:d", "a:c", "crm+a:b", "a:t/../b", "https://a:b", ""] {
        assert_eq!(uri(other), None, "{other}");
    }
}

#[test]
fn the_uris_of_what_a_tool_found_are_renamed_and_no_text_is() {
    insta::assert_snapshot!(
        renamed(Method::ToolsCall, r#"{"isError":false,"content":[{"type":"text","text":"a:b", "uri":"a:b"},{"n":12345678901234567890123,"type":"resource_link","uri":"a:b","name":"a:b"},{"type":"resource","resource":{"uri":"a:t/1","text":"a:b"}},{"type":"resource_link","uri":"c:d"}],"structuredContent":{"uri":"a:b"},"_meta":{"ui/resourceUri":"ui://p","ui":{"z":1e3,"resourceUri":"ui://p"}}}"#),
        @r#"{"isError":false,"content":[{"type":"text","text":"a:b", "uri":"a:b"},{"n":12345678901234567890123,"type":"resource_link","uri":"crm+a:b","name":"a:b"},{"type":"resource","resource":{"uri":"crm+a:t/1","text":"a:b"}},{"type":"resource_link","uri":"c:d"}],"structuredContent":{"uri":"a:b"},"_meta":{"ui/resourceUri":"ui://crm/p","ui":{"z":1e3,"resourceUri":"ui://crm/p"}}}"#
    );
}

#[test]
fn the_uris_in_a_prompts_messages_are_renamed() {
    insta::assert_snapshot!(
        renamed(Method::PromptsGet, r#"{"description":"a:b","messages":[{"role":"user","content":{"type":"resource","resource":{"text":"","uri":"a:b"}}},{"content":[{"type":"resource_link","uri":"a:b"}],"role":"user"},{"role":"user","content":{"type":"text","text":"a:b"}}]}"#),
        @r#"{"description":"a:b","messages":[{"role":"user","content":{"type":"resource","resource":{"text":"","uri":"crm+a:b"}}},{"content":[{"type":"resource_link","uri":"crm+a:b"}],"role":"user"},{"role":"user","content":{"type":"text","text":"a:b"}}]}"#
    );
}

#[test]
fn what_was_read_has_the_uri_that_was_asked_for() {
    insta::assert_snapshot!(
        renamed(Method::ResourcesRead, r#"{"contents":[{"uri":"a:b","text":"a:b"},{"uri":"a\u003ab","blob":"","_meta":{"ui":{"resourceUri":"ui://p"}}},7]}"#),
        @r#"{"contents":[{"uri":"crm+a:b","text":"a:b"},{"uri":"crm+a:b","blob":"","_meta":{"ui":{"resourceUri":"ui://crm/p"}}},7]}"#
    );
}

#[test]
fn definitions_and_notifications_are_renamed_where_they_name_a_resource() {
    let uris = uris();
    let web = uris.renaming("web").unwrap();
    let tool = r#"{"name":"t","description":"a:b","inputSchema":{"default":"ui://p"},"_meta":{"ui":{"resourceUri":"ui://p"}}}"#;
    let listed = web.definition(&object(tool)).unwrap();
    assert_eq!(listed.as_str(), tool.replace(r#":{"resourceUri":"ui://p"#, r#":{"resourceUri":"ui://web/p"#));
    assert_eq!(web.updated(&object(r#"{"uri":"a:b","x":1}"#)).unwrap().as_str(), r#"{"uri":"web+a:b","x":1}"#);
    assert!(web.updated(&object(r#"{"uri":"c:d"}"#)).is_none(), "another server's");
    assert!(web.definition(&object(r#"{"name":"t","uri":"a:b"}"#)).is_none());
}

#[test]
fn what_is_shaped_otherwise_stays() {
    for result in [
        "{}",
        r#"{"content":{"type":"resource_link","uri":"a:b"}}"#,
        r#"{"content":[{"type":"resource_link","uri":["a:b"]},{"type":"resource","resource":"a:b"},"a:b",null]}"#,
        r#"{"content":[{"type":"resource_link","uri":"\ud800"}],"_meta":7}"#,
        r#"{"messages":[{"content":"a:b"},{"uri":"a:b"},[]],"contents":7}"#,
        r#"{"contents":[{"resource":{"uri":"a:b"}}],"_meta":{"ui":"ui://p","ui/resourceUri":null}}"#,
    ] {
        for method in [Method::ToolsCall, Method::PromptsGet, Method::ResourcesRead] {
            assert_eq!(renamed(method, result), "nothing", "{result}");
        }
    }
    assert_eq!(renamed(Method::Complete, r#"{"completion":{"values":["a:b"]},"contents":[{"uri":"a:b"}]}"#), "nothing");
}

proptest! {
    // Each is made of many documents.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_but_the_uris_stays_as_it_was_written(others in prop::collection::vec(any_json(), 4), names in prop::collection::btree_set("[u-z]{1,2}x", 4)) {
        let [a, b, c, d] = &others[..] else { unreachable!() };
        let names: Vec<_> = names.into_iter().collect();
        let [k, l, m, n] = &names[..] else { unreachable!() };
        let with = |uri: &str, page: &str| format!(
            r#"{{"{k}":{a},"content":[{b},{{"{l}":{c},"uri":"{uri}","type":"resource_link","{m}":{d}}},{{"type":"resource","{n}":{a},"resource":{{"{k}":{b},"uri":"{uri}"}}}}],"{l}":{d},"_meta":{{"{m}":{c},"ui":{{"resourceUri":"{page}","{n}":{a}}}}}}}"#
        );
        prop_assert_eq!(renamed(Method::ToolsCall, &with("a:b", "ui://p")), with("crm+a:b", "ui://crm/p"));
        prop_assert_eq!(renamed(Method::ToolsCall, &with("c:d", "c:e")), "nothing");
    }
}
