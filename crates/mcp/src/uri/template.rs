//! Templates of URIs (RFC 6570): whether a URI can have come of one.

/// The longest URI that any template is tried on, in bytes: what RFC 9110, 4.1 asks everybody to support.
pub const URI_MAX: usize = 8_000;
/// Most parts of a template, literals and variables together; one with more matches nothing.
pub const PARTS_MAX: usize = 32;
/// Most steps, of a part at a byte, that are taken to find the template of one URI, or those of all that one result names:
/// some ten milliseconds. After that nothing matches any more.
pub const STEPS_MAX: usize = 4_000_000;

/// The steps that are left.
#[derive(Debug)]
pub(super) struct Steps(usize);

impl Default for Steps {
    fn default() -> Self {
        Self(STEPS_MAX)
    }
}

impl Steps {
    /// Takes so many; once there are not enough, there are none.
    fn take(&mut self, steps: usize) -> bool {
        let left = self.0.checked_sub(steps);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}

/// A template, taken apart.
///
/// What a variable may have become follows its operator (RFC 6570, 3.2): its value is percent-encoded but for `{+x}` and
/// `{#x}`, so that it holds none of the characters that end its place. `{x}` and `{/x}` stand for something, and all others
/// for nothing, too. Lengths (`{x:3}`) and the names of variables are not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// This text.
    Literal(String),
    /// One or more characters of the class.
    Run(Class),
    /// Anything, or nothing: `{+x}`.
    Anything,
    /// Nothing, or this character and any number of the class: `{?x}`.
    Opened(u8, Class),
}

/// Which characters may stand for a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Within one segment of a path.
    Segment,
    /// Within a path: segments of an exploded list.
    Path,
    /// Within a query.
    Query,
    /// Any.
    Any,
}

impl Class {
    const fn has(self, byte: u8) -> bool {
        match self {
            Self::Segment => !matches!(byte, b'/' | b'?' | b'#'),
            Self::Path => !matches!(byte, b'?' | b'#'),
            Self::Query => byte != b'#',
            Self::Any => true,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "",
            Self::Path => "*",
            Self::Query => "?",
            Self::Any => "#",
        }
    }
}

impl Template {
    /// Takes a template apart; `None` for what breaks the grammar, uses an operator that is reserved (RFC 6570, 2.2), or has
    /// more than [`PARTS_MAX`] parts.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((literal, after)) = rest.split_once('{') {
            push_literal(&mut parts, literal)?;
            let (expression, after) = after.split_once('}')?;
            push_expression(&mut parts, expression)?;
            rest = after;
        }
        push_literal(&mut parts, rest)?;
        (parts.len() <= PARTS_MAX).then_some(Self(parts))
    }

    /// What stands before the first variable.
    pub(super) fn literal_prefix(&self) -> &str {
        match self.0.first() {
            Some(Part::Literal(literal)) => literal,
            _ => "",
        }
    }

    /// The template without the names of its variables: equal for two that match the same.
    pub(super) fn shape(&self) -> String {
        let mut shape = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => shape.push_str(literal),
                Part::Run(class) => shape.extend(["{", class.as_str(), "}"]),
                Part::Anything => shape.push_str("{+}"),
                Part::Opened(mark, class) => {
                    shape.push('{');
                    shape.push(char::from(*mark));
                    shape.extend([class.as_str(), "}"]);
                }
            }
        }
        shape
    }

    /// Whether the URI can have come of the template.
    ///
    /// A URI with dot segments has not: whoever normalises it (RFC 3986, 6.2.2.3) reads another one.
    ///
    /// Takes at most the length of the URI times the number of parts in steps, whatever both hold.
    pub(super) fn matches(&self, uri: &str, steps: &mut Steps) -> bool {
        let is_tried = uri.len() <= URI_MAX && uri.starts_with(self.literal_prefix());
        is_tried && self.fits(uri, steps) && !has_dot_segments(uri)
    }

    fn fits(&self, uri: &str, steps: &mut Steps) -> bool {
        // At which places of the URI the parts so far may end.
        let mut places = vec![false; uri.len() + 1];
        places[0] = true;
        for part in &self.0 {
            if !steps.take(places.len()) {
                return false;
            }
            places = part.ends(uri.as_bytes(), &places);
            if !places.contains(&true) {
                return false;
            }
        }
        places.last() == Some(&true)
    }
}

fn push_literal(parts: &mut Vec<Part>, literal: &str) -> Option<()> {
    if literal.contains('}') {
        return None;
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal.to_owned()));
    }
    Some(())
}

fn push_expression(parts: &mut Vec<Part>, expression: &str) -> Option<()> {
    let operator = expression.bytes().next()?;
    let variables = match operator {
        b'+' | b'#' | b'.' | b'/' | b';' | b'?' | b'&' => &expression[1..],
        b'=' | b',' | b'!' | b'@' | b'|' => return None,
        _ => expression,
    };
    let are_named = variables.split(',').all(|variable| !variable.trim_end_matches('*').is_empty());
    if !are_named || variables.contains('{') {
        return None;
    }
    match operator {
        b'+' => parts.push(Part::Anything),
        b'#' => parts.push(Part::Opened(operator, Class::Any)),
        b'?' | b'&' => parts.push(Part::Opened(operator, Class::Query)),
        b'.' | b';' => parts.push(Part::Opened(operator, Class::Segment)),
        b'/' => {
            for variable in variables.split(',') {
                let class = if variable.ends_with('*') { Class::Path } else { Class::Segment };
                parts.extend([Part::Literal("/".to_owned()), Part::Run(class)]);
            }
        }
        _ => parts.push(Part::Run(Class::Segment)),
    }
    Some(())
}

impl Part {
    /// The places at which the part may end when it begins at one of `places`.
    fn ends(&self, uri: &[u8], places: &[bool]) -> Vec<bool> {
        let mut ends = vec![false; places.len()];
        match self {
            Self::Literal(literal) => {
                for place in (0..places.len()).filter(|place| places[*place]) {
                    if uri[place..].starts_with(literal.as_bytes()) {
                        ends[place + literal.len()] = true;
                    }
                }
            }
            Self::Run(class) => {
                let mut is_within = false;
                for (place, byte) in uri.iter().enumerate() {
                    is_within = (is_within || places[place]) && class.has(*byte);
                    ends[place + 1] = is_within;
                }
            }
            Self::Anything => {
                let first = places.iter().position(|is_one| *is_one).unwrap_or(places.len());
                ends[first..].fill(true);
            }
            Self::Opened(mark, class) => {
                ends.copy_from_slice(places);
                let mut is_within = false;
                for (place, byte) in uri.iter().enumerate() {
                    is_within = (is_within && class.has(*byte)) || (places[place] && byte == mark);
                    ends[place + 1] |= is_within;
                }
            }
        }
        ends
    }
}

/// Whether a segment of the path is `.` or `..`, in whichever spelling.
fn has_dot_segments(uri: &str) -> bool {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once(':').map_or(path, |(_, path)| path);
    if !path.contains(['.', '%']) {
        return false;
    }
    let path = path.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/");
    path.split('/').any(|segment| matches!(segment, "." | ".."))
}

#[cfg(test)]
mod tests;
