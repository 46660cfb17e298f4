-- Versions nobody decided on are deleted when they are replaced, with the tools and definitions only they brought: what
-- is deleted is looked for in what refers to it.
create index tool_changes_digest_idx on tool_changes (tenant_id, tool_id, digest);
create index servers_server_version_id_idx on servers (tenant_id, server_version_id);
