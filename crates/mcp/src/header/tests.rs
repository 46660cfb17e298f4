use proptest::prelude::*;

use super::*;
use crate::{Limits, Object, Raw};

fn object(text: &str) -> Object<'_> {
    Raw::check(text, &Limits::default()).unwrap().object().unwrap()
}

fn gather<'h>(headers: &[(&'h str, &'h str)]) -> Headers<'h> {
    Headers::gather(headers.iter().map(|(name, value)| (*name, value.as_bytes())))
}

#[test]
fn names_have_no_case_and_values_no_space_around() {
    let headers =
        gather(&[("MCP-Method", " tools/call\t"), ("mcp-NAME", "  foo  "), ("x-mcp-method", "no"), ("mcp", "")]);
    assert_eq!(headers.method, Field::Once(b"tools/call"));
    assert_eq!(headers.name.decoded(), Ok(Some("foo".into())));
    assert_eq!(headers.version, Field::Absent);
}

#[test]
fn a_header_that_comes_twice_is_refused_even_if_both_agree() {
    let headers = gather(&[("mcp-name", "a"), ("Mcp-Name", "a"), ("mcp-param-x", "1"), ("Mcp-Param-X", "1")]);
    assert_eq!(headers.name.decoded(), Err(HeaderError::Twice));
    assert_eq!(headers.param("x").plain(), Err(HeaderError::Twice));
}

#[test]
fn the_sentinel_is_exact() {
    assert_eq!(decode(b"=?base64?w6k=?="), Ok("é".into()));
    assert_eq!(decode(b"=?base64??="), Ok("".into()));
    assert_eq!(decode(b"=?BASE64?w6k=?="), Ok("=?BASE64?w6k=?=".into()));
    assert_eq!(decode(b"=?base64?w6k=?= "), Ok("=?base64?w6k=?= ".into()));
    for wrong in ["=?base64?w6k?=", "=?base64?!?=", "=?base64?/w==?=", "=?base64?w6k=?=?="] {
        assert_eq!(decode(wrong.as_bytes()), Err(HeaderError::Base64), "{wrong}");
    }
    for wrong in [&b"\xc3\xa9"[..], b"a\x00b", b"a\x7fb", b"a\nb"] {
        assert_eq!(decode(wrong), Err(HeaderError::Characters));
    }
}

#[test]
fn what_a_header_cannot_hold_is_encoded() {
    for plain in ["foo", "a b\tc", "file:///x?y=~", "=?base64?"] {
        assert_eq!(encode(plain), plain);
    }
    for (text, encoded) in [
        ("é", "=?base64?w6k=?="),
        (" a", "=?base64?IGE=?="),
        ("a\t", "=?base64?YQk=?="),
        ("a\r\nx: y", "=?base64?YQ0KeDogeQ==?="),
        ("=?base64?YQ==?=", "=?base64?PT9iYXNlNjQ/WVE9PT89?="),
        ("", "=?base64??="),
    ] {
        assert_eq!(encode(text), encoded, "{text:?}");
    }
}

const SCHEMA: &str = r#"{"type":"object","properties":{
    "region":{"type":"string","x-mcp-header":"Region"},
    "where":{"type":"object","properties":{"shard":{"type":"integer","x-mcp-header":"Shard"}}},
    "dry":{"x-mcp-header":"Dry-Run","type":"boolean"},
    "x-mcp-header":{"type":"string","default":{"x-mcp-header":"data, no annotation"}},
    "q":{"type":"string"}}}"#;

#[test]
fn annotations_are_found_through_properties_however_deep() {
    let found = Annotated::find(&object(SCHEMA)).unwrap();
    let found: Vec<_> = found.iter().map(|param| (param.header.as_str(), param.path.join("."))).collect();
    assert_eq!(
        found,
        [("Region", "region".to_owned()), ("Shard", "where.shard".to_owned()), ("Dry-Run", "dry".to_owned())]
    );
}

#[test]
fn an_invalid_annotation_makes_the_tool_invalid() {
    let property = |schema: &str| format!(r#"{{"properties":{{"a":{schema}}}}}"#);
    for (schema, error) in [
        (property(r#"{"type":"string","x-mcp-header":""}"#), AnnotationError::BadName),
        (property(r#"{"type":"string","x-mcp-header":"a b"}"#), AnnotationError::BadName),
        (property(r#"{"type":"string","x-mcp-header":"a\r\nb"}"#), AnnotationError::BadName),
        (property(r#"{"type":"string","x-mcp-header":5}"#), AnnotationError::BadName),
        (property(r#"{"type":"number","x-mcp-header":"A"}"#), AnnotationError::BadType),
        (property(r#"{"type":["string","null"],"x-mcp-header":"A"}"#), AnnotationError::BadType),
        (property(r#"{"x-mcp-header":"A"}"#), AnnotationError::BadType),
        (r#"{"type":"string","x-mcp-header":"A"}"#.to_owned(), AnnotationError::BadPlace),
        (property(r#"{"items":{"type":"string","x-mcp-header":"A"}}"#), AnnotationError::BadPlace),
        (
            property(r#"{"anyOf":[{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}]}"#),
            AnnotationError::BadPlace,
        ),
        (r#"{"$defs":{"b":{"type":"string","x-mcp-header":"A"}}}"#.to_owned(), AnnotationError::BadPlace),
        (
            r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#
                .to_owned(),
            AnnotationError::Twice,
        ),
    ] {
        assert_eq!(Annotated::find(&object(&schema)), Err(error), "{schema}");
    }
}

fn checked(headers: &[(&str, &str)], arguments: &str) -> Result<(), RpcError> {
    let annotated = Annotated::find(&object(SCHEMA)).unwrap();
    check(&gather(headers), &annotated, Some(&object(arguments)))
}

#[test]
fn headers_that_say_what_the_arguments_say_pass() {
    for (headers, arguments) in [
        (&[][..], "{}"),
        (&[], r#"{"region":null,"q":"x"}"#),
        (&[("Mcp-Param-Region", "eu")], r#"{"region":"eu"}"#),
        (&[("mcp-param-region", "=?base64?w6k=?=")], r#"{"region":"\u00e9"}"#),
        (&[("Mcp-Param-Region", "=?base64??=")], r#"{"region":""}"#),
        (&[("Mcp-Param-Shard", "42")], r#"{"where":{"shard":42.0}}"#),
        (&[("Mcp-Param-Shard", "42.0")], r#"{"where":{"shard":4.2e1}}"#),
        (&[("Mcp-Param-Dry-Run", "true")], r#"{"dry":true}"#),
        (&[("Mcp-Param-Unknown", "x"), ("Mcp-Param-Unknown", "y")], "{}"),
        (&[], r#"{"region":["no header could repeat this"]}"#),
    ] {
        assert_eq!(checked(headers, arguments), Ok(()), "{arguments}");
    }
}

#[test]
fn headers_that_say_something_else_are_refused() {
    for (headers, arguments) in [
        (&[][..], r#"{"region":"eu"}"#),
        (&[("Mcp-Param-Region", "us")], r#"{"region":"eu"}"#),
        (&[("Mcp-Param-Region", "EU")], r#"{"region":"eu"}"#),
        (&[("Mcp-Param-Region", "eu")], "{}"),
        (&[("Mcp-Param-Region", "eu")], r#"{"region":null}"#),
        (&[("Mcp-Param-Region", "=?base64?!?=")], r#"{"region":"eu"}"#),
        (&[("Mcp-Param-Region", "eu"), ("mcp-param-region", "eu")], r#"{"region":"eu"}"#),
        (&[("Mcp-Param-Shard", "43")], r#"{"where":{"shard":42}}"#),
        (&[("Mcp-Param-Shard", "0x2a")], r#"{"where":{"shard":42}}"#),
        (&[("Mcp-Param-Shard", "9007199254740992")], r#"{"where":{"shard":9007199254740993}}"#),
        (&[("Mcp-Param-Dry-Run", "True")], r#"{"dry":true}"#),
        (&[("Mcp-Param-Dry-Run", "1")], r#"{"dry":true}"#),
        (&[("Mcp-Param-Region", "[]")], r#"{"region":[]}"#),
    ] {
        let error = checked(headers, arguments).unwrap_err();
        assert_eq!(error.code, Code::HeaderMismatch, "{arguments}");
    }
}

#[test]
fn the_upstreams_headers_are_made_from_the_arguments() {
    let annotated = Annotated::find(&object(SCHEMA)).unwrap();
    let arguments = object(r#"{"region":"é","where":{"shard":4.2e1},"dry":false,"q":"x"}"#);
    let made = generate(&annotated, Some(&arguments));
    let made: Vec<(&str, &str)> = made.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        made,
        [("Mcp-Param-Region", "=?base64?w6k=?="), ("Mcp-Param-Shard", "42"), ("Mcp-Param-Dry-Run", "false")]
    );
    assert!(generate(&annotated, None).is_empty());
    assert!(generate(&annotated, Some(&object(r#"{"region":null}"#))).is_empty());
}

#[test]
fn the_standard_headers_name_what_the_upstream_knows() {
    let made = for_upstream(Version::V2026_07_28, Method::ToolsCall, Some("größe"));
    assert_eq!(made[0], (PROTOCOL_VERSION, "2026-07-28".to_owned()));
    assert_eq!(made[1], (METHOD, "tools/call".to_owned()));
    assert_eq!(made[2], (NAME, encode("größe").into_owned()));
}

proptest! {
    #[test]
    fn every_text_survives_a_header(text: String) {
        let encoded = encode(&text);
        prop_assert!(encoded.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')));
        prop_assert_eq!(encoded.trim(), encoded.as_ref());
        prop_assert_eq!(decode(encoded.as_bytes()), Ok(Cow::Borrowed(text.as_str())));
    }

    #[test]
    fn what_we_make_passes_our_own_check(region in "[^\0]*", shard: i32, dry: bool) {
        let annotated = Annotated::find(&object(SCHEMA)).unwrap();
        let text = format!(
            r#"{{"region":{},"where":{{"shard":{shard}}},"dry":{dry}}}"#,
            serde_json::to_string(&region).unwrap()
        );
        let arguments = object(&text);
        let made = generate(&annotated, Some(&arguments));
        let headers = Headers::gather(made.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        prop_assert_eq!(check(&headers, &annotated, Some(&arguments)), Ok(()));
    }
}
