//! What people type for times, and what it means.

use proptest::prelude::*;

use super::*;
use crate::console::Zone;

/// A Friday, 15:00 in Paris.
fn present() -> Present {
    Present { now: "2026-11-20T14:00:00Z".parse().unwrap(), zone: Zone::find("Europe/Paris").unwrap() }
}

/// `from until`, as clocks in Paris show them, and the words that are left.
fn read(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let Some(said) = find(&words, present()) else { return "nothing".to_owned() };
    let shown = |at| present().zone.local(at).format("%d %H:%M").to_string();
    let left: Vec<&str> = [&words[..said.words.start], &words[said.words.end..]].concat();
    format!("{} to {} / {}", shown(said.from), shown(said.until), left.join(" "))
        .trim_end_matches([' ', '/'])
        .to_owned()
}

#[test]
fn a_time_of_day_reaches_half_an_hour_to_both_sides() {
    for text in ["yesterday 3pm", "yesterday at 3 p.m.?", "3 PM yesterday", "yesterday 15:00", "at 15:00 on 19 nov"] {
        assert_eq!(read(text), "19 14:30 to 19 15:30", "{text}");
    }
    assert_eq!(read("today 14:30"), "20 14:00 to 20 15:00");
    assert_eq!(read("14:30"), "20 14:00 to 20 15:00");
    assert_eq!(read("16:30"), "19 16:00 to 19 17:00", "the last time it was half past four");
    assert_eq!(read("2h ago"), "20 12:30 to 20 13:30");
    assert_eq!(read("an hour ago"), "20 13:30 to 20 14:30");
    assert_eq!(read("12am today"), "19 23:30 to 20 00:30");
    assert_eq!(read("last monday at noon"), "16 11:30 to 16 12:30");
}

#[test]
fn a_day_is_meant_whole() {
    for text in ["yesterday", "19 nov", "November 19th", "2026-11-19", "last thursday", "thursday", "1 day ago"] {
        assert_eq!(read(text), "19 00:00 to 20 00:00", "{text}");
    }
    assert_eq!(read("last friday"), "13 00:00 to 14 00:00", "not today");
    assert_eq!(read("2 weeks ago"), "06 00:00 to 07 00:00");
    assert_eq!(read("last 2h"), "20 13:00 to 20 15:05");
    assert_eq!(read("last hour"), "20 14:00 to 20 15:05");
    assert_eq!(read("since yesterday 9am"), "19 09:00 to 20 15:05");
    assert_eq!(read("since monday"), "16 00:00 to 20 15:05");
}

#[test]
fn the_words_around_it_are_left() {
    assert_eq!(read("prod db yesterday 3pm"), "19 14:30 to 19 15:30 / prod db");
    assert_eq!(read("Who called it yesterday at 3 p.m.?"), "19 14:30 to 19 15:30 / Who called it");
    for text in
        ["drop table", "15", "error 500", "3:5", "25:00", "13pm", "0pm", "ago", "last", "last table", "mon", "99 nov"]
    {
        assert_eq!(read(text), "nothing", "{text}");
    }
}

proptest! {
    #[test]
    fn every_time_of_day_is_read_in_both_forms(hour in 0_u32..24, minute in 0_u32..60, back in 0_u64..300) {
        let today = present().zone.local(present().now).date_naive();
        let day = today.checked_sub_days(Days::new(back)).unwrap();
        let (twelve, half) = (if hour % 12 == 0 { 12 } else { hour % 12 }, if hour < 12 { "am" } else { "pm" });
        let wanted = present().zone.read(day.and_hms_opt(hour, minute, 0).unwrap());
        for text in [format!("{day} {hour}:{minute:02}"), format!("{twelve}:{minute:02}{half} on {day}")] {
            let words: Vec<&str> = text.split_whitespace().collect();
            let said = find(&words, present()).unwrap();
            prop_assert_eq!((said.from, said.until), (wanted - AROUND, wanted + AROUND), "{}", text);
            prop_assert_eq!(said.words, 0..words.len());
        }
    }

    #[test]
    fn whatever_is_typed_is_read_without_harm(words in proptest::collection::vec(
        "(last|ago|since|at|yesterday|monday|nov|[0-9]{1,6}|[0-9]{1,3}(h|d|w|pm|:[0-9]{1,3})|\\PC{0,8})", 0..6)) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if let Some(said) = find(&words, present()) {
            prop_assert!(said.from < said.until);
            prop_assert!(said.words.start < said.words.end && said.words.end <= words.len());
        }
    }
}
