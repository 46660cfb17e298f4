//! A call's arguments as values of the types their tool's schema declares.

use std::cell::LazyCell;
use std::collections::HashSet;
use std::fmt;

use cedar_policy::RestrictedExpression;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Fields, Shape};
use crate::number;

/// An argument of a call that is there, but not as it is declared.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The argument, with dots where it lies inside others.
    pub(crate) argument: String,
    /// What does not fit.
    pub(crate) part: Part,
}

/// A part of an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Its value has another type or range.
    Value,
    /// Its name is a declared one in other letters, upper or lower.
    Name,
}

/// The arguments of a call as a Cedar record: those that `wanted` names and the schema declares.
///
/// What is absent or null stays absent. What is not declared can't be named by a policy and is passed over.
///
/// # Errors
/// A [`Misfit`] when a wanted argument is there but is not of its declared type, does not fit Cedar's (an integer beyond 64
/// bits, a number with more than four decimal places), or is given twice: absent, it would slip past a forbid that asks `has`.
/// Twice is also once under a name that is not declared and differs in upper and lower case only: upstreams in Go, C# and
/// others read it as the declared one.
pub(crate) fn values(
    fields: &Fields,
    arguments: &RawValue,
    wanted: impl Fn(&str) -> bool,
) -> Result<RestrictedExpression, Misfit> {
    record(fields, arguments, "", &wanted)
}

fn record(
    fields: &Fields,
    raw: &RawValue,
    path: &str,
    wanted: &dyn Fn(&str) -> bool,
) -> Result<RestrictedExpression, Misfit> {
    let misfit = |argument: String| Misfit { argument, part: Part::Value };
    let members: Members<'_> = serde_json::from_str(raw.get()).map_err(|_| misfit(path.to_owned()))?;
    let mut pairs = Vec::new();
    // Made once, however many undeclared members there are.
    let folded = LazyCell::new(|| fields.keys().filter(|name| wanted(name)).map(|name| fold(name)).collect());
    for (name, raw) in members.0 {
        let path = || if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let Some(field) = fields.get(&name) else {
            let folded: &HashSet<String> = &folded;
            if folded.contains(&fold(&name)) {
                return Err(Misfit { argument: path(), part: Part::Name });
            }
            continue;
        };
        if !wanted(&name) || (raw.get() == "null" && !field.required) {
            continue;
        }
        let path = path();
        pairs.push((name, value(&field.shape, raw, &path)?));
    }
    RestrictedExpression::new_record(pairs).map_err(|_twice| misfit(path.to_owned()))
}

fn value(shape: &Shape, raw: &RawValue, path: &str) -> Result<RestrictedExpression, Misfit> {
    let text = raw.get();
    let value = match shape {
        Shape::Text => serde_json::from_str(text).ok().map(RestrictedExpression::new_string),
        Shape::Long => number::long(text).map(RestrictedExpression::new_long),
        Shape::Decimal => number::decimal(text).map(RestrictedExpression::new_decimal),
        Shape::Bool => text.parse().ok().map(RestrictedExpression::new_bool),
        Shape::Set(item) => {
            let items: Option<Vec<&RawValue>> = serde_json::from_str(text).ok();
            let items = items.map(|items| items.into_iter().map(|raw| self::value(item, raw, path)).collect());
            items.transpose()?.map(|items: Vec<_>| RestrictedExpression::new_set(items))
        }
        Shape::Record(fields) => return record(fields, raw, path, &|_| true),
    };
    value.ok_or_else(|| Misfit { argument: path.to_owned(), part: Part::Value })
}

/// A name without upper and lower case. Both ways, because some letters have a way in one direction only (`ſ`, `K`).
fn fold(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// The members of a JSON object in order, values unread.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Field;
    use super::*;

    fn only(shape: Shape) -> Fields {
        Fields::from([("a".to_owned(), Field { shape, required: false })])
    }

    #[test]
    fn a_value_of_another_type_is_a_misfit_not_an_absence() {
        let misfits = [
            (Shape::Long, "9223372036854775808"),
            (Shape::Long, "\"5\""),
            (Shape::Decimal, "0.12345"),
            (Shape::Text, "5"),
            (Shape::Text, r#""\ud800""#),
            (Shape::Bool, "\"true\""),
            (Shape::Set(Box::new(Shape::Long)), "[1, null]"),
            (Shape::Record(only(Shape::Text)), "[]"),
        ];
        for (shape, text) in misfits {
            let arguments = RawValue::from_string(format!(r#"{{"a":{text}}}"#)).unwrap();
            let misfit = values(&only(shape.clone()), &arguments, |_| true).unwrap_err();
            assert_eq!(misfit.argument, "a", "{text}");
            assert!(values(&only(shape), &arguments, |_| false).is_ok(), "not wanted, so not read");
        }
    }

    #[test]
    fn null_is_absent_what_is_not_declared_is_passed_over_and_twice_is_a_misfit() {
        let fields = only(Shape::Record(only(Shape::Long)));
        let read = |text: &str| values(&fields, &RawValue::from_string(text.to_owned()).unwrap(), |_| true);
        let printed = |text: &str| read(text).map(|value| value.as_ref().to_string());
        assert_eq!(printed(r#"{"a":null,"__proto__":1}"#).unwrap(), "{}");
        assert_eq!(printed(r#"{"a":{"a":1e1,"b":2}}"#).unwrap(), "{a: {a: 10}}");
        assert_eq!(read(r#"{"a":{"a":1,"a":2}}"#).unwrap_err().argument, "a");
        assert_eq!(read("[]").unwrap_err().argument, "");
    }

    #[test]
    fn an_undeclared_name_that_is_a_declared_one_in_other_letters_is_a_misfit() {
        let text = || Field { shape: Shape::Text, required: false };
        let inner = Field { shape: Shape::Record(Fields::from([("ask".to_owned(), text())])), required: false };
        let fields = Fields::from(
            [("Id", text()), ("ask", text()), ("in", inner), ("ID", text())].map(|(n, f)| (n.to_owned(), f)),
        );
        let read = |text: &str, wanted: &str| {
            let names: Vec<&str> = wanted.split(' ').collect();
            values(&fields, &RawValue::from_string(text.to_owned()).unwrap(), |name| names.contains(&name))
        };
        for (given, named) in [
            (r#"{"ASK":"x"}"#, "ASK"),
            (r#"{"ask":"x","Ask":null}"#, "Ask"),
            // U+212A and U+017F, which fold to ASCII letters.
            ("{\"as\u{212a}\":1}", "as\u{212a}"),
            ("{\"a\u{17f}k\":1}", "a\u{17f}k"),
            (r#"{"in":{"aSk":[]}}"#, "in.aSk"),
            (r#"{"IN":{}}"#, "IN"),
            (r#"{"iD":"x"}"#, "iD"),
        ] {
            let misfit = read(given, "ask in ID").unwrap_err();
            assert_eq!((misfit.argument.as_str(), misfit.part), (named, Part::Name), "{given}");
            assert!(read(given, "other").is_ok(), "nobody looks at it: {given}");
        }
        assert!(read(r#"{"Id":"x","ID":"y","asks":1}"#, "ask Id ID").is_ok(), "both are declared");
    }
}
