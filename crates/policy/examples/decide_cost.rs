//! What a decision costs, in processor time of one thread: `cargo run --release -p policy --example decide_cost`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement for people to read")]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::Instant;

use chrono::DateTime;
use domain::{
    Annotations, EraPin, PolicyId, PolicyText, Principal, RiskClass, Role, ServerId, SessionMode, TenantId, TokenId,
    TokenScope, ToolId, UserId,
};
use policy::{CallContext, CallerView, ServerWords, ToolWords, Vocabulary, World};
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

fn main() {
    let vocabulary = vocabulary();
    for policies in [10, 100, 1_000] {
        let texts = [text(&rules(policies))];
        let begun = Instant::now();
        let world = World::compile(&vocabulary, &texts).unwrap();
        println!("{policies} policies, 500 tools: compiled in {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
        let begun = Instant::now();
        let view = world.caller(&principal("team0"));
        let listed = view.visible().count();
        println!(
            "  first list of a class of principals ({listed} tools): {:.1} ms",
            begun.elapsed().as_secs_f64() * 1e3
        );
        measure("settled", &world.caller(&principal("team1")), 7);
        measure("dynamic, sliced", &view, 0);
    }
}

/// Time on an otherwise idle processor: the best of five runs.
fn measure(what: &str, view: &CallerView, tool: u128) {
    let seen = BTreeSet::new();
    let context = CallContext {
        now: DateTime::UNIX_EPOCH,
        ip: Some("10.1.1.1".parse().unwrap()),
        client_name: Some("claude-code"),
        client_version: None,
        seen_labels: Some(&seen),
    };
    let tool = ToolId::from_uuid(Uuid::from_u128(tool));
    let arguments = RawValue::from_string(r#"{"limit":50,"table":"ledger"}"#.to_owned()).unwrap();
    let cacheable = view.decide(tool, &context, &arguments).cacheable;
    let best = (0..5).map(|_| {
        let begun = Instant::now();
        for _ in 0..20_000 {
            black_box(view.decide(black_box(tool), &context, &arguments));
        }
        begun.elapsed().as_secs_f64() / 20_000.0
    });
    println!("  {what} (cached: {cacheable}): {:.2} us", best.fold(f64::MAX, f64::min) * 1e6);
}

/// A quarter each: a team's readers, a team's limit on an argument, a team's network, everybody's client.
fn rules(number: usize) -> String {
    let rule = |i: usize| {
        let (team, server, tool) = (i / 4, i % 10, i % 500);
        match i % 4 {
            0 => format!(
                r#"permit (principal in Sluice::Group::"team{team}", action in Sluice::Action::"tools/call", resource);"#
            ),
            1 => format!(
                r#"forbid (principal in Sluice::Group::"team{team}", action == Sluice::Action::"call:s{}/t{tool}", resource)
                when {{ context.arguments.limit > 100 }};"#,
                tool / 50
            ),
            2 => format!(
                r#"forbid (principal in Sluice::Group::"team{team}", action in Sluice::Action::"tools/call", resource in Sluice::Server::"s{server}")
                unless {{ resource.readOnly }};"#
            ),
            _ => format!(
                r#"forbid (principal, action == Sluice::Action::"call:s0/t{}", resource)
                when {{ context.now.toTime() > duration("23h") && context.arguments.table == "x{i}" }};"#,
                team % 25
            ),
        }
    };
    (0..number).map(|i| rule(i) + "\n").collect()
}

fn text(text: &str) -> PolicyText {
    PolicyText {
        id: PolicyId::from_uuid(Uuid::nil()),
        version: 1,
        name: "rules".to_owned(),
        text: text.to_owned(),
        sha256: String::new(),
    }
}

fn vocabulary() -> Vocabulary {
    let schema = json!({ "name": "t", "inputSchema": {
        "properties": { "limit": { "type": "integer" }, "table": { "type": "string" } }, "required": ["limit", "table"] } });
    let tool = |number: u128| ToolWords {
        id: ToolId::from_uuid(Uuid::from_u128(number)),
        name: format!("t{number}"),
        risk: if number.is_multiple_of(2) { RiskClass::Read } else { RiskClass::Write },
        labels: BTreeSet::new(),
        annotations: Annotations::default(),
        definition: serde_json::value::to_raw_value(&schema).unwrap(),
    };
    let server = |number: u128| ServerWords {
        id: ServerId::from_uuid(Uuid::from_u128(number)),
        key: format!("s{number}").parse().unwrap(),
        era: EraPin::Modern,
        sessions: SessionMode::PerPrincipal,
        labels: BTreeSet::new(),
        tools: (number * 50..(number + 1) * 50).map(tool).collect(),
    };
    Vocabulary { tenant: TenantId::from_uuid(Uuid::nil()), servers: (0..10).map(server).collect(), groups: None }
}

fn principal(group: &str) -> Principal {
    Principal {
        tenant: TenantId::from_uuid(Uuid::nil()),
        user: UserId::from_uuid(Uuid::nil()),
        token: TokenId::from_uuid(Uuid::nil()),
        role: Role::Member,
        groups: [group.parse().unwrap()].into(),
        scope: TokenScope::default(),
        issued_at: DateTime::UNIX_EPOCH,
        expires_at: DateTime::UNIX_EPOCH,
    }
}
