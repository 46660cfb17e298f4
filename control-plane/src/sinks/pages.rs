//! The pages of all destinations, and of a new one.

use std::collections::HashMap;
use std::fmt;

use askama::Template;
use audit::export::Format;
use audit::words::{Effect, Kind as RecordKind};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use domain::DestinationId;
use store::TenantTx;
use store::audit::delivery;
use store::destinations::{self, Destination, State as Run, Wanted};
use store::lanes::{self, Kind, Lane};
use store::letters::{self, Hour};

use super::actions::{self, Plan};
use super::forms::{self, FORMS, Field, KindForm, Sent, Shape};
use super::webhook::SigningSecret;
use super::{Needs, steps};
use crate::access::{Can, may};
use crate::console::chart::{self, Line};
use crate::console::{Done, Faults, Page, Shell, show};
use crate::input::{Form, check_title};
use crate::problem::Problem;

/// Hours that are shown.
const HOURS: i64 = 24;
/// How far behind is worth a colour, seconds.
const LAGGING_S: i64 = 300;

/// A destination at a glance.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: DestinationId,
    pub(super) name: String,
    pub(super) kind: &'static KindForm,
    pub(super) format: &'static str,
    pub(super) place: String,
    /// Whether what is personal goes along.
    pub(super) personal: bool,
    pub(super) is_running: bool,
    /// Whether it was ever started, for all one sees.
    pub(super) has_begun: bool,
    /// The look of its dot, and its word.
    pub(super) state: (&'static str, &'static str),
    pub(super) lag: String,
    pub(super) lag_class: &'static str,
    pub(super) waiting: u64,
    pub(super) sent: String,
    pub(super) line: Line,
    pub(super) letters: u64,
    /// What is wrong now, since when, and how often it was tried; empty while it works.
    pub(super) fault: String,
    pub(super) fault_at: Option<DateTime<Utc>>,
    pub(super) failures: u32,
    pub(super) retry_at: Option<DateTime<Utc>>,
    pub(super) sent_at: Option<DateTime<Utc>>,
    /// A replay: how much of it is done, of how many.
    pub(super) replay: Option<(u64, u64)>,
    /// Why the replay was stopped; empty where it was not.
    pub(super) replay_fault: String,
    /// Records that left the log before they were sent, and when that was last found.
    pub(super) lost: Option<(u64, DateTime<Utc>)>,
}

impl Row {
    /// What was lost, in a sentence.
    pub(super) fn lost_title(&self) -> String {
        let records = show::plural(self.lost.map_or(0, |lost| lost.0), "record", "records");
        format!("{records} left the log before they were sent.")
    }

    /// What is asked of whoever removes it.
    pub(super) fn to_remove(&self) -> String {
        format!("Type “{}” to remove it", show::visible(&self.name))
    }

    /// What has become of the records meanwhile.
    pub(super) fn waiting_said(&self) -> String {
        let records = show::plural(self.waiting, "record waits", "records wait");
        let oldest = if self.is_running { format!(", the oldest for {}", self.lag) } else { String::new() };
        match self.waiting {
            0 => "No record waits.".to_owned(),
            _ => format!("{records}{oldest}. They are safe for as long as the log keeps records."),
        }
    }

    /// What a fault comes to.
    pub(super) fn fault_title(&self) -> String {
        match self.failures {
            _ if !self.is_running => "It was stopped. Mend what is wrong, then start it.".to_owned(),
            1 => "Nothing arrives: the last try failed.".to_owned(),
            tries => format!("Nothing arrives. {} tries in a row failed.", show::count(tries)),
        }
    }
}

/// What rows are made from.
pub(super) struct Around {
    lanes: Vec<Lane>,
    hours: Vec<Hour>,
    letters: HashMap<DestinationId, u64>,
    end: (u64, u64),
    now: DateTime<Utc>,
}

impl Around {
    pub(super) async fn read(tx: &mut TenantTx, now: DateTime<Utc>) -> Result<Self, store::Error> {
        Ok(Self {
            lanes: lanes::list(tx, None).await?,
            hours: letters::hours(tx, now - TimeDelta::hours(HOURS)).await?,
            letters: letters::counts(tx).await?.into_iter().collect(),
            end: delivery::end(tx).await?,
            now,
        })
    }

    pub(super) fn row(&self, destination: &Destination) -> Result<Row, Problem> {
        let (settings, format) = actions::read(destination)?;
        let of = |kind| self.lanes.iter().find(|lane| lane.destination == destination.id && lane.kind == kind);
        let live = of(Kind::Live).ok_or_else(Problem::internal)?;
        let waiting = steps::lag(live, self.end);
        let behind = live.behind_since.filter(|_| waiting > 0).map_or(0, |since| (self.now - since).num_seconds());
        let is_failing = live.failures > 0 || destination.state == Run::Stopped;
        let error = live.error.as_ref().filter(|_| is_failing);
        let hours = self.per_hour(destination.id);
        let has_begun = destination.state != Run::Paused || live.sent_at.is_some() || live.error.is_some();
        let sent = hours.iter().sum::<u64>();
        Ok(Row {
            id: destination.id,
            name: destination.name.clone(),
            kind: KindForm::find(&destination.kind).ok_or_else(Problem::internal)?,
            format: format.title(),
            place: settings.place(),
            personal: destination.personal,
            is_running: destination.state == Run::Running,
            state: if has_begun { state(destination.state, live.failures, waiting) } else { ("", "Not started") },
            has_begun,
            lag: if destination.state == Run::Running { show::length(behind) } else { "–".to_owned() },
            lag_class: if behind >= LAGGING_S { "c-deny" } else { "" },
            waiting,
            sent: show::count(sent),
            line: chart::spark(&hours),
            letters: self.letters.get(&destination.id).copied().unwrap_or_default(),
            fault: error.map(|error| error.said.clone()).unwrap_or_default(),
            fault_at: error.map(|error| error.at),
            failures: live.failures,
            retry_at: live.due_at.filter(|_| live.failures > 0 && live.is_on),
            sent_at: live.sent_at,
            replay: of(Kind::Replay).and_then(|lane| {
                let (first, end) = lane.range?;
                Some((lane.next.saturating_sub(first), end - first))
            }),
            replay_fault: of(Kind::Replay)
                .filter(|lane| !lane.is_on && destination.state == Run::Running)
                .and_then(|lane| lane.error.as_ref())
                .map_or_else(String::new, |error| error.said.clone()),
            lost: live.lost,
        })
    }

    /// Records that were taken in each of the last hours.
    fn per_hour(&self, of: DestinationId) -> Vec<u64> {
        let hour = |back: i64| {
            let at = (self.now - TimeDelta::hours(back)).timestamp().div_euclid(3600);
            let of_hour = |hour: &&Hour| hour.destination == of && hour.start.timestamp().div_euclid(3600) == at;
            self.hours.iter().find(of_hour).map_or(0, |hour| hour.records)
        };
        (0..HOURS).rev().map(hour).collect()
    }
}

const fn state(state: Run, failures: u32, waiting: u64) -> (&'static str, &'static str) {
    match state {
        Run::Paused => ("", "Paused"),
        Run::Stopped => ("deny", "Stopped"),
        Run::Running if failures > 0 => ("deny", "Retrying"),
        Run::Running if waiting > 0 => ("live", "Delivering"),
        Run::Running => ("ok", "Up to date"),
    }
}

#[derive(Debug, Template)]
#[template(path = "destinations/index.html")]
pub(super) struct ListPage {
    shell: Shell,
    rows: Vec<Row>,
    kinds: &'static [KindForm],
}

/// `GET /w/{tenant}/destinations`.
pub(super) async fn list(shell: Shell, can: Can<may::ViewDestinations>) -> Result<Page<ListPage>, Problem> {
    let mut tx = can.begin().await?;
    let around = Around::read(&mut tx, can.now()).await?;
    let found = destinations::list(&mut tx).await?;
    let rows = found.iter().map(|destination| around.row(destination)).collect::<Result<_, _>>()?;
    Ok(Page::new(ListPage { shell, rows, kinds: FORMS }))
}

/// A field of a form as it is shown. Its value may be a secret that was just made.
pub(super) struct Shown {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: &'static str,
    pub(super) placeholder: &'static str,
    pub(super) value: String,
    pub(super) error: String,
    pub(super) is_text: bool,
    pub(super) is_needed: bool,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Shown {
    pub(super) fn new(field: &Field, value: &str, faults: &Faults) -> Self {
        Self {
            name: field.name,
            label: field.label,
            hint: field.hint,
            placeholder: field.placeholder,
            value: value.to_owned(),
            error: faults.in_field(field.name).to_owned(),
            is_text: field.shape == Shape::Text,
            is_needed: field.is_needed,
        }
    }
}

/// Something that is chosen among others: its word, its text, whether it is.
pub(super) type Pick = (&'static str, &'static str, bool);

/// A destination's form, new or not.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) kind: &'static KindForm,
    pub(super) name: String,
    pub(super) fields: Vec<Shown>,
    pub(super) secrets: Vec<Shown>,
    pub(super) formats: Vec<Pick>,
    pub(super) kinds: Vec<Pick>,
    pub(super) effects: Vec<Pick>,
    /// Whether only some records are sent.
    pub(super) is_of_some: bool,
    pub(super) personal: bool,
    pub(super) faults: Faults,
}

impl Asked {
    /// The form as it was sent; of what is secret nothing is shown again, but for what `secret` has.
    pub(super) fn new(kind: &'static KindForm, sent: &Sent, secret: &str, faults: Faults) -> Self {
        let chosen = if sent.get("format").is_empty() { "native" } else { sent.get("format") };
        let (kinds, effects) = (sent.all("kinds"), sent.all("effects"));
        let is_in = |list: &[String], word: &str| list.iter().any(|one| one == word);
        Self {
            kind,
            name: sent.get("name").to_owned(),
            fields: kind.fields.iter().map(|field| Shown::new(field, sent.get(field.name), &faults)).collect(),
            secrets: kind.secrets.iter().map(|field| Shown::new(field, secret, &faults)).collect(),
            formats: kind
                .formats()
                .map(|format| (format.as_str(), format.title(), format.as_str() == chosen))
                .collect(),
            kinds: KINDS.iter().map(|(kind, text)| (kind.as_str(), *text, is_in(&kinds, kind.as_str()))).collect(),
            effects: EFFECTS.iter().map(|(one, text)| (one.as_str(), *text, is_in(&effects, one.as_str()))).collect(),
            is_of_some: sent.get(WHAT) == "some"
                || (sent.get(WHAT).is_empty() && !(kinds.is_empty() && effects.is_empty())),
            personal: sent.get(PERSONAL) == "yes",
            faults,
        }
    }
}

/// The field that says whether what is personal goes along.
const PERSONAL: &str = "personal";
/// The field that says whether `all` records are sent, or `some`.
const WHAT: &str = "what";

/// What kinds of records may be chosen; the rest comes when none is.
const KINDS: [(RecordKind, &str); 5] = [
    (RecordKind::Call, "Calls"),
    (RecordKind::Admin, "Changes"),
    (RecordKind::Auth, "Sign-ins and refusals"),
    (RecordKind::Server, "Servers"),
    (RecordKind::Gap, "Gaps"),
];

/// What decisions may be chosen.
const EFFECTS: [(Effect, &str); 2] = [(Effect::Allow, "Allowed"), (Effect::Deny, "Denied")];

/// What a form plans.
pub(super) fn plan(kind: &KindForm, sent: &Sent, servers: Vec<domain::ServerId>) -> Result<Plan, Problem> {
    check_title("name", sent.get("name"), 60)?;
    let format = Format::find(sent.get("format")).ok_or_else(|| Problem::invalid("format", "Choose one."))?;
    let wanted = match sent.get(WHAT) {
        "all" => Wanted { servers, ..Wanted::default() },
        _ => Wanted { kinds: sent.all("kinds"), effects: sent.all("effects"), servers },
    };
    if sent.get(WHAT) == "some" && wanted.kinds.is_empty() && wanted.effects.is_empty() {
        return Err(Problem::invalid(WHAT, "Choose at least one, or everything."));
    }
    let (name, personal) = (sent.get("name").to_owned(), sent.get(PERSONAL) == "yes");
    Ok(Plan { name, format, settings: sent.settings(kind)?, wanted, personal })
}

#[derive(Debug, Template)]
#[template(path = "destinations/new.html")]
pub(super) struct NewPage {
    shell: Shell,
    kinds: &'static [KindForm],
    /// None before a kind is chosen.
    asked: Option<Asked>,
}

/// `GET /w/{tenant}/destinations/new`: the kinds, or with `?kind=` the form of one.
pub(super) async fn new(
    shell: Shell,
    _can: Can<may::ManageDestinations>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Page<NewPage>, Problem> {
    let sent = Sent::new(pairs);
    let asked = KindForm::find(sent.get("kind")).map(|kind| {
        let name = Sent::new(vec![("name".to_owned(), kind.title.to_owned())]);
        // One that nobody else has, to be taken along or replaced.
        let made = SigningSecret::generate();
        let secret = if kind.word == "webhook" { made.expose().as_str() } else { "" };
        Asked::new(kind, &name, secret, Faults::none())
    });
    Ok(Page::new(NewPage { shell, kinds: FORMS, asked }))
}

/// `POST /w/{tenant}/destinations/new`.
pub(super) async fn add(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::ManageDestinations>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let sent = Sent::new(pairs);
    let kind = KindForm::find(sent.get("kind")).ok_or_else(Problem::not_found)?;
    let secret = sent.secret(kind).unwrap_or_else(|| domain::Secret::new(String::new()));
    let added = match plan(kind, &sent, Vec::new()) {
        Ok(plan) => steps::add(&needs, &can, plan, &secret).await,
        Err(problem) => Err(problem),
    };
    match added {
        Ok(added) => Ok(Done::to(shell.to(&format!("destinations/{}", added.id)))
            .saying("Added. Send a test, then start it.")
            .into_response()),
        Err(problem) if matches!(problem.status().as_u16(), 409 | 422) => {
            let status = problem.status();
            // A secret that we made is shown until it is kept; one that was typed is not.
            let is_whole = kind.word == "webhook" && secret.expose().parse::<SigningSecret>().is_ok();
            let shown = if is_whole { secret.expose().as_str() } else { "" };
            let asked = Some(Asked::new(kind, &sent, shown, Faults::of(&problem)));
            Ok(Page::wrong(NewPage { shell, kinds: FORMS, asked }).status(status).into_response())
        }
        Err(problem) => Err(problem),
    }
}

/// A stored destination as its form has it.
pub(super) fn stored(destination: &Destination) -> Result<Sent, Problem> {
    let (settings, format) = actions::read(destination)?;
    let mut sent = forms::filled(&settings.masked());
    sent.push("name", &destination.name);
    sent.push("format", format.as_str());
    sent.push(PERSONAL, if destination.personal { "yes" } else { "" });
    destination.wanted.kinds.iter().for_each(|kind| sent.push("kinds", kind));
    destination.wanted.effects.iter().for_each(|effect| sent.push("effects", effect));
    Ok(sent)
}

/// Whether the form asks for all records.
pub(super) fn is_all(sent: &Sent) -> bool {
    sent.get(WHAT) == "all"
}

/// Whether a kind of record can be chosen on the page.
pub(super) fn offers(kind: &str) -> bool {
    KINDS.iter().any(|(one, _)| one.as_str() == kind)
}
