//! Searching a tenant's log within bounds, and reading one record of it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Permission, RecordId, UserId};
use secrets::MasterKey;
use store::TenantTx;
use store::audit::callers::{self, CallerCount};
use store::audit::rollup::{self, BOUNDS_MS, Range};
use store::audit::search::{self, Filter, Leaf, Place, Row};
use tokio::time::Instant;
use uuid::Uuid;

use crate::access::{Can, Permitted};
use crate::ingest::{Opener, OpeningError};
use crate::problem::causes;

/// Longest range of time that is searched for a text.
pub(crate) const TEXT_RANGE: TimeDelta = TimeDelta::days(7);
/// How long a search may take; what was found until then is given.
const BUDGET: Duration = Duration::from_secs(1);
/// Records looked at in one step of a search for a text.
const STEP: i64 = 1000;
/// Most points of a series, roughly.
const POINTS: i64 = 120;
/// From this length on a series has steps of an hour or more. A day by minutes is 1,440 times as many rows as there are
/// tools, ends and durations (37,000 in the test with 100,000 calls: 60 ms of summing), by hours a fortieth of that.
const HOURLY: TimeDelta = TimeDelta::hours(12);
/// Lengths of steps a series may have, seconds.
const STEPS: [i32; 7] = [60, 300, 900, 3600, 21_600, 86_400, 604_800];

/// Whose records may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everybody's.
    All,
    /// One person's.
    Own(UserId),
}

impl Scope {
    /// What an actor may see.
    pub(crate) fn of<P: Permitted>(can: &Can<P>) -> Self {
        let is_all = can.actor().role().allows(Permission::ViewActivity);
        if is_all { Self::All } else { Self::Own(can.actor().user()) }
    }

    /// What an actor may take along as a file.
    pub(crate) fn of_export<P: Permitted>(can: &Can<P>) -> Self {
        let is_all = can.actor().role().allows(Permission::ExportActivity);
        if is_all { Self::All } else { Self::Own(can.actor().user()) }
    }

    /// Whether these are everybody's records.
    pub(crate) fn is_all(self) -> bool {
        self == Self::All
    }

    /// Whether it holds a record of this actor.
    pub(crate) fn holds(self, actor: Option<&str>) -> bool {
        match self {
            Self::All => true,
            Self::Own(user) => actor == Some(user.to_string().as_str()),
        }
    }

    /// Narrows a search to it; false where it holds nothing of what is looked for.
    pub(crate) fn narrow(self, filter: &mut Filter) -> bool {
        let Self::Own(user) = self else { return true };
        let own = user.to_string();
        // Somebody else's records are none, not refused: the answer does not tell whether there are any.
        let asked_for_own = filter.actor.as_ref().is_none_or(|actor| *actor == own);
        filter.actor = Some(own);
        asked_for_own
    }

    fn sees(self, leaf: &Leaf) -> bool {
        self.holds(leaf.actor_id.as_deref())
    }
}

/// A page of results.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Row>,
    /// Where the next page begins; none when all of the range was looked at.
    pub(crate) next: Option<Place>,
    /// Time ran out: there may be more before `next` than is in this page.
    pub(crate) is_partial: bool,
}

/// Why a search was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SearchError {
    #[error("a text is searched for in at most {} days", TEXT_RANGE.num_days())]
    RangeTooLong,
    #[error("not even the first records could be read in the time a search has")]
    OutOfTime,
    #[error(transparent)]
    Database(store::Error),
}

impl From<store::Error> for SearchError {
    fn from(error: store::Error) -> Self {
        if error.is_out_of_time() { Self::OutOfTime } else { Self::Database(error) }
    }
}

/// A page of at most `limit` records that match, newest first.
pub(crate) async fn search(
    tx: &mut TenantTx,
    scope: Scope,
    filter: Filter,
    after: Option<Place>,
    limit: usize,
) -> Result<Page, SearchError> {
    search_within(tx, scope, filter, (after, limit), BUDGET).await
}

/// The same for whoever has more time, or less.
pub(crate) async fn search_within(
    tx: &mut TenantTx,
    scope: Scope,
    mut filter: Filter,
    (after, limit): (Option<Place>, usize),
    budget: Duration,
) -> Result<Page, SearchError> {
    if filter.text.is_some() && filter.until - filter.from > TEXT_RANGE {
        return Err(SearchError::RangeTooLong);
    }
    let mut page = Page { rows: Vec::new(), next: after, is_partial: false };
    if !scope.narrow(&mut filter) {
        return Ok(Page { next: None, ..page });
    }
    search::prepare(tx, millis(budget)).await?;
    let partitions = search::partitions(tx, filter.from, filter.until).await?;
    let wanted = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let step = if filter.text.is_some() { STEP } else { wanted };
    let deadline = Instant::now() + budget;
    loop {
        match search::step(tx, &filter, partitions, page.next, step).await {
            Ok(found) => {
                page.rows.extend(found.rows);
                page.next = found.reached;
            }
            Err(error) if error.is_out_of_time() && page.next != after => return Ok(Page { is_partial: true, ..page }),
            Err(error) => return Err(error.into()),
        }
        if page.rows.len() > limit {
            page.rows.truncate(limit);
            page.next = page.rows.last().map(|row| Place { time: row.time, id: RecordId::from_uuid(row.id) });
            return Ok(page);
        }
        if page.next.is_none() || step == wanted {
            return Ok(Page { next: None, ..page });
        }
        if Instant::now() >= deadline {
            return Ok(Page { is_partial: true, ..page });
        }
    }
}

fn millis(budget: Duration) -> u32 {
    u32::try_from(budget.as_millis()).unwrap_or(u32::MAX)
}

/// Callers' counts that are read at most, and records that are where a text is looked for.
const COUNTS: usize = 1000;

/// Who made the records that match, and how those ended; and whether time ran out before all were looked at.
pub(crate) async fn by_caller(
    tx: &mut TenantTx,
    scope: Scope,
    mut filter: Filter,
) -> Result<(Vec<CallerCount>, bool), SearchError> {
    if filter.text.is_some() {
        // No count knows of texts: the records themselves are looked at.
        let page = search(tx, scope, filter, None, COUNTS).await?;
        let one = |row: Row| CallerCount {
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            client_name: row.client_name,
            effect: row.effect,
            status: row.status,
            count: 1,
            first: row.time,
            last: row.time,
        };
        let is_partial = page.next.is_some();
        return Ok((page.rows.into_iter().map(one).collect(), is_partial));
    }
    if !scope.narrow(&mut filter) {
        return Ok((Vec::new(), false));
    }
    search::prepare(tx, millis(BUDGET)).await?;
    let partitions = search::partitions(tx, filter.from, filter.until).await?;
    let counts = callers::by_caller(tx, &filter, partitions, i64::try_from(COUNTS).unwrap_or(i64::MAX)).await?;
    Ok((counts, false))
}

/// Activity near a time in which there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Nearest {
    /// When the last of it began.
    pub(crate) at: DateTime<Utc>,
    /// A range of time that holds it, and how many there are; none where they are [`NEAR_COUNTED`] or more.
    pub(crate) from: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
    pub(crate) count: Option<usize>,
}

/// What matches but for its time, before the time that is asked for: the latest of it, in 30 days at most. Nothing where a
/// text is looked for, which would be slow.
pub(crate) async fn nearest(tx: &mut TenantTx, scope: Scope, filter: &Filter) -> Result<Option<Nearest>, SearchError> {
    if filter.text.is_some() {
        return Ok(None);
    }
    let before = Filter { from: filter.from - NEAR_WITHIN, until: filter.from, ..filter.clone() };
    let Some(at) = search(tx, scope, before, None, 1).await?.rows.first().map(|row| row.time) else { return Ok(None) };
    let (from, until) = (at - NEAR, filter.from.min(at + NEAR));
    let near = Filter { from, until, ..filter.clone() };
    let found = search(tx, scope, near, None, NEAR_COUNTED).await?;
    let count = found.next.is_none().then_some(found.rows.len());
    Ok(Some(Nearest { at, from, until, count }))
}

/// How far back activity is looked for where there is none.
const NEAR_WITHIN: TimeDelta = TimeDelta::days(30);
/// Half the time of which that activity is shown.
const NEAR: TimeDelta = TimeDelta::minutes(15);
/// So many of it are counted.
const NEAR_COUNTED: usize = 100;

/// A record, and its personal part where there is one that was not erased: canonical JSON.
pub(crate) async fn find(
    tx: &mut TenantTx,
    scope: Scope,
    master: &MasterKey,
    id: RecordId,
) -> Result<Option<(Leaf, Option<String>)>, store::Error> {
    let Some(leaf) = search::find(tx, id).await?.filter(|leaf| scope.sees(leaf)) else { return Ok(None) };
    let personal = personal(tx, master, &leaf).await?;
    Ok(Some((leaf, personal)))
}

async fn personal(tx: &mut TenantTx, master: &MasterKey, leaf: &Leaf) -> Result<Option<String>, store::Error> {
    let Some(sealed) = &leaf.pii else { return Ok(None) };
    let record = (RecordId::from_uuid(leaf.id), leaf.part_time);
    match Opener::new(master).open(tx, record, sealed).await {
        Ok(opened) => Ok(opened.and_then(|opened| String::from_utf8(opened.pii).ok())),
        Err(OpeningError::Key(error)) => {
            // All else of the record can be shown.
            tracing::error!(error = causes(&error), "the key of a tenant's personal parts does not open");
            Ok(None)
        }
        Err(OpeningError::Database(error)) => Err(error),
    }
}

/// Calls of one step of a series that were decided and ended alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) start: DateTime<Utc>,
    pub(crate) effect: String,
    pub(crate) status: String,
    pub(crate) count: i64,
    pub(crate) duration_us: i64,
    /// Counts by duration: up to each of [`BOUNDS_MS`], then above.
    pub(crate) buckets: [i64; BOUNDS_MS.len() + 1],
}

/// Counts of calls over time, and the length of a step in seconds.
pub(crate) async fn series(tx: &mut TenantTx, mut range: Range) -> Result<(i32, Vec<Point>), store::Error> {
    let length = range.until - range.from;
    let wanted = (length.num_seconds() / POINTS).max(if length > HOURLY { 3600 } else { 0 });
    range.step_s = STEPS.into_iter().find(|step| i64::from(*step) >= wanted).unwrap_or(STEPS[STEPS.len() - 1]);
    let counts = rollup::series(tx, &range).await?;
    let mut points: BTreeMap<(DateTime<Utc>, String, String), Point> = BTreeMap::new();
    for count in counts {
        let key = (count.start, count.effect.clone(), count.status.clone());
        let point = points.entry(key).or_insert_with(|| Point {
            start: count.start,
            effect: count.effect,
            status: count.status,
            count: 0,
            duration_us: 0,
            buckets: [0; BOUNDS_MS.len() + 1],
        });
        point.count += count.count;
        point.duration_us += count.duration_us;
        if let Some(bucket) = usize::try_from(count.bucket).ok().and_then(|bucket| point.buckets.get_mut(bucket)) {
            *bucket += count.count;
        }
    }
    Ok((range.step_s, points.into_values().collect()))
}

/// A place as clients carry it from page to page.
pub(crate) fn to_cursor(place: Place) -> String {
    let micros = place.time.timestamp_micros().to_be_bytes();
    URL_SAFE_NO_PAD.encode([micros.as_slice(), place.id.uuid().as_bytes()].concat())
}

/// Reads what [`to_cursor`] wrote; it names a place in the caller's own log only.
pub(crate) fn from_cursor(text: &str) -> Option<Place> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (micros, id) = bytes.split_first_chunk::<8>()?;
    let time = DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?;
    Some(Place { time, id: RecordId::from_uuid(Uuid::from_slice(id).ok()?) })
}
