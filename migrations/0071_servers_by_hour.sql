-- Calls counted by server and hour: `audit_rollup_hour` without the tools, of which a workspace may have hundreds. What is
-- asked of all tools together reads this, from `audit_counted_from()` on.
create table audit_rollup_server (
    tenant_id uuid not null,
    start timestamptz not null,
    server_id uuid not null default '00000000-0000-0000-0000-000000000000',
    effect text not null,
    status text not null,
    bucket smallint not null,
    count bigint not null,
    duration_us bigint not null,
    constraint audit_rollup_server_pkey primary key (tenant_id, start, server_id, effect, status, bucket)
);
create index audit_rollup_server_start_idx on audit_rollup_server (start);
select audit_fence('audit_rollup_server', true);
grant select, insert, update, delete on audit_rollup_server to sluice_ingest;
