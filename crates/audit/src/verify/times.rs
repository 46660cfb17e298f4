//! Check 8: times agree with the order of the log. Clocks differ, so a little is allowed.

use std::borrow::Cow;

use chrono::{DateTime, Duration, Utc};

use super::read::Read;

/// How far apart the clocks of control planes, or a clock before and after it was set, may be.
pub(super) const CLOCKS: Duration = Duration::seconds(10);

/// The latest time so far.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// Of notes that the log's owner wrote: they are written in the order of the log.
    owner: Option<String>,
}

impl Times {
    /// Takes a record, and says what is wrong.
    pub(super) fn take(&mut self, seq: u64, record: &Read<'_>) -> Option<String> {
        let within = [&record.time, &record.time_forwarded, &record.time_end];
        let mut latest: Option<&Cow<'_, str>> = None;
        for time in within.into_iter().flatten() {
            match is_before(time, latest.map_or("", |latest| latest)) {
                None => return Some(format!("record {seq} has a time that is none")),
                Some(true) => return Some(format!("record {seq} ends before it begins")),
                Some(false) => latest = Some(time),
            }
        }
        let time = record.time.as_deref()?;
        if !matches!(&*record.kind, "mark" | "heartbeat" | "boot_end" | "gap" | "gap_filled") {
            return None;
        }
        let is_back = is_before(time, self.owner.as_deref().unwrap_or_default());
        if self.owner.as_deref().is_none_or(|owner| owner < time) {
            self.owner = Some(time.to_owned());
        }
        is_back?.then(|| format!("record {seq} was written before the one that it follows"))
    }
}

/// Whether one time is before another by more than clocks may differ; `None` when one of them is no time. Both are in
/// UTC and of one form, so that they mostly compare as texts.
fn is_before(time: &str, other: &str) -> Option<bool> {
    if other.is_empty() || (time >= other && time.len() == other.len()) {
        return Some(false);
    }
    let read = |text: &str| text.parse::<DateTime<Utc>>().ok();
    Some(read(time)? < read(other)? - CLOCKS)
}
