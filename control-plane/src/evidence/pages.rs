//! Evidence in the console: how far the log is signed, by which key, what is missing from it, and whether it verifies.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use audit::note::{Checkpoint, NoteError};
use audit::verify::{CHECKS, Check, Verdict, Verifier};
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use domain::{RecordId, TenantId};
use serde::Deserialize;
use store::TenantTx;
use store::audit::checkpoint::{self, Signed};
use store::audit::search::Filter;
use store::audit::{epoch, mark};
use tokio::time::Instant;

use super::Needs;
use super::api::{self, BundleQuery};
use super::bundle::Bundle;
use super::plan::{self, Wanted};
use crate::access::{Can, may};
use crate::activity::actions::{self, Scope};
use crate::console::{Faults, Page, Shell, Zone, show};
use crate::ingest;
use crate::input::Form;
use crate::problem::Problem;

/// Records that are verified at one press of the button: the last ones.
const VERIFIED: u64 = 50_000;
/// How long that may take.
const VERIFY_TIME: Duration = Duration::from_secs(10);
/// How far back gaps are looked for, and how many are listed.
const GAPS_WITHIN: TimeDelta = TimeDelta::days(90);
const GAPS: usize = 20;
/// Why what a checkpoint kept before says was not looked at: there is none, or it is of what is not read here.
const KEPT_NONE: &str = "Paste a checkpoint you kept below, then verify again.";
const KEPT_EARLIER: &str = "The checkpoint is of an earlier epoch: verify all records on your own machine.";

#[derive(Debug, Template)]
#[template(path = "evidence/index.html")]
struct Index {
    shell: Shell,
    /// The log's verifier key.
    key: String,
    /// The newest first.
    epochs: Vec<Epoch>,
    /// Records that no checkpoint covers yet.
    unsigned: u64,
    /// How far the log is signed: the kind of `ui::status`, and in words.
    state: (&'static str, String),
    marked_at: Option<DateTime<Utc>>,
    gaps: Vec<Gap>,
    gaps_are_partial: bool,
    command: String,
    verified: Option<Verified>,
    /// A checkpoint that was kept, as it was sent.
    kept: String,
    faults: Faults,
}

/// An epoch of the log.
#[derive(Debug, Clone)]
struct Epoch {
    number: u64,
    size: String,
    signed: Option<LastSigned>,
    /// When the next one was begun, and what had been signed until then.
    ended: Option<(DateTime<Utc>, String)>,
}

#[derive(Debug, Clone)]
struct LastSigned {
    at: DateTime<Utc>,
    size: String,
    root: String,
    note: String,
}

/// A record that says that something is missing.
#[derive(Debug, Clone)]
struct Gap {
    at: DateTime<Utc>,
    what: &'static str,
    epoch: i64,
    seq: String,
    url: String,
}

/// What verifying came to.
#[derive(Debug, Clone)]
struct Verified {
    /// In one sentence.
    title: String,
    holds: bool,
    checks: Vec<Checked>,
}

#[derive(Debug, Clone)]
struct Checked {
    number: u8,
    title: String,
    /// `ok`, `deny`, or neither where it was not made.
    kind: &'static str,
    word: &'static str,
    said: String,
}

impl Checked {
    fn icon(&self) -> &'static str {
        match self.kind {
            "ok plain" => "check",
            "deny" => "circle-alert",
            _ => "",
        }
    }
}

/// `GET /w/{tenant}/evidence`.
pub(super) async fn index(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ViewActivity>,
) -> Result<Response, Problem> {
    Ok(Page::new(page(&needs, shell, &can, None).await?).into_response())
}

/// What is asked to be verified.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    /// A checkpoint that somebody kept: a signed note; mostly empty.
    #[serde(default)]
    kept: String,
}

/// `POST /w/{tenant}/evidence/verify`: the last records as a bundle of them would be verified.
pub(super) async fn verify(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ViewActivity>,
    Form(asked): Form<Asked>,
) -> Result<Response, Problem> {
    let can = Arc::new(can);
    let kept = asked.kept;
    let since = match since(&needs, can.actor().tenant(), &kept) {
        Ok(since) => since,
        Err(faults) => {
            let page = Index { kept, faults, ..page(&needs, shell, &can, None).await? };
            return Ok(Page::wrong(page).into_response());
        }
    };
    let verified = match needs.verifying.try_acquire() {
        Ok(_permit) => verified(&needs, &can, since).await?,
        Err(_) => Verified::none("Others verify their logs at the moment. Try again in a few seconds."),
    };
    let page = page(&needs, shell, &can, Some(verified)).await?;
    Ok(Page::new(Index { kept, ..page }).into_response())
}

/// The checkpoint that was kept: of this log, and signed by our key.
fn since(needs: &Needs, tenant: TenantId, kept: &str) -> Result<Option<Checkpoint>, Faults> {
    if kept.trim().is_empty() {
        return Ok(None);
    }
    // As it was copied, but for what a form makes of line ends.
    let note = format!("{}\n", kept.replace("\r\n", "\n").trim());
    let wrong = |error| match error {
        NoteError::Malformed => "This is no checkpoint. Paste all of it, from its name to its signature.",
        NoteError::OtherKey | NoteError::BadSignature => {
            "The key of this deployment did not sign it: it is of another log, or it was changed."
        }
    };
    let kept = needs.log.key.open(&note).map_err(|error| Faults::at("kept", wrong(error)))?;
    let of = |origin: &str| origin.rsplit_once('/').map(|(log, _)| log.to_owned());
    if of(&kept.origin) == of(&ingest::origin(&needs.log.deployment, tenant, 1)) {
        Ok(Some(kept))
    } else {
        Err(Faults::at("kept", "It is of another workspace's log."))
    }
}

/// What the form asks for: days as the person sees them.
#[derive(Debug, Deserialize)]
pub(super) struct Days {
    #[serde(default)]
    from: String,
    #[serde(default)]
    until: String,
    #[serde(default)]
    personal: String,
}

/// `POST /w/{tenant}/evidence/bundle`: as the API hands it out.
pub(super) async fn bundle(
    State(needs): State<Needs>,
    zone: Zone,
    can: Can<may::ExportActivity>,
    Form(days): Form<Days>,
) -> Result<Response, Problem> {
    let from = day(zone, "from", &days.from)?;
    let until = day(zone, "until", &days.until)?.map(|until| until + TimeDelta::days(1));
    let query = BundleQuery { from, until, personal: days.personal == "yes", ..BundleQuery::default() };
    api::download(needs, can, &query).await
}

/// The beginning of a day.
fn day(zone: Zone, field: &'static str, text: &str) -> Result<Option<DateTime<Utc>>, Problem> {
    if text.is_empty() {
        return Ok(None);
    }
    let day: NaiveDate = text.parse().map_err(|_| Problem::invalid(field, "is a day, such as 2026-11-20"))?;
    Ok(Some(zone.read(day.and_time(NaiveTime::MIN))))
}

async fn page(
    needs: &Needs,
    shell: Shell,
    can: &Can<may::ViewActivity>,
    verified: Option<Verified>,
) -> Result<Index, Problem> {
    let mut tx = can.begin().await?;
    let state = mark::state(&mut tx).await?;
    let epochs = epochs(&mut tx, state.as_ref()).await?;
    let filter = Filter {
        kinds: ["gap", "epoch"].map(str::to_owned).to_vec(),
        ..Filter::of(shell.now - GAPS_WITHIN, shell.now + TimeDelta::minutes(5))
    };
    let found = actions::search(&mut tx, Scope::of(can), filter, None, GAPS).await?;
    let gaps = found.rows.iter().map(|row| Gap {
        at: row.time,
        what: if row.kind == "epoch" { "The log began anew: its database was set back" } else { "Records are missing" },
        epoch: row.epoch,
        seq: show::count(row.seq),
        url: shell.to(&format!("activity?kind=all&call={}", RecordId::from_uuid(row.id))),
    });
    let key = needs.log.key.to_string();
    let size = state.as_ref().map_or(0, |state| state.size);
    let unsigned = state.as_ref().map_or(0, |state| state.size.saturating_sub(state.signed_size));
    Ok(Index {
        unsigned,
        state: signed_so_far(size, unsigned),
        marked_at: state.map(|state| state.marked_at),
        gaps: gaps.collect(),
        gaps_are_partial: found.is_partial,
        command: format!("sluice audit verify {}-audit.ndjson.zst --vkey '{key}'", shell.workspace.slug),
        key,
        epochs,
        verified,
        kept: String::new(),
        faults: Faults::none(),
        shell,
    })
}

/// How far the log is signed.
fn signed_so_far(size: u64, unsigned: u64) -> (&'static str, String) {
    let records = show::plural(size, "record", "records");
    match (size, unsigned) {
        (0, _) => ("", "No records yet".to_owned()),
        (_, 0) => ("ok", format!("{records}, all signed")),
        _ => ("wait", format!("{records}, {} not yet signed", show::count(unsigned))),
    }
}

async fn epochs(tx: &mut TenantTx, state: Option<&mark::State>) -> Result<Vec<Epoch>, store::Error> {
    let mut epochs = Vec::new();
    if let Some(state) = state {
        let signed = checkpoint::last_of(tx, state.epoch).await?.map(LastSigned::of);
        epochs.push(Epoch { number: state.epoch, size: show::count(state.size), signed, ended: None });
    }
    for ended in epoch::ended(tx).await?.into_iter().rev() {
        let signed = checkpoint::last_of(tx, ended.epoch).await?.map(LastSigned::of);
        let lost = ended.signed.as_deref().and_then(Checkpoint::unverified).map_or_else(
            || "what had been signed is not known".to_owned(),
            |signed| format!("{} had been signed", show::plural(signed.size, "record", "records")),
        );
        let ended_at = Some((ended.ended_at, lost));
        epochs.push(Epoch { number: ended.epoch, size: show::count(ended.size), signed, ended: ended_at });
    }
    Ok(epochs)
}

impl LastSigned {
    fn of(signed: Signed) -> Self {
        let root = signed.note.lines().nth(2).unwrap_or_default().to_owned();
        Self { at: signed.signed_at, size: show::plural(signed.size, "record", "records"), root, note: signed.note }
    }
}

async fn verified(
    needs: &Needs,
    can: &Arc<Can<may::ViewActivity>>,
    since: Option<Checkpoint>,
) -> Result<Verified, Problem> {
    let mut tx = can.begin().await?;
    let Some(last) = checkpoint::last(&mut tx).await? else {
        return Ok(Verified::none(
            "Nothing is signed yet: the first checkpoint comes within seconds of the first record.",
        ));
    };
    let before: u64 = epoch::ended(&mut tx).await?.iter().map(|ended| ended.size).sum();
    let is_all = before.saturating_add(last.size) <= VERIFIED;
    let first = last.size.saturating_sub(VERIFIED);
    let origin = ingest::origin(&needs.log.deployment, tx.tenant(), last.epoch);
    let unmade = if since.is_none() { KEPT_NONE } else { KEPT_EARLIER };
    let since = since.filter(|kept| is_all || kept.origin == origin);
    let wanted = if is_all {
        Wanted::All { epoch: None }
    } else {
        Wanted::Places { epoch: Some(last.epoch), first, end: None, since: since.as_ref().map(|since| since.size) }
    };
    let sections = plan::sections(&mut tx, wanted).await?.unwrap_or_default();
    drop(tx);
    let mut bundle = Bundle::new(Arc::clone(can), Arc::clone(&needs.log.deployment), sections);
    let (until, mut verifier) = (Instant::now() + VERIFY_TIME, None::<Verifier>);
    loop {
        let lines = match bundle.lines().await {
            Ok(Some(lines)) => lines,
            Ok(None) => break,
            Err(error) => return Ok(Verified::none(&format!("The log could not be read: {error}."))),
        };
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match &mut verifier {
                Some(verifier) => verifier.line(line),
                None => verifier = Verifier::new((*needs.log.key).clone(), since.clone(), line).ok(),
            }
        }
        if Instant::now() >= until {
            return Ok(Verified::none("The log could not be read within 10 s. Download it and verify it yourself."));
        }
    }
    let Some(verifier) = verifier else { return Err(Problem::internal()) };
    let unmade = if since.is_none() { unmade } else { "" };
    Ok(Verified::of(&verifier.finish(), is_all, unmade))
}

impl Verified {
    /// It came to nothing.
    fn none(title: &str) -> Self {
        Self { title: title.to_owned(), holds: false, checks: Vec::new() }
    }

    fn of(report: &audit::verify::Report, is_all: bool, unmade: &'static str) -> Self {
        let records = show::plural(report.records, "record", "records");
        let which = if is_all { format!("All {records}") } else { format!("The last {records}") };
        let count = |is: fn(&Verdict) -> bool| report.verdicts.iter().filter(|verdict| is(verdict)).count();
        let made = count(|verdict| matches!(verdict, Verdict::Holds));
        let title = match report.failed() {
            None if made == CHECKS.len() => format!("All {made} checks hold. {which} are those that were signed for."),
            None => {
                let left = count(|verdict| matches!(verdict, Verdict::NotChecked(_)));
                let held = show::plural(made, "check holds", "checks hold");
                let left = show::plural(left, "was not done", "were not done");
                format!("{held}, {left}. {which} are those that were signed for.")
            }
            Some((_, fault)) => {
                format!("The log does not verify from record {} of epoch {} on.", show::count(fault.seq), fault.epoch)
            }
        };
        let checks = CHECKS.into_iter().zip(&report.verdicts).map(|(check, verdict)| {
            let (kind, word, said) = match verdict {
                Verdict::Holds => ("ok plain", "Holds", String::new()),
                Verdict::NotChecked(_) if check == Check::Consistency && !unmade.is_empty() => {
                    ("", "Not checked", unmade.to_owned())
                }
                Verdict::NotChecked(why) => ("", "Not checked", show::sentence(why)),
                Verdict::Fails(fault) => ("deny", "Fails", show::sentence(&fault.what)),
            };
            Checked { number: check as u8, title: show::sentence(check.title()), kind, word, said }
        });
        Self { title, holds: report.failed().is_none(), checks: checks.collect() }
    }
}
