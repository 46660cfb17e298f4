//! Upstreams choose the names of tools and arguments; none of them may break the schema or mean something else.

use domain::RiskClass;
use policy::{Effect, code, validate};
use proptest::prelude::*;
use serde_json::json;

use crate::acme::{ALL, MORNING, acme, compile, id, person, server, tool};

const NAMES: [&str; 16] = [
    r#"quo"te"#,
    r"back\slash",
    "new\nline",
    "tab\tand\u{0}nul",
    "привет",
    "مرحبا\u{202e}",
    "🙂",
    "",
    " ",
    "a/b/../c",
    "tools/call",
    "oblige",
    "__proto__",
    "__cedar::Long",
    "if",
    r#"x" in Sluice::Action::"oblige"#,
];

#[test]
fn any_name_of_a_tool_or_argument_is_only_a_name() {
    let mut names: Vec<String> = NAMES.map(str::to_owned).to_vec();
    names.push("long".repeat(5_000));
    names.push("Query".to_owned());
    names.push("query".to_owned());
    let mut vocabulary = acme();
    let tools = names.iter().zip(100..).map(|(name, number)| {
        tool(
            number,
            name,
            RiskClass::Write,
            &json!({ "properties": { name.clone(): { "type": "integer" } }, "required": [name] }),
        )
    });
    vocabulary.servers.push(server(9, "odd", &[], tools.collect()));
    let quoted = |text: &str| format!("\"{}\"", text.escape_default());
    let limits = names.iter().map(|name| {
        let (action, argument) = (quoted(&format!("call:odd/{name}")), quoted(name));
        format!("forbid (principal, action == Sluice::Action::{action}, resource) when {{ context.arguments[{argument}] > 5 }};\n")
    });
    let limits: String = limits.collect();
    assert!(validate(&limits, &vocabulary).iter().all(|finding| finding.severity == policy::Severity::Warning));
    let view = compile(&vocabulary, &[ALL, &limits]).caller(&person(&[]));
    for (name, number) in names.iter().zip(100..) {
        let call = |value: i64| MORNING.of(&view, number, &json!({ name.clone(): value }).to_string());
        assert_eq!(call(5).effect, Effect::Allow, "{name:?}");
        assert_eq!((call(6).effect, call(6).determining.len()), (Effect::Deny, 1), "{name:?}");
    }
    // The neighbour that differs only by case has a limit of its own, on an argument of its own.
    assert_eq!(MORNING.of(&view, 99 + names.len() as u128, r#"{"query":6}"#).effect, Effect::Deny);
    assert_eq!(MORNING.of(&view, 99 + names.len() as u128, r#"{"Query":6}"#).code, code::ARGUMENTS_DO_NOT_FIT);
}

#[test]
fn a_tool_that_is_there_twice_is_refused() {
    let mut vocabulary = acme();
    vocabulary.servers[0].tools.push(tool(12, "query", RiskClass::Read, &json!({})));
    let error = policy::World::compile(&vocabulary, &[]).unwrap_err();
    assert_eq!(error.to_string(), "the tool `erp/query` exists twice");
}

#[test]
fn a_definition_that_is_not_a_schema_leaves_its_arguments_out() {
    let schemas = [
        json!(null),
        json!(7),
        json!([]),
        json!({ "type": "string" }),
        json!({ "properties": [] }),
        json!({ "properties": { "a": null, "b": { "type": 5 }, "c": { "enum": [] }, "d": { "anyOf": [] }, "e": { "$ref": "#/x" } } }),
        json!({ "properties": { "a": { "type": "integer" } }, "required": "a" }),
    ];
    for schema in schemas {
        let mut vocabulary = acme();
        vocabulary.servers.push(server(9, "odd", &[], vec![tool(100, "odd", RiskClass::Read, &schema)]));
        let world = compile(&vocabulary, &[ALL]);
        assert_eq!(MORNING.of(&world.caller(&person(&[])), 100, "{}").effect, Effect::Allow, "{schema}");
    }
}

#[test]
fn what_was_left_out_is_said() {
    let mut vocabulary = acme();
    let schema = json!({ "properties": { "filter": { "type": "object" } } });
    vocabulary.servers.push(server(9, "odd", &[], vec![tool(100, "find", RiskClass::Read, &schema)]));
    let world = compile(&vocabulary, &[]);
    assert_eq!(world.left_out().len(), 1);
    assert_eq!((world.left_out()[0].tool.as_str(), world.left_out()[0].argument.as_str()), ("odd/find", "filter"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn no_name_breaks_the_schema(tool_name in any::<String>(), argument in any::<String>(), value in any::<i64>()) {
        let mut vocabulary = acme();
        let schema = json!({ "properties": { argument.clone(): { "type": "integer" } } });
        vocabulary.servers.push(server(9, "odd", &[], vec![tool(100, &tool_name, RiskClass::Read, &schema)]));
        let view = compile(&vocabulary, &[ALL]).caller(&person(&[]));
        let decision = MORNING.of(&view, 100, &json!({ argument: value }).to_string());
        prop_assert_eq!(decision.code, code::ALLOWED);
        prop_assert_eq!(view.explain(id(100)).unwrap().name, format!("odd/{tool_name}"));
    }

    #[test]
    fn no_text_and_no_arguments_make_it_panic(text in ".{0,200}", arguments in "[\\[\\]{}\":,0-9a-z.eE+-]{0,40}") {
        let _ = validate(&text, &acme());
        if serde_json::from_str::<&serde_json::value::RawValue>(&arguments).is_ok() {
            let refund = r#"permit (principal, action == Sluice::Action::"call:stripe/refund_charge", resource)
                when { context.arguments.amount > 5 };"#;
            let view = compile(&acme(), &[refund]).caller(&person(&[]));
            prop_assert_eq!(MORNING.of(&view, crate::acme::REFUND, arguments.trim()).effect, Effect::Deny);
        }
    }
}

#[test]
fn a_text_of_nothing_but_errors_is_answered_with_the_first_of_them() {
    let vocabulary = acme();
    let unknown: Vec<String> = (0..5_000).map(|number| format!("Sluice::Tool::\"erp/{number}\"")).collect();
    for text in [
        "x;\n".repeat(60_000),
        "permit (principal, action, resource) when { 1 + \"a\" == 2 };\n".repeat(900),
        "permit (principal, action, resource == Sluice::Tool::\"erp/none\");\n".repeat(900),
        "@nothing(\"x\")\npermit (principal, action, resource);\n".repeat(900),
        format!("permit (principal, action, resource) when {{ resource in [{}] }};", unknown.join(",")),
    ] {
        let findings = validate(&text, &vocabulary);
        assert!((50..=200).contains(&findings.len()), "{} of {:.60}", findings.len(), text);
    }
    let rules = |count: usize| "permit (principal, action, resource);\n".repeat(count) + "// ;;;;\n";
    assert_eq!(validate(&rules(1_000), &vocabulary), []);
    assert_eq!(
        validate(&rules(1_001), &vocabulary)[0].message,
        "a text has at most 1000 rules: write several policies"
    );
}
