//! `x-mcp-header`: arguments that the schema of a tool wants repeated in `Mcp-Param-*` headers.

use super::{Field, Headers, encode, mismatch};
use crate::json::{Kind, Limits};
use crate::{Object, Raw, RpcError};

const ANNOTATION: &str = "x-mcp-header";
/// The largest integer that every JSON reader keeps: 2^53 - 1.
const LARGEST: i64 = (1 << 53) - 1;

/// One argument that is repeated in a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotated {
    /// What follows `Mcp-Param-`.
    pub header: String,
    /// The names of properties that lead to it from the arguments' root.
    pub path: Vec<String>,
}

/// Why a schema's annotations are invalid. The tool must not be offered over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnnotationError {
    /// Not one or more characters of RFC 9110's token.
    #[error("an `x-mcp-header` is no header name")]
    BadName,
    /// Two annotations of one name, case aside.
    #[error("two `x-mcp-header`s have the same name")]
    Twice,
    /// The property is no string, integer or boolean.
    #[error("an `x-mcp-header` stands on a property that is no string, integer or boolean")]
    BadType,
    /// It can be reached by another way than through `properties`.
    #[error("an `x-mcp-header` stands where `properties` alone do not lead")]
    BadPlace,
}

impl Annotated {
    /// Finds the annotations of an `inputSchema`.
    ///
    /// # Errors
    /// [`AnnotationError`] when one of them is invalid.
    pub fn find(input_schema: &Object<'_>) -> Result<Vec<Self>, AnnotationError> {
        let mut found = Vec::new();
        walk(input_schema, &mut Vec::new(), &mut found)?;
        Ok(found)
    }

    fn value<'a>(&self, arguments: &Object<'a>) -> Option<Raw<'a>> {
        let (first, rest) = self.path.split_first()?;
        let start = arguments.get(first)?;
        let value = rest.iter().try_fold(start, |value, key| value.object()?.get(key))?;
        Some(value).filter(|value| *value != Raw::NULL)
    }

    /// The header's full name, as it is written.
    #[must_use]
    pub fn header_name(&self) -> String {
        format!("Mcp-Param-{}", self.header)
    }
}

fn walk(schema: &Object<'_>, path: &mut Vec<String>, found: &mut Vec<Annotated>) -> Result<(), AnnotationError> {
    for (key, value) in schema.iter() {
        match key {
            ANNOTATION => found.push(annotated(schema, value, path, found)?),
            "properties" => {
                for (name, property) in value.object().iter().flat_map(Object::iter) {
                    if let Some(property) = property.object() {
                        path.push(name.to_owned());
                        walk(&property, path, found)?;
                        path.pop();
                    }
                }
            }
            // Data, not schemas.
            "default" | "examples" | "const" | "enum" => {}
            _ if holds_annotation(value) => return Err(AnnotationError::BadPlace),
            _ => {}
        }
    }
    Ok(())
}

fn annotated(
    schema: &Object<'_>,
    value: Raw<'_>,
    path: &[String],
    found: &[Annotated],
) -> Result<Annotated, AnnotationError> {
    let header = value.text().filter(|name| is_token(name)).ok_or(AnnotationError::BadName)?;
    if path.is_empty() {
        return Err(AnnotationError::BadPlace);
    }
    if !matches!(schema.text("type").as_deref(), Some("string" | "integer" | "boolean")) {
        return Err(AnnotationError::BadType);
    }
    if found.iter().any(|other| other.header.eq_ignore_ascii_case(&header)) {
        return Err(AnnotationError::Twice);
    }
    Ok(Annotated { header: header.into_owned(), path: path.to_vec() })
}

fn holds_annotation(value: Raw<'_>) -> bool {
    if let Some(object) = value.object() {
        // A property that happens to be called so has a schema, an object, as its value.
        return object
            .iter()
            .any(|(key, value)| (key == ANNOTATION && value.kind() != Kind::Object) || holds_annotation(value));
    }
    value.array().is_some_and(|items| items.into_iter().any(holds_annotation))
}

/// RFC 9110, 5.6.2.
fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Compares the headers of a call with its arguments.
///
/// # Errors
/// A header mismatch when one says something else, can't be read, or is missing while the argument is there.
pub fn check(headers: &Headers<'_>, annotated: &[Annotated], arguments: Option<&Object<'_>>) -> Result<(), RpcError> {
    for param in annotated {
        let refuse = |why: &str| Err(mismatch(&param.header_name(), why));
        let value = arguments.and_then(|arguments| param.value(arguments));
        match (headers.param(&param.header), value) {
            (Field::Absent, None) => {}
            // Nothing that a header could repeat; the upstream checks the argument's type.
            (Field::Absent, Some(value)) if matches!(value.kind(), Kind::Object | Kind::Array) => {}
            (Field::Absent, Some(_)) => return refuse("is missing"),
            (Field::Once(_) | Field::Twice, None) => return refuse("repeats an argument that is not there"),
            (field, Some(value)) => match field.decoded() {
                Ok(Some(text)) if says(&text, value) => {}
                Ok(_) => return refuse("differs from the argument"),
                Err(error) => return refuse(&format!("can't be read: {error}")),
            },
        }
    }
    Ok(())
}

/// Whether a header's text and an argument are the same value.
fn says(text: &str, value: Raw<'_>) -> bool {
    match value.kind() {
        Kind::Text => value.text().as_deref() == Some(text),
        Kind::Number => match (number(text), number(value.get())) {
            (Some(header), Some(argument)) => header == argument,
            _ => text == value.get(),
        },
        Kind::Boolean => value.get() == text,
        _ => false,
    }
}

/// A number that is an integer every reader keeps, in whatever form it is written.
fn number(text: &str) -> Option<i64> {
    let raw = Raw::check(text, &Limits::default()).ok().filter(|raw| raw.kind() == Kind::Number)?;
    let whole = match raw.integer() {
        Some(whole) => whole,
        None => whole(raw.get().parse().ok()?)?,
    };
    (-LARGEST..=LARGEST).contains(&whole).then_some(whole)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "within 2^53 nothing is lost")]
fn whole(float: f64) -> Option<i64> {
    (float.fract() == 0.0 && float.abs() <= LARGEST as f64).then_some(float as i64)
}

/// Writes the headers of a call for the next hop, from its arguments: name and value of each.
#[must_use]
pub fn generate(annotated: &[Annotated], arguments: Option<&Object<'_>>) -> Vec<(String, String)> {
    let Some(arguments) = arguments else { return Vec::new() };
    annotated
        .iter()
        .filter_map(|param| {
            let value = param.value(arguments)?;
            let text = match value.kind() {
                Kind::Text => encode(&value.text()?).into_owned(),
                Kind::Number => number(value.get()).map_or_else(|| value.get().to_owned(), |whole| whole.to_string()),
                Kind::Boolean => value.get().to_owned(),
                _ => return None,
            };
            Some((param.header_name(), text))
        })
        .collect()
}
