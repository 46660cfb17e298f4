//! MCP and JSON-RPC as data: messages, methods, eras, headers, SSE framing, translation between eras.
//!
//! Pure and sans-I/O: bytes and values in, values and bytes out. What is forwarded is kept as it was written ([`json::Raw`]);
//! what is changed is rebuilt from what was parsed. The modern era (2026-07-28) is the form everything is translated
//! through; older clients and older servers are adapted at the two edges.

pub mod ask;
pub mod era;
pub mod error;
pub mod header;
pub mod hello;
pub mod input;
pub mod json;
pub mod list;
pub mod message;
pub mod meta;
pub mod method;
pub mod name;
pub mod notification;
pub mod result;
pub mod session;
pub mod sse;
pub mod tools;
pub mod uri;
pub mod version;

pub use error::{Code, RpcError};
pub use json::{Json, Limits, Object, Raw};
pub use message::{Body, Id, Message, Notification, Request, Response};
pub use method::Method;
pub use version::{Era, Version};
