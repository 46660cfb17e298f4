//! The tools: what is said of each, and what each does.

use std::sync::Arc;

use serde_json::{Value, json};

use super::legacy::Session;
use super::methods::Era;
use super::resources::{PNG, WATCHED};
use super::talk::Talk;
use super::wire::{No, Outcome};
use super::{Broken, Change, Everything, input};

/// A sound of one sample.
const WAV: &str = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQIAAAAAAA==";
/// The tool whose stream ends before its answer comes.
pub(super) const RECONNECTION: &str = "test_reconnection";

/// Tools of both eras without arguments. The suite calls the first of a list with none.
const PLAIN: [(&str, &str); 12] = [
    ("test_simple_text", "Answers with a text."),
    ("test_image_content", "Answers with a picture."),
    ("test_audio_content", "Answers with a sound."),
    ("test_embedded_resource", "Answers with a resource."),
    ("test_multiple_content_types", "Answers with a text, a picture and a resource."),
    ("test_tool_with_logging", "Writes three log lines before it answers."),
    ("test_tool_with_progress", "Reports progress three times before it answers."),
    ("test_error_handling", "Fails."),
    (RECONNECTION, "Ends its stream before it answers, and has the answer fetched."),
    ("test_elicitation_sep1034_defaults", "Asks for a form with defaults."),
    ("test_elicitation_sep1330_enums", "Asks for a form with choices of every kind."),
    ("test_sampling", "Asks for a model's answer."),
];

/// Tools of the modern era only, beside those that ask in rounds.
const MODERN: [(&str, &str); 2] = [
    ("test_missing_capability", "Needs a client that samples."),
    ("test_logging_tool", "Writes a log line before it answers."),
];

/// What the server lists; a few more are callable.
pub(super) fn list(server: &Everything, era: Era) -> Vec<Value> {
    let nothing = json!({"type": "object", "properties": {}});
    let plain = |(name, text): &(&str, &str)| tool(name, text, &nothing);
    let mut tools: Vec<Value> = PLAIN.iter().map(plain).collect();
    tools.push(tool("test_elicitation", "Asks for a form.", &one_text("message")));
    tools.push(tool("json_schema_2020_12_tool", "Has a schema of many keywords.", &schema(server)));
    let mut regional = one_text("region");
    regional["properties"]["region"]["x-mcp-header"] = json!("Region");
    tools.push(tool("test_x_mcp_header", "Has an argument that stands in a header too.", &regional));
    if era == Era::Modern {
        tools.extend(MODERN.iter().map(plain));
        tools.extend(input::names().map(|name| tool(name, "Asks before it answers.", &nothing)));
    }
    tools
}

fn tool(name: &str, text: &str, schema: &Value) -> Value {
    json!({"name": name, "description": text, "inputSchema": schema, "annotations": {"readOnlyHint": true}})
}

fn one_text(name: &str) -> Value {
    json!({"type": "object", "properties": {name: {"type": "string"}}})
}

fn schema(server: &Everything) -> Value {
    if server.is(Broken::StrippedSchemas) {
        return json!({"type": "object"});
    }
    let text = json!({"type": "string"});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"$anchor": "home", "type": "object", "properties": {"city": text}}},
        "properties": {
            "by": {"enum": ["phone", "email"]},
            "phone": text,
            "email": text,
            "address": {"$ref": "#/$defs/address"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"by": {"const": "phone"}}, "required": ["by"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": false,
    })
}

/// Calls a tool.
pub(super) async fn call(server: &Everything, era: Era, params: &Value, talk: &Talk) -> Outcome {
    match params["name"].as_str().unwrap_or_default() {
        "test_tool_with_logging" => {
            for line in ["begun", "half done", "done"] {
                talk.log(line).await;
            }
            Ok(text("logged"))
        }
        "test_tool_with_progress" => {
            for done in [0, 50, 100] {
                talk.progress(done).await;
            }
            Ok(text("done"))
        }
        "test_missing_capability" if era == Era::Modern => match input::capabilities(params).get("sampling") {
            Some(_) => Ok(text("the client samples")),
            None => Err(No::capability("sampling")),
        },
        "test_logging_tool" if era == Era::Modern => {
            talk.log("called").await;
            Ok(text("logged"))
        }
        name if asks(name) => Ok(ask(params, talk).await),
        name => match plain(server, name, params) {
            Some(result) => Ok(result),
            None if era == Era::Modern => input::tool(server, params, |answers| text(&answers.to_string())),
            None => Err(No::parameter("no such tool")),
        },
    }
}

/// The tools that answer at once, and those that make a change nobody lists.
fn plain(server: &Everything, name: &str, params: &Value) -> Option<Value> {
    let image = || json!({"type": "image", "data": PNG, "mimeType": "image/png"});
    let resource = |uri: &str| json!({"type": "resource", "resource": {"uri": uri, "mimeType": "text/plain", "text": "It came along."}});
    let changed = |change| {
        server.changed(change);
        text("changed")
    };
    let result = match name {
        "test_simple_text" => text("This is a text."),
        "test_image_content" => content(&[image()]),
        "test_audio_content" => content(&[json!({"type": "audio", "data": WAV, "mimeType": "audio/wav"})]),
        "test_embedded_resource" => content(&[resource("test://embedded-resource")]),
        "test_multiple_content_types" => {
            content(&[json!({"type": "text", "text": "Three of them."}), image(), resource("test://mixed")])
        }
        "test_error_handling" => failed("This tool always fails."),
        RECONNECTION => text("fetched"),
        "json_schema_2020_12_tool" | "test_x_mcp_header" => text(&params["arguments"].to_string()),
        "test_trigger_tool_change" => changed(Change::Tools),
        "test_trigger_prompt_change" => changed(Change::Prompts),
        "test_trigger_resource_change" => changed(Change::Resource(WATCHED)),
        _ => return None,
    };
    Some(result)
}

fn asks(name: &str) -> bool {
    ["test_sampling", "test_elicitation", "test_elicitation_sep1034_defaults", "test_elicitation_sep1330_enums"]
        .contains(&name)
}

/// Asks the client of a session, and answers with what it said.
async fn ask(params: &Value, talk: &Talk) -> Value {
    let Some(session) = talk.session.clone() else { return failed("needs a session") };
    let arguments = &params["arguments"];
    let (method, question) = match params["name"].as_str().unwrap_or_default() {
        "test_sampling" => {
            let message = json!({"role": "user", "content": {"type": "text", "text": arguments["prompt"]}});
            ("sampling/createMessage", json!({"messages": [message], "maxTokens": 100}))
        }
        "test_elicitation" => elicitation(&arguments["message"], &json!({"username": {"type": "string"}})),
        "test_elicitation_sep1034_defaults" => elicitation(&json!("All of it has a default."), &defaults()),
        _ => elicitation(&json!("Choose."), &choices()),
    };
    ask_session(&session, talk, method, question).await
}

async fn ask_session(session: &Arc<Session>, talk: &Talk, method: &str, question: Value) -> Value {
    if !session.can(method) {
        return failed("the client can't be asked that");
    }
    match talk.ask(method, question).await {
        Some(answer) => text(&format!("the client says {answer}")),
        None => failed("the client gave no answer"),
    }
}

fn elicitation(message: &Value, properties: &Value) -> (&'static str, Value) {
    let schema = json!({"type": "object", "properties": properties, "required": []});
    ("elicitation/create", json!({"message": message, "requestedSchema": schema}))
}

fn defaults() -> Value {
    json!({
        "name": {"type": "string", "default": "John Doe"},
        "age": {"type": "integer", "default": 30},
        "score": {"type": "number", "default": 95.5},
        "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
        "verified": {"type": "boolean", "default": true},
    })
}

fn choices() -> Value {
    let titled = json!([{"const": "value1", "title": "One"}, {"const": "value2", "title": "Two"}, {"const": "value3", "title": "Three"}]);
    json!({
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {"type": "string", "oneOf": titled},
        "legacyEnum": {"type": "string", "enum": ["opt1", "opt2", "opt3"], "enumNames": ["One", "Two", "Three"]},
        "untitledMulti": {"type": "array", "items": {"type": "string", "enum": ["option1", "option2", "option3"]}},
        "titledMulti": {"type": "array", "items": {"anyOf": titled}},
    })
}

fn content(blocks: &[Value]) -> Value {
    json!({"content": blocks})
}

fn text(text: &str) -> Value {
    content(&[json!({"type": "text", "text": text})])
}

fn failed(why: &str) -> Value {
    json!({"content": [{"type": "text", "text": why}], "isError": true})
}
