//! Records as tables show them.

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use domain::RecordId;
use store::TenantTx;
use store::audit::search;
use uuid::Uuid;

use super::further::{Further, Target, by_status};
use super::outcome::Outcome;
use super::query::Names;
use crate::console::{Present, show};

/// Longer than this, microseconds, and the time a call took is marked.
const SLOW_US: i64 = 1_000_000;

/// A record as tables show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) at: DateTime<Utc>,
    /// The day, where it is not today; then `14:05:41`, then `.207`.
    pub(crate) day: String,
    pub(crate) clock: String,
    pub(crate) fraction: String,
    /// Who acted, and whether it is a person.
    pub(crate) who: String,
    pub(crate) is_person: bool,
    /// Through which program, as it calls itself.
    pub(crate) client: String,
    pub(crate) name: ToolName,
    /// What a change was made to.
    pub(crate) target: Option<Target>,
    /// What `ui::decision` takes; empty where nothing was decided.
    pub(crate) badge: &'static str,
    /// Why it became that: the policy that decided, or a few words; empty where nothing is known.
    pub(crate) because: String,
    pub(crate) took: String,
    pub(crate) took_class: &'static str,
    /// Where it is shown whole.
    pub(crate) url: String,
    pub(crate) is_open: bool,
}

/// A tool's name in its two parts, or what else a record is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ToolName {
    /// The server's name in it.
    pub(crate) prefix: String,
    pub(crate) name: String,
    /// What its tile is made from.
    pub(crate) logo: String,
}

impl ToolName {
    /// Of the name clients see: `wiki__read_page`.
    pub(crate) fn of(exposed: &str, logo: Option<&str>) -> Self {
        let (prefix, name) =
            exposed.split_once("__").map_or(("", exposed), |(alias, _)| exposed.split_at(alias.len() + 2));
        let logo = logo.unwrap_or(if prefix.is_empty() { name } else { prefix });
        Self { prefix: prefix.to_owned(), name: name.to_owned(), logo: logo.to_owned() }
    }

    /// Of a record in a list.
    fn of_record(record: &search::Row, names: &Names) -> Self {
        let server = record.server_id.and_then(|id| names.server(id)).map(|server| server.settings.title.as_str());
        if let Some(tool) = &record.tool_name {
            return Self::of(tool, server);
        }
        let name = record.change_action.as_deref().or(record.method.as_deref()).unwrap_or(&record.kind);
        Self { prefix: String::new(), name: name.to_owned(), logo: server.unwrap_or(name).to_owned() }
    }
}

/// Records of the log as rows; `url` is where each is shown whole.
pub(crate) async fn read(
    tx: &mut TenantTx,
    records: &[search::Row],
    (names, present): (&Names, Present),
    url: impl Fn(RecordId) -> String,
) -> Result<Vec<Row>, store::Error> {
    let further = Further::read(tx, records).await?;
    let row = |record: &search::Row| {
        let row = Row::of(record, names, present, url(RecordId::from_uuid(record.id)));
        let because = further.failure(record).map_or_else(|| row.because.clone(), str::to_owned);
        Row { target: further.target(record, names), because, ..row }
    };
    Ok(records.iter().map(row).collect())
}

impl Row {
    fn of(record: &search::Row, names: &Names, Present { now, zone }: Present, url: String) -> Self {
        let (at, today) = (zone.local(record.time), zone.local(now).date_naive());
        let outcome = Outcome::of(record.effect.as_deref(), record.status.as_deref());
        let took = record.duration_us;
        let policies = record.policies.as_deref().unwrap_or_default();
        let (caller, is_person) = caller(record.actor_kind.as_deref(), record.actor_id.as_deref(), names);
        Self {
            id: RecordId::from_uuid(record.id).to_string(),
            at: record.time,
            day: if at.date_naive() == today { String::new() } else { day(at.date_naive(), today) },
            clock: at.format("%H:%M:%S").to_string(),
            fraction: at.format("%.3f").to_string(),
            who: caller,
            is_person,
            client: record.client_name.clone().unwrap_or_default(),
            name: ToolName::of_record(record, names),
            target: None,
            badge: outcome.map_or("", Outcome::badge),
            because: because(record.decision_code.as_deref(), record.status.as_deref(), (policies, outcome), names),
            took: took.map_or_else(|| "–".to_owned(), |took| show::took(took.max(0).cast_unsigned())),
            took_class: match outcome {
                Some(Outcome::Failed) => "c-fail",
                _ if took.is_some_and(|took| took > SLOW_US) => "c-wait",
                _ => "",
            },
            url,
            is_open: false,
        }
    }

    /// The caller, why it was not allowed, the time and the day, for tables too narrow for columns of them.
    pub(crate) fn narrow(&self) -> String {
        let why = if self.badge == "allow" { "" } else { self.because.as_str() };
        let parts = [why, self.who.as_str(), self.day.as_str(), self.clock.as_str()];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }
}

/// Why a call became what it did: by which policy, or in a few words.
fn because(
    code: Option<&str>,
    status: Option<&str>,
    (policies, outcome): (&[Uuid], Option<Outcome>),
    names: &Names,
) -> String {
    let (by_policy, said) = match code.unwrap_or_default() {
        "allowed" if outcome == Some(Outcome::Failed) => (false, by_status(status.unwrap_or_default()).0),
        "allowed" => (true, ""),
        "forbidden_by_policy" => (true, "A policy forbids it"),
        "approval_required" => (true, "Needs approval"),
        "policy_error" => (false, "A policy failed"),
        "not_permitted" => (false, "No policy allows it"),
        "arguments_do_not_fit" => (false, "Arguments don’t fit"),
        "outside_token_scope" => (false, "Outside the token"),
        "unknown_tool" => (false, "Unknown tool"),
        "server_paused" => (false, "Server paused"),
        "obligation_unsupported" => (false, "Can’t do what a policy asks"),
        "audit_unavailable" => (false, "Could not be recorded"),
        _ => (false, ""),
    };
    let policy = policies.iter().find_map(|id| names.policy(*id)).filter(|_| by_policy);
    policy.unwrap_or(said).to_owned()
}

/// A day: `19 Nov`, with the year when it is another one.
pub(super) fn day(day: NaiveDate, today: NaiveDate) -> String {
    day.format(if day.year() == today.year() { "%-d %b" } else { "%-d %b %Y" }).to_string()
}

/// What people call an actor, and whether it is a person.
pub(crate) fn caller(kind: Option<&str>, id: Option<&str>, names: &Names) -> (String, bool) {
    let known = id.and_then(|id| names.person(id));
    match (kind, known) {
        (_, Some(name)) => (name.to_owned(), true),
        (Some("system"), None) => ("Sluice".to_owned(), false),
        (Some("anonymous") | None, None) => ("Nobody known".to_owned(), false),
        // Somebody who is no member any more.
        (Some(kind), None) => (id.map_or_else(|| kind.to_owned(), |id| show::clip(id, 40)), kind == "user"),
    }
}

#[cfg(test)]
mod tests {
    use domain::PolicyId;
    use store::policies::Policy;

    use super::*;

    #[test]
    fn a_row_says_which_policy_decided_or_why_none_did() {
        let (known, removed) = (Uuid::from_u128(7), Uuid::from_u128(8));
        let policy = Policy {
            id: PolicyId::from_uuid(known),
            name: "No writes".to_owned(),
            active_version: None,
            latest_version: 1,
            revision: 1,
            created_at: DateTime::UNIX_EPOCH,
        };
        let names = Names::default().with_policies(vec![policy]);
        let said = |code, status, policies: &[Uuid]| {
            let outcome = Outcome::of(None, Some(status));
            because(Some(code), Some(status), (policies, outcome), &names)
        };
        assert_eq!(said("forbidden_by_policy", "denied", &[removed, known]), "No writes");
        assert_eq!(said("forbidden_by_policy", "denied", &[removed]), "A policy forbids it");
        assert_eq!(said("allowed", "success", &[known]), "No writes");
        assert_eq!(said("allowed", "timeout", &[known]), "Timed out", "no policy let it fail");
        assert_eq!(said("server_paused", "denied", &[known]), "Server paused", "the policy allowed it");
        assert_eq!(said("unknown_tool", "denied", &[]), "Unknown tool");
        assert_eq!(because(None, None, (&[], None), &names), "");
    }

    #[test]
    fn a_tool_s_name_has_its_server_apart() {
        let name = |text| ToolName::of(text, None);
        assert_eq!((&*name("wiki__read__page").prefix, &*name("wiki__read__page").name), ("wiki__", "read__page"));
        assert_eq!((&*name("read").prefix, &*name("read").name, &*name("read").logo), ("", "read", "read"));
    }
}
