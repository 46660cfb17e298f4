//! Results of `tools/call`, and `tools/list`, between the internal modern form and clients and servers of either era.

mod list;
mod result;

pub use crate::ask::Hop;
pub use list::{CacheScope, Page, Tool, list_result};
pub use result::{Incomplete, Side, translate_own_result, translate_upstream_result};

#[cfg(test)]
mod tests;
