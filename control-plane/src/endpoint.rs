//! Where clients of a workspace connect.

use domain::Slug;
use url::Url;

/// A workspace's address, at the gateway whose address is `gateway`.
pub(crate) fn of(gateway: &Url, slug: &Slug) -> Url {
    let mut url = gateway.clone();
    url.set_path(&format!("/{slug}/mcp"));
    url
}
