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
