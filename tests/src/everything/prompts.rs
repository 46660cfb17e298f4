//! Four prompts, and one that asks back.

use serde_json::{Value, json};

use super::methods::Era;
use super::resources::PNG;
use super::wire::{No, Outcome};
use super::{Everything, input};

pub(super) fn list(era: Era) -> Vec<Value> {
    let argument = |name: &str| json!({"name": name, "description": "Stands in the prompt.", "required": true});
    let mut prompts = vec![
        json!({"name": "test_simple_prompt", "description": "Says one sentence."}),
        json!({"name": "test_prompt_with_arguments", "description": "Says its arguments.",
               "arguments": [argument("arg1"), argument("arg2")]}),
        json!({"name": "test_prompt_with_embedded_resource", "description": "Has a resource in it.",
               "arguments": [argument("resourceUri")]}),
        json!({"name": "test_prompt_with_image", "description": "Has a picture in it."}),
    ];
    if era == Era::Modern {
        prompts.push(json!({"name": input::PROMPT, "description": "Asks for something before it says anything."}));
    }
    prompts
}

pub(super) fn get(server: &Everything, era: Era, params: &Value) -> Outcome {
    let argument = |name: &str| params["arguments"][name].as_str().ok_or(No::parameter("an argument is missing"));
    match params["name"].as_str().unwrap_or_default() {
        "test_simple_prompt" => Ok(messages(&[said("Say hello.")])),
        "test_prompt_with_arguments" => {
            let text = format!("Compare {} with {}.", argument("arg1")?, argument("arg2")?);
            Ok(messages(&[said(&text)]))
        }
        "test_prompt_with_embedded_resource" => {
            let resource =
                json!({"uri": argument("resourceUri")?, "mimeType": "text/plain", "text": "What stands there."});
            Ok(messages(&[json!({"type": "resource", "resource": resource}), said("Read it aloud.")]))
        }
        "test_prompt_with_image" => {
            Ok(messages(&[json!({"type": "image", "data": PNG, "mimeType": "image/png"}), said("Name its colour.")]))
        }
        input::PROMPT if era == Era::Modern => {
            input::prompt(server, params, |answers| messages(&[said(&format!("Mind {answers}."))]))
        }
        _ => Err(No::parameter("no such prompt")),
    }
}

fn said(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn messages(contents: &[Value]) -> Value {
    let messages: Vec<_> = contents.iter().map(|content| json!({"role": "user", "content": content})).collect();
    json!({"messages": messages})
}
