-- Whoever looks for a tool names it as clients do, without its server; whoever looks at a server asks for all its tools.
-- Each is found newest first. What was not allowed, or did not go well, is rare, and looked for most. While these are built
-- the log is read but not written: nodes keep records. What they replace goes last, so that searches wait only a moment.
create index audit_record_by_tool on audit_record (tenant_id, tool_name, time);
create index audit_record_by_server on audit_record (tenant_id, server_id, time);
create index audit_record_not_allowed on audit_record (tenant_id, time) where effect <> 'allow';
create index audit_record_not_success on audit_record (tenant_id, time) where status <> 'success';
drop index audit_record_tool;
