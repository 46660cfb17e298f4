//! What a server offers beside tools: prompts, resources and templates of resources.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::{ItemId, Label};

/// The kinds of items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum ItemKind {
    /// Messages for a model, made of arguments.
    Prompt,
    /// Something that can be read, at one URI.
    Resource,
    /// Things that can be read, at URIs of one form (RFC 6570).
    Template,
}

impl ItemKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Prompt, Self::Resource, Self::Template];

    /// The written form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::Template => "template",
        }
    }

    /// Reads the written form.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The member of a definition that tells it from others of its kind at one server.
    #[must_use]
    pub const fn named_by(self) -> &'static str {
        match self {
            Self::Prompt => "name",
            Self::Resource => "uri",
            Self::Template => "uriTemplate",
        }
    }

    /// Most of them that are taken of one server.
    #[must_use]
    pub const fn most(self) -> usize {
        match self {
            Self::Prompt => 1_000,
            Self::Resource => 5_000,
            Self::Template => 500,
        }
    }
}

/// An item as reviewed and accepted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item {
    /// Immutable id; what policy is decided on.
    pub id: ItemId,
    /// What it is.
    pub kind: ItemKind,
    /// What the upstream knows it by: a prompt's name, a resource's URI, a template's text.
    pub name: String,
    /// The definition as the upstream gave it, byte for byte.
    pub definition: Box<RawValue>,
    /// SHA-256 of the canonical form (RFC 8785) of what a person reviews of it, hexadecimal.
    pub digest: String,
    /// Its own labels, beside the server's.
    #[serde(default)]
    pub labels: BTreeSet<Label>,
}

/// What beside lists a server says it does: a claim of the upstream's, which only says what is worth asking of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "independent capabilities of the specification")]
pub struct Carries {
    /// Completes arguments.
    pub completions: bool,
    /// Sends log lines.
    pub logging: bool,
    /// Tells of changes of one resource.
    pub subscribe: bool,
    /// Answers calls with tasks (`io.modelcontextprotocol/tasks`).
    pub tasks: bool,
    /// Has tools with pages of their own (`io.modelcontextprotocol/ui`).
    pub ui: bool,
}

impl Carries {
    /// Reads `ServerCapabilities`; what is none carries nothing.
    #[must_use]
    pub fn of(capabilities: &str) -> Self {
        let all: Map<String, Value> = serde_json::from_str(capabilities).unwrap_or_default();
        let has = |name: &str| all.get(name).is_some_and(Value::is_object);
        let extends = |id: &str| all.get("extensions").and_then(|all| all.get(id)).is_some_and(Value::is_object);
        Self {
            completions: has("completions"),
            logging: has("logging"),
            subscribe: all.get("resources").and_then(|resources| resources.get("subscribe"))
                == Some(&Value::Bool(true)),
            tasks: extends("io.modelcontextprotocol/tasks"),
            ui: extends("io.modelcontextprotocol/ui"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Server;

    #[test]
    fn capabilities_are_read_and_strange_ones_carry_nothing() {
        let said = r#"{"tools":{},"completions":{},"logging":{"a":1},"resources":{"subscribe":true},
            "extensions":{"io.modelcontextprotocol/ui":{},"io.modelcontextprotocol/tasks":true}}"#;
        let expected = Carries { completions: true, logging: true, subscribe: true, tasks: false, ui: true };
        assert_eq!(Carries::of(said), expected);
        for strange in ["", "[]", "{\"completions\":true,\"resources\":[],\"extensions\":\"all\"}"] {
            assert_eq!(Carries::of(strange), Carries::default(), "{strange}");
        }
    }

    /// A server as it was published before there were items.
    const BEFORE: &str = r#"{"id":"srv_00000000000000000000000003","key":"crm","alias":"crm","title":"CRM",
        "version":"sver_00000000000000000000000004","endpoint":"https://crm.example/mcp","era":"auto",
        "sessions":"per_principal","credential":{"kind":"none"},"paused":false,"timeout_ms":1000,
        "answer_max_bytes":1024,"tools":[]}"#;

    #[test]
    fn an_older_snapshot_reads_and_a_newer_one_reads_back() {
        let mut server: Server = serde_json::from_str(BEFORE).unwrap();
        assert!(server.items.is_empty() && server.speaks.is_empty());
        assert_eq!(server.carries, Carries::default());
        let definition = r#"{"name":"greet","arguments":[{"name":"who"}]}"#;
        server.items.push(Item {
            id: "item_00000000000000000000000007".parse().unwrap(),
            kind: ItemKind::Prompt,
            name: "greet".to_owned(),
            definition: RawValue::from_string(definition.to_owned()).unwrap(),
            digest: "11".repeat(32),
            labels: BTreeSet::new(),
        });
        server.carries.completions = true;
        let again: Server = serde_json::from_str(&serde_json::to_string(&server).unwrap()).unwrap();
        assert_eq!((again.items[0].definition.get(), again.carries), (definition, server.carries));
    }

    #[test]
    fn a_node_that_knows_no_items_says_nothing_of_them() {
        let found = r#"{"era":"modern","protocol_version":"2026-07-28","tools":[]}"#;
        let found: crate::relay::Found = serde_json::from_str(found).unwrap();
        assert!(ItemKind::ALL.into_iter().all(|kind| found.items.of(kind).is_none()));
        assert!(found.capabilities.is_none() && found.speaks.is_none() && found.transport.is_none());
    }
}
