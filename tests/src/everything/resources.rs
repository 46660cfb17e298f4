//! Three resources and a template.

use serde_json::{Value, json};

use super::methods::Era;
use super::wire::{No, Outcome};
use super::{Broken, Everything};

/// The resource that can be watched.
pub(super) const WATCHED: &str = "test://watched-resource";
/// One red pixel.
pub(super) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";

pub(super) fn list() -> Value {
    let resource = |uri: &str, name: &str, text: &str, kind: &str| json!({"uri": uri, "name": name, "description": text, "mimeType": kind});
    json!([
        resource("test://static-text", "static-text", "A text that stays as it is.", "text/plain"),
        resource("test://static-binary", "static-binary", "A picture that stays as it is.", "image/png"),
        resource(WATCHED, "watched-resource", "A text that can be watched.", "text/plain"),
    ])
}

pub(super) fn templates() -> Value {
    json!([{
        "uriTemplate": "test://template/{id}/data",
        "name": "template",
        "description": "What is known of an id.",
        "mimeType": "application/json",
    }])
}

/// Whether there is such a resource.
pub(super) fn exists(uri: &str) -> bool {
    contents(uri).is_some()
}

pub(super) fn read(server: &Everything, era: Era, params: &Value) -> Outcome {
    let uri = params["uri"].as_str().ok_or(No::parameter("a URI is missing"))?;
    match contents(uri) {
        Some(contents) => Ok(json!({"contents": [contents]})),
        None if server.is(Broken::EmptyContents) => Ok(json!({"contents": []})),
        None => Err(unknown(era, uri)),
    }
}

fn contents(uri: &str) -> Option<Value> {
    let template = || uri.strip_prefix("test://template/")?.strip_suffix("/data").filter(|id| !id.contains('/'));
    match uri {
        "test://static-text" => Some(json!({"uri": uri, "mimeType": "text/plain", "text": "It stays as it is."})),
        "test://static-binary" => Some(json!({"uri": uri, "mimeType": "image/png", "blob": PNG})),
        WATCHED => Some(json!({"uri": uri, "mimeType": "text/plain", "text": "It is watched."})),
        _ => template().map(|id| {
            let text = json!({"id": id, "known": true}).to_string();
            json!({"uri": uri, "mimeType": "application/json", "text": text})
        }),
    }
}

/// The refusal for a resource nobody has: the eras have a code of their own each.
pub(super) fn unknown(era: Era, uri: &str) -> No {
    let code = if era == Era::Modern { -32602 } else { -32002 };
    No { code, data: Some(json!({"uri": uri})), ..No::parameter("Resource not found") }
}
