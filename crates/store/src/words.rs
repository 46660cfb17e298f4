//! Sets of checked words in columns of type `text[]`.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

use crate::Error;
use crate::error::read;

pub(crate) fn to_words<T: Display>(set: &BTreeSet<T>) -> Vec<String> {
    set.iter().map(ToString::to_string).collect()
}

pub(crate) fn from_words<T: FromStr + Ord>(column: &'static str, words: &[String]) -> Result<BTreeSet<T>, Error> {
    words.iter().map(|word| read(column, word.parse().ok())).collect()
}
