//! The annotations we give a meaning. Any other is an error: a misspelt `@visible` must not be nothing.

use cedar_policy::{ActionConstraint, Effect, Policy};

use crate::ObligationKind;
use crate::decision::Approval;
use crate::schema::{OBLIGE, TYPES, uid};
use crate::suggest::suggestion;

const KNOWN: [&str; 15] = [
    "id",
    "name",
    "owner",
    "reason",
    "instead",
    "visible",
    "decision",
    "approvers",
    "within",
    "redact",
    "mask",
    "detect",
    "clamp",
    "cap",
    "strip_ui",
];

/// What a rule's annotations say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Annotations {
    /// `@id`
    pub(crate) id: Option<String>,
    /// `@name`
    pub(crate) name: Option<String>,
    /// `@reason`
    pub(crate) reason: Option<String>,
    /// `@instead`
    pub(crate) instead: Option<String>,
    /// `@visible`
    pub(crate) visible: bool,
    /// `@decision("approval")`, with `@approvers` and `@within`
    pub(crate) approval: Option<Approval>,
    /// `@redact` and the others
    pub(crate) obligations: Vec<(ObligationKind, String)>,
}

/// Something wrong with an annotation: which, and what.
pub(crate) type Wrong = (String, String);

/// Reads a rule's annotations, and finds all that is wrong with them.
pub(crate) fn read(policy: &Policy) -> (Annotations, Vec<Wrong>) {
    let mut wrong = Vec::new();
    for (key, value) in policy.annotations() {
        if let Err(message) = check(policy, key, value) {
            wrong.push((key.to_owned(), message));
        }
    }
    let text = |key: &str| policy.annotation(key).map(str::to_owned);
    let obligations = ObligationKind::ALL.into_iter().filter_map(|kind| Some((kind, text(kind.as_str())?))).collect();
    let approval = policy.annotation("decision").map(|_| Approval {
        approvers: policy.annotation("approvers").map(words).unwrap_or_default(),
        within_s: policy.annotation("within").and_then(seconds),
    });
    let annotations = Annotations {
        id: text("id"),
        name: text("name"),
        reason: text("reason"),
        instead: text("instead"),
        visible: policy.annotation("visible").is_some(),
        approval,
        obligations,
    };
    (annotations, wrong)
}

/// Whether the rule is about [`OBLIGE`] and nothing else.
pub(crate) fn is_obliging(policy: &Policy) -> bool {
    policy.action_constraint() == ActionConstraint::Eq(uid(&TYPES.action, OBLIGE))
}

fn check(policy: &Policy, key: &str, value: &str) -> Result<(), String> {
    let forbids = policy.effect() == Effect::Forbid;
    match key {
        "id" | "name" | "owner" | "reason" | "instead" if value.trim().is_empty() => {
            Err(format!("`@{key}` needs a text"))
        }
        "reason" | "instead" | "visible" | "decision" | "approvers" | "within" if !forbids => {
            Err(format!("`@{key}` belongs to a forbid: it is about a call that is denied"))
        }
        "id" | "name" | "owner" | "reason" | "instead" => Ok(()),
        "visible" if value.is_empty() => Ok(()),
        "visible" => Err("`@visible` stands alone, without a text".to_owned()),
        "decision" if value == "approval" => Ok(()),
        "decision" => Err("the only other decision is `@decision(\"approval\")`".to_owned()),
        "approvers" | "within" if policy.annotation("decision").is_none() => {
            Err(format!("`@{key}` means something only beside `@decision(\"approval\")`"))
        }
        "approvers" => approvers(value),
        "within" => {
            seconds(value).map(|_| ()).ok_or_else(|| "`@within` is a time like `30m`, `12h` or `2d`".to_owned())
        }
        _ => obligation(policy, key, value),
    }
}

fn obligation(policy: &Policy, key: &str, value: &str) -> Result<(), String> {
    let Some(kind) = ObligationKind::ALL.into_iter().find(|kind| kind.as_str() == key) else {
        return Err(format!("`@{key}` is not an annotation we know{}", suggestion(key, KNOWN)));
    };
    if policy.effect() == Effect::Forbid || !is_obliging(policy) {
        return Err(format!(
            "`@{key}` belongs to `permit (principal, action == Sluice::Action::\"oblige\", resource)`"
        ));
    }
    match kind {
        ObligationKind::StripUi if value.is_empty() => Ok(()),
        ObligationKind::StripUi => Err("`@strip_ui` stands alone, without a text".to_owned()),
        _ if words(value).is_empty() => Err(format!("`@{key}` needs a text")),
        ObligationKind::Redact | ObligationKind::Mask if !words(value).iter().all(|path| is_path(path)) => {
            Err(format!("`@{key}` takes paths like `result:$.customer.ssn`"))
        }
        ObligationKind::Clamp | ObligationKind::Cap if !is_bound(value) => Err(format!(
            "`@{key}` takes a bound like `{}`",
            if key == "cap" { "result_bytes<=65536" } else { "arguments:$.limit<=100" }
        )),
        _ => Ok(()),
    }
}

fn is_path(text: &str) -> bool {
    text.strip_prefix("result:").or_else(|| text.strip_prefix("arguments:")).is_some_and(|path| path.starts_with('$'))
}

fn is_bound(text: &str) -> bool {
    text.split_once("<=").is_some_and(|(what, bound)| !what.trim().is_empty() && bound.trim().parse::<u64>().is_ok())
}

fn approvers(value: &str) -> Result<(), String> {
    let approvers = words(value);
    let named = |name: &String| {
        name.split_once(':').is_some_and(|(kind, name)| matches!(kind, "group" | "role" | "user") && !name.is_empty())
    };
    if approvers.is_empty() || !approvers.iter().all(named) {
        return Err("`@approvers` is a list of `group:…`, `role:…` or `user:…`".to_owned());
    }
    Ok(())
}

fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// A time like `90s`, `30m`, `12h` or `2d`, in seconds.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok().filter(|number| *number > 0)?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> Vec<String> {
        read(&Policy::parse(None, text).unwrap()).1.into_iter().map(|(_, message)| message).collect()
    }

    #[test]
    fn a_misspelt_annotation_is_an_error_with_a_hint() {
        assert_eq!(
            wrong("@visibel forbid (principal, action, resource);"),
            ["`@visibel` is not an annotation we know; did you mean `visible`?"]
        );
    }

    #[test]
    fn an_annotation_stands_only_where_it_means_something() {
        let oblige = r#"(principal, action == Sluice::Action::"oblige", resource);"#;
        let wrong_ones = [
            r#"@reason("x") permit (principal, action, resource);"#.to_owned(),
            r#"@visible("no") forbid (principal, action, resource);"#.to_owned(),
            r#"@decision("maybe") forbid (principal, action, resource);"#.to_owned(),
            r#"@within("30m") forbid (principal, action, resource);"#.to_owned(),
            r#"@decision("approval") @within("0m") forbid (principal, action, resource);"#.to_owned(),
            r#"@decision("approval") @within("é") forbid (principal, action, resource);"#.to_owned(),
            r#"@decision("approval") @approvers("me") forbid (principal, action, resource);"#.to_owned(),
            r#"@redact("result:$.a") permit (principal, action, resource);"#.to_owned(),
            format!(r#"@redact("result:$.a") forbid {oblige}"#),
            format!(r#"@redact("ssn") permit {oblige}"#),
            format!(r#"@cap("64k") permit {oblige}"#),
            format!(r#"@detect("") permit {oblige}"#),
        ];
        for text in wrong_ones {
            assert_eq!(wrong(&text).len(), 1, "{text}");
        }
        assert!(
            wrong(&format!(
                r#"@redact("result:$.**.ssn,arguments:$.a") @cap("result_bytes<=65536") @strip_ui permit {oblige}"#
            ))
            .is_empty()
        );
    }

    #[test]
    fn an_approval_rule_names_who_and_how_long() {
        let text = r#"@decision("approval") @approvers("group:leads, role:admin") @within("30m") forbid (principal, action, resource);"#;
        let (annotations, wrong) = read(&Policy::parse(None, text).unwrap());
        assert!(wrong.is_empty());
        let approvers = vec!["group:leads".to_owned(), "role:admin".to_owned()];
        assert_eq!(annotations.approval, Some(Approval { approvers, within_s: Some(1800) }));
    }
}
