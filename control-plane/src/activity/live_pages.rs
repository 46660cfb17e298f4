//! Calls as they come in: a page that goes on by an event stream, or by being loaded again where there is no script.

use std::convert::Infallible;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use chrono::TimeDelta;
use domain::RecordId;
use futures_util::{StreamExt as _, stream};
use store::TenantTx;
use store::audit::search;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::Needs;
use super::actions::{self, Scope};
use super::pages;
use super::query::{self, Asked, Chip, Names};
use super::rows::{self, Row};
use super::streams::Seat;
use crate::access::{Can, may};
use crate::console::{Choice, Done, Page, Shell};
use crate::input::Form;
use crate::problem::Problem;

/// Rows the page begins with.
const FIRST: usize = 50;
/// Most rows that come at once; of more the latest are shown, and that others are left out is said.
const AT_ONCE: usize = 200;
/// How often the log is looked at.
const EVERY: Duration = Duration::from_secs(1);
/// How long one stream lasts; the browser then begins another, and goes on where this one ended.
const LIFE: Duration = Duration::from_mins(5);
/// How far back a stream goes on from.
const BACK: TimeDelta = TimeDelta::days(3);

#[derive(Debug, Template)]
#[template(path = "activity/live.html")]
struct LivePage {
    shell: Shell,
    rows: Vec<Row>,
    asked: Asked,
    decisions: Vec<Choice>,
    chips: Vec<Chip>,
    is_paused: bool,
    /// The other of paused and not.
    turn: String,
    /// Where more rows come from.
    events: String,
    /// The same calls, of all time.
    search: String,
    is_all: bool,
}

/// `GET /w/{tenant}/live`: the newest calls, and the stream of those that follow.
pub(super) async fn live(
    shell: Shell,
    can: Can<may::OwnActivity>,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let (scope, asked, base) = (Scope::of(&can), Asked::read_live(pairs), shell.to("live"));
    if asked.is_typed {
        return Ok(Done::to(format!("{base}{}", asked.query())).into_response());
    }
    let mut tx = can.begin().await?;
    let names = pages::names(&mut tx, scope, &asked).await?;
    // Before the rows are read: what comes in between then comes with the stream.
    let end = search::end(&mut tx).await?;
    let resolved = query::resolve(&asked, &names, shell.present());
    let found = actions::search(&mut tx, scope, resolved.filter, None, FIRST).await?.rows;
    let rows = shown(&mut tx, &found, &names, &shell).await?;
    let last = found.iter().map(|row| (row.epoch, row.seq)).max().map_or(end, |shown| shown.max(end));
    let is_paused = asked.get("pause").is_some();
    let turned = if is_paused { asked.without("pause") } else { asked.with("pause", "yes") };
    Ok(Page::new(LivePage {
        rows,
        decisions: pages::decisions(&asked, &base),
        chips: resolved.chips,
        is_paused,
        turn: format!("{base}{}", turned.query()),
        events: format!("{}{}", shell.to("live/events"), asked.with("after", &to_place(last)).query()),
        search: format!("{}{}", shell.to("activity"), asked.without("pause").query()),
        is_all: scope.is_all(),
        asked,
        shell,
    })
    .into_response())
}

async fn shown(
    tx: &mut TenantTx,
    found: &[search::Row],
    names: &Names,
    shell: &Shell,
) -> Result<Vec<Row>, store::Error> {
    let url = |id: RecordId| format!("{}?call={id}", shell.to("activity"));
    rows::read(tx, found, (names, shell.present()), url).await
}

/// A place of the log as a stream names it: `1-4711`.
fn to_place((epoch, seq): (i64, i64)) -> String {
    format!("{epoch}-{seq}")
}

fn from_place(text: &str) -> Option<(i64, i64)> {
    let (epoch, seq) = text.split_once('-')?;
    Some((epoch.parse().ok()?, seq.parse().ok()?))
}

#[derive(Debug, Template)]
#[template(path = "activity/_live_rows.html")]
struct LiveRows {
    rows: Vec<Row>,
    /// Where those are that are left out; empty where none is.
    rest: String,
}

/// `GET /w/{tenant}/live/events`: rows as they come in, at most once a second.
pub(super) async fn events(
    State(Needs { drain, streams, .. }): State<Needs>,
    shell: Shell,
    can: Can<may::OwnActivity>,
    headers: HeaderMap,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let seat = streams.seat(can.actor().user()).ok_or_else(too_many)?;
    let mut tx = can.begin().await?;
    let asked = Asked::read_live(pairs);
    let seen = headers.get("last-event-id").and_then(|value| from_place(value.to_str().ok()?));
    let told = seen.or_else(|| from_place(asked.get("after")?));
    let place = match told {
        Some(place) => place,
        None => search::end(&mut tx).await?,
    };
    let scope = Scope::of(&can);
    let names = pages::names(&mut tx, scope, &asked).await?;
    drop(tx);
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let until = Instant::now() + LIFE;
    let tail = Tail { shell, can, scope, names, asked, place, every, until, _seat: seat };
    // A connection is not over before its last answer is: a program that ends would wait for every open page.
    let events = stream::unfold(tail, Tail::next).take_until(drain.begun().clone().cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response())
}

/// The end of the log as one browser follows it.
struct Tail {
    shell: Shell,
    can: Can<may::OwnActivity>,
    scope: Scope,
    names: Names,
    asked: Asked,
    place: (i64, i64),
    every: Interval,
    until: Instant,
    /// Held for as long as it is followed.
    _seat: Seat,
}

/// Somebody has more streams open than anybody looks at.
fn too_many() -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-streams", "Too many live pages are open")
        .detail("close some of them, then load this one again")
}

impl Tail {
    /// Waits for rows, and gives them as one event. Ends with its time, with the session, or with the role.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        while Instant::now() < self.until {
            self.every.tick().await;
            let mut tx = self.can.begin().await.ok()?;
            let came = self.look(&mut tx).await.ok()?;
            drop(tx);
            if came.rows.is_empty() {
                continue;
            }
            // A carriage return would end the line of the event.
            let html = came.render().ok()?.replace('\r', "");
            return Some((Ok(Event::default().id(to_place(self.place)).data(html)), self));
        }
        None
    }

    /// What came in since the last look, newest first. However much that was, the next look begins after it.
    async fn look(&mut self, tx: &mut TenantTx) -> Result<LiveRows, store::Error> {
        self.shell.now = self.can.now();
        let mut came = LiveRows { rows: Vec::new(), rest: String::new() };
        // Before the rows are read: what comes in between is not passed over.
        let end = search::end(tx).await?;
        let mut wanted = query::resolve(&self.asked, &self.names, self.shell.present()).filter;
        wanted.from = self.shell.now - BACK;
        if end <= self.place || !self.scope.narrow(&mut wanted) {
            return Ok(came);
        }
        let limit = i64::try_from(AT_ONCE).unwrap_or(i64::MAX).saturating_add(1);
        let mut found = search::newer(tx, self.place, &wanted, limit).await?;
        self.place = found.first().map_or(end, |row| end.max((row.epoch, row.seq)));
        if found.len() > AT_ONCE {
            found.truncate(AT_ONCE);
            came.rest = format!("{}{}", self.shell.to("activity"), self.asked.without("pause").query());
        }
        let is_strange = |row: &search::Row| {
            row.server_id.is_some_and(|id| self.names.server(id).is_none())
                || row.policies.iter().flatten().any(|id| self.names.policy(*id).is_none())
        };
        if found.iter().any(is_strange) {
            self.names = pages::names(tx, self.scope, &self.asked).await?;
        }
        came.rows = shown(tx, &found, &self.names, &self.shell).await?;
        Ok(came)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back() {
        for place in [(1, -1), (1, 0), (3, 4711)] {
            assert_eq!(from_place(&to_place(place)), Some(place));
        }
        assert_eq!(from_place("1"), None);
    }
}
