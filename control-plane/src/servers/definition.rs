//! A tool's definition as an upstream gave it: what is refused, what is read out of it, and what its digest is of.

use domain::Annotations;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::console::show;

/// Largest definition, bytes.
pub(crate) const DEFINITION_MAX_BYTES: usize = 64 * 1024;
/// Longest tool name, characters.
const NAME_MAX: usize = 128;
/// What a caller sees and policy decides on; a change of anything else is none to review.
const DIGESTED: [&str; 6] = ["name", "title", "description", "inputSchema", "outputSchema", "annotations"];

/// A definition that may be kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Definition {
    pub(crate) name: String,
    pub(crate) title: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) annotations: Annotations,
    /// Whether it makes claims about itself at all.
    pub(crate) annotated: bool,
    pub(crate) input_schema: Value,
    /// SHA-256 of the canonical form (RFC 8785) of what is digested, hexadecimal.
    pub(crate) digest: String,
    /// Byte for byte.
    pub(crate) text: String,
}

/// Why a definition is refused; one sentence for people, which never repeats the definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DefinitionError {
    #[error("is larger than {DEFINITION_MAX_BYTES} bytes")]
    TooLarge,
    #[error("is refused: {0}")]
    Json(#[from] mcp::json::JsonError),
    #[error("is no object with the members of a tool: {0}")]
    Shape(String),
    #[error("has a name that is empty, longer than {NAME_MAX} characters, or holds spaces or control characters")]
    Name,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Form {
    name: String,
    title: Option<String>,
    description: Option<String>,
    input_schema: Map<String, Value>,
    #[serde(default)]
    output_schema: Option<Map<String, Value>>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

impl Definition {
    /// Reads a definition.
    pub(crate) fn read(text: &str) -> Result<Self, DefinitionError> {
        if text.len() > DEFINITION_MAX_BYTES {
            return Err(DefinitionError::TooLarge);
        }
        mcp::Raw::check(text, &mcp::Limits::default())?;
        let shape = |error: serde_json::Error| DefinitionError::Shape(crate::input::without_place(&error));
        let whole: Map<String, Value> = serde_json::from_str(text).map_err(shape)?;
        let form: Form = serde_json::from_str(text).map_err(shape)?;
        // Read only to see that it is an object.
        drop(form.output_schema);
        let length = form.name.chars().count();
        if length == 0
            || length > NAME_MAX
            || form.name.chars().any(|letter| letter.is_control() || letter.is_whitespace())
        {
            return Err(DefinitionError::Name);
        }
        Ok(Self {
            name: form.name,
            title: form.title,
            description: form.description,
            annotated: form.annotations.is_some(),
            annotations: form.annotations.unwrap_or_default(),
            input_schema: Value::Object(form.input_schema),
            digest: digest(whole),
            text: text.to_owned(),
        })
    }
}

fn digest(mut whole: Map<String, Value>) -> String {
    whole.retain(|member, _| DIGESTED.contains(&member.as_str()));
    let canonical = serde_json_canonicalizer::to_vec(&whole).unwrap_or_default();
    hex::encode(secrets::sha256(&canonical))
}

/// Names the digested members that differ between two definitions.
pub(crate) fn differences(before: &str, after: &str) -> Vec<&'static str> {
    let read = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let (before, after) = (read(before), read(after));
    DIGESTED.into_iter().filter(|member| before.get(*member) != after.get(*member)).collect()
}

/// The beginning of what a definition says of itself.
pub(super) fn description(definition: Option<&str>) -> String {
    let read = definition.and_then(|text| Definition::read(text).ok());
    let said = read.and_then(|read| read.description.or(read.title)).unwrap_or_default();
    let first = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    show::clip(first.trim(), 140)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: &str = r#"{"name":"add","inputSchema":{"type":"object"},"annotations":{"readOnlyHint":true}}"#;

    #[test]
    fn the_digest_is_of_the_canonical_form_of_what_matters_only() {
        let plain = Definition::read(PLAIN).unwrap();
        let other = r#"{ "_meta":{"at":1}, "annotations":{"readOnlyHint":true}, "inputSchema":{"type":"object"}, "name":"add" }"#;
        assert_eq!(plain.digest, Definition::read(other).unwrap().digest);
        // `printf '{"annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"},"name":"add"}' | sha256sum`
        assert_eq!(
            plain.digest,
            hex::encode(secrets::sha256(
                br#"{"annotations":{"readOnlyHint":true},"inputSchema":{"type":"object"},"name":"add"}"#
            ))
        );
        let changed = PLAIN.replace("true", "false");
        assert_ne!(plain.digest, Definition::read(&changed).unwrap().digest);
        assert_eq!(differences(PLAIN, &changed), ["annotations"]);
    }

    #[test]
    fn hostile_definitions_are_refused() {
        let refused = |text: &str| Definition::read(text).unwrap_err().to_string();
        let large = PLAIN.replace("add", &"a".repeat(DEFINITION_MAX_BYTES));
        insta::assert_snapshot!(refused(&large), @"is larger than 65536 bytes");
        insta::assert_snapshot!(refused(r#"{"name":"a\u0000","inputSchema":{}}"#), @"is refused: a text holds U+0000 (byte 10)");
        insta::assert_snapshot!(
            refused(r#"{"name":"safe","inputSchema":{},"name":"unsafe"}"#),
            @"is refused: a key stands twice in one object (ends at byte 48)"
        );
        insta::assert_snapshot!(refused(r#"{"name":"a"}"#), @"is no object with the members of a tool: missing field `inputSchema`");
        insta::assert_snapshot!(refused("[]"), @"is no object with the members of a tool: invalid type: sequence, expected a map");
        for name in ["", "a b", "a\\n", &"a".repeat(129)] {
            let text = format!(r#"{{"name":"{name}","inputSchema":{{}}}}"#);
            assert_eq!(Definition::read(&text), Err(DefinitionError::Name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text: String) {
            let _ = Definition::read(&text);
        }
    }
}
