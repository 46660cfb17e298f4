-- What we present to upstream servers: where the value rests, never the value.
create table credentials (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint credentials_tenant_id_fkey references tenants (tenant_id),
    credential_id uuid not null,
    server_id uuid not null,
    kind text not null constraint credentials_kind_check check (kind in ('bearer', 'header')),
    header_name text,
    -- Named in the snapshot, so that an older value is not accepted again.
    version bigint not null,
    store text not null constraint credentials_store_check check (store in ('sealed', 'vault')),
    -- sealed: the envelope; vault: the path.
    place text not null,
    changed_at timestamptz not null,
    changed_by uuid not null,
    constraint credentials_pkey primary key (tenant_id, credential_id),
    constraint credentials_server_id_key unique (tenant_id, server_id),
    constraint credentials_header_name_check check ((header_name is not null) = (kind = 'header')),
    constraint credentials_server_id_fkey foreign key (tenant_id, server_id) references servers (tenant_id, server_id)
);
alter table credentials enable row level security;
alter table credentials force row level security;
create policy credentials_fence on credentials
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
