//! The gateway: one pipeline from MCP request to upstream and back.
