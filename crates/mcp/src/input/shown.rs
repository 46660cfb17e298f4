//! What of a question a person is shown: messages that can't hide who asks, URLs that can't hide where they lead.

use url::Url;

use crate::{Json, Raw};

/// A message with `name` before it, which nothing in the message can take away, turn round or write over; `None` for what
/// is no text. All else stays as it was written: half a surrogate pair, too.
pub(super) fn named(message: Raw<'_>, name: &str) -> Option<Json> {
    let name = Json::text(&format!("[{name}] "));
    let (name, message) = (name.as_str().strip_suffix('"')?, message.get().strip_prefix('"')?.strip_suffix('"')?);
    let mut shown = String::with_capacity(message.len());
    let mut rest = message;
    while let Some((letter, written)) = next(rest) {
        if !letter.is_some_and(is_hidden) {
            shown.push_str(written);
        }
        rest = &rest[written.len()..];
    }
    Some(Json::joined(&[name, &shown, "\""]))
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
