//! What the overview counts.

use std::collections::BTreeMap;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use domain::RiskClass;
use store::TenantTx;
use store::audit::rollup::{self, BOUNDS_MS, Range};
use store::audit::search;
use store::health::{self, State};
use store::servers::Server;
use store::tools;
use uuid::Uuid;

use crate::activity::actions;
use crate::activity::counts::{Buckets, Counts, quantile_shown};
use crate::activity::outcome::Outcome;
use crate::activity::query::{Names, Span};
use crate::activity::rows::ToolName;
use crate::console::chart::{Bars, Line, spark};
use crate::console::{Present, show};
use crate::servers::Condition;

/// Tools that are listed.
const TOOLS: i64 = 9;
/// What Sluice takes is told of so many of the latest calls.
const LATEST: i64 = 1000;

/// Everything that is counted of one range of time.
#[derive(Debug)]
pub(super) struct Figures {
    pub(super) calls: u64,
    /// Of the outcomes that are always shown: how many, and their share.
    pub(super) allowed: u64,
    pub(super) denied: (u64, String),
    pub(super) failed: (u64, String),
    pub(super) waiting: u64,
    pub(super) p50: String,
    pub(super) p99: String,
    /// What Sluice took, at p99, and of how many calls that is.
    pub(super) added: String,
    pub(super) added_of: String,
    pub(super) bars: Bars,
    /// What one bar counts.
    pub(super) unit: String,
    pub(super) low: Line,
    pub(super) high: Line,
    pub(super) latency: String,
    pub(super) times: Vec<String>,
    pub(super) tools: Vec<ToolFigures>,
}

/// What is counted of one tool.
#[derive(Debug)]
pub(super) struct ToolFigures {
    pub(super) name: ToolName,
    pub(super) exposed: String,
    pub(super) risk: &'static str,
    pub(super) calls: u64,
    pub(super) line: Line,
    /// The share that did not go through, and its class where that is much.
    pub(super) bad: String,
    pub(super) bad_class: &'static str,
    pub(super) p50: String,
    pub(super) p99: String,
}

/// A server, and how it is.
#[derive(Debug)]
pub(super) struct ServerFigures {
    pub(super) id: String,
    pub(super) title: String,
    /// The kind of `ui::status`, and its word.
    pub(super) dot: &'static str,
    pub(super) word: &'static str,
    /// Its calls in words, and how long half of them took at most.
    pub(super) calls: String,
    pub(super) p50: String,
}

/// Counts one range of time.
pub(super) async fn figures(
    tx: &mut TenantTx,
    span: Span,
    names: &Names,
    Present { now, zone }: Present,
) -> Result<Figures, store::Error> {
    let (from, until) = (now - span.length, now);
    let range = Range { from, until, step_s: 60, server: None, tool: None };
    let (step_s, points) = actions::series(tx, range.clone()).await?;
    let counts = Counts::of(&points, step_s, (from, until), zone).until_now(true);
    let added = search::added(tx, from, LATEST).await?;
    let (calls, buckets) = (counts.total(&[]), counts.buckets());
    let (low, high, latency) = counts.latency(span.name);
    let share = |outcome| (counts.count(outcome), show::share(counts.count(outcome), calls));
    let micros = |micros: i64| show::took(micros.max(0).cast_unsigned());
    Ok(Figures {
        calls,
        allowed: counts.count(Outcome::Allowed),
        denied: share(Outcome::Denied),
        failed: share(Outcome::Failed),
        waiting: counts.count(Outcome::Waiting) + counts.count(Outcome::Limited),
        p50: quantile_shown(&buckets, 0.5),
        p99: quantile_shown(&buckets, 0.99),
        added: added.map_or_else(|| "–".to_owned(), |added| micros(added.p99_us)),
        added_of: added.map_or_else(String::new, |added| {
            format!("latest {}", show::plural(added.calls.max(0).cast_unsigned(), "call", "calls"))
        }),
        bars: counts.bars(&[], span.name),
        unit: counts.unit(),
        low,
        high,
        latency,
        times: counts.labels(3),
        tools: top_tools(tx, Range { step_s: step_of(span), ..range }, names).await?,
    })
}

/// Steps of a tool's line, of whole minutes: 20 in an hour, else 24.
fn step_of(span: Span) -> i32 {
    let seconds = i32::try_from(span.length.num_seconds()).unwrap_or(i32::MAX);
    if seconds == 3600 { 180 } else { seconds / 24 }
}

async fn top_tools(tx: &mut TenantTx, range: Range, names: &Names) -> Result<Vec<ToolFigures>, store::Error> {
    let step = TimeDelta::seconds(i64::from(range.step_s));
    // Steps begin with the range, so that the last is as long as the others; what is over belongs to it.
    let first = range.from.duration_trunc(TimeDelta::hours(1).min(step)).unwrap_or(range.from);
    let steps = (range.until - first).num_seconds() / i64::from(range.step_s).max(1);
    let points = rollup::top_tools(tx, &range, first, TOOLS).await?;
    let risks = if points.is_empty() { Vec::new() } else { tools::list_offered(tx).await? };
    let mut found: BTreeMap<(Uuid, String), Counted> = BTreeMap::new();
    for point in points {
        let counted = found.entry((point.server, point.tool)).or_insert_with(|| Counted::over(steps));
        let count = point.count.max(0).cast_unsigned();
        if let (Some(status), Some(bucket)) = (&point.status, point.bucket) {
            counted.add(status, bucket, count);
        }
        let Some(start) = point.start else { continue };
        let place = ((start - first).num_seconds() / i64::from(range.step_s).max(1)).min(steps - 1);
        if let Some(step) = usize::try_from(place).ok().and_then(|place| counted.steps.get_mut(place)) {
            *step += count;
        }
    }
    let risk = |server: &Server, exposed: &str| {
        let name = exposed.split_once("__").map_or(exposed, |(_, name)| name);
        let known = risks.iter().find(|tool| tool.server == server.id && (tool.name == name || tool.name == exposed));
        known.map_or("", |tool| RiskClass::as_str(tool.risk))
    };
    let mut shown: Vec<ToolFigures> = found
        .into_iter()
        .map(|((server, exposed), counted)| {
            let server = names.server(server);
            ToolFigures {
                name: ToolName::of(&exposed, server.map(|server| server.settings.title.as_str())),
                risk: server.map_or("", |server| risk(server, &exposed)),
                calls: counted.calls,
                line: spark(&counted.steps),
                bad: show::share(counted.denied + counted.failed, counted.calls),
                bad_class: counted.class(),
                p50: quantile_shown(&counted.buckets, 0.5),
                p99: quantile_shown(&counted.buckets, 0.99),
                exposed,
            }
        })
        .collect();
    shown.sort_by(|one, other| other.calls.cmp(&one.calls).then_with(|| one.exposed.cmp(&other.exposed)));
    Ok(shown)
}

/// Calls of one tool or server.
#[derive(Debug, Default)]
struct Counted {
    calls: u64,
    denied: u64,
    failed: u64,
    buckets: Buckets,
    steps: Vec<u64>,
}

impl Counted {
    fn over(steps: i64) -> Self {
        Self { steps: vec![0; usize::try_from(steps).unwrap_or(0).min(100)], ..Self::default() }
    }

    fn add(&mut self, status: &str, bucket: i16, count: u64) {
        self.calls += count;
        match Outcome::of(None, Some(status)) {
            Some(Outcome::Denied) => self.denied += count,
            Some(Outcome::Failed) => self.failed += count,
            _ => {}
        }
        if let Some(of_bucket) = usize::try_from(bucket).ok().and_then(|bucket| self.buckets.get_mut(bucket)) {
            *of_bucket += count;
        }
    }

    /// More than one in twenty is much.
    const fn class(&self) -> &'static str {
        if (self.denied + self.failed) * 20 <= self.calls {
            "faint"
        } else if self.failed > self.denied {
            "c-fail"
        } else {
            "c-deny"
        }
    }
}

/// How the servers are, by the last look and by their calls.
pub(super) async fn server_figures(
    tx: &mut TenantTx,
    span: Span,
    names: &Names,
    now: DateTime<Utc>,
) -> Result<Vec<ServerFigures>, store::Error> {
    let range = Range { from: now - span.length, until: now, step_s: step_of(span), server: None, tool: None };
    let mut counted: BTreeMap<Uuid, Counted> = BTreeMap::new();
    for count in rollup::by_server(tx, &range).await? {
        let of_server = counted.entry(count.server).or_default();
        of_server.add(&count.status, count.bucket, count.count.max(0).cast_unsigned());
    }
    let looks = health::list(tx).await?;
    let none = Counted::default();
    let figures = |server: &Server| {
        let counted = counted.get(&server.id.uuid()).unwrap_or(&none);
        let look = looks.iter().find(|look| look.server == server.id).map(|look| look.state);
        let (dot, word) = status(server, look, counted);
        let forwarded = counted.calls - counted.denied;
        ServerFigures {
            id: server.id.to_string(),
            title: server.settings.title.clone(),
            dot,
            word,
            calls: match forwarded {
                0 => format!("no calls in the {}", span.name),
                _ => format!(
                    "{} of {} went well",
                    show::share(forwarded - counted.failed, forwarded),
                    show::plural(forwarded, "call", "calls")
                ),
            },
            p50: quantile_shown(&counted.buckets, 0.5),
        }
    };
    Ok(names.servers.iter().map(figures).collect())
}

fn status(server: &Server, look: Option<State>, counted: &Counted) -> (&'static str, &'static str) {
    const SLOW_MS: u64 = 1000;
    let timed: u64 = counted.buckets.iter().sum();
    let slow: u64 = counted
        .buckets
        .iter()
        .enumerate()
        .filter(|(place, _)| BOUNDS_MS.get(*place).is_none_or(|bound| *bound > SLOW_MS))
        .map(|(_, count)| count)
        .sum();
    let condition = Condition::of(server, look);
    if condition.kind == "ok" && slow * 2 > timed {
        return ("wait", "Slow");
    }
    (condition.kind, condition.word)
}
