use super::*;
use crate::Limits;

const MODERN: Side<'static> = Side { era: Era::Modern, server_info: Raw::constant(r#"{"name":"gw","version":"1"}"#) };
const LEGACY: Side<'static> = Side { era: Era::Legacy, ..MODERN };

#[test]
fn a_definition_is_listed_under_what_clients_ask_by_with_all_else_as_it_was() {
    let text = r#"{"title":"T","name":"n","size":12345678901234567890123,"uri":"a:b", "uriTemplate":"a:{b}","_meta":{"z":1e3,"a":[ ]}}"#;
    let definition = Raw::check(text, &Limits::upstream()).unwrap().object().unwrap();
    let compact = text.replace(r#", "uriT"#, r#","uriT"#);
    for (kind, before, after) in [
        (Kind::Tool, r#""name":"n""#, r#""name":"X+\"""#),
        (Kind::Prompt, r#""name":"n""#, r#""name":"X+\"""#),
        (Kind::Resource, r#""uri":"a:b""#, r#""uri":"X+\"""#),
        (Kind::Template, r#""uriTemplate":"a:{b}""#, r#""uriTemplate":"X+\"""#),
    ] {
        assert_eq!(listed(kind, &definition, "X+\"").as_str(), compact.replace(before, after));
    }
}

#[test]
fn each_kind_has_its_list_and_only_modern_clients_are_told_how_fresh_it_is() {
    let items = [Raw::constant(r#"{"a":1}"#), Raw::constant(r#"{"b":1}"#)];
    let all: Vec<String> = [Kind::Prompt, Kind::Resource, Kind::Template]
        .into_iter()
        .flat_map(|kind| {
            [result(kind, &items, (Some("c"), 10), &MODERN), result(kind, &items[..1], (None, 10), &LEGACY)]
        })
        .map(Json::into_string)
        .collect();
    insta::assert_snapshot!(all.join("\n"), @r#"
    {"resultType":"complete","prompts":[{"a":1},{"b":1}],"nextCursor":"c","ttlMs":10,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw","version":"1"}}}
    {"prompts":[{"a":1}]}
    {"resultType":"complete","resources":[{"a":1},{"b":1}],"nextCursor":"c","ttlMs":10,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw","version":"1"}}}
    {"resources":[{"a":1}]}
    {"resultType":"complete","resourceTemplates":[{"a":1},{"b":1}],"nextCursor":"c","ttlMs":10,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gw","version":"1"}}}
    {"resourceTemplates":[{"a":1}]}
    "#);
}
