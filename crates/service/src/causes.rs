//! Errors as logs tell them.

use std::error::Error;

/// An error with its sources, in one line: `could not look a slug up: Redis does not answer: connection refused`.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn every_cause_is_told() {
        let inner = std::io::Error::other("the inner");
        assert_eq!(causes(&Outer(inner)), "the outer: the inner");
    }
}
