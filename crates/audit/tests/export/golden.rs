//! What stands in `golden/`, and what of the schemas' rules we check ourselves.

use std::collections::HashSet;
use std::path::PathBuf;

use audit::export::{Format, Placed, Severity};
use audit::words::Kind;
use serde_json::Value;

use crate::samples::{self, Sample};

pub(crate) fn line(placed: &Placed<'_>, format: Format) -> String {
    String::from_utf8(format.encode(placed)).unwrap()
}

fn json(sample: &Sample, format: Format) -> Value {
    serde_json::from_str(&line(&sample.placed(), format)).unwrap()
}

/// JSON is laid out for readers; a line of CEF stands as it is.
fn shown(sample: &Sample, format: Format) -> String {
    if !format.is_json() {
        return line(&sample.placed(), format) + "\n";
    }
    let mut value = json(sample, format);
    value.sort_all_objects();
    format!("{value:#}\n")
}

#[expect(clippy::disallowed_methods, reason = "the person at the keyboard asks for it")]
fn refresh() -> bool {
    std::env::var("SLUICE_REFRESH").is_ok()
}

#[test]
fn every_kind_is_written_in_every_format_as_the_golden_files_say() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/export/golden"));
    for format in Format::ALL {
        for sample in samples::all() {
            let extension = if format.is_json() { "json" } else { "txt" };
            let path = folder.join(format.as_str()).join(format!("{}.{extension}", sample.name));
            let shown = shown(&sample, *format);
            if refresh() {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(&path, &shown).unwrap();
            }
            let golden = std::fs::read_to_string(&path).unwrap();
            assert_eq!(shown, golden, "{} as {}", sample.name, format.as_str());
        }
    }
}

#[test]
fn there_is_a_sample_of_every_kind() {
    let kinds: HashSet<&str> =
        samples::all().iter().filter_map(|sample| sample.placed().gist().kind.map(Kind::as_str)).collect();
    for kind in Kind::ALL {
        assert!(kinds.contains(kind.as_str()), "{}", kind.as_str());
    }
}

/// The required attributes of each class in OCSF 1.8.0, beyond those of all classes.
const REQUIRED: &[(u64, &[&str])] = &[
    (0, &[]),
    (1008, &["log_name"]),
    (2004, &["finding_info"]),
    (3001, &["user"]),
    (3002, &["user", "service"]),
    (3004, &["entity"]),
    (6002, &["app"]),
    (6003, &["actor", "api", "src_endpoint"]),
];
/// Those of all classes.
const OF_ALL: &[&str] =
    &["activity_id", "category_uid", "class_uid", "metadata", "severity_id", "time", "type_uid", "unmapped"];

#[test]
fn ocsf_has_what_the_classes_require() {
    for sample in samples::all() {
        let event = json(&sample, Format::Ocsf);
        let number = |key: &str| event[key].as_u64().unwrap();
        let class = number("class_uid");
        let required = REQUIRED.iter().find(|(uid, _)| *uid == class).unwrap().1;
        for key in OF_ALL.iter().chain(required) {
            assert!(event.get(key).is_some(), "{}: {key}", sample.name);
        }
        assert_eq!(number("type_uid"), class * 100 + number("activity_id"), "{}", sample.name);
        assert_eq!(number("category_uid"), class / 1000, "{}", sample.name);
        assert_eq!(event["metadata"]["version"], "1.8.0");
        assert_eq!(event["metadata"]["sequence"], 4711);
        assert!(event["metadata"]["product"]["name"].is_string() && event["metadata"]["uid"].is_string());
    }
}

/// The words of ECS 9.4 for a category, and the types it goes with.
const CATEGORIES: &[(&str, &[&str])] = &[
    (
        "api",
        &["access", "admin", "allowed", "change", "creation", "deletion", "denied", "end", "info", "start", "user"],
    ),
    ("authentication", &["start", "end", "info"]),
    ("configuration", &["access", "change", "creation", "deletion", "info"]),
    ("iam", &["admin", "change", "creation", "deletion", "group", "info", "user"]),
    ("intrusion_detection", &["allowed", "denied", "info"]),
    ("process", &["access", "change", "end", "info", "start"]),
    ("session", &["start", "end", "info"]),
];

#[test]
fn ecs_uses_the_words_of_its_lists() {
    for sample in samples::all() {
        let event = json(&sample, Format::Ecs);
        let types = event["event"]["type"].as_array().unwrap();
        for category in event["event"]["category"].as_array().into_iter().flatten() {
            let (_, allowed) = CATEGORIES.iter().find(|(name, _)| *name == category).unwrap();
            assert!(types.iter().all(|word| allowed.contains(&word.as_str().unwrap())), "{}: {types:?}", sample.name);
        }
        assert!(["event", "state", "alert"].contains(&event["event"]["kind"].as_str().unwrap()));
        assert!(event["labels"].as_object().is_none_or(|labels| labels.values().all(Value::is_string)));
    }
}

/// Every value of a record, by its text.
fn values(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|value| values(value, into)),
        Value::Array(items) => items.iter().for_each(|value| values(value, into)),
        Value::String(text) => into.push(text.clone()),
        other => into.push(other.to_string()),
    }
}

#[test]
fn nothing_of_a_record_is_missing_in_ocsf_and_ecs() {
    for sample in samples::all() {
        let mut held = Vec::new();
        values(&serde_json::from_slice(&sample.record).unwrap(), &mut held);
        let pii = sample.pii.as_deref().unwrap_or(b"{}");
        values(&serde_json::from_slice(pii).unwrap(), &mut held);
        for format in [Format::Ocsf, Format::Ecs] {
            let mut sent = Vec::new();
            values(&json(&sample, format), &mut sent);
            let sent: HashSet<&str> = sent.iter().map(String::as_str).collect();
            for value in &held {
                // A time may be written in another way.
                let time =
                    value.parse::<chrono::DateTime<chrono::Utc>>().map(|time| time.timestamp_millis().to_string());
                let there = sent.contains(value.as_str()) || time.is_ok_and(|time| sent.contains(time.as_str()));
                assert!(there, "{} as {}: {value}", sample.name, format.as_str());
            }
        }
    }
}

#[test]
fn native_holds_the_exact_bytes_and_the_place_around_them() {
    for sample in samples::all() {
        let line = line(&sample.placed(), Format::Native);
        let record = std::str::from_utf8(&sample.record).unwrap();
        assert!(line.contains(&format!(",\"record\":{record}")), "{line}");
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&value["seq"], &value["epoch"]), (&4711.into(), &1.into()));
    }
}

#[test]
fn what_was_refused_troubles_more_than_what_went_well() {
    let severity =
        |name: &str| samples::all().iter().find(|sample| sample.name == name).unwrap().placed().gist().severity;
    assert_eq!(severity("call"), Severity::Informational);
    assert_eq!(severity("call_failed"), Severity::Low);
    assert_eq!(severity("call_denied"), Severity::Medium);
    assert_eq!(severity("auth_refused"), Severity::Medium);
    assert_eq!(severity("gap"), Severity::High);
    assert_eq!(severity("admin_server"), Severity::Informational);
    assert_eq!(severity("admin_stop"), Severity::High);
}

#[test]
fn a_format_is_found_by_its_word() {
    for format in Format::ALL {
        assert_eq!(Format::find(format.as_str()), Some(*format));
        assert_eq!(serde_json::to_value(format).unwrap(), format.as_str());
    }
    assert_eq!(Format::find("xml"), None);
}
