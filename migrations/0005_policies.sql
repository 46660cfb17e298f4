-- Cedar texts. Every text that was ever saved stays, by number; which one is in force is a field of the policy.
create table policies (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint policies_tenant_id_fkey references tenants (tenant_id),
    policy_id uuid not null,
    name text not null,
    -- The version in force; none: a draft, or switched off.
    active_version integer,
    latest_version integer not null,
    revision bigint not null default 1,
    created_at timestamptz not null,
    removed_at timestamptz,
    constraint policies_pkey primary key (tenant_id, policy_id)
);
create unique index policies_name_key on policies (tenant_id, name) where removed_at is null;
alter table policies enable row level security;
alter table policies force row level security;
create policy policies_fence on policies
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

create table policy_versions (
    tenant_id uuid not null default nullif(current_setting('app.tenant_id', true), '')::uuid
        constraint policy_versions_tenant_id_fkey references tenants (tenant_id),
    policy_version_id uuid not null,
    policy_id uuid not null,
    version integer not null,
    text text not null,
    sha256 text not null,
    written_at timestamptz not null,
    written_by uuid not null,
    constraint policy_versions_pkey primary key (tenant_id, policy_version_id),
    constraint policy_versions_version_key unique (tenant_id, policy_id, version),
    constraint policy_versions_policy_id_fkey foreign key (tenant_id, policy_id) references policies (tenant_id, policy_id)
);
alter table policy_versions enable row level security;
alter table policy_versions force row level security;
create policy policy_versions_fence on policy_versions
    using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);

alter table policies add constraint policies_active_version_fkey
    foreign key (tenant_id, policy_id, active_version) references policy_versions (tenant_id, policy_id, version);
