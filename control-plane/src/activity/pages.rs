//! Activity in the console: what was called, by whom, and what became of it.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use domain::{CallId, RecordId};
use store::audit::rollup::Range;
use store::audit::search::{self, Filter};
use store::{TenantTx, people, servers};

use super::Needs;
use super::actions::{self, Scope, SearchError};
use super::call::Call;
use super::counts::Counts;
use super::query::{self, Asked, Chip, Names, Resolved, SPANS};
use super::rows::Row;
use crate::access::{Can, may};
use crate::console::chart::Bars;
use crate::console::{Choice, Done, Hx, Page, Shell, show};
use crate::input::Form;
use crate::problem::Problem;

/// Records on a page.
const LIMIT: usize = 50;

#[derive(Debug, Template)]
#[template(path = "activity/index.html")]
struct Index {
    shell: Shell,
    asked: Asked,
    /// The search bar's text.
    q: String,
    spans: Vec<Choice>,
    decisions: Vec<Choice>,
    kinds: Vec<Choice>,
    chips: Vec<Chip>,
    /// How many there are in all, where that is known.
    total: String,
    chart: Option<Bars>,
    /// Said of the chart where it does not show exactly what the table does.
    chart_note: &'static str,
    list: List,
}

#[derive(Debug, Template)]
#[template(path = "activity/index.html", block = "split")]
struct Split {
    shell: Shell,
    list: List,
}

/// The table, and what is open beside it.
#[derive(Debug, Clone)]
struct List {
    rows: Vec<Row>,
    /// What stands under the table.
    summary: String,
    /// Where older ones are; empty at the end.
    older: String,
    /// Time ran out before all was looked at.
    is_partial: bool,
    /// What went wrong with the search; empty where nothing did.
    fault: String,
    /// Whether anything narrows the search.
    is_narrowed: bool,
    /// Whether one sees everybody's records.
    is_all: bool,
    /// Where to look further, when nothing was found: a longer time, and without filters.
    wider: String,
    plain: String,
    open: Open,
    /// Where nothing is open, and the ones before and after the open one; empty where there is none.
    closed: String,
    before: String,
    after: String,
}

/// What is open beside the table.
#[derive(Debug, Clone)]
enum Open {
    /// Nothing.
    Nothing,
    /// A record.
    Call(Box<Call>),
    /// One that is not there, or is not one's own to see.
    NotFound,
}

impl Open {
    const fn is_nothing(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// `GET /w/{tenant}/activity`: the search the address names, and the record it opens.
pub(super) async fn index(
    State(needs): State<Needs>,
    shell: Shell,
    can: Can<may::OwnActivity>,
    hx: Hx,
    Form(pairs): Form<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let asked = Asked::read(pairs);
    let base = shell.to("activity");
    if asked.is_typed && !hx.0 {
        return Ok(Done::to(format!("{base}{}", asked.query())).into_response());
    }
    let scope = Scope::of(&can);
    let mut tx = can.begin().await?;
    let names = names(&mut tx).await?;
    let resolved = query::resolve(&asked, &names, needs.clock.now());
    let counts = if hx.0 { None } else { counts(&mut tx, scope, &resolved).await? };
    let open = open(&mut tx, &needs, scope, &asked, &names).await?;
    let list = list(&mut tx, scope, &asked, &resolved, (&names, open, &shell)).await?;
    if hx.0 {
        let mut response = Page::new(Split { shell, list }).into_response();
        push_url(&mut response, &format!("{base}{}", asked.query()));
        return Ok(response);
    }
    let is_exact = resolved.is_counted;
    let over = asked.span().map_or("time chosen", |span| span.name);
    Ok(Page::new(Index {
        q: asked.get("q").unwrap_or_default().to_owned(),
        spans: spans(&asked, &base),
        decisions: decisions(&asked, &base),
        kinds: kinds(&asked, &base),
        total: counts
            .as_ref()
            .filter(|_| is_exact)
            .map_or_else(String::new, |counts| show::plural(counts.total(&resolved.outcomes), "call", "calls")),
        chart: counts.map(|counts| counts.bars(&resolved.outcomes, over)),
        chart_note: if is_exact {
            ""
        } else {
            "The bars count all calls of this time, by server, tool and decision only."
        },
        chips: resolved.chips,
        list,
        asked,
        shell,
    })
    .into_response())
}

fn push_url(response: &mut Response, url: &str) {
    if let Ok(url) = HeaderValue::from_str(url) {
        response.headers_mut().insert(HeaderName::from_static("hx-push-url"), url);
    }
}

/// What the tenant calls people and servers.
pub(crate) async fn names(tx: &mut TenantTx) -> Result<Names, store::Error> {
    Ok(Names { people: people::list(tx).await?, servers: servers::list(tx).await? })
}

/// Counts for the chart; none for those who see only their own calls, which are not counted apart.
async fn counts(tx: &mut TenantTx, scope: Scope, resolved: &Resolved) -> Result<Option<Counts>, store::Error> {
    if !scope.is_all() {
        return Ok(None);
    }
    let filter = &resolved.filter;
    let (from, until) = (filter.from, filter.until);
    let range = Range { from, until, step_s: 60, server: filter.server, tool: filter.tool.clone() };
    let (step_s, points) = actions::series(tx, range).await?;
    Ok(Some(Counts::of(&points, step_s, (from, until))))
}

async fn open(
    tx: &mut TenantTx,
    needs: &Needs,
    scope: Scope,
    asked: &Asked,
    names: &Names,
) -> Result<Open, store::Error> {
    if asked.open.is_none() {
        return Ok(Open::Nothing);
    }
    let Some(id) = named(tx, scope, asked, names, needs).await? else { return Ok(Open::NotFound) };
    let found = actions::find(tx, scope, &needs.master, id).await?;
    let call = found.and_then(|(leaf, personal)| Call::of(&leaf, personal.as_deref(), names));
    Ok(call.map_or(Open::NotFound, |call| Open::Call(Box::new(call))))
}

/// The record that an address opens: itself, or the one of the call it names.
async fn named(
    tx: &mut TenantTx,
    scope: Scope,
    asked: &Asked,
    names: &Names,
    needs: &Needs,
) -> Result<Option<RecordId>, store::Error> {
    let text = asked.open.as_deref().unwrap_or_default();
    if let Ok(record) = text.parse() {
        return Ok(Some(record));
    }
    let Ok(call) = text.parse::<CallId>() else { return Ok(None) };
    let month = Asked::default().with("range", "30d");
    let filter = Filter { call: Some(call), ..query::resolve(&month, names, needs.clock.now()).filter };
    match actions::search(tx, scope, filter, None, 1).await {
        Ok(page) => Ok(page.rows.first().map(|row| RecordId::from_uuid(row.id))),
        Err(SearchError::Database(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

async fn list(
    tx: &mut TenantTx,
    scope: Scope,
    asked: &Asked,
    resolved: &Resolved,
    (names, open, shell): (&Names, Open, &Shell),
) -> Result<List, Problem> {
    let base = shell.to("activity");
    let found = actions::search(tx, scope, resolved.filter.clone(), resolved.after, LIMIT).await;
    let (page, fault) = match found {
        Ok(page) => (page, String::new()),
        Err(SearchError::Database(error)) => return Err(error.into()),
        Err(error) => (actions::Page { rows: Vec::new(), next: None, is_partial: false }, error.to_string()),
    };
    let to = |asked: &Asked| format!("{base}{}", asked.query());
    let row = |record: &search::Row| {
        let id = RecordId::from_uuid(record.id).to_string();
        let is_open = matches!(&open, Open::Call(call) if call.id == id);
        Row { is_open, ..Row::of(record, names, shell.now, to(&asked.opening(Some(&id)))) }
    };
    let rows: Vec<Row> = page.rows.iter().map(row).collect();
    let place = rows.iter().position(|row| row.is_open);
    let at =
        |place: Option<usize>| place.and_then(|place| rows.get(place)).map_or_else(String::new, |row| row.url.clone());
    let (before, after) = (at(place.and_then(|place| place.checked_sub(1))), at(place.map(|place| place + 1)));
    let older = page.next.map(|next| to(&asked.with("after", &actions::to_cursor(next)).opening(None)));
    Ok(List {
        summary: summary(&rows, asked, older.is_some()),
        older: older.unwrap_or_default(),
        is_partial: page.is_partial,
        fault,
        is_narrowed: asked.is_narrowed(),
        is_all: scope.is_all(),
        wider: wider(asked).map_or_else(String::new, |asked| to(&asked)),
        plain: base.clone(),
        open,
        closed: to(&asked.opening(None)),
        before,
        after,
        rows,
    })
}

fn summary(rows: &[Row], asked: &Asked, has_older: bool) -> String {
    let shown = show::plural(rows.len(), "record", "records");
    match (asked.get("after").is_some(), has_older) {
        (false, false) => format!("{shown}, newest first. That is all of this time."),
        (true, false) => format!("{shown}. Nothing older in this time."),
        (false, true) => format!("The newest {shown}"),
        (true, true) => format!("{shown}, newest first"),
    }
}

/// The same search over the next longer time.
fn wider(asked: &Asked) -> Option<Asked> {
    let span = asked.span()?;
    let longer = SPANS.into_iter().find(|other| other.length > span.length)?;
    // A text is looked for in a week at most.
    let is_too_long = asked.get("q").is_some() && longer.length > actions::TEXT_RANGE;
    (!is_too_long).then(|| asked.with("range", longer.word))
}

fn spans(asked: &Asked, base: &str) -> Vec<Choice> {
    let present = asked.span();
    let choice = |span: query::Span| {
        let to = asked.without("from").without("until").with("range", span.word);
        Choice::new(span.short, format!("{base}{}", to.query()), present == Some(span))
    };
    SPANS.into_iter().map(choice).collect()
}

fn decisions(asked: &Asked, base: &str) -> Vec<Choice> {
    use super::outcome::Outcome;
    let present = asked.get("decision").unwrap_or_default();
    let all = Choice::new("All", format!("{base}{}", asked.without("decision").query()), present.is_empty());
    let choice = |outcome: Outcome| {
        let to = asked.with("decision", outcome.word());
        Choice::new(outcome.name(), format!("{base}{}", to.query()), present == outcome.word())
    };
    let shown = [Outcome::Allowed, Outcome::Denied, Outcome::Failed, Outcome::Waiting];
    std::iter::once(all).chain(shown.into_iter().map(choice)).collect()
}

fn kinds(asked: &Asked, base: &str) -> Vec<Choice> {
    let present = asked.get("kind").unwrap_or("call");
    let choice = |(word, text): (&'static str, &'static str)| {
        let to = if word == "call" { asked.without("kind") } else { asked.without("decision").with("kind", word) };
        Choice::new(text, format!("{base}{}", to.query()), present == word)
    };
    [("call", "Calls"), ("admin", "Changes"), ("all", "Everything")].into_iter().map(choice).collect()
}
