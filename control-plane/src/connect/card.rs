//! A call as the person who made it is shown it: who, with what, what was decided and by which rule.

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{RecordId, UserId};
use secrets::MasterKey;
use serde::Deserialize;
use serde_json::Value;
use store::TenantTx;
use store::audit::search::{Filter, Row};

use crate::activity::actions::{self, Scope, SearchError};
use crate::console::show;
use crate::problem::Problem;

/// What a person has sent so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard {
    /// The program that called, as it calls itself; none while none has.
    pub(super) client: Option<String>,
    pub(super) first_seen: Option<DateTime<Utc>>,
    pub(super) listed: Option<DateTime<Utc>>,
    /// The newest call.
    pub(super) call: Option<Card>,
}

/// A call that was decided.
#[derive(Debug, Clone)]
pub(super) struct Card {
    pub(super) at: DateTime<Utc>,
    pub(super) call: String,
    pub(super) tool: String,
    pub(super) client: String,
    /// A word of `ui::decision`.
    pub(super) decision: &'static str,
    /// In words: why.
    pub(super) because: String,
    /// The rules that decided it, by name.
    pub(super) rules: Vec<String>,
    /// Each argument's name and shape; values are not kept.
    pub(super) arguments: Vec<(String, String)>,
    /// What took how long.
    pub(super) took: Vec<(&'static str, String)>,
    pub(super) total: String,
    /// Its number in the log.
    pub(super) place: String,
}

/// Most records looked at: a client that connects sends a handful.
const LOOKED_AT: usize = 40;

/// What a person's clients have sent since a time.
pub(super) async fn heard(
    tx: &mut TenantTx,
    master: &MasterKey,
    user: UserId,
    (since, now): (DateTime<Utc>, DateTime<Utc>),
) -> Result<Heard, Problem> {
    let filter = Filter {
        from: since,
        // Nodes whose clocks run ahead are believed.
        until: now + TimeDelta::minutes(5),
        kinds: vec!["call".to_owned(), "mcp_request".to_owned()],
        actor: None,
        token: None,
        server: None,
        tool: None,
        effect: None,
        statuses: Vec::new(),
        call: None,
        trace: None,
        text: None,
        among: None,
    };
    let page = match actions::search(tx, Scope::Own(user), filter, None, LOOKED_AT).await {
        Ok(page) => page,
        // Somebody waits for a call; that one search took too long is no reason to tell them of an error.
        Err(SearchError::OutOfTime) => return Ok(Heard::default()),
        Err(error) => return Err(error.into()),
    };
    let client = page.rows.iter().find_map(|row| row.client_name.clone());
    let first_seen = page.rows.last().map(|row| row.time);
    let is_list = |row: &&Row| row.method.as_deref() == Some("tools/list");
    let listed = page.rows.iter().find(is_list).map(|row| row.time);
    let call = match page.rows.iter().find(|row| row.kind == "call") {
        Some(row) => find(tx, master, user, row).await?,
        None => None,
    };
    Ok(Heard { client, first_seen, listed, call })
}

async fn find(tx: &mut TenantTx, master: &MasterKey, user: UserId, row: &Row) -> Result<Option<Card>, Problem> {
    let found = actions::find(tx, Scope::Own(user), master, RecordId::from_uuid(row.id)).await?;
    let Some((leaf, personal)) = found else { return Ok(None) };
    let record: Record = serde_json::from_slice(&leaf.body).map_err(|error| {
        tracing::error!(%error, "a record can't be read");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "A record can't be read")
    })?;
    let personal: Personal = personal.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    Ok(Some(card(row, record, &personal)))
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Record {
    call_id: String,
    client: Client,
    decision: Decision,
    dur: Durations,
    outcome: Outcome,
    args: Args,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Client {
    name: String,
    version: String,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Decision {
    code: String,
    policies: Vec<Rule>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Rule {
    name: String,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Outcome {
    status: String,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Args {
    keys: Vec<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Durations {
    auth: Option<u64>,
    policy: Option<u64>,
    credential: Option<u64>,
    upstream: Option<u64>,
    audit_wait: Option<u64>,
    total: Option<u64>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Personal {
    args: PersonalArgs,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct PersonalArgs {
    redacted: Value,
}

fn card(row: &Row, record: Record, personal: &Personal) -> Card {
    let effect = row.effect.as_deref().unwrap_or_default();
    let status = record.outcome.status.as_str();
    let decision = match (effect, status) {
        ("require_approval", _) => "approval",
        ("allow", "success") => "allow",
        ("allow", "denied") | ("deny" | "rate_limited", _) => "deny",
        _ => "error",
    };
    let rules: Vec<String> = record.decision.policies.into_iter().map(|rule| rule.name).collect();
    Card {
        at: row.time,
        call: record.call_id,
        tool: row.tool_name.clone().unwrap_or_default(),
        client: format!("{} {}", record.client.name, record.client.version).trim().to_owned(),
        decision,
        because: because(decision, &record.decision.code, !rules.is_empty()).to_owned(),
        rules,
        arguments: arguments(&personal.args.redacted, record.args.keys),
        took: took(&record.dur),
        total: record.dur.total.map_or_else(String::new, exactly),
        place: show::count(row.seq),
    }
}

fn because(decision: &str, code: &str, by_rule: bool) -> &'static str {
    match (decision, code) {
        ("allow", _) => "A rule allows it, and none forbids it.",
        ("approval", _) => "A rule asks for a person first.",
        ("deny", _) if by_rule => "A rule forbids it. It never left Sluice.",
        ("deny", "unknown_tool") => "There is no such tool for you. It never left Sluice.",
        ("deny", _) => "No rule allows it. It never left Sluice.",
        _ => "It was allowed, and failed at the server.",
    }
}

/// Names and shapes; the record has them as `{"name": "string/7"}`.
fn arguments(redacted: &Value, keys: Vec<String>) -> Vec<(String, String)> {
    let Some(members) = redacted.as_object() else {
        return keys.into_iter().map(|key| (key, String::new())).collect();
    };
    let shape = |value: &Value| value.as_str().unwrap_or_default().replace('/', " of ");
    members.iter().map(|(name, value)| (name.clone(), shape(value))).collect()
}

/// Deciding takes microseconds, which is the point.
fn exactly(micros: u64) -> String {
    if micros < 1000 { format!("{micros} µs") } else { show::took(micros) }
}

fn took(dur: &Durations) -> Vec<(&'static str, String)> {
    let parts = [
        ("Identify", dur.auth),
        ("Decide", dur.policy),
        ("Credential", dur.credential),
        ("Upstream", dur.upstream),
        ("Record", dur.audit_wait),
    ];
    parts.into_iter().filter_map(|(name, micros)| Some((name, exactly(micros?)))).collect()
}
