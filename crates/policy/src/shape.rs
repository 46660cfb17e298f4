//! The types of a tool's arguments: from its `inputSchema` to Cedar's, and (in [`values`]) from a call's JSON to values of them.

mod values;

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Value, json};

pub(crate) use self::values::{Misfit, Part, values};

/// How deep records are followed into records.
const DEPTH_MAX: usize = 4;
/// How many attributes the arguments of one tool have at most; what comes after is left out.
const ATTRIBUTES_MAX: usize = 256;
/// How many references are followed to find one type.
const REFERENCES_MAX: usize = 8;

/// A type of Cedar's that a JSON Schema fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `String`.
    Text,
    /// `Long`.
    Long,
    /// `decimal`, four digits after the point.
    Decimal,
    /// `Bool`.
    Bool,
    /// `Set<…>` of one of the above. Order and repetition are lost.
    Set(Box<Shape>),
    /// A record.
    Record(Fields),
}

/// The attributes of a record.
pub(crate) type Fields = BTreeMap<String, Field>;

/// An attribute of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    shape: Shape,
    required: bool,
}

/// An argument policies can't speak about, because no Cedar type fits its schema.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct LeftOut {
    /// The tool, as policies name it.
    pub tool: String,
    /// The argument, with dots where it lies inside others; empty when it is all of them.
    pub argument: String,
    /// Why.
    pub why: &'static str,
}

/// An argument policies can speak about.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Argument {
    /// Its name, with dots where it lies inside others: `context.arguments.<path>`.
    pub path: String,
    /// Its type in Cedar.
    pub kind: String,
    /// Whether every call has it; another is asked for with `has` first.
    pub required: bool,
}

/// The arguments in a row, each before those that lie in it.
pub(crate) fn listed(fields: &Fields, before: &str, into: &mut Vec<Argument>) {
    for (name, field) in fields {
        let path = format!("{before}{name}");
        into.push(Argument { path: path.clone(), kind: field.shape.kind(), required: field.required });
        if let Shape::Record(inner) = &field.shape {
            listed(inner, &format!("{path}."), into);
        }
    }
}

impl Shape {
    fn kind(&self) -> String {
        match self {
            Self::Text => "String".to_owned(),
            Self::Long => "Long".to_owned(),
            Self::Decimal => "decimal".to_owned(),
            Self::Bool => "Bool".to_owned(),
            Self::Set(inner) => format!("Set<{}>", inner.kind()),
            Self::Record(_) => "record".to_owned(),
        }
    }
}

/// Reads the types of a tool's arguments from its definition.
pub(crate) fn arguments(tool: &str, definition: &RawValue) -> (Fields, Vec<LeftOut>) {
    let mut reading = Reading { tool, root: Value::Null, attributes: 0, left_out: Vec::new() };
    let Ok(mut definition) = serde_json::from_str::<Value>(definition.get()) else {
        reading.leave_out("", "the definition is not JSON that can be read");
        return (Fields::new(), reading.left_out);
    };
    reading.root = definition.get_mut("inputSchema").map(Value::take).unwrap_or_default();
    let root = reading.root.clone();
    let fields = reading.fields(&root, "", 0);
    (fields, reading.left_out)
}

struct Reading<'a> {
    tool: &'a str,
    root: Value,
    attributes: usize,
    left_out: Vec<LeftOut>,
}

impl Reading<'_> {
    fn leave_out(&mut self, argument: &str, why: &'static str) {
        self.left_out.push(LeftOut { tool: self.tool.to_owned(), argument: argument.to_owned(), why });
    }

    fn fields(&mut self, schema: &Value, path: &str, depth: usize) -> Fields {
        let mut fields = Fields::new();
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return fields;
        };
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            self.attributes += 1;
            if self.attributes > ATTRIBUTES_MAX {
                self.leave_out(&path, "the tool has too many arguments");
                break;
            }
            match self.shape(property, &path, depth) {
                Ok((shape, nullable)) => {
                    let required = !nullable && required.contains(&name.as_str());
                    fields.insert(name.clone(), Field { shape, required });
                }
                Err(why) => self.leave_out(&path, why),
            }
        }
        fields
    }

    /// The type a schema fits, and whether null does too.
    fn shape(&mut self, schema: &Value, path: &str, depth: usize) -> Result<(Shape, bool), &'static str> {
        let (schema, nullable) = self.plain(schema)?;
        let shape = match word(&schema).ok_or("it has no single type")? {
            "string" => Shape::Text,
            "integer" => Shape::Long,
            "number" => Shape::Decimal,
            "boolean" => Shape::Bool,
            "array" => {
                let items = schema.get("items").ok_or("the items of the list have no type")?;
                match self.shape(items, path, depth)? {
                    (Shape::Set(_) | Shape::Record(_), _) | (_, true) => {
                        return Err("the items of the list are not plain values");
                    }
                    (item, false) => Shape::Set(Box::new(item)),
                }
            }
            "object" if schema.get("properties").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty) => {
                return Err("the object's members are not declared");
            }
            "object" if depth >= DEPTH_MAX => return Err("it lies too deep"),
            "object" => Shape::Record(self.fields(&schema, path, depth + 1)),
            _ => return Err("its type is unknown"),
        };
        Ok((shape, nullable))
    }

    /// Follows references and takes `null` out of a union, until a schema says its type itself.
    fn plain(&self, schema: &Value) -> Result<(Value, bool), &'static str> {
        let (mut schema, mut nullable) = (schema.clone(), false);
        for _ in 0..REFERENCES_MAX {
            if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
                let pointer = reference.strip_prefix('#').ok_or("its schema lies elsewhere")?;
                schema = self.root.pointer(pointer).ok_or("its schema is not there")?.clone();
                continue;
            }
            let Some(members) = ["anyOf", "oneOf", "allOf"].iter().find_map(|key| schema.get(key)?.as_array()) else {
                return Ok((take_null(schema, &mut nullable), nullable));
            };
            let mut others = members.iter().filter(|member| word(member) != Some("null"));
            let (Some(only), None) = (others.next(), others.next()) else {
                return Err("it is a union of types");
            };
            nullable |= members.len() > 1;
            schema = only.clone();
        }
        Err("its schema refers to others too often")
    }
}

/// Makes `"type": ["string", "null"]` a plain type.
fn take_null(mut schema: Value, nullable: &mut bool) -> Value {
    if let Some(Value::Array(words)) = schema.get_mut("type") {
        let before = words.len();
        words.retain(|word| word != "null");
        *nullable |= words.len() < before;
        if let [word] = words.as_slice() {
            let word = word.clone();
            schema["type"] = word;
        }
    }
    schema
}

/// The one JSON type a schema names, or means by its enumerated values or its properties.
fn word(schema: &Value) -> Option<&str> {
    if let Some(named) = schema.get("type") {
        return named.as_str();
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let mut words = values.iter().map(word_of_value);
        let first = words.next()??;
        return words.all(|word| word == Some(first)).then_some(first);
    }
    match schema.get("const") {
        Some(value) => word_of_value(value),
        None => schema.get("properties").map(|_| "object"),
    }
}

fn word_of_value(value: &Value) -> Option<&'static str> {
    match value {
        Value::String(_) => Some("string"),
        Value::Bool(_) => Some("boolean"),
        Value::Number(number) if number.is_i64() => Some("integer"),
        Value::Number(_) => Some("number"),
        Value::Null => Some("null"),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// A record's type in Cedar's JSON schema format. Names need no escaping there.
pub(crate) fn record_type(fields: &Fields) -> Value {
    let attributes = fields.iter().map(|(name, field)| {
        let mut attribute = cedar_type(&field.shape);
        attribute["required"] = Value::Bool(field.required);
        (name.clone(), attribute)
    });
    json!({ "type": "Record", "attributes": attributes.collect::<serde_json::Map<_, _>>() })
}

fn cedar_type(shape: &Shape) -> Value {
    match shape {
        Shape::Text => json!({ "type": "String" }),
        Shape::Long => json!({ "type": "Long" }),
        Shape::Decimal => json!({ "type": "Extension", "name": "decimal" }),
        Shape::Bool => json!({ "type": "Boolean" }),
        Shape::Set(item) => json!({ "type": "Set", "element": cedar_type(item) }),
        Shape::Record(fields) => record_type(fields),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    fn read(schema: &Value) -> (Fields, Vec<(String, &'static str)>) {
        let (fields, left_out) = arguments("erp/query", &raw(&json!({ "inputSchema": schema })));
        (fields, left_out.into_iter().map(|left| (left.argument, left.why)).collect())
    }

    fn only(shape: Shape) -> Fields {
        Fields::from([("a".to_owned(), Field { shape, required: false })])
    }

    #[test]
    fn json_schema_becomes_cedar_types() {
        let types = [
            (json!({ "type": "string" }), Shape::Text),
            (json!({ "enum": ["x", "y"] }), Shape::Text),
            (json!({ "const": 4 }), Shape::Long),
            (json!({ "type": "integer" }), Shape::Long),
            (json!({ "type": "number" }), Shape::Decimal),
            (json!({ "type": ["boolean", "null"] }), Shape::Bool),
            (json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] }), Shape::Text),
            (json!({ "$ref": "#/$defs/year" }), Shape::Long),
            (json!({ "type": "array", "items": { "type": "string" } }), Shape::Set(Box::new(Shape::Text))),
            (
                json!({ "type": "object", "properties": { "a": { "type": "string" } } }),
                Shape::Record(only(Shape::Text)),
            ),
        ];
        for (schema, shape) in types {
            let (fields, left_out) =
                read(&json!({ "properties": { "a": schema }, "$defs": { "year": { "type": "integer" } } }));
            assert_eq!((fields, left_out), (only(shape), Vec::new()), "{schema}");
        }
    }

    #[test]
    fn what_fits_no_type_is_left_out_and_named() {
        let (fields, left_out) = read(&json!({ "properties": {
            "any": true,
            "deep": { "properties": { "list": { "type": "array", "items": { "type": "object" } }, "ok": { "type": "string" } } },
            "free": { "type": "object" },
            "loop": { "$ref": "#/properties/loop" },
            "union": { "type": ["string", "integer"] },
            "url": { "$ref": "https://example.com/schema" },
        } }));
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["deep"]);
        assert_eq!(
            left_out,
            [
                ("any", "it has no single type"),
                ("deep.list", "the object's members are not declared"),
                ("free", "the object's members are not declared"),
                ("loop", "its schema refers to others too often"),
                ("union", "it has no single type"),
                ("url", "its schema lies elsewhere"),
            ]
            .map(|(argument, why)| (argument.to_owned(), why))
        );
    }

    #[test]
    fn a_schema_that_never_ends_and_one_that_is_huge_are_bounded() {
        let (_, left_out) = read(&json!({ "properties": { "a": { "$ref": "#/$defs/a" } },
            "$defs": { "a": { "properties": { "a": { "$ref": "#/$defs/a" }, "b": { "$ref": "#/$defs/a" } } } } }));
        assert!(left_out.iter().all(|(_, why)| *why == "it lies too deep"), "{left_out:?}");
        let many: serde_json::Map<_, _> = (0..1000).map(|i| (format!("a{i}"), json!({ "type": "string" }))).collect();
        let (fields, left_out) = read(&json!({ "properties": many }));
        assert_eq!((fields.len(), left_out.len()), (ATTRIBUTES_MAX, 1));
    }
}
