//! The names under which the tools of several servers are offered together. A pure function of the configuration.

use std::collections::HashMap;

/// The longest exposed name: leaves room for the prefixes clients add before the 64 characters model APIs take.
pub const LONGEST: usize = 48;

/// When the server's alias stands before a tool's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// Always: `alias__tool`.
    Always,
    /// Only where two servers have a tool of the same name.
    OnConflict,
    /// Never; of two tools of one name none is offered.
    None,
}

/// A tool as its server knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Named<'n> {
    /// The server's alias, one to a server.
    pub alias: &'n str,
    /// The tool's own name.
    pub tool: &'n str,
}

/// Why a tool can't be offered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("another tool would be called `{name}` too")]
pub struct Collision {
    /// The name both would have.
    pub name: String,
}

/// SHA-256; comes in from outside, this crate has no cryptography.
pub type Sha256<'f> = &'f dyn Fn(&[u8]) -> [u8; 32];

/// Gives each tool its exposed name, in the order of `tools`.
///
/// Where mapping or cutting makes two names equal, all of them get a suffix from the hash of alias and tool, so that
/// the result depends neither on the order nor on who came first. A tool whose name stays another's too, as two of one
/// server or two of any with [`Prefix::None`], has none; all others keep theirs.
pub fn expose(prefix: Prefix, tools: &[Named<'_>], sha256: Sha256<'_>) -> Vec<Result<String, Collision>> {
    let mut steps: Vec<Result<Step, Collision>> = tools.iter().map(|_| Ok(Step::first(prefix))).collect();
    loop {
        let name = |(tool, step): (&Named<'_>, &Result<Step, Collision>)| match step {
            Ok(step) => Ok(step.name(*tool, sha256)),
            Err(collision) => Err(collision.clone()),
        };
        let names: Vec<Result<String, Collision>> = tools.iter().zip(&steps).map(name).collect();
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, name) in names.iter().enumerate() {
            if let Ok(name) = name {
                places.entry(name).or_default().push(place);
            }
        }
        let mut twins = places.into_iter().filter(|(_, places)| places.len() > 1).peekable();
        if twins.peek().is_none() {
            return names;
        }
        for (name, places) in twins {
            for place in places {
                let next = steps[place].as_ref().ok().and_then(|step| step.next(prefix));
                steps[place] = next.ok_or_else(|| Collision { name: name.to_owned() });
            }
        }
    }
}

/// How far a name has been bent to be unique.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// The tool's own name as it is, if the specification allows it.
    Untouched,
    /// The tool's own name, mapped.
    Bare,
    /// `alias__tool`.
    Prefixed,
    /// `alias__tool_hash`, with so many characters of the hash.
    Hashed(usize),
}

impl Step {
    const fn first(prefix: Prefix) -> Self {
        match prefix {
            Prefix::Always => Self::Prefixed,
            Prefix::OnConflict => Self::Bare,
            Prefix::None => Self::Untouched,
        }
    }

    const fn next(self, prefix: Prefix) -> Option<Self> {
        match (self, prefix) {
            (_, Prefix::None) | (Self::Hashed(24..), _) => None,
            (Self::Untouched | Self::Bare, _) => Some(Self::Prefixed),
            (Self::Prefixed, _) => Some(Self::Hashed(6)),
            (Self::Hashed(length), _) => Some(Self::Hashed(length * 2)),
        }
    }

    fn name(self, tool: Named<'_>, sha256: Sha256<'_>) -> String {
        let whole = match self {
            Self::Untouched if is_legal(tool.tool) => return tool.tool.to_owned(),
            Self::Untouched | Self::Bare => mapped(tool.tool),
            _ => format!("{}__{}", tool.alias, mapped(tool.tool)),
        };
        match self {
            Self::Hashed(length) => suffixed(&whole, length, tool, sha256),
            _ if whole.len() > LONGEST || whole.is_empty() => suffixed(&whole, 6, tool, sha256),
            _ => whole,
        }
    }
}

/// What the specification allows.
fn is_legal(name: &str) -> bool {
    (1..=128).contains(&name.len()) && name.bytes().all(|byte| is_plain(byte) || byte == b'.')
}

const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// Every character that model APIs do not take becomes `_`.
fn mapped(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii() && is_plain(letter as u8) { letter } else { '_' }).collect()
}

fn suffixed(name: &str, length: usize, tool: Named<'_>, sha256: Sha256<'_>) -> String {
    let hash = sha256(&[tool.alias.as_bytes(), b"\0", tool.tool.as_bytes()].concat());
    let kept = &name[..name.len().min(LONGEST - 1 - length)];
    format!("{kept}_{}", base32(&hash, length))
}

/// The first characters of RFC 4648's base32, lower case.
fn base32(bytes: &[u8], length: usize) -> String {
    let bit = |place: usize| bytes[place / 8] >> (7 - place % 8) & 1;
    (0..length)
        .map(|digit| (0..5).fold(0, |value, place| value << 1 | bit(digit * 5 + place)))
        .map(|value| char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::from(value)]))
        .collect()
}

#[cfg(test)]
mod tests;
