//! Open Cybersecurity Schema Framework 1.8.0.
//!
//! The class of each kind of record, and the members that all classes have; those of one class stand in [`classes`].

mod classes;

use serde_json::{Map, Value, json};

use super::members::{Draft, Members};
use super::{Gist, OCSF_VERSION, Placed, Severity, place, success};
use crate::words::{Kind, Mode, Status};

/// A class and what was done in its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Class {
    uid: u64,
    name: &'static str,
    activity: u64,
    /// The activity's name; the record's action where the class has no word for it.
    activity_name: Option<&'static str>,
}

const OTHER: u64 = 99;

impl Class {
    const fn new(uid: u64, name: &'static str, (activity, activity_name): (u64, Option<&'static str>)) -> Self {
        Self { uid, name, activity, activity_name }
    }

    fn of(gist: &Gist, from: &Members) -> Self {
        let Some(kind) = gist.kind else { return Self::new(0, "Base Event", (OTHER, None)) };
        match kind {
            Kind::Call | Kind::Open | Kind::Late | Kind::Approval => Self::api((OTHER, Some("Invoke"))),
            Kind::McpRequest | Kind::Session | Kind::Server => Self::api(api_activity(&gist.action)),
            Kind::Auth => Self::auth(&gist.action),
            Kind::Admin => Self::new(3004, "Entity Management", entity_activity(&gist.action)),
            Kind::Alert => {
                let resolved = from.text("outcome.reason") == Some("resolved");
                let activity = if resolved { (3, Some("Close")) } else { (1, Some("Create")) };
                Self::new(2004, "Detection Finding", activity)
            }
            Kind::Node => Self::new(6002, "Application Lifecycle", (3, Some("Start"))),
            Kind::BootEnd => Self::new(6002, "Application Lifecycle", (4, Some("Stop"))),
            Kind::Gap => Self::log("Gap"),
            Kind::GapFilled => Self::log("Gap Filled"),
            Kind::Epoch => Self::log("Log Begun Anew"),
            Kind::Heartbeat => Self::log("Heartbeat"),
            Kind::Mark => Self::log("Mark"),
        }
    }

    const fn api(activity: (u64, Option<&'static str>)) -> Self {
        Self::new(6003, "API Activity", activity)
    }

    const fn log(name: &'static str) -> Self {
        Self::new(1008, "Event Log Activity", (OTHER, Some(name)))
    }

    fn auth(action: &str) -> Self {
        let authentication = |activity| Self::new(3002, "Authentication", activity);
        let account = |activity| Self::new(3001, "Account Change", activity);
        match action {
            "session.begin" | "auth.refuse" => authentication((1, Some("Logon"))),
            "session.end" | "session.end_others" => authentication((2, Some("Logoff"))),
            "account.password" => account((3, Some("Password Change"))),
            "account.lock" => account((9, Some("Lock"))),
            _ if action.starts_with("account.") => account((OTHER, None)),
            _ => authentication((OTHER, None)),
        }
    }
}

fn api_activity(method: &str) -> (u64, Option<&'static str>) {
    match method.rsplit_once('/') {
        Some((_, "list" | "read" | "get" | "discover")) => (2, Some("Read")),
        _ => (OTHER, None),
    }
}

fn entity_activity(action: &str) -> (u64, Option<&'static str>) {
    match action.rsplit_once('.').map(|(_, verb)| verb) {
        Some("add" | "import" | "issue" | "invite") => (1, Some("Create")),
        Some("export" | "bundle" | "view") => (2, Some("Read")),
        Some("remove" | "revoke" | "uninvite" | "reject") => (4, Some("Delete")),
        Some("change" | "write" | "set") => (3, Some("Update")),
        Some("enable" | "resume" | "start") => (8, Some("Enable")),
        Some("disable" | "pause" | "stop") => (9, Some("Disable")),
        _ => (OTHER, None),
    }
}

/// The event.
pub(super) fn event(placed: &Placed<'_>, from: Members) -> Value {
    let gist = Gist::of(placed, &from);
    let class = Class::of(&gist, &from);
    let message = gist.message(&from);
    let success = success(&from);
    let mut draft = Draft::new(from);
    classify(&mut draft, class, &gist);
    draft.set("message", message);
    status(&mut draft, success);
    let profiles = profiles(&mut draft, class, &gist);
    classes::put(&mut draft, class.uid, &gist, placed);
    times(&mut draft, &gist);
    metadata(&mut draft, placed, profiles);
    draft.integer("count", "count");
    draft.finish("unmapped", place(placed))
}

fn classify(draft: &mut Draft, class: Class, gist: &Gist) {
    let (category, category_name) = match class.uid / 1000 {
        1 => (1, "System Activity"),
        2 => (2, "Findings"),
        3 => (3, "Identity & Access Management"),
        6 => (6, "Application Activity"),
        _ => (0, "Uncategorized"),
    };
    let (severity, severity_id) = match gist.severity {
        Severity::Informational => ("Informational", 1),
        Severity::Low => ("Low", 2),
        Severity::Medium => ("Medium", 3),
        Severity::High => ("High", 4),
    };
    let activity = class.activity_name.unwrap_or(&gist.action);
    draft.set("category_uid", category);
    draft.set("category_name", category_name);
    draft.set("class_uid", class.uid);
    draft.set("class_name", class.name);
    draft.set("activity_id", class.activity);
    draft.set("activity_name", activity);
    draft.set("type_uid", class.uid * 100 + class.activity);
    let name_of_type = if class.activity == OTHER { "Other" } else { activity };
    draft.set("type_name", format!("{}: {name_of_type}", class.name));
    draft.set("severity_id", severity_id);
    draft.set("severity", severity);
}

fn status(draft: &mut Draft, success: Option<bool>) {
    let (id, name) = match success {
        Some(true) => (1, "Success"),
        Some(false) => (2, "Failure"),
        None => (0, "Unknown"),
    };
    draft.set("status_id", id);
    draft.set("status", name);
    // The word stays in the record's own place too for whoever filters by it in every class alike.
    draft.set_some("status_code", draft.from.text("outcome.status").map(str::to_owned));
    let detail = if draft.from.text("decision.code").is_some() { "decision.code" } else { "outcome.reason" };
    draft.text("status_detail", detail);
}

/// The profiles that the event uses, and their members.
fn profiles(draft: &mut Draft, class: Class, gist: &Gist) -> Vec<&'static str> {
    let mut profiles = Vec::new();
    if draft.from.text("decision.effect").is_some() {
        profiles.push("security_control");
        control(draft, gist);
    }
    if class.uid == 6003 && draft.from.text("trace.id").is_some() {
        profiles.push("trace");
        trace(draft);
    }
    profiles
}

fn control(draft: &mut Draft, gist: &Gist) {
    let effect = draft.from.text("decision.effect").unwrap_or_default().to_owned();
    let status = draft.from.text("outcome.status").and_then(Status::find);
    let (action, disposition) = match (effect.as_str(), status) {
        (_, Some(Status::GatewayError)) => ((0, "Unknown"), (27, "Error")),
        (_, Some(Status::ApprovalRejected | Status::ApprovalExpired)) => ((2, "Denied"), (25, "Rejected")),
        (_, Some(Status::ApprovalPending)) | ("require_approval", None) => ((OTHER, effect.as_str()), (14, "Delayed")),
        ("allow", _) => ((1, "Allowed"), (1, "Allowed")),
        ("deny" | "rate_limited", _) => ((2, "Denied"), (2, "Blocked")),
        ("require_approval", Some(_)) => ((1, "Allowed"), (8, "Approved")),
        _ => ((OTHER, effect.as_str()), (OTHER, effect.as_str())),
    };
    draft.set("action_id", action.0);
    draft.set("action", action.1);
    draft.set("disposition_id", disposition.0);
    draft.set("disposition", disposition.1);
    draft.set("is_alert", gist.severity >= Severity::Medium);
    let policies = draft.from.get("decision.policies").and_then(Value::as_array);
    let policies: Vec<Value> = policies.into_iter().flatten().filter_map(policy).collect();
    if let Some(first) = policies.first() {
        draft.set("policy", first.clone());
        let each = policies.into_iter().map(|policy| json!({ "decision": effect, "policy": policy }));
        draft.set("authorizations", each.collect::<Vec<_>>());
    }
}

fn policy(policy: &Value) -> Option<Value> {
    let mut event = Map::new();
    for (to, from) in [("uid", "id"), ("name", "name")] {
        if let Some(text) = policy.get(from).and_then(Value::as_str) {
            event.insert(to.to_owned(), text.into());
        }
    }
    if event.is_empty() {
        return None;
    }
    if let Some(version) = policy.get("version").and_then(Value::as_u64) {
        event.insert("version".to_owned(), version.to_string().into());
    }
    if let Some(mode) = policy.get("mode").and_then(Value::as_str) {
        event.insert("is_applied".to_owned(), (mode == Mode::Enforce.as_str()).into());
    }
    Some(Value::Object(event))
}

/// A span must have both its ends; where the record lacks one, the span stays as it is.
fn trace(draft: &mut Draft) {
    draft.text("trace.uid", "trace.id");
    let (Some(begin), Some(end)) = (draft.from.time("time"), draft.from.time("time_end")) else { return };
    if draft.from.text("trace.span_id").is_some() {
        draft.text("trace.span.uid", "trace.span_id");
        draft.set("trace.span.start_time", begin.timestamp_millis());
        draft.set("trace.span.end_time", end.timestamp_millis());
        draft.text("trace.span.parent_uid", "trace.parent_id");
    }
}

/// Milliseconds, as the schema has them; the microseconds stay in the record's own place.
fn times(draft: &mut Draft, gist: &Gist) {
    draft.set("time", gist.time.timestamp_millis());
    let Some(end) = draft.from.time("time_end") else { return };
    draft.set("start_time", gist.time.timestamp_millis());
    draft.set("end_time", end.timestamp_millis());
    draft.set_some("duration", draft.from.count("dur.total").map(|micros| micros / 1000));
}

fn metadata(draft: &mut Draft, placed: &Placed<'_>, profiles: Vec<&'static str>) {
    draft.set("metadata.version", OCSF_VERSION);
    draft.set("metadata.product.vendor_name", "Sluice");
    draft.set("metadata.product.name", "Sluice MCP Gateway");
    draft.text("metadata.product.version", "gw.version");
    draft.set("metadata.profiles", profiles);
    draft.text("metadata.uid", "id");
    draft.set_some("metadata.sequence", placed.seq());
    draft.set("metadata.tenant_uid", placed.tenant.to_string());
    draft.set("metadata.log_name", "sluice.audit");
    draft.text("metadata.log_version", "schema");
    draft.set("metadata.logged_time", placed.received_at.timestamp_millis());
    draft.text("metadata.event_code", "kind");
    draft.text("metadata.correlation_uid", "call_id");
    if draft.from.get("truncated").is_some_and(Value::is_boolean) {
        draft.any("metadata.is_truncated", "truncated");
    }
    if let Some(node) = draft.from.take_text("gw.node") {
        draft.set("metadata.loggers", json!([{ "uid": node, "log_name": "sluice.audit" }]));
    }
}
