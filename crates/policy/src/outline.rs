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

/// Why a text denies, in its author's words: the `@reason` of the forbids that go by this name, which is their `@name`, else
/// their policy's. None where they say nothing, or not all the same.
#[must_use]
pub fn reason(text: &str, name: &str) -> Option<String> {
    let policies = parse(text).ok()?;
    let forbids = policies.policies().filter(|policy| policy.effect() == Effect::Forbid);
    let all: Vec<_> = forbids.map(|policy| annotation::read(policy).0).collect();
    let is_named = all.iter().any(|rule| rule.name.as_deref() == Some(name));
    let of = |rule: &&annotation::Annotations| rule.name.as_deref() == is_named.then_some(name);
    let mut said = all.iter().filter(of).map(|rule| rule.reason.as_deref());
    let first = said.next()??;
    said.all(|other| other == Some(first)).then(|| first.to_owned())
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

    #[test]
    fn a_text_says_why_the_rules_of_a_name_deny() {
        let forbid = |annotations: &str| format!("{annotations} forbid (principal, action, resource);\n");
        let text = forbid("@name(\"No writes\") @reason(\"It is production.\")")
            + &forbid("@reason(\"Nobody does.\")")
            + "permit (principal, action, resource);";
        assert_eq!(reason(&text, "No writes").as_deref(), Some("It is production."));
        assert_eq!(
            reason(&text, "The policy").as_deref(),
            Some("Nobody does."),
            "what has no name goes by its policy's"
        );
        assert_eq!(
            reason(&(text + &forbid("@reason(\"Another.\")")), "The policy"),
            None,
            "which of them is not known"
        );
        assert_eq!(reason(&forbid(""), "The policy"), None);
        assert_eq!(reason("forbid (", "x"), None);
    }
}
