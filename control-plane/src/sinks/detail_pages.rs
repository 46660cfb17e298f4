//! The page of one destination, and what is done on it.

use askama::Template;
use audit::export::{Format, Placed};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{DestinationId, Permission};
use store::audit::delivery::{self, Part};
use store::destinations::{self, Destination, State as Run, Wanted};
use store::lanes;
use store::letters::{self, Letter};

use super::actions::{self, Begin};
use super::batch::{Answer, Fault};
use super::forms::{KindForm, Sent};
use super::pages::{Around, Asked, Row, is_all, plan, stored};
use super::sender::Tested;
use super::{Needs, steps};
use crate::access::{Can, Permitted, may};
use crate::console::{Choice, Done, Faults, Page, Shell, show};
use crate::input::{At, Form};
use crate::problem::Problem;

/// Dead letters that are shown.
const LETTERS: u32 = 20;
/// Records that are shown as they would be sent.
const PREVIEWED: u64 = 3;

/// The path of a destination's page: the workspace and its id.
type Path = At<(String, DestinationId)>;

#[derive(Debug, Template)]
#[template(path = "destinations/detail.html")]
pub(super) struct DetailPage {
    shell: Shell,
    path: String,
    row: Row,
    revision: u64,
    asked: Asked,
    letters: Vec<Letter>,
    preview: Vec<(String, String)>,
    formats: Vec<Choice>,
    test: Option<TestNote>,
    spans: &'static [(&'static str, &'static str)],
    /// What was typed where its name was asked for.
    typed: String,
    /// What is wrong with a replay that was asked for, or with a name that was typed.
    faults: Faults,
}

impl DetailPage {
    /// Whether who looks may start it, and have records sent again: what is personal takes more than destinations do.
    fn may_send(&self) -> bool {
        self.shell.may(Permission::ManageDestinations)
            && (!self.row.personal || self.shell.may(Permission::ExportPersonal))
    }

    /// Whether a test record has just arrived.
    fn is_tested(&self) -> bool {
        self.test.as_ref().is_some_and(|test| test.is_good)
    }

    /// Whether one has just failed.
    fn has_failed(&self) -> bool {
        self.test.as_ref().is_some_and(|test| !test.is_good)
    }
}

/// What a test came to.
#[derive(Debug)]
struct TestNote {
    is_good: bool,
    title: String,
    said: String,
}

impl TestNote {
    fn of(tested: &Tested) -> Self {
        match &tested.answer {
            Answer::Accepted(said) => {
                let took = show::took(u64::try_from(tested.took.as_micros()).unwrap_or(u64::MAX));
                Self { is_good: true, title: format!("The test record arrived in {took}."), said: said.clone() }
            }
            Answer::Retry { why: fault, .. } if fault.status.is_none() => Self::failed("did not arrive", fault),
            Answer::Retry { why: fault, .. }
            | Answer::TooLarge(fault)
            | Answer::Refused(fault)
            | Answer::Stopped(fault) => Self::failed("was not taken", fault),
        }
    }
}

impl TestNote {
    fn failed(what: &str, fault: &Fault) -> Self {
        Self { is_good: false, title: format!("The test record {what}."), said: fault.said.clone() }
    }
}

/// From when on records can be sent again here; the API takes any time or place.
const SPANS: &[(&str, &str)] =
    &[("1", "The last hour"), ("24", "The last 24 hours"), ("168", "The last 7 days"), ("720", "The last 30 days")];

async fn page<P: Permitted>(
    shell: Shell,
    can: &Can<P>,
    (id, format): (DestinationId, &str),
) -> Result<DetailPage, Problem> {
    let mut tx = can.begin().await?;
    let found = destinations::find(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    let row = Around::read(&mut tx, can.now()).await?.row(&found)?;
    let format = Format::find(format).or_else(|| Format::find(&found.format)).unwrap_or(Format::Native);
    let path = shell.to(&format!("destinations/{id}"));
    let of = |one: Format| Choice::new(one.title(), format!("{path}?format={}", one.as_str()), one == format);
    let formats = row.kind.formats().map(of).collect();
    let letters = letters::list(&mut tx, id, (0, 0), LETTERS).await?;
    let preview = preview(&mut tx, &found, format, can.now()).await?;
    let asked = Asked::new(row.kind, &stored(&found)?, "", Faults::none());
    Ok(DetailPage {
        shell,
        path,
        row,
        revision: found.revision,
        asked,
        letters,
        preview,
        formats,
        test: None,
        spans: SPANS,
        typed: String::new(),
        faults: Faults::none(),
    })
}

/// The last records that are wanted, as they would be sent: their place, and their line.
async fn preview(
    tx: &mut store::TenantTx,
    of: &Destination,
    format: Format,
    now: DateTime<Utc>,
) -> Result<Vec<(String, String)>, store::Error> {
    const LOOKED_AT: u64 = 500;
    let (epoch, end) = delivery::end(tx).await?;
    let part = Part { epoch, first: end.saturating_sub(LOOKED_AT), end };
    let most = usize::try_from(LOOKED_AT).unwrap_or(usize::MAX);
    let (span, _) = super::page::place(tx, part, Some(now)).await?;
    // Whoever sees destinations sees this: nothing personal.
    let asked = delivery::Asked { wanted: &of.wanted, span, personal: false };
    let found = delivery::page(tx, part, asked, (most, usize::MAX >> 1)).await?;
    let tenant = tx.tenant();
    let line = |sent: &delivery::Sent| {
        let seq = sent.seq.cast_unsigned();
        let placed =
            Placed { tenant, place: Some((epoch, seq)), received_at: sent.received_at, record: &sent.body, pii: None };
        let text = String::from_utf8_lossy(&format.encode(&placed)).into_owned();
        (format!("Record {seq}"), show::visible(text))
    };
    let most = usize::try_from(PREVIEWED).unwrap_or_default();
    Ok(found.iter().rev().take(most).map(line).collect())
}

/// `GET /w/{tenant}/destinations/{destination}`; `?format=` shows the preview in another one.
pub(super) async fn open(
    shell: Shell,
    can: Can<may::ViewDestinations>,
    At((_, id)): Path,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Page<DetailPage>, Problem> {
    can.also(Permission::ViewActivity)?;
    let sent = Sent::new(pairs);
    Ok(Page::new(page(shell, &can, (id, sent.get("format"))).await?))
}

/// `POST …/settings`.
pub(super) async fn change(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageDestinations>,
    At((_, id)): Path,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let sent = Sent::new(pairs);
    match changed(&needs, &can, id, &sent).await {
        Ok(()) => Ok(to(&shell, id).saying("Saved. Send a test to see it work.").into_response()),
        Err(problem) if matches!(problem.status().as_u16(), 409 | 422) => {
            let shown = page(shell, &can, (id, "")).await?;
            let asked = Asked::new(shown.row.kind, &sent, "", Faults::of(&problem));
            let status = problem.status();
            Ok(Page::wrong(DetailPage { asked, ..shown }).status(status).into_response())
        }
        Err(problem) => Err(problem),
    }
}

async fn changed(
    needs: &Needs,
    can: &Can<may::ManageDestinations>,
    id: DestinationId,
    sent: &Sent,
) -> Result<(), Problem> {
    let revision = sent.get("revision").parse().map_err(|_| Problem::invalid("revision", "Open the page again."))?;
    let mut tx = can.begin().await?;
    let found = destinations::find(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    drop(tx);
    let kind = KindForm::find(&found.kind).ok_or_else(Problem::internal)?;
    let secret = sent.secret(kind).map(|secret| match sent.get("keep_previous") {
        "" => actions::NewSecret::Replacing(secret),
        _ => actions::NewSecret::Beside(secret),
    });
    let mut new = plan(kind, sent, found.wanted.servers.clone())?;
    // What the page does not offer stays as it was set through the API.
    let unknown = found.wanted.kinds.iter().filter(|kind| !is_all(sent) && !super::pages::offers(kind));
    new.wanted = Wanted { kinds: new.wanted.kinds.into_iter().chain(unknown.cloned()).collect(), ..new.wanted };
    steps::alter(needs, can, (id, revision), secret, |_, _, _| new).await?;
    Ok(())
}

/// `POST …/start`.
pub(super) async fn start(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageDestinations>,
    At((_, id)): Path,
) -> Result<Done, Problem> {
    let mut tx = can.begin().await?;
    steps::start(&mut tx, (&can, &needs.outside.clock), id).await?;
    tx.commit().await?;
    Ok(to(&shell, id).saying("Started, from where it left off."))
}

/// `POST …/retry`: makes the next try now. It changes nothing of how records are sent, so nothing is recorded.
pub(super) async fn retry(shell: Shell, can: Can<may::ManageDestinations>, At((_, id)): Path) -> Result<Done, Problem> {
    let mut tx = can.begin().await?;
    destinations::find(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    lanes::retry(&mut tx, id).await?;
    tx.commit().await?;
    Ok(to(&shell, id).saying("It is tried again now."))
}

/// `POST …/pause`.
pub(super) async fn pause(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageDestinations>,
    At((_, id)): Path,
) -> Result<Done, Problem> {
    let mut tx = can.begin().await?;
    steps::pause(&mut tx, (&can, &needs.outside.clock), id).await?;
    tx.commit().await?;
    Ok(to(&shell, id).saying("Paused. Its place in the log is kept."))
}

/// `POST …/test`: the page, with what came of it.
pub(super) async fn test(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageDestinations>,
    At((_, id)): Path,
) -> Result<Page<DetailPage>, Problem> {
    let test = Some(TestNote::of(&steps::test(&needs, &can, id).await?));
    Ok(Page::new(DetailPage { test, ..page(shell, &can, (id, "")).await? }))
}

/// `POST …/replay`.
pub(super) async fn replay(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageDestinations>,
    At((_, id)): Path,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let sent = Sent::new(pairs);
    let hours = sent.get("hours").parse::<i64>().ok().filter(|hours| (1..=720).contains(hours));
    let from = hours.map_or(Begin::Place(0), |hours| Begin::Time(can.now() - TimeDelta::hours(hours)));
    let rate = sent.get("rate").parse().unwrap_or(actions::REPLAY_RATE);
    let mut tx = can.begin().await?;
    match steps::replay(&mut tx, (&can, &needs.outside.clock), id, (from, rate)).await {
        Ok((first, end)) => {
            let is_running = destinations::find(&mut tx, id).await?.is_some_and(|found| found.state == Run::Running);
            tx.commit().await?;
            let records = end - first;
            let said = if is_running {
                format!("{} of the log again.", show::plural(records, "record is sent", "records are sent"))
            } else {
                let records = show::plural(records, "record waits", "records wait");
                format!("{records} to be sent again. They go once you start it.")
            };
            Ok(to(&shell, id).saying(said).into_response())
        }
        Err(problem) => {
            drop(tx);
            if !matches!(problem.status().as_u16(), 409 | 422) {
                return Err(problem);
            }
            let (status, faults) = (problem.status(), Faults::of(&problem));
            Ok(Page::wrong(DetailPage { faults, ..page(shell, &can, (id, "")).await? }).status(status).into_response())
        }
    }
}

/// `POST …/replay-end`.
pub(super) async fn end_replay(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageDestinations>,
    At((_, id)): Path,
) -> Result<Done, Problem> {
    let mut tx = can.begin().await?;
    actions::end_replay(&mut tx, &can.author(&needs.outside.clock), id).await?;
    tx.commit().await?;
    Ok(to(&shell, id).saying("The replay is ended."))
}

/// `POST …/resend`.
pub(super) async fn resend(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageDestinations>,
    At((_, id)): Path,
) -> Result<Done, Problem> {
    let mut tx = can.begin().await?;
    let asked = steps::resend(&mut tx, (&can, &needs.outside.clock), id).await?;
    tx.commit().await?;
    Ok(to(&shell, id).saying(format!("{} sent again.", show::plural(asked, "record is", "records are"))))
}

/// `POST …/remove`, with the name typed.
pub(super) async fn remove(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageDestinations>,
    At((_, id)): Path,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let shown = page(shell, &can, (id, "")).await?;
    let typed = Sent::new(pairs).get("typed").to_owned();
    if typed != shown.row.name {
        let faults =
            Faults::at("typed", format!("Type “{}” exactly as it is written.", show::visible(&shown.row.name)));
        return Ok(Page::wrong(DetailPage { typed, faults, ..shown }).into_response());
    }
    steps::remove(&needs, &can, id).await?;
    Ok(Done::to(shown.shell.to("destinations")).saying("Removed. What it was sent stays where it is.").into_response())
}

fn to(shell: &Shell, id: DestinationId) -> Done {
    Done::to(shell.to(&format!("destinations/{id}")))
}
