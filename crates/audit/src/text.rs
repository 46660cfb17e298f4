//! A text of a record: borrowed for good, shared with the snapshot, or its own.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::json::{Put, Writer};

/// A text of a record. Names from the tenant's snapshot are shared, not copied.
#[derive(Clone)]
pub enum Text {
    /// Known when the program was written.
    Fixed(&'static str),
    /// Shared with whoever else holds it.
    Shared(Arc<str>),
    /// Made for this record.
    Own(Box<str>),
}

impl Text {
    /// Writes a value down.
    #[must_use]
    pub fn of(value: impl fmt::Display) -> Self {
        Self::Own(value.to_string().into_boxed_str())
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        match self {
            Self::Fixed(text) => text,
            Self::Shared(text) => text,
            Self::Own(text) => text,
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}
impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl From<&'static str> for Text {
    fn from(text: &'static str) -> Self {
        Self::Fixed(text)
    }
}
impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::Own(text.into_boxed_str())
    }
}
impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Self::Shared(text)
    }
}
impl From<&Arc<str>> for Text {
    fn from(text: &Arc<str>) -> Self {
        Self::Shared(Arc::clone(text))
    }
}

impl Put for Text {
    fn put(&self, writer: &mut Writer) {
        writer.text(self);
    }
}

/// Whether a character is not seen, or changes the direction or the look of others.
#[must_use]
pub const fn is_hidden(char: char) -> bool {
    match char {
        '\n' | '\t' => false,
        // Controls; soft hyphen; combining grapheme joiner; Arabic letter mark; Hangul and Khmer fillers; Mongolian
        // selectors and vowel separator; zero width, marks, embeddings, overrides, isolates, invisible operators;
        // line and paragraph separators; variation selectors; byte order mark; interlinear annotation; tags.
        '\0'..='\x1f'
        | '\x7f'..='\u{9f}'
        | '\u{ad}'
        | '\u{34f}'
        | '\u{61c}'
        | '\u{115f}'..='\u{1160}'
        | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{2800}'
        | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}'
        | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}' => true,
        _ => false,
    }
}
