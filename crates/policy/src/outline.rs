//! What a text holds, for people: its rules, by name and by what they do.

use cedar_policy::{Effect, Policy};

use crate::annotation;
use crate::check::parse;

/// One rule of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlined {
    /// The rule's `@name`, else its `@id`; none when it has neither.
    pub name: Option<String>,
    /// What it does.
    pub does: Does,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Does {
    /// Allows, unless something forbids.
    Allow,
    /// Lets a person decide.
    Ask,
    /// Forbids.
    Deny,
    /// Says what an allowed call must also have done.
    Oblige,
}

/// The rules of a text, in their order; none of a text that does not parse.
#[must_use]
pub fn outline(text: &str) -> Vec<Outlined> {
    let Ok(policies) = parse(text) else { return Vec::new() };
    let mut policies: Vec<&Policy> = policies.policies().collect();
    // Cedar numbers them as they stand: `policy0`, `policy1`, …, `policy10`.
    policies.sort_by_key(|policy| policy.id().to_string().trim_start_matches("policy").parse::<u32>().ok());
    policies.into_iter().map(outlined).collect()
}

fn outlined(policy: &Policy) -> Outlined {
    let (annotations, _) = annotation::read(policy);
    let does = match policy.effect() {
        _ if annotation::is_obliging(policy) => Does::Oblige,
        Effect::Permit => Does::Allow,
        Effect::Forbid if annotations.approval.is_some() => Does::Ask,
        Effect::Forbid => Does::Deny,
    };
    Outlined { name: annotations.name.or(annotations.id), does }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packs::Pack;

    #[test]
    fn a_text_says_what_its_rules_do() {
        let of = |text: &str| outline(text).into_iter().map(|rule| (rule.name, rule.does)).collect::<Vec<_>>();
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(
            of(Pack::AskBeforeWrites.text()),
            [
                (named("Members may call tools"), Does::Allow),
                (named("A person approves what changes something"), Does::Ask)
            ]
        );
        assert_eq!(of("forbid (principal, action, resource);"), [(None, Does::Deny)]);
        assert_eq!(of("permit ("), []);
    }
}
