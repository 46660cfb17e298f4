//! Results of `tools/call`, and `tools/list`, between the internal modern form and clients and servers of either era.

use std::borrow::Cow;

use crate::Object;
use crate::result::Translation;

mod list;

pub use crate::ask::Hop;
pub use crate::result::{CacheScope, Incomplete, Side};
pub use list::{Page, Tool, list_result};

/// Translates the result that an upstream gave to a call: [`Translation::upstream`].
///
/// # Errors
/// [`Incomplete`] when the result is no end of the call.
pub fn translate_upstream_result<'a>(result: &Object<'a>, side: &Side<'_>) -> Result<Cow<'a, str>, Incomplete> {
    Translation::of_a_call(*side).upstream(result)
}

/// Translates a result of a call that we wrote ourselves: [`Translation::own`].
///
/// # Errors
/// [`Incomplete`] when the result is no end of the call.
pub fn translate_own_result<'a>(result: &Object<'a>, side: &Side<'_>) -> Result<Cow<'a, str>, Incomplete> {
    Translation::of_a_call(*side).own(result)
}

#[cfg(test)]
mod tests;
