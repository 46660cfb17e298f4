use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// `alias uri` is a resource, `alias=uri` a template.
fn offered<'o>(all: &[&'o str]) -> Vec<Offered<'o>> {
    let one = |text: &'o str| {
        let (kind, mark) = if text.contains('=') { (Kind::Template, '=') } else { (Kind::Resource, ' ') };
        let (alias, uri) = text.split_once(mark).unwrap();
        Offered { alias, kind, uri }
    };
    all.iter().copied().map(one).collect()
}

/// What clients call each; `-` for what is left out.
fn called(all: &[&str]) -> Vec<String> {
    let uris = Uris::new(&offered(all));
    (0..all.len()).map(|index| uris.exposed(index).map_or("-".to_owned(), |uri| uri.as_ref().to_owned())).collect()
}

/// Where a URI goes: its place in what was offered, and what its server calls it.
fn goes(uris: &Uris, uri: &str) -> String {
    uris.find(uri).map_or("nowhere".to_owned(), |found| format!("{} {}", found.index, found.raw))
}

#[test]
fn uris_stay_what_they_are_unless_two_servers_have_the_same() {
    for (all, expected) in [
        (&["crm file:///a", "web file:///b"][..], &["file:///a", "file:///b"][..]),
        (&["crm file:///a", "web file:///a"], &["crm+file:///a", "web+file:///a"]),
        // Only what is the same.
        (&["crm file:///a", "web file:///a", "web file:///b"], &["crm+file:///a", "web+file:///a", "file:///b"]),
        (&["crm ui://a", "web ui://a"], &["ui://crm/a", "ui://web/a"]),
        // Templates that match the same are the same.
        (&["crm=a:{x}", "web=a:{y}", "git=a:{+x}"], &["crm+a:{x}", "web+a:{y}", "a:{+x}"]),
        (&["crm=ui://{x}", "web=ui://{x}"], &["ui://crm/{x}", "ui://web/{x}"]),
        // What is no template is the same in the same words.
        (&["crm=a:{", "web=a:{"], &["crm+a:{", "web+a:{"]),
        // A text is one, whatever it stands for.
        (&["crm=a:{x}", "web a:{x}", "git=a:{y}"], &["crm+a:{x}", "web+a:{x}", "git+a:{y}"]),
        // A template without variables is its one URI.
        (&["crm=a:b", "web a:b"], &["crm+a:b", "web+a:b"]),
        // Clients may fetch web addresses by themselves.
        (&["crm https://x/a", "web https://x/a", "git HTTP://x"], &["https://x/a", "-", "HTTP://x"]),
        (&["crm=https://{x}", "web=https://{y}"], &["https://{x}", "-"]),
        // One server's own twin is no other server's.
        (&["crm a:b", "crm a:b", "crm=a:b"], &["a:b", "-", "a:b"]),
    ] {
        assert_eq!(called(all), expected, "{all:?}");
    }
}

#[test]
fn no_server_takes_a_uri_that_was_given_to_another() {
    for (all, expected) in [
        (&["crm a:b", "web a:b", "bad crm+a:b"][..], &["crm+a:b", "web+a:b", "bad+crm+a:b"][..]),
        (&["bad crm+a:c", "crm a:b", "web a:b"], &["bad+crm+a:c", "crm+a:b", "web+a:b"]),
        (&["crm=a:{x}", "web=a:{x}", "bad=crm+a:q{x}"], &["crm+a:{x}", "web+a:{x}", "bad+crm+a:q{x}"]),
        (&["crm ui://a", "web ui://a", "bad ui://crm/a"], &["ui://crm/a", "ui://web/a", "ui://bad/crm/a"]),
        // Nor from itself.
        (&["crm a:b", "web a:b", "crm crm+a:b"], &["crm+a:b", "web+a:b", "crm+crm+a:b"]),
        // And what is renamed for that is no place to take either.
        (
            &["crm a:b", "web a:b", "bad crm+a:b", "git bad+crm+a:b"],
            &["crm+a:b", "web+a:b", "bad+crm+a:b", "git+bad+crm+a:b"],
        ),
        // Where nothing was given there is nothing to take.
        (&["crm a:b", "web svn+ssh://x", "svn a:c", "git ui://crm/a"], &["a:b", "svn+ssh://x", "a:c", "ui://crm/a"]),
    ] {
        assert_eq!(called(all), expected, "{all:?}");
    }
}

#[test]
fn a_uri_goes_to_the_resource_that_has_it_else_to_the_closest_template() {
    let uris = Uris::new(&offered(&[
        "crm file:///a",
        "web=file:///{x}",
        "git=file:///src/{+x}",
        "all={+x}",
        "crm twin:a",
        "web twin:a",
        "crm=twin:t/{x}",
        "web=twin:t/{x}",
        "crm ui://p",
        "web ui://p",
        "crm=ui://q/{x}",
        "web=ui://q/{x}",
    ]));
    let asked = [
        "file:///a",
        "file:///b",
        "file:///src/b/c",
        "file:///src/",
        "other:x",
        "twin:a",
        "crm+twin:a",
        "web+twin:a",
        "web+twin:t/1",
        "ui://web/p",
        "ui://web/q/1",
        "twin:t/1",
        "file:///src/../a",
        "",
    ];
    let table: Vec<String> = asked.iter().map(|uri| format!("{uri}: {}", goes(&uris, uri))).collect();
    insta::assert_snapshot!(table.join("\n"), @r"
    file:///a: 0 file:///a
    file:///b: 1 file:///b
    file:///src/b/c: 2 file:///src/b/c
    file:///src/: 2 file:///src/
    other:x: 3 other:x
    twin:a: 3 twin:a
    crm+twin:a: 4 twin:a
    web+twin:a: 5 twin:a
    web+twin:t/1: 7 twin:t/1
    ui://web/p: 9 ui://p
    ui://web/q/1: 11 ui://q/1
    twin:t/1: 3 twin:t/1
    file:///src/../a: nowhere
    : 3 
    ");
}

#[test]
fn of_two_templates_as_close_the_first_in_order_has_it() {
    assert_eq!(goes(&Uris::new(&offered(&["crm=a:{x}", "web=a:{+x}"])), "a:b"), "0 a:b");
    assert_eq!(goes(&Uris::new(&offered(&["web=a:{+x}", "crm=a:{x}"])), "a:b"), "0 a:b");
}

#[test]
fn a_reference_is_a_template_by_its_text_or_a_uri() {
    let uris = Uris::new(&offered(&["crm=a:{x}", "web=a:{x}", "git=b:{+x}", "git b:{+x}"]));
    let refers = |text| uris.find_reference(text).map(|found| (found.index, found.raw.into_owned()));
    assert_eq!(refers("web+a:{x}"), Some((1, "a:{x}".to_owned())));
    assert_eq!(refers("web+a:1"), Some((1, "a:1".to_owned())));
    assert_eq!(refers("b:{+x}"), Some((2, "b:{+x}".to_owned())));
    assert_eq!(refers("a:{x}"), None);
}

#[test]
fn what_a_server_says_is_looked_through_only_where_something_of_it_is_renamed() {
    let uris = Uris::new(&offered(&["crm a:b", "web a:b", "git a:c", "web https://x", "crm https://x"]));
    assert!(uris.renaming("crm").is_some() && uris.renaming("web").is_some());
    assert!(uris.renaming("git").is_none() && uris.renaming("nobody").is_none());
    assert!(Uris::new(&offered(&["web https://x", "crm https://x"])).renaming("crm").is_none());
}

fn uri() -> impl Strategy<Value = String> {
    ("((crm|web|git)\\+){0,2}|ui://(crm/|web/)?|https://", "[ab:/]{0,3}").prop_map(|(begin, end)| begin + &end)
}

fn anything_offered() -> impl Strategy<Value = Vec<(&'static str, Kind, String)>> {
    let variable = prop_oneof![3 => Just(""), 1 => Just("{x}"), 1 => Just("{y}"), 1 => Just("{+x}"), 1 => Just("{")];
    let kind = prop::sample::select(&[Kind::Resource, Kind::Template][..]);
    let one = (prop::sample::select(&["crm", "web", "git"][..]), kind, uri(), variable);
    let one = one.prop_map(|(alias, kind, uri, variable)| (alias, kind, uri + variable));
    prop::collection::vec(one, 0..12)
}

fn borrowed<'o>(all: &'o [(&'static str, Kind, String)]) -> Vec<Offered<'o>> {
    all.iter().map(|(alias, kind, uri)| Offered { alias, kind: *kind, uri }).collect()
}

proptest! {
    #[test]
    fn what_clients_call_a_resource_leads_to_it_and_to_no_other(all in anything_offered()) {
        let offered = borrowed(&all);
        let uris = Uris::new(&offered);
        let mut owners = BTreeMap::new();
        for (index, of) in offered.iter().enumerate() {
            let Some(exposed) = uris.exposed(index) else { continue };
            prop_assert_eq!(*owners.entry(exposed.to_string()).or_insert(of.alias), of.alias, "two servers have it");
            let found = if of.kind == Kind::Resource { uris.find(&exposed) } else { uris.find_reference(&exposed) };
            prop_assert_eq!(found, Some(Found { index, raw: Cow::Borrowed(of.uri) }));
        }
    }

    #[test]
    fn a_renamed_uri_leads_back_to_its_server_under_the_servers_name(all in anything_offered(), said in uri(), end in "[ab]{0,2}") {
        let offered = borrowed(&all);
        let uris = Uris::new(&offered);
        let said = said + &end;
        for alias in ["crm", "web", "git"] {
            let Some(renamed) = uris.renaming(alias).and_then(|renaming| renaming.uri(&said)) else { continue };
            let found = uris.find(&renamed).map(|found| (offered[found.index].alias, found.raw.into_owned()));
            prop_assert_eq!(found, Some((alias, said.clone())), "{}", renamed);
        }
    }

    #[test]
    fn what_each_is_called_depends_on_no_order_but_for_web_addresses(all in anything_offered(), by in 0_usize..12) {
        let by_whom = |all: &[(&'static str, Kind, String)]| {
            let uris = Uris::new(&borrowed(all));
            let called = all.iter().enumerate().filter(|(_, of)| !of.2.starts_with("https:"));
            // The first of one server's twins is the one that is called anything.
            called.filter_map(|(index, of)| Some((of.clone(), uris.exposed(index)?))).map(|(of, uri)| format!("{of:?} {uri}")).collect::<std::collections::BTreeSet<_>>()
        };
        let mut turned = all.clone();
        turned.rotate_left(by.min(all.len()));
        prop_assert_eq!(by_whom(&all), by_whom(&turned));
    }

    #[test]
    fn no_text_makes_it_panic(all in prop::collection::vec(("[a-z]{1,2}", any::<bool>(), any::<String>()), 0..6), asked: String) {
        let offered: Vec<_> = all.iter().map(|(alias, is_template, uri)| Offered {
            alias,
            kind: if *is_template { Kind::Template } else { Kind::Resource },
            uri,
        }).collect();
        let uris = Uris::new(&offered);
        let _ = uris.find(&asked);
        let _ = uris.find_reference(&asked);
    }
}
