//! A definition in full, as whoever reviews it reads it. Pure.

/// Characters that are shown at once; the others are folded away, and how many they are is said.
const SHOWN_MAX: usize = 8_000;

/// A text, all of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) shown: String,
    /// What is folded away; mostly empty.
    pub(super) rest: String,
}

impl Whole {
    pub(super) fn of(text: &str) -> Self {
        let end = text.char_indices().nth(SHOWN_MAX).map_or(text.len(), |(end, _)| end);
        let (shown, rest) = text.split_at(end);
        Self { shown: shown.to_owned(), rest: rest.to_owned() }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// How much is folded away, in words.
    pub(super) fn more(&self) -> String {
        crate::console::show::plural(self.rest.chars().count(), "more character", "more characters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_lost_however_long_it_is() {
        let short = Whole::of(&"é".repeat(SHOWN_MAX));
        assert_eq!((short.shown.chars().count(), short.rest.as_str()), (SHOWN_MAX, ""));
        let long = Whole::of(&format!("{}ab", "é".repeat(SHOWN_MAX)));
        assert_eq!((&long.shown, long.rest.as_str(), long.more().as_str()), (&short.shown, "ab", "2 more characters"));
        assert!(Whole::of("").is_empty() && !short.is_empty());
    }
}
