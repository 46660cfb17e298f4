//! A slice decides as the whole set does, and nothing is hidden that some call could use.

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression, Schema,
};
use domain::{Annotations, EraPin, SessionMode};
use policy::{Effect, Visibility, World};
use proptest::prelude::*;
use proptest::sample::select;

use crate::acme::{Call, MORNING, acme, compile, id, person};

const TOOLS: [u128; 7] = [11, 21, 22, 31, 41, 42, 51];

/// Any rule of the kinds people write.
fn rule() -> impl Strategy<Value = String> {
    let principal = select(vec![
        "principal",
        r#"principal in Sluice::Group::"a""#,
        r#"principal in Sluice::Group::"b""#,
        "principal is Sluice::User",
        r#"principal is Sluice::User in Sluice::Group::"a""#,
        r#"principal == Sluice::User::"usr_00000000000000000000000007""#,
        r#"principal == Sluice::User::"usr_00000000000000000000000009""#,
    ]);
    let action = select(vec![
        r#"action in Sluice::Action::"tools/call""#,
        r#"action in [Sluice::Action::"call:crm/lookup", Sluice::Action::"call:crm/update"]"#,
        r#"action in [Sluice::Action::"tools/call", Sluice::Action::"call:erp/query"]"#,
    ]);
    let resource = select(vec![
        "resource",
        "resource is Sluice::Tool",
        r#"resource in Sluice::Server::"crm""#,
        r#"resource in Sluice::Label::"database""#,
        r#"resource is Sluice::Tool in Sluice::Label::"customer-data""#,
        r#"resource == Sluice::Tool::"crm/update""#,
        r#"resource in Sluice::Tenant::"ten_00000000000000000000000001""#,
    ]);
    let condition = select(vec![
        "",
        "when { resource.readOnly }",
        r#"unless { principal.roles.contains("admin") || resource.risk == "write" }"#,
        "when { context has ip }",
        r#"when { context.now.toTime() >= duration("6h") && resource.readOnly }"#,
        r#"when { context.session.seenLabels.contains(Sluice::Label::"customer-data") }"#,
        r#"when { context.client has name && context.client.name == "claude-code" }"#,
        r#"when { (context.approved || true) && resource in Sluice::Server::"crm" }"#,
        "when { Sluice::Server::\"erp\".shared || context.token.ageSeconds > 5 }",
        r#"when { principal in Sluice::Group::"b" && context.session.seenLabels.isEmpty() }"#,
    ]);
    (select(vec!["permit", "permit", "forbid"]), principal, action, resource, condition).prop_map(
        |(effect, principal, action, resource, condition)| {
            format!("{effect} ({principal}, {action}, {resource}) {condition};")
        },
    )
}

/// The tenant's entities and one person's, made without any of the crate's code.
fn entities(groups: &[&str]) -> Entities {
    let uid = |kind: &str, id: &str| -> EntityUid { format!("Sluice::{kind}::\"{id}\"").parse().unwrap() };
    let bool = RestrictedExpression::new_bool;
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let tenant = uid("Tenant", "ten_00000000000000000000000001");
    let mut all = vec![Entity::with_uid(tenant.clone())];
    for server in acme().servers {
        let own = uid("Server", server.key.as_str());
        assert_eq!((server.era, server.sessions), (EraPin::Modern, SessionMode::PerPrincipal));
        let attributes = [("era", text("modern")), ("transport", text("streamable-http")), ("shared", bool(false))];
        let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).into();
        let parents = server.labels.iter().map(|label| uid("Label", label.as_str())).chain([tenant.clone()]);
        all.push(Entity::new(own.clone(), attributes, parents.collect()).unwrap());
        for tool in server.tools {
            assert_eq!(tool.annotations, Annotations::default());
            let risk = tool.risk.as_str();
            let attributes = [
                ("name", text(&tool.name)),
                ("risk", text(risk)),
                ("readOnly", bool(risk == "read")),
                ("destructive", bool(risk == "destructive")),
                ("idempotent", bool(false)),
                ("openWorld", bool(true)),
                ("reviewed", bool(true)),
            ];
            let attributes = attributes.map(|(name, value)| (name.to_owned(), value)).into();
            all.push(
                Entity::new(uid("Tool", &format!("{}/{}", server.key, tool.name)), attributes, [own.clone()].into())
                    .unwrap(),
            );
        }
    }
    let roles = RestrictedExpression::new_set([text("member")]);
    let attributes = [("roles".to_owned(), roles), ("kind".to_owned(), text("user"))].into();
    let parents = groups.iter().map(|group| uid("Group", group)).collect();
    all.push(Entity::new(uid("User", "usr_00000000000000000000000007"), attributes, parents).unwrap());
    Entities::from_entities(all, Some(&ASIDE)).unwrap()
}

/// The base schema with the tools' actions, arguments left away.
fn schema() -> Schema {
    let call = policy::SCHEMA.split("type Call = ").nth(1).unwrap().split("};\n\n").next().unwrap();
    let tools = acme().servers.into_iter().flat_map(|server| {
        let key = server.key;
        server.tools.into_iter().map(move |tool| {
            format!(
                "action \"call:{key}/{}\" in [\"tools/call\"]
                appliesTo {{ principal: [User, Agent], resource: [Tool], context: {call}}} }};\n",
                tool.name
            )
        })
    });
    let tools: String = tools.collect();
    let base = policy::SCHEMA.trim_end().strip_suffix('}').unwrap();
    Schema::from_cedarschema_str(&format!("{base}\naction \"tools/call\";\n{tools}}}")).unwrap().0
}

static ASIDE: LazyLock<Schema> = LazyLock::new(schema);

/// What Cedar says of the whole set, with the whole context, checked against the schema.
fn whole(rules: &PolicySet, tool: u128, entities: &Entities, call: &Call) -> (bool, usize) {
    let server =
        acme().servers.into_iter().find(|server| server.tools.iter().any(|other| other.id == id(tool))).unwrap();
    let name = &server.tools.iter().find(|other| other.id == id(tool)).unwrap().name;
    let action: EntityUid = format!("Sluice::Action::\"call:{}/{name}\"", server.key).parse().unwrap();
    let seen: Vec<_> =
        call.seen.iter().flatten().map(|label| serde_json::json!({ "type": "Sluice::Label", "id": label })).collect();
    let mut context = serde_json::json!({
        "now": { "__extn": { "fn": "datetime", "arg": call.at } },
        "client": { "name": "claude-code" },
        "token": { "kind": "gateway", "ageSeconds": 32400 },
        "session": { "seenLabels": seen },
        "approved": false,
    });
    if let Some(ip) = call.ip {
        context["ip"] = serde_json::json!({ "__extn": { "fn": "ip", "arg": ip } });
    }
    let context = Context::from_json_value(context, Some((&ASIDE, &action))).unwrap();
    let resource = format!("Sluice::Tool::\"{}/{name}\"", server.key).parse().unwrap();
    let principal = r#"Sluice::User::"usr_00000000000000000000000007""#.parse().unwrap();
    let request = Request::new(principal, action, resource, context, Some(&ASIDE)).unwrap();
    let response = Authorizer::new().is_authorized(&request, rules, entities);
    assert_eq!(response.diagnostics().errors().count(), 0);
    (response.decision() == cedar_policy::Decision::Allow, response.diagnostics().reason().count())
}

fn check(world: &World, rules: &PolicySet, groups: &[&str], call: &Call) {
    let (view, entities) = (world.caller(&person(groups)), entities(groups));
    for tool in TOOLS {
        let sliced = call.of(&view, tool, "{}");
        let (allowed, determining) = whole(rules, tool, &entities, call);
        assert_eq!(
            (sliced.effect == Effect::Allow, sliced.determining.len()),
            (allowed, determining),
            "{tool}: {sliced:?}"
        );
        assert_eq!(sliced.visible, view.visibility(id(tool)) != Visibility::Hidden);
        assert!(!allowed || view.visibility(id(tool)) == Visibility::Listed, "{tool} is allowed and not listed");
        assert!(!sliced.cacheable || Arc::ptr_eq(&sliced, &call.of(&view, tool, "{}")));
        if view.reads_seen_labels(id(tool)) {
            assert!(world.reads_seen_labels());
        } else {
            assert_eq!(
                Call { seen: None, ..*call }.of(&view, tool, "{}"),
                sliced,
                "{tool} needs to know what was read"
            );
        }
    }
}

/// A rule that can never apply is refused when it is saved; the others are what is compared.
fn possible(mut rules: Vec<String>) -> Vec<String> {
    let findings = policy::validate(&rules.join("\n"), &acme());
    let errors = findings.iter().filter(|finding| finding.severity == policy::Severity::Error);
    let lines: BTreeSet<usize> = errors.map(|finding| finding.line as usize - 1).collect();
    for line in lines.into_iter().rev() {
        rules.remove(line);
    }
    rules
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_slice_decides_as_the_whole_set_and_hides_nothing_usable(
        rules in proptest::collection::vec(rule(), 0..12),
        groups in select(vec![vec![], vec!["a"], vec!["b"], vec!["a", "b", "c"]]),
        seen in any::<bool>(),
        ip in select(vec![None, Some("10.1.1.1")]),
    ) {
        let text = possible(rules).join("\n");
        let world = compile(&acme(), &[&text]);
        let seen = Some(if seen { crate::acme::labels(["customer-data"]) } else { crate::acme::labels([]) });
        check(&world, &text.parse().unwrap(), &groups, &Call { seen, ip, ..MORNING });
    }
}
