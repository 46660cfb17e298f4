//! Check 8: times agree with the order of the log. Clocks differ, so a little is allowed.

use chrono::{DateTime, Duration, NaiveDate, Utc};

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
        let mut latest = "";
        for time in within.into_iter().flatten() {
            if is_before(time, latest) {
                return Some(format!("record {seq} ends before it begins"));
            }
            latest = time;
        }
        let time = record.time.as_deref()?;
        if !matches!(&*record.kind, "mark" | "heartbeat" | "boot_end" | "gap" | "gap_filled") {
            return None;
        }
        let is_back = is_before(time, self.owner.as_deref().unwrap_or_default());
        if self.owner.as_deref().is_none_or(|owner| owner < time) {
            self.owner = Some(time.to_owned());
        }
        is_back.then(|| format!("record {seq} was written before the one that it follows"))
    }
}

/// Whether a text is a time as records have it: of one form, so that times compare as texts, and there is such a second.
pub(super) fn is_time(text: &str) -> bool {
    const FORM: &[u8; 27] = b"dddd-dd-ddTdd:dd:dd.ddddddZ";
    let Ok(bytes) = <&[u8; 27]>::try_from(text.as_bytes()) else { return false };
    let is_digit = |form: u8, byte: u8| if form == b'd' { byte.is_ascii_digit() } else { byte == form };
    if !FORM.iter().zip(bytes).all(|(form, byte)| is_digit(*form, *byte)) {
        return false;
    }
    let two = |at: usize| u32::from(bytes[at] - b'0') * 10 + u32::from(bytes[at + 1] - b'0');
    let year = two(0) * 100 + two(2);
    let day = NaiveDate::from_ymd_opt(year.cast_signed(), two(5), two(8));
    year > 0 && day.is_some() && two(11) < 24 && two(14) < 60 && two(17) < 60
}

/// Whether one time is before another by more than clocks may differ.
fn is_before(time: &str, other: &str) -> bool {
    let read = |text: &str| text.parse::<DateTime<Utc>>().ok();
    time < other && read(time).zip(read(other)).is_some_and(|(time, other)| time < other - CLOCKS)
}
