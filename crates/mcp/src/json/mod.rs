//! JSON text that is checked once and then kept as it was written: numbers, key order and unknown members survive.

mod scan;
mod write;

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

pub(crate) use scan::Scanner;
pub use write::{Change, Json, Writer};

/// Bounds on what is read from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Deepest nesting of objects and arrays; at most [`Limits::DEEPEST`].
    pub depth: usize,
    /// Most messages in a batch.
    pub batch: usize,
    /// Which texts may stand in it.
    pub texts: Texts,
}

/// Which texts a document may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// Unicode without U+0000: what can be stored, and what every reader reads alike. For what is decided on.
    Storable,
    /// Any text of JSON's grammar, lone surrogates included. For results, which tools fill with whatever they found.
    Any,
}

impl Limits {
    /// The deepest nesting any limit may allow: the scanner recurses once a level.
    pub const DEEPEST: usize = 128;

    /// For what a client sends.
    #[must_use]
    pub const fn inbound() -> Self {
        Self { depth: 64, batch: 32, texts: Texts::Storable }
    }

    /// For what an upstream answers, which is passed on and not decided on.
    #[must_use]
    pub const fn upstream() -> Self {
        Self { depth: Self::DEEPEST, batch: 32, texts: Texts::Any }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::inbound()
    }
}

/// Why a text is refused, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Bytes that are not UTF-8.
    #[error("the text is not UTF-8 (byte {at})")]
    NotUtf8 {
        /// The first wrong byte.
        at: usize,
    },
    /// Not JSON as in RFC 8259.
    #[error("the text is not JSON (byte {at})")]
    Syntax {
        /// The first byte that does not fit.
        at: usize,
    },
    /// Nested deeper than the limit.
    #[error("the text is nested too deep (byte {at})")]
    TooDeep {
        /// Where the level too many opens.
        at: usize,
    },
    /// A key stands twice in one object: receivers disagree on which one counts.
    #[error("a key stands twice in one object (ends at byte {at})")]
    DuplicateKey {
        /// The end of the object.
        at: usize,
    },
    /// U+0000 in a text, which databases do not take.
    #[error("a text holds U+0000 (byte {at})")]
    NullCharacter {
        /// The escape.
        at: usize,
    },
    /// Half a surrogate pair in a text: no Unicode, and receivers disagree on what it becomes.
    #[error("a text holds a lone surrogate (byte {at})")]
    LoneSurrogate {
        /// The escape.
        at: usize,
    },
}

/// The text of one checked JSON value, without space around it.
///
/// It is JSON, UTF-8, free of duplicate keys at any depth, and keeps the limits it was read with. Only a scan or a
/// [`Writer`] makes one, so it may be spliced into a document as it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Raw<'a>(&'a str);

/// What kind of value a [`Raw`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`.
    Null,
    /// `true` or `false`.
    Boolean,
    /// Any number.
    Number,
    /// A string.
    Text,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl<'a> Raw<'a> {
    /// `null`.
    pub const NULL: Raw<'static> = Raw("null");
    /// `true`.
    pub const TRUE: Raw<'static> = Raw("true");
    /// `false`.
    pub const FALSE: Raw<'static> = Raw("false");
    /// `{}`.
    pub const EMPTY: Raw<'static> = Raw("{}");

    /// Checks a whole text.
    ///
    /// # Errors
    /// [`JsonError`] when it is anything but one value that meets this type's promise within the limits.
    pub fn check(text: &'a str, limits: &Limits) -> Result<Self, JsonError> {
        let mut scanner = Scanner::new(text, limits);
        let raw = scanner.value()?;
        scanner.end()?;
        Ok(raw)
    }

    /// A text in the program that is JSON as this type promises; tests see to it.
    pub(crate) const fn constant(text: &'a str) -> Self {
        Self(text)
    }

    /// The JSON text.
    #[must_use]
    pub const fn get(self) -> &'a str {
        self.0
    }

    /// Which kind of value it is.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self.0.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::Text,
            Some(b't' | b'f') => Kind::Boolean,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// A string's text, `None` for other kinds and for what is no Unicode. Copies only where there are escapes.
    #[must_use]
    pub fn text(self) -> Option<Cow<'a, str>> {
        let inside = self.0.strip_prefix('"')?.strip_suffix('"')?;
        if inside.contains('\\') { self.read().ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inside)) }
    }

    /// A boolean's value.
    #[must_use]
    pub fn boolean(self) -> Option<bool> {
        match self.0 {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// A number written as an integer that fits; not `1.0` and not `1e3`.
    #[must_use]
    pub fn integer(self) -> Option<i64> {
        if self.kind() == Kind::Number { self.0.parse().ok() } else { None }
    }

    /// Whether it is a number written without fraction and exponent, of any size.
    #[must_use]
    pub fn is_integer(self) -> bool {
        self.kind() == Kind::Number && !self.0.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
    }

    /// An object's members, `None` for other kinds. Scans the value once more.
    #[must_use]
    pub fn object(self) -> Option<Object<'a>> {
        if self.kind() == Kind::Object { Scanner::trusted(self.0).object().ok() } else { None }
    }

    /// An array's items, `None` for other kinds. Scans the value once more.
    #[must_use]
    pub fn array(self) -> Option<Vec<Raw<'a>>> {
        if self.kind() == Kind::Array { Scanner::trusted(self.0).array().ok() } else { None }
    }

    /// Reads it as a type of serde's, `&serde_json::value::RawValue` included.
    ///
    /// # Errors
    /// When the value does not fit the type.
    pub fn read<T: Deserialize<'a>>(self) -> serde_json::Result<T> {
        serde_json::from_str(self.0)
    }

    /// A copy of the text that stands by itself.
    #[must_use]
    pub fn to_json(self) -> Json {
        Json::copy(self)
    }
}

impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// An object's members in the order they were written, keys decoded, values as they were written.
#[derive(Clone, PartialEq, Eq)]
pub struct Object<'a> {
    raw: Raw<'a>,
    members: Vec<(Cow<'a, str>, Raw<'a>)>,
}

impl<'a> Object<'a> {
    /// The object without members.
    #[must_use]
    pub const fn empty() -> Self {
        Self { raw: Raw::EMPTY, members: Vec::new() }
    }

    /// The object as it was written.
    #[must_use]
    pub const fn raw(&self) -> Raw<'a> {
        self.raw
    }

    /// The member of that name.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Raw<'a>> {
        self.members.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }

    /// Whether there is a member of that name.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The text of the member of that name, `None` when absent or of another kind.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).and_then(Raw::text)
    }

    /// The member of that name as an object, `None` when absent or of another kind.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Object<'a>> {
        self.get(key).and_then(Raw::object)
    }

    /// The members in order.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Raw<'a>)> {
        self.members.iter().map(|(key, value)| (key.as_ref(), *value))
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The object with some members set or removed: what stays keeps its place and its bytes, what is new comes last.
    #[must_use]
    pub fn with(&self, changes: &[(&str, Change<'_>)]) -> Json {
        let mut writer = Writer::with_capacity(self.raw.get().len() + 256);
        self.write_members(&mut writer, changes);
        writer.finish()
    }

    /// Writes the members into an object that is being written, as [`Object::with`] does.
    pub fn write_members(&self, writer: &mut Writer, changes: &[(&str, Change<'_>)]) {
        for (key, value) in self.iter() {
            match changes.iter().find(|(name, _)| *name == key) {
                None => writer.member(key, value),
                Some((_, Change::Set(value))) => writer.member(key, *value),
                Some((_, Change::Remove)) => {}
            }
        }
        for (key, change) in changes {
            if let Change::Set(value) = change
                && !self.has(key)
            {
                writer.member(key, *value);
            }
        }
    }
}

impl fmt::Debug for Object<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

#[cfg(test)]
pub(crate) mod tests;
