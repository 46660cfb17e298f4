//! How much a server is called, from the hourly counts: figures for its pages. Pure.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use domain::Alias;
use mcp::name::{Named, Prefix, expose};
use store::audit::usage::{OfServer, OfTool};

use crate::activity::counts::{Buckets, quantile_shown};
use crate::activity::outcome::Outcome;

/// Hours that pages look back.
const HOURS: i64 = 24;
/// A sparkline's width and height.
const WIDTH: f64 = 72.0;
const HEIGHT: f64 = 20.0;

/// Where the last day begins: the hours that are counted are whole ones.
pub(super) fn since(now: DateTime<Utc>) -> DateTime<Utc> {
    let hour = now.duration_trunc(TimeDelta::hours(1)).unwrap_or(now);
    hour - TimeDelta::hours(HOURS - 1)
}

/// How often each of a server's tools was called, by the names that clients call them.
#[derive(Debug, Default)]
pub(super) struct ByName(HashMap<String, u64>);

impl ByName {
    pub(super) fn new(used: &[OfTool]) -> Self {
        Self(used.iter().map(|used| (used.tool.clone(), used.count.unsigned_abs())).collect())
    }

    /// The calls of a tool, whether clients saw the server's prefix then or not.
    pub(super) fn of(&self, alias: &Alias, tool: &str) -> u64 {
        let one = [Named { alias: alias.as_str(), tool }];
        let seen = [Prefix::Always, Prefix::OnConflict, Prefix::None];
        let names: BTreeSet<String> =
            seen.into_iter().flat_map(|prefix| expose(prefix, &one, &secrets::sha256)).flatten().collect();
        names.iter().filter_map(|name| self.0.get(name)).sum()
    }
}

/// The last day of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// Calls, allowed or not.
    pub(super) calls: u64,
    /// Calls that Sluice denied.
    pub(super) denied: u64,
    /// Allowed calls that failed.
    pub(super) failed: u64,
    /// Calls by hour, oldest first.
    hours: Vec<u64>,
    /// Calls by bucket of their duration.
    buckets: Buckets,
}

impl Usage {
    /// Adds one count of this server, of the day that begins at `since`.
    pub(super) fn add(&mut self, since: DateTime<Utc>, row: &OfServer) {
        let count = row.count.unsigned_abs();
        self.calls += count;
        // As the overview counts them: by how they ended.
        match Outcome::of(None, Some(&row.status)) {
            Some(Outcome::Denied) => self.denied += count,
            Some(Outcome::Failed) => self.failed += count,
            _ => {}
        }
        if let Some(bucket) = usize::try_from(row.bucket).ok().and_then(|place| self.buckets.get_mut(place)) {
            *bucket += count;
        }
        self.hours.resize(usize::try_from(HOURS).unwrap_or_default(), 0);
        let place = usize::try_from((row.hour - since).num_hours()).ok();
        if let Some(hour) = place.and_then(|place| self.hours.get_mut(place)) {
            *hour += count;
        }
    }

    /// How long half of the calls took at most; `–` without any.
    pub(super) fn p50(&self) -> String {
        quantile_shown(&self.buckets, 0.5)
    }

    /// How long 99 in 100 took at most.
    pub(super) fn p99(&self) -> String {
        quantile_shown(&self.buckets, 0.99)
    }

    /// The line of a sparkline, hour by hour; empty without calls.
    pub(super) fn line(&self) -> String {
        let most = self.hours.iter().copied().max().unwrap_or_default();
        if most == 0 {
            return String::new();
        }
        let mut path = String::new();
        for (place, count) in self.hours.iter().enumerate() {
            let part = |part: u64, whole: u64| f64::from(u32::try_from(part * 1000 / whole).unwrap_or(0)) / 1000.0;
            let x = WIDTH * part(u64::try_from(place).unwrap_or(0), (self.hours.len() as u64 - 1).max(1));
            let y = (HEIGHT - 2.0).mul_add(-part(*count, most), HEIGHT - 1.0);
            // Writing to memory does not fail.
            let _ = write!(path, "{}{x:.1} {y:.1}", if place == 0 { 'M' } else { 'L' });
        }
        path
    }

    /// The same, closed below.
    pub(super) fn area(&self) -> String {
        format!("{}L{WIDTH} {HEIGHT}L0 {HEIGHT}Z", self.line())
    }
}

#[cfg(test)]
mod tests {
    use domain::ServerId;
    use store::audit::rollup::UNTIMED;
    use uuid::Uuid;

    use super::*;

    fn row(hour: DateTime<Utc>, effect: &str, status: &str, bucket: i16, count: i64) -> OfServer {
        let (effect, status) = (effect.to_owned(), status.to_owned());
        OfServer { server: ServerId::from_uuid(Uuid::nil()), hour, effect, status, bucket, count }
    }

    #[test]
    fn a_day_is_counted_by_outcome_hour_and_duration() {
        let now: DateTime<Utc> = "2026-11-20T14:03:12Z".parse().unwrap();
        let since = since(now);
        assert_eq!(since, "2026-11-19T15:00:00Z".parse::<DateTime<Utc>>().unwrap());
        let mut usage = Usage::default();
        assert_eq!((usage.p99(), usage.line()), ("–".to_owned(), String::new()));
        usage.add(since, &row(since, "allow", "success", 0, 98));
        usage.add(since, &row(since + TimeDelta::hours(23), "allow", "timeout", 6, 2));
        usage.add(since, &row(since + TimeDelta::hours(23), "deny", "denied", UNTIMED, 5));
        usage.add(since, &row(since, "require_approval", "denied", UNTIMED, 3));
        assert_eq!(
            (usage.calls, usage.denied, usage.failed),
            (108, 8, 2),
            "whoever should have approved was not asked"
        );
        assert!(usage.line().starts_with("M0.0 1.0L"), "{}", usage.line());
        assert_eq!([usage.p50(), usage.p99()], ["5.1 ms", "750 ms"]);
        usage.add(since, &row(since, "allow", "unknown", UNTIMED, 900));
        assert_eq!([usage.p50(), usage.p99()], ["5.1 ms", "750 ms"], "none took anything");
        assert!(usage.area().ends_with("L72 20L0 20Z"));
    }
}
