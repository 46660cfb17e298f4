//! The members that only some classes have.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::super::members::Draft;
use super::super::{Gist, Placed};
use super::OTHER;
use crate::words::{ActorKind, AuthMethod, Kind};

/// Puts what the class asks for.
pub(super) fn put(draft: &mut Draft, class: u64, gist: &Gist, placed: &Placed<'_>) {
    match class {
        6003 => api(draft, gist),
        3001 | 3002 => account(draft, class),
        3004 => entity(draft),
        2004 => finding(draft, gist),
        6002 => lifecycle(draft, gist),
        1008 => log(draft, placed),
        _ => {}
    }
}

fn api(draft: &mut Draft, gist: &Gist) {
    actor(draft);
    source(draft);
    draft.set("api.operation", gist.action.clone());
    let _ = draft.from.take_text("mcp.method");
    draft.text("api.version", "mcp.protocol_version");
    draft.text("api.service.uid", "server.id");
    draft.text("api.service.name", "server.name");
    if draft.has("api.service") {
        draft.text("api.service.version", "server.version");
    }
    draft.text("api.request.uid", "mcp.request_id");
    draft.any("api.request.data", "args.redacted");
    if draft.has("api.request.data") && !draft.has("api.request.uid") {
        let of = draft.from.text("call_id").unwrap_or(&gist.id).to_owned();
        draft.set("api.request.uid", of);
    }
    draft.integer("api.response.code", "outcome.jsonrpc_code");
    draft.text("api.response.error", "outcome.error_type");
    draft.any("api.response.data", "result.redacted");
    draft.integer("http_response.code", "outcome.http_status");
    if draft.from.text("actor.token_id").is_some() {
        draft.text("api.token.uid", "actor.token_id");
        if draft.from.text("actor.auth_method") == Some(AuthMethod::ApiKey.as_str()) {
            draft.set("api.token.type_id", 7);
            draft.set("api.token.type", "API Token");
        }
    }
    draft.text("dst_endpoint.hostname", "server.host");
    tool(draft);
}

fn tool(draft: &mut Draft) {
    let mut tool = Map::new();
    for (to, from) in [("uid", "tool.id"), ("name", "tool.name")] {
        if let Some(text) = draft.from.take_text(from) {
            tool.insert(to.to_owned(), text.into());
        }
    }
    if !tool.is_empty() {
        tool.insert("type".to_owned(), "mcp.tool".into());
        draft.set("resources", vec![Value::Object(tool)]);
    }
}

fn account(draft: &mut Draft, class: u64) {
    user(draft, "user");
    source(draft);
    session(draft, if class == 3002 { "session" } else { "actor.session" });
    draft.text("http_request.user_agent", "client.user_agent");
    if class == 3002 {
        draft.set("service.name", "Sluice MCP Gateway");
        draft.set("is_remote", true);
        if let Some(method) = draft.from.take_text("actor.auth_method") {
            let oauth = method == AuthMethod::Oauth.as_str();
            draft.set("auth_protocol_id", if oauth { 6 } else { 99 });
            draft.set("auth_protocol", if oauth { "OAUTH 2.0".to_owned() } else { method });
        }
    }
}

fn entity(draft: &mut Draft) {
    actor(draft);
    if draft.from.text("client.ip").is_some() {
        source(draft);
    }
    let kind = draft.from.text("change.target.kind").unwrap_or_default().to_owned();
    let id = draft.from.take_text("change.target.id").unwrap_or_else(|| "unknown".to_owned());
    let name = draft.from.take_text("change.target.name");
    let (type_id, name_of_type, place) = match kind.as_str() {
        "user" | "member" | "account" => (2, "User", Some("user")),
        "tenant" => (4, "Organization", Some("org")),
        "policy" => (5, "Policy", Some("policy")),
        "" => (0, "Unknown", None),
        kind => (OTHER, kind, None),
    };
    draft.set("entity.type_id", type_id);
    draft.set("entity.type", name_of_type);
    for place in [Some("entity".to_owned()), place.map(|place| format!("entity.{place}"))].into_iter().flatten() {
        draft.set(&format!("{place}.uid"), id.clone());
        draft.set_some(&format!("{place}.name"), name.clone());
    }
}

fn finding(draft: &mut Draft, gist: &Gist) {
    let title = draft.from.text("change.target.name").unwrap_or(&gist.action).to_owned();
    draft.set("finding_info.uid", if gist.id.is_empty() { "unknown".to_owned() } else { gist.id.clone() });
    draft.set("finding_info.title", title);
}

/// The node: it formed the record itself, or is the one that the record is about.
fn lifecycle(draft: &mut Draft, gist: &Gist) {
    let node = if gist.kind == Some(Kind::BootEnd) { "source.node" } else { "gw.node" };
    draft.set("app.vendor_name", "Sluice");
    draft.set("app.name", "Sluice MCP Gateway");
    draft.set_some("app.uid", draft.from.text(node).map(str::to_owned));
    draft.set_some("app.version", draft.from.text("gw.version").map(str::to_owned));
}

fn log(draft: &mut Draft, placed: &Placed<'_>) {
    draft.set("log_name", format!("sluice.audit/{}", placed.tenant));
    draft.set("log_provider", "Sluice MCP Gateway");
    draft.set("log_type_id", 2);
    draft.set("log_type", "Application");
    draft.set_some("status_code", draft.from.text("source.reason").map(str::to_owned));
}

fn actor(draft: &mut Draft) {
    user(draft, "actor.user");
    draft.text("actor.app_name", "client.name");
    draft.text("actor.app_uid", "client.oauth_client_id");
    session(draft, "actor.session");
    draft.text("http_request.user_agent", "client.user_agent");
    draft.text("http_request.uid", "correlation_id");
}

/// A user has an id or a name: where the record has neither, the kind of actor is its name. The schema has fewer types than
/// we have kinds: the kind stays in the record's own place, too.
fn user(draft: &mut Draft, to: &str) {
    let kind = draft.from.text("actor.kind").unwrap_or("unknown").to_owned();
    let (type_id, name_of_type) = match ActorKind::find(&kind) {
        Some(ActorKind::User) => (1, "User"),
        Some(ActorKind::System) => (3, "System"),
        Some(ActorKind::ServiceAccount) => (4, "Service"),
        Some(ActorKind::Agent) => (OTHER, kind.as_str()),
        Some(ActorKind::Anonymous) | None => (0, "Unknown"),
    };
    draft.set(&format!("{to}.type_id"), type_id);
    draft.set(&format!("{to}.type"), name_of_type);
    draft.text(&format!("{to}.uid"), "actor.id");
    draft.text(&format!("{to}.name"), "actor.name");
    if draft.from.text("actor.email").is_some_and(is_address) {
        draft.text(&format!("{to}.email_addr"), "actor.email");
    }
    if !draft.has(&format!("{to}.uid")) && !draft.has(&format!("{to}.name")) {
        draft.set(&format!("{to}.name"), kind);
    }
    let groups = draft.from.get("actor.groups").and_then(Value::as_array).cloned().unwrap_or_default();
    if !groups.is_empty() && groups.iter().all(Value::is_string) {
        let _ = draft.from.take("actor.groups");
        draft.set(&format!("{to}.groups"), groups.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>());
    }
}

/// What the schema takes for an address: any other text stays where it is.
fn is_address(text: &str) -> bool {
    let in_name = |char: char| char.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(char);
    let in_host = |char: char| char.is_ascii_alphanumeric() || char == '-' || char == '.';
    text.split_once('@').is_some_and(|(name, host)| {
        let dot = host.find('.');
        !name.is_empty()
            && name.chars().all(in_name)
            && host.chars().all(in_host)
            && dot.is_some_and(|dot| dot > 0 && dot + 1 < host.len())
    })
}

fn session(draft: &mut Draft, to: &str) {
    draft.text(&format!("{to}.uid"), "session.id");
    draft.text(&format!("{to}.issuer"), "actor.issuer");
    draft.set_some(&format!("{to}.credential_uid"), draft.from.text("actor.token_id").map(str::to_owned));
}

/// Where the request came from. An endpoint has an address or a name: Sluice's own requests, and those whose address is
/// not sent along, have a name.
fn source(draft: &mut Draft) {
    if draft.from.text("client.ip").is_some_and(|ip| ip.parse::<IpAddr>().is_ok()) {
        draft.text("src_endpoint.ip", "client.ip");
    } else {
        let system = draft.from.text("actor.kind") == Some(ActorKind::System.as_str());
        draft.set("src_endpoint.name", if system { "sluice" } else { "unknown" });
    }
    if draft.from.count("client.port").is_some_and(|port| u16::try_from(port).is_ok()) {
        draft.integer("src_endpoint.port", "client.port");
    }
}
