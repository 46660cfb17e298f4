//! Calls, people, facts and filters as the component page shows them: what the macros of rows are given.

use chrono::{DateTime, TimeDelta, Utc};
use domain::{Permission, Role};

use super::chart::{self, Segment};

/// A row of calls or of changes.
pub(super) struct Call {
    pub(super) id: &'static str,
    pub(super) at: DateTime<Utc>,
    pub(super) day: &'static str,
    pub(super) clock: &'static str,
    pub(super) fraction: &'static str,
    pub(super) who: &'static str,
    pub(super) is_person: bool,
    pub(super) client: &'static str,
    pub(super) name: Tool,
    pub(super) target: Option<Target>,
    pub(super) badge: &'static str,
    pub(super) because: &'static str,
    pub(super) took: &'static str,
    pub(super) took_class: &'static str,
    pub(super) url: &'static str,
    pub(super) is_open: bool,
}

impl Call {
    /// What a narrow row says under the name.
    pub(super) fn narrow(&self) -> String {
        format!("{}, {}", self.who, self.clock)
    }
}

/// A tool's name in its parts.
pub(super) struct Tool {
    pub(super) prefix: &'static str,
    pub(super) name: &'static str,
    pub(super) logo: &'static str,
}

/// What a change was made to.
pub(super) struct Target {
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
}

/// A row of callers.
pub(super) struct Caller {
    pub(super) who: &'static str,
    pub(super) is_person: bool,
    pub(super) url: &'static str,
    pub(super) client: &'static str,
    pub(super) calls: u64,
    pub(super) bar: Vec<Segment>,
    pub(super) outcomes: &'static str,
    pub(super) first: Moment,
    pub(super) last: Moment,
}

/// When a caller was seen.
pub(super) struct Moment {
    pub(super) at: DateTime<Utc>,
    pub(super) day: &'static str,
    pub(super) clock: &'static str,
}

/// A line of an open record.
pub(super) struct Fact {
    pub(super) name: &'static str,
    pub(super) value: &'static str,
    pub(super) is_code: bool,
    pub(super) section: &'static str,
}

/// A filter; with a fault it filters nothing.
pub(super) struct Chip {
    pub(super) name: &'static str,
    pub(super) value: &'static str,
    pub(super) fault: &'static str,
    pub(super) without: &'static str,
}

/// The policy of a rule that decided.
pub(super) struct Deciding {
    pub(super) of: &'static str,
    pub(super) version: &'static str,
}

/// A role to choose.
pub(super) struct RoleChoice {
    pub(super) role: Role,
    pub(super) name: &'static str,
    pub(super) says: &'static str,
}

/// Where a page of a workspace has the workspace: here no link leads anywhere.
pub(super) struct Sections {
    pub(super) may: bool,
    pub(super) at: &'static str,
}

impl Sections {
    pub(super) const fn may(&self, _: Permission) -> bool {
        self.may
    }

    pub(super) fn to(&self, section: &str) -> String {
        format!("{}{section}", self.at)
    }
}

fn allowed(now: DateTime<Utc>) -> Call {
    Call {
        id: "call-1",
        at: now,
        day: "",
        clock: "14:05:41",
        fraction: ".207",
        who: "Ana Duarte",
        is_person: true,
        client: "claude-code",
        name: Tool { prefix: "github__", name: "search_code", logo: "GitHub" },
        target: None,
        badge: "allow",
        because: "",
        took: "154 ms",
        took_class: "",
        url: "#call-1",
        is_open: true,
    }
}

pub(super) fn calls(now: DateTime<Utc>) -> [Call; 2] {
    let denied = Call {
        id: "call-2",
        day: "20 Nov",
        who: "ci-triage",
        is_person: false,
        client: "ci\u{202e}tnega",
        name: Tool { prefix: "postgres__", name: "drop_table", logo: "Postgres" },
        badge: "deny",
        because: "no-ddl-in-prod",
        took: "0.4 ms",
        url: "#call-2",
        is_open: false,
        ..allowed(now)
    };
    [allowed(now), denied]
}

pub(super) fn changes(now: DateTime<Utc>) -> [Call; 1] {
    let name = Tool { prefix: "", name: "policy.published", logo: "" };
    let target = Some(Target { kind: "policy", name: "Production is read-only" });
    [Call { id: "change-1", name, target, badge: "", url: "#change-1", is_open: false, ..allowed(now) }]
}

pub(super) fn people(now: DateTime<Utc>) -> [Caller; 2] {
    let moment = |hours, day, clock| Moment { at: now - TimeDelta::hours(hours), day, clock };
    [
        Caller {
            who: "Ana Duarte",
            is_person: true,
            url: "#ana",
            client: "claude-code",
            calls: 1204,
            bar: chart::segments(&[("s-allow", 90), ("s-deny", 6), ("s-fail", 4)]),
            outcomes: "6 % denied, 4 % failed",
            first: moment(30, "20 Nov", "08:02"),
            last: moment(0, "", "14:05"),
        },
        Caller {
            who: "ci-triage",
            is_person: false,
            url: "",
            client: "ci\u{202e}tnega",
            calls: 1,
            bar: chart::segments(&[("s-allow", 1)]),
            outcomes: "all allowed",
            first: moment(1, "", "13:05"),
            last: moment(1, "", "13:05"),
        },
    ]
}

pub(super) const fn facts() -> [Fact; 3] {
    [
        Fact { name: "Client", value: "claude-code 2.4", is_code: false, section: "" },
        Fact { name: "Trace", value: "4bf92f3577b34da6a3ce929d0e0e4736", is_code: true, section: "" },
        Fact { name: "Token", value: "tok_not-a-real-token", is_code: true, section: "tokens/gateway" },
    ]
}

pub(super) const fn chips() -> [Chip; 2] {
    [
        Chip { name: "Server", value: "postgres-prod", fault: "", without: "?server=" },
        Chip { name: "Decision", value: "purple", fault: "is none", without: "?decision=" },
    ]
}

pub(super) const fn roles() -> [RoleChoice; 2] {
    [
        RoleChoice { role: Role::Member, name: "Member", says: "Calls tools, and sees their own calls." },
        RoleChoice { role: Role::Auditor, name: "Auditor", says: "Sees everything and changes nothing." },
    ]
}
