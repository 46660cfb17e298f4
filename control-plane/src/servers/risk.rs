//! Guesses the worst a tool can do: from its name and schema first, since its annotations are only a claim. A person's review
//! wins over the guess, so a guess that is too harsh costs a click, one that is too mild an incident.

use domain::RiskClass;
use serde_json::Value;

use super::definition::Definition;

/// Words of a name or an argument that show what a tool does, harshest class first.
const WORDS: [(RiskClass, &[&str]); 5] = [
    (
        RiskClass::SecretBearing,
        &[
            "secret",
            "secrets",
            "password",
            "passwords",
            "credential",
            "credentials",
            "apikey",
            "token",
            "tokens",
            "env",
            "vault",
            "otp",
        ],
    ),
    (
        RiskClass::Destructive,
        &[
            "delete",
            "remove",
            "drop",
            "destroy",
            "purge",
            "truncate",
            "wipe",
            "erase",
            "overwrite",
            "terminate",
            "kill",
            "uninstall",
            "revoke",
            "reset",
        ],
    ),
    (
        RiskClass::Execute,
        &["exec", "execute", "eval", "shell", "bash", "command", "cmd", "script", "spawn", "run", "deploy"],
    ),
    (
        RiskClass::Network,
        &["fetch", "http", "https", "browse", "crawl", "scrape", "download", "upload", "webhook", "navigate", "proxy"],
    ),
    (
        RiskClass::Write,
        &[
            "create", "update", "write", "set", "add", "insert", "put", "post", "patch", "edit", "modify", "move",
            "rename", "copy", "send", "publish", "merge", "commit", "push", "assign", "close", "open", "save",
            "import", "refund", "transfer", "pay", "invite", "approve", "cancel", "append", "replace", "toggle",
            "upsert",
        ],
    ),
];

/// Words of a name that show a tool which only looks.
const LOOKING: [&str; 19] = [
    "get",
    "list",
    "read",
    "search",
    "find",
    "show",
    "describe",
    "view",
    "count",
    "echo",
    "query",
    "lookup",
    "check",
    "status",
    "summarize",
    "explain",
    "validate",
    "ping",
    "compare",
];

/// Arguments that hand a tool code or commands.
const CODE_ARGUMENTS: [&str; 6] = ["command", "cmd", "script", "code", "shell", "bash"];
/// Arguments that hand a tool a secret.
const SECRET_ARGUMENTS: [&str; 5] = ["password", "secret", "apikey", "credential", "passphrase"];

/// Guesses a tool's risk class.
pub(crate) fn guess(definition: &Definition) -> RiskClass {
    let name = words(&definition.name);
    let shown = WORDS.iter().find(|(_, of_class)| name.iter().any(|word| of_class.contains(&word.as_str())));
    let by_name = shown.map(|(class, _)| *class);
    let by_arguments = of_arguments(&definition.input_schema);
    let claim = of_annotations(definition);
    match by_name.max(by_arguments) {
        // What name and arguments show stands, whatever the tool says of itself; it may say that it is worse.
        Some(shown) => claim.map_or(shown, |claim| shown.max(claim)),
        // A claim to only look is believed where nothing speaks against it.
        None => claim.unwrap_or(if looks(&name) { RiskClass::Read } else { RiskClass::Write }),
    }
}

fn of_arguments(schema: &Value) -> Option<RiskClass> {
    let arguments = schema.get("properties")?.as_object()?;
    let any = |wanted: &[&str]| {
        arguments.keys().any(|argument| {
            let joined = words(argument).concat();
            words(argument).iter().any(|word| wanted.contains(&word.as_str())) || wanted.contains(&joined.as_str())
        })
    };
    if any(&SECRET_ARGUMENTS) {
        return Some(RiskClass::SecretBearing);
    }
    any(&CODE_ARGUMENTS).then_some(RiskClass::Execute)
}

fn of_annotations(definition: &Definition) -> Option<RiskClass> {
    let claims = definition.annotations;
    if !definition.annotated {
        return None;
    }
    Some(match (claims.read_only, claims.destructive) {
        (true, _) => RiskClass::Read,
        (false, true) => RiskClass::Destructive,
        (false, false) => RiskClass::Write,
    })
}

fn looks(name: &[String]) -> bool {
    name.iter().any(|word| LOOKING.contains(&word.as_str()))
}

/// The words of a name in snake, kebab, dotted or camel case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() || (after_lower && letter.is_uppercase()) {
            words.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
        after_lower = letter.is_lowercase() || letter.is_numeric();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, arguments: &str, annotations: &str) -> RiskClass {
        let properties: Vec<String> = arguments.split_whitespace().map(|name| format!(r#""{name}":{{}}"#)).collect();
        let text = format!(
            r#"{{"name":"{name}","inputSchema":{{"type":"object","properties":{{{}}}}}{annotations}}}"#,
            properties.join(",")
        );
        guess(&Definition::read(&text).unwrap())
    }

    const READ_ONLY: &str = r#","annotations":{"readOnlyHint":true}"#;
    const WRITES: &str = r#","annotations":{"readOnlyHint":false,"destructiveHint":false}"#;
    const SAYS_NOTHING: &str = r#","annotations":{"title":"x"}"#;

    #[test]
    fn a_name_shows_what_a_tool_does_in_any_case() {
        assert_eq!(of("list_issues", "", ""), RiskClass::Read);
        assert_eq!(of("deleteProject", "", ""), RiskClass::Destructive);
        assert_eq!(of("repo.merge-pull", "", ""), RiskClass::Write);
        assert_eq!(of("run_query", "", ""), RiskClass::Execute);
        assert_eq!(of("fetch", "url", ""), RiskClass::Network);
        assert_eq!(of("printEnv", "", ""), RiskClass::SecretBearing);
    }

    #[test]
    fn a_tool_that_shows_nothing_is_taken_to_write() {
        assert_eq!(of("frobnicate", "", ""), RiskClass::Write);
        // A part of a word is not the word.
        assert_eq!(of("get_dropdown", "", ""), RiskClass::Read);
    }

    #[test]
    fn a_claim_never_makes_a_tool_milder_than_it_shows() {
        assert_eq!(of("delete_project", "", READ_ONLY), RiskClass::Destructive);
        assert_eq!(of("list_projects", "command", READ_ONLY), RiskClass::Execute);
        assert_eq!(of("frobnicate", "", READ_ONLY), RiskClass::Read);
        assert_eq!(of("frobnicate", "", WRITES), RiskClass::Write);
    }

    #[test]
    fn absent_hints_have_the_specifications_pessimistic_defaults() {
        assert_eq!(of("list_projects", "", SAYS_NOTHING), RiskClass::Destructive);
    }

    #[test]
    fn arguments_show_code_and_secrets() {
        assert_eq!(of("start", "cwd cmd", ""), RiskClass::Execute);
        assert_eq!(of("login", "user api_key", ""), RiskClass::SecretBearing);
        assert_eq!(of("get_page", "page_token_count", ""), RiskClass::Read);
    }
}
