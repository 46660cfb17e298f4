//! The tenant the tests are about: four servers, a few people, and short ways to ask.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{
    Annotations, EraPin, Label, PolicyId, PolicyText, Principal, RiskClass, Role, ServerId, SessionMode, TenantId,
    TokenId, TokenScope, ToolId, UserId,
};
use policy::{CallContext, CallerView, Decision, ServerWords, ToolWords, Vocabulary, World};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) fn acme() -> Vocabulary {
    Vocabulary {
        tenant: TenantId::from_uuid(Uuid::from_u128(1)),
        servers: vec![
            server(
                1,
                "erp",
                &["database"],
                vec![tool(
                    11,
                    "query",
                    RiskClass::Read,
                    &json!({ "properties": { "fiscal_year": { "type": "integer" }, "ledger": { "type": "string" } }, "required": ["fiscal_year"] }),
                )],
            ),
            server(
                2,
                "jira",
                &[],
                vec![
                    tool(21, "create_issue", RiskClass::Write, &json!({})),
                    tool(22, "delete_project", RiskClass::Destructive, &json!({})),
                ],
            ),
            server(
                3,
                "stripe",
                &[],
                vec![tool(
                    31,
                    "refund_charge",
                    RiskClass::Write,
                    &json!({ "properties": { "amount": { "type": "integer" }, "currency": { "type": "string" } }, "required": ["amount", "currency"] }),
                )],
            ),
            server(
                4,
                "crm",
                &["database", "customer-data"],
                vec![tool(41, "lookup", RiskClass::Read, &json!({})), tool(42, "update", RiskClass::Write, &json!({}))],
            ),
            server(5, "web", &["public-write"], vec![tool(51, "post", RiskClass::Write, &json!({}))]),
        ],
        groups: None,
    }
}

pub(crate) const QUERY: u128 = 11;
pub(crate) const CREATE_ISSUE: u128 = 21;
pub(crate) const DELETE_PROJECT: u128 = 22;
pub(crate) const REFUND: u128 = 31;
pub(crate) const LOOKUP: u128 = 41;
pub(crate) const UPDATE: u128 = 42;
pub(crate) const POST: u128 = 51;

/// Lets everybody call everything.
pub(crate) const ALL: &str = r#"permit (principal, action in Sluice::Action::"tools/call", resource);"#;

pub(crate) fn id(number: u128) -> ToolId {
    ToolId::from_uuid(Uuid::from_u128(number))
}

pub(crate) fn labels<const N: usize>(labels: [&str; N]) -> BTreeSet<Label> {
    labels.into_iter().map(|label| label.parse().unwrap()).collect()
}

pub(crate) fn server<const N: usize>(number: u128, key: &str, own: &[&str; N], tools: Vec<ToolWords>) -> ServerWords {
    ServerWords {
        id: ServerId::from_uuid(Uuid::from_u128(number)),
        key: key.parse().unwrap(),
        era: EraPin::Modern,
        sessions: SessionMode::PerPrincipal,
        labels: labels(*own),
        tools,
    }
}

pub(crate) fn tool(number: u128, name: &str, risk: RiskClass, input_schema: &Value) -> ToolWords {
    let definition = serde_json::value::to_raw_value(&json!({ "name": name, "inputSchema": input_schema })).unwrap();
    ToolWords {
        id: id(number),
        name: name.to_owned(),
        risk,
        labels: labels([]),
        annotations: Annotations::default(),
        definition,
    }
}

pub(crate) fn text(number: u128, text: &str) -> PolicyText {
    PolicyText {
        id: PolicyId::from_uuid(Uuid::from_u128(number)),
        version: 3,
        name: format!("policy {number}"),
        text: text.to_owned(),
        sha256: format!("{number:064}"),
    }
}

pub(crate) fn world(texts: &[&str]) -> World {
    compile(&acme(), texts)
}

pub(crate) fn compile(vocabulary: &Vocabulary, texts: &[&str]) -> World {
    let texts: Vec<_> = texts.iter().zip(1..).map(|(text, number)| self::text(number, text)).collect();
    World::compile(vocabulary, &texts).unwrap()
}

pub(crate) fn person(groups: &[&str]) -> Principal {
    Principal {
        tenant: TenantId::from_uuid(Uuid::from_u128(1)),
        user: UserId::from_uuid(Uuid::from_u128(7)),
        token: TokenId::from_uuid(Uuid::from_u128(8)),
        role: Role::Member,
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        scope: TokenScope::default(),
        issued_at: "2026-11-20T00:00:00Z".parse().unwrap(),
        expires_at: "2027-11-20T00:00:00Z".parse().unwrap(),
    }
}

/// A call at nine in the morning, from a known address, by a client that has read nothing.
pub(crate) struct Call {
    pub(crate) at: &'static str,
    pub(crate) seen: Option<BTreeSet<Label>>,
    pub(crate) ip: Option<&'static str>,
}

pub(crate) const MORNING: Call = Call { at: "2026-11-20T09:00:00Z", seen: Some(BTreeSet::new()), ip: Some("10.1.1.1") };

impl Call {
    pub(crate) fn of(&self, view: &CallerView, tool: u128, arguments: &str) -> Arc<Decision> {
        let context = CallContext {
            now: self.at.parse::<DateTime<Utc>>().unwrap(),
            ip: self.ip.map(|ip| ip.parse().unwrap()),
            client_name: Some("claude-code"),
            client_version: None,
            seen_labels: self.seen.as_ref(),
        };
        view.decide(id(tool), &context, &RawValue::from_string(arguments.to_owned()).unwrap())
    }
}

/// What a decision comes to, in a line.
pub(crate) fn said(decision: &Decision) -> String {
    let rules: Vec<_> =
        decision.determining.iter().map(|rule| rule.rule.clone().unwrap_or_else(|| rule.name.clone())).collect();
    format!("{:?} {} by [{}]", decision.effect, decision.code, rules.join(", "))
}
