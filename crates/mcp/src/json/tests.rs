use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn check(text: &str) -> Result<Raw<'_>, JsonError> {
    Raw::check(text, &Limits::default())
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

#[test]
fn a_value_is_kept_byte_for_byte_without_the_space_around_it() {
    for text in ["12345678901234567890123", "1e3", "-0", "1.0E+05", "\"a\\u00e9\\/\"", "{ \"b\" : 1 ,\n\"a\":[ ] }"] {
        assert_eq!(check(&format!(" \t\r\n{text} ")).unwrap().get(), text);
    }
}

#[test]
fn what_is_no_json_is_refused_where_it_goes_wrong() {
    for (text, at) in [
        ("", 0),
        ("nul", 0),
        ("01", 1),
        ("-", 1),
        ("1.", 2),
        ("1e", 2),
        ("+1", 0),
        (".5", 0),
        ("[1,]", 3),
        ("{\"a\":1,}", 7),
        ("{a:1}", 1),
        ("{\"a\" 1}", 5),
        ("\"a", 2),
        ("\"\t\"", 1),
        ("\"\\x\"", 1),
        ("\"\\u12g4\"", 1),
        ("1 2", 2),
        ("[1}", 2),
        ("\u{feff}1", 0),
        ("'a'", 0),
        ("NaN", 0),
        ("/**/1", 0),
    ] {
        assert_eq!(check(text), Err(JsonError::Syntax { at }), "{text}");
    }
}

#[test]
fn a_key_twice_is_refused_at_any_depth_and_in_any_spelling() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":1}"#,
        r#"{"\u0061":1,"\u0061":2}"#,
        r#"{"":1,"":2}"#,
        r#"[[{"x":{"y":[{"k":1,"l":2,"k":3}]}}]]"#,
        r#"{"\/":1,"/":2}"#,
        "{\"\\u00e9\":1,\"é\":2}",
        r#"{"\ud83d\ude00":1,"😀":2}"#,
    ] {
        assert!(matches!(check(text), Err(JsonError::DuplicateKey { .. })), "{text}");
    }
}

#[test]
fn the_same_key_in_different_objects_is_fine() {
    for text in [r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":2}]}"#, r#"{"a":1,"A":2,"a ":3}"#] {
        assert!(check(text).is_ok(), "{text}");
    }
}

#[test]
fn a_key_twice_is_found_among_many() {
    let keys: Vec<String> = (0..500).map(|number| format!("\"key{number}\":{number}")).collect();
    let fine = format!("{{{}}}", keys.join(","));
    assert!(check(&fine).is_ok());
    let twice = format!("{{{},\"key250\":0}}", keys.join(","));
    assert!(matches!(check(&twice), Err(JsonError::DuplicateKey { .. })));
}

#[test]
fn nesting_ends_at_the_limit() {
    assert!(check(&nested(64)).is_ok());
    assert_eq!(check(&nested(65)), Err(JsonError::TooDeep { at: 64 }));
    let limits = Limits { depth: usize::MAX, ..Limits::default() };
    assert!(Raw::check(&nested(Limits::DEEPEST), &limits).is_ok());
    assert!(Raw::check(&nested(1_000_000), &limits).is_err());
}

#[test]
fn u_0000_and_lone_surrogates_are_refused_in_texts_and_keys() {
    for text in [r#""\u0000""#, r#"{"a\u0000":1}"#] {
        assert!(matches!(check(text), Err(JsonError::NullCharacter { .. })), "{text}");
    }
    for text in [r#""\ud800""#, r#""\udc00""#, r#""\ud800\ud800""#, r#""\ud800x""#, r#""\udc00\ud800""#] {
        assert!(matches!(check(text), Err(JsonError::LoneSurrogate { .. })), "{text}");
    }
    assert_eq!(check(r#""\ud83d\ude00""#).unwrap().text().unwrap(), "😀");
    assert_eq!(check("\"\0\""), Err(JsonError::Syntax { at: 1 }));
}

#[test]
fn an_upstream_may_have_any_text_in_its_results() {
    let text = r#"{"content":[{"text":"a\u0000b\ud800"}]}"#;
    let raw = Raw::check(text, &Limits::upstream()).unwrap();
    let block = raw.object().unwrap().get("content").unwrap().array().unwrap()[0].object().unwrap();
    assert_eq!(block.get("text").unwrap().get(), r#""a\u0000b\ud800""#);
    assert_eq!(block.text("text"), None, "no Unicode, so it has no text in Rust");
    assert!(Raw::check(r#"{"a":1,"\u0061":1}"#, &Limits::upstream()).is_err());
}

#[test]
fn members_keep_their_order_and_changes_their_places() {
    let object = check(r#"{"z":1,"a":1e3,"m":{"q": 9}}"#).unwrap().object().unwrap();
    let name = Json::text("n\"\n");
    let changed = object.with(&[
        ("a", Change::Set(name.raw())),
        ("z", Change::Remove),
        ("absent", Change::Remove),
        ("new", Change::Set(Raw::TRUE)),
    ]);
    assert_eq!(changed.as_str(), r#"{"a":"n\"\n","m":{"q": 9},"new":true}"#);
}

#[test]
fn what_is_written_can_be_read_by_our_own_rules() {
    for text in ["", "plain", "\0", "\u{1}\u{1f}\u{7f}\\\"\r\t", "é😀\u{2028}", "{"] {
        let json = Json::text(text);
        assert_eq!(check(json.as_str()).unwrap().text().unwrap(), text.replace('\0', "\u{fffd}"));
    }
    let mut writer = Writer::object();
    writer.text("ends with {", "{");
    writer.nested("inner", |inner| inner.integer("n", -5));
    writer.array("list", &[Raw::NULL, Raw::EMPTY]);
    let json = writer.finish();
    assert_eq!(json.as_str(), r#"{"ends with {":"{","inner":{"n":-5},"list":[null,{}]}"#);
    assert!(check(json.as_str()).is_ok());
}

#[test]
fn the_control_characters_are_found_at_every_place_of_a_word() {
    for place in 0..40 {
        for bad in ['\u{0}', '\u{1f}', '\n'] {
            let text = format!("\"{}{bad}{}\"", "x".repeat(place), "é".repeat(20));
            assert_eq!(check(&text), Err(JsonError::Syntax { at: place + 1 }));
        }
        for fine in [' ', '!', '#', '[', ']', '~', '\u{7f}', '\u{80}', '\u{10ffff}'] {
            assert!(check(&format!("\"{}{fine}{}\"", "x".repeat(place), "é".repeat(20))).is_ok());
        }
    }
}

/// Texts that are nearly JSON: tokens in any order.
fn nearly_json() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        4 => prop::sample::select(vec!["{", "}", "[", "]", ":", ",", " ", "\n"]),
        3 => prop::sample::select(vec!["\"a\"", "\"b\"", "\"\\u0061\"", "\"\\n\"", "\"\\ud800\"", "\"é\"", "\""]),
        3 => prop::sample::select(vec!["0", "-1", "1.5", "1e3", "01", "1.", "-", "12345678901234567890123"]),
        1 => prop::sample::select(vec!["true", "false", "null", "tru", "\\", "\u{0}", "\u{feff}"]),
    ];
    prop::collection::vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

/// The text of an object of any of these members, no name twice.
pub(crate) fn any_object(member: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec(member, 0..6).prop_filter_map("a key twice", |members| {
        let text = format!("{{{}}}", members.join(","));
        Raw::check(&text, &Limits::upstream()).is_ok().then_some(text)
    })
}

/// Any JSON document, as text.
pub(crate) fn any_json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|number| number.to_string()),
        "-?[1-9][0-9]{0,30}",
        "-?(0|[1-9][0-9]{0,3})\\.[0-9]{1,4}([eE][+-]?[0-9]{1,2})?",
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|boolean| boolean.to_string()),
        number,
        any::<String>().prop_map(|text| serde_json::to_string(&text.replace('\0', "")).unwrap()),
    ];
    leaf.prop_recursive(5, 48, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(|items| format!("[{}]", items.join(" ,"))),
            prop::collection::btree_map("[a-z_/é]{0,4}", inner, 0..12).prop_map(|members| {
                let members: Vec<String> =
                    members.iter().map(|(key, value)| format!("{}: {value}", Json::text(key))).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

/// Whether a document is refused on purpose though it is JSON: a member is lost, or a text is no text.
fn is_refused_on_purpose(error: JsonError) -> bool {
    !matches!(error, JsonError::Syntax { .. } | JsonError::NotUtf8 { .. })
}

proptest! {
    #[test]
    fn we_take_what_serde_json_takes(text in nearly_json()) {
        let theirs = serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok();
        match check(&text) {
            Ok(raw) => {
                prop_assert!(theirs, "we took {text:?}");
                // A number beyond an f64 is JSON, which we keep byte for byte, but no `Value`.
                if let Ok(value) = serde_json::from_str::<Value>(&text) {
                    prop_assert_eq!(raw.read::<Value>().unwrap(), value);
                }
            }
            Err(error) => prop_assert!(!theirs || is_refused_on_purpose(error), "we refused {:?}: {}", text, error),
        }
    }

    #[test]
    fn a_document_is_taken_and_kept(text in any_json()) {
        prop_assert_eq!(check(&text).unwrap().get(), &text);
    }

    #[test]
    fn members_and_items_say_what_serde_json_says(text in any_json()) {
        let raw = check(&text).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(raw.text().map(Cow::into_owned), value.as_str().map(str::to_owned));
        prop_assert_eq!(raw.boolean(), value.as_bool());
        prop_assert_eq!(raw.array().map(|items| items.len()), value.as_array().map(Vec::len));
        if let Some(object) = raw.object() {
            prop_assert_eq!(object.len(), value.as_object().unwrap().len());
            for (key, member) in object.iter() {
                prop_assert_eq!(&member.read::<Value>().unwrap(), &value[key]);
            }
        }
    }

    #[test]
    fn a_member_put_twice_is_always_found(text in any_json(), key in "[a-z]{0,3}", others in 0_usize..20) {
        let mut members = vec![format!("{}:1", Json::text(&key)), format!("{}:{text}", Json::text(&key))];
        for number in 0..others {
            members.insert(number % members.len(), format!("\"other {number}\":0"));
        }
        let text = format!("{{{}}}", members.join(","));
        let found = matches!(check(&text), Err(JsonError::DuplicateKey { .. }));
        prop_assert!(found);
    }

    #[test]
    fn no_text_makes_the_scanner_panic(text: String) {
        let _ = check(&text);
    }

    #[test]
    fn a_text_is_written_so_that_serde_json_reads_it(text: String) {
        let json = Json::text(&text);
        prop_assert_eq!(serde_json::from_str::<String>(json.as_str()).unwrap(), text.replace('\0', "\u{fffd}"));
    }
}
