use super::*;

fn asked(query: &str) -> Asked {
    Asked::read(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect())
}

fn resolved(query: &str) -> Resolved {
    resolve(&asked(query), &Names::default(), present())
}

fn present() -> Present {
    Present { now: "2026-11-20T14:00:00Z".parse().unwrap(), zone: Zone::UTC }
}

#[test]
fn a_range_of_time_is_one_chip_with_its_zone() {
    let shown = |query: &str| {
        let chips = resolved(query).chips;
        assert_eq!(chips.len(), 1, "{query}");
        assert_eq!((&*chips[0].name, &*chips[0].without), ("Time", ""), "{query}");
        chips[0].value.clone()
    };
    assert_eq!(shown("from=2026-11-19T14:30&until=2026-11-19T15:30"), "19 Nov 14:30 to 15:30, UTC");
    assert_eq!(shown("from=2026-11-19&until=2026-11-20"), "19 Nov, UTC");
    assert_eq!(shown("from=2026-11-19T14:30&until=2026-11-20"), "19 Nov 14:30 to 20 Nov 00:00, UTC");
    assert_eq!(shown("from=2026-11-19T14:30"), "since 19 Nov 14:30, UTC");
    assert_eq!(shown("until=2026-11-19T14:30"), "until 19 Nov 14:30, UTC");
}

#[test]
fn words_that_are_typed_become_filters() {
    let typed = asked("q=decision:denied+drop+table+tool:wiki__read&range=6h");
    assert!(typed.is_typed);
    assert_eq!(typed.query(), "?q=drop+table&decision=denied&tool=wiki__read&range=6h");
    assert!(!asked(typed.query().trim_start_matches('?')).is_typed);
    let again = asked("q=decision:denied&decision=allowed&range=6h");
    assert_eq!((again.is_typed, again.query().as_str()), (true, "?decision=denied&range=6h"));
    let colons = asked("q=a:b+http://x+tool:");
    assert_eq!((colons.is_typed, colons.get("q")), (false, Some("a:b http://x tool:")));
}

#[test]
fn what_is_unknown_stays_and_is_said() {
    let asked = asked("colour=red&decision=purple&call=rec_x");
    assert_eq!(asked.query(), "?decision=purple&colour=red&call=rec_x");
    let resolved = resolve(&asked, &Names::default(), present());
    let faults: Vec<_> = resolved.chips.iter().map(|chip| (&*chip.name, chip.fault.is_empty())).collect();
    assert_eq!(faults, [("Decision", false), ("colour", false)]);
    assert_eq!(resolved.chips[1].without, "?decision=purple");
    assert_eq!(resolved.filter.statuses, [""; 0]);
}

#[test]
fn an_address_of_many_unknown_words_makes_no_more_work_than_one_of_a_few() {
    let long: Vec<String> = (0..20_000).map(|number| format!("x{number}=y")).collect();
    let resolved = resolved(&long.join("&"));
    assert_eq!(resolved.chips.len(), UNKNOWN_MAX);
    assert!(resolved.chips.iter().all(|chip| !chip.fault.is_empty() && chip.without.len() < 100));
    assert_eq!(asked("a=1&a=2&a=3").query(), "?a=1");
}

#[test]
fn times_are_read_as_people_write_them() {
    for (text, read) in [
        ("2026-11-19T15:00", "2026-11-19T15:00:00Z"),
        ("2026-11-19T15:00:05", "2026-11-19T15:00:05Z"),
        ("2026-11-19", "2026-11-19T00:00:00Z"),
        ("2026-11-19T15:00:00+02:00", "2026-11-19T13:00:00Z"),
    ] {
        assert_eq!(time(text, Zone::UTC), Some(read.parse().unwrap()), "{text}");
    }
    for wrong in ["yesterday", "0001-01-01", "9999-12-31", "2026-13-01", "2026-11-19T25:00"] {
        assert_eq!(time(wrong, Zone::UTC), None, "{wrong}");
    }
    let backwards = resolved("from=2026-11-19&until=2026-11-18").filter;
    assert!(backwards.from < backwards.until);
}

#[test]
fn a_text_is_not_looked_for_in_a_long_time() {
    assert_eq!(resolved("q=x&range=7d").filter.text.as_deref(), Some("x"));
    let long = resolved("q=x&range=30d");
    assert_eq!(long.filter.text, None);
    assert_eq!(long.chips[0].name, "Text");
}
