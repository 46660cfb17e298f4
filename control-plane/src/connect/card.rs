//! A call as the person who made it is shown it: who, with what, what was decided, by which policy, and why.

use axum::http::StatusCode;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{RecordId, UserId};
use secrets::MasterKey;
use store::TenantTx;
use store::audit::search::{Filter, Leaf, Row};

use crate::activity::actions::{self, Scope, SearchError};
use crate::activity::call::Call;
use crate::activity::names::Names;
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

/// A call that was decided: the record as Activity reads it, and what only this card shows.
#[derive(Debug, Clone)]
pub(super) struct Card {
    pub(super) at: DateTime<Utc>,
    pub(super) tool: String,
    pub(super) client: String,
    pub(super) call: Call,
    /// In words: why.
    pub(super) because: String,
    /// The policies that decided it, by name.
    pub(super) policies: Vec<String>,
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
    // Nodes whose clocks run ahead are believed.
    let filter = Filter {
        kinds: vec!["call".to_owned(), "mcp_request".to_owned()],
        ..Filter::of(since, now + TimeDelta::minutes(5))
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
    let Some(call) = Call::of(&leaf, personal.as_deref(), &Names::default()) else {
        tracing::error!(record = %row.id, "a record can't be read");
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "A record can't be read"));
    };
    Ok(Some(card(&leaf, row.tool_name.as_deref().unwrap_or_default(), call)))
}

fn card(leaf: &Leaf, tool: &str, call: Call) -> Card {
    let verdict = call.verdict.as_ref();
    let policies = verdict.into_iter().flat_map(|verdict| verdict.policy.iter().chain(&verdict.others));
    let parts = call.timing.iter().flat_map(|timing| &timing.parts);
    let total = call.timing.as_ref().map_or_else(String::new, |timing| {
        let whole = exactly(timing.total);
        if timing.has_left { whole } else { format!("{whole}, never left Sluice") }
    });
    Card {
        at: leaf.time,
        tool: tool.to_owned(),
        client: call.client().to_owned(),
        because: verdict.map_or_else(String::new, |verdict| verdict.reason.clone()),
        policies: policies.map(|policy| policy.name.clone()).collect(),
        took: parts.map(|part| (part.name, exactly(part.micros))).collect(),
        total,
        place: show::count(leaf.seq),
        call,
    }
}

/// Deciding takes microseconds, which is the point.
fn exactly(micros: u64) -> String {
    if micros < 1000 { format!("{micros} µs") } else { show::took(micros) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(effect: &str, code: &str, status: &str) -> (&'static str, String) {
        let record = json!({"decision": {"effect": effect, "code": code}, "outcome": {"status": status}});
        let at = DateTime::UNIX_EPOCH;
        let leaf = Leaf {
            id: uuid::Uuid::nil(),
            actor_id: None,
            seq: 7,
            epoch: 1,
            leaf_hash: Vec::new(),
            received_at: at,
            time: at,
            part_time: at,
            body: record.to_string().into_bytes(),
            pii: None,
        };
        let card = card(&leaf, "wiki__read", Call::of(&leaf, None, &Names::default()).unwrap());
        (card.call.badge, card.because)
    }

    #[test]
    fn each_end_of_a_call_has_its_own_reason() {
        for (effect, code, status, badge, says) in [
            ("allow", "allowed", "success", "allow", "none forbids it"),
            ("allow", "allowed", "cancelled", "allow", "The client then cancelled it"),
            ("allow", "allowed", "timeout", "error", "the server did not answer in time"),
            ("require_approval", "approval_required", "denied", "deny", "None can be given here"),
            ("deny", "not_permitted", "denied", "deny", "No policy permits"),
            ("deny", "server_paused", "denied", "deny", "The server is paused"),
            ("deny", "outside_token_scope", "denied", "deny", "The token's scope"),
            ("deny", "arguments_do_not_fit", "denied", "deny", "do not fit the tool's reviewed schema"),
            ("deny", "audit_unavailable", "denied", "deny", "could not be recorded"),
            ("rate_limited", "", "rate_limited", "Rate limited", "too many calls"),
        ] {
            let (shown, because) = shown(effect, code, status);
            assert_eq!(shown, badge, "{code} {status}");
            assert!(because.contains(says), "{code} {status}: {because}");
        }
    }
}
