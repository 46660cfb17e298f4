//! What of the context a policy can look at. Says rather too much than too little.

use std::collections::BTreeSet;

use serde_json::Value;

/// Which attributes of the context, and of its `arguments`, a policy names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reads {
    /// Attributes of the context.
    context: Names,
    /// Top-level arguments.
    arguments: Names,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Names {
    Some(BTreeSet<String>),
    All,
}

impl Default for Names {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl Names {
    fn add(&mut self, name: &str) {
        if let Self::Some(names) = self {
            names.insert(name.to_owned());
        }
    }

    fn join(&mut self, other: &Self) {
        match other {
            Self::All => *self = Self::All,
            Self::Some(names) => names.iter().for_each(|name| self.add(name)),
        }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.contains(name),
        }
    }
}

impl Reads {
    /// Reads a policy in Cedar's JSON format.
    pub(crate) fn of(policy: &Value) -> Self {
        let mut reads = Self::default();
        reads.walk(&policy["conditions"]);
        reads
    }

    /// Whether any argument is named.
    pub(crate) fn any_argument(&self) -> bool {
        match &self.arguments {
            Names::All => true,
            Names::Some(names) => !names.is_empty(),
        }
    }

    /// Reads everything.
    pub(crate) fn all() -> Self {
        Self { context: Names::All, arguments: Names::All }
    }

    /// Adds what another policy reads.
    pub(crate) fn join(&mut self, other: &Self) {
        self.context.join(&other.context);
        self.arguments.join(&other.arguments);
    }

    /// Whether nothing of the context is looked at.
    pub(crate) fn nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Whether this attribute of the context is looked at.
    pub(crate) fn context(&self, name: &str) -> bool {
        self.context.has(name)
    }

    /// Whether it may look at what the principal has read.
    pub(crate) fn seen_labels(&self) -> bool {
        self.context("session")
    }

    /// Whether this top-level argument is looked at.
    pub(crate) fn argument(&self, name: &str) -> bool {
        self.arguments.has(name)
    }

    fn walk(&mut self, expression: &Value) {
        match attributes_of_context(expression) {
            Some(path) => match path.as_slice() {
                [] => *self = Self::all(),
                ["arguments"] => {
                    self.context.add("arguments");
                    self.arguments = Names::All;
                }
                ["arguments", argument, ..] => {
                    self.context.add("arguments");
                    self.arguments.add(argument);
                }
                [name, ..] => self.context.add(name),
            },
            None => match expression {
                Value::Array(items) => items.iter().for_each(|item| self.walk(item)),
                Value::Object(members) => members.values().for_each(|member| self.walk(member)),
                _ => {}
            },
        }
    }
}

/// The attributes in `context.a.b` and `context.a has b`: `["a", "b"]`; nothing when it is not about the context.
fn attributes_of_context(expression: &Value) -> Option<Vec<&str>> {
    if expression.get("Var").is_some_and(|name| name == "context") {
        return Some(Vec::new());
    }
    let access = expression.get(".").or_else(|| expression.get("has"))?;
    let mut path = attributes_of_context(access.get("left")?)?;
    match access.get("attr")? {
        Value::String(name) => path.push(name),
        // `context has a.b`
        Value::Array(names) => path.extend(names.iter().filter_map(Value::as_str)),
        _ => return None,
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;

    use super::*;

    fn reads(condition: &str) -> Reads {
        let policy =
            Policy::parse(None, format!("permit(principal, action, resource) when {{ {condition} }};")).unwrap();
        Reads::of(&policy.to_json().unwrap())
    }

    #[test]
    fn what_is_named_is_read_and_nothing_else() {
        let found = reads(
            "context.arguments has amount && context.arguments.amount > 5 && context.now.toTime() > duration(\"1h\")",
        );
        assert!(found.argument("amount") && found.context("now") && found.context("arguments"));
        assert!(!found.argument("limit") && !found.context("ip"));
        let nested = reads("context has arguments.customer.name && !context.arguments.a.b");
        assert!(nested.argument("customer") && nested.argument("a") && !nested.argument("name"));
    }

    #[test]
    fn a_context_that_is_not_taken_apart_is_read_whole() {
        assert_eq!(reads("context == context"), Reads::all());
        assert_eq!(reads("{ a: context }.a has ip"), Reads::all());
        assert!(reads("context.arguments == {}").argument("anything"));
        assert!(reads("{ a: context.arguments }.a has x").argument("x"));
        assert!(reads("(if principal has x then context else context) has ip").context("now"));
        assert!(reads("[context].contains(context)").context("now"));
    }

    #[test]
    fn words_that_only_look_like_the_context_read_nothing() {
        assert!(
            reads(r#"resource.name == "context" && principal has context && { Var: "context" } has Var"#).nothing()
        );
        assert!(!reads(r#"{ ".": context.ip, "has": 1 } has x"#).nothing());
    }
}
