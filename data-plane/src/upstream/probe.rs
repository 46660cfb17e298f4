//! Finding out which era an upstream speaks: always by `server/discover`, never by a call that could have an effect.

use mcp::Era;
use mcp::era::{Verdict, detect};

use super::http::{status_fault, whole};
use super::{Bounds, Fault, Line, modern};

/// Asks `server/discover` in the modern way, and judges by the answer (reference a.11).
pub(super) async fn era(line: &Line<'_>, id: u64, bounds: Bounds) -> Result<Era, Fault> {
    let response = line.send(modern::asking(line, id, "server/discover", None), bounds.until).await?;
    let status = response.status();
    let content_type = response.headers().get(::http::header::CONTENT_TYPE).cloned();
    let content_type = content_type.as_ref().and_then(|value| value.to_str().ok());
    let body = whole(response.into_body(), bounds).await?;
    match detect(status.as_u16(), content_type, &body) {
        Verdict::Modern(_) => Ok(Era::Modern),
        Verdict::Legacy => Ok(Era::Legacy),
        Verdict::NoCommonVersion => Err(Fault::NoCommonVersion),
        Verdict::Unauthorized | Verdict::Unavailable => Err(status_fault(status)),
    }
}
