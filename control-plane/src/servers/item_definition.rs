//! A definition of a prompt, a resource or a template as an upstream gave it: what is refused, what is read out of it,
//! and what its digest is of.

use domain::ItemKind;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::definition::DEFINITION_MAX_BYTES;

/// Longest prompt name, bytes.
const NAME_MAX_BYTES: usize = 512;
/// Longest URI and longest text of a template, bytes.
const URI_MAX_BYTES: usize = 2_048;

/// What a caller sees and policy decides on; a change of anything else is none to review.
const fn digested(kind: ItemKind) -> &'static [&'static str] {
    match kind {
        ItemKind::Prompt => &["name", "title", "description", "arguments"],
        ItemKind::Resource => &["uri", "name", "title", "description", "mimeType", "annotations"],
        ItemKind::Template => &["uriTemplate", "name", "title", "description", "mimeType", "annotations"],
    }
}

/// A definition that may be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ItemDefinition {
    /// What the upstream knows it by.
    pub(crate) name: String,
    /// What it says of itself; where it says nothing, what it calls itself.
    pub(crate) says: Option<String>,
    /// SHA-256 of the canonical form (RFC 8785) of what is digested, hexadecimal.
    pub(crate) digest: String,
    /// Byte for byte.
    pub(crate) text: String,
}

/// Why a definition is refused; one sentence for people, which never repeats the definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ItemError {
    #[error("is larger than {DEFINITION_MAX_BYTES} bytes")]
    TooLarge,
    #[error("is refused: {0}")]
    Json(#[from] mcp::json::JsonError),
    #[error("is no object with the members of a {}: {says}", .kind.as_str())]
    Shape {
        /// What it should be.
        kind: ItemKind,
        /// What is wrong.
        says: String,
    },
    #[error("has a `{0}` that is empty, too long, or holds control characters")]
    Name(&'static str),
}

/// The members that must be of their type where they are; which of them must be there is the kind's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    name: Option<String>,
    uri: Option<String>,
    uri_template: Option<String>,
    title: Option<String>,
    description: Option<String>,
    mime_type: Option<String>,
    #[serde(default)]
    annotations: Option<Map<String, Value>>,
    #[serde(default)]
    arguments: Option<Vec<Argument>>,
}

/// An argument of a prompt.
#[derive(Deserialize)]
struct Argument {
    name: String,
    title: Option<String>,
    description: Option<String>,
    required: Option<bool>,
}

impl ItemDefinition {
    /// Reads a definition.
    pub(crate) fn read(kind: ItemKind, text: &str) -> Result<Self, ItemError> {
        if text.len() > DEFINITION_MAX_BYTES {
            return Err(ItemError::TooLarge);
        }
        mcp::Raw::check(text, &mcp::Limits::default())?;
        let shape = |error: serde_json::Error| ItemError::Shape { kind, says: crate::input::without_place(&error) };
        let mut whole: Map<String, Value> = serde_json::from_str(text).map_err(shape)?;
        let form: Form = serde_json::from_str(text).map_err(shape)?;
        let Form { name, uri, uri_template, title, description, mime_type, annotations, arguments } = form;
        // Read only to see that they are what they should be.
        drop((mime_type, annotations));
        for Argument { name, title, description, required } in arguments.into_iter().flatten() {
            let _: (_, _, _, Option<bool>) = (name, title, description, required);
        }
        let (called, known_by, most) = match kind {
            ItemKind::Prompt => (None, name, NAME_MAX_BYTES),
            ItemKind::Resource => (name, uri, URI_MAX_BYTES),
            ItemKind::Template => (name, uri_template, URI_MAX_BYTES),
        };
        let member = kind.named_by();
        let missing = || ItemError::Shape { kind, says: format!("missing field `{member}`") };
        let known_by = known_by.ok_or_else(missing)?;
        if known_by.is_empty() || known_by.len() > most || known_by.chars().any(char::is_control) {
            return Err(ItemError::Name(member));
        }
        whole.retain(|member, _| digested(kind).contains(&member.as_str()));
        let canonical = serde_json_canonicalizer::to_vec(&whole).unwrap_or_default();
        Ok(Self {
            name: known_by,
            says: description.or(title).or(called),
            digest: hex::encode(secrets::sha256(&canonical)),
            text: text.to_owned(),
        })
    }
}

/// Names the digested members that differ between two definitions.
pub(crate) fn differences(kind: ItemKind, before: &str, after: &str) -> Vec<&'static str> {
    let (before, after) = (members(before), members(after));
    digested(kind).iter().copied().filter(|member| before.get(*member) != after.get(*member)).collect()
}

/// A definition as people read it: what is digested of it, then all else.
pub(super) fn readable(kind: ItemKind, definition: &str) -> String {
    super::diff::readable(digested(kind), definition)
}

fn members(definition: &str) -> Map<String, Value> {
    serde_json::from_str(definition).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROMPT: &str = r#"{"name":"greet","arguments":[{"name":"who","required":true}]}"#;

    #[test]
    fn the_digest_is_of_the_canonical_form_of_what_matters_only() {
        let read = |text: &str| ItemDefinition::read(ItemKind::Prompt, text).unwrap();
        let other = r#"{ "icons":[], "_meta":{"at":1}, "arguments":[{"required":true,"name":"who"}], "name":"greet" }"#;
        assert_eq!(read(PROMPT).digest, read(other).digest);
        let canonical = br#"{"arguments":[{"name":"who","required":true}],"name":"greet"}"#;
        assert_eq!(read(PROMPT).digest, hex::encode(secrets::sha256(canonical)));
        let changed = PROMPT.replace("true", "false");
        assert_ne!(read(PROMPT).digest, read(&changed).digest);
        assert_eq!(differences(ItemKind::Prompt, PROMPT, &changed), ["arguments"]);
        let resource = r#"{"uri":"file:///a b","name":"a","size":7}"#;
        let read = ItemDefinition::read(ItemKind::Resource, resource).unwrap();
        assert_eq!((read.name.as_str(), read.says.as_deref()), ("file:///a b", Some("a")));
    }

    #[test]
    fn all_of_a_definition_is_read_what_matters_first() {
        let text = r#"{"_meta":{"a":1},"a\nb":2,"description":"x","name":"greet"}"#;
        insta::assert_snapshot!(readable(ItemKind::Prompt, text), @r#"
        "name": "greet",
        "description": "x",
        "_meta": {
          "a": 1
        },
        "a\nb": 2
        "#);
    }

    #[test]
    fn hostile_definitions_are_refused() {
        let refused = |kind, text: &str| ItemDefinition::read(kind, text).unwrap_err().to_string();
        let large = PROMPT.replace("greet", &"a".repeat(DEFINITION_MAX_BYTES));
        insta::assert_snapshot!(refused(ItemKind::Prompt, &large), @"is larger than 65536 bytes");
        insta::assert_snapshot!(
            refused(ItemKind::Prompt, r#"{"name":"a\u0000"}"#),
            @"is refused: a text holds U+0000 (byte 10)"
        );
        insta::assert_snapshot!(
            refused(ItemKind::Prompt, r#"{"name":"safe","arguments":[],"name":"unsafe"}"#),
            @"is refused: a key stands twice in one object (ends at byte 46)"
        );
        insta::assert_snapshot!(
            refused(ItemKind::Resource, r#"{"name":"a"}"#),
            @"is no object with the members of a resource: missing field `uri`"
        );
        for wrong in ["[]", r#"{"name":5}"#, r#"{"name":"a","arguments":{}}"#, r#"{"name":"a","arguments":[{}]}"#] {
            assert!(matches!(ItemDefinition::read(ItemKind::Prompt, wrong), Err(ItemError::Shape { .. })), "{wrong}");
        }
        for uri in ["", "a\\n", &"a".repeat(URI_MAX_BYTES + 1)] {
            let text = format!(r#"{{"uriTemplate":"{uri}"}}"#);
            assert_eq!(ItemDefinition::read(ItemKind::Template, &text), Err(ItemError::Name("uriTemplate")), "{uri}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text: String) {
            for kind in ItemKind::ALL {
                let _ = ItemDefinition::read(kind, &text);
            }
        }
    }
}
