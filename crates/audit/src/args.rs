//! The keyed hash of a call's arguments over their canonical form (RFC 8785), and their types and lengths.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::json;
use crate::pii::Canonical;
use crate::record::Args;
use crate::text::Text;
use crate::words::Canon;

/// Most names of members that a record lists.
const KEYS_MAX: usize = 64;
/// Most bytes of a name that a record lists.
const KEY_MAX: usize = 128;

/// A tenant's key for hashing arguments: tells equal ones apart from others, and to nobody else anything.
pub struct ArgumentsKey {
    kid: Box<str>,
    key: hmac::Key,
}

impl fmt::Debug for ArgumentsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArgumentsKey({})", self.kid)
    }
}

/// What a record says of arguments.
#[derive(Debug, Clone, PartialEq)]
pub struct Hashed {
    /// For the record itself.
    pub args: Args,
    /// For its personal part: of each member its type and length; absent when there is no canonical form.
    pub redacted: Option<Canonical>,
}

impl ArgumentsKey {
    /// Takes the key with its id.
    #[must_use]
    pub fn new(kid: &str, key: &[u8; 32]) -> Self {
        Self { kid: kid.into(), key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// Hashes the text of `params.arguments`, and lists its outermost members with type and length.
    ///
    /// What has no canonical form (a member twice, half a surrogate pair, an integer outside ±(2^53−1), too deep) is
    /// hashed as it was sent, and the record says so.
    #[must_use]
    pub fn hash(&self, raw: &str) -> Hashed {
        let bytes = Some(raw.len() as u64);
        let Some(value) = parse(raw) else {
            let args = Args { bytes, canon: Some(Canon::Raw), hmac: Some(self.tag(raw.as_bytes())), ..Args::default() };
            return Hashed { args, redacted: None };
        };
        let mut canonical = Vec::with_capacity(raw.len());
        value.write(&mut canonical);
        let hmac = Some(self.tag(&canonical));
        let keys = value.keys();
        let redacted = value.outline();
        Hashed { args: Args { bytes, canon: Some(Canon::Jcs), hmac, keys, ..Args::default() }, redacted }
    }

    /// The keyed hash of any bytes, `hs256:<key id>:<base64url>`.
    #[must_use]
    pub fn tag(&self, bytes: &[u8]) -> Text {
        let tag = hmac::sign(&self.key, bytes);
        let mut text = String::with_capacity(7 + self.kid.len() + 43);
        text.push_str("hs256:");
        text.push_str(&self.kid);
        text.push(':');
        URL_SAFE_NO_PAD.encode_string(tag.as_ref(), &mut text);
        text.into()
    }
}

/// The canonical form of a JSON text; `None` when it has none.
#[must_use]
pub fn canonical(raw: &str) -> Option<String> {
    let mut out = Vec::with_capacity(raw.len());
    parse(raw)?.write(&mut out);
    String::from_utf8(out).ok()
}

fn parse(raw: &str) -> Option<Value<'_>> {
    serde_json::from_str(raw).ok()
}

/// JSON that has a canonical form; members in its order, no name twice, every number one that all readers agree on.
#[derive(Debug)]
enum Value<'a> {
    Null,
    Bool(bool),
    /// Within ±(2^53−1).
    Integer(i64),
    /// Its canonical text.
    Float(String),
    Text(Cow<'a, str>),
    List(Vec<Self>),
    Object(Vec<(Cow<'a, str>, Self)>),
}

impl Value<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Self::Integer(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Self::Float(text) => out.extend_from_slice(text.as_bytes()),
            Self::Text(text) => json::string(out, text),
            Self::List(items) => {
                out.push(b'[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    item.write(out);
                }
                out.push(b']');
            }
            Self::Object(members) => {
                out.push(b'{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    json::string(out, name);
                    out.push(b':');
                    value.write(out);
                }
                out.push(b'}');
            }
        }
    }

    /// Names of the outermost members, in canonical order.
    fn keys(&self) -> Vec<Text> {
        let Self::Object(members) = self else { return Vec::new() };
        let names = members.iter().take(KEYS_MAX);
        names.map(|(name, _)| json::cut(name, KEY_MAX).to_owned().into()).collect()
    }

    /// Of each outermost member its type, and its length where it has one: `{"q":"string/12"}`.
    fn outline(&self) -> Option<Canonical> {
        let Self::Object(members) = self else { return None };
        let mut out = Vec::with_capacity(24 * members.len().min(KEYS_MAX));
        out.push(b'{');
        for (index, (name, value)) in
            members.iter().filter(|(name, _)| name.len() <= KEY_MAX).take(KEYS_MAX).enumerate()
        {
            if index > 0 {
                out.push(b',');
            }
            json::string(&mut out, name);
            out.extend_from_slice(b":\"");
            let (kind, length) = value.shape();
            out.extend_from_slice(kind.as_bytes());
            if let Some(length) = length {
                out.push(b'/');
                out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            }
            out.push(b'"');
        }
        out.push(b'}');
        String::from_utf8(out).ok().map(Canonical::trusted)
    }

    /// Its type, and how many bytes, items or members it has.
    fn shape(&self) -> (&'static str, Option<usize>) {
        match self {
            Self::Null => ("null", None),
            Self::Bool(_) => ("boolean", None),
            Self::Integer(_) | Self::Float(_) => ("number", None),
            Self::Text(text) => ("string", Some(text.len())),
            Self::List(items) => ("array", Some(items.len())),
            Self::Object(members) => ("object", Some(members.len())),
        }
    }
}

/// The order of RFC 8785, 3.2.3: by UTF-16 code units. Differs from the order of bytes only beyond the surrogates.
fn order(left: &str, right: &str) -> Ordering {
    if left.is_ascii() && right.is_ascii() { left.cmp(right) } else { left.encode_utf16().cmp(right.encode_utf16()) }
}

struct AnyValue;

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON that has a canonical form")
    }
    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'de>, E> {
        let within = i64::try_from(value).ok().filter(|value| value.unsigned_abs() <= json::INTEGER_MAX);
        within.map(Value::Integer).ok_or_else(|| E::custom("an integer readers do not agree on"))
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value<'de>, E> {
        let within = Some(value).filter(|value| value.unsigned_abs() <= json::INTEGER_MAX);
        within.map(Value::Integer).ok_or_else(|| E::custom("an integer readers do not agree on"))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value<'de>, E> {
        // From 2^53 on every double is an integer, and stands for more than one.
        if value.abs() >= 9_007_199_254_740_992.0 {
            return Err(E::custom("an integer readers do not agree on"));
        }
        serde_json_canonicalizer::to_string(&value).map(Value::Float).map_err(E::custom)
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value<'de>, A::Error> {
        let mut members: Vec<(Cow<'de, str>, Value<'de>)> = Vec::new();
        while let Some((Name(name), value)) = entries.next_entry()? {
            members.push((name, value));
        }
        if !members.is_sorted_by(|left, right| order(&left.0, &right.0).is_lt()) {
            members.sort_by(|left, right| order(&left.0, &right.0));
        }
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(A::Error::custom("a member twice"));
        }
        Ok(Value::Object(members))
    }
}

/// A member's name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyName;
        impl<'de> Visitor<'de> for AnyName {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(AnyName)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> ArgumentsKey {
        ArgumentsKey::new("k1", &[7; 32])
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            (-(1_i64 << 53) + 1..1_i64 << 53).prop_map(Into::into),
            (-1e15_f64..1e15).prop_map(Into::into),
            any::<f64>().prop_filter("exact", |float| float.abs() < 9e15).prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 40, 8, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_that_of_rfc_8785(value in any_json()) {
            let expected = serde_json_canonicalizer::to_string(&value).unwrap();
            for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
                prop_assert_eq!(canonical(&text), Some(expected.clone()));
            }
        }

        #[test]
        fn any_text_is_hashed(raw: String) {
            prop_assert!(key().hash(&raw).args.hmac.is_some());
        }
    }

    #[test]
    fn members_are_ordered_by_utf_16() {
        // The example of RFC 8785, 3.2.3.
        let raw = r#"{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}"#;
        let expected = "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u{80}\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\u{fb33}\":\"Hebrew Letter Dalet With Dagesh\"}";
        assert_eq!(canonical(raw).as_deref(), Some(expected));
    }

    #[test]
    fn equal_arguments_have_one_hash_however_they_are_written() {
        let hash = |raw: &str| key().hash(raw).args.hmac;
        assert_eq!(hash(r#"{"a":1,"b":"x"}"#), hash(r#"{ "b":"\u0078", "a":1.0 }"#));
        assert_ne!(hash(r#"{"a":1}"#), hash(r#"{"a":2}"#));
        assert_ne!(hash(r#"{"a":1}"#), ArgumentsKey::new("k1", &[8; 32]).hash(r#"{"a":1}"#).args.hmac);
    }

    #[test]
    fn what_has_no_canonical_form_is_hashed_as_it_was_sent() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for raw in [
            r#"{"a":1,"a":2}"#,
            r#"{"x":{"a":1,"\u0061":2}}"#,
            r#"{"a":"\ud800"}"#,
            r#"{"a":9007199254740993}"#,
            r#"{"a":-9007199254740992}"#,
            r#"{"a":9007199254740993.0}"#,
            r#"{"a":1e400}"#,
            "{",
            &deep,
        ] {
            let hashed = key().hash(raw);
            assert_eq!((hashed.args.canon, hashed.redacted), (Some(Canon::Raw), None), "{raw}");
            assert_eq!(hashed.args.hmac, Some(key().tag(raw.as_bytes())));
        }
        assert_ne!(
            key().hash(r#"{"a":9007199254740993}"#).args.hmac,
            key().hash(r#"{"a":9007199254740992}"#).args.hmac
        );
        assert_eq!(key().hash(r#"{"a":9007199254740991}"#).args.canon, Some(Canon::Jcs));
    }

    #[test]
    fn a_record_tells_types_and_lengths_and_no_value() {
        let hashed = key().hash(r#"{"to":"ann@example.com","n":7,"on":true,"of":null,"list":[1,2],"more":{"x":1}}"#);
        insta::assert_snapshot!(
            hashed.redacted.unwrap().as_str(),
            @r#"{"list":"array/2","more":"object/1","n":"number","of":"null","on":"boolean","to":"string/15"}"#
        );
        assert_eq!(hashed.args.keys, ["list", "more", "n", "of", "on", "to"].map(Text::from).to_vec());
        assert_eq!(key().hash(r"[1]").redacted, None);
    }

    #[test]
    fn the_hash_names_its_key_and_is_base64url() {
        let text = key().hash("{}").args.hmac.unwrap();
        let (head, tail) = text.rsplit_once(':').unwrap();
        assert_eq!((head, tail.len()), ("hs256:k1", 43));
    }
}
