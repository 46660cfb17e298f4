use proptest::prelude::*;

use super::*;

fn matches(template: &str, uri: &str) -> bool {
    Template::parse(template).unwrap().matches(uri, &mut Steps::default())
}

#[test]
fn a_template_matches_what_comes_of_it_and_nothing_else() {
    for (template, of_it, others) in [
        ("a:b", &["a:b"][..], &["a:bc", "a:", ""][..]),
        (
            "test://template/{id}/data",
            &["test://template/1/data", "test://template/a%2Fb/data", "test://template/é,b/data"],
            &["test://template//data", "test://template/a/b/data", "test://template/1/data/", "test://template/?/data"],
        ),
        ("a:{x}{y}", &["a:12"], &["a:1", "a:"]),
        ("a:{x,y}", &["a:1,2"], &["a:1/2"]),
        ("file:///{+path}", &["file:///", "file:///a/b?c#d"], &["file://", "File:///a"]),
        ("a:{+x}b{y}", &["a:bbb", "a:b/b/bb"], &["a:b", "a:cc"]),
        ("a:b{#part}", &["a:b", "a:b#", "a:b#c/d?"], &["a:bc", "a:b?#"]),
        ("a:b{/x}", &["a:b/c"], &["a:b", "a:b/", "a:b/c/d", "a:b//"]),
        ("a:b{/x,y}", &["a:b/c/d"], &["a:b/c", "a:b/c/d/e"]),
        ("a:b{/x*}/e", &["a:b/c/e", "a:b/c/d/e"], &["a:b/e", "a:b/c?/e"]),
        ("a:b{?x,y}", &["a:b", "a:b?", "a:b?x=1&y=/"], &["a:bc", "a:b&x", "a:b?x#y", "a:b/?x"]),
        ("a:b?z{&x}", &["a:b?z", "a:b?z&x=1"], &["a:b?zx", "a:b"]),
        ("a:b{.x}", &["a:b", "a:b.json", "a:b.c.d"], &["a:bjson", "a:b.c/d"]),
        ("a:b{;x}/c", &["a:b/c", "a:b;x=1/c"], &["a:bx/c", "a:b;x/1/c"]),
    ] {
        for uri in of_it {
            assert!(matches(template, uri), "{template} {uri}");
        }
        for uri in others {
            assert!(!matches(template, uri), "{template} {uri}");
        }
    }
}

#[test]
fn what_is_no_template_is_not_taken() {
    for text in
        ["{", "}", "a{", "a}b", "{}", "{{x}}", "{+}", "{?}", "{x,}", "{,x}", "{*}", "{=x}", "{|x}", "{@x}", "{!x}"]
    {
        assert_eq!(Template::parse(text), None, "{text}");
    }
    assert!(Template::parse(&"{x}".repeat(PARTS_MAX)).is_some());
    assert_eq!(Template::parse(&"{x}".repeat(PARTS_MAX + 1)), None);
}

#[test]
fn a_uri_with_dot_segments_is_none_of_a_template() {
    for path in ["..", ".", "a/../b", "a/./b", "a/..", "%2e%2E/a", "a/.%2e", "..%2fa", "a/..?x", "a/..#x"] {
        assert!(!matches("file:///pub/{+path}", &format!("file:///pub/{path}")), "{path}");
    }
    for path in ["...", "a..b", ".a", "a.", "?../x", "#/../", "a/%2e%2ea"] {
        assert!(matches("file:///pub/{+path}", &format!("file:///pub/{path}")), "{path}");
    }
}

#[test]
fn a_uri_that_is_too_long_is_none_of_a_template() {
    let longest = format!("a:{}", "b".repeat(URI_MAX - 2));
    assert!(matches("a:{x}", &longest));
    assert!(!matches("a:{x}", &format!("{longest}b")));
}

#[test]
fn once_the_steps_are_taken_nothing_matches() {
    let mut steps = Steps(10);
    let template = Template::parse("a:{x}").unwrap();
    assert!(template.matches("a:b", &mut steps), "four places, two parts");
    assert!(!template.matches("a:b", &mut steps));
    let cheaper = Template::parse("{+x}").unwrap();
    assert!(!cheaper.matches("", &mut steps), "nor is one taken that is less close and costs less");
}

#[test]
fn names_of_variables_do_not_make_templates_differ() {
    let shape = |text| Template::parse(text).unwrap().shape();
    assert_eq!(shape("a:{x}/{+y}{?z}"), shape("a:{long}/{+q}{?a,b}"));
    let all = ["a:{x}", "a:{+x}", "a:{/x}", "a:{/x*}", "a:{?x}", "a:{&x}", "a:{#x}", "a:{.x}", "a:{;x}", "a:{/x,y}"];
    let shapes: std::collections::HashSet<String> = all.into_iter().map(shape).collect();
    assert_eq!(shapes.len(), all.len());
}

/// Whether a URI can have come of a template: every way to cut it is tried. Read from the text, by RFC 6570, 3.2.
fn slowly_matches(template: &str, uri: &str) -> bool {
    let Some(template) = template.strip_prefix('{') else {
        let Some(letter) = template.chars().next() else { return uri.is_empty() };
        return uri.strip_prefix(letter).is_some_and(|uri| slowly_matches(&template[letter.len_utf8()..], uri));
    };
    let (expression, template) = template.split_once('}').unwrap();
    cuts(uri).any(|(value, rest)| can_be(expression, value) && slowly_matches(template, rest))
}

fn cuts(text: &str) -> impl Iterator<Item = (&str, &str)> {
    (0..=text.len()).filter_map(|place| text.split_at_checked(place))
}

fn can_be(expression: &str, value: &str) -> bool {
    let begins = |mark| value.is_empty() || value.starts_with(mark);
    match expression.as_bytes()[0] {
        b'+' => true,
        b'#' => begins('#'),
        mark @ (b'?' | b'&') => begins(char::from(mark)) && !value.contains('#'),
        mark @ (b'.' | b';') => begins(char::from(mark)) && !value.contains(['/', '?', '#']),
        b'/' => is_path(&expression[1..].split(',').collect::<Vec<_>>(), value),
        _ => !value.is_empty() && !value.contains(['/', '?', '#']),
    }
}

fn is_path(variables: &[&str], value: &str) -> bool {
    let [variable, others @ ..] = variables else { return value.is_empty() };
    let Some(value) = value.strip_prefix('/') else { return false };
    let ends: &[char] = if variable.ends_with('*') { &['?', '#'] } else { &['/', '?', '#'] };
    cuts(value).any(|(segment, rest)| !segment.is_empty() && !segment.contains(ends) && is_path(others, rest))
}

/// Whether a reader that normalises takes it for another.
fn is_normal(uri: &str) -> bool {
    let path = uri.split(['?', '#']).next().unwrap();
    let path = path.split_once(':').map_or(path, |(_, path)| path).to_lowercase();
    let mut letters = path.replace("%2f", "/").replace("%2e", ".");
    letters.insert(0, '/');
    letters.push('/');
    !letters.contains("/./") && !letters.contains("/../")
}

const EXPRESSIONS: [&str; 13] =
    ["{x}", "{x,y}", "{+x}", "{#x}", "{/x}", "{/x,y}", "{/x*}", "{/x*,y}", "{?x}", "{?x,y}", "{&x}", "{.x}", "{;x}"];

fn template() -> impl Strategy<Value = String> {
    let part =
        prop_oneof![2 => "[a:/?#.;&é]{1,2}", 3 => prop::sample::select(&EXPRESSIONS[..]).prop_map(str::to_owned)];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

/// What a value of a variable may be, where it is percent-encoded.
const ENCODED: &str = "[a-c_~é-]{1,3}|%2F|%2e%2e";

/// A template, and a URI that comes of it.
fn expanded() -> impl Strategy<Value = (String, String)> {
    let literal = "[a:/?#;&]{1,2}".prop_map(|text| (text.clone(), text));
    let part = prop_oneof![
        literal,
        ENCODED.prop_map(|value| ("{x}".to_owned(), value)),
        "[a-c/?#&]{0,4}".prop_map(|value| ("{+x}".to_owned(), value)),
        ("[a-c/?]{0,3}", any::<bool>()).prop_map(|(value, is_there)| {
            ("{#x}".to_owned(), if is_there { format!("#{value}") } else { String::new() })
        }),
        (ENCODED, ENCODED).prop_map(|(x, y)| ("{/x,y}".to_owned(), format!("/{x}/{y}"))),
        prop::collection::vec(ENCODED, 1..4).prop_map(|all| ("{/x*}".to_owned(), format!("/{}", all.join("/")))),
        prop::collection::vec(ENCODED, 0..3).prop_map(|all| {
            let all: Vec<String> = all.iter().map(|value| format!("x={value}")).collect();
            ("{?x*}".to_owned(), if all.is_empty() { String::new() } else { format!("?{}", all.join("&")) })
        }),
        prop::collection::vec(ENCODED, 0..3)
            .prop_map(|all| { ("{.x*}".to_owned(), all.iter().map(|value| [".", value.as_str()].concat()).collect()) }),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.into_iter().unzip())
}

proptest! {
    #[test]
    fn a_template_matches_as_every_way_to_cut_a_uri_does(template in template(), uri in "[aé:/?#.;&]{0,8}|[a/.%2e]{0,8}") {
        let expected = slowly_matches(&template, &uri) && is_normal(&uri);
        prop_assert_eq!(matches(&template, &uri), expected, "{} {}", template, uri);
    }

    #[test]
    fn what_comes_of_a_template_matches_it((template, uri) in expanded()) {
        prop_assert!(slowly_matches(&template, &uri), "{} {}", template, uri);
        prop_assert_eq!(matches(&template, &uri), is_normal(&uri), "{} {}", template, uri);
    }

    #[test]
    fn no_text_makes_it_panic(template: String, uri: String) {
        if let Some(template) = Template::parse(&template) {
            template.matches(&uri, &mut Steps::default());
            template.shape();
        }
    }
}
