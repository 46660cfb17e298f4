//! Approvals, arguments and errors: everything that is not a plain yes is a no.

use policy::{Approval, Effect, code};

use crate::acme::{ALL, LOOKUP, MORNING, QUERY, REFUND, acme, person, said, text, world};

const REFUNDS: &str = r#"
@id("refund-over-200") @decision("approval") @approvers("group:finance-leads") @within("30m") @name("Refunds over 200 EUR ask a person")
forbid (principal in Sluice::Group::"support-agents", action == Sluice::Action::"call:stripe/refund_charge", resource)
when { context.arguments.amount > 20000 && context.arguments.currency == "eur" } unless { context.approved };
"#;

#[test]
fn a_large_refund_asks_a_person() {
    let view = world(&[ALL, REFUNDS]).caller(&person(&["support-agents"]));
    assert_eq!(MORNING.of(&view, REFUND, r#"{"amount":20000,"currency":"eur"}"#).effect, Effect::Allow);
    let asked = MORNING.of(&view, REFUND, r#"{"amount":20001,"currency":"eur"}"#);
    assert_eq!(said(&asked), "RequireApproval approval_required by [refund-over-200]");
    let approvers = vec!["group:finance-leads".to_owned()];
    assert_eq!(asked.approval, Some(Approval { approvers, within_s: Some(1800) }));
    assert!(asked.visible && !asked.cacheable);
    let other = world(&[ALL, REFUNDS]).caller(&person(&["support"]));
    assert_eq!(MORNING.of(&other, REFUND, r#"{"amount":20001,"currency":"eur"}"#).effect, Effect::Allow);
}

#[test]
fn approval_never_lifts_another_forbid_and_never_grants() {
    let never = r#"@id("never") forbid (principal, action == Sluice::Action::"call:stripe/refund_charge", resource);"#;
    let large = r#"{"amount":20001,"currency":"eur"}"#;
    let agent = person(&["support-agents"]);
    let both = MORNING.of(&world(&[ALL, REFUNDS, never]).caller(&agent), REFUND, large);
    assert_eq!(said(&both), "Deny forbidden_by_policy by [refund-over-200, never]");
    assert_eq!(both.approval, None);
    let nothing_permits = MORNING.of(&world(&[REFUNDS]).caller(&agent), REFUND, large);
    assert_eq!(nothing_permits.effect, Effect::Deny);
}

#[test]
fn the_shortest_time_and_all_approvers_of_several_rules_hold() {
    let rule = |approvers: &str, within: &str| {
        format!(
            r#"@decision("approval") @approvers("{approvers}") @within("{within}")
            forbid (principal, action in Sluice::Action::"tools/call", resource) unless {{ context.approved }};"#
        )
    };
    let view = world(&[ALL, &rule("role:admin,group:a", "2h"), &rule("group:a", "90s")]).caller(&person(&[]));
    let approval = MORNING.of(&view, LOOKUP, "{}").approval.clone().unwrap();
    assert_eq!(
        approval,
        Approval { approvers: vec!["role:admin".to_owned(), "group:a".to_owned()], within_s: Some(90) }
    );
}

#[test]
fn an_argument_that_does_not_fit_its_type_never_slips_past_a_forbid() {
    let limit = r#"@id("limit") forbid (principal, action == Sluice::Action::"call:stripe/refund_charge", resource)
        when { context.arguments.amount > 20000 };"#;
    let view = world(&[ALL, limit]).caller(&person(&[]));
    let code = |arguments: &str| MORNING.of(&view, REFUND, arguments).code;
    assert_eq!(code(r#"{"amount":5}"#), code::ALLOWED);
    assert_eq!(code(r#"{"amount":5.0,"currency":7,"extra":{}}"#), code::ALLOWED);
    assert_eq!(code(r#"{"amount":3e4}"#), code::FORBIDDEN);
    for wrong in [
        r#"{"amount":"30000"}"#,
        r#"{"amount":9223372036854775808}"#,
        r#"{"amount":1e30}"#,
        r#"{"amount":1.5}"#,
        r#"{"amount":[30000]}"#,
        r#"{"amount":null}"#,
        r#"{"amount":1,"amount":30000}"#,
        "[]",
        "7",
    ] {
        let decision = MORNING.of(&view, REFUND, wrong);
        assert_eq!((decision.effect, decision.code), (Effect::Deny, code::ARGUMENTS_DO_NOT_FIT), "{wrong}");
    }
    assert_eq!(
        MORNING.of(&view, REFUND, r#"{"amount":"s3cret"}"#).reason.as_deref(),
        Some("The argument `amount` does not have the type or range that the tool declares, and a policy looks at it.")
    );
}

#[test]
fn a_policy_that_errs_denies_and_its_error_holds_no_value_of_the_call() {
    let view = world(&[
        ALL,
        r#"@name("years") forbid (principal, action == Sluice::Action::"call:erp/query", resource)
        when { context.arguments.fiscal_year * 9223372036854775807 < 0 };"#,
    ])
    .caller(&person(&[]));
    let missing = MORNING.of(&view, QUERY, "{}");
    assert_eq!((missing.effect, missing.code), (Effect::Deny, code::POLICY_ERROR));
    assert_eq!(missing.errors, ["policy `years`: what it looks at is absent"]);
    let overflow = MORNING.of(&view, QUERY, r#"{"fiscal_year":424242}"#);
    assert_eq!((overflow.effect, overflow.code), (Effect::Deny, code::POLICY_ERROR));
    assert_eq!(overflow.errors, ["policy `years`: a number became too large"]);
    assert!(!format!("{overflow:?}").contains("424242"));
}

#[test]
fn an_error_among_the_obligations_denies_too() {
    let oblige = r#"@redact("result:$.a") permit (principal, action == Sluice::Action::"oblige", resource)
        when { context.session.seenLabels.contains(Sluice::Label::"customer-data") };"#;
    let view = world(&[ALL, oblige]).caller(&person(&[]));
    assert_eq!(MORNING.of(&view, LOOKUP, "{}").effect, Effect::Allow);
    let unknown = crate::acme::Call { seen: None, ..MORNING };
    assert_eq!(unknown.of(&view, LOOKUP, "{}").code, code::POLICY_ERROR);
}

#[test]
fn an_unknown_tool_and_a_foreign_principal_reach_nothing() {
    let world = world(&[ALL]);
    let unknown = MORNING.of(&world.caller(&person(&[])), 999, "{}");
    assert_eq!((unknown.effect, unknown.visible, unknown.code), (Effect::Deny, false, code::UNKNOWN_TOOL));
    let mut foreign = person(&[]);
    foreign.tenant = domain::TenantId::from_uuid(uuid::Uuid::from_u128(2));
    let view = world.caller(&foreign);
    let denied = MORNING.of(&view, LOOKUP, "{}");
    assert_eq!((denied.effect, denied.visible), (Effect::Deny, false));
    assert_eq!(view.visible().count(), 0);
}

#[test]
fn what_does_not_validate_does_not_compile_and_the_error_says_where() {
    let texts = [text(1, ALL), text(2, "permit (principal, action, resource)\nwhen { resource.redOnly };")];
    let error = policy::World::compile(&acme(), &texts).unwrap_err().to_string();
    assert!(error.starts_with("policy `policy 2`, line 2, column 8: attribute `redOnly`"), "{error}");
}
