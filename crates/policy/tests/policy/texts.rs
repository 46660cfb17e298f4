//! What an editor is told about a text.

use policy::{Severity, validate};

use crate::acme::{ALL, acme};

fn found(text: &str) -> Vec<String> {
    let mut vocabulary = acme();
    vocabulary.groups = Some(["support".parse().unwrap(), "finance".parse().unwrap()].into());
    validate(text, &vocabulary)
        .into_iter()
        .map(|finding| {
            let kind = if finding.severity == Severity::Error { "error" } else { "warning" };
            format!("{kind} {finding}")
        })
        .collect()
}

#[test]
fn a_text_that_is_right_has_no_findings() {
    assert_eq!(found(ALL), Vec::<String>::new());
    assert_eq!(found(""), Vec::<String>::new());
    assert_eq!(found("// nothing yet\n"), Vec::<String>::new());
}

#[test]
fn a_syntax_error_has_its_place() {
    insta::assert_debug_snapshot!(found("permit (principal, action, resource);\nforbid (principal action, resource);"), @r##"
    [
        "error line 2, column 19: unexpected token `action`",
    ]
    "##);
}

#[test]
fn a_misspelt_attribute_argument_or_action_is_an_error() {
    insta::assert_debug_snapshot!(found("forbid (principal, action in Sluice::Action::\"tools/call\", resource)\nwhen { resource.redOnly };"), @r##"
    [
        "error line 2, column 8: attribute `redOnly` on entity type `Sluice::Tool` not found; did you mean `readOnly`?",
    ]
    "##);
    insta::assert_debug_snapshot!(found("permit (principal, action == Sluice::Action::\"call:erp/qurey\", resource);"), @r##"
    [
        "error line 1, column 30: unrecognized action `Sluice::Action::\"call:erp/qurey\"`; did you mean `Sluice::Action::\"call:erp/query\"`?",
    ]
    "##);
    insta::assert_debug_snapshot!(found("permit (principal, action == Sluice::Action::\"call:erp/query\", resource)\nwhen { context.arguments.year > 1 };"), @r##"
    [
        "error line 2, column 8: attribute `arguments.year` in context for Sluice::Action::\"call:erp/query\" not found; did you mean `ledger`?",
    ]
    "##);
}

#[test]
fn an_optional_argument_must_be_asked_for_first() {
    insta::assert_debug_snapshot!(found("permit (principal, action == Sluice::Action::\"call:erp/query\", resource)\nwhen { context.arguments.ledger == \"x\" };"), @r##"
    [
        "error line 2, column 8: unable to guarantee safety of access to optional attribute `arguments.ledger` in context for Sluice::Action::\"call:erp/query\"; try testing for the attribute's presence with `context.arguments has ledger && ..`",
    ]
    "##);
    assert_eq!(
        found(
            "permit (principal, action == Sluice::Action::\"call:erp/query\", resource)\nwhen { context.arguments has ledger && context.arguments.ledger == \"x\" };"
        ),
        Vec::<String>::new()
    );
}

#[test]
fn names_that_are_not_the_tenants_are_found_with_a_hint() {
    insta::assert_debug_snapshot!(found(
        r#"permit (principal in Sluice::Group::"suport", action, resource in Sluice::Label::"databse");
permit (principal, action, resource == Sluice::Tool::"jira/create_isue");
permit (principal, action, resource in Sluice::Server::"gira");
permit (principal == Sluice::User::"ann@acme.test", action, resource in Sluice::Tenant::"acme");"#
    ), @r##"
    [
        "warning line 1, column 22: there is no group `suport`; did you mean `support`?",
        "warning line 1, column 67: no server or tool has the label `databse`; did you mean `database`?",
        "error line 2, column 40: there is no tool `jira/create_isue`; did you mean `jira/create_issue`?",
        "error line 3, column 40: there is no server `gira`; did you mean `jira`?",
        "error line 4, column 22: `ann@acme.test` is not a user's id, which looks like `usr_` and 26 characters",
        "error line 4, column 73: this tenant's id is `ten_00000000000000000000000001`",
    ]
    "##);
}

#[test]
fn a_rule_that_can_never_apply_is_an_error() {
    insta::assert_debug_snapshot!(found(r#"forbid (principal, action == Sluice::Action::"tools/call", resource);"#), @r##"
    [
        "error line 1, column 1: no call has this action itself, only members of it: write `action in Sluice::Action::\"tools/call\"`",
    ]
    "##);
    insta::assert_debug_snapshot!(found("forbid (principal, action, resource)\nwhen { principal.kind == \"user\" && false };"), @r##"
    [
        "error line 1, column 1: this rule can never apply: its condition is false for every call",
    ]
    "##);
    insta::assert_debug_snapshot!(found(r#"forbid (principal, action == Sluice::Action::"resources/read", resource is Sluice::Tool);"#), @r##"
    [
        "error line 1, column 1: this rule can never apply: the action is never taken on such a resource",
    ]
    "##);
}

#[test]
fn an_approval_that_can_never_be_given_is_an_error() {
    insta::assert_debug_snapshot!(found("@id(\"ask\")\n@decision(\"approval\")\nforbid (principal, action, resource);"), @r##"
    [
        "error line 2, column 1: this can never be approved: end the rule with `unless { context.approved }`",
    ]
    "##);
}

#[test]
fn annotations_templates_and_repeated_ids_are_checked() {
    insta::assert_debug_snapshot!(found("@id(\"a\") @visibel\nforbid (principal, action, resource);\n@id(\"a\")\npermit (principal, action, resource);"), @r##"
    [
        "error line 1, column 10: `@visibel` is not an annotation we know; did you mean `visible`?",
        "error line 3, column 1: another rule has the id `a` already",
    ]
    "##);
    insta::assert_debug_snapshot!(found("permit (principal == ?principal, action, resource);"), @r##"
    [
        "error line 1, column 22: templates are not used here: write the principal or resource itself",
    ]
    "##);
    insta::assert_debug_snapshot!(found("forbid (principal, action == Sluice::Action::\"oblige\", resource);\npermit (principal, action == Sluice::Action::\"oblige\", resource);"), @r##"
    [
        "error line 1, column 1: `oblige` only adds obligations: there is nothing to forbid",
        "warning line 2, column 1: this rule adds no obligation: it has no `@redact`, `@mask` or other",
    ]
    "##);
}

#[test]
fn a_text_without_end_is_refused_before_it_is_read() {
    let huge = "// ".to_owned() + &"x".repeat(300_000);
    assert_eq!(found(&huge).len(), 1);
    let deep =
        format!("permit (principal, action, resource) when {{ {}true{} }};", "(".repeat(20_000), ")".repeat(20_000));
    assert_eq!(found(&deep).len(), 1);
}

#[test]
fn a_mistake_about_all_tools_is_said_once() {
    let text = r#"forbid (principal, action in Sluice::Action::"tools/call", resource) when { context.arguments.nothing == 1 };"#;
    assert_eq!(found(text).len(), 1, "{:?}", found(text));
}
