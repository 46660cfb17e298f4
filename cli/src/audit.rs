//! `sluice audit verify`: checks a bundle of the audit log with nothing but the log's verifier key. No network, no
//! configuration, no server.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use audit::note::{Checkpoint, VerifierKey, VerifierKeys};
use audit::verify::{CHECKS, Report, Verdict};
use clap::{Args, Subcommand};
use serde_json::json;

/// What the exit code of a failed check begins at: 11 for check 1.
const FAILED: u8 = 10;
/// A zstd frame's first bytes (RFC 8878, 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Verifies a bundle of the audit log. Exits with 0 when all holds, with 10 and its number when a check fails.
    Verify(VerifyArgs),
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The bundle, plain or zstd; `-` reads standard input.
    bundle: PathBuf,
    /// The log's verifier key, `<name>+<id>+<base64>`, or a file that holds it. Take it from where you trust it: not from the
    /// bundle. Given again for each key, where the log was signed by one after the other.
    #[arg(long, required = true)]
    vkey: Vec<String>,
    /// A checkpoint that was kept before, in a file: the log must go on from it.
    #[arg(long)]
    since: Option<PathBuf>,
    /// Prints what came of each check as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command, and gives its exit code.
pub(crate) fn run(command: &AuditCommand) -> anyhow::Result<ExitCode> {
    let AuditCommand::Verify(arguments) = command;
    let keys = arguments.vkey.iter().map(|given| key(given)).collect::<anyhow::Result<VerifierKeys>>()?;
    let since = arguments.since.as_deref().map(|path| kept(path, &keys)).transpose()?;
    let report = read(&arguments.bundle, keys, since)?;
    if arguments.json {
        print(&as_json(&report).to_string());
    } else {
        tell(&report);
    }
    Ok(report.failed().map_or(ExitCode::SUCCESS, |(check, _)| ExitCode::from(FAILED + check as u8)))
}

fn key(given: &str) -> anyhow::Result<VerifierKey> {
    if let Ok(key) = given.parse() {
        return Ok(key);
    }
    let text = std::fs::read_to_string(given)
        .with_context(|| format!("--vkey takes a verifier key or a file that holds one, and {given} is neither"))?;
    text.parse().with_context(|| format!("{given} does not hold a verifier key"))
}

fn kept(path: &Path, keys: &VerifierKeys) -> anyhow::Result<Checkpoint> {
    let named = || format!("the checkpoint kept in {}", path.display());
    let note = std::fs::read_to_string(path).with_context(named)?;
    keys.open(&note).with_context(named)
}

fn read(bundle: &Path, keys: VerifierKeys, since: Option<Checkpoint>) -> anyhow::Result<Report> {
    let named = || format!("the bundle {}", bundle.display());
    let source: Box<dyn Read> = if bundle == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(bundle).with_context(named)?)
    };
    let mut source = BufReader::with_capacity(1 << 18, source);
    let is_packed = source.fill_buf().with_context(named)?.starts_with(&ZSTD);
    let lines: Box<dyn BufRead> = if is_packed {
        Box::new(BufReader::with_capacity(1 << 18, zstd::Decoder::with_buffer(source).with_context(named)?))
    } else {
        Box::new(source)
    };
    audit::verify::verify(lines, keys, since).with_context(named)
}

fn tell(report: &Report) {
    print(&format!("log         {}", report.origin));
    match &report.checkpoint {
        Some(checkpoint) => print(&format!("checkpoint  {} leaves", checkpoint.size)),
        None => print("checkpoint  none that is good"),
    }
    if report.epochs.0 != report.epochs.1 {
        print(&format!("epochs      {} to {}: the log was set back", report.epochs.0, report.epochs.1));
    }
    match report.range {
        Some((first, last)) => print(&format!("records     {}, from {first} to {last}", report.records)),
        None => print("records     none"),
    }
    for (check, verdict) in CHECKS.into_iter().zip(&report.verdicts) {
        let (number, title) = (check as u8, check.title());
        match verdict {
            Verdict::Holds => print(&format!("{number} holds      {title}")),
            Verdict::NotChecked(why) => print(&format!("{number} not made   {title}: {why}")),
            Verdict::Fails(fault) => {
                let at = if report.epochs == (fault.epoch, fault.epoch) {
                    fault.seq.to_string()
                } else {
                    format!("{} of epoch {}", fault.seq, fault.epoch)
                };
                print(&format!("{number} FAILS      {title}: {} (first at {at})", fault.what));
            }
        }
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    let verdict = |verdict: &Verdict| match verdict {
        Verdict::Holds => json!({ "holds": true }),
        Verdict::NotChecked(why) => json!({ "not_checked": why }),
        Verdict::Fails(fault) => json!({ "holds": false, "epoch": fault.epoch, "seq": fault.seq, "what": fault.what }),
    };
    json!({
        "origin": report.origin,
        "epochs": [report.epochs.0, report.epochs.1],
        "size": report.checkpoint.as_ref().map(|checkpoint| checkpoint.size),
        "records": report.records,
        "first": report.range.map(|(first, _)| first),
        "last": report.range.map(|(_, last)| last),
        "checks": report.verdicts.iter().map(verdict).collect::<Vec<_>>(),
    })
}

/// What the command is asked for goes to standard output.
#[expect(clippy::print_stdout, reason = "the answer of a command")]
fn print(line: &str) {
    println!("{line}");
}
