//! One record as people read it: what was decided and by which policy, how long each part took, what was sent.

use domain::PolicyId;
use serde_json::Value;
use store::audit::search::Leaf;
use store::{TenantTx, policies};

use super::actions::Scope;
use super::further::{self, Target, Titles};
use super::outcome::Outcome;
use super::query::Names;
use super::rows::{self, ToolName};
use crate::console::chart::{Segment, segments};
use crate::console::show;

/// A record as people read it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) name: ToolName,
    /// What a change was made to.
    pub(crate) target: Option<Target>,
    /// What `ui::decision` takes; empty where nothing was decided.
    pub(crate) badge: &'static str,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) who: String,
    pub(crate) is_person: bool,
    /// Facts of the caller, by name.
    pub(crate) caller_facts: Vec<Fact>,
    pub(crate) timing: Option<Timing>,
    /// Each argument with what is kept of it.
    pub(crate) arguments: Vec<Argument>,
    /// Said where there are none to show.
    pub(crate) arguments_note: &'static str,
    /// Facts of what was sent and what came back.
    pub(crate) result_facts: Vec<Fact>,
    /// Facts of the record.
    pub(crate) record_facts: Vec<Fact>,
    /// The record, indented.
    pub(crate) json: String,
    /// The record's exact bytes.
    pub(crate) raw: String,
    /// The calls that hang together with it; empty where there is no trace.
    pub(crate) trace: String,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Of the note: deny, wait, fail, or nothing.
    pub(crate) kind: &'static str,
    pub(crate) icon: &'static str,
    /// `Denied by`, before the policy; or all of it.
    pub(crate) title: String,
    /// The policy that decided, where one did.
    pub(crate) policy: Option<Policy>,
    /// What its author says of it, where the rule says why it denies.
    pub(crate) said: String,
    /// Why, in a sentence.
    pub(crate) reason: String,
    /// Those that agreed with it.
    pub(crate) others: Vec<Policy>,
}

/// A policy as a decision names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) id: String,
    /// The rule of it that decided.
    pub(crate) name: String,
    /// Its own name as it is now, where the rule's is another.
    pub(crate) of: String,
    pub(crate) version: String,
    pub(crate) effect: &'static str,
}

/// Something with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// Whether machines use it: it is set in mono, and can be copied where it is long.
    pub(crate) is_code: bool,
    /// Below the workspace, where the thing of this id is shown; empty where nothing is.
    pub(crate) section: &'static str,
}

/// How long each part took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) parts: Vec<Part>,
    pub(crate) segments: Vec<Segment>,
    /// The whole, microseconds, and whether anything left Sluice.
    pub(crate) total: u64,
    pub(crate) has_left: bool,
    /// Both in words.
    pub(crate) sum: String,
    pub(crate) label: String,
}

/// A part of a call's time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    pub(crate) took: String,
    pub(crate) micros: u64,
}

/// An argument, and what is kept of its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Argument {
    pub(crate) name: String,
    pub(crate) kept: String,
}

impl Call {
    /// Reads a record; none where it is not JSON, which none is.
    pub(crate) fn of(leaf: &Leaf, personal: Option<&str>, names: &Names) -> Option<Self> {
        let raw = String::from_utf8(leaf.body.clone()).ok()?;
        let record: Value = serde_json::from_str(&raw).ok()?;
        let personal: Value = personal.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let at = Reader(&record);
        let outcome = Outcome::of(at.find("/decision/effect"), at.find("/outcome/status"));
        let (caller, is_person) = rows::caller(at.find("/actor/kind"), at.find("/actor/id"), names);
        let arguments = arguments(&record, &personal);
        Some(Self {
            id: domain::RecordId::from_uuid(leaf.id).to_string(),
            name: name(&at, names),
            target: None,
            badge: outcome.map_or("", Outcome::badge),
            verdict: verdict(&record, outcome, names),
            who: caller,
            is_person,
            caller_facts: caller_facts(&at, &Reader(&personal)),
            timing: timing(&record),
            arguments_note: arguments_note(&record, &personal, &arguments),
            arguments,
            result_facts: result_facts(&at, outcome),
            record_facts: record_facts(&at, leaf),
            json: serde_json::to_string_pretty(&record).ok()?,
            raw,
            trace: at.text("/trace/id"),
        })
    }

    /// Reads what the record tells of by its id only: what a change was made to, and why a policy denied, in the words its
    /// version has. Whoever sees only their own calls reads of policies what the gateway tells them.
    pub(super) async fn read_further(
        &mut self,
        tx: &mut TenantTx,
        scope: Scope,
        names: &Names,
    ) -> Result<(), store::Error> {
        let record: Value = serde_json::from_str(&self.raw).unwrap_or_default();
        let titles = Titles::of(tx, [&record]).await?;
        self.target = Target::of(&record, names, &titles);
        let Some(verdict) = self.verdict.as_mut().filter(|_| scope.is_all()) else { return Ok(()) };
        let Some(policy) = verdict.policy.as_ref().filter(|policy| policy.effect == "deny") else { return Ok(()) };
        let version = policy.version.trim_start_matches('v').parse::<u32>().ok();
        let (Ok(id), Some(version)) = (policy.id.parse::<PolicyId>(), version) else { return Ok(()) };
        let text = policies::find_version(tx, id, version).await?.map(|version| version.text);
        verdict.said = text.and_then(|text| policy::reason(&text, &policy.name)).unwrap_or_default();
        Ok(())
    }

    /// The program that called, as it calls itself.
    pub(crate) fn client(&self) -> &str {
        self.caller_facts.iter().find(|fact| fact.name == "Client").map_or("", |fact| fact.value.as_str())
    }
}

/// Reads members of JSON by their paths.
struct Reader<'a>(&'a Value);

impl<'a> Reader<'a> {
    fn find(&self, path: &str) -> Option<&'a str> {
        self.0.pointer(path)?.as_str()
    }

    fn text(&self, path: &str) -> String {
        self.find(path).unwrap_or_default().to_owned()
    }

    /// A fact, where the record has it.
    fn fact(&self, name: &'static str, path: &str, is_code: bool) -> Option<Fact> {
        let value = match self.0.pointer(path)? {
            Value::String(text) if !text.is_empty() => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
            Value::Array(list) if !list.is_empty() => list
                .iter()
                .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
                .collect::<Vec<_>>()
                .join(", "),
            _ => return None,
        };
        Some(Fact { name, value, is_code, section: "" })
    }

    fn number(&self, path: &str) -> Option<u64> {
        self.0.pointer(path)?.as_u64()
    }
}

fn name(at: &Reader<'_>, names: &Names) -> ToolName {
    let key = at.find("/server/name");
    let known = key.and_then(|key| names.find_server(key)).map(|server| server.settings.title.as_str());
    let server = known.or(key);
    if let Some(tool) = at.find("/tool/name") {
        return ToolName::of(tool, server);
    }
    let name = at.find("/change/action").or_else(|| at.find("/mcp/method")).unwrap_or("record").to_owned();
    ToolName { prefix: String::new(), logo: server.unwrap_or(&name).to_owned(), name }
}

fn verdict(record: &Value, outcome: Option<Outcome>, names: &Names) -> Option<Verdict> {
    let at = Reader(record);
    let effect = at.find("/decision/effect")?;
    let code = at.text("/decision/code");
    let mut policies = record
        .pointer("/decision/policies")
        .and_then(Value::as_array)
        .map_or_else(Vec::new, |list| list.iter().map(|one| policy(one, names)).collect());
    let wanted = if effect == "allow" { "allow" } else { "deny" };
    let deciding = policies.iter().position(|policy| policy.effect == wanted).or((!policies.is_empty()).then_some(0));
    let policy = deciding.map(|place| policies.remove(place));
    let (kind, icon, verb) = match effect {
        "allow" => ("", "check", "Allowed"),
        "require_approval" if outcome != Some(Outcome::Denied) => ("wait", "hourglass", "Needs approval"),
        "rate_limited" => ("wait", "hourglass", "Rate limited"),
        _ => ("deny", "ban", "Denied"),
    };
    let title = if policy.is_some() { format!("{verb} by") } else { verb.to_owned() };
    let mut reason = reason(&code, effect).to_owned();
    let has_failed = effect == "allow" && outcome == Some(Outcome::Failed);
    let (kind, icon) = if has_failed { ("fail", "zap-off") } else { (kind, icon) };
    if has_failed {
        reason = format!("{reason} It then failed: {}.", further::failure(record).1);
    }
    // Where nothing is known of how long it took, which would say it.
    if effect != "allow" && !has_left(&at) && at.number("/dur/total").is_none() {
        reason = format!("{reason} It never left Sluice.");
    }
    if effect == "allow" && at.find("/outcome/status") == Some("cancelled") {
        reason = format!("{reason} The client then cancelled it.");
    }
    Some(Verdict { kind, icon, title, policy, said: String::new(), reason, others: policies })
}

fn policy(policy: &Value, names: &Names) -> Policy {
    let at = Reader(policy);
    let name = at.find("/name").or_else(|| at.find("/id")).unwrap_or("a policy").to_owned();
    let id = at.find("/id").and_then(|id| id.parse::<PolicyId>().ok());
    let of = id.and_then(|id| names.policy(id.uuid())).filter(|of| *of != name).unwrap_or_default().to_owned();
    Policy {
        id: at.text("/id"),
        name,
        of,
        version: at.number("/version").map_or_else(String::new, |version| format!("v{version}")),
        effect: if at.find("/effect") == Some("allow") { "allow" } else { "deny" },
    }
}

/// Why, by the stable word of the decision.
fn reason(code: &str, effect: &str) -> &'static str {
    match code {
        "allowed" => "A policy permits this call, and none forbids it.",
        "forbidden_by_policy" => "A policy forbids this call. A policy that forbids wins over any that permits.",
        "not_permitted" => "No policy permits this call. What nothing permits is denied.",
        "approval_required" => "A policy asks for a person’s approval. None can be given here, so the call was denied.",
        "policy_error" => "A policy could not be evaluated. The call is denied until it is mended.",
        "arguments_do_not_fit" => "The arguments do not fit the tool's reviewed schema. The server never saw them.",
        "outside_token_scope" => "The token's scope does not reach this tool.",
        "unknown_tool" => "The caller asked for a tool that is not offered to it.",
        "server_paused" => "The server is paused. No calls go to it.",
        "obligation_unsupported" => "The policy asks for something this gateway can't do, so the call is denied.",
        "audit_unavailable" => "The call could not be recorded, so it was not forwarded.",
        _ if effect == "allow" => "The call was allowed.",
        _ if effect == "rate_limited" => "There were too many calls. This one was not forwarded.",
        _ => "The call was stopped before it reached the server.",
    }
}

/// Whether anything of a call was sent to its server.
fn has_left(at: &Reader<'_>) -> bool {
    at.number("/dur/upstream").is_some() || at.find("/time_forwarded").is_some()
}

fn caller_facts(at: &Reader<'_>, personal: &Reader<'_>) -> Vec<Fact> {
    let client =
        [at.find("/client/name"), at.find("/client/version")].into_iter().flatten().collect::<Vec<_>>().join(" ");
    // Changes are made with tokens of the API, calls with tokens of the gateway.
    let tokens = if at.find("/kind") == Some("admin") { "tokens/api" } else { "tokens/gateway" };
    let facts = [
        at.fact("Id", "/actor/id", true),
        at.fact("For", "/actor/on_behalf_of", false),
        at.fact("Groups", "/actor/groups", false),
        at.fact("Token", "/actor/token_id", true).map(|token| Fact { section: tokens, ..token }),
        (!client.is_empty()).then_some(Fact { name: "Client", value: client, is_code: false, section: "" }),
        at.fact("Agent", "/agent/name", false),
        at.fact("Session", "/session/id", true),
        personal.fact("Address", "/client/ip", true),
        personal.fact("Program", "/client/user_agent", false),
    ];
    facts.into_iter().flatten().collect()
}

/// The parts of a call's time, in their order and colours.
const PARTS: [(&str, &str, &str, &str); 5] = [
    ("auth", "Identify", "t1", "k1"),
    ("policy", "Decide", "t2", "k2"),
    ("credential", "Credential", "t3", "k3"),
    ("upstream", "Upstream", "t5", "k5"),
    ("audit_wait", "Record", "t4", "k4"),
];

fn timing(record: &Value) -> Option<Timing> {
    let at = Reader(record);
    let total = at.number("/dur/total")?;
    let found = PARTS.iter().filter_map(|part| Some((part, at.number(&format!("/dur/{}", part.0))?)));
    let found: Vec<_> = found.collect();
    let sizes: Vec<_> = found.iter().map(|((_, _, class, _), took)| (*class, *took)).collect();
    let part = |((_, name, _, key), micros): &(&(_, &'static str, _, &'static str), u64)| Part {
        key,
        name,
        took: show::took(*micros),
        micros: *micros,
    };
    let parts: Vec<Part> = found.iter().map(part).collect();
    let label = parts.iter().map(|part| format!("{} {}", part.name, part.took)).collect::<Vec<_>>().join(", ");
    let whole = show::took(total);
    let has_left = has_left(&at);
    let sum = if has_left { whole } else { format!("{whole}, never left Sluice") };
    Some(Timing { segments: segments(&sizes), parts, total, has_left, sum, label })
}

/// What is kept of the arguments: by default types and lengths.
fn arguments(record: &Value, personal: &Value) -> Vec<Argument> {
    if let Some(kept) = personal.pointer("/args/redacted").and_then(Value::as_object) {
        let argument = |(name, kept): (&String, &Value)| Argument {
            name: name.clone(),
            kept: kept.as_str().map_or_else(|| kept.to_string(), outline),
        };
        let mut arguments: Vec<Argument> = kept.iter().map(argument).collect();
        arguments.sort_by(|one, other| one.name.cmp(&other.name));
        return arguments;
    }
    let keys = record.pointer("/args/keys").and_then(Value::as_array);
    let names = keys.into_iter().flatten().filter_map(Value::as_str);
    names.map(|name| Argument { name: name.to_owned(), kept: "not kept".to_owned() }).collect()
}

/// `string/15` in words.
fn outline(kept: &str) -> String {
    let (kind, size) = kept.split_once('/').map_or((kept, None), |(kind, size)| (kind, size.parse::<u64>().ok()));
    match (kind, size) {
        ("string", Some(size)) => format!("text, {}", show::plural(size, "character", "characters")),
        ("array", Some(size)) => format!("list of {size}"),
        ("object", Some(size)) => format!("object of {}", show::plural(size, "member", "members")),
        ("number" | "boolean" | "null", None) => kind.to_owned(),
        _ => kept.to_owned(),
    }
}

fn arguments_note(record: &Value, personal: &Value, arguments: &[Argument]) -> &'static str {
    if !arguments.is_empty() || record.pointer("/args").is_none() {
        return "";
    }
    if personal.pointer("/args/redacted").is_some() {
        "The call had no arguments."
    } else {
        "Nothing of the arguments is kept but their hash."
    }
}

/// What was sent and came back. The HTTP status in a record is that of our own answer, and so is the error of a call that
/// was denied: neither says anything of the server.
fn result_facts(at: &Reader<'_>, outcome: Option<Outcome>) -> Vec<Fact> {
    let size = |name, path: &str| {
        at.number(path).map(|bytes| Fact { name, value: show::bytes(bytes), is_code: false, section: "" })
    };
    let error = at.fact("Error", "/outcome/error_type", true);
    let facts = [
        size("Sent", "/args/bytes"),
        at.fact("Hash of it", "/args/hmac", true),
        size("Answered", "/result/bytes"),
        at.fact("Content", "/result/content_types", false),
        at.fact("Status", "/outcome/status", false),
        error.filter(|_| outcome == Some(Outcome::Failed)),
        at.fact("Action", "/change/action", true),
        at.fact("Its id", "/change/target/id", true),
        at.fact("SHA-256 before", "/change/before", true),
        at.fact("SHA-256 after", "/change/after", true),
    ];
    facts.into_iter().flatten().collect()
}

fn record_facts(at: &Reader<'_>, leaf: &Leaf) -> Vec<Fact> {
    let fact = |name, value: String, is_code| Some(Fact { name, value, is_code, section: "" });
    let sequence = show::count(leaf.seq);
    let began = leaf.time.format("%Y-%m-%d %H:%M:%S%.3f UTC").to_string();
    let facts = [
        fact("Sequence", if leaf.epoch > 1 { format!("{sequence}, epoch {}", leaf.epoch) } else { sequence }, false),
        fact("Began", began, false),
        fact("In the log", show::exact(&leaf.received_at), false),
        at.fact("Trace", "/trace/id", true),
        at.fact("Definition", "/tool/definition_hash", true),
        at.fact("Server version", "/server/revision", true),
        at.fact("Node", "/gw/node", true),
        fact("Leaf hash", hex::encode(&leaf.leaf_hash), true),
        fact("Record", domain::RecordId::from_uuid(leaf.id).to_string(), true),
    ];
    facts.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_policy_that_decided_comes_first_and_the_rest_follow() {
        let record = json!({"decision": {"effect": "deny", "code": "forbidden_by_policy", "policies": [
            {"id": "pol_a", "name": "reads", "effect": "allow", "version": 1},
            {"id": "pol_b", "name": "no-ddl", "effect": "deny", "version": 9}]}});
        let verdict = verdict(&record, Some(Outcome::Denied), &Names::default()).unwrap();
        let policy = verdict.policy.unwrap();
        assert_eq!((&*verdict.title, &*policy.name, &*policy.version), ("Denied by", "no-ddl", "v9"));
        assert_eq!(verdict.others.len(), 1);
        let none = json!({"decision": {"effect": "deny", "code": "not_permitted"}});
        let none = super::verdict(&none, None, &Names::default()).unwrap();
        assert_eq!((&*none.title, none.reason.ends_with("It never left Sluice.")), ("Denied", true));
    }

    #[test]
    fn our_own_answer_is_not_said_to_be_the_servers() {
        let outcome = json!({"status": "denied", "error_type": "tool_error", "http_status": 200});
        let facts = result_facts(&Reader(&json!({"outcome": outcome})), Some(Outcome::Denied));
        assert_eq!(facts.iter().map(|fact| fact.name).collect::<Vec<_>>(), ["Status"]);
        let failed = json!({"decision": {"effect": "allow", "code": "allowed"},
            "outcome": {"status": "upstream_unavailable", "error_type": "unreachable", "http_status": 200}});
        let facts = result_facts(&Reader(&failed), Some(Outcome::Failed));
        assert_eq!(facts.iter().map(|fact| fact.name).collect::<Vec<_>>(), ["Status", "Error"]);
        let verdict = verdict(&failed, Some(Outcome::Failed), &Names::default()).unwrap();
        assert_eq!(verdict.kind, "fail");
        assert!(verdict.reason.ends_with("It then failed: the server could not be reached."), "{}", verdict.reason);
    }

    #[test]
    fn a_denied_call_never_left() {
        let record = json!({"dur": {"total": 1900, "policy": 900, "audit_wait": 600}});
        let timing = timing(&record).unwrap();
        assert_eq!((&*timing.sum, &*timing.label), ("1.9 ms, never left Sluice", "Decide 0.9 ms, Record 0.6 ms"));
        let left = super::timing(&json!({"dur": {"total": 182_000, "upstream": 180_000}})).unwrap();
        assert_eq!(left.sum, "182 ms");
    }

    #[test]
    fn arguments_are_told_by_type_and_length() {
        let personal = json!({"args": {"redacted": {"to": "string/15", "n": "number", "list": "array/2"}}});
        let shown: Vec<_> = arguments(&json!({}), &personal).into_iter().map(|one| one.kept).collect();
        assert_eq!(shown, ["list of 2", "number", "text, 15 characters"], "by name");
        let erased = arguments(&json!({"args": {"keys": ["to"]}}), &Value::Null);
        assert_eq!((&*erased[0].name, &*erased[0].kept), ("to", "not kept"));
    }
}
