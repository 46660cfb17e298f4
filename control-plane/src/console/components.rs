//! Every part of pages in every state, from the real macros: `/dev/components`, in development builds only.

use askama::Template;
use axum::Router;
use axum::routing::get;
use chrono::{DateTime, TimeDelta, Utc};

use super::chart::{self, Bars, Column, Line, Segment};
use super::component_rows::{self as rows, Call, Caller, Chip, Deciding, Fact, RoleChoice, Sections};
use super::merge::{Conflict, Contested};
use super::{Choice, Page};
use crate::connect::setup::{Client, Setup};

pub(super) fn routes() -> Router {
    Router::new().route("/dev/components", get(components))
}

#[derive(Template)]
#[template(path = "dev/components.html")]
struct Components {
    now: DateTime<Utc>,
    earlier: DateTime<Utc>,
    later: DateTime<Utc>,
    ranges: Vec<Choice>,
    tabs: Vec<Choice>,
    hostile: &'static str,
    conflict: Conflict,
    bars: Bars,
    strip: Bars,
    p50: Line,
    p99: Line,
    spark: Line,
    shares: Vec<Segment>,
    timing: Timing,
    diff: [DiffLine; 3],
    definition: Definition,
    calls: [Call; 2],
    changes: [Call; 1],
    people: [Caller; 2],
    facts: [Fact; 3],
    deciding: Deciding,
    chips: [Chip; 2],
    roles: [RoleChoice; 2],
    setup: Setup,
    shell: Sections,
}

/// What the timing bar is given.
struct Timing {
    label: &'static str,
    segments: Vec<Segment>,
    parts: [TimingPart; 3],
}

struct TimingPart {
    key: &'static str,
    name: &'static str,
    took: &'static str,
}

/// What a definition is given: what of it is shown at once, what is folded away, and how much that is.
struct Definition {
    shown: &'static str,
    rest: &'static str,
    left: &'static str,
}

impl Definition {
    const fn more(&self) -> &'static str {
        self.left
    }
}

/// What a diff's line is given: its class, its numbers with its sign, and the text around the changed words.
struct DiffLine {
    class: &'static str,
    numbers: [&'static str; 3],
    parts: [&'static str; 3],
}

impl DiffLine {
    const fn class(&self) -> &'static str {
        self.class
    }

    const fn before_number(&self) -> &'static str {
        self.numbers[0]
    }

    const fn after_number(&self) -> &'static str {
        self.numbers[1]
    }

    const fn sign(&self) -> &'static str {
        self.numbers[2]
    }
}

async fn components() -> Page<Components> {
    let now = DateTime::from_timestamp(1_795_183_392, 0).unwrap_or_default();
    let choice = |text: &str, is_current| Choice::new(text, format!("#{text}"), is_current);
    let counted = |text: &str, count: &str, is_current| Choice { count: count.to_owned(), ..choice(text, is_current) };
    let contested = Contested { label: "Name", now: "Kestrel".to_owned(), sent: "Kestrel Freight".to_owned() };
    let (columns, hours) = (columns(), || ["13:00", "14:00", "15:00"].map(str::to_owned).to_vec());
    let took =
        |from: f64| (0..12).map(|turn| (turn != 7).then_some(from * f64::from(turn % 5 + 1))).collect::<Vec<_>>();
    Page::new(Components {
        now,
        earlier: now - TimeDelta::seconds(12),
        later: now + TimeDelta::days(3),
        ranges: vec![choice("1h", true), choice("24h", false), choice("7d", false)],
        tabs: vec![counted("Tools", "43", true), choice("Versions", false), choice("Credentials", false)],
        hostile: "<img src=x onerror=alert(1)> safe\u{202e}gpj.exe\u{200b}",
        conflict: Conflict { who: "Tomasz Wolak".to_owned(), at: Some(now), fields: vec![contested] },
        bars: chart::bars(&columns, hours(), "Calls by decision: 4 of 150 denied".to_owned()),
        strip: chart::strip(&columns, hours(), "Calls over two hours".to_owned()),
        p50: chart::log_line(&took(30.0)),
        p99: chart::log_line(&took(400.0)),
        spark: chart::spark(&[3, 5, 4, 9, 2, 6, 7]),
        shares: chart::segments(&[("s-allow", 90), ("s-deny", 6), ("s-fail", 4)]),
        timing: timing(),
        diff: diff(),
        definition: Definition {
            shown: "\"name\": \"search\",\n\"title\": ",
            rest: "\"Search\"\n}",
            left: "10 more characters",
        },
        calls: rows::calls(now),
        changes: rows::changes(now),
        people: rows::people(now),
        facts: rows::facts(),
        deciding: Deciding { of: "Production is read-only", version: "v15" },
        chips: rows::chips(),
        roles: rows::roles(),
        setup: Setup::new(Client::Codex, "https://mcp.kestrel.example/kestrel/mcp", None),
        shell: Sections { may: true, at: "#" },
    })
}

fn columns() -> Vec<Column> {
    let column = |turn: u64| {
        let parts = vec![
            ("s-allow", 9 + turn % 5),
            ("s-deny", turn % 3),
            ("s-fail", u64::from(turn == 8)),
            ("s-wait", u64::from(turn == 4)),
        ];
        Column { parts, tip: format!("{} calls", 9 + turn % 5) }
    };
    (0..12).map(column).collect()
}

fn timing() -> Timing {
    let part = |key, name, took| TimingPart { key, name, took };
    Timing {
        label: "182 ms, 180 of them upstream",
        segments: chart::segments(&[("t1", 1), ("t2", 1), ("t5", 180)]),
        parts: [part("k1", "Identify", "0.4 ms"), part("k2", "Decide", "0.1 ms"), part("k5", "Upstream", "180 ms")],
    }
}

const fn diff() -> [DiffLine; 3] {
    [
        DiffLine { class: "", numbers: ["1", "1", ""], parts: ["description", "", ""] },
        DiffLine { class: "del", numbers: ["2", "", "−"], parts: ["Reads ", "one note", "."] },
        DiffLine { class: "add", numbers: ["", "2", "+"], parts: ["Reads ", "and sends every note", "."] },
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// Files of macros that pages share, and the name each is imported by.
    const MACROS: [(&str, &str); 6] = [
        ("ui", include_str!("../../../web/templates/ui/ui.html")),
        ("chart", include_str!("../../../web/templates/ui/chart.html")),
        ("parts", include_str!("../../../web/templates/servers/parts.html")),
        ("rows", include_str!("../../../web/templates/activity/rows.html")),
        ("invite", include_str!("../../../web/templates/people/invite.html")),
        ("connect", include_str!("../../../web/templates/connect/index.html")),
    ];
    /// What only other macros use, or the frame of a page.
    const INSIDE: [&str; 16] = [
        "ui::described",
        "ui::under",
        "ui::risk_bars",
        "ui::copy",
        "ui::session",
        "rows::whom",
        "rows::tool",
        "rows::when",
        "rows::verdict",
        "rows::moment",
        "rows::changed",
        "connect::snippet",
        "chart::columns",
        "chart::grid",
        "chart::labels",
        "parts::credential",
    ];

    #[test]
    fn every_part_is_on_the_page() {
        let page = include_str!("../../../web/templates/dev/components.html");
        let of_file = |(file, text): &(&'static str, &'static str)| {
            let starts = ["{% macro ", "{%- macro "].into_iter().flat_map(|start| text.split(start).skip(1));
            let names = starts.filter_map(|rest| Some(format!("{file}::{}", rest.split_once('(')?.0)));
            names.collect::<Vec<_>>()
        };
        let names = MACROS.iter().flat_map(of_file);
        let all: BTreeSet<String> = names.collect();
        assert!(INSIDE.iter().all(|name| all.contains(*name)), "one of {INSIDE:?} is gone");
        let missing: Vec<&String> =
            all.iter().filter(|name| !INSIDE.contains(&name.as_str()) && !page.contains(&format!("{name}("))).collect();
        assert!(missing.is_empty(), "put these on /dev/components: {missing:?}");
    }
}
