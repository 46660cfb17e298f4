//! The style files hold nothing that no page asks for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What htmx itself sets on an element.
const SET_BY_HTMX: [&str; 1] = ["htmx-request"];

fn files(folder: &str, end: &str) -> Vec<String> {
    fn walk(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("dev") {
                walk(&path, end, found);
            } else if path.extension().is_some_and(|own| own == end) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), end, &mut found);
    found.sort();
    assert!(!found.is_empty(), "{folder}");
    found.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
}

fn is_of_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '-' || letter == '_'
}

/// The classes that the selectors of a style file name.
fn styled(css: &str) -> BTreeSet<String> {
    let bare: String =
        css.split("/*").flat_map(|part| part.split_once("*/").map_or(part, |(_, rest)| rest).chars()).collect();
    let selectors = bare.split('{').filter_map(|before| before.rsplit(['}', ';', '{']).next());
    let names = selectors.flat_map(|selector| selector.split('.').skip(1));
    names
        .map(|name| name.chars().take_while(|letter| is_of_name(*letter)).collect::<String>())
        .filter(|name| name.starts_with(|first: char| first.is_ascii_alphabetic()))
        .collect()
}

/// The words of a text.
fn words(text: &str) -> BTreeSet<String> {
    text.split(|letter| !is_of_name(letter)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The words of a template's quoted texts, and of its block `page_class`, which stands inside of one: a class is in an
/// attribute or in an argument of a macro.
fn quoted(text: &str) -> BTreeSet<String> {
    let block = text.split("{% block page_class %}").skip(1).filter_map(|rest| rest.split('{').next());
    text.split('"').skip(1).step_by(2).chain(block).flat_map(words).collect()
}

/// The words of those literals of a Rust file that could be classes, and not of its sentences.
fn literals(text: &str) -> BTreeSet<String> {
    let literals = text.lines().flat_map(|line| line.split('"').skip(1).step_by(2));
    let classes = literals.filter(|text| text.chars().all(|letter| is_of_name(letter) || letter == ' '));
    classes.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

#[test]
fn every_class_that_has_a_style_is_on_some_page() {
    let mut used: BTreeSet<String> = SET_BY_HTMX.map(str::to_owned).into();
    used.extend(files("../web/templates", "html").iter().flat_map(|text| quoted(text)));
    used.extend(files("../web/js", "js").iter().flat_map(|text| words(text)));
    used.extend(files("src", "rs").iter().flat_map(|text| literals(text)));
    let styled: BTreeSet<String> = files("../web/css", "css").iter().flat_map(|text| styled(text)).collect();
    assert!(styled.len() > 100 && styled.contains("btn") && styled.contains("tok-k"), "{styled:?}");
    let unused: Vec<_> = styled.difference(&used).collect();
    assert_eq!(unused, Vec::<&String>::new(), "no page uses these; take them out of web/css");
}

#[test]
fn what_is_in_a_style_and_on_a_page_is_found() {
    let found = styled("/* .no { } */ .a.b-c > d:not(.e), .f::after { margin: 0.5rem; } @media x { .g { top: .5px } }");
    assert_eq!(found, ["a", "b-c", "e", "f", "g"].map(str::to_owned).into());
    let found = quoted(r#"<i class="x {% if z == "ok" %}w{% endif %}">y</i>"#);
    assert!(found.contains("x") && found.contains("w") && !found.contains("y"), "{found:?}");
    assert_eq!(literals(r#"("t1 wide", "A sentence.")"#), ["t1", "wide"].map(str::to_owned).into());
}
