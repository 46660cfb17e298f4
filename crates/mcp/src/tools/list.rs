//! Tool definitions and pages of them.

use std::borrow::Cow;

use super::Side;
use crate::json::{Change, Kind};
use crate::result::{CacheScope, ttl_ms};
use crate::{Era, Json, Object, Raw, list, method};

/// One page of an upstream's tools.
#[derive(Debug, Clone)]
pub struct Page<'a> {
    /// The definitions that have a name and an input schema; others are left out.
    pub tools: Vec<Tool<'a>>,
    /// How many were left out.
    pub left_out: usize,
    /// Where the next page begins; `None` at the end. An empty string is a cursor too.
    pub next_cursor: Option<Cow<'a, str>>,
    /// How long the page is fresh, in milliseconds; 0 from a legacy server.
    pub ttl_ms: u64,
    /// Who may share it.
    pub scope: CacheScope,
}

impl<'a> Page<'a> {
    /// Reads the result of a `tools/list`; `None` when it has no list of tools.
    #[must_use]
    pub fn read(result: &Object<'a>) -> Option<Self> {
        let items = result.get("tools")?.array()?;
        let count = items.len();
        let tools: Vec<Tool<'a>> = items.into_iter().filter_map(Tool::read).collect();
        Some(Self {
            left_out: count - tools.len(),
            tools,
            next_cursor: result.text("nextCursor"),
            ttl_ms: ttl_ms(result),
            scope: CacheScope::of(result),
        })
    }
}

/// A tool's definition.
#[derive(Debug, Clone)]
pub struct Tool<'a> {
    /// The name its server knows it by.
    pub name: Cow<'a, str>,
    /// What it takes, a JSON Schema.
    pub input_schema: Object<'a>,
    /// All members, as they were written.
    pub definition: Object<'a>,
}

impl<'a> Tool<'a> {
    /// Reads a definition; `None` without a name or an input schema that is an object.
    #[must_use]
    pub fn read(definition: Raw<'a>) -> Option<Self> {
        let definition = definition.object()?;
        let name = definition.text("name").filter(|name| !name.is_empty())?;
        let input_schema = definition.object("inputSchema")?;
        Some(Self { name, input_schema, definition })
    }

    /// The definition for clients of an era, under its exposed name; all else as it was written.
    ///
    /// Legacy clients know only output schemas whose root is an object.
    #[must_use]
    pub fn listed(&self, exposed: &str, era: Era) -> Json {
        let name = Json::text(exposed);
        let mut changes = vec![("name", Change::Set(name.raw()))];
        if era == Era::Legacy && !self.has_plain_output() {
            changes.push(("outputSchema", Change::Remove));
        }
        self.definition.with(&changes)
    }

    fn has_plain_output(&self) -> bool {
        let Some(schema) = self.definition.get("outputSchema") else { return true };
        schema.kind() == Kind::Object
            && schema.object().is_some_and(|schema| schema.text("type").as_deref() == Some("object"))
    }
}

/// Writes the result of a `tools/list` from definitions that [`Tool::listed`] made: [`list::result`].
#[must_use]
pub fn list_result(tools: &[Raw<'_>], next_cursor: Option<&str>, ttl_ms: u64, side: &Side<'_>) -> Json {
    list::result(method::Kind::Tool, tools, (next_cursor, ttl_ms), side)
}
