-- What a server offers beside tools: prompts, resources and templates of resources. Tables of their own: a program that
-- knows only tools must not take them for some.

create table items (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint items_tenant_id_fkey references tenants (tenant_id),
    item_id uuid not null,
    server_id uuid not null,
    kind text not null constraint items_kind_check check (kind in ('prompt', 'resource', 'template')),
    -- A prompt's name, a resource's URI, a template's text.
    name text not null,
    -- The upstream's order among those of one kind, as of the version last reviewed.
    position integer not null,
    -- The accepted definition; none: it is not offered.
    digest text,
    labels text[] not null default '{}',
    constraint items_pkey primary key (tenant_id, item_id),
    constraint items_name_key unique (tenant_id, server_id, kind, name),
    constraint items_server_id_fkey foreign key (tenant_id, server_id) references servers (tenant_id, server_id)
);
alter table items enable row level security;
alter table items force row level security;
create policy items_fence on items
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

-- Every definition an item was ever found with, by digest; text, so that what was reviewed stays byte for byte.
create table item_definitions (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint item_definitions_tenant_id_fkey references tenants (tenant_id),
    item_id uuid not null,
    digest text not null,
    definition text not null,
    first_seen_at timestamptz not null,
    constraint item_definitions_pkey primary key (tenant_id, item_id, digest),
    constraint item_definitions_item_id_fkey foreign key (tenant_id, item_id) references items (tenant_id, item_id)
);
alter table item_definitions enable row level security;
alter table item_definitions force row level security;
create policy item_definitions_fence on item_definitions
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

alter table items add constraint items_digest_fkey
    foreign key (tenant_id, item_id, digest) references item_definitions (tenant_id, item_id, digest);

-- An item that a version would add, change or take away, and what a person said to it.
create table item_changes (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint item_changes_tenant_id_fkey references tenants (tenant_id),
    server_version_id uuid not null,
    item_id uuid not null,
    kind text not null constraint item_changes_kind_check check (kind in ('new', 'changed', 'removed')),
    position integer not null,
    -- The definition found; none when the item was not.
    digest text,
    -- The definition that was live then.
    digest_before text,
    state text not null constraint item_changes_state_check check (state in ('held', 'accepted', 'rejected')),
    decided_at timestamptz,
    decided_by uuid,
    constraint item_changes_pkey primary key (tenant_id, server_version_id, item_id),
    constraint item_changes_kind_digest_check check ((digest is null) = (kind = 'removed')),
    -- A program that knows no items deletes versions too.
    constraint item_changes_server_version_id_fkey foreign key (tenant_id, server_version_id)
        references server_versions (tenant_id, server_version_id) on delete cascade,
    constraint item_changes_item_id_fkey foreign key (tenant_id, item_id) references items (tenant_id, item_id),
    constraint item_changes_digest_fkey foreign key (tenant_id, item_id, digest)
        references item_definitions (tenant_id, item_id, digest)
);
alter table item_changes enable row level security;
alter table item_changes force row level security;
create policy item_changes_fence on item_changes
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
-- Definitions and items nothing speaks of are looked for here.
create index item_changes_digest_idx on item_changes (tenant_id, item_id, digest);
