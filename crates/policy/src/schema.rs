//! The schema a tenant's policies are checked against: `sluice.cedarschema` and an action for each tool.

use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema, SchemaFragment};
use serde_json::{Map, Value, json};

use crate::CompileError;
use crate::shape::{Fields, record_type};

/// The part every tenant shares; also what an editor shows.
pub const BASE: &str = include_str!("sluice.cedarschema");

/// The group every tool's action is a member of.
pub(crate) const TOOLS_CALL: &str = "tools/call";
/// The action asked for obligations.
pub(crate) const OBLIGE: &str = "oblige";

/// Our entity types, parsed once.
pub(crate) struct Types {
    pub(crate) action: EntityTypeName,
    pub(crate) group: EntityTypeName,
    pub(crate) label: EntityTypeName,
    pub(crate) server: EntityTypeName,
    pub(crate) tenant: EntityTypeName,
    pub(crate) tool: EntityTypeName,
    pub(crate) user: EntityTypeName,
}

pub(crate) static TYPES: LazyLock<Types> = LazyLock::new(|| Types {
    action: entity_type("Action"),
    group: entity_type("Group"),
    label: entity_type("Label"),
    server: entity_type("Server"),
    tenant: entity_type("Tenant"),
    tool: entity_type("Tool"),
    user: entity_type("User"),
});

#[expect(clippy::expect_used, reason = "the names above are identifiers; every test goes through here")]
fn entity_type(name: &str) -> EntityTypeName {
    format!("Sluice::{name}").parse().expect("an identifier")
}

/// The entity of a type with this id, whatever characters the id has.
pub(crate) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// A tool as policies name it. A key has no slash, so this is one to one.
pub(crate) fn tool_name(server: &domain::ServerKey, tool: &str) -> String {
    format!("{server}/{tool}")
}

/// The id of a tool's own action.
pub(crate) fn action_name(tool: &str) -> String {
    format!("call:{tool}")
}

/// The schema of a tenant with these tools (as [`tool_name`] and the types of its arguments).
pub(crate) fn of<'a>(tools: impl Iterator<Item = (&'a str, &'a Fields)>) -> Result<Schema, CompileError> {
    let (base, _warnings) =
        SchemaFragment::from_cedarschema_str(BASE).map_err(|error| CompileError::Schema(error.into()))?;
    let own = base.clone().to_json_value().map_err(|error| CompileError::Schema(error.into()))?;
    let call = &own["Sluice"]["commonTypes"]["Call"]["attributes"];
    let mut actions = Map::new();
    // The group itself applies too: a policy about all tools stays valid when there are none.
    actions.insert(TOOLS_CALL.to_owned(), action(call, &Fields::new(), &json!([])));
    for (name, fields) in tools {
        if actions.insert(action_name(name), action(call, fields, &json!([{ "id": TOOLS_CALL }]))).is_some() {
            return Err(CompileError::ToolTwice(name.to_owned()));
        }
    }
    let tools = json!({ "Sluice": { "entityTypes": {}, "actions": actions } });
    let tools = SchemaFragment::from_json_value(tools).map_err(|error| CompileError::Schema(error.into()))?;
    Schema::from_schema_fragments([base, tools]).map_err(|error| CompileError::Schema(error.into()))
}

fn action(call: &Value, arguments: &Fields, member_of: &Value) -> Value {
    let mut attributes = call.clone();
    attributes["arguments"] = record_type(arguments);
    json!({
        "memberOf": member_of,
        "appliesTo": {
            "principalTypes": ["User", "Agent"],
            "resourceTypes": ["Tool"],
            "context": { "type": "Record", "attributes": attributes },
        },
    })
}
