//! Elastic Common Schema 9.4. What it has no field for stands under `sluice`, a name of our own as it asks for.

use serde_json::{Value, json};

use super::members::{Draft, Members, written};
use super::{ECS_VERSION, Gist, Placed, Severity, place, success};
use crate::words::{Effect, Kind};

/// The event.
pub(super) fn event(placed: &Placed<'_>, from: Members) -> Value {
    let gist = Gist::of(placed, &from);
    let message = gist.message(&from);
    let outcome = match success(&from) {
        Some(true) => "success",
        Some(false) => "failure",
        None => "unknown",
    };
    let place = place(placed);
    let mut draft = Draft::new(from);
    draft.set_some("event.hash", place.get("log").and_then(|log| log.get("leaf_hash")).cloned());
    draft.set("@timestamp", written(gist.time));
    draft.set("ecs.version", ECS_VERSION);
    draft.set("message", message);
    draft.set("event.outcome", outcome);
    classify(&mut draft, &gist);
    about_event(&mut draft, &gist, placed);
    who(&mut draft);
    what(&mut draft, &gist);
    labels(&mut draft);
    related(&mut draft);
    draft.finish("sluice", place)
}

/// The schema's own words for what the record is about; a kind it has no category for has none.
fn classify(draft: &mut Draft, gist: &Gist) {
    let kind = if gist.kind == Some(Kind::Alert) { "alert" } else { "event" };
    let (category, types): (Option<&str>, Vec<&str>) = match gist.kind {
        Some(Kind::Call | Kind::Open | Kind::Late | Kind::Approval | Kind::McpRequest) => (Some("api"), access(draft)),
        Some(Kind::Server) => (Some("api"), vec!["info"]),
        Some(Kind::Session) => (Some("session"), vec!["start"]),
        Some(Kind::Auth) => auth(&gist.action),
        Some(Kind::Admin) => admin(&gist.action),
        Some(Kind::Alert) => (Some("intrusion_detection"), vec!["info"]),
        Some(Kind::Node) => (Some("process"), vec!["start"]),
        Some(Kind::BootEnd) => (Some("process"), vec!["end"]),
        Some(Kind::Gap | Kind::Epoch) => (None, vec!["error"]),
        Some(Kind::GapFilled | Kind::Heartbeat | Kind::Mark) | None => (None, vec!["info"]),
    };
    let state = matches!(gist.kind, Some(Kind::Heartbeat | Kind::Mark));
    draft.set("event.kind", if state { "state" } else { kind });
    draft.set_some("event.category", category.map(|category| json!([category])));
    draft.set("event.type", types);
}

fn access(draft: &Draft) -> Vec<&'static str> {
    match draft.from.text("decision.effect").and_then(Effect::find) {
        Some(Effect::Allow) => vec!["access", "allowed"],
        Some(Effect::Deny | Effect::RateLimited) => vec!["access", "denied"],
        _ => vec!["access"],
    }
}

fn auth(action: &str) -> (Option<&'static str>, Vec<&'static str>) {
    match action {
        "session.begin" | "auth.refuse" => (Some("authentication"), vec!["start"]),
        "session.end" | "session.end_others" => (Some("authentication"), vec!["end"]),
        _ if action.starts_with("account.") => (Some("iam"), vec!["user", "change"]),
        _ => (Some("authentication"), vec!["info"]),
    }
}

fn admin(action: &str) -> (Option<&'static str>, Vec<&'static str>) {
    let (thing, verb) = action.rsplit_once('.').unwrap_or((action, ""));
    let people = matches!(thing, "member" | "user" | "account" | "token" | "session");
    let change = match verb {
        "add" | "import" | "issue" | "invite" => "creation",
        "remove" | "revoke" | "uninvite" | "reject" => "deletion",
        // What was taken out of the log, which `iam` has no word for.
        "export" | "bundle" | "view" if !people => "access",
        "export" | "bundle" | "view" => "info",
        _ => "change",
    };
    if people { (Some("iam"), vec!["admin", change]) } else { (Some("configuration"), vec![change]) }
}

fn about_event(draft: &mut Draft, gist: &Gist, placed: &Placed<'_>) {
    let severity = match gist.severity {
        Severity::Informational => 1,
        Severity::Low => 2,
        Severity::Medium => 3,
        Severity::High => 4,
    };
    draft.set("event.action", gist.action.clone());
    let _ = draft.from.take_text("mcp.method");
    draft.set("event.severity", severity);
    draft.text("event.id", "id");
    draft.text("event.code", "kind");
    draft.set_some("event.sequence", placed.seq());
    draft.set("event.module", "sluice");
    draft.set("event.provider", "sluice");
    draft.set("event.dataset", "sluice.audit");
    draft.set("event.created", written(placed.received_at));
    draft.set("event.start", written(gist.time));
    draft.set_some("event.end", draft.from.time("time_end").map(written));
    // Nanoseconds; the microseconds stay in the record's own place.
    let nanos = draft.from.count("dur.total").and_then(|micros| micros.checked_mul(1000));
    draft.set_some("event.duration", nanos);
    let why = if draft.from.text("decision.code").is_some() { "decision.code" } else { "outcome.reason" };
    draft.text("event.reason", why);
    draft.written("error.code", "outcome.jsonrpc_code");
    draft.text("error.type", "outcome.error_type");
    draft.integer("http.response.status_code", "outcome.http_status");
    draft.text("http.request.id", "correlation_id");
}

fn who(draft: &mut Draft) {
    draft.set_some("organization.id", draft.from.text("tenant.id").map(str::to_owned));
    draft.text("user.id", "actor.id");
    draft.text("user.full_name", "actor.name");
    draft.text("user.email", "actor.email");
    draft.texts("user.roles", "actor.roles");
    draft.set_some("client.address", draft.from.text("client.ip").map(str::to_owned));
    if draft.from.text("client.ip").is_some_and(|ip| ip.parse::<std::net::IpAddr>().is_ok()) {
        draft.text("client.ip", "client.ip");
    }
    draft.integer("client.port", "client.port");
    draft.text("user_agent.original", "client.user_agent");
    draft.text("user_agent.name", "client.name");
    draft.text("user_agent.version", "client.version");
    draft.text("gen_ai.agent.id", "agent.id");
    draft.text("gen_ai.agent.name", "agent.name");
    draft.text("gen_ai.request.model", "agent.model");
}

fn what(draft: &mut Draft, gist: &Gist) {
    if matches!(gist.kind, Some(Kind::Call | Kind::Open | Kind::Late | Kind::Approval)) {
        draft.set("gen_ai.operation.name", "execute_tool");
        draft.set_some("gen_ai.tool.call.id", draft.from.text("call_id").map(str::to_owned));
    }
    draft.text("gen_ai.tool.name", "tool.name");
    draft.text("transaction.id", "call_id");
    draft.text("trace.id", "trace.id");
    draft.text("span.id", "trace.span_id");
    draft.text("service.id", "server.id");
    draft.text("service.name", "server.name");
    draft.text("service.version", "server.version");
    draft.text("server.address", "server.host");
    rule(draft);
    draft.set("observer.vendor", "Sluice");
    draft.set("observer.product", "Sluice MCP Gateway");
    draft.set("observer.type", "gateway");
    draft.text("observer.name", "gw.node");
    draft.text("observer.version", "gw.version");
    draft.text("cloud.region", "gw.region");
    draft.text("cloud.availability_zone", "gw.zone");
}

/// The first of the policies that determined it; all of them stay in the record's own place.
fn rule(draft: &mut Draft) {
    let Some(policy) = draft.from.get("decision.policies").and_then(|policies| policies.get(0)) else { return };
    let text = |key: &str| policy.get(key).and_then(Value::as_str).map(str::to_owned);
    let (id, name) = (text("id"), text("name"));
    let version = policy.get("version").and_then(Value::as_u64).map(|version| version.to_string());
    draft.set_some("rule.id", id);
    draft.set_some("rule.name", name);
    draft.set_some("rule.version", version);
    draft.set("rule.category", "policy");
}

/// What is searched by and has no field: flat texts, as the schema wants labels.
fn labels(draft: &mut Draft) {
    for (to, from) in [
        ("labels.token_id", "actor.token_id"),
        ("labels.session_id", "session.id"),
        ("labels.args_hmac", "args.hmac"),
        ("labels.definition_hash", "tool.definition_hash"),
        ("labels.effect", "decision.effect"),
        ("labels.status", "outcome.status"),
        ("labels.change_target", "change.target.id"),
    ] {
        draft.text(to, from);
    }
}

/// Where the schema looks for people and addresses, whatever field they stand in.
fn related(draft: &mut Draft) {
    for (to, paths) in [
        ("related.user", &["user.id", "user.full_name", "user.email"][..]),
        ("related.ip", &["client.ip"][..]),
        ("related.hosts", &["server.address"][..]),
    ] {
        let found: Vec<Value> = paths.iter().filter_map(|path| draft.made(path).cloned()).collect();
        if !found.is_empty() {
            draft.set(to, found);
        }
    }
}
