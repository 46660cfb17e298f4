//! Both planes with real Postgres, Redis, Vault, MCP servers and clients.
