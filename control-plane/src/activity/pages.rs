//! Activity in the console: what was called, by whom, and what became of it.

use askama::Template;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use domain::{CallId, RecordId};
use store::audit::rollup::Range;
use store::audit::search::Filter;
use store::{TenantTx, people, policies, servers, tools};

use super::Needs;
use super::actions::{self, Scope, SearchError};
use super::call::Call;
use super::counts::Counts;
use super::people::People;
use super::query::{self, Asked, Chip, Names, Resolved, SPANS};
use super::rows::{self, Row};
use crate::access::{Can, may};
use crate::console::chart::Bars;
use crate::console::{Choice, Done, Hx, Page, Present, Shell, Zone, show};
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
    /// The same calls as they come in.
    live: String,
    views: Vec<Choice>,
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
    /// The kind of record that is asked for: of changes the table says something else.
    kind: String,
    /// The same by who made them, where that is asked for.
    people: Option<People>,
    /// Where there is something, when nothing was found: in words, and the way there.
    nearest: Option<(String, String)>,
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

impl List {
    fn is_empty(&self) -> bool {
        let is_empty = self.rows.is_empty() && self.people.as_ref().is_none_or(|people| people.list.is_empty());
        is_empty && self.fault.is_empty() && self.older.is_empty()
    }

    fn is_changes(&self) -> bool {
        self.kind == "admin"
    }

    /// The kind of the way to all records: the primary one where none is known to be near.
    const fn plain_kind(&self) -> &'static str {
        if self.nearest.is_none() { "primary" } else { "" }
    }

    /// What is said where nothing was found.
    fn near(&self) -> &str {
        self.nearest.as_ref().map_or("Nothing in this time fits all of the filters.", |(text, _)| text)
    }
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
    let mut asked = Asked::read(pairs);
    let base = shell.to("activity");
    let scope = Scope::of(&can);
    let mut tx = can.begin().await?;
    let names = names(&mut tx, scope, &asked).await?;
    asked.understand(&names, shell.present());
    if asked.is_typed && !hx.0 {
        return Ok(Done::to(format!("{base}{}", asked.query())).into_response());
    }
    let resolved = query::resolve(&asked, &names, shell.present());
    let counts = if hx.0 { None } else { counts(&mut tx, scope, &resolved, shell.zone).await? };
    let open = open(&mut tx, &needs, (scope, shell.present()), &asked, &names).await?;
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
        live: format!("{}{}", shell.to("live"), asked.live().query()),
        views: views(&asked, &base),
        total: total(
            &asked,
            counts.as_ref().filter(|_| is_exact).map(|counts| counts.total(&resolved.outcomes)),
            &list,
        ),
        chart: counts
            .filter(|_| !list.is_empty() && matches!(asked.get("kind"), None | Some("call" | "all")))
            .map(|counts| counts.until_now(asked.span().is_some()).strip(&resolved.outcomes, over))
            .filter(|bars| !bars.rects.is_empty()),
        chart_note: if is_exact {
            ""
        } else {
            "The bars follow the filters for server, tool and decision; they leave out the others."
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

/// What the tenant calls people, servers and policies, and its tools where a search may be for their labels. Whoever sees only their
/// own records is told no other person's name: a search for a caller would tell who there is.
pub(crate) async fn names(tx: &mut TenantTx, scope: Scope, asked: &Asked) -> Result<Names, store::Error> {
    let needs_tools = ["q", "name", "label"].into_iter().any(|name| asked.get(name).is_some());
    let tools = if needs_tools { tools::list_offered(tx).await? } else { Vec::new() };
    let mut people = people::list(tx).await?;
    if let Scope::Own(user) = scope {
        people.retain(|person| person.user == user);
    }
    Ok(Names::new(people, servers::list(tx).await?, tools).with_policies(policies::list(tx).await?))
}

/// Counts for the chart; none for those who see only their own calls, which are not counted apart.
async fn counts(
    tx: &mut TenantTx,
    scope: Scope,
    resolved: &Resolved,
    zone: Zone,
) -> Result<Option<Counts>, store::Error> {
    if !scope.is_all() {
        return Ok(None);
    }
    let filter = &resolved.filter;
    let (from, until) = (filter.from, filter.until);
    let range = Range { from, until, step_s: 60, server: filter.server, tool: filter.tool.clone() };
    let (step_s, points) = actions::series(tx, range).await?;
    Ok(Some(Counts::of(&points, step_s, (from, until), zone)))
}

async fn open(
    tx: &mut TenantTx,
    needs: &Needs,
    (scope, present): (Scope, Present),
    asked: &Asked,
    names: &Names,
) -> Result<Open, store::Error> {
    if asked.open.is_none() {
        return Ok(Open::Nothing);
    }
    let Some(id) = named(tx, scope, asked, names, present).await? else { return Ok(Open::NotFound) };
    let Some((leaf, personal)) = actions::find(tx, scope, &needs.master, id).await? else { return Ok(Open::NotFound) };
    let Some(mut call) = Call::of(&leaf, personal.as_deref(), names) else { return Ok(Open::NotFound) };
    call.read_further(tx, scope, names).await?;
    Ok(Open::Call(Box::new(call)))
}

/// The record that an address opens: itself, or the one of the call it names.
async fn named(
    tx: &mut TenantTx,
    scope: Scope,
    asked: &Asked,
    names: &Names,
    present: Present,
) -> Result<Option<RecordId>, store::Error> {
    let text = asked.open.as_deref().unwrap_or_default();
    if let Ok(record) = text.parse() {
        return Ok(Some(record));
    }
    let Ok(call) = text.parse::<CallId>() else { return Ok(None) };
    let month = Asked::default().with("range", "30d");
    let filter = Filter { call: Some(call), ..query::resolve(&month, names, present).filter };
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
    let (page, people, fault) = match found(tx, scope, (asked, resolved), (names, shell.present(), &base)).await {
        Ok((page, people)) => (page, people, String::new()),
        Err(SearchError::Database(error)) => return Err(error.into()),
        Err(error) => (nothing(), None, error.to_string()),
    };
    let to = |asked: &Asked| format!("{base}{}", asked.query());
    let url = |id: RecordId| to(&asked.opening(Some(&id.to_string())));
    let mut rows = rows::read(tx, &page.rows, (names, shell.present()), url).await?;
    for row in &mut rows {
        row.is_open = matches!(&open, Open::Call(call) if call.id == row.id);
    }
    let place = rows.iter().position(|row| row.is_open);
    let at =
        |place: Option<usize>| place.and_then(|place| rows.get(place)).map_or_else(String::new, |row| row.url.clone());
    let (before, after) = (at(place.and_then(|place| place.checked_sub(1))), at(place.map(|place| place + 1)));
    let is_empty = page.rows.is_empty() && people.as_ref().is_none_or(|people| people.list.is_empty());
    let is_blank = is_empty && !page.is_partial && fault.is_empty() && resolved.after.is_none();
    let nearest = if is_blank { nearest(tx, scope, (asked, resolved), shell).await? } else { None };
    let older = page.next.map(|next| to(&asked.with("after", &actions::to_cursor(next)).opening(None)));
    Ok(List {
        summary: people
            .as_ref()
            .map_or_else(|| summary(&rows, asked, older.is_some()), |people| people.summary.clone()),
        people,
        nearest,
        older: older.unwrap_or_default(),
        is_partial: page.is_partial,
        fault,
        is_narrowed: asked.is_narrowed(),
        kind: asked.get("kind").unwrap_or("call").to_owned(),
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

fn nothing() -> actions::Page {
    actions::Page { rows: Vec::new(), next: None, is_partial: false }
}

/// The records, or who made them.
async fn found(
    tx: &mut TenantTx,
    scope: Scope,
    (asked, resolved): (&Asked, &Resolved),
    (names, present, base): (&Names, Present, &str),
) -> Result<(actions::Page, Option<People>), SearchError> {
    if asked.is_by_person() {
        let found = super::people::people(tx, scope, (asked, resolved), (names, present, base)).await?;
        let page = actions::Page { is_partial: found.is_partial, ..nothing() };
        return Ok((page, Some(found)));
    }
    Ok((actions::search(tx, scope, resolved.filter.clone(), resolved.after, LIMIT).await?, None))
}

/// Where there is something, in words, and the way there. That nothing was found is an answer without it too.
async fn nearest(
    tx: &mut TenantTx,
    scope: Scope,
    (asked, resolved): (&Asked, &Resolved),
    shell: &Shell,
) -> Result<Option<(String, String)>, store::Error> {
    let near = match actions::nearest(tx, scope, &resolved.filter).await {
        Ok(near) => near,
        Err(SearchError::Database(error)) => return Err(error),
        Err(_) => None,
    };
    Ok(near.map(|near| {
        let zone = shell.zone;
        let to = asked.without("range").with("from", &zone.written(near.from)).with("until", &zone.written(near.until));
        let calls = near.count.map_or_else(|| "many calls".to_owned(), |count| show::plural(count, "call", "calls"));
        let earlier = show::length((resolved.filter.from - near.at).num_seconds());
        (format!("Nearest activity: {earlier} earlier ({calls})."), format!("{}{}", shell.to("activity"), to.query()))
    }))
}

/// What is listed: one of it, and several.
fn nouns(asked: &Asked) -> (&'static str, &'static str) {
    match asked.get("kind") {
        None | Some("call") => ("call", "calls"),
        Some("admin") => ("change", "changes"),
        _ => ("record", "records"),
    }
}

/// How many there are in all, by the counts or because all of them are on this page; empty where that is not known.
fn total(asked: &Asked, counted: Option<u64>, list: &List) -> String {
    let is_whole = list.older.is_empty() && !list.is_partial && list.fault.is_empty() && asked.get("after").is_none();
    let listed = is_whole.then(|| u64::try_from(list.rows.len()).unwrap_or(u64::MAX));
    let (one, many) = nouns(asked);
    let all = counted.or(listed).filter(|_| !asked.is_by_person());
    all.map_or_else(String::new, |count| show::plural(count, one, many))
}

fn summary(rows: &[Row], asked: &Asked, has_older: bool) -> String {
    let (one, many) = nouns(asked);
    let shown = show::plural(rows.len(), one, many);
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

/// Ways to the calls that ended in one way; none among changes, which nobody decides on.
pub(super) fn decisions(asked: &Asked, base: &str) -> Vec<Choice> {
    use super::outcome::Outcome;
    if asked.get("kind") == Some("admin") {
        return Vec::new();
    }
    let present = asked.get("decision").unwrap_or_default();
    let all = Choice::new("All", format!("{base}{}", asked.without("decision").query()), present.is_empty());
    let choice = |outcome: Outcome| {
        let to = asked.with("decision", outcome.word());
        Choice::new(outcome.name(), format!("{base}{}", to.query()), present == outcome.word())
    };
    std::iter::once(all).chain(Outcome::CHOICES.into_iter().map(choice)).collect()
}

fn views(asked: &Asked, base: &str) -> Vec<Choice> {
    let to = |asked: Asked| format!("{base}{}", asked.query());
    let is_by_person = asked.is_by_person();
    vec![
        Choice::new("Each", to(asked.without("group")), !is_by_person),
        Choice::new("By person", to(asked.with("group", "person")), is_by_person),
    ]
}

fn kinds(asked: &Asked, base: &str) -> Vec<Choice> {
    let present = asked.get("kind").unwrap_or("call");
    let choice = |(word, text): (&'static str, &'static str)| {
        let to = if word == "call" { asked.without("kind") } else { asked.without("decision").with("kind", word) };
        Choice::new(text, format!("{base}{}", to.query()), present == word)
    };
    [("call", "Calls"), ("admin", "Changes"), ("auth", "Sign-ins"), ("all", "Everything")]
        .into_iter()
        .map(choice)
        .collect()
}
