//! The verifier in Python beside ours, on every bundle that the tests make: both must find the same.

use std::process::Command;

use super::*;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/verify_bundle.py");
/// Runs the script on each bundle of a folder, as a program each time, and prints its exit code and its first line.
const EACH: &str = r#"
import contextlib, io, os, runpy, sys
script, key, folder, count = sys.argv[1:]
for bundle in (os.path.join(folder, str(number)) for number in range(int(count))):
    kept = [bundle + ".kept"] if os.path.exists(bundle + ".kept") else []
    sys.argv, said, code = [script, bundle, key, *kept], io.StringIO(), None
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        code = end.code
    print(code, said.getvalue().splitlines()[0])
"#;

/// The lines of a bundle, and a checkpoint that was kept before.
pub(super) type Given = (Vec<Vec<u8>>, Option<Checkpoint>);

/// What our verifier reports of each bundle, after the one in Python has found the same first fault in it.
pub(super) fn reports(given: &[Given]) -> Vec<Report> {
    reports_by(&[key()], given)
}

/// The same, by keys of which each checkpoint is to be signed by one.
pub(super) fn reports_by(keys: &[VerifierKey], given: &[Given]) -> Vec<Report> {
    let reports: Vec<Report> = given.iter().map(|(lines, since)| report(keys, lines, since.clone())).collect();
    for (number, (said, report)) in said(keys, given).iter().zip(&reports).enumerate() {
        let ours = report.failed().map_or_else(
            || "0 holds".to_owned(),
            |(check, Fault { epoch, seq, .. })| {
                format!("{} {1} FAILS at {seq} of epoch {epoch}", 10 + check as u8, check as u8)
            },
        );
        let theirs = said.split_once(':').map(|(found, _)| found);
        assert_eq!(theirs, Some(ours.as_str()), "bundle {number}: {said}, {:?}", report.failed());
    }
    reports
}

fn report(keys: &[VerifierKey], lines: &[Vec<u8>], since: Option<Checkpoint>) -> Report {
    let keys: VerifierKeys = keys.iter().cloned().collect();
    let mut verifier = Verifier::new(keys, since, &lines[0]).unwrap();
    lines[1..].iter().for_each(|line| verifier.line(line));
    verifier.finish()
}

/// A line for each bundle; none where there is no Python.
#[expect(clippy::disallowed_methods, reason = "CI must run both verifiers")]
fn said(keys: &[VerifierKey], given: &[Given]) -> Vec<String> {
    let folder = std::env::temp_dir().join(format!("sluice-verify-{}", Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    for (number, (lines, since)) in given.iter().enumerate() {
        std::fs::write(folder.join(number.to_string()), [lines.join(&b'\n'), b"\n".to_vec()].concat()).unwrap();
        if let Some(since) = since {
            let note = since.signed(&key(), |text| pair().sign(text).as_ref().try_into().unwrap());
            std::fs::write(folder.join(format!("{number}.kept")), note).unwrap();
        }
    }
    let mut command = Command::new("python3");
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    command.args(["-c", EACH, SCRIPT, &keys.join(",")]).arg(&folder).arg(given.len().to_string());
    let output = command.output();
    std::fs::remove_dir_all(&folder).unwrap();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(std::env::var("SLUICE_CI").is_err(), "CI must run both verifiers: there is no python3");
            eprintln!("SKIPPED the verifier in Python: there is no python3");
            return Vec::new();
        }
        output => output.unwrap(),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(said.len(), given.len());
    said
}
