//! How values are shown to people: numbers, times, sizes, and texts that somebody hostile may have written.
//!
//! Templates call these as `show::count(n)`; they format nothing themselves.

pub(crate) use audit::text::is_hidden;
use chrono::{DateTime, SecondsFormat, Utc};

/// A number with thousands separators: `12,481`.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A number of things: `1 call`, `2 calls`.
pub(crate) fn plural(number: impl TryInto<u64> + Copy, one: &str, many: &str) -> String {
    let is_one = number.try_into().is_ok_and(|number: u64| number == 1);
    format!("{} {}", count(number), if is_one { one } else { many })
}

/// A time that something took, of microseconds: `35 µs`, `0.4 ms`, `182 ms`, `10.0 s`.
pub(crate) fn took(micros: u64) -> String {
    match micros {
        0..100 => format!("{micros} µs"),
        100..10_000 => format!("{}.{} ms", micros / 1000, micros % 1000 / 100),
        10_000..1_000_000 => format!("{} ms", (micros + 500) / 1000),
        _ => format!("{}.{} s", micros / 1_000_000, micros % 1_000_000 / 100_000),
    }
}

/// A size: `812 B`, `3.1 kB`, `12.0 MB`.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{}.{} kB", bytes / 1000, bytes % 1000 / 100),
        _ => format!("{}.{} MB", count(bytes / 1_000_000), bytes % 1_000_000 / 100_000),
    }
}

/// A share of a whole: `1.7%`; none of nothing.
pub(crate) fn share(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "–".to_owned();
    }
    let tenths = (u128::from(part) * 1000 + u128::from(whole) / 2) / u128::from(whole);
    format!("{}.{}%", tenths / 10, tenths % 10)
}

/// The same beside a number; nothing of nothing.
pub(crate) fn part(part: u64, whole: u64) -> String {
    if whole == 0 { String::new() } else { share(part, whole) }
}

/// How long ago: `12 s ago`, `4 h ago`; from a day on the date: `19 Nov`.
pub(crate) fn ago(at: &DateTime<Utc>, now: &DateTime<Utc>) -> String {
    let seconds = (*now - *at).num_seconds();
    match seconds {
        ..0 => until(at, now),
        0..5 => "just now".to_owned(),
        5..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => date(at, now),
    }
}

/// A length of time, roughly: `12 min`, `3 h`, `2 days`.
pub(crate) fn length(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{} s", seconds.max(0)),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h", seconds / 3600),
        _ => plural(seconds.unsigned_abs() / 86_400, "day", "days"),
    }
}

/// How long from now: `in 24 min`, `in 3 days`; from 60 days on the date.
pub(crate) fn until(at: &DateTime<Utc>, now: &DateTime<Utc>) -> String {
    let seconds = (*at - *now).num_seconds();
    match seconds {
        ..=0 => "now".to_owned(),
        1..60 => format!("in {seconds} s"),
        60..3600 => format!("in {} min", seconds / 60),
        3600..86_400 => format!("in {} h", seconds / 3600),
        // To the nearest day: what is good for seven days has seven a minute later.
        86_400..5_184_000 => format!("in {}", plural((seconds.unsigned_abs() + 43_200) / 86_400, "day", "days")),
        _ => date(at, now),
    }
}

/// The day: `19 Nov`, with the year when it is another one.
pub(crate) fn date(at: &DateTime<Utc>, now: &DateTime<Utc>) -> String {
    let same_year = at.format("%Y").to_string() == now.format("%Y").to_string();
    at.format(if same_year { "%-d %b" } else { "%-d %b %Y" }).to_string()
}

/// The exact time for people: `2026-11-20 14:03:12 UTC`.
pub(crate) fn exact(at: &DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// The exact time for programs, as `<time datetime>` wants it.
pub(crate) fn iso(at: &DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The letters of an avatar: `Ana Duarte` is `AD`.
pub(crate) fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().find(|char| char.is_alphanumeric()));
    let first = words.next();
    let last = words.next_back();
    let letters: String = [first, last].into_iter().flatten().flat_map(char::to_uppercase).take(3).collect();
    if letters.is_empty() { "?".to_owned() } else { letters }
}

/// Two letters for what is no person: of two words their first ones, of one its beginning.
pub(crate) fn tile(name: &str) -> String {
    let letters = initials(name);
    let next = name.trim().chars().nth(1).filter(|_| letters.chars().count() == 1).filter(char::is_ascii_alphanumeric);
    letters.chars().chain(next).collect()
}

/// Which of four tints an avatar has: the same name always the same.
pub(crate) fn tint(name: &str) -> &'static str {
    ["", "b", "c", "d"][usize::from(secrets::sha256(name.as_bytes())[0] % 4)]
}

/// A browser by its `User-Agent`, as people know it: `Firefox on Linux`.
pub(crate) fn browser(agent: &str) -> String {
    let first =
        |names: &[(&str, &'static str)]| names.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    let browser = first(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = first(&[
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (browser, system) {
        (Some(browser), Some(system)) => format!("{browser} on {system}"),
        (Some(browser), None) => browser.to_owned(),
        (None, _) if agent.is_empty() => "A browser that says nothing of itself".to_owned(),
        (None, _) => clip(agent, 60),
    }
}

/// A piece of a text that somebody else wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// What to show.
    pub(crate) text: String,
    /// Whether it stands for a character that would not be seen, or would change how its neighbours are seen.
    pub(crate) is_hidden: bool,
}

/// A text in pieces, its invisible and direction-changing characters named: `U+202E`.
pub(crate) fn pieces(text: impl AsRef<str>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    for char in text.as_ref().chars() {
        if is_hidden(char) {
            if !plain.is_empty() {
                pieces.push(Piece { text: std::mem::take(&mut plain), is_hidden: false });
            }
            pieces.push(Piece { text: format!("U+{:04X}", u32::from(char)), is_hidden: true });
        } else {
            plain.push(char);
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece { text: plain, is_hidden: false });
    }
    pieces
}

/// The same as one text, for attributes and titles: `a⟨U+202E⟩b`.
pub(crate) fn visible(text: impl AsRef<str>) -> String {
    let shown = pieces(text).into_iter();
    shown.map(|piece| if piece.is_hidden { format!("⟨{}⟩", piece.text) } else { piece.text }).collect()
}

/// What a problem says, as a sentence: with a capital letter and a full stop.
pub(crate) fn sentence(text: &str) -> String {
    let mut chars = text.trim().chars();
    let Some(first) = chars.next() else { return String::new() };
    let rest = chars.as_str();
    let end = if rest.ends_with(['.', '!', '?', ':', '…']) { "" } else { "." };
    format!("{}{rest}{end}", first.to_uppercase())
}

/// The first of several names, and how many more there are: `Mei, Jonas and 12 more`.
pub(crate) fn some_of<S: AsRef<str>>(names: &[S], most: usize, between: &str) -> String {
    let shown: Vec<&str> = names.iter().take(most).map(AsRef::as_ref).collect();
    let shown = shown.join(between);
    match names.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown} and {} more", count(more)),
    }
}

/// The beginning of a text, at most `max` characters; what was left out shows as `…`.
pub(crate) fn clip(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!(
            [count(0_u32), count(999_u32), count(1000_u32), count(12_481_377_u64)],
            ["0", "999", "1,000", "12,481,377"]
        );
        assert_eq!([plural(1_u64, "call", "calls"), plural(0_u64, "call", "calls")], ["1 call", "0 calls"]);
        assert_eq!([took(35), took(412), took(182_400), took(10_040_000)], ["35 µs", "0.4 ms", "182 ms", "10.0 s"]);
        assert_eq!([bytes(812), bytes(3141), bytes(12_000_000)], ["812 B", "3.1 kB", "12.0 MB"]);
        assert_eq!([share(17, 1000), share(1, 3), share(0, 0)], ["1.7%", "33.3%", "–"]);
    }

    #[test]
    fn times_are_relative_within_a_day_and_dates_beyond() {
        let now = at("2026-11-20T14:00:00Z");
        let ago = |text| ago(&at(text), &now);
        assert_eq!(ago("2026-11-20T13:59:48Z"), "12 s ago");
        assert_eq!(ago("2026-11-20T09:59:00Z"), "4 h ago");
        assert_eq!(ago("2026-11-19T13:00:00Z"), "19 Nov");
        assert_eq!(ago("2025-11-19T13:00:00Z"), "19 Nov 2025");
        assert_eq!(until(&at("2026-11-23T15:00:00Z"), &now), "in 3 days");
        assert_eq!(exact(&now), "2026-11-20 14:00:00 UTC");
    }

    #[test]
    fn what_would_not_be_seen_is_named() {
        assert_eq!(visible("safe\u{202e}txt.exe"), "safe⟨U+202E⟩txt.exe");
        assert_eq!(visible("a\u{200b}b\u{e0041}"), "a⟨U+200B⟩b⟨U+E0041⟩");
        assert_eq!(visible("<img onerror=x> plain\n😀"), "<img onerror=x> plain\n😀");
        assert_eq!(clip("héllo", 2), "hé…");
        assert_eq!(clip("hé", 2), "hé");
    }

    #[test]
    fn what_is_said_is_a_sentence_and_a_list_says_what_it_leaves_out() {
        assert_eq!(sentence("the database did not answer"), "The database did not answer.");
        assert_eq!([sentence("Done."), sentence(" éclair"), sentence("")], ["Done.", "Éclair.", ""]);
        let names = ["Mei", "Jonas", "Sam"];
        assert_eq!(some_of(&names, 3, ", "), "Mei, Jonas, Sam");
        assert_eq!(some_of(&names, 1, " · "), "Mei and 2 more");
    }

    #[test]
    fn initials_come_from_the_first_and_the_last_word() {
        assert_eq!(
            [initials("Ana Maria Duarte"), initials("mei"), initials("🙂"), initials("")],
            ["AD", "M", "?", "?"]
        );
        assert_eq!([tile("GitHub"), tile("Demo notes"), tile("x"), tile("🙂a")], ["Gi", "DN", "X", "Aa"]);
    }
}
