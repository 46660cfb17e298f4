//! Writing JSON so that it can't come out malformed.

use std::fmt;

use super::Raw;
use crate::Id;

/// JSON text that stands by itself; well-formed like [`Raw`].
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(String);

impl Json {
    pub(super) fn copy(raw: Raw<'_>) -> Self {
        Self(raw.get().to_owned())
    }

    /// Parts that make one well-formed value together; the caller's promise.
    pub(crate) fn joined(parts: &[&str]) -> Self {
        Self(parts.concat())
    }

    /// A string. U+0000 becomes U+FFFD, so that what we write can be read back by our own rules.
    #[must_use]
    pub fn text(text: &str) -> Self {
        let mut json = String::with_capacity(text.len() + 2);
        push_text(&mut json, text);
        Self(json)
    }

    /// An integer.
    #[must_use]
    pub fn integer(number: impl Into<i128>) -> Self {
        Self(number.into().to_string())
    }

    /// An array of values.
    #[must_use]
    pub fn array<'r>(items: impl IntoIterator<Item = Raw<'r>>) -> Self {
        let mut json = String::new();
        push_array(&mut json, items);
        Self(json)
    }

    /// The value, to look into it or to put it into another.
    #[must_use]
    pub fn raw(&self) -> Raw<'_> {
        Raw(&self.0)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, given away.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What happens to a member in [`super::Object::with`].
#[derive(Debug, Clone, Copy)]
pub enum Change<'c> {
    /// It has this value, whether or not it was there.
    Set(Raw<'c>),
    /// It is left out.
    Remove,
}

/// Writes one object, member by member. The caller sees to it that no key comes twice.
#[derive(Debug)]
pub struct Writer {
    text: String,
}

impl Writer {
    /// Begins an object.
    #[must_use]
    pub fn object() -> Self {
        Self::with_capacity(256)
    }

    /// Begins an object whose text will have about that many bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes);
        text.push('{');
        Self { text }
    }

    /// A member of any value.
    pub fn member(&mut self, key: &str, value: Raw<'_>) {
        self.key(key);
        self.text.push_str(value.get());
    }

    /// A member that is a string.
    pub fn text(&mut self, key: &str, text: &str) {
        self.key(key);
        push_text(&mut self.text, text);
    }

    /// A member that is an array of values.
    pub fn array(&mut self, key: &str, items: &[Raw<'_>]) {
        self.key(key);
        push_array(&mut self.text, items.iter().copied());
    }

    /// A member that is a request's id.
    pub fn id(&mut self, key: &str, id: &Id<'_>) {
        self.key(key);
        self.text.push_str(id.as_json());
    }

    /// A member that is an integer.
    pub fn integer(&mut self, key: &str, number: impl Into<i128>) {
        self.member(key, Json::integer(number).raw());
    }

    /// A member that is an object, its members written by `fill`.
    pub fn nested(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        let mut inner = Self { text: std::mem::take(&mut self.text) };
        inner.text.push('{');
        fill(&mut inner);
        inner.text.push('}');
        self.text = inner.text;
    }

    /// Ends the object.
    #[must_use]
    pub fn finish(mut self) -> Json {
        self.text.push('}');
        Json(self.text)
    }

    fn key(&mut self, key: &str) {
        if !self.text.ends_with('{') {
            self.text.push(',');
        }
        push_text(&mut self.text, key);
        self.text.push(':');
    }
}

/// RFC 8259, 7: quote, backslash and control characters are escaped, all else stands as it is.
fn push_text(json: &mut String, text: &str) {
    json.push('"');
    let mut rest = text;
    while let Some(at) = rest.find(|letter: char| matches!(letter, '"' | '\\' | '\0'..='\u{1f}')) {
        json.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => json.push_str("\\\""),
            b'\\' => json.push_str("\\\\"),
            b'\n' => json.push_str("\\n"),
            b'\r' => json.push_str("\\r"),
            b'\t' => json.push_str("\\t"),
            0 => json.push('\u{fffd}'),
            control => {
                json.push_str("\\u00");
                json.push(char::from(b'0' + (control >> 4)));
                json.push(char::from(b"0123456789abcdef"[usize::from(control & 15)]));
            }
        }
        rest = &rest[at + 1..];
    }
    json.push_str(rest);
    json.push('"');
}

fn push_array<'r>(json: &mut String, items: impl IntoIterator<Item = Raw<'r>>) {
    json.push('[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            json.push(',');
        }
        json.push_str(item.get());
    }
    json.push(']');
}
