//! What is listed, hidden, or listed and denied.

use domain::{Reach, ServerId, TokenScope};
use policy::packs::{Count, Pack};
use policy::{Effect, Outcome, Visibility, code};
use uuid::Uuid;

use crate::acme::{
    ALL, CREATE_ISSUE, DELETE_PROJECT, LOOKUP, MORNING, QUERY, UPDATE, acme, compile, id, person, world,
};

#[test]
fn what_no_call_could_use_is_hidden_and_looks_unknown() {
    let world = world(&[ALL, r#"forbid (principal, action == Sluice::Action::"call:jira/delete_project", resource);"#]);
    let view = world.caller(&person(&[]));
    assert_eq!(view.visibility(id(DELETE_PROJECT)), Visibility::Hidden);
    assert!(!MORNING.of(&view, DELETE_PROJECT, "{}").visible);
    assert_eq!(view.visible().count(), 6);
    assert_eq!(world.caller(&person(&[])).visibility(id(999)), Visibility::Hidden);
}

#[test]
fn what_some_call_could_use_is_listed_even_if_this_call_is_denied() {
    let by_night = r#"permit (principal, action in Sluice::Action::"tools/call", resource) when { context.now.toTime() > duration("20h") };"#;
    let view = world(&[by_night]).caller(&person(&[]));
    assert_eq!(view.visible().count(), 7);
    let denied = MORNING.of(&view, LOOKUP, "{}");
    assert!(denied.visible && denied.effect == Effect::Deny && !denied.cacheable);
}

#[test]
fn certain_denial_is_found_beside_conditions_on_the_call() {
    let texts = [
        r#"permit (principal, action in Sluice::Action::"tools/call", resource) when { context.now.toTime() > duration("20h") };"#,
        r#"forbid (principal in Sluice::Group::"guests", action in Sluice::Action::"tools/call", resource) unless { resource.readOnly };"#,
    ];
    let view = world(&texts).caller(&person(&["guests"]));
    let listed: Vec<_> = view.visible().map(|(tool, _)| tool).collect();
    assert_eq!(listed, [id(QUERY), id(LOOKUP)]);
    assert!(!MORNING.of(&view, UPDATE, "{}").visible);
}

#[test]
fn a_visible_forbid_keeps_the_tool_listed_with_its_text_unless_another_hides_it() {
    let polite = r#"@visible @reason("Not here.") @instead("There.") forbid (principal, action in Sluice::Action::"tools/call", resource) unless { resource.readOnly };"#;
    let silent = r#"forbid (principal, action == Sluice::Action::"call:jira/delete_project", resource);"#;
    // The permit looks at the call, so that both ways to find out are asked.
    for permit in
        [ALL, r#"permit (principal, action in Sluice::Action::"tools/call", resource) when { context has ip };"#]
    {
        let view = world(&[permit, polite, silent]).caller(&person(&[]));
        let text = |text: &str| Some(text.to_owned());
        let expected = Visibility::ListedDenied { reason: text("Not here."), instead: text("There.") };
        assert_eq!(view.visibility(id(CREATE_ISSUE)), expected);
        assert_eq!(view.visibility(id(DELETE_PROJECT)), Visibility::Hidden);
        let denied = MORNING.of(&view, CREATE_ISSUE, "{}");
        assert_eq!((denied.visible, denied.reason.as_deref(), denied.code), (true, Some("Not here."), code::FORBIDDEN));
    }
}

#[test]
fn a_tokens_scope_narrows_what_policy_allows() {
    let mut narrow = person(&[]);
    narrow.scope = TokenScope {
        servers: Reach::Only([ServerId::from_uuid(Uuid::from_u128(4))].into()),
        tools: Reach::Only([id(LOOKUP), id(QUERY)].into()),
    };
    let world = world(&[ALL]);
    let view = world.caller(&narrow);
    assert_eq!(view.visible().map(|(tool, _)| tool).collect::<Vec<_>>(), [id(LOOKUP)]);
    let outside = MORNING.of(&view, QUERY, "{}");
    assert_eq!((outside.effect, outside.visible, outside.code), (Effect::Deny, false, code::OUTSIDE_TOKEN_SCOPE));
    assert_eq!(view.explain(id(QUERY)).unwrap().code, Some(code::OUTSIDE_TOKEN_SCOPE));
    // The class is shared with a token that reaches everything; the scope is not.
    assert_eq!(world.caller(&person(&[])).visible().count(), 7);
}

#[test]
fn the_packs_keep_every_tool_listed_and_count_what_they_allow() {
    let counted = Pack::count_all(&acme()).unwrap();
    let counts = [
        Count { allowed: 2, approval: 0, denied: 5 },
        Count { allowed: 2, approval: 5, denied: 0 },
        Count { allowed: 7, approval: 0, denied: 0 },
    ];
    assert_eq!(counted.map(|(_, count)| count), counts);
    for (pack, count) in counted {
        let view = world(&[pack.text()]).caller(&person(&[]));
        assert_eq!(view.visible().count(), 7, "{pack:?}");
        assert_eq!(Pack::find(pack.as_str()), Some(pack));
        // Of each kind of tool only one was asked.
        let mut each = Count::default();
        for (tool, _) in view.visible() {
            match MORNING.of(&view, tool.uuid().as_u128(), "{}").effect {
                Effect::Allow => each.allowed += 1,
                Effect::RequireApproval => each.approval += 1,
                Effect::Deny => each.denied += 1,
            }
        }
        assert_eq!(each, count, "{pack:?}");
    }
    let denied =
        MORNING.of(&world(&[Pack::ReadOnly.text()]).caller(&person(&[])), UPDATE, "{}").reason.clone().unwrap();
    assert!(denied.contains("only tools that read"));
}

#[test]
fn the_packs_are_valid_without_a_single_tool() {
    let mut empty = acme();
    empty.servers.clear();
    for pack in Pack::ALL {
        assert_eq!(policy::validate(pack.text(), &empty), []);
        assert_eq!(policy::validate(pack.text(), &acme()), []);
        assert_eq!(compile(&empty, &[pack.text()]).caller(&person(&[])).visible().count(), 0);
    }
}

#[test]
fn it_is_explained_what_a_person_may_call_and_why() {
    let texts = [
        ALL,
        r#"@id("by-day") forbid (principal, action, resource in Sluice::Server::"erp") unless { context.now.toTime() < duration("18h") };"#,
        r#"@id("guests") @reason("Guests only look.") forbid (principal in Sluice::Group::"guests", action in Sluice::Action::"tools/call", resource) unless { resource.readOnly };"#,
    ];
    let view = world(&texts).caller(&person(&["guests"]));
    let told = |tool| {
        let explanation = view.explain(id(tool)).unwrap();
        let rules = explanation.policies.iter().map(|rule| rule.rule.clone().unwrap_or_else(|| rule.name.clone()));
        (explanation.outcome, explanation.name, rules.collect::<Vec<_>>(), explanation.reason)
    };
    assert_eq!(told(LOOKUP), (Outcome::Allowed, "crm/lookup".to_owned(), vec!["policy 1".to_owned()], None));
    let reason = Some("Guests only look.".to_owned());
    assert_eq!(told(UPDATE), (Outcome::Denied, "crm/update".to_owned(), vec!["guests".to_owned()], reason));
    let both = vec!["policy 1".to_owned(), "by-day".to_owned()];
    assert_eq!(told(QUERY), (Outcome::Depends, "erp/query".to_owned(), both, None));
    assert_eq!(view.explain(id(999)), None);
}

#[test]
fn a_tool_is_said_to_be_allowed_where_a_rule_that_asks_does_not_concern_it() {
    let world = world(&[Pack::AskBeforeWrites.text()]);
    let view = world.caller(&person(&[]));
    let told = |tool| view.explain(id(tool)).map(|explanation| (explanation.outcome, explanation.code));
    assert_eq!(told(LOOKUP), Some((Outcome::Allowed, Some(code::ALLOWED))));
    assert_eq!(told(UPDATE), Some((Outcome::Depends, None)));
}

#[test]
fn a_rule_that_looks_at_arguments_makes_it_depend_on_the_call_even_where_it_does_not_hold() {
    let rule = r#"forbid (principal, action == Sluice::Action::"call:erp/query", resource)
        when { !resource.readOnly && context.arguments has ledger };"#;
    let view = world(&[ALL, rule]).caller(&person(&[]));
    assert_eq!(view.explain(id(QUERY)).unwrap().outcome, Outcome::Depends);
}

#[test]
fn a_rule_that_errs_whatever_the_call_denies_and_does_not_hide() {
    let absent = r#"forbid (principal, action in Sluice::Action::"tools/call", resource)
        when { Sluice::User::"usr_00000000000000000000000001".roles.contains("owner") };"#;
    let view = world(&[ALL, absent]).caller(&person(&[]));
    let denied = MORNING.of(&view, LOOKUP, "{}");
    assert_eq!((denied.effect, denied.code, denied.visible), (Effect::Deny, code::POLICY_ERROR, true));
    assert_eq!(denied.errors, ["policy `policy 2`: it names something that does not exist"]);
}
