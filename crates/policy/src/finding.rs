//! What is wrong with a policy text, and where.

use std::fmt;

use serde::Serialize;

/// One thing found in a policy text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// The line, from 1.
    pub line: u32,
    /// The character in the line, from 1.
    pub column: u32,
    /// Whether the text can be used nevertheless.
    pub severity: Severity,
    /// What is wrong and, where it can be said, what to do about it.
    pub message: String,
}

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The text is not accepted: neither saved as valid nor published.
    Error,
    /// The text is accepted, but probably does not say what its writer means.
    Warning,
}

impl Finding {
    /// An error at a byte of the text.
    pub(crate) fn error(text: &str, offset: usize, message: impl Into<String>) -> Self {
        Self::at(text, offset, Severity::Error, message.into())
    }

    /// A warning at a byte of the text.
    pub(crate) fn warning(text: &str, offset: usize, message: impl Into<String>) -> Self {
        Self::at(text, offset, Severity::Warning, message.into())
    }

    fn at(text: &str, offset: usize, severity: Severity, message: String) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).saturating_add(1);
        Self {
            line: count(before.bytes().filter(|byte| *byte == b'\n').count()),
            column: count(before[line_start..].chars().count()),
            severity,
            message,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_characters_and_never_leaves_the_text() {
        let text = "permit\n  é(x";
        let place = |offset| (Finding::error(text, offset, "").line, Finding::error(text, offset, "").column);
        assert_eq!(place(0), (1, 1));
        assert_eq!(place(7), (2, 1));
        assert_eq!(place(text.find('(').unwrap()), (2, 4));
        assert_eq!(place(999), (2, 6));
        // In the middle of the é: no panic, the end of the text.
        assert_eq!(place(10), (2, 6));
    }
}
