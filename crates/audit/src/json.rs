//! Writes JSON in the canonical form of RFC 8785, straight into bytes: keys stand in order because the structures list
//! their fields in order (a test holds that), and nothing is ever sorted or copied.

use chrono::{DateTime, Datelike, Timelike, Utc};

/// How long texts and lists may be before they are cut.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of a text.
    pub(crate) text: usize,
    /// Items of a list.
    pub(crate) list: usize,
}

/// The largest integer that JSON readers agree on (RFC 7493, 2.2).
pub(crate) const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Bytes in the making.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) out: Vec<u8>,
    pub(crate) limits: Limits,
    /// Whether a text or list was cut.
    pub(crate) cut: bool,
    /// Where the number stands that is given later.
    pub(crate) hole: Option<usize>,
}

/// A value that may be absent.
pub(crate) trait Put {
    /// Whether it is written at all.
    fn present(&self) -> bool {
        true
    }
    /// Writes it.
    fn put(&self, writer: &mut Writer);
}

/// A structure of optional members.
pub(crate) trait Object {
    /// Whether any member is present.
    fn any_present(&self) -> bool;
    /// Writes the object, even an empty one.
    fn put_object(&self, writer: &mut Writer);
}

impl Writer {
    pub(crate) fn new(capacity: usize, limits: Limits) -> Self {
        Self { out: Vec::with_capacity(capacity), limits, cut: false, hole: None }
    }

    /// Writes a comma unless the object was just opened, then the key with its quotes and colon.
    pub(crate) fn key(&mut self, quoted: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.out.extend_from_slice(quoted.as_bytes());
    }

    pub(crate) fn text(&mut self, text: &str) {
        let kept = cut(text, self.limits.text);
        self.cut |= kept.len() < text.len();
        string(&mut self.out, kept);
    }

    pub(crate) fn integer(&mut self, value: u64) {
        self.out.extend_from_slice(itoa::Buffer::new().format(value.min(INTEGER_MAX)).as_bytes());
    }

    pub(crate) fn list<T: Put>(&mut self, items: &[T]) {
        self.cut |= items.len() > self.limits.list;
        self.out.push(b'[');
        for (index, item) in items.iter().take(self.limits.list).enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            item.put(self);
        }
        self.out.push(b']');
    }
}

/// The longest beginning of a text that has at most `most` bytes.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    if text.len() <= most { text } else { &text[..text.floor_char_boundary(most)] }
}

/// Writes a text in quotes, escaped as ECMAScript's `JSON.stringify` does (RFC 8785, 3.2.2.2).
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut from = 0;
    // Most texts have nothing to escape. Looked at as a whole, without an early end, many bytes are compared at once.
    let any = bytes.iter().fold(false, |any, byte| any | is_escaped(*byte));
    for (at, byte) in bytes.iter().enumerate().filter(|(_, byte)| any && is_escaped(**byte)) {
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *byte]),
            0x08 => out.extend_from_slice(b"\\b"),
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            0x0d => out.extend_from_slice(b"\\r"),
            _ => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(byte >> 4)]);
                out.push(HEX[usize::from(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[from..]);
    out.push(b'"');
}

const fn is_escaped(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Defines a structure whose fields are the members of a JSON object, in canonical order; absent ones are not written.
macro_rules! fields {
    ($(#[$doc:meta])* pub struct $name:ident {
        $( $(#[$field_doc:meta])* $field:ident $(as $key:literal)? : $type:ty, )*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name {
            $( $(#[$field_doc])* pub $field: $type, )*
        }

        impl $name {
            #[cfg(test)]
            pub(crate) const KEYS: &[&str] = &[$( key!($field $($key)?), )*];
        }

        impl $crate::json::Object for $name {
            fn any_present(&self) -> bool {
                $( $crate::json::Put::present(&self.$field) )||*
            }

            fn put_object(&self, writer: &mut $crate::json::Writer) {
                writer.out.push(b'{');
                $(
                    if $crate::json::Put::present(&self.$field) {
                        writer.key(concat!("\"", key!($field $($key)?), "\":"));
                        $crate::json::Put::put(&self.$field, writer);
                    }
                )*
                writer.out.push(b'}');
            }
        }
    };
}

/// As `fields!`, for objects that stand inside another; one without members is absent.
macro_rules! object {
    ($(#[$doc:meta])* pub struct $name:ident { $($body:tt)* }) => {
        fields! { $(#[$doc])* pub struct $name { $($body)* } }
        impl $crate::json::Put for $name {
            fn present(&self) -> bool {
                $crate::json::Object::any_present(self)
            }
            fn put(&self, writer: &mut $crate::json::Writer) {
                $crate::json::Object::put_object(self, writer);
            }
        }
    };
}

macro_rules! key {
    ($field:ident $key:literal) => {
        $key
    };
    ($field:ident) => {
        stringify!($field)
    };
}

impl<T: Put> Put for Option<T> {
    fn present(&self) -> bool {
        self.as_ref().is_some_and(Put::present)
    }
    fn put(&self, writer: &mut Writer) {
        if let Some(value) = self {
            value.put(writer);
        }
    }
}

impl<T: Put> Put for Vec<T> {
    fn present(&self) -> bool {
        !self.is_empty()
    }
    fn put(&self, writer: &mut Writer) {
        writer.list(self);
    }
}

impl Put for bool {
    fn put(&self, writer: &mut Writer) {
        writer.out.extend_from_slice(if *self { b"true" } else { b"false" });
    }
}

impl Put for u64 {
    fn put(&self, writer: &mut Writer) {
        writer.integer(*self);
    }
}

impl Put for u32 {
    fn put(&self, writer: &mut Writer) {
        writer.integer(u64::from(*self));
    }
}

impl Put for u16 {
    fn put(&self, writer: &mut Writer) {
        writer.integer(u64::from(*self));
    }
}

impl Put for i64 {
    fn put(&self, writer: &mut Writer) {
        if *self < 0 {
            writer.out.push(b'-');
        }
        writer.integer(self.unsigned_abs());
    }
}

impl Put for DateTime<Utc> {
    /// RFC 3339 with microseconds and `Z`.
    fn put(&self, writer: &mut Writer) {
        let mut text = *b"\"0000-00-00T00:00:00.000000Z\"";
        let mut digits = |at: usize, count: usize, mut value: u32| {
            for place in text[at..at + count].iter_mut().rev() {
                *place = b'0' + u8::try_from(value % 10).unwrap_or(0);
                value /= 10;
            }
        };
        digits(1, 4, u32::try_from(self.year()).unwrap_or(0));
        digits(6, 2, self.month());
        digits(9, 2, self.day());
        digits(12, 2, self.hour());
        digits(15, 2, self.minute());
        digits(18, 2, self.second());
        digits(21, 6, self.timestamp_subsec_micros().min(999_999));
        writer.out.extend_from_slice(&text);
    }
}

macro_rules! put_as_uuid {
    ($($id:ty),*) => {$(
        impl Put for $id {
            fn put(&self, writer: &mut Writer) {
                let mut text = uuid::Uuid::encode_buffer();
                writer.out.push(b'"');
                writer.out.extend_from_slice(self.uuid().hyphenated().encode_lower(&mut text).as_bytes());
                writer.out.push(b'"');
            }
        }
    )*};
}
put_as_uuid!(domain::RecordId, domain::CallId);

macro_rules! put_as_text {
    ($($id:ty),*) => {$(
        impl Put for $id {
            fn put(&self, writer: &mut Writer) {
                // An id needs no escape.
                writer.out.push(b'"');
                self.write_into(&mut writer.out);
                writer.out.push(b'"');
            }
        }
    )*};
}
put_as_text!(
    domain::TenantId,
    domain::ServerId,
    domain::ServerVersionId,
    domain::ToolId,
    domain::TokenId,
    domain::PolicyId,
    domain::NodeId,
    domain::BootId,
    domain::UserId
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &impl Put) -> String {
        let mut writer = Writer::new(0, Limits { text: usize::MAX, list: usize::MAX });
        value.put(&mut writer);
        String::from_utf8(writer.out).unwrap()
    }

    proptest! {
        #[test]
        fn a_text_is_escaped_as_rfc_8785_says(text in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json_canonicalizer::to_string(&text).unwrap());
        }

        #[test]
        fn a_time_reads_back_to_the_microsecond(micros in 0_i64..253_402_300_799_000_000) {
            let time = DateTime::from_timestamp_micros(micros).unwrap();
            let text = written(&time);
            let expected = time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
            prop_assert_eq!(text.trim_matches('"'), expected);
        }

        #[test]
        fn a_text_is_cut_between_characters(text in any::<String>(), most in 0_usize..40) {
            let kept = cut(&text, most);
            prop_assert!(text.starts_with(kept) && kept.len() <= most);
            prop_assert!(kept.len() + 4 > most.min(text.len()));
        }
    }

    #[test]
    fn an_integer_no_reader_agrees_on_is_written_as_the_largest_they_do() {
        assert_eq!(written(&u64::MAX), "9007199254740991");
        assert_eq!(written(&i64::MIN), "-9007199254740991");
    }
}
