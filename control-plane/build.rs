//! Says what to run when the console's assets have not been bundled yet.

use std::path::Path;

const BUNDLED: [&str; 8] = [
    "htmx.js",
    "editor.js",
    "icons.svg",
    "licences.txt",
    "geist-latin.woff2",
    "geist-latin-ext.woff2",
    "geist-mono-latin.woff2",
    "geist-mono-latin-ext.woff2",
];

fn main() {
    for file in BUNDLED {
        let path = format!("../web/dist/{file}");
        println!("cargo::rerun-if-changed={path}");
        if !Path::new(&path).exists() {
            println!("cargo::error=web/dist/{file} is missing: run scripts/web.sh once (it needs Node.js)");
        }
    }
}
