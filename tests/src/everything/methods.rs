//! The methods that both eras have, but for the call of a tool.

use serde_json::{Value, json};

use super::wire::{No, Outcome};
use super::{Everything, prompts, resources, tools};

/// What the two eras tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Era {
    Modern,
    Legacy,
}

/// What completion finds to complete with.
const WORDS: [&str; 4] = ["paris", "park", "party", "test"];

/// Answers a request, or leaves it to the era.
pub(super) fn answer(server: &Everything, era: Era, method: &str, params: &Value) -> Option<Outcome> {
    let outcome = match method {
        "tools/list" => Ok(json!({"tools": tools::list(server, era)})),
        "prompts/list" => Ok(json!({"prompts": prompts::list(era)})),
        "prompts/get" => prompts::get(server, era, params),
        "resources/list" => Ok(json!({"resources": resources::list()})),
        "resources/templates/list" => Ok(json!({"resourceTemplates": resources::templates()})),
        "resources/read" => resources::read(server, era, params),
        "completion/complete" => complete(params),
        _ => return None,
    };
    Some(outcome)
}

/// What a server can do, but for what only one era has.
pub(super) fn capabilities() -> Value {
    json!({
        "tools": {"listChanged": true},
        "prompts": {"listChanged": true},
        "resources": {"subscribe": true, "listChanged": true},
        "completions": {},
    })
}

/// Who this is.
pub(super) fn server_info() -> Value {
    json!({"name": "everything", "version": "1.0.0"})
}

fn complete(params: &Value) -> Outcome {
    let begun = params["argument"]["value"].as_str().ok_or(No::parameter("there is nothing to complete"))?;
    let values: Vec<_> = WORDS.iter().filter(|word| word.starts_with(begun)).collect();
    Ok(json!({"completion": {"total": values.len(), "hasMore": false, "values": values}}))
}
