//! What of a question a person is shown: messages that can't hide who asks, forms that hide nothing, URLs that can't hide
//! where they lead.

use url::Url;

use crate::json::{Change, Kind};
use crate::{Json, Raw};

/// A message with `name` before it, which nothing in the message can take away, turn round or write over; `None` for what
/// is no text. All else stays as it was written: half a surrogate pair, too.
pub(super) fn named(message: Raw<'_>, name: &str) -> Option<Json> {
    let name = Json::text(&format!("[{name}] "));
    let name = name.as_str().strip_suffix('"')?;
    Some(Json::joined(&[name, &visible(inside(message)?), "\""]))
}

/// A form's schema whose texts for people have nothing hidden in them; `None` where nothing changes. Names and values,
/// which go back to the server, stay as they were written.
pub(super) fn readable(schema: Raw<'_>) -> Option<Json> {
    if schema.kind() == Kind::Array { each(schema, readable) } else { with(schema, readable_member) }
}

fn readable_member(name: &str, value: Raw<'_>) -> Option<Json> {
    match (name, value.kind()) {
        ("title" | "description", Kind::Text) => cleaned(value),
        // Names for what may be chosen (2025-06-18).
        ("enumNames", Kind::Array) => each(value, cleaned),
        // What a person chooses comes back as it was sent.
        ("const" | "default" | "enum" | "examples", _) => None,
        // Schemas by names that the server chose: one may read like a keyword.
        ("properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions", Kind::Object) => {
            with(value, |_, schema| readable(schema))
        }
        _ => readable(value),
    }
}

/// An object whose members were changed; `None` where none was, or for what is no object.
fn with(object: Raw<'_>, change: fn(&str, Raw<'_>) -> Option<Json>) -> Option<Json> {
    let members = object.object()?;
    let values: Vec<_> = members.iter().map(|(name, value)| change(name, value)).collect();
    let changes = members.iter().zip(&values);
    let changes = changes.filter_map(|((name, _), new)| Some((name, Change::Set(new.as_ref()?.raw()))));
    let changes: Vec<_> = changes.collect();
    (!changes.is_empty()).then(|| members.with(&changes))
}

/// An array whose items were changed; `None` where none was, or for what is no array.
fn each(array: Raw<'_>, change: fn(Raw<'_>) -> Option<Json>) -> Option<Json> {
    let items = array.array()?;
    let changed: Vec<_> = items.iter().map(|item| change(*item)).collect();
    let is_changed = changed.iter().any(Option::is_some);
    is_changed.then(|| Json::array(items.iter().zip(&changed).map(|(item, new)| new.as_ref().map_or(*item, Json::raw))))
}

/// A text without what is hidden in it; `None` where nothing is.
fn cleaned(text: Raw<'_>) -> Option<Json> {
    let written = inside(text)?;
    let shown = visible(written);
    (shown.len() < written.len()).then(|| Json::joined(&["\"", &shown, "\""]))
}

/// A text between its quotation marks, as it was written; `None` for what is no text.
fn inside(text: Raw<'_>) -> Option<&str> {
    text.get().strip_prefix('"')?.strip_suffix('"')
}

/// The letters of a JSON string that are seen, as they were written.
fn visible(inside: &str) -> String {
    let mut shown = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((letter, written)) = next(rest) {
        if !letter.is_some_and(is_hidden) {
            shown.push_str(written);
        }
        rest = &rest[written.len()..];
    }
    shown
}

/// The first letter within a JSON string, and how it is written; no letter is half a surrogate pair.
fn next(inside: &str) -> Option<(Option<char>, &str)> {
    let first = inside.chars().next()?;
    if first != '\\' {
        return Some((Some(first), &inside[..first.len_utf8()]));
    }
    if let Some(hex) = inside.strip_prefix("\\u").and_then(|rest| rest.get(..4)) {
        let letter = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32);
        return Some((letter, &inside[..6]));
    }
    let written = inside.get(..2)?;
    let letter = match written {
        "\\b" => '\u{8}',
        "\\f" => '\u{c}',
        "\\n" => '\n',
        "\\r" => '\r',
        "\\t" => '\t',
        // A quotation mark or a slash.
        _ => '/',
    };
    Some((Some(letter), written))
}

/// Whether it is not seen but changes what is: controls but for the newline, and those of the direction of writing.
const fn is_hidden(letter: char) -> bool {
    matches!(letter, '\0'..='\t' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}') || is_of_direction(letter)
}

/// The characters with Unicode's `Bidi_Control` property.
const fn is_of_direction(letter: char) -> bool {
    matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether it is an `https` URL with a host, that every reader takes for the same: readers repair spaces, backslashes and
/// missing slashes each in its own way, and a name before the host looks like one.
pub(super) fn is_clear_https(url: &str) -> bool {
    const SCHEME: &str = "https://";
    let Some((scheme, rest)) = url.split_at_checked(SCHEME.len()) else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let strange =
        |letter: char| letter.is_control() || letter.is_whitespace() || letter == '\\' || is_of_direction(letter);
    scheme.eq_ignore_ascii_case(SCHEME)
        && !host.is_empty()
        && !host.contains('@')
        && !url.contains(strange)
        && Url::parse(url).is_ok_and(|url| url.has_host())
}
