//! Texts that somebody hostile wrote, and bytes that are no record: no line is forged, no field, nothing panics.

use audit::export::{CEF_MAX, Format};
use audit::words::Kind;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::golden::line;
use crate::samples::{Sample, call};

/// Pieces that mean something to one of the formats, or are not seen.
fn nasty() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\n"),
        Just("\r\n"),
        Just("|"),
        Just("="),
        Just("\\"),
        Just("\\n"),
        Just(" act=allow"),
        Just("|10|outcome=success"),
        Just("\nCEF:0|Sluice|x|1|gap|gap|0|"),
        Just("\",\"seq\":0,\"x\":\""),
        Just("\u{202e}"),
        Just("\u{200b}"),
        Just("\u{2028}"),
        Just("\u{85}"),
        Just("\0"),
        Just("\u{e0041}"),
        Just("ä€𝄞"),
        Just("x"),
    ];
    let pieces = prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
    prop_oneof![pieces, Just("=|\\\n".repeat(1000)), Just("x".repeat(4000)), any::<String>()]
}

/// A call whose texts are all the same.
pub(crate) fn called(text: &str) -> Sample {
    let word = || Some(audit::Text::from(text.to_owned()));
    let mut record = call(Kind::Call);
    (record.actor.id, record.tool.name, record.server.name) = (word(), word(), word());
    (record.client.name, record.mcp.method, record.mcp.request_id) = (word(), word(), word());
    (record.server.host, record.decision.code, record.gw.version) = (word(), word(), word());
    (record.pii.actor.email, record.pii.client.ip, record.pii.client.user_agent) = (word(), word(), word());
    Sample::new("hostile", &record)
}

/// A line of CEF as a receiver reads it: the header's seven parts, then keys and values.
fn read_cef(line: &str) -> (Vec<String>, Vec<(String, String)>) {
    let mut parts = vec![String::new()];
    let mut chars = line.chars();
    while parts.len() < 8 {
        match chars.next().unwrap() {
            '\\' => parts.last_mut().unwrap().push(chars.next().unwrap()),
            '|' => parts.push(String::new()),
            char => parts.last_mut().unwrap().push(char),
        }
    }
    parts.pop();
    (parts, read_extension(chars.as_str()))
}

/// A key is the word before a `=` that is not escaped.
fn read_extension(text: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next().unwrap() {
                'n' => value.push('\n'),
                'r' => value.push('\r'),
                char => value.push(char),
            },
            '=' => {
                let (before, key) = value.rsplit_once(' ').unwrap_or(("", &value));
                let key = key.to_owned();
                if let Some(last) = found.last_mut() {
                    before.clone_into(&mut last.1);
                }
                found.push((key, String::new()));
                value.clear();
            }
            char => value.push(char),
        }
    }
    found.last_mut().unwrap().1 = value;
    found
}

fn is_one_visible_line(line: &str) -> bool {
    !line.chars().any(|char| char.is_control() || audit::text::is_hidden(char))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_text_forges_a_line_or_a_member_of_json(text in nasty()) {
        let sample = called(&text);
        let calm = called("calm");
        for format in [Format::Native, Format::Ocsf, Format::Ecs] {
            let line = line(&sample.placed(), format);
            prop_assert!(!line.contains(['\n', '\r']));
            prop_assert!(format == Format::Native || is_one_visible_line(&line), "{line}");
            let value: Value = serde_json::from_str(&line).unwrap();
            let seq = match format {
                Format::Native => &value["seq"],
                Format::Ocsf => &value["metadata"]["sequence"],
                _ => &value["event"]["sequence"],
            };
            prop_assert_eq!(seq, &Value::from(4711));
            let calm: Value = serde_json::from_str(&crate::golden::line(&calm.placed(), format)).unwrap();
            let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
            prop_assert_eq!(keys(&value), keys(&calm));
        }
    }

    #[test]
    fn no_text_forges_a_field_of_cef(text in nasty()) {
        let line = line(&called(&text).placed(), Format::Cef);
        prop_assert!(line.len() <= CEF_MAX, "{}", line.len());
        prop_assert!(is_one_visible_line(&line), "{line}");
        let (header, extension) = read_cef(&line);
        prop_assert_eq!(&header[..3], &["CEF:0", "Sluice", "Sluice MCP Gateway"].map(str::to_owned));
        prop_assert_eq!(&header[6], "1");
        let value = |key: &str| extension.iter().filter(|(name, _)| name == key).map(|(_, value)| value.as_str()).collect::<Vec<_>>();
        prop_assert_eq!(value("act"), ["allow"]);
        prop_assert_eq!(value("outcome"), ["success"]);
        prop_assert_eq!(value("cn3"), ["4711"]);
        prop_assert_eq!(value("cat"), ["call"]);
        let known = |key: &str| key.chars().all(|char| char.is_ascii_alphanumeric()) && key.len() < 26;
        prop_assert!(extension.iter().all(|(key, _)| known(key)), "{extension:?}");
        let mut keys: Vec<&str> = extension.iter().map(|(key, _)| key.as_str()).collect();
        keys.sort_unstable();
        let count = keys.len();
        keys.dedup();
        prop_assert_eq!(keys.len(), count);
    }

    #[test]
    fn bytes_that_are_no_record_are_written_all_the_same(bytes: Vec<u8>, pii: Option<Vec<u8>>) {
        let sample = Sample { name: String::new(), record: bytes, pii };
        for format in Format::ALL {
            let line = line(&sample.placed(), *format);
            prop_assert!(!line.contains(['\n', '\r']) && line.contains("4711"));
            prop_assert!(!format.is_json() || serde_json::from_str::<Value>(&line).is_ok(), "{line}");
        }
    }

    #[test]
    fn members_of_any_other_type_are_kept(name in "[a-z]{1,8}", number: i64, text in nasty()) {
        // Each object of a record in turn holds a text, a number, a list.
        for path in ["actor", "client", "decision", "mcp", "outcome", "server", "tool", "trace", "gw", "change", "source", "time"] {
            for value in [json!(text), json!(number), json!([text, number]), json!({ &name: text, "id": number, "policies": number })] {
                let record = serde_json::to_vec(&json!({ "kind": "call", "id": "r", path: value })).unwrap();
                let sample = Sample { name: String::new(), record, pii: None };
                for (format, rest) in [(Format::Ocsf, "unmapped"), (Format::Ecs, "sluice")] {
                    let event: Value = serde_json::from_str(&line(&sample.placed(), format)).unwrap();
                    prop_assert_eq!(&event[rest][path], &value);
                }
                let _ = line(&sample.placed(), Format::Cef);
            }
        }
    }
}

#[test]
fn a_record_of_no_log_has_no_place() {
    let sample = called("x");
    let placed = audit::export::Placed { place: None, ..sample.placed() };
    for format in Format::ALL {
        let line = line(&placed, *format);
        assert!(!line.contains("4711") && !line.contains("epoch") && !line.contains("cn3"), "{line}");
    }
}

#[test]
fn a_text_that_is_too_long_for_cef_is_visibly_cut() {
    let line = line(&called(&"x".repeat(4000)).placed(), Format::Cef);
    assert!(line.contains("xxx… ") && line.len() <= CEF_MAX);
}

#[test]
fn a_line_of_cef_with_no_room_left_says_that_something_is_missing() {
    let line = line(&called(&"\u{e0041}".repeat(2000)).placed(), Format::Cef);
    assert!(line.ends_with(" flexString2Label=leftOut flexString2=yes") && line.len() <= CEF_MAX, "{}", line.len());
}

#[test]
fn what_is_not_hashed_never_overwrites_what_is() {
    let record = br#"{"actor":{"email":"kept@acme.example"},"kind":"call"}"#.to_vec();
    let pii = Some(br#"{"actor":{"email":"other@acme.example","name":"Ann"}}"#.to_vec());
    let sample = Sample { name: String::new(), record, pii };
    let event: Value = serde_json::from_str(&line(&sample.placed(), Format::Ecs)).unwrap();
    assert_eq!((&event["user"]["email"], &event["user"]["full_name"]), (&json!("kept@acme.example"), &json!("Ann")));
}
