//! What lists say of a record beyond its columns: what a change was made to, and why a call failed.

use std::collections::HashMap;

use chrono::TimeDelta;
use serde_json::Value;
use store::audit::search::{self, Row};
use store::{TenantTx, tokens};
use uuid::Uuid;

use super::names::Names;
use super::outcome::Outcome;
use crate::console::show;

/// What a change was made to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Target {
    /// What it is: `gateway token`.
    pub(crate) kind: String,
    /// What people call it; empty where it has no name, or none any more.
    pub(crate) name: String,
}

/// What people call tokens, by their ids: records name a token by its id only.
#[derive(Debug, Default)]
pub(super) struct Titles(HashMap<String, String>);

impl Titles {
    /// Of the tokens that these records tell of.
    pub(super) async fn of<'a>(
        tx: &mut TenantTx,
        records: impl IntoIterator<Item = &'a Value>,
    ) -> Result<Self, store::Error> {
        let kinds = records.into_iter().filter_map(|record| record.pointer("/change/target/kind")?.as_str());
        let kinds: Vec<&str> = kinds.collect();
        let mut titles = HashMap::new();
        if kinds.contains(&"gateway_token") {
            let tokens = tokens::list_gateway(tx).await?;
            titles.extend(tokens.into_iter().map(|token| (token.id.to_string(), token.title)));
        }
        if kinds.contains(&"api_token") {
            let tokens = tokens::list_api(tx).await?;
            titles.extend(tokens.into_iter().map(|token| (token.id.to_string(), token.title)));
        }
        Ok(Self(titles))
    }
}

impl Target {
    /// Of a record; none where nothing was changed.
    pub(super) fn of(record: &Value, names: &Names, titles: &Titles) -> Option<Self> {
        let at = |member: &str| record.pointer(&format!("/change/target/{member}"))?.as_str();
        let (kind, id) = (at("kind")?, at("id").unwrap_or_default());
        let person = || names.people.iter().find(|person| person.id.to_string() == id).map(|person| &*person.name);
        let known = || titles.0.get(id).map(String::as_str).or_else(|| names.person(id)).or_else(person);
        let kind = match kind {
            "tenant" => "workspace".to_owned(),
            "user" => "account".to_owned(),
            "api_token" => "API token".to_owned(),
            other => show::clip(&other.replace('_', " "), 40),
        };
        Some(Self { kind, name: at("name").or_else(known).unwrap_or_default().to_owned() })
    }
}

/// What is known of some records by what they hold.
#[derive(Debug, Default)]
pub(super) struct Further {
    records: HashMap<Uuid, Value>,
    titles: Titles,
}

impl Further {
    /// Reads it of those records whose columns do not say enough.
    pub(super) async fn read(tx: &mut TenantTx, rows: &[Row]) -> Result<Self, store::Error> {
        let wanted = rows.iter().filter(|row| row.change_action.is_some() || is_failed(row));
        let (ids, times): (Vec<Uuid>, Vec<_>) = wanted.map(|row| (row.id, row.time)).unzip();
        let (Some(first), Some(last)) = (times.iter().min(), times.iter().max()) else { return Ok(Self::default()) };
        let partitions = search::partitions(tx, *first, *last + TimeDelta::microseconds(1)).await?;
        let bodies = search::bodies(tx, &ids, partitions).await?;
        let read = |(id, body): (Uuid, Vec<u8>)| Some((id, serde_json::from_slice(&body).ok()?));
        let records: HashMap<Uuid, Value> = bodies.into_iter().filter_map(read).collect();
        let titles = Titles::of(tx, records.values()).await?;
        Ok(Self { records, titles })
    }

    /// What a record's change was made to.
    pub(super) fn target(&self, row: &Row, names: &Names) -> Option<Target> {
        Target::of(self.records.get(&row.id)?, names, &self.titles)
    }

    /// Why a call failed, in a few words; none where it did not, or nothing more is known.
    pub(super) fn failure(&self, row: &Row) -> Option<&'static str> {
        let record = self.records.get(&row.id).filter(|_| is_failed(row))?;
        Some(failure(record).0)
    }
}

fn is_failed(row: &Row) -> bool {
    row.decision_code.as_deref() == Some("allowed")
        && Outcome::of(row.effect.as_deref(), row.status.as_deref()) == Some(Outcome::Failed)
}

/// What went wrong with a call that was allowed: in a few words, and in a clause.
pub(super) fn failure(record: &Value) -> (&'static str, &'static str) {
    let at = |path: &str| record.pointer(path).and_then(Value::as_str).unwrap_or_default();
    match at("/outcome/error_type") {
        "address_refused" => ("Address not allowed", "the server’s address is not one that may be dialled"),
        "unresolved" => ("Host not found", "the server’s host name has no address"),
        "unreachable" => ("Server not reached", "the server could not be reached"),
        "tls" => ("TLS failed", "the server’s certificate or its TLS handshake is wrong"),
        "redirected" => ("Server redirects", "the server redirected, which is not followed"),
        "unauthorized" => ("Credential refused", "the server refused the credential"),
        "limited" => ("Server limits calls", "the server limits how often it is called"),
        "http_status" => ("HTTP error", "the server answered with an HTTP error and no MCP message"),
        "not_mcp" => ("No MCP answer", "the server did not answer as an MCP server does"),
        "malformed" => ("Malformed answer", "the server’s answer was malformed"),
        "too_large" => ("Answer too large", "the answer was larger than this server’s limit"),
        "cut_off" => ("Answer cut off", "the server ended the connection before its answer was complete"),
        "session_lost" => ("Session lost", "the server lost the session twice in a row"),
        "no_common_version" => ("No common version", "the server speaks no version of the protocol that Sluice speaks"),
        "changed" => ("Tool has changed", "the tool has changed since it was reviewed"),
        "asks_for_input" => ("Asks for input", "the server asked for input that this client could not give"),
        "asks_again" => ("Asks again", "the server asked for input more often than one call may"),
        "answer_lost" => ("Answer lost", "what the client answered could not be brought to the server"),
        "answer_unasked" => ("Nothing was asked", "the client answered what the server can not have asked"),
        "bad_request_state" => ("Answer not taken", "the client’s answer came too late, or belongs to no question"),
        "protocol" => ("Invalid request", "the client’s request breaks a rule of the protocol"),
        "unknown_result" => ("Unknown result", "the server answered with a result of an unknown kind"),
        "credential_unavailable" => ("No credential", "the server’s credential could not be read"),
        "policy_unavailable" => ("No policy", "the gateway had no policies to decide by"),
        "overloaded" | "overloaded_tenant" | "overloaded_caller" => {
            ("Too busy", "too many calls were under way at the same time")
        }
        _ => by_status(at("/outcome/status")),
    }
}

/// The same, by how the call ended.
pub(super) fn by_status(status: &str) -> (&'static str, &'static str) {
    match status {
        "tool_error" => ("Tool error", "the tool answered that it could not do it"),
        "protocol_error" => ("Server error", "the server answered with an error"),
        "timeout" => ("Timed out", "the server did not answer in time"),
        "upstream_unavailable" => ("Server unavailable", "the server gave no answer"),
        "gateway_error" => ("Fault of Sluice", "Sluice itself failed"),
        _ => ("End not known", "how it ended is not known"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_failure_is_said_by_what_went_wrong_and_not_by_its_kind() {
        let said = |status: &str, error: &str| failure(&json!({"outcome": {"status": status, "error_type": error}})).0;
        assert_eq!(said("upstream_unavailable", "http_status"), "HTTP error");
        assert_eq!(said("upstream_unavailable", "unreachable"), "Server not reached");
        assert_eq!(said("tool_error", "tool_error"), "Tool error");
        assert_eq!(said("timeout", "something new"), "Timed out");
        for error in ["bad_request_state", "answer_unasked", "protocol"] {
            let (_, clause) = failure(&json!({"outcome": {"status": "protocol_error", "error_type": error}}));
            assert!(clause.starts_with("the client"), "{error}: {clause}");
        }
    }

    #[test]
    fn a_target_is_called_what_people_call_it() {
        let titles = Titles(HashMap::from([("tok_1".to_owned(), "Laptop".to_owned())]));
        let of = |kind: &str, name: Option<&str>, id: &str| {
            let record = json!({"change": {"target": {"kind": kind, "name": name, "id": id}}});
            let target = Target::of(&record, &Names::default(), &titles).unwrap();
            format!("{} {}", target.kind, target.name)
        };
        assert_eq!(of("gateway_token", None, "tok_1"), "gateway token Laptop");
        assert_eq!(of("server", Some("wiki"), "srv_1"), "server wiki");
        assert_eq!(of("session", None, "ses_1"), "session ");
        assert_eq!(Target::of(&json!({}), &Names::default(), &titles), None);
    }
}
