//! Calls by who made them: the answer to "who was it".

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use store::TenantTx;
use store::audit::callers::CallerCount;

use super::actions::{self, Scope, SearchError};
use super::outcome::Outcome;
use super::query::{Asked, Names, Resolved};
use super::rows;
use crate::console::chart::{Segment, segments};
use crate::console::{Present, show};

/// Callers that are listed.
const LISTED: usize = 50;

/// What one caller did through one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) who: String,
    pub(crate) is_person: bool,
    /// The program, as it calls itself.
    pub(crate) client: String,
    pub(crate) calls: u64,
    /// How the calls ended, as a bar and in words.
    pub(crate) bar: Vec<Segment>,
    pub(crate) outcomes: String,
    /// When the first and the last of them began.
    pub(crate) first: Shown,
    pub(crate) last: Shown,
    /// Where the calls are; empty where they can't be asked for by their caller.
    pub(crate) url: String,
}

/// A time as the table shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) at: DateTime<Utc>,
    pub(crate) day: String,
    pub(crate) clock: String,
}

/// The callers, and whether time ran out before all calls were looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct People {
    pub(crate) list: Vec<Caller>,
    pub(crate) summary: String,
    pub(crate) is_partial: bool,
}

/// Counts of one caller.
#[derive(Debug)]
struct Counted {
    outcomes: [u64; Outcome::ALL.len()],
    first: DateTime<Utc>,
    last: DateTime<Utc>,
}

/// Who made the calls that are asked for, whoever made most first; `base` is the page.
pub(crate) async fn people(
    tx: &mut TenantTx,
    scope: Scope,
    (asked, resolved): (&Asked, &Resolved),
    (names, present, base): (&Names, Present, &str),
) -> Result<People, SearchError> {
    let (counts, is_partial) = actions::by_caller(tx, scope, resolved.filter.clone()).await?;
    let mut callers: BTreeMap<_, Counted> = BTreeMap::new();
    for count in &counts {
        let key = (&count.actor_kind, &count.actor_id, &count.client_name);
        callers.entry(key).or_insert_with(|| Counted::new(count)).add(count);
    }
    let ids: BTreeSet<_> = counts.iter().map(|count| (&count.actor_kind, &count.actor_id)).collect();
    let ids = ids.len();
    let today = present.zone.local(present.now).date_naive();
    let mut list: Vec<Caller> = callers
        .into_iter()
        .map(|((kind, id, client), counted)| {
            let (who, is_person) = rows::caller(kind.as_deref(), id.as_deref(), names);
            let can_ask = id.as_deref().is_some_and(|id| names.find_caller(id).is_ok());
            let to = |id: &str| format!("{base}{}", asked.without("group").with("caller", id).query());
            let url = id.as_deref().filter(|_| can_ask).map_or_else(String::new, to);
            counted.shown((who, is_person, url), client.as_deref(), (present, today))
        })
        .collect();
    list.sort_by(|one, other| other.calls.cmp(&one.calls).then(other.last.at.cmp(&one.last.at)));
    let summary = summary(&list, ids);
    list.truncate(LISTED);
    Ok(People { list, summary, is_partial })
}

/// How many records are of how many people; a row of the list is of one of them with one program.
fn summary(list: &[Caller], callers: usize) -> String {
    let calls: u64 = list.iter().map(|caller| caller.calls).sum();
    let is_people = list.iter().all(|caller| caller.is_person);
    let (one, many) = if is_people { ("person", "people") } else { ("caller", "callers") };
    let clients: BTreeSet<&str> =
        list.iter().map(|caller| &*caller.client).filter(|client| !client.is_empty()).collect();
    let with = match clients.len() {
        0 => String::new(),
        count => format!(" with {}", show::plural(count, "client", "clients")),
    };
    let more = if list.len() > LISTED { format!("; {LISTED} of {} rows shown", list.len()) } else { String::new() };
    format!("{} by {}{with}{more}", show::plural(calls, "record", "records"), show::plural(callers, one, many))
}

impl Counted {
    fn new(count: &CallerCount) -> Self {
        Self { outcomes: Default::default(), first: count.first, last: count.last }
    }

    fn add(&mut self, count: &CallerCount) {
        let outcome = Outcome::of(count.effect.as_deref(), count.status.as_deref()).unwrap_or(Outcome::Allowed);
        self.outcomes[outcome as usize] += count.count.max(0).cast_unsigned();
        (self.first, self.last) = (self.first.min(count.first), self.last.max(count.last));
    }

    fn shown(
        &self,
        (who, is_person, url): (String, bool, String),
        client: Option<&str>,
        (present, today): (Present, NaiveDate),
    ) -> Caller {
        let ended = || Outcome::ALL.into_iter().map(|one| (one, self.outcomes[one as usize])).filter(|(_, n)| *n > 0);
        let words = ended().map(|(one, count)| format!("{} {}", show::count(count), one.name().to_lowercase()));
        let time = |at: DateTime<Utc>| {
            let local = present.zone.local(at);
            let day = if local.date_naive() == today { String::new() } else { rows::day(local.date_naive(), today) };
            Shown { at, day, clock: local.format("%H:%M:%S").to_string() }
        };
        Caller {
            who,
            is_person,
            client: client.unwrap_or_default().to_owned(),
            calls: self.outcomes.iter().sum(),
            bar: segments(&ended().map(|(one, count)| (one.class(), count)).collect::<Vec<_>>()),
            outcomes: words.collect::<Vec<_>>().join(", "),
            first: time(self.first),
            last: time(self.last),
            url,
        }
    }
}
