//! A set of numbers as sorted ranges: the form of Postgres' `int8multirange`.

use std::fmt;
use std::str::FromStr;

/// A set of numbers: sorted, disjoint, non-adjacent half-open ranges.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub struct Ranges(Vec<(u64, u64)>);

/// Why a text is not a set of ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a set of ranges")]
pub struct NotRanges;

impl Ranges {
    /// Whether the number is in the set.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        after > 0 && number < self.0[after - 1].1
    }

    /// The lowest number from `from` on that is not in the set.
    #[must_use]
    pub fn first_not_in(&self, from: u64) -> u64 {
        let after = self.0.partition_point(|(first, _)| *first <= from);
        self.0[..after].last().map_or(from, |(_, end)| from.max(*end))
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ranges, first included, end not.
    #[must_use]
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// How many numbers are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(first, end)| end - first).sum()
    }

    /// Puts in the numbers from `first` up to, not including, `end`.
    pub fn insert(&mut self, first: u64, end: u64) {
        if first >= end {
            return;
        }
        let from = self.0.partition_point(|range| range.1 < first);
        let to = self.0.partition_point(|range| range.0 <= end);
        let (mut low, mut high) = (first, end);
        if let Some(touched) = self.0.get(from..to).filter(|touched| !touched.is_empty()) {
            low = low.min(touched[0].0);
            high = high.max(touched[touched.len() - 1].1);
        }
        self.0.splice(from..to, [(low, high)]);
    }

    /// Takes a number out; says whether it was in.
    pub fn remove(&mut self, number: u64) -> bool {
        let after = self.0.partition_point(|(first, _)| *first <= number);
        if after == 0 || number >= self.0[after - 1].1 {
            return false;
        }
        let (first, end) = self.0[after - 1];
        let rest = [(first, number), (number + 1, end)].into_iter().filter(|(first, end)| first < end);
        self.0.splice(after - 1..after, rest);
        true
    }
}

impl FromIterator<(u64, u64)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut set = Self::default();
        ranges.into_iter().for_each(|(first, end)| set.insert(first, end));
        set
    }
}

/// As Postgres writes an `int8multirange`: `{[1,3),[7,8)}`.
impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (first, end)) in self.0.iter().enumerate() {
            write!(f, "{}[{first},{end})", if index > 0 { "," } else { "" })?;
        }
        f.write_str("}")
    }
}

impl FromStr for Ranges {
    type Err = NotRanges;
    fn from_str(text: &str) -> Result<Self, NotRanges> {
        let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or(NotRanges)?;
        if inner.is_empty() {
            return Ok(Self::default());
        }
        let inner = inner.strip_prefix('[').and_then(|rest| rest.strip_suffix(')')).ok_or(NotRanges)?;
        let range = |text: &str| {
            let (first, end) = text.split_once(',')?;
            Some((first.parse().ok()?, end.parse().ok()?))
        };
        inner.split("),[").map(range).collect::<Option<Self>>().ok_or(NotRanges)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(steps in proptest::collection::vec((any::<bool>(), 0_u64..40, 0_u64..8), 0..40)) {
            let (mut ranges, mut set) = (Ranges::default(), BTreeSet::new());
            for (add, first, length) in steps {
                if add {
                    ranges.insert(first, first + length);
                    set.extend(first..first + length);
                } else {
                    prop_assert_eq!(ranges.remove(first), set.remove(&first));
                }
                for number in 0..50 {
                    prop_assert_eq!(Some(ranges.first_not_in(number)), (number..60).find(|other| !set.contains(other)));
                    prop_assert_eq!(ranges.contains(number), set.contains(&number));
                }
                prop_assert!(ranges.as_slice().windows(2).all(|pair| pair[0].1 < pair[1].0));
                prop_assert_eq!(ranges.to_string().parse::<Ranges>(), Ok(ranges.clone()));
            }
        }
    }
}
