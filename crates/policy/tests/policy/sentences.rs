//! The sentences of the sources, as policies.

use std::sync::Arc;

use policy::{Effect, ObligationKind, code};

use crate::acme::{
    ALL, CREATE_ISSUE, Call, DELETE_PROJECT, LOOKUP, MORNING, POST, QUERY, UPDATE, labels, person, said, world,
};

const SUPPORT: &str = r#"
@id("support-reads-only") @reason("Support may read databases, not change them.") @instead("Use a read tool, or ask the data team.")
forbid (principal in Sluice::Group::"support", action in Sluice::Action::"tools/call", resource in Sluice::Label::"database")
unless { resource.readOnly };
"#;

const FINANCE: &str = r#"
@id("finance-erp")
permit (principal in Sluice::Group::"finance", action == Sluice::Action::"call:erp/query", resource)
when { context.arguments.fiscal_year >= 2024 && context.arguments.fiscal_year <= 2026
    && context.now.toTime() >= duration("6h") && context.now.toTime() < duration("18h") };
"#;

const SEEN: &str = r#"
@id("no-customer-data-to-public") @reason("This session has read customer data; it may not write to public places.")
forbid (principal, action in Sluice::Action::"tools/call", resource in Sluice::Label::"public-write")
when { context.session.seenLabels.contains(Sluice::Label::"customer-data") };
"#;

#[test]
fn support_may_read_databases_and_not_change_them() {
    let world = world(&[ALL, SUPPORT]);
    let (support, other) = (world.caller(&person(&["support"])), world.caller(&person(&["eng"])));
    assert_eq!(said(&MORNING.of(&support, LOOKUP, "{}")), "Allow allowed by [policy 1]");
    let denied = MORNING.of(&support, UPDATE, "{}");
    assert_eq!(said(&denied), "Deny forbidden_by_policy by [support-reads-only]");
    assert_eq!(denied.reason.as_deref(), Some("Support may read databases, not change them."));
    assert_eq!(denied.instead.as_deref(), Some("Use a read tool, or ask the data team."));
    assert_eq!(MORNING.of(&other, UPDATE, "{}").effect, Effect::Allow);
    assert_eq!(MORNING.of(&support, CREATE_ISSUE, "{}").effect, Effect::Allow);
}

#[test]
fn a_decision_names_the_policies_that_made_it() {
    let world = world(&[ALL, SUPPORT]);
    let denied = MORNING.of(&world.caller(&person(&["support"])), UPDATE, "{}");
    insta::assert_snapshot!(serde_json::to_string_pretty(&denied.determining).unwrap(), @r#"
    [
      {
        "policy": "pol_00000000000000000000000002",
        "version": 3,
        "sha256": "0000000000000000000000000000000000000000000000000000000000000002",
        "name": "policy 2",
        "rule": "support-reads-only",
        "effect": "forbid"
      }
    ]
    "#);
}

#[test]
fn finance_may_query_certain_years_by_day() {
    let world = world(&[FINANCE]);
    let (finance, other) = (world.caller(&person(&["finance"])), world.caller(&person(&["support"])));
    let evening = Call { at: "2026-11-20T19:30:00Z", ..MORNING };
    assert_eq!(said(&MORNING.of(&finance, QUERY, r#"{"fiscal_year":2026}"#)), "Allow allowed by [finance-erp]");
    assert_eq!(said(&MORNING.of(&finance, QUERY, r#"{"fiscal_year":2019}"#)), "Deny not_permitted by []");
    assert_eq!(said(&evening.of(&finance, QUERY, r#"{"fiscal_year":2026}"#)), "Deny not_permitted by []");
    assert_eq!(said(&MORNING.of(&other, QUERY, r#"{"fiscal_year":2026}"#)), "Deny not_permitted by []");
}

#[test]
fn projects_are_never_deleted() {
    let never = r#"@id("never") forbid (principal, action == Sluice::Action::"call:jira/delete_project", resource);"#;
    let view = world(&[ALL, never]).caller(&person(&["admins"]));
    assert_eq!(said(&MORNING.of(&view, DELETE_PROJECT, "{}")), "Deny forbidden_by_policy by [never]");
    assert_eq!(MORNING.of(&view, CREATE_ISSUE, "{}").effect, Effect::Allow);
}

#[test]
fn personal_data_is_masked_for_all_but_finance() {
    let mask = r#"@id("mask-personal-data") @redact("result:$.**.ssn,result:$.**.card_number")
        permit (principal, action == Sluice::Action::"oblige", resource in Sluice::Label::"customer-data")
        unless { principal in Sluice::Group::"finance" };"#;
    let world = world(&[ALL, mask]);
    let (finance, support) = (world.caller(&person(&["finance"])), world.caller(&person(&["support"])));
    let obliged = MORNING.of(&support, LOOKUP, "{}");
    assert_eq!(obliged.effect, Effect::Allow);
    assert_eq!(obliged.obligations.len(), 1);
    assert_eq!(obliged.obligations[0].kind, ObligationKind::Redact);
    assert_eq!(obliged.obligations[0].value, "result:$.**.ssn,result:$.**.card_number");
    assert_eq!(obliged.obligations[0].rule.rule.as_deref(), Some("mask-personal-data"));
    assert!(MORNING.of(&finance, LOOKUP, "{}").obligations.is_empty());
    assert!(MORNING.of(&support, CREATE_ISSUE, "{}").obligations.is_empty());
}

#[test]
fn the_obligations_of_all_permits_that_hold_apply_and_none_grants() {
    let cap = r#"@cap("result_bytes<=65536") permit (principal, action == Sluice::Action::"oblige", resource);"#;
    let strip = r#"@strip_ui @mask("result:$.iban") permit (principal, action == Sluice::Action::"oblige", resource);"#;
    let kinds = |texts: &[&str]| {
        let decision = MORNING.of(&world(texts).caller(&person(&[])), LOOKUP, "{}");
        (decision.effect, decision.obligations.iter().map(|obligation| obligation.kind).collect::<Vec<_>>())
    };
    assert_eq!(
        kinds(&[ALL, cap, strip]),
        (Effect::Allow, vec![ObligationKind::Cap, ObligationKind::Mask, ObligationKind::StripUi])
    );
    assert_eq!(kinds(&[cap, strip]), (Effect::Deny, vec![]));
}

#[test]
fn who_has_read_customer_data_may_not_write_in_public_and_unknown_counts_as_read() {
    let view = world(&[ALL, SEEN]).caller(&person(&[]));
    let read = Call { seen: Some(labels(["customer-data"])), ..MORNING };
    let unknown = Call { seen: None, ..MORNING };
    assert_eq!(MORNING.of(&view, POST, "{}").effect, Effect::Allow);
    assert_eq!(said(&read.of(&view, POST, "{}")), "Deny forbidden_by_policy by [no-customer-data-to-public]");
    assert_eq!(unknown.of(&view, POST, "{}").code, code::POLICY_ERROR);
    assert_eq!(unknown.of(&view, LOOKUP, "{}").effect, Effect::Allow);
}

#[test]
fn the_context_holds_what_the_call_says() {
    let network = r#"permit (principal, action in Sluice::Action::"tools/call", resource)
        when { context has ip && context.ip.isInRange(ip("10.0.0.0/8")) && context.token.ageSeconds < 40000
            && context.token.kind == "gateway" && context.client has name && context.client.name == "claude-code"
            && !(context.client has version) && !(context has bundle) && principal.roles.contains("member")
            && principal.kind == "user" };"#;
    let view = world(&[network]).caller(&person(&[]));
    let from = |ip| Call { ip, ..MORNING }.of(&view, LOOKUP, "{}").effect;
    assert_eq!(from(Some("10.1.1.1")), Effect::Allow);
    assert_eq!(from(Some("::ffff:10.1.1.1")), Effect::Allow);
    assert_eq!(from(Some("192.0.2.1")), Effect::Deny);
    assert_eq!(from(None), Effect::Deny);
    let old = Call { at: "2026-11-20T12:00:00Z", ..MORNING };
    assert_eq!(old.of(&view, LOOKUP, "{}").effect, Effect::Deny);
}

#[test]
fn a_person_named_by_a_rule_is_told_apart_from_others() {
    let other = person(&[]);
    let mut named = person(&[]);
    named.user = domain::UserId::from_uuid(uuid::Uuid::from_u128(99));
    let text = format!(r#"forbid (principal == Sluice::User::"{}", action, resource);"#, named.user);
    let world = world(&[ALL, &text]);
    assert_eq!(MORNING.of(&world.caller(&other), LOOKUP, "{}").effect, Effect::Allow);
    assert_eq!(MORNING.of(&world.caller(&named), LOOKUP, "{}").effect, Effect::Deny);
    assert_eq!(MORNING.of(&world.caller(&other), LOOKUP, "{}").effect, Effect::Allow);
}

#[test]
fn a_decision_that_looks_at_nothing_of_the_call_is_made_once() {
    let world = world(&[ALL, SUPPORT, FINANCE]);
    let (view, twin) = (world.caller(&person(&["support"])), world.caller(&person(&["support"])));
    let first = MORNING.of(&view, UPDATE, "{}");
    assert!(first.cacheable && Arc::ptr_eq(&first, &MORNING.of(&twin, UPDATE, "[]")));
    // Finance's rule is about another group, so it does not make the tool depend on the call.
    assert!(MORNING.of(&view, QUERY, "{}").cacheable);
    assert!(!MORNING.of(&world.caller(&person(&["finance"])), QUERY, r#"{"fiscal_year":2026}"#).cacheable);
}
