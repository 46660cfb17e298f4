-- Upstream servers, their versions, their tools, and what waits for a person's review.

create table servers (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint servers_tenant_id_fkey references tenants (tenant_id),
    server_id uuid not null,
    -- In policies; never used again, which is why a removed server's row stays.
    key text not null,
    alias text not null,
    title text not null,
    endpoint text not null,
    era text not null constraint servers_era_check check (era in ('auto', 'modern', 'legacy')),
    sessions text not null constraint servers_sessions_check check (sessions in ('per_call', 'per_principal', 'shared')),
    labels text[] not null,
    timeout_ms integer not null constraint servers_timeout_ms_check check (timeout_ms between 1000 and 600000),
    answer_max_bytes bigint not null
        constraint servers_answer_max_bytes_check check (answer_max_bytes between 1024 and 104857600),
    paused boolean not null default false,
    -- The reviewed version; none before the first review.
    server_version_id uuid,
    revision bigint not null default 1,
    created_at timestamptz not null,
    removed_at timestamptz,
    constraint servers_pkey primary key (tenant_id, server_id),
    constraint servers_key_key unique (tenant_id, key)
);
create unique index servers_alias_key on servers (tenant_id, alias) where removed_at is null;
alter table servers enable row level security;
alter table servers force row level security;
create policy servers_fence on servers
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

-- What one probe found, where it differs from what is live.
create table server_versions (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint server_versions_tenant_id_fkey references tenants (tenant_id),
    server_version_id uuid not null,
    server_id uuid not null,
    number integer not null,
    -- held: a person must look; decided: one has; superseded: a later probe found something else before one did.
    state text not null constraint server_versions_state_check check (state in ('held', 'decided', 'superseded')),
    era text not null constraint server_versions_era_check check (era in ('modern', 'legacy')),
    protocol_version text not null,
    server_info text,
    instructions text,
    found_at timestamptz not null,
    found_by uuid not null,
    constraint server_versions_pkey primary key (tenant_id, server_version_id),
    constraint server_versions_number_key unique (tenant_id, server_id, number),
    constraint server_versions_server_id_fkey foreign key (tenant_id, server_id) references servers (tenant_id, server_id)
);
alter table server_versions enable row level security;
alter table server_versions force row level security;
create policy server_versions_fence on server_versions
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

alter table servers add constraint servers_server_version_id_fkey
    foreign key (tenant_id, server_version_id) references server_versions (tenant_id, server_version_id);

create table tools (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint tools_tenant_id_fkey references tenants (tenant_id),
    tool_id uuid not null,
    server_id uuid not null,
    name text not null,
    -- The upstream's order, as of the version last reviewed.
    position integer not null,
    -- The accepted definition; none: the tool is not offered.
    digest text,
    risk text not null constraint tools_risk_check
        check (risk in ('read', 'write', 'network', 'execute', 'destructive', 'secret_bearing')),
    -- Whether a person set the risk class: then a guess never changes it.
    risk_reviewed boolean not null default false,
    labels text[] not null default '{}',
    constraint tools_pkey primary key (tenant_id, tool_id),
    constraint tools_name_key unique (tenant_id, server_id, name),
    constraint tools_server_id_fkey foreign key (tenant_id, server_id) references servers (tenant_id, server_id)
);
alter table tools enable row level security;
alter table tools force row level security;
create policy tools_fence on tools
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

-- Every definition a tool was ever found with, by digest. Text, not jsonb: what was reviewed stays byte for byte.
create table tool_definitions (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint tool_definitions_tenant_id_fkey references tenants (tenant_id),
    tool_id uuid not null,
    digest text not null,
    definition text not null,
    first_seen_at timestamptz not null,
    constraint tool_definitions_pkey primary key (tenant_id, tool_id, digest),
    constraint tool_definitions_tool_id_fkey foreign key (tenant_id, tool_id) references tools (tenant_id, tool_id)
);
alter table tool_definitions enable row level security;
alter table tool_definitions force row level security;
create policy tool_definitions_fence on tool_definitions
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

alter table tools add constraint tools_digest_fkey
    foreign key (tenant_id, tool_id, digest) references tool_definitions (tenant_id, tool_id, digest);

-- A tool that a version would add, change or take away, and what a person said to it.
create table tool_changes (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint tool_changes_tenant_id_fkey references tenants (tenant_id),
    server_version_id uuid not null,
    tool_id uuid not null,
    kind text not null constraint tool_changes_kind_check check (kind in ('new', 'changed', 'removed')),
    position integer not null,
    -- The definition found; none when the tool was not.
    digest text,
    -- The definition that was live then.
    digest_before text,
    -- The guess for the definition found.
    risk text not null constraint tool_changes_risk_check
        check (risk in ('read', 'write', 'network', 'execute', 'destructive', 'secret_bearing')),
    state text not null constraint tool_changes_state_check check (state in ('held', 'accepted', 'rejected')),
    decided_at timestamptz,
    decided_by uuid,
    constraint tool_changes_pkey primary key (tenant_id, server_version_id, tool_id),
    constraint tool_changes_kind_digest_check check ((digest is null) = (kind = 'removed')),
    constraint tool_changes_server_version_id_fkey foreign key (tenant_id, server_version_id)
        references server_versions (tenant_id, server_version_id),
    constraint tool_changes_tool_id_fkey foreign key (tenant_id, tool_id) references tools (tenant_id, tool_id),
    constraint tool_changes_digest_fkey foreign key (tenant_id, tool_id, digest)
        references tool_definitions (tenant_id, tool_id, digest)
);
alter table tool_changes enable row level security;
alter table tool_changes force row level security;
create policy tool_changes_fence on tool_changes
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
