-- What the last look at each server came to, and when Sluice looks again by itself.
create table server_health (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint server_health_tenant_id_fkey references tenants (tenant_id),
    server_id uuid not null,
    -- None: nobody has looked yet.
    state text constraint server_health_state_check
        check (state in ('healthy', 'unreachable', 'needs_sign_in', 'unusable')),
    since timestamptz,
    checked_at timestamptz,
    -- What went wrong, for people.
    error text,
    next_at timestamptz not null,
    constraint server_health_pkey primary key (tenant_id, server_id),
    constraint server_health_server_id_fkey foreign key (tenant_id, server_id) references servers (tenant_id, server_id)
);
create index server_health_next_at_idx on server_health (next_at);
alter table server_health enable row level security;
alter table server_health force row level security;
create policy server_health_fence on server_health
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
-- One program takes what is due, of all tenants: ids and times only.
create policy server_health_platform_select on server_health for select to sluice_platform
    using (current_user = 'sluice_platform');
create policy server_health_platform_update on server_health for update to sluice_platform
    using (current_user = 'sluice_platform');
grant select (tenant_id, server_id, next_at), update (next_at) on server_health to sluice_platform;

-- The servers there are. The owner is fenced too, so the fence is down for this one statement.
alter table servers no force row level security;
alter table server_health no force row level security;
insert into server_health (tenant_id, server_id, next_at)
    select tenant_id, server_id, now() from servers where removed_at is null;
alter table servers force row level security;
alter table server_health force row level security;

-- None: Sluice looked by itself.
alter table server_versions alter column found_by drop not null;
