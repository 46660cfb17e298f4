//! What a tenant offers, as it lists it: answered from memory.

use audit::words::Kind;
use bytes::Bytes;
use http::StatusCode;
use mcp::tools::{Side, list_result};
use mcp::{Method, Raw, Request};

use super::{Context, Gateway};
use crate::call::Client;
use crate::refusal::Refusal;
use crate::reply::{Pieces, Ready, Reply};

/// For how long a client may keep a list without asking again, milliseconds.
const LIST_TTL_MS: u64 = 10_000;
/// Where the tools go in a result without any.
const NO_TOOLS: &str = r#""tools":[]"#;

impl Gateway {
    /// The tools.
    pub(super) fn tools_list(&self, context: &Context, client: &Client<'_>, request: &Request<'_>) -> Reply {
        let era = client.version.era();
        let place = match request.params.get("cursor") {
            None | Some(Raw::NULL) => Some(0),
            Some(cursor) => cursor.text().and_then(|cursor| self.place(context, &cursor)),
        };
        let tenant = &context.tenant;
        let page = place.and_then(|place| tenant.listings.page(&context.view, &tenant.catalog, era, place));
        let Some(page) = page else {
            let record = self.begin(Kind::McpRequest, context, client, request);
            return self.refuse_recorded(record, era, Some(&request.id), &Refusal::BadCursor);
        };
        if self.answered(context, client, Method::ToolsList, &request.id).is_err() {
            return self.unrecorded(era, Some(&request.id));
        }
        let cursor = page.next.map(|place| self.cursor(context, place));
        let side = Side { era, server_info: tenant.server_info.raw() };
        let around = list_result(&[], cursor.as_deref(), LIST_TTL_MS, &side).into_string();
        // The large array in the middle is shared and not copied.
        let Some((head, tail)) = around.split_once(NO_TOOLS) else {
            return self.refuse(context, era, Some(&request.id), &Refusal::BadCursor);
        };
        let head = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{head}"tools":"#, request.id.as_json());
        let pieces = [head.into(), page.tools, Bytes::from(format!("{tail}}}"))];
        Ready::new(StatusCode::OK, Pieces::Three(pieces)).into()
    }

    fn cursor(&self, context: &Context, place: usize) -> String {
        let plain = format!("{}:{place}", context.tenant.config_version);
        self.0.cursors.seal_text(&[Method::ToolsList.as_str().as_bytes(), &parts(context)], plain.as_bytes())
    }

    /// The place a cursor names, while the list is the one it was made for.
    fn place(&self, context: &Context, cursor: &str) -> Option<usize> {
        let plain = self.0.cursors.open_text(&[Method::ToolsList.as_str().as_bytes(), &parts(context)], cursor).ok()?;
        let (version, place) = std::str::from_utf8(&plain).ok()?.split_once(':')?;
        (version == &*context.tenant.config_version).then(|| place.parse().ok()).flatten()
    }
}

/// For whom a cursor is sealed.
fn parts(context: &Context) -> Vec<u8> {
    let principal = &context.caller.principal;
    [principal.tenant.uuid(), principal.user.uuid(), principal.token.uuid()].map(uuid::Uuid::into_bytes).concat()
}
