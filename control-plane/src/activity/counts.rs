//! Counts of calls as charts and figures show them.

use chrono::{DateTime, DurationRound as _, TimeDelta, Utc};
use store::audit::rollup::BOUNDS_MS;

use super::actions::Point;
use super::outcome::Outcome;
use crate::console::chart::{self, Bars, Column, Line};
use crate::console::{Zone, show};

/// How many calls had a duration in each bucket.
pub(crate) type Buckets = [u64; BOUNDS_MS.len() + 1];

/// Calls over time, by what became of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Counts {
    steps: Vec<Step>,
    step_s: i64,
    zone: Zone,
    is_until_now: bool,
}

/// One step of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    start: DateTime<Utc>,
    outcomes: [u64; Outcome::ALL.len()],
    buckets: Buckets,
}

impl Counts {
    /// Of points of a series, in steps of so many seconds; steps without calls are among them.
    pub(crate) fn of(points: &[Point], step_s: i32, (from, until): (DateTime<Utc>, DateTime<Utc>), zone: Zone) -> Self {
        let step_s = i64::from(step_s.max(60));
        let length = TimeDelta::seconds(step_s);
        let mut next = from.duration_trunc(length).unwrap_or(from);
        let mut all = Vec::new();
        while next < until && all.len() < 500 {
            all.push(Step { start: next, outcomes: [0; Outcome::ALL.len()], buckets: Buckets::default() });
            next += length;
        }
        for point in points {
            let Ok(place) = all.binary_search_by(|step| step.start.cmp(&point.start)) else { continue };
            let outcome = Outcome::of(Some(&point.effect), Some(&point.status)).unwrap_or(Outcome::Failed);
            all[place].outcomes[outcome as usize] += point.count.max(0).cast_unsigned();
            for (bucket, count) in all[place].buckets.iter_mut().zip(point.buckets) {
                *bucket += count.max(0).cast_unsigned();
            }
        }
        Self { steps: all, step_s, zone, is_until_now: false }
    }

    /// The same, said to end now: the last time along the bottom is told from the first, a day before.
    pub(crate) fn until_now(self, is_until_now: bool) -> Self {
        Self { is_until_now, ..self }
    }

    /// How many became this.
    pub(crate) fn count(&self, outcome: Outcome) -> u64 {
        self.steps.iter().map(|step| step.outcomes[outcome as usize]).sum()
    }

    /// How many there were of these; of all when none is named.
    pub(crate) fn total(&self, outcomes: &[Outcome]) -> u64 {
        Outcome::ALL
            .into_iter()
            .filter(|one| outcomes.is_empty() || outcomes.contains(one))
            .map(|one| self.count(one))
            .sum()
    }

    /// Durations of all calls.
    pub(crate) fn buckets(&self) -> Buckets {
        let mut all = Buckets::default();
        for step in &self.steps {
            for (all, count) in all.iter_mut().zip(step.buckets) {
                *all += count;
            }
        }
        all
    }

    /// Bars of these outcomes, or of all when none is named.
    pub(crate) fn bars(&self, outcomes: &[Outcome], over: &str) -> Bars {
        let (columns, label) = self.columns(outcomes, over);
        chart::bars(&columns, self.labels(5), label)
    }

    /// The same without a scale: the highest fills the strip.
    pub(crate) fn strip(&self, outcomes: &[Outcome], over: &str) -> Bars {
        let (columns, label) = self.columns(outcomes, over);
        chart::strip(&columns, self.labels(5), label)
    }

    fn columns(&self, outcomes: &[Outcome], over: &str) -> (Vec<Column>, String) {
        let shown = || Outcome::ALL.into_iter().filter(|one| outcomes.is_empty() || outcomes.contains(one));
        let column = |step: &Step| {
            let parts: Vec<_> = shown().map(|one| (one.class(), step.outcomes[one as usize])).collect();
            let lines = shown().map(|one| (one, step.outcomes[one as usize])).filter(|(_, count)| *count > 0);
            let lines = lines.map(|(one, count)| format!("|{} {}", one.name(), show::count(count)));
            Column { parts, tip: format!("{}{}", self.at(step.start), lines.collect::<String>()) }
        };
        let columns: Vec<_> = self.steps.iter().map(column).collect();
        let said = shown().map(|one| format!("{} {}", show::count(self.count(one)), one.name().to_lowercase()));
        (columns, format!("Calls over the {over}: {}", said.collect::<Vec<_>>().join(", ")))
    }

    /// The lines of two shares of the durations, and what they show in words.
    pub(crate) fn latency(&self, over: &str) -> (Line, Line, String) {
        let line = |share| {
            let values: Vec<_> = self.steps.iter().map(|step| quantile(&step.buckets, share)).collect();
            chart::log_line(&values.iter().map(|micros| micros.map(|micros| micros / 1000.0)).collect::<Vec<_>>())
        };
        let all = self.buckets();
        let say = |share| quantile_shown(&all, share);
        let label = format!("Latency over the {over}: p50 {}, p99 {}", say(0.5), say(0.99));
        (line(0.5), line(0.99), label)
    }

    /// Times along the bottom.
    pub(crate) fn labels(&self, count: usize) -> Vec<String> {
        let (Some(first), Some(last)) = (self.steps.first(), self.steps.last()) else { return Vec::new() };
        let whole = last.start - first.start;
        let last = count.saturating_sub(1).max(1);
        let at = |place| first.start + whole * i32::try_from(place).unwrap_or(0) / i32::try_from(last).unwrap_or(1);
        let mut labels: Vec<String> = (0..count).map(|place| self.at(at(place))).collect();
        if let Some(last) = labels.last_mut().filter(|_| self.is_until_now) {
            "now".clone_into(last);
        }
        labels
    }

    /// What one bar counts: `minute`, `15 minutes`, `6 hours`.
    pub(crate) fn unit(&self) -> String {
        match self.step_s {
            60 => "minute".to_owned(),
            3600 => "hour".to_owned(),
            86_400 => "day".to_owned(),
            604_800 => "week".to_owned(),
            step if step < 3600 => format!("{} minutes", step / 60),
            step => format!("{} hours", step / 3600),
        }
    }

    /// A time, as exact as the range is long.
    fn at(&self, time: DateTime<Utc>) -> String {
        let whole = self.step_s * i64::try_from(self.steps.len()).unwrap_or(i64::MAX);
        let format = match whole {
            ..=100_000 => "%H:%M",
            100_001..=1_000_000 => "%-d %b %H:%M",
            _ => "%-d %b",
        };
        self.zone.local(time).format(format).to_string()
    }
}

/// The duration that this share of the calls did not exceed, microseconds; the bucket's bounds are all that is known of
/// it. None where there are no calls.
#[expect(clippy::cast_precision_loss, reason = "counts of calls, and an estimate at that")]
pub(crate) fn quantile(buckets: &Buckets, share: f64) -> Option<f64> {
    let all: u64 = buckets.iter().sum();
    let wanted = all as f64 * share;
    let mut before = 0_u64;
    for (place, count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
        let low = place.checked_sub(1).map_or(0, |below| BOUNDS_MS[below]) as f64;
        let high = BOUNDS_MS.get(place).map_or(low, |bound| *bound as f64);
        if (before + count) as f64 >= wanted {
            let within = (wanted - before as f64) / *count as f64;
            return Some((low + (high - low) * within) * 1000.0);
        }
        before += count;
    }
    None
}

/// The same for people: `182 ms`; `–` where there are no calls.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and five minutes")]
pub(crate) fn quantile_shown(buckets: &Buckets, share: f64) -> String {
    quantile(buckets, share).map_or_else(|| "–".to_owned(), |micros| show::took(micros as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(start: &str, status: &str, count: i64) -> Point {
        let mut buckets = [0; BOUNDS_MS.len() + 1];
        buckets[3] = count;
        let effect = if status == "denied" { "deny" } else { "allow" };
        let (effect, status) = (effect.to_owned(), status.to_owned());
        Point { start: start.parse().unwrap(), effect, status, count, duration_us: 0, buckets }
    }

    #[test]
    fn a_step_without_calls_is_a_bar_without_height() {
        let points = [point("2026-11-20T14:01:00Z", "success", 3), point("2026-11-20T14:01:00Z", "denied", 1)];
        let range = ("2026-11-20T14:00:30Z".parse().unwrap(), "2026-11-20T14:03:00Z".parse().unwrap());
        let counts = Counts::of(&points, 60, range, Zone::UTC);
        let bars = counts.bars(&[], "last hour");
        assert_eq!((bars.hits.len(), bars.rects.len()), (3, 2));
        assert_eq!(bars.hits[1].tip, "14:01|Allowed 3|Denied 1");
        assert_eq!((counts.total(&[]), counts.total(&[Outcome::Denied]), &*counts.unit()), (4, 1, "minute"));
        assert_eq!(counts.labels(3), ["14:00", "14:01", "14:02"]);
        assert_eq!(counts.clone().until_now(true).labels(3), ["14:00", "14:01", "now"]);
        let none = Counts::of(&[], 60, range, Zone::UTC);
        assert_eq!(none.bars(&[], "x").rects, []);
    }

    #[test]
    fn a_share_of_durations_lies_within_its_bucket() {
        let mut buckets = Buckets::default();
        assert_eq!(quantile_shown(&buckets, 0.5), "–");
        // 90 of 10 to 20 ms, 10 of half a second to one.
        (buckets[1], buckets[6]) = (90, 10);
        assert_eq!(quantile_shown(&buckets, 0.5), "16 ms");
        assert_eq!(quantile_shown(&buckets, 0.99), "950 ms");
        let mut above = Buckets::default();
        above[BOUNDS_MS.len()] = 1;
        assert_eq!(quantile_shown(&above, 0.99), "300.0 s");
    }
}
