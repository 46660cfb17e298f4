//! Times in words, as people type them into the search bar: `yesterday 3pm`, `last monday`, `2h ago`, `last 3 days`.
//!
//! A day is meant whole, a time of day half an hour before and after. The libraries that were looked at read a text that
//! is nothing but a time, and give one instant; here words stand beside it, and what is meant is a range.

use std::ops::Range;

use chrono::{DateTime, Datelike as _, Days, Month, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};

use crate::console::Present;

/// How far to both sides a time of day reaches.
const AROUND: TimeDelta = TimeDelta::minutes(30);
/// Nodes' clocks are believed so far ahead.
const AHEAD: TimeDelta = TimeDelta::minutes(5);
/// What may stand before a time, and says nothing by itself.
const LEADS: [&str; 6] = ["at", "on", "around", "about", "since", "from"];

/// A time that words name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) from: DateTime<Utc>,
    pub(crate) until: DateTime<Utc>,
    /// Whether a time of day was named: then one asks who it was.
    pub(crate) is_moment: bool,
    /// Which of the words name it.
    pub(crate) words: Range<usize>,
}

/// What a phrase means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meaning {
    Day(NaiveDate),
    Moment(DateTime<Utc>),
    Latest(TimeDelta),
}

/// The first time that is named among words.
pub(crate) fn find(words: &[&str], present: Present) -> Option<Said> {
    let words: Vec<String> = words.iter().map(|word| plain(word)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    (0..words.len()).find_map(|start| {
        let (length, meaning) = phrase(&words[start..], present)?;
        let before = words[..start].iter().rev().take_while(|word| LEADS.contains(word)).count();
        let is_since = words[start - before..start].contains(&"since");
        said(meaning, is_since, present, start - before..start + length)
    })
}

/// A word in lower case, without what sentences put around words: `3 p.m.?` has the words `3` and `pm`.
fn plain(word: &str) -> String {
    let word = word.to_lowercase().replace("a.m", "am").replace("p.m", "pm");
    word.trim_matches(['?', '!', ',', ';', '.', '(', ')', '"']).to_owned()
}

fn said(meaning: Meaning, is_since: bool, present: Present, words: Range<usize>) -> Option<Said> {
    let midnight = |day: NaiveDate| present.zone.read(day.and_time(NaiveTime::MIN));
    let (from, until) = match meaning {
        Meaning::Day(day) => (midnight(day), midnight(day.succ_opt()?)),
        Meaning::Moment(at) if is_since => (at, at),
        Meaning::Moment(at) => (at - AROUND, at + AROUND),
        Meaning::Latest(length) => (present.now - length, present.now + AHEAD),
    };
    let until = if is_since { present.now + AHEAD } else { until };
    (from < until).then_some(Said { from, until, is_moment: matches!(meaning, Meaning::Moment(_)) && !is_since, words })
}

/// What the first of these words mean together, and how many they are.
fn phrase(words: &[&str], present: Present) -> Option<(usize, Meaning)> {
    let today = present.zone.local(present.now).date_naive();
    let at = |day: NaiveDate, clock: NaiveTime| Meaning::Moment(present.zone.read(day.and_time(clock)));
    if let Some((length, meaning)) = relative(words, present, today) {
        return Some((length, meaning));
    }
    if let Some((length, day)) = day(words, today) {
        let skipped = usize::from(words.get(length).is_some_and(|word| LEADS.contains(word)));
        let rest = words.get(length + skipped..).unwrap_or_default();
        return Some(
            clock(rest).map_or((length, Meaning::Day(day)), |(more, clock)| (length + skipped + more, at(day, clock))),
        );
    }
    let (length, clock) = clock(words)?;
    let skipped = usize::from(words.get(length).is_some_and(|word| LEADS.contains(word)));
    if let Some((more, day)) = day(words.get(length + skipped..).unwrap_or_default(), today) {
        return Some((length + skipped + more, at(day, clock)));
    }
    // The last time that clocks showed it.
    let is_past = present.zone.read(today.and_time(clock)) <= present.now;
    let day = if is_past { today } else { today.pred_opt()? };
    Some((length, at(day, clock)))
}

/// `2h ago`, `3 days ago`, `last hour`, `past 20 minutes`.
fn relative(words: &[&str], present: Present, today: NaiveDate) -> Option<(usize, Meaning)> {
    if let ["last" | "past", rest @ ..] = words {
        let (length, amount) = amount(rest).or_else(|| Some((1, unit(rest.first()?)?)))?;
        return Some((length + 1, Meaning::Latest(amount)));
    }
    let (length, amount) = amount(words)?;
    if words.get(length) != Some(&"ago") {
        return None;
    }
    let days = amount.num_days().unsigned_abs();
    let meaning = if days > 0 && amount == TimeDelta::days(amount.num_days()) {
        Meaning::Day(today.checked_sub_days(Days::new(days))?)
    } else {
        Meaning::Moment(present.now - amount)
    };
    Some((length + 1, meaning))
}

/// `2h`, `20 minutes`, `an hour`.
fn amount(words: &[&str]) -> Option<(usize, TimeDelta)> {
    let first = *words.first()?;
    let digits = first.len() - first.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let (number, rest) = first.split_at(digits);
    let number: i32 = match first {
        "a" | "an" => 1,
        _ if digits <= 4 => number.parse().ok()?,
        _ => return None,
    };
    let (length, unit) = if rest.is_empty() || digits == 0 { (2, unit(words.get(1)?)?) } else { (1, unit(rest)?) };
    (number > 0).then_some((length, unit * number))
}

fn unit(word: &str) -> Option<TimeDelta> {
    Some(match word {
        "m" | "min" | "mins" | "minute" | "minutes" => TimeDelta::minutes(1),
        "h" | "hr" | "hrs" | "hour" | "hours" => TimeDelta::hours(1),
        "d" | "day" | "days" => TimeDelta::days(1),
        "w" | "week" | "weeks" => TimeDelta::days(7),
        _ => return None,
    })
}

/// `today`, `yesterday`, `monday`, `last monday`, `2026-11-19`, `19 nov`, `november 19`.
fn day(words: &[&str], today: NaiveDate) -> Option<(usize, NaiveDate)> {
    let first = *words.first()?;
    match first {
        "today" => return Some((1, today)),
        "yesterday" => return Some((1, today.pred_opt()?)),
        "last" => return Some((2, weekday(words.get(1)?, today)?)),
        _ => {}
    }
    if let Some(day) = weekday(first, today) {
        return Some((1, day));
    }
    if let Ok(day) = first.parse::<NaiveDate>() {
        return (1970..=9000).contains(&day.year()).then_some((1, day));
    }
    let second = *words.get(1)?;
    let day = date(first, second, today).or_else(|| date(second, first, today))?;
    Some((2, day))
}

/// The last such day before today.
fn weekday(word: &str, today: NaiveDate) -> Option<NaiveDate> {
    // The short names are words of their own: `sat`, `sun`, `mon`.
    let wanted: Weekday = (word.len() > 3).then(|| word.parse().ok())??;
    let back = (today.weekday().num_days_from_monday() + 7 - wanted.num_days_from_monday()) % 7;
    today.checked_sub_days(Days::new(u64::from(if back == 0 { 7 } else { back })))
}

/// The last such day up to today.
fn date(number: &str, month: &str, today: NaiveDate) -> Option<NaiveDate> {
    let month = month.parse::<Month>().ok()?.number_from_month();
    let bare = ["st", "nd", "rd", "th"].into_iter().find_map(|ending| number.strip_suffix(ending));
    let number: u32 = bare.unwrap_or(number).parse().ok()?;
    let of_year = |year| NaiveDate::from_ymd_opt(year, month, number);
    of_year(today.year()).filter(|day| *day <= today).or_else(|| of_year(today.year() - 1))
}

/// `15:00`, `3pm`, `3 pm`, `3:30pm`, `noon`, `midnight`.
fn clock(words: &[&str]) -> Option<(usize, NaiveTime)> {
    let first = *words.first()?;
    match first {
        "noon" => return Some((1, NaiveTime::from_hms_opt(12, 0, 0)?)),
        "midnight" => return Some((1, NaiveTime::MIN)),
        _ => {}
    }
    let half = |word: &str| match word {
        "am" => Some(0),
        "pm" => Some(12),
        _ => None,
    };
    let digits = first.trim_end_matches(|char: char| char.is_ascii_alphabetic());
    let (length, half) = match first.strip_prefix(digits) {
        Some("") => words.get(1).and_then(|word| half(word)).map_or((1, None), |half| (2, Some(half))),
        Some(ending) => (1, Some(half(ending)?)),
        None => return None,
    };
    let (hour, minute) = match digits.split_once(':') {
        Some((hour, minute)) if minute.len() == 2 => (hour, minute.parse().ok()?),
        Some(_) => return None,
        // A number alone is no time.
        None => (digits, half.map(|_| 0)?),
    };
    let hour: u32 = if hour.len() <= 2 { hour.parse().ok()? } else { return None };
    let hour = match half {
        Some(half) => (1..=12).contains(&hour).then_some(hour % 12 + half)?,
        None => hour,
    };
    Some((length, NaiveTime::from_hms_opt(hour, minute, 0)?))
}

#[cfg(test)]
mod tests;
