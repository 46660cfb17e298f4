//! What every page of the console keeps, read from its HTML.

use std::collections::BTreeSet;
use std::io::Write as _;

use crate::app::Answer;

/// Largest page, as a browser takes it: without its style, script and icons.
pub(super) const PAGE_MAX: usize = 15_000;

/// A tag with its attributes; values are as written, entities and all.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) name: String,
    pub(crate) attributes: Vec<(String, String)>,
}

impl Tag {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// The opening tags of a page.
pub(crate) fn tags(html: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        if rest.starts_with(|first: char| first.is_ascii_alphabetic()) {
            let (tag, after) = tag(rest);
            tags.push(tag);
            rest = after;
        }
    }
    tags
}

fn tag(text: &str) -> (Tag, &str) {
    let end = text.find(|char: char| char.is_whitespace() || char == '>' || char == '/').unwrap_or(text.len());
    let (name, mut rest) = text.split_at(end);
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|char: char| char.is_whitespace() || char == '/');
        if rest.is_empty() {
            return (Tag { name: name.to_owned(), attributes }, rest);
        }
        if let Some(after) = rest.strip_prefix('>') {
            return (Tag { name: name.to_owned(), attributes }, after);
        }
        let end = rest.find(|char: char| char.is_whitespace() || matches!(char, '=' | '>' | '/')).unwrap_or(rest.len());
        let (key, after) = rest.split_at(end);
        rest = after;
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let quote = after.chars().next().filter(|char| matches!(char, '"' | '\''));
            let quote = quote.unwrap_or_else(|| panic!("an attribute's value without quotes: {key}={after:.40}"));
            let inside = &after[1..];
            let end = inside.find(quote).unwrap_or_else(|| panic!("an attribute does not end: {key}={after:.40}"));
            value = &inside[..end];
            rest = &inside[end + 1..];
        }
        attributes.push((key.to_ascii_lowercase(), value.to_owned()));
    }
}

/// The token that forms of the page carry.
pub(crate) fn csrf(html: &str) -> Option<String> {
    let tags = tags(html);
    let field = tags.iter().find(|tag| tag.get("name") == Some("_csrf"))?;
    field.get("value").map(str::to_owned)
}

/// How many bytes a page is as it is sent.
pub(crate) fn compressed(page: &str) -> usize {
    let params = brotli::enc::BrotliEncoderParams { quality: 5, ..Default::default() };
    let mut writer = brotli::CompressorWriter::with_params(Vec::new(), 4096, &params);
    writer.write_all(page.as_bytes()).unwrap();
    writer.into_inner().len()
}

/// Checks a whole page.
pub(crate) fn check_page(path: &str, answer: &Answer) {
    let header = |name: &str| answer.headers.get(name).map_or("", |value| value.to_str().unwrap());
    assert!(header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"), "{path}");
    assert!(header("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
    assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
    assert_eq!(header("cache-control"), "no-store", "{path}");
    assert!(header("vary").contains("HX-Request"), "{path}");
    assert!(answer.text.starts_with("<!doctype html>"), "{path}: {:.200}", answer.text);
    // What is small enough as it is need not be compressed to know.
    let is_small = answer.text.len() < PAGE_MAX;
    assert!(is_small || compressed(&answer.text) < PAGE_MAX, "{path}: {} bytes", compressed(&answer.text));
    let tags = tags(&answer.text);
    check_tags(path, &tags);
    let named = |name: &'static str| tags.iter().filter(move |tag| tag.name == name);
    assert_eq!(named("h1").count(), 1, "{path}: one h1");
    assert_eq!(named("main").count(), 1, "{path}: one main");
    let ids: BTreeSet<&str> = tags.iter().filter_map(|tag| tag.get("id")).collect();
    assert_eq!(ids.len(), tags.iter().filter(|tag| tag.get("id").is_some()).count(), "{path}: an id comes twice");
    for tag in &tags {
        for reference in ["for", "commandfor", "popovertarget", "aria-controls", "aria-labelledby", "aria-describedby"]
        {
            for id in tag.get(reference).unwrap_or_default().split_whitespace() {
                assert!(ids.contains(id), "{path}: {reference}=\"{id}\" names nothing");
            }
        }
    }
    let lost = lost_targets(&tags, &self::ids(&tags));
    assert!(lost.is_empty(), "{path}: htmx is to fill what is not there: {lost:?}");
}

/// The ids of tags.
pub(crate) fn ids(tags: &[Tag]) -> BTreeSet<String> {
    tags.iter().filter_map(|tag| tag.get("id")).map(str::to_owned).collect()
}

/// What htmx is to fill, with any status, and no id is of.
pub(crate) fn lost_targets(tags: &[Tag], ids: &BTreeSet<String>) -> Vec<String> {
    let targets = |(name, value): &(String, String)| match name.as_str() {
        "hx-target" | "hx-target:inherited" => vec![value.clone()],
        name if name.starts_with("hx-status:") => {
            value.split_whitespace().filter_map(|word| word.strip_prefix("target:")).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    let all = tags.iter().flat_map(|tag| tag.attributes.iter().flat_map(targets));
    all.filter(|target| target.strip_prefix('#').is_none_or(|id| !ids.contains(id))).collect()
}

/// Checks tags, of a page or of a part of one.
pub(crate) fn check_tags(path: &str, tags: &[Tag]) {
    for tag in tags {
        for (name, value) in &tag.attributes {
            assert!(name != "style", "{path}: style=\"{value}\"");
            assert!(!name.starts_with("on") && !name.starts_with("hx-on"), "{path}: {name}=\"{value}\"");
            assert!(!value.trim().to_lowercase().starts_with("javascript:"), "{path}: {name}=\"{value}\"");
            assert!(!value.contains("/assets/none"), "{path}: {name} names an asset that is not there");
        }
        assert!(tag.name != "style", "{path}: a <style>");
        assert!(tag.name != "script" || tag.get("src").is_some(), "{path}: a script without src");
        if ["hx-get", "hx-post"].iter().any(|name| tag.get(name).is_some()) {
            let plain = tag.get("href").or_else(|| tag.get("action"));
            let polls = tag.get("hx-trigger").is_some_and(|on| on.starts_with("every") || on.starts_with("load"));
            assert!(plain.is_some() || polls, "{path}: htmx without a plain equivalent: {tag:?}");
            // None is handed down from a tag around it.
            assert!(tag.get("hx-target").is_some(), "{path}: htmx without a target: {tag:?}");
        }
        if tag.name == "form" && tag.get("method") == Some("post") {
            assert!(tag.get("action").is_some(), "{path}: a form without action");
        }
    }
    let posts = tags.iter().filter(|tag| tag.name == "form" && tag.get("method") == Some("post")).count();
    let tokens = tags.iter().filter(|tag| tag.get("name") == Some("_csrf")).count();
    assert_eq!(posts, tokens, "{path}: a form without _csrf");
    let sprite = include_str!("../../../../web/dist/icons.svg");
    for tag in tags.iter().filter(|tag| tag.name == "use") {
        let (_, icon) = tag.get("href").unwrap_or_default().split_once('#').unwrap_or_default();
        assert!(sprite.contains(&format!("<symbol id=\"{icon}\"")), "{path}: no icon `{icon}`: see web/icons.txt");
    }
}

/// The text of a page without its tags, entities as they are.
pub(crate) fn text(html: &str) -> String {
    let mut text = String::new();
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        rest = after.split_once('>').map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_target_that_is_not_there_is_found() {
    let html = "<p id=\"here\"></p><form hx-post=\"/\" hx-target=\"#here\" hx-status:422=\"target:#gone swap:outerHTML\">\
                <a hx-get=\"/\" hx-target=\"#elsewhere\">";
    let tags = tags(html);
    assert_eq!(lost_targets(&tags, &ids(&tags)), ["#gone", "#elsewhere"]);
    assert_eq!(lost_targets(&tags, &["here", "gone", "elsewhere"].map(str::to_owned).into()), [""; 0]);
}
