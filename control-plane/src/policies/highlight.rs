//! Cedar in colours, before any script runs.

/// A line of a text, in pieces.
pub(super) type Line = Vec<Token>;

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    /// A class of `4-components.css`; empty for what has no colour.
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// A text in lines of coloured pieces. Together they are the text.
pub(super) fn lines(text: &str) -> Vec<Line> {
    text.lines().map(line).collect()
}

fn line(line: &str) -> Line {
    let mut tokens: Line = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let (class, length) = token(rest, first);
        let (text, after) = rest.split_at(length);
        match tokens.last_mut() {
            Some(last) if last.class == class && class.is_empty() => last.text.push_str(text),
            _ => tokens.push(Token { class, text: text.to_owned() }),
        }
        rest = after;
    }
    tokens
}

/// The class and the length of what a rest of a line begins with.
fn token(rest: &str, first: char) -> (&'static str, usize) {
    if rest.starts_with("//") {
        return ("tok-c", rest.len());
    }
    if first == '"' {
        return ("tok-s", string(rest));
    }
    if first.is_ascii_digit() {
        return ("tok-n", until(rest, |char| !char.is_ascii_digit()));
    }
    if first == '@' {
        return ("tok-m", 1 + word(&rest[1..]));
    }
    if !is_of_word(first) {
        return ("", first.len_utf8());
    }
    let length = word(rest);
    let class = match &rest[..length] {
        "permit" | "forbid" | "when" | "unless" | "if" | "then" | "else" | "in" | "has" | "like" | "is" => "tok-k",
        "principal" | "action" | "resource" | "context" | "true" | "false" => "tok-a",
        _ if rest[length..].starts_with("::") => "tok-t",
        _ => "",
    };
    (class, length)
}

/// The length of a string, its quotes included; of one that does not end, the rest of the line.
fn string(rest: &str) -> usize {
    let mut escaped = false;
    for (place, char) in rest.char_indices().skip(1) {
        match char {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return place + 1,
            _ => {}
        }
    }
    rest.len()
}

fn word(rest: &str) -> usize {
    until(rest, |char| !is_of_word(char))
}

fn until(rest: &str, ends: impl Fn(char) -> bool) -> usize {
    rest.find(ends).unwrap_or(rest.len())
}

const fn is_of_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_are_the_text_again_whatever_it_is() {
        for text in [
            "@id(\"a \\\" b\")\npermit (principal, action in Sluice::Action::\"x\", resource) // é\nwhen { 12 < a.b };",
            "\"open",
            "\"\\",
            "@",
            "é\u{202e}\u{0}中\"é",
            "",
        ] {
            let joined: Vec<String> =
                lines(text).iter().map(|line| line.iter().map(|token| token.text.as_str()).collect()).collect();
            assert_eq!(joined.join("\n"), text);
        }
    }

    #[test]
    fn words_have_the_colours_the_editor_gives_them() {
        let of = |text: &str| line(text).into_iter().map(|token| (token.class, token.text)).collect::<Vec<_>>();
        let wanted = [("tok-k", "permit"), ("", " ("), ("tok-a", "principal"), ("", " "), ("tok-k", "in"), ("", " ")];
        let wanted = wanted.into_iter().chain([("tok-t", "Group"), ("", "::"), ("tok-s", "\"a\""), ("", ")")]);
        assert_eq!(
            of("permit (principal in Group::\"a\")"),
            wanted.map(|(a, b)| (a, b.to_owned())).collect::<Vec<_>>()
        );
        assert_eq!(of("permitted"), [("", "permitted".to_owned())]);
    }
}
