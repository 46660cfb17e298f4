//! MCP and JSON-RPC as data: messages, methods, eras, headers, SSE framing, translation between eras.
