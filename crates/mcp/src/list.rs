//! What is offered, as lists show it: the definitions of prompts, resources and templates, and the results of all four lists.

use crate::json::{Change, Writer};
use crate::meta;
use crate::method::Kind;
use crate::result::{CacheScope, Side};
use crate::{Era, Json, Object, Raw};

/// The definition under the name or URI that clients know; all else as it was written, for clients of either era.
///
/// Of a tool it is [`crate::tools::Tool::listed`] that knows what legacy clients do not.
#[must_use]
pub fn listed(kind: Kind, definition: &Object<'_>, exposed: &str) -> Json {
    let exposed = Json::text(exposed);
    definition.with(&[(kind.named_by(), Change::Set(exposed.raw()))])
}

/// Writes the result of a list from its definitions, the cursor of the next page, if there is one, and for how many
/// milliseconds it is fresh.
///
/// Modern clients are told the latter, with the scope `private`: what a list holds depends on who asks (reference h.5).
#[must_use]
pub fn result(
    kind: Kind,
    definitions: &[Raw<'_>],
    (next_cursor, ttl_ms): (Option<&str>, u64),
    side: &Side<'_>,
) -> Json {
    let bytes = definitions.iter().map(|definition| definition.get().len() + 1).sum::<usize>();
    let mut writer = Writer::with_capacity(bytes + 256);
    if side.era == Era::Modern {
        writer.text("resultType", "complete");
    }
    writer.array(kind.member(), definitions);
    if let Some(cursor) = next_cursor {
        writer.text("nextCursor", cursor);
    }
    if side.era == Era::Modern {
        writer.integer("ttlMs", ttl_ms);
        writer.text("cacheScope", CacheScope::Private.as_str());
        writer.nested("_meta", |meta| meta.member(meta::SERVER_INFO, side.server_info));
    }
    writer.finish()
}

#[cfg(test)]
mod tests;
