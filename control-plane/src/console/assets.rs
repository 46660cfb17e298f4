//! What pages are made of besides HTML: styles, scripts, icons and fonts, in the binary, named by their content.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{LazyLock, OnceLock};

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;

/// The five files of the style, in their order.
const STYLE: &str = concat!(
    include_str!("../../../web/css/1-tokens.css"),
    include_str!("../../../web/css/2-base.css"),
    include_str!("../../../web/css/3-layout.css"),
    include_str!("../../../web/css/4-components.css"),
    include_str!("../../../web/css/5-pages.css"),
);

/// Everything under its plain name.
const FILES: [(&str, &[u8]); 12] = [
    ("sluice.js", include_bytes!("../../../web/js/sluice.js")),
    ("theme.js", include_bytes!("../../../web/js/theme.js")),
    ("mark.svg", include_bytes!("../../../web/mark.svg")),
    ("htmx.js", include_bytes!("../../../web/dist/htmx.js")),
    ("editor.js", include_bytes!("../../../web/dist/editor.js")),
    ("icons.svg", include_bytes!("../../../web/dist/icons.svg")),
    ("licences.txt", include_bytes!("../../../web/dist/licences.txt")),
    ("verify_bundle.py", include_bytes!("../../../tools/verify_bundle.py")),
    ("geist-latin.woff2", include_bytes!("../../../web/dist/geist-latin.woff2")),
    ("geist-latin-ext.woff2", include_bytes!("../../../web/dist/geist-latin-ext.woff2")),
    ("geist-mono-latin.woff2", include_bytes!("../../../web/dist/geist-mono-latin.woff2")),
    ("geist-mono-latin-ext.woff2", include_bytes!("../../../web/dist/geist-mono-latin-ext.woff2")),
];

/// How hard assets are compressed: once in a process's life, at their first request.
const BROTLI_QUALITY: i32 = if cfg!(debug_assertions) { 4 } else { 9 };

struct Asset {
    url: String,
    kind: &'static str,
    bytes: Vec<u8>,
    brotli: OnceLock<Vec<u8>>,
}

static ASSETS: LazyLock<BTreeMap<&'static str, Asset>> = LazyLock::new(|| {
    let mut assets: BTreeMap<&'static str, Asset> =
        FILES.iter().map(|(name, bytes)| (*name, Asset::new(name, bytes.to_vec()))).collect();
    let mut style = STYLE.to_owned();
    for (name, asset) in &assets {
        style = style.replace(&format!("url(\"{name}\")"), &format!("url(\"{}\")", asset.url));
    }
    assets.insert("sluice.css", Asset::new("sluice.css", style.into_bytes()));
    assets
});

/// The address of an asset. One that does not exist has the address of nothing; a test looks for those.
#[must_use]
pub(crate) fn url(name: &str) -> &'static str {
    ASSETS.get(name).map_or("/assets/none", |asset| asset.url.as_str())
}

impl Asset {
    fn new(name: &str, bytes: Vec<u8>) -> Self {
        let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
        let hash = hex::encode(&secrets::sha256(&bytes)[..6]);
        let kind = match end {
            "css" => "text/css; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            "txt" | "py" => "text/plain; charset=utf-8",
            _ => "font/woff2",
        };
        Self { url: format!("/assets/{stem}.{hash}.{end}"), kind, bytes, brotli: OnceLock::new() }
    }

    /// The body, compressed where that helps and is understood.
    fn body(&self, accepts_brotli: bool) -> (&[u8], bool) {
        if !accepts_brotli || self.kind == "font/woff2" {
            return (&self.bytes, false);
        }
        (self.brotli.get_or_init(|| compressed(&self.bytes)), true)
    }
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let params = brotli::enc::BrotliEncoderParams { quality: BROTLI_QUALITY, ..Default::default() };
    let mut writer = brotli::CompressorWriter::with_params(Vec::new(), 4096, &params);
    // Writing to memory does not fail; should it, what comes out is what was written.
    let written = writer.write_all(bytes);
    debug_assert!(written.is_ok());
    writer.into_inner()
}

/// `GET /assets/{file}`: for ever the same bytes under the same name.
pub(super) async fn get(Path(file): Path<String>, headers: HeaderMap) -> Response {
    let asset = ASSETS.values().find(|asset| asset.url.rsplit('/').next() == Some(file.as_str()));
    let Some(asset) = asset else { return Problem::not_found().into_response() };
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let brotli = accepted.split(',').any(|one| one.split(';').next().is_some_and(|name| name.trim() == "br"));
    let (body, is_brotli) = asset.body(brotli);
    let mut response = (StatusCode::OK, body.to_vec()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if is_brotli {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    }
    response
}
