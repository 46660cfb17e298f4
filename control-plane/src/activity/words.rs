//! What people type into the search bar beside `name:value`: a question becomes filters as far as its words are known.

use std::collections::BTreeSet;

use domain::Label;
use store::servers::Server;

use super::query::{Asked, Names};
use super::when;
use crate::console::Present;

/// Words of a question that say nothing once another of its words was understood.
const FILLERS: [&str; 22] = [
    "a", "an", "and", "at", "by", "call", "called", "calls", "did", "in", "of", "on", "our", "server", "the", "to",
    "tool", "tools", "use", "used", "was", "what",
];
/// What people write for one another.
const ALIKE: [(&str, &str); 2] = [("db", "database"), ("k8s", "kubernetes")];

impl Asked {
    /// Makes filters of the words that name a time, a server, a label or the wish to see people; the rest is looked for as a
    /// text, and so is everything in quotes. A question for a moment is a question for who it was.
    pub(crate) fn understand(&mut self, names: &Names, present: Present) {
        let Some(text) = self.get("q").filter(|text| !text.starts_with('"')).map(str::to_owned) else { return };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let mut is_understood = false;
        if let Some(said) = when::find(&words, present) {
            self.set("from", present.zone.written(said.from));
            self.set("until", present.zone.written(said.until));
            self.unset("range");
            words.drain(said.words);
            is_understood = true;
            if said.is_moment && self.get("group").is_none() {
                self.set("group", "person".to_owned());
            }
        }
        if let Some(place) = words.iter().position(|word| plain(word) == "who") {
            self.set("group", "person".to_owned());
            words.remove(place);
            is_understood = true;
        }
        if self.get("server").is_none()
            && let Some((server, left)) = server(&words, names)
        {
            self.set("server", server.key.to_string());
            words = left;
            is_understood = true;
        }
        if self.get("label").is_none() {
            let known = names.labels();
            let (found, left): (Vec<&str>, Vec<&str>) = words.iter().partition(|word| label(word, &known).is_some());
            let found: BTreeSet<&str> = found.iter().filter_map(|word| Some(label(word, &known)?.as_str())).collect();
            if !found.is_empty() {
                self.set("label", found.into_iter().collect::<Vec<_>>().join(","));
                words = left;
                is_understood = true;
            }
        }
        if is_understood {
            words.retain(|word| !FILLERS.contains(&plain(word).as_str()));
            self.unset("q");
            if !words.is_empty() {
                self.set("q", words.join(" "));
            }
            self.is_typed = true;
        }
    }
}

fn plain(word: &str) -> String {
    word.to_lowercase().trim_matches(['?', '!', ',', ';', '.']).to_owned()
}

/// Whether a word means a part of a name: it is the same, or the one is the beginning of the other (`prod`, `production`).
fn means(word: &str, part: &str) -> bool {
    let is_start = word.len() >= 3 && part.len() >= 3 && (word.starts_with(part) || part.starts_with(word));
    is_start || word == part || ALIKE.contains(&(word, part)) || ALIKE.contains(&(part, word))
}

/// The one server whose name has the most parts among the words, and the words that are left; a name of one part must be
/// there as it is.
fn server<'a, 'b>(words: &[&'a str], names: &'b Names) -> Option<(&'b Server, Vec<&'a str>)> {
    let plain: Vec<String> = words.iter().map(|word| plain(word)).collect();
    let used = |name: &str| -> Option<BTreeSet<usize>> {
        if let Some(place) = plain.iter().position(|word| word == name) {
            return Some(BTreeSet::from([place]));
        }
        let parts: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
        let places = parts.iter().map(|part| plain.iter().position(|word| means(word, part)));
        let places: BTreeSet<usize> = places.collect::<Option<_>>()?;
        (parts.len() > 1 && places.len() == parts.len()).then_some(places)
    };
    let found = |server: &'b Server| {
        let places = used(server.key.as_str()).or_else(|| used(server.settings.alias.as_str()))?;
        let parts = places.len().max(server.key.as_str().split('-').count());
        Some((server, places, parts))
    };
    let found: Vec<_> = names.servers.iter().filter_map(found).collect();
    let most = found.iter().map(|(.., parts)| *parts).max()?;
    let mut best = found.into_iter().filter(|(.., parts)| *parts == most);
    let (server, places, _) = best.next()?;
    if best.next().is_some() {
        return None;
    }
    let left = words.iter().enumerate().filter(|(place, _)| !places.contains(place)).map(|(_, word)| *word);
    Some((server, left.collect()))
}

/// The one label that a word means: `env:prod` by all of it, or by what stands after its colon.
fn label<'a>(word: &str, known: &BTreeSet<&'a Label>) -> Option<&'a Label> {
    let word = plain(word);
    let value = |label: &'a Label| label.as_str().rsplit(':').next().unwrap_or_default();
    let exact = known.iter().copied().find(|label| label.as_str() == word);
    let mut meant = known.iter().copied().filter(|label| means(&word, value(label)));
    exact.or_else(|| meant.next().filter(|_| meant.next().is_none()))
}
