//! Any URIs and templates of a few servers: no panic, no two servers share one, and what clients call one leads to it.
//!
//! A line is a URI to be looked for, or, after `a ` to `z `, a resource of the server of that alias, after `a=` to `z=` a
//! template of it.
#![no_main]

use std::collections::HashMap;

use libfuzzer_sys::fuzz_target;
use mcp::uri::{Kind, Offered, Uris};

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let offered: Vec<Offered<'_>> = text.lines().filter_map(offer).collect();
    let uris = Uris::new(&offered);
    let mut owners = HashMap::new();
    for (index, of) in offered.iter().enumerate() {
        let Some(exposed) = uris.exposed(index) else { continue };
        assert_eq!(*owners.entry(exposed.clone()).or_insert(of.alias), of.alias);
        let found = if of.kind == Kind::Resource { uris.find(&exposed) } else { uris.find_reference(&exposed) };
        assert!(found.is_some_and(|found| found.index == index && found.raw == of.uri));
    }
    for asked in text.lines() {
        let _ = (uris.find(asked), uris.find_reference(asked));
        for alias in offered.iter().map(|of| of.alias) {
            let Some(renamed) = uris.renaming(alias).and_then(|renaming| renaming.uri(asked)) else { continue };
            // What is too long for a template under its new name is nobody's.
            if let Some(found) = uris.find(&renamed) {
                assert!(offered[found.index].alias == alias && found.raw == asked);
            } else {
                assert!(renamed.len() > mcp::uri::URI_MAX);
            }
        }
    }
});

fn offer(line: &str) -> Option<Offered<'_>> {
    let (alias, rest) = line.split_at_checked(1)?;
    if !alias.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    let (kind, uri) = match rest.split_at_checked(1)? {
        (" ", uri) => (Kind::Resource, uri),
        ("=", uri) => (Kind::Template, uri),
        _ => return None,
    };
    Some(Offered { alias, kind, uri })
}
