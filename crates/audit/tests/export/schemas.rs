//! The published schemas' own rules, by checkers that know nothing of us: OCSF 1.8.0 and ECS 9.4.0 as their makers export
//! them (`tests/receivers/install.sh schemas`). Said as SKIPPED where they can't be had; CI must have them.

#![expect(clippy::print_stdout, reason = "what is left out is said")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use audit::export::Format;
use serde_json::{Value, json};

use crate::golden::line;
use crate::hostile::called;
use crate::samples::{self, Sample};

const RECEIVERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/receivers");

#[expect(clippy::disallowed_methods, reason = "CI says that it is CI")]
fn folder() -> Option<PathBuf> {
    let output = Command::new(format!("{RECEIVERS}/install.sh")).arg("schemas").output().unwrap();
    if output.status.success() {
        return Some(PathBuf::from(String::from_utf8(output.stdout).unwrap().trim()));
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    assert!(std::env::var("SLUICE_CI").is_err(), "CI must check by the schemas: {reason}");
    println!("SKIPPED schemas of OCSF and ECS: {reason}");
    None
}

/// What the checker of a format finds in events, in their order: the number of the event, the path in it, what is wrong.
fn faults(folder: &Path, format: Format, events: &[String]) -> Vec<(u64, String, String)> {
    let mut command = Command::new(folder.join("python/bin/python"));
    command.arg(format!("{RECEIVERS}/validate.py")).arg(folder).arg(format.as_str());
    let mut checker = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut into = checker.stdin.take().unwrap();
    let text = events.join("\n");
    let writing = std::thread::spawn(move || into.write_all(text.as_bytes()).unwrap());
    let output = checker.wait_with_output().unwrap();
    writing.join().unwrap();
    assert!(output.status.success(), "the checker itself failed");
    let fault = |line: &str| {
        let fault: Value = serde_json::from_str(line).unwrap();
        let text = |key: &str| fault[key].as_str().unwrap().to_owned();
        (fault["line"].as_u64().unwrap(), text("path"), text("said"))
    };
    String::from_utf8(output.stdout).unwrap().lines().map(fault).collect()
}

/// What is wrong with samples in each format that has a schema.
fn wrong(folder: &Path, samples: &[Sample]) -> Vec<String> {
    let of = |format: Format| {
        let events: Vec<String> = samples.iter().map(|sample| line(&sample.placed(), format)).collect();
        let shown = move |(number, path, said): (u64, String, String)| {
            let name = &samples[usize::try_from(number).unwrap()].name;
            format!("{name} as {}: {path}: {said}", format.as_str())
        };
        faults(folder, format, &events).into_iter().map(shown).collect::<Vec<_>>()
    };
    [Format::Ocsf, Format::Ecs].into_iter().flat_map(of).collect()
}

#[test]
fn every_kind_keeps_the_rules_of_ocsf_and_of_ecs() {
    let Some(folder) = folder() else { return };
    let wrong = wrong(&folder, &samples::all());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_strangers_wrote_breaks_no_rule() {
    let Some(folder) = folder() else { return };
    let texts = [
        "",
        " ",
        "\n",
        "=|\\",
        "\u{202e}",
        "\0",
        "null",
        "-1",
        "::1",
        "::ffff:192.0.2.7",
        "2001:db8::7",
        "fe80::1%eth0",
        "192.0.2.7",
        "192.0.2.256",
        "192.0.2.7 ",
        "0x7f000001",
        "ann@acme.example",
        "ann@acme",
        "ann@.example",
        "ann@acme.",
        "ann@acme..example",
        "\"ann\"@acme.example",
        "änn@acme.example",
        "ann@bücher.example",
    ];
    let samples: Vec<Sample> = texts
        .iter()
        .map(|text| Sample { name: format!("{text:?}"), ..called(text) })
        .chain([Sample { name: "long".to_owned(), ..called(&"x".repeat(4000)) }])
        .chain([Sample { name: "no record".to_owned(), record: b"\xff{".to_vec(), pii: None }])
        .collect();
    let wrong = wrong(&folder, &samples);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The checkers find what is wrong: each event here breaks one rule.
#[test]
fn a_rule_that_is_broken_is_found() {
    let Some(folder) = folder() else { return };
    let broken = |format: Format, changes: &[(&str, Option<Value>)]| {
        let samples = samples::all();
        let call = samples.iter().find(|sample| sample.name == "call_denied").unwrap();
        let change = |(pointer, value): &(&str, Option<Value>)| {
            let mut event: Value = serde_json::from_str(&line(&call.placed(), format)).unwrap();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            let members = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
            match value {
                Some(value) => drop(members.insert(key.to_owned(), value.clone())),
                None => drop(members.remove(key).unwrap()),
            }
            event.to_string()
        };
        let events: Vec<String> = changes.iter().map(change).collect();
        let mut found: Vec<u64> = faults(&folder, format, &events).into_iter().map(|fault| fault.0).collect();
        found.dedup();
        assert_eq!(found, (0..events.len() as u64).collect::<Vec<_>>(), "{}", format.as_str());
    };
    broken(
        Format::Ocsf,
        &[
            ("/actor", None),
            ("/api/operation", None),
            ("/actor/user/uid", Some(json!(7))),
            ("/actor/user/nickname", Some(json!("x"))),
            ("/severity_id", Some(json!(7))),
            ("/severity", Some(json!("Bad"))),
            ("/src_endpoint/ip", Some(json!("192.0.2.256"))),
            ("/time", Some(json!("2026-11-20T15:04:05Z"))),
            ("/surprise", Some(json!(true))),
            ("/metadata/profiles", Some(json!(["trace"]))),
            ("/type_name", Some(json!("API Activity: Invoke"))),
        ],
    );
    broken(
        Format::Ecs,
        &[
            ("/@timestamp", None),
            ("/ecs", None),
            ("/@timestamp", Some(json!(1_795_187_045))),
            ("/user/nickname", Some(json!("x"))),
            ("/event/kind", Some(json!("happening"))),
            ("/event/category", Some(json!("api"))),
            ("/event/type", Some(json!(["access", "connection"]))),
            ("/event/sequence", Some(json!("4711"))),
            ("/client/ip", Some(json!("unknown"))),
            ("/labels/token_id", Some(json!({"a": "b"}))),
            ("/surprise", Some(json!(true))),
        ],
    );
}
